"""Export of a run: films along a camera path, meshes and point clouds."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize
from tqdm.auto import tqdm

from mappers.extras import extra
from mappers.files import replacing
from mappers.pixels import to_bytes

from .cameras import Cameras
from .evaluation import depth_map
from .fields import VolumeField, density_of
from .rendering.renderer import Picture
from .runs import Run, VolumeRun

if TYPE_CHECKING:
    import trimesh

logger = logging.getLogger(__name__)

FASTEST = 100
"""Most frames per second of a film: a GIF counts in hundredths of a second."""
FINEST = 768
"""Most grid nodes along an axis of a mesh: their densities take 1.8 GB."""
MESHES, CLOUDS, FILMS = (".ply", ".glb", ".obj"), (".ply",), (".mp4", ".gif")


def render_film(run: Run, cameras: Cameras, path: Path, *, fps: int = 24, depth: bool = False) -> None:
    """Render the view of every camera into a film.

    Args:
        run: the trained field.
        cameras: one for each frame.
        path: mp4 (H.264) or gif.
        fps: pictures per second, 1..`FASTEST`.
        depth: put the depth map on the right of every picture.

    Raises:
        ValueError: the file has another ending, or fps is out of range.
    """
    if path.suffix.lower() not in FILMS:
        raise ValueError(f"{path} must end in {' or '.join(FILMS)}")
    check_film(fps)
    frames = []
    for view in draw_views(run, [cameras[index] for index in range(len(cameras))]):
        values = torch.cat([view.color, depth_map(view)], 1) if depth else view.color
        frames.append(to_bytes(values).numpy())
    write_film(frames, path, fps=fps)


def check_film(fps: int) -> None:
    """Refuse a number of frames per second that films cannot have."""
    if not 1 <= fps <= FASTEST:
        raise ValueError(f"fps must be in 1..{FASTEST} frames per second, got {fps}")


def draw_views(run: Run, cameras: Sequence[Cameras]) -> Iterator[Picture]:
    """The view of every camera; a warning at the end if none shows anything."""
    nothing = True
    for camera in tqdm(cameras, unit="view", desc="rendering", disable=None):
        view = run.draw(camera)
        nothing &= float(view.opacity.max()) < 0.5
        yield view
    if nothing:
        logger.warning("no view shows anything of the field; move the cameras, or train longer")


def write_film(frames: Sequence[UInt8[np.ndarray, "h w 3"]], path: Path, *, fps: int) -> None:
    """Write pictures of one size as mp4 or gif, first under a temporary name."""
    with replacing(path) as temporary:
        if path.suffix.lower() == ".gif":
            pictures = [Image.fromarray(frame) for frame in frames]
            pictures[0].save(temporary, save_all=True, append_images=pictures[1:], duration=1000 // fps, loop=0)
        else:
            _write_h264(frames, temporary, fps)


def _write_h264(frames: Sequence[UInt8[np.ndarray, "h w 3"]], path: Path, fps: int) -> None:
    with av.open(str(path), "w") as container:
        # H.264 stores colour at half the size: sides must be even.
        height, width = (side - side % 2 for side in frames[0].shape[:2])
        stream = container.add_stream("libx264", rate=fps, options={"crf": "18"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame[:height, :width]), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


@torch.no_grad()
def density_volume(run: VolumeRun, resolution: int) -> Float[Tensor, "x y z"]:
    """Density per unit length of the world at the nodes of a grid over the field's box."""
    field, ndc = run.field, run.viewpoints.ndc
    low, high = field.bounds
    axes = [torch.linspace(float(a), float(b), resolution) for a, b in zip(low, high, strict=True)]
    volume = torch.empty((resolution,) * 3)
    plane = torch.cartesian_prod(axes[1], axes[2])
    for number, x in enumerate(axes[0].tolist()):
        parts = []
        for part in torch.nn.functional.pad(plane, (1, 0), value=x).split(2**17):
            points = part.to(field.bounds.device)
            density = density_of(field.features(points)[:, 0])
            parts.append((density if ndc is None else ndc.density(points, density)).cpu())
        volume[number] = torch.cat(parts).view(resolution, resolution)
    return volume


@torch.no_grad()
def outward_colors(
    field: VolumeField, points: Float[Tensor, "n 3"], outward: Float[Tensor, "n 3"]
) -> UInt8[np.ndarray, "n 3"]:
    """RGB bytes of surface points, each viewed against its normal."""
    parts = []
    for at, normal in zip(points.split(2**16), outward.split(2**16), strict=True):
        at, normal = at.to(field.bounds), normal.to(field.bounds)
        parts.append(field.color(field.features(at), -normal).float().cpu())
    return to_bytes(torch.cat(parts)).numpy()


def mesh(run: VolumeRun, *, resolution: int = 128, threshold: float = 10.0) -> trimesh.Trimesh:
    """The surface where density crosses ``threshold``, by marching cubes, with a colour at every vertex.

    Args:
        run: the trained field.
        resolution: grid nodes along each axis of the field's box, 2..`FINEST`.
        threshold: density at the surface, per unit length of the world, positive.

    Returns:
        A mesh in the world.

    Raises:
        ValueError: an argument is out of its range, or no density in the box reaches the threshold; the message says
            the largest.
    """
    check_mesh(resolution, threshold)
    with extra("fields"):
        import trimesh
        from skimage.measure import marching_cubes
    volume = density_volume(run, resolution)
    if not volume.min() < threshold < volume.max():
        raise ValueError(
            f"no surface at density {threshold}: densities in the box are {float(volume.min()):.3g} to"
            f" {float(volume.max()):.3g}; choose a threshold between"
        )
    # A border of zeros closes surfaces at the sides of the box.
    padded = np.pad(volume.numpy(), 1)
    corners, faces, gradients, _ = marching_cubes(padded, threshold)
    low, high = run.field.bounds.cpu()
    points = low + (torch.from_numpy(corners.copy()).float() - 1) / (resolution - 1) * (high - low)
    outward = normalize(torch.from_numpy(gradients.copy()).float() / (high - low), dim=-1)
    inside = points - 0.25 * outward * (high - low) / resolution
    ndc = run.viewpoints.ndc
    if ndc is None:
        faces = faces[:, ::-1]
    else:  # the depth of NDC grows away from the camera: the frame has the other handedness
        outward = normalize(ndc.normals(points, outward), dim=-1)
        points = ndc.to_world(points)
    colors = outward_colors(run.field, inside, outward)
    return trimesh.Trimesh(points.numpy(), faces, vertex_colors=colors, process=False)


def without_small_pieces(shape: trimesh.Trimesh, share: float) -> trimesh.Trimesh:
    """A mesh without the connected pieces that have less than ``share`` of the faces of the largest piece, 0..1."""
    with extra("fields"):
        from trimesh.graph import connected_component_labels
    labels = connected_component_labels(shape.face_adjacency, node_count=len(shape.faces))
    counts = np.bincount(labels)
    kept = shape.copy()
    kept.update_faces(counts[labels] >= share * counts.max())
    kept.remove_unreferenced_vertices()
    return kept


def check_mesh(resolution: int, threshold: float, smallest_piece: float = 0.0) -> None:
    """Refuse arguments of `mesh` and `without_small_pieces` that are out of their range."""
    if not 0 <= smallest_piece <= 1:
        raise ValueError(f"smallest_piece must be a share in 0..1, got {smallest_piece:g}")
    if not 2 <= resolution <= FINEST:
        raise ValueError(f"resolution must be in 2..{FINEST} nodes along each axis, got {resolution}")
    if not 0 < threshold < float("inf"):
        raise ValueError(f"threshold must be a positive density, got {threshold:g}")


@torch.no_grad()
def point_cloud(run: Run, cameras: Cameras) -> trimesh.PointCloud:
    """Points at the mean depth of the rays of ``cameras`` whose opacity exceeds one half, with the rendered colours.

    Points of NDC that are infinitely far are left out.

    Raises:
        ValueError: there is no such ray.
    """
    with extra("fields"):
        import trimesh
    points, colors = [], []
    for index in tqdm(range(len(cameras)), unit="view", desc="points", disable=None):
        view = run.draw(cameras[index])
        at, hit = surface_points(run, cameras[index], view)
        points.append(at)
        colors.append(to_bytes(view.color.cpu().flatten(0, 1)[hit]))
    if not sum(map(len, points)):
        raise ValueError(
            f"no ray of the {len(cameras)} views ends at a surface, so there are no points; train longer, or draw the"
            " field (render) to see what it shows"
        )
    return trimesh.PointCloud(torch.cat(points).numpy(), torch.cat(colors).numpy())


def surface_points(run: Run, camera: Cameras, view: Picture) -> tuple[Float[Tensor, "m 3"], Bool[Tensor, " p"]]:
    """Points in the world where the rays of a view end, and which of its pixels, row by row, they belong to.

    Left out are rays whose opacity does not exceed one half, and points of NDC that are infinitely far.

    Args:
        run: the field.
        camera: of the view, one.
        view: what ``run.draw`` gave for it.
    """
    ndc = run.viewpoints.ndc
    rays = dataclasses.replace(camera, ndc=ndc).picture_rays(0)
    depth = view.depth.flatten().cpu()[:, None]
    at = rays.origins.cpu() + rays.directions.cpu() * depth
    hit = (view.opacity > 0.5).flatten().cpu()
    if ndc is None:
        return at[hit], hit
    hit &= ndc.reachable(at)
    return ndc.to_world(at[hit]), hit


def write_shape(shape: trimesh.Trimesh | trimesh.PointCloud, path: Path) -> None:
    """Write a mesh (ply, glb, obj) or a point cloud (ply), first under a temporary name.

    Raises:
        ValueError: the file has another ending.
    """
    allowed = MESHES if hasattr(shape, "faces") else CLOUDS
    if path.suffix.lower() not in allowed:
        raise ValueError(f"{path} must end in {' or '.join(allowed)}")
    with replacing(path) as temporary:
        shape.export(temporary)
