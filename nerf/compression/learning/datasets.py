"""The data that codecs are trained and measured on, from folders; the split keeps data of one subject together."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate

from mappers.pictures import open_rgb

from ..modalities.sounds import SoundCodec
from ..modalities.videos import VideoCodec

HELD_OUT = 5
"""One in this many labels, subjects or recordings, in the order of their names, is held out from training."""
VIDEO_PART, VOLUME_PART = 3 / 4, 2 / 3
"""Shares of the frames of the only video and of the first axis of the only volume that are trained on."""
DATASETS = ("natural32", "photos", "sounds", "videos", "volumes")


def training_data(name: str, folder: Path, *, held_out: bool = False) -> list[Float[Tensor, "channels ..."]]:
    """Values of a data set, -0.5..0.5, [channels, *dims] each; with ``held_out`` those to measure on.

    Raises:
        FileNotFoundError: the folder has no such data.
        ValueError: the data set is unknown.
    """
    if name not in DATASETS:
        raise ValueError(f"data must be one of {', '.join(DATASETS)}, got {name!r}")
    found = {
        "natural32": _natural32, "photos": _photos, "sounds": _sounds, "videos": _videos, "volumes": _volumes
    }[name](folder, held_out)  # fmt: skip
    if not found:
        raise FileNotFoundError(f"there are no {name} in {folder}; give the folder that holds them as --data")
    return found


def _natural32(folder: Path, held_out: bool) -> list[Tensor]:
    """Labelled crops of 32 x 32 pixels."""
    path = folder / "natural32" / "natural32.npz"
    if not path.is_file():
        return []
    with np.load(path, allow_pickle=False) as file:
        images = file["images"][(file["labels"] % HELD_OUT == 0) == held_out]
    return list(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255 - 0.5)


def _photos(folder: Path, held_out: bool) -> list[Tensor]:
    """Whole photos: of concepts and animals, of which natural32 has crops with the same split; and of a street."""
    subjects: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("concept_photos/*/*.webp")):
        subjects.setdefault(path.parent.name, []).append(path)
    for path in sorted(folder.glob("animal_photos/*.webp")):
        subjects.setdefault(path.stem, []).append(path)
    chosen = [path for name in _part(sorted(subjects), held_out) for path in subjects[name]]
    views = folder / "nerf_lund" / f"transforms_{'test' if held_out else 'train'}.json"
    if views.is_file():
        frames = json.loads(views.read_text(encoding="utf-8"))["frames"]
        chosen += [views.parent / frame["file_path"] for frame in frames]
    return [_pixels(path) for path in chosen]


def _pixels(path: Path) -> Tensor:
    return torch.from_numpy(np.array(open_rgb(path))).permute(2, 0, 1).float() / 255 - 0.5


def _sounds(folder: Path, held_out: bool) -> list[Tensor]:
    """Speech and music, split by recording; and sounds of things with the split of their list."""
    apart = ("librosa", "LJ")  # their recordings are among the speech and music
    chosen = [path for name in ("speech", "music") for path in _part(sorted(folder.glob(f"{name}/*.flac")), held_out)]
    pairs = folder / "v2a_pairs" / "pairs.jsonl"
    if pairs.is_file():
        for line in pairs.read_text(encoding="utf-8").splitlines():
            sounds = json.loads(line)["audio"]
            chosen += [
                pairs.parent / sound["file"]
                for sound in sounds
                if (sound["split"] != "train") == held_out and not any(name in sound["source"] for name in apart)
            ]
    codec = SoundCodec()
    return [codec.to_datum(codec.read(path)).values for path in chosen]


def _videos(folder: Path, held_out: bool) -> list[Tensor]:
    """The first frames of the only video, and photos at half size as stills. Its last frames are held out."""
    path = folder / "video" / "bbb_320x180.mp4"
    if not path.is_file():
        return []
    codec = VideoCodec()
    values = codec.to_datum(codec.read(path)).values
    first = round(VIDEO_PART * values.shape[1])
    if held_out:
        return [values[:, first:]]
    halves = (interpolate(p[None], scale_factor=0.5, mode="area").transpose(0, 1) for p in _photos(folder, False))
    return [values[:, :first], *halves]


def _volumes(folder: Path, held_out: bool) -> list[Tensor]:
    """The first part of a scan of a brain; the rest is held out."""
    path = folder / "volumes" / "mni152_t1.npz"
    if not path.is_file():
        return []
    with np.load(path, allow_pickle=False) as file:
        values = torch.from_numpy(file["intensity"])[None].float() / 255 - 0.5
    first = round(VOLUME_PART * values.shape[1])
    return [values[:, first:] if held_out else values[:, :first]]


def _part(names: list, held_out: bool) -> list:
    return [name for place, name in enumerate(names) if (place % HELD_OUT == 0) == held_out]
