"""What the benchmarks share: results with their origin, commands, curves, and the codecs to compare with."""
