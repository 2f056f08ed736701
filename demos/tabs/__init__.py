"""Tabs of the app: for each its components (layout), its events (the plain name) and its jobs."""
