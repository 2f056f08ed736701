"""Training of the code mappers, and the optimization that they replace."""
