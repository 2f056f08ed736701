"""RECOMBINER's codec: network, priors and amortised encoder."""
