"""From rays to pictures: sampling, samplers, compositing, rendering."""
