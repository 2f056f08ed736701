"""RECOMBINER and grids: rate and distortion compared with standard codecs, and what its parts are worth."""
