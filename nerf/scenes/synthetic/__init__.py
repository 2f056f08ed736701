"""Synthetic scenes: solids, meshes and their motion."""
