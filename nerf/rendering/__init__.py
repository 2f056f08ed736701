"""From rays to pictures: sampling, which samples to keep, compositing, rendering."""
