"""V2A: mappers on recorded sounds."""
