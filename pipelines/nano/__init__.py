"""The nano models: a small text-to-image model and a small CLIP, their world and their recipes."""
