"""A codec model: the network of RECOMBINER, its priors, and an amortised encoder."""
