"""Radiance fields: speed and quality of every family, CAM included."""
