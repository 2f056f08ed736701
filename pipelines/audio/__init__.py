"""V2A-Mapper (arXiv 2308.09300): sounds for pictures and videos."""
