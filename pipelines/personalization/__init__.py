"""NeTI (arXiv 2305.15391): learn a word from pictures, generate with it, measure it."""
