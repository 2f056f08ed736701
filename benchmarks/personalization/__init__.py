"""NeTI: methods compared on held-out objects and photographs, and the time of a step."""
