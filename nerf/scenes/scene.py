"""The data that a field is trained on: pictures, their cameras, and the box around the content."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from ..cameras import Cameras

SPLITS = ("train", "val", "test")


class SceneError(ValueError):
    """A scene's files cannot be used; the message names the file and the remedy."""


@dataclass(frozen=True, eq=False)
class Scene:
    """n pictures of one object or place."""

    name: str
    pictures: UInt8[Tensor, "n h w 4"]
    """Straight alpha; opaque pictures have alpha 255."""
    cameras: Cameras
    splits: dict[str, list[int]]
    """Indices of the pictures for "train", "val" and "test"; the last two may be empty."""
    bounds: Float[Tensor, "2 3"]
    """Lower and upper corner of the content, in the frame of the rays: the world, or NDC."""
    near: float
    """Distance along rays at which content begins; 0 in NDC."""
    far: float
    """Distance along rays at which content ends; 1 in NDC."""
    has_alpha: bool
    """Whether any pixel is transparent."""
    names: tuple[str, ...]
    """Picture files relative to the scene's folder, for messages."""
    source: str
    """Folder or shipped id that it was read from, as it was given."""
    downscale: float
    """Factor by which its pictures were read smaller."""
    format: str = "auto"
    """The format that it was read as."""
    kept: Bool[Tensor, "n h w"] | None = None
    """Pixels that take part in training and scores; None: all. Masks leave others out, and so does a picture that is
    smaller than the largest."""
    sizes: tuple[tuple[int, int], ...] | None = None
    """Width and height of each picture, in the top left corner of ``pictures``; None: all have those of the cameras."""

    def __len__(self) -> int:
        return len(self.pictures)

    @property
    def content(self) -> dict[str, Any]:
        """All that a training depends on, by name: whatever it is called and wherever it lies, it is the same scene."""
        names = ("pictures", "cameras", "splits", "bounds", "near", "far")
        masks = {} if self.kept is None else {"kept": self.kept}
        return {name: getattr(self, name) for name in names} | masks

    def split(self, which: str) -> Scene:
        """The pictures of one split alone; they keep their order.

        Raises:
            ValueError: there is no split of that name, or it has no pictures.
        """
        if which not in SPLITS:
            raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {which!r}")
        indices = self.splits[which]
        if not indices:
            raise ValueError(f"the scene {self.name} has no pictures in the split {which!r}")
        splits = {name: list(range(len(indices))) if name == which else [] for name in SPLITS}
        return dataclasses.replace(
            self, pictures=self.pictures[indices], cameras=self.cameras[indices], splits=splits,
            names=tuple(self.names[index] for index in indices), kept=None if self.kept is None else self.kept[indices],
            sizes=None if self.sizes is None else tuple(self.sizes[index] for index in indices),
        )  # fmt: skip

    def camera(self, index: int) -> Cameras:
        """The camera of one picture, with that picture's own width and height."""
        camera = self.cameras[index]
        if self.sizes is None:
            return camera
        width, height = self.sizes[index]
        return dataclasses.replace(camera, width=width, height=height)

    def mask(self, index: int) -> Bool[Tensor, "h w"]:
        """Which pixels of one picture take part in training and scores."""
        camera = self.camera(index)
        if self.kept is None:
            return torch.ones(camera.height, camera.width, dtype=torch.bool)
        return self.kept[index, : camera.height, : camera.width]

    def random_pixels(self, u: Float[Tensor, "b 3"]) -> tuple[Int[Tensor, " b"], Float[Tensor, "b 2"]]:
        """Pictures, and centres of pixels in them that take part, for random numbers in 0..1: picture, column and row.

        Every picture that has such a pixel is drawn equally often, and so is every such pixel of one picture.
        """
        if self.kept is None:
            camera = (u[:, 0] * len(self)).long()
            sides = torch.tensor([self.cameras.width, self.cameras.height])
            return camera, (u[:, 1:] * sides).long() + 0.5
        places, start = self._kept_places
        count = start.diff()
        shown = count.nonzero()[:, 0]
        camera = shown[(u[:, 0] * len(shown)).long()]
        rank = (u[:, 1].double() * count[camera]).long()
        place = places[start[camera] + rank].long()
        row, column = place // self.cameras.width, place % self.cameras.width
        return camera, torch.stack([column, row], -1) + 0.5

    @cached_property
    def _kept_places(self) -> tuple[Int[Tensor, " k"], Int[Tensor, " n1"]]:
        """Row-major places of the pixels that take part, picture by picture, and where each picture's begin."""
        assert self.kept is not None
        flat = self.kept.flatten(1)
        places = torch.cat([row.nonzero()[:, 0].int() for row in flat])
        return places, torch.cat([torch.zeros(1, dtype=torch.long), flat.sum(1).cumsum(0)])

    def colors(
        self,
        camera: Int[Tensor, " b"],
        pixels: Float[Tensor, "b 2"] | Int[Tensor, "b 2"],
        background: Float[Tensor, "b 3"] | Float[Tensor, " 3"],
    ) -> Float[Tensor, "b 3"]:
        """Colours of pixels in 0..1, composited on a background.

        Args:
            camera: picture of each pixel.
            pixels: (x, y), whole numbers or anywhere in the pixel, as `Cameras.rays` takes them.
            background: one colour for each pixel, or one for all.
        """
        x, y = pixels.floor().long().unbind(-1) if pixels.is_floating_point() else pixels.unbind(-1)
        values = self.pictures[camera, y, x].float() / 255
        return values[:, :3] * values[:, 3:] + background.to(values) * (1 - values[:, 3:])

    def picture(self, index: int, background: Float[Tensor, " 3"] | None = None) -> Float[Tensor, "h w 3"]:
        """One whole picture in 0..1, of its own size, composited on a background; None takes white."""
        camera = self.camera(index)
        values = self.pictures[index, : camera.height, : camera.width].float() / 255
        background = torch.ones(3) if background is None else background
        return values[..., :3] * values[..., 3:] + background.to(values) * (1 - values[..., 3:])
