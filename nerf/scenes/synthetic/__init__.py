"""Scenes that are made: solids, meshes and their motion."""
