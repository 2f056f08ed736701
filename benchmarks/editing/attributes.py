"""Estimates an object's traits and colours from two pictures: a small network, trained on a family's own renders.

It is trained without CLIP, so that it can measure edits that were learned through CLIP.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from skimage.color import rgb2lab
from torch import Tensor, nn
from torch.nn import functional as F

from nerf.cameras import Cameras
from nerf.conditional import ConditionalModel
from nerf.conditional.views import View

SIZE = 64
AZIMUTHS = (235.0, 55.0)
"""From the front and one side, and from behind and the other."""


def lab(rgb: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n 3"]:
    """CIE Lab of RGB in 0..1."""
    return torch.from_numpy(rgb2lab(rgb.clamp(0, 1).numpy())).float()


def cameras_of(model: ConditionalModel) -> list[Cameras]:
    """The two views."""
    return [View(azimuth=azimuth, size=SIZE).camera(model) for azimuth in AZIMUTHS]


@dataclass(frozen=True)
class Attributes:
    """Estimated attributes of objects."""

    traits: Float[Tensor, "n t"]
    """In standard deviations of the population, from its mean."""
    colors: Float[Tensor, "n p 3"]
    """Lab of every part."""


class Reader(nn.Module):
    """Four strided convolutions over both pictures, then a linear layer to standardised values."""

    mean: Tensor
    std: Tensor

    def __init__(self, model: ConditionalModel):
        super().__init__()
        self.family, self.cameras = model.family, cameras_of(model)
        mean, std = self.family.usual
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)
        widths = (3 * len(AZIMUTHS), 24, 48, 64, 96)
        layers: list[nn.Module] = []
        for a, b in zip(widths[:-1], widths[1:], strict=True):
            layers += [nn.Conv2d(a, b, 3, stride=2, padding=1), nn.ReLU()]
        self.net = nn.Sequential(*layers, nn.Flatten(), nn.Linear(96 * (SIZE // 16) ** 2, len(mean)))

    @property
    def trait_names(self) -> list[str]:
        """What the first columns are."""
        return [trait.name for trait in self.family.traits]

    def forward(self, pictures: Float[Tensor, "n v h w 3"]) -> Float[Tensor, "n k"]:
        """Standardised traits and colours."""
        return self.net(pictures.permute(0, 1, 4, 2, 3).flatten(1, 2))

    @torch.no_grad()
    def read(self, pictures: Float[Tensor, "n v h w 3"]) -> Attributes:
        """Traits and colours of objects from their two pictures each."""
        found, count = self(pictures), len(self.family.traits)
        rgb = (found * self.std + self.mean)[:, count:]
        return Attributes(found[:, :count], lab(rgb.view(len(rgb), -1, 3)))

    def fit(self, steps: int, batch: int = 32) -> None:
        """Train on fresh objects of the family."""
        adam = torch.optim.AdamW(self.parameters(), 2e-3)
        schedule = torch.optim.lr_scheduler.OneCycleLR(adam, 2e-3, total_steps=steps)
        for step in range(steps):
            shapes, palettes = self.family.shapes(batch, 10_000 + step), self.family.palettes(batch, 10_000 + step)
            wanted = (self.family.attributes(shapes, palettes) - self.mean) / self.std
            loss = F.smooth_l1_loss(self(self.drawn(shapes, palettes)), wanted)
            adam.zero_grad()
            loss.backward()
            adam.step()
            schedule.step()
        self.eval()

    def drawn(self, shapes: Float[Tensor, "n p"], palettes: Float[Tensor, "n q"]) -> Float[Tensor, "n v h w 3"]:
        """The family's pictures of objects from both views."""
        views = []
        for camera in self.cameras:
            repeated = camera[[0] * len(shapes)]
            views.append(self.family.render(shapes, palettes, repeated)[0])
        return torch.stack(views, 1)

    def quality(self, count: int = 64) -> dict[str, float]:
        """Correlation of every trait with the truth, and the mean colour error (ΔE), on fresh objects."""
        shapes, palettes = self.family.shapes(count, 5), self.family.palettes(count, 6)
        found, wanted = self.read(self.drawn(shapes, palettes)), self.family.attributes(shapes, palettes)
        known = len(self.trait_names)
        rows = torch.stack(
            [torch.corrcoef(torch.stack([found.traits[:, i], wanted[:, i]]))[0, 1] for i in range(known)]
        )
        error = (found.colors - lab(wanted[:, known:].view(count, -1, 3))).norm(dim=-1).mean()
        return {**dict(zip(self.trait_names, rows.tolist(), strict=True)), "delta_e": float(error)}


def pictures_of(
    model: ConditionalModel, cameras: list[Cameras], shape: Float[Tensor, " s"], appearance: Float[Tensor, " a"]
) -> Float[Tensor, "v h w 3"]:
    """The model's pictures of one object."""
    return torch.stack([model.render(shape, appearance, camera).color for camera in cameras])
