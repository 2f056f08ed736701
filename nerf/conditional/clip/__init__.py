"""CLIP models, and similarities of pictures and texts."""
