"""Meshes as scenes: an optional ray caster on trimesh (the extra "meshes"), lit as the solids are."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...cameras import Cameras
from ..scene import SceneError
from .primitives import antialiased, shaded, sun

SHINE = 0.1
"""Strength of the highlight on a mesh."""
RADIUS = 1.1
"""Radius of the sphere into which a mesh is scaled."""
Y_UP = (".obj", ".glb", ".gltf")
"""Formats whose models stand along y; they are turned to stand along z."""


class Mesh:
    """Triangles with a colour at any point of them, centred at the origin, z up.

    Args:
        path: a file that trimesh reads; vertex, face and texture colours are kept.

    Raises:
        SceneError: trimesh is not installed, or the file holds no triangles.
    """

    def __init__(self, path: Path):
        if not find_spec("embreex") and not find_spec("rtree"):
            raise SceneError(f"{path} is a mesh, which needs more packages; install mapfield[meshes]")
        try:
            trimesh = import_module("trimesh")
        except ImportError as error:
            raise SceneError(f"{path} is a mesh, which needs trimesh; install mapfield[meshes]") from error
        if not path.is_file():
            raise SceneError(f"there is no mesh {path}; give a file that exists")
        try:
            loaded = trimesh.load_scene(path).dump()
        except Exception as error:  # trimesh's readers raise whatever went wrong inside
            raise SceneError(f"{path} is not a mesh that can be read ({error}); export it again") from error
        self._parts = [part for part in loaded if isinstance(part, trimesh.Trimesh) and len(part.faces)]
        if not self._parts:
            raise SceneError(f"{path} has no triangles; export it with its faces")
        vertices = np.concatenate([part.vertices for part in self._parts])
        if path.suffix.lower() in Y_UP:
            vertices = np.stack([vertices[:, 0], -vertices[:, 2], vertices[:, 1]], axis=-1)
        vertices = vertices - (vertices.min(0) + vertices.max(0)) / 2
        vertices *= RADIUS / max(np.linalg.norm(vertices, axis=1).max(), 1e-12)
        starts = np.cumsum([0, *(len(part.vertices) for part in self._parts)])
        faces = np.concatenate([part.faces + start for part, start in zip(self._parts, starts, strict=False)])
        self._first = np.cumsum([0, *(len(part.faces) for part in self._parts)])
        self._mesh = trimesh.Trimesh(vertices, faces, process=False)
        self._colors = [_face_colors(part) for part in self._parts]

    def picture(self, cameras: Cameras, index: int) -> Float[Tensor, "h w 4"]:
        """What one camera sees, straight alpha in [0, 1]."""
        return antialiased(self.cast, cameras, index)

    def cast(
        self, origins: Float[Tensor, "b 3"], directions: Float[Tensor, "b 3"]
    ) -> tuple[Float[Tensor, "b 3"], Float[Tensor, " b"], Float[Tensor, " b"]]:
        """Colour (0 at a miss), alpha (1 or 0) and distance (infinite at a miss) of rays of unit direction."""
        places, hit, triangles = self._mesh.ray.intersects_location(
            origins.numpy(), directions.numpy(), multiple_hits=False
        )
        colors, t = torch.zeros_like(origins), torch.full((len(origins),), torch.inf)
        if not len(hit):
            return colors, torch.zeros(len(origins)), t
        index = torch.from_numpy(np.asarray(hit)).long()
        points = torch.from_numpy(np.asarray(places)).float()
        normals = torch.from_numpy(np.asarray(self._mesh.face_normals[triangles])).float()
        # Meshes are often open or wound the wrong way: a face is lit on the side that is seen.
        normals = torch.where((normals * directions[index]).sum(-1, keepdim=True) > 0, -normals, normals)
        start = (points + 1e-3 * normals).numpy()
        lit = ~torch.from_numpy(self._mesh.ray.intersects_any(start, sun().expand_as(points).numpy()))
        base = torch.from_numpy(self._base(points.numpy(), np.asarray(triangles))).float()
        colors[index] = shaded(base, SHINE, normals, directions[index], lit)
        t[index] = (points - origins[index]).norm(dim=-1)
        return colors, t.isfinite().float(), t

    def _base(self, points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
        """Colours [b, 3] in 0..1 of points on triangles, interpolated between the corners."""
        barycentric = import_module("trimesh.triangles").points_to_barycentric
        weights = barycentric(self._mesh.triangles[triangles], points).clip(0, 1)
        colors = np.zeros((len(points), 3))
        for number, (values, image) in enumerate(self._colors):
            mine = (triangles >= self._first[number]) & (triangles < self._first[number + 1])
            corners = values[triangles[mine] - self._first[number]]
            mixed = (weights[mine, :, None] * corners).sum(1) / weights[mine].sum(1, keepdims=True)
            colors[mine] = mixed if image is None else _texels(image, mixed)
        return colors


def _face_colors(part: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """Values at the corners of every face: colours [f, 3, 3], or texture coordinates [f, 3, 2] and their picture."""
    visual = part.visual
    material = getattr(visual, "material", None)
    image = getattr(material, "baseColorTexture", None) or getattr(material, "image", None)
    if getattr(visual, "uv", None) is not None and image is not None:
        return np.asarray(visual.uv)[part.faces], np.asarray(image.convert("RGB")) / 255
    if visual.kind == "face":
        return np.repeat(np.asarray(visual.face_colors)[:, None, :3] / 255, 3, axis=1), None
    if visual.kind == "vertex":
        return np.asarray(visual.vertex_colors)[part.faces, :3] / 255, None
    flat = np.asarray(getattr(material, "main_color", (180, 180, 185)))[:3] / 255
    return np.broadcast_to(flat, (len(part.faces), 3, 3)), None


def _texels(image: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """Nearest texels at coordinates [b, 2], which repeat outside 0..1; v points up."""
    height, width = image.shape[:2]
    x = np.floor(uv[:, 0] % 1 * width).astype(int).clip(0, width - 1)
    y = np.floor((1 - uv[:, 1]) % 1 * height).astype(int).clip(0, height - 1)
    return image[y, x]
