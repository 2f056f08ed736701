"""Radiance fields and implicit neural representations: fields, rendering, distillation, compression.

Empty for now; the package exists so that imports already have their one direction:
``mappers`` <- ``nerf`` <- ``pipelines`` <- ``demos``.
"""
