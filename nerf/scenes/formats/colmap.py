"""Folders of COLMAP: a sparse model, as text or binary, and the pictures it was made from."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from ..pictures import MASKS, Exclusion, PictureSource, picture_size
from ..points import points_box
from ..scene import SceneError
from .listing import Listing, every_eighth, make_cameras

PLACES = ("sparse/0", "sparse", "colmap/sparse/0", "colmap/sparse", "distorted/sparse/0", ".")
"""Where a model may lie in a scene's folder."""
MODELS = {
    0: ("SIMPLE_PINHOLE", "f cx cy"),
    1: ("PINHOLE", "fx fy cx cy"),
    2: ("SIMPLE_RADIAL", "f cx cy k1"),
    3: ("RADIAL", "f cx cy k1 k2"),
    4: ("OPENCV", "fx fy cx cy k1 k2 p1 p2"),
    5: ("OPENCV_FISHEYE", "fx fy cx cy k1 k2 k3 k4"),
    6: ("FULL_OPENCV", "fx fy cx cy k1 k2 p1 p2 k3 k4 k5 k6"),
    7: ("FOV", "fx fy cx cy omega"),
    8: ("SIMPLE_RADIAL_FISHEYE", "f cx cy k1"),
    9: ("RADIAL_FISHEYE", "f cx cy k1 k2"),
    10: ("THIN_PRISM_FISHEYE", "fx fy cx cy k1 k2 p1 p2 k3 k4 sx1 sy1"),
}
"""Camera models by number: name and parameters. Those after OPENCV are refused by name."""
PERSPECTIVE = 4
"""The last model that is read."""
UPRIGHT = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])
"""From COLMAP's world, where y mostly points down, to this package's, where z is up."""


@dataclass(frozen=True)
class _Camera:
    model: str
    size: tuple[int, int]
    values: dict[str, float]


@dataclass(frozen=True)
class _View:
    name: str
    camera: int
    quaternion: tuple[float, ...]
    """World to camera: w, x, y, z."""
    translation: tuple[float, ...]


def model_folder(folder: Path) -> Path | None:
    """The folder of the sparse model; None if there is none."""
    return next((folder / place for place in PLACES if _is_model(folder / place)), None)


def _is_model(folder: Path) -> bool:
    return any(
        all((folder / f"{name}{ending}").is_file() for name in ("cameras", "images")) for ending in (".bin", ".txt")
    )


def read_colmap(folder: Path) -> Listing:
    """List a folder of COLMAP.

    Pictures lie in ``images/``, else in the folder itself. ``masks/<name of the picture>.png`` leaves out what is
    black, as in COLMAP. Every eighth picture by name is a test view. The world is turned so that z is up where y
    pointed down. Bounds are those of the sparse points.

    Raises:
        SceneError: the model is missing, damaged or of a lens that is not read, or pictures are missing.
    """
    source = model_folder(folder)
    if source is None:
        raise SceneError(f"{folder} has no COLMAP model; sparse/0 must hold cameras and images, .bin or .txt")
    others = sorted(path.name for path in source.parent.iterdir() if _is_model(path))
    if source.name == "0" and len(others) > 1:
        raise SceneError(
            f"{source.parent} has {len(others)} models ({', '.join(others)}); keep the folder of one of them, or merge"
            " them with colmap model_merger"
        )
    binary = (source / "cameras.bin").is_file() and (source / "images.bin").is_file()
    cameras = _read(source / f"cameras.{'bin' if binary else 'txt'}", _binary_cameras if binary else _text_cameras)
    views = _read(source / f"images.{'bin' if binary else 'txt'}", _binary_views if binary else _text_views)
    if not views:
        raise SceneError(f"{source} has no registered pictures; run COLMAP's mapper again")
    ordered = sorted(views, key=lambda view: view.name)
    pictures = tuple(_picture(folder, source, view) for view in ordered)
    used = [_camera(source, cameras, view) for view in ordered]
    for picture, camera in zip(pictures, used, strict=True):
        if picture.size != camera.size:
            said, found = ("x".join(map(str, size)) for size in (camera.size, picture.size))
            raise SceneError(f"{source} says {said} pixels but {picture.path} has {found}; make them agree")
    focal = [[v.get("fx", v.get("f", 0.0)), v.get("fy", v.get("f", 0.0))] for v in (c.values for c in used)]
    center = [[camera.values["cx"], camera.values["cy"]] for camera in used]
    lens = [[camera.values.get(name, 0.0) for name in ("k1", "k2", "p1", "p2", "k3", "k4")] for camera in used]
    listed = make_cameras(
        source, pictures, torch.from_numpy(_poses(ordered)), torch.tensor(focal).double(),
        torch.tensor(center).double(), distortion=torch.tensor(lens).double(),
    )  # fmt: skip
    points = _points(source)
    box = None if points is None else points_box(points @ UPRIGHT.T)
    return Listing(pictures, listed, every_eighth(len(pictures)), bounds=box)


def _poses(views: list[_View]) -> np.ndarray:
    """Camera to world in this package's axes, [n, 3, 4]."""
    turn = Rotation.from_quat([view.quaternion for view in views], scalar_first=True).as_matrix()
    position = -np.einsum("nji,nj->ni", turn, np.array([view.translation for view in views]))
    # Rows of the world-to-camera rotation are right, down and forward; ours are right, up and back.
    axes = turn.transpose(0, 2, 1) * np.array([1.0, -1.0, -1.0])
    return np.concatenate([UPRIGHT @ axes, (position @ UPRIGHT.T)[:, :, None]], -1)


def _picture(folder: Path, source: Path, view: _View) -> PictureSource:
    pictures = folder / "images" if (folder / "images").is_dir() else folder
    path = pictures / view.name.replace("\\", "/")
    if not path.is_file():
        raise SceneError(f"the picture {path} that {source} lists is missing; restore it")
    mask = folder / MASKS / f"{view.name}.png"
    return PictureSource(path, picture_size(path), excluded=Exclusion(mask, black=True) if mask.is_file() else None)


def _camera(source: Path, cameras: dict[int, _Camera], view: _View) -> _Camera:
    camera = cameras.get(view.camera)
    if camera is None:
        raise SceneError(f"{source} has no camera {view.camera}, which {view.name} names; export the model again")
    if camera.model not in {MODELS[number][0] for number in range(PERSPECTIVE + 1)}:
        raise SceneError(
            f"{source} has the camera model {camera.model}; undistort the pictures (colmap image_undistorter)"
        )
    return camera


def _read(path: Path, reader: Callable[[Path], Any]) -> Any:
    try:
        return reader(path)
    except (struct.error, ValueError, IndexError, KeyError, UnicodeDecodeError, OverflowError) as error:
        raise SceneError(f"{path} is damaged ({error}); export the model again") from error


def _named(model: str, numbers: list[float]) -> dict[str, float]:
    parameters = dict(MODELS.values())[model].split()
    return dict(zip(parameters, numbers, strict=True))


def _text_cameras(path: Path) -> dict[int, _Camera]:
    cameras = {}
    for words in _lines(path):
        values = _named(words[1], [float(word) for word in words[4:]])
        cameras[int(words[0])] = _Camera(words[1], (int(words[2]), int(words[3])), values)
    return cameras


def _text_views(path: Path) -> list[_View]:
    """Every second line holds a view; the others, which may be empty, hold its points."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    views = []
    for line in lines[::2]:
        words = line.split(maxsplit=9)
        if words:
            numbers = tuple(map(float, words[1:8]))
            views.append(_View(words[9], int(words[8]), numbers[:4], numbers[4:]))
    return views


def _lines(path: Path) -> Iterator[list[str]]:
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            yield line.split()


class _Binary:
    """Reads numbers one after the other; a count is checked before anything is made from it."""

    def __init__(self, path: Path):
        self.data, self.at = path.read_bytes(), 0

    def take(self, kinds: str) -> tuple[Any, ...]:
        found = struct.unpack_from("<" + kinds, self.data, self.at)
        self.at += struct.calcsize("<" + kinds)
        return found

    def text(self) -> str:
        end = self.data.index(b"\0", self.at)
        found = self.data[self.at : end].decode("utf-8")
        self.at = end + 1
        return found

    def skip(self, count: int) -> None:
        if count > len(self.data) - self.at:
            raise ValueError("it is cut off")
        self.at += count


def _binary_cameras(path: Path) -> dict[int, _Camera]:
    file, cameras = _Binary(path), {}
    (count,) = file.take("Q")
    for _ in range(count):
        number, kind, width, height = file.take("iiQQ")
        if kind not in MODELS:
            raise ValueError(f"it has the unknown camera model {kind}")
        name, parameters = MODELS[kind]
        values = file.take(f"{len(parameters.split())}d")
        cameras[number] = _Camera(name, (width, height), _named(name, list(values)))
    return cameras


def _binary_views(path: Path) -> list[_View]:
    file, views = _Binary(path), []
    (count,) = file.take("Q")
    for _ in range(count):
        _, *numbers, camera = file.take("i7di")
        name = file.text()
        (points,) = file.take("Q")
        file.skip(points * 24)
        views.append(_View(name, camera, tuple(numbers[:4]), tuple(numbers[4:])))
    return views


def _points(source: Path) -> np.ndarray | None:
    """The sparse points in COLMAP's world, [n, 3]; None where the model has no file of them."""
    if (source / "points3D.bin").is_file():
        return _read(source / "points3D.bin", _binary_points)
    if (source / "points3D.txt").is_file():
        return _read(source / "points3D.txt", _text_points)
    return None


def _text_points(path: Path) -> np.ndarray:
    return np.array([[float(word) for word in words[1:4]] for words in _lines(path)]).reshape(-1, 3)


def _binary_points(path: Path) -> np.ndarray:
    file, points = _Binary(path), []
    (count,) = file.take("Q")
    for _ in range(count):
        values = file.take("Q3d3BdQ")
        points.append(values[1:4])
        file.skip(values[-1] * 8)
    return np.array(points).reshape(-1, 3)
