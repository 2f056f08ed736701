"""The container of compressed files: their bytes, chunks of indices, and an error for each kind of damage."""
