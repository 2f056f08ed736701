"""Scenes to train on: reading them in every usual format, making new ones, and a few that ship.

`load_scene` reads; `make_scene` renders solids or a mesh; `shipped_scenes` lists what needs no download.
"""

from .bounds import empty_ray_fraction
from .loading import load_scene, shipped_scenes
from .scene import Scene, SceneError
from .synthetic.making import make_scene

__all__ = ["Scene", "SceneError", "empty_ray_fraction", "load_scene", "make_scene", "shipped_scenes"]
