"""RECOMBINER (arXiv 2309.17182): pictures, sounds, videos and volumes as small files, by `nerf.compression`."""

from nerf.compression.files import compress, decompress

__all__ = ["compress", "decompress"]
