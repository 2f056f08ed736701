"""How a codec's prior is learned: data, crops, posteriors and the training task."""
