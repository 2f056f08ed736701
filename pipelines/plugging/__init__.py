"""Learned words in pipelines that are not ours: `Concept.plug`."""
