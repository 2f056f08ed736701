"""The one trainer: loop, checkpoints, sharing among processes, optimizers, keyed randomness and settings."""
