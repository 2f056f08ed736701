"""Relative entropy coding: indices, shared randomness and rate control."""
