"""Scripts that measure the package; each runs as ``python -m benchmarks.CAPABILITY.SCRIPT``."""
