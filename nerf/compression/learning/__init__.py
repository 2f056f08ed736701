"""How a codec model is trained: data, crops, posteriors and the training task."""
