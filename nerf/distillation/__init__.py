"""PVD (arXiv 2211.15977): one field taught by another."""
