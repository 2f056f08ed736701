"""The nano models: weights of the embedded models, the world they are trained on, and their recipes."""
