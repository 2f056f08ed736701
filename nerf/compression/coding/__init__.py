"""Relative entropy coding: samples as indices, indices as bits, shared randomness and rate control."""
