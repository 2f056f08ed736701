"""Training of the category field itself."""
