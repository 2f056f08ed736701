"""How each nano model is trained."""
