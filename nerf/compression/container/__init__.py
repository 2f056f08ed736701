"""The container of compressed files: bytes, chunks and what can be wrong with them."""
