"""CLIP models and the score of a picture against a text."""
