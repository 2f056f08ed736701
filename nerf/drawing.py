"""The commands ``render`` and ``export``: films, single views, meshes and point clouds of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from mappers.files import refuse_filled, refuse_taken, replacing, writable_folder
from mappers.options import declared_by
from mappers.pictures import MOVING_ENDINGS, PICTURE_ENDINGS
from mappers.pixels import check_side

from .camera_path import CameraPath, read_camera_path
from .cameras import Cameras
from .evaluation import depth_map, picture_of
from .export import (
    CLOUDS,
    FILMS,
    MESHES,
    check_film,
    check_mesh,
    draw_views,
    mesh,
    point_cloud,
    render_film,
    without_small_pieces,
    write_shape,
)
from .options import ExportOptions, RenderOptions
from .runs import SMALLEST, Run, SplatRun, load_run, turntable
from .splats.files import WRITERS, write_splats

FILM = "turntable.mp4"
VIEWS, SIZE, FPS = 48, 200, 24
ENDINGS = {"mesh": MESHES, "points": CLOUDS, "splats": tuple(WRITERS)}
"""Endings of exported files by kind."""


@declared_by(RenderOptions)
def render(
    run_dir: str | Path,
    *,
    output: str | Path | None = None,
    camera_path: str | Path | None = None,
    split: Literal["train", "val", "test"] | None = None,
    scene: str | None = None,
    views: int | None = None,
    size: int | None = None,
    elevation: float | None = None,
    radius: float | None = None,
    depth: bool = False,
    fps: int | None = None,
    overwrite: bool = False,
) -> Path:
    """Draw a trained field as a film, or as single views in a folder.

    Returns:
        The film or the folder.

    Raises:
        FileNotFoundError, FieldError: the run cannot be read.
        FileExistsError: the output exists, and ``overwrite`` is not set.
        ValueError: an argument is out of its range, or two contradict each other; nothing is written then.
    """
    own = output is None
    output = Path(run_dir) / FILM if output is None else Path(output)
    film = _is_film(output)
    if film and not own:
        refuse_taken(output, overwrite=overwrite)
    elif not film:
        refuse_filled(output, overwrite=overwrite)
    if fps is not None:
        check_film(fps)
    _refuse_together(camera_path, split, scene, views=views, elevation=elevation, radius=radius)
    run = load_run(run_dir)
    if split is not None:
        photos = run.photos(scene).split(split)
        path = CameraPath(_resized(photos.cameras, size))
        longest = max(photos.cameras.width, photos.cameras.height)
        single = [_resized(photos.camera(index), size, longest=longest) for index in range(len(photos))]
    else:
        path = _path(run, camera_path, views=views, size=size, elevation=elevation, radius=radius)
        single = [path.cameras[index] for index in range(len(path.cameras))]
    writable_folder(output.parent if film else output)
    if film:
        render_film(run, path.cameras, output, fps=round(path.fps or FPS) if fps is None else fps, depth=depth)
        return output
    for index, view in enumerate(draw_views(run, single)):
        shown = {"": view.color} | ({"_depth": depth_map(view)} if depth else {})
        for kind, values in shown.items():
            with replacing(output / f"{index:03d}{kind}.png") as temporary:
                picture_of(values).save(temporary)
    return output


@declared_by(ExportOptions)
def export(
    run_dir: str | Path,
    *,
    output: str | Path,
    kind: Literal["mesh", "points", "splats"] | None = None,
    resolution: int = 128,
    threshold: float = 10.0,
    smallest_piece: float = 0.0,
    views: int = 24,
    size: int = 100,
    overwrite: bool = False,
) -> Path:
    """Write a trained field as a coloured mesh or a point cloud in the world of its scene, or as Gaussian splats.

    Returns:
        The file.

    Raises:
        FileNotFoundError, FieldError: the run cannot be read.
        FileExistsError: the output exists, and ``overwrite`` is not set.
        ValueError: the ending or an argument is out of its range, or there is no surface; nothing is written then.
    """
    output = Path(output)
    _check_ending(output, kind)
    refuse_taken(output, overwrite=overwrite)
    check_mesh(resolution, threshold, smallest_piece)
    run = load_run(run_dir)
    if kind is None:
        kind = "splats" if isinstance(run, SplatRun) else "mesh"
        _check_ending(output, kind)
    circle = turntable(run, views, size=size)
    if kind == "splats":
        cloud = run.splats()
        writable_folder(output.parent)
        write_splats(cloud, output)
    elif kind == "mesh":
        volume = run.volume()
        writable_folder(output.parent)
        shape = mesh(volume, resolution=resolution, threshold=threshold)
        write_shape(without_small_pieces(shape, smallest_piece) if smallest_piece else shape, output)
    else:
        writable_folder(output.parent)
        write_shape(point_cloud(run, circle), output)
    return output


def _check_ending(output: Path, kind: str | None) -> None:
    """Refuse an ending that no file of the kind has; None is any kind."""
    allowed = ENDINGS[kind] if kind else dict.fromkeys(ending for endings in ENDINGS.values() for ending in endings)
    if output.suffix.lower() not in allowed:
        of = f" of {kind}" if kind else ""
        raise ValueError(f"the output{of} must end in {' or '.join(allowed)}, got {output}")


def _path(
    run: Run,
    camera_path: str | Path | None,
    *,
    views: int | None,
    size: int | None,
    elevation: float | None,
    radius: float | None,
) -> CameraPath:
    """The cameras of a file, or of a turntable; see `render`."""
    if camera_path is not None:
        seen = run.viewpoints
        path = read_camera_path(camera_path, size=(seen.width, seen.height), moves=run.field.moves)
        return CameraPath(_resized(path.cameras, size), path.fps)
    views, size = VIEWS if views is None else views, SIZE if size is None else size
    return CameraPath(turntable(run, views, size=size, elevation=elevation, radius=radius))


def _is_film(output: Path) -> bool:
    """Whether an output is a film rather than a folder.

    Raises:
        ValueError: it has the ending of another kind of file.
    """
    ending = output.suffix.lower()
    if ending in FILMS:
        return True
    if ending in (*MOVING_ENDINGS, *PICTURE_ENDINGS, *MESHES):
        raise ValueError(
            f"the output must end in {' or '.join(FILMS)} for a film, or be a folder for single views, got {output}"
        )
    return False


def _refuse_together(
    camera_path: str | Path | None, split: str | None, scene: str | None, **circle: float | None
) -> None:
    """Refuse options that contradict each other, or do nothing together.

    Args:
        circle: options of the turntable.
    """
    if camera_path is not None and split is not None:
        raise ValueError("camera_path and split both name cameras; leave one of them out")
    if scene is not None and split is None:
        raise ValueError("scene names the photos of a split; give split (--split test) too, or leave it out")
    chosen = "camera_path" if camera_path is not None else "split" if split is not None else None
    given = [name for name, value in circle.items() if value is not None]
    if chosen and given:
        raise ValueError(f"{given[0]} is of the turntable and does nothing with {chosen}; leave it out")


def _resized(cameras: Cameras, size: int | None, *, longest: int | None = None) -> Cameras:
    """The cameras with ``size`` pixels along the longer side, or as they are.

    Args:
        longest: the side that becomes ``size`` pixels long, if it is not that of the cameras.
    """
    if size is None:
        return cameras
    check_side(size, least=SMALLEST)
    return cameras.scaled((longest or max(cameras.width, cameras.height)) / size)
