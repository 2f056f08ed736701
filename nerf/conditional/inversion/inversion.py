"""Codes and pose of the object in one picture (CLIP-NeRF, section 3.5): alternating optimisation from several starts.

Starts are the predictions of a picture encoder, if the model has one. Otherwise they are views of typical shapes whose
silhouettes are most similar to the picture's. After a few rounds most starts are dropped. In each round pose, shape
code and appearance code take one step each while the other two are fixed, on a random part of the pixels. New noise in
every step, which falls linearly to zero, keeps codes from converging early. The distance of the camera is fixed to the
family's, because one picture does not separate distance from size. Codes are whitened, so that noise and learning
rates are in standard deviations of the family.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mappers.picture_encoder import PictureEncoder, load_picture_encoder
from mappers.quality import psnr

from ...cameras import Cameras, pixel_centers
from ...rendering.occupancy import OccupancyGrid
from ..clip.scorer import Scorer, clip_distance
from ..families.family import RADIUS
from ..mapping.objective import GRID
from ..model import ENCODER, ConditionalModel, located
from ..views import View
from .target_picture import Target

LOWEST, HIGHEST = math.radians(-5), math.radians(85)
"""Range of the camera's elevation in radians."""
AROUND, RISES = 24, (5.0, 25.0, 45.0, 65.0)
"""Views whose silhouettes are compared: number of azimuths, evenly spaced, and elevations in degrees."""
TYPICAL, SPREAD = 2, 1.5
"""Typical shapes: the mean, and ±SPREAD standard deviations along each of the first TYPICAL principal components."""
APART = math.cos(math.radians(25))
"""Cosine of the smallest angle between the viewing directions of two starts, 25 degrees."""


@dataclass(frozen=True, kw_only=True)
class InversionConfig:
    """Settings of the inversion of a picture."""

    size: int = 64
    """Side in pixels of the picture and of the renders that are compared with it."""
    rays: int = 1024
    """Random pixels that each step compares; with a scorer, which needs whole pictures, all pixels."""
    iterations: int = 120
    """Rounds of three steps, including those of the screening."""
    starts: int = 8
    """Number of starts without an encoder: the views and typical shapes with the most similar silhouettes."""
    screening: int = 20
    """Rounds after which a third of the starts is kept; after as many rounds again one start is kept."""
    screening_size: int = 16
    """Side of the renders in pixels until then, at most `size`; used without an encoder."""
    code_rate: float = 0.1
    """Learning rate of Adam for whitened codes; it falls to zero along a cosine."""
    pose_rate: float = 0.02
    """Learning rate of Adam for azimuth and elevation, in radians."""
    noise: float = 0.1
    """λ_n at the first round: standard deviation of the noise on whitened codes; 1 in the paper."""
    mask_weight: float = 0.5
    """Weight of the squared error of the opacity to the mask; the colour's error has weight 1."""
    code_weight: float = 1e-3
    """Weight of the mean squared deviation of whitened codes from 0, or from the encoder's prediction."""
    pose_clip: float = 0.1
    """λ_v: weight of D_CLIP in steps of the pose; used if a scorer is given."""
    code_clip: float = 0.2
    """λ_s and λ_a: weight of D_CLIP in steps of the codes."""
    seed: int = 0
    """Seed of the noise and of the random pixels."""

    def __post_init__(self) -> None:
        for name in ("size", "rays", "iterations", "starts", "screening", "screening_size", "code_rate", "pose_rate"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if 2 * self.screening > self.iterations:
            raise ValueError(f"screening must be at most half of iterations, {self.iterations}; got {self.screening}")


@dataclass(frozen=True)
class Inversion:
    """Codes and pose of a picture's object."""

    shape_code: Float[Tensor, " s"]
    appearance_code: Float[Tensor, " a"]
    azimuth: float
    """Degrees, 0..360."""
    elevation: float
    """Degrees."""
    psnr: float
    """PSNR in dB of the render to the picture, at the size of the settings."""
    losses: tuple[float, ...]
    """Loss of each start at the end of the first screening, before a third of them was kept."""

    def view(self, size: int) -> View:
        """The view of the picture, with another size in pixels."""
        return View(azimuth=self.azimuth, elevation=self.elevation, size=size)


class Attempt:
    """One start: pose, shape code and appearance code, each with its own optimizer."""

    def __init__(
        self,
        search: Search,
        shape: Tensor,
        appearance: Tensor,
        azimuth: float,
        elevation: float,
        home: tuple[Tensor, Tensor] | None = None,
    ):
        config = search.config
        self.home = home or (torch.zeros_like(shape), torch.zeros_like(appearance))
        """Whitened codes to which deviations are penalised; zeros, the family's mean, by default."""
        pose = torch.tensor([azimuth, elevation])
        self.groups = {"pose": pose, "shape": shape.clone(), "appearance": appearance.clone()}
        for value in self.groups.values():
            value.requires_grad_()
        rates = {"pose": config.pose_rate, "shape": config.code_rate, "appearance": config.code_rate}
        self.optimizers = {name: torch.optim.Adam([value], rates[name]) for name, value in self.groups.items()}
        self.rates = rates


class Search:
    """The loss of pose and codes for one picture, and its optimisation steps.

    Args:
        model: category model.
        target: the picture, with the size of the renders.
        config: settings.
        scorer: CLIP for the paper's term D_CLIP; None leaves the term out.
        generator: source of random numbers; None makes one with the settings' seed.
    """

    def __init__(
        self,
        model: ConditionalModel,
        target: Target,
        config: InversionConfig,
        scorer: Scorer | None,
        generator: torch.Generator | None = None,
    ):
        self.model, self.target, self.config, self.scorer = model, target, config, scorer
        self.target_embedding = None if scorer is None else scorer.embed_images(target.rgb[None])
        self.generator = generator or torch.Generator().manual_seed(config.seed)
        self.size = len(target.alpha)
        self.ground = torch.ones(self.size**2, 3)

    def cameras(self, pose: Float[Tensor, " 2"]) -> Cameras:
        """The camera at azimuth and elevation (radians)."""
        return self.model.family.seen_from(pose[:1], pose[1:].clamp(LOWEST, HIGHEST), self.size)

    @torch.no_grad()
    def silhouette_starts(self, count: int) -> list[tuple[tuple[float, float], Float[Tensor, " s"]]]:
        """Poses (azimuth and elevation in radians) and whitened shape codes with silhouettes similar to the target's.

        For each view the typical shape with the most similar silhouette; of these the best ``count`` views that are at
        least the angle of `APART` from each other, the best first.
        """
        turns = torch.arange(AROUND) * (2 * math.pi / AROUND)
        turn, rise = torch.meshgrid(turns, torch.deg2rad(torch.tensor(RISES)), indexing="ij")
        turn, rise = turn.flatten(), rise.flatten()
        cameras = self.model.family.seen_from(turn, rise, self.size)
        places = cameras.positions / RADIUS
        rays = cameras.rays(
            torch.arange(len(places)).repeat_interleave(self.size**2),
            pixel_centers(self.size, self.size).repeat(len(places), 1),
        )
        ground = torch.ones(len(rays), 3)
        typical, errors = self._typical(), []
        for shape in typical:
            code = self.model.shape_prior.unwhiten(shape)
            out = self.model.trace(code, self.model.appearance_codes[0], rays, ground, grid=self.model.grid(code, GRID))
            seen = out.opacity.view(len(places), self.size, self.size)
            errors.append((seen - self.target.alpha).square().mean((1, 2)))
        error, best = torch.stack(errors).min(0)
        chosen: list[int] = []
        for view in error.argsort().tolist():
            if len(chosen) < count and all(float(places[view] @ places[other]) < APART for other in chosen):
                chosen.append(view)
        return [((float(turn[i]), float(rise[i])), typical[int(best[i])]) for i in chosen]

    def _typical(self) -> Float[Tensor, "n s"]:
        """Whitened shape codes of the mean shape and of shapes on both sides of it along principal components."""
        codes = self.model.shape_codes
        mean = codes.mean(0)
        _, deviation, across = torch.linalg.svd((codes - mean).double(), full_matrices=False)
        along = (deviation[:, None] * across)[:TYPICAL] * (SPREAD / (len(codes) - 1) ** 0.5)
        along = along.to(codes)
        return self.model.shape_prior.whiten(torch.cat([mean[None], mean + along, mean - along]))

    def loss(
        self,
        pose: Float[Tensor, " 2"],
        shape: Float[Tensor, " s"],
        appearance: Float[Tensor, " a"],
        home: tuple[Tensor, Tensor],
        clip_weight: float,
        disturbed: tuple[Tensor, Tensor] | None = None,
        pixels: Int[Tensor, " n"] | None = None,
        grid: OccupancyGrid | None = None,
    ) -> Tensor:
        """Squared errors of colour and opacity, and the weighted terms of the settings.

        Args:
            pose: azimuth and elevation in radians.
            shape: whitened shape code.
            appearance: whitened appearance code.
            home: whitened codes to which deviations are penalised.
            clip_weight: weight of D_CLIP.
            disturbed: whitened codes with noise, which are rendered instead of ``shape`` and ``appearance``.
            pixels: numbers of the compared pixels, row by row; None takes all.
            grid: occupied cells; None computes them.
        """
        config, model = self.config, self.model
        drawn = (shape, appearance) if disturbed is None else disturbed
        codes = model.shape_prior.unwhiten(drawn[0]), model.appearance_prior.unwhiten(drawn[1])
        compared = slice(None) if pixels is None else pixels
        rays = self.cameras(pose).picture_rays(0)[compared]
        out = model.trace(*codes, rays, self.ground[compared], grid=grid or model.grid(codes[0], GRID))
        loss = (out.color - self.target.rgb.flatten(0, 1)[compared]).square().mean()
        loss = loss + config.mask_weight * (out.opacity - self.target.alpha.flatten()[compared]).square().mean()
        loss = loss + config.code_weight * sum(
            (code - usual).square().mean() for code, usual in zip((shape, appearance), home, strict=True)
        )
        if self.scorer is not None and self.target_embedding is not None:
            color = out.color.view(self.size, self.size, 3)
            loss = (
                loss + clip_weight * clip_distance(self.scorer.embed_images(color[None]), self.target_embedding).mean()
            )
        return loss

    def round(self, attempt: Attempt, number: int) -> None:
        """One step of pose, shape code and appearance code in turn, the other two fixed."""
        config, model = self.config, self.model
        left = 1 - number / config.iterations
        # A step of the shape code moves the surface by less than a cell; noise may move it farther.
        grid = model.grid(model.shape_prior.unwhiten(attempt.groups["shape"]), GRID)
        for name, value in attempt.groups.items():
            optimizer = attempt.optimizers[name]
            optimizer.param_groups[0]["lr"] = attempt.rates[name] * 0.5 * (1 + math.cos(math.pi * (1 - left)))
            values = {other: v if other == name else v.detach() for other, v in attempt.groups.items()}
            codes = values["shape"], values["appearance"]
            disturbed = None
            if name != "pose":
                noise = config.noise * left * torch.randn(value.shape, generator=self.generator)
                disturbed = (codes[0] + noise, codes[1]) if name == "shape" else (codes[0], codes[1] + noise)
            weight = config.pose_clip if name == "pose" else config.code_clip
            looked = None if name == "shape" else grid
            loss = self.loss(values["pose"], *codes, attempt.home, weight, disturbed, self.random_pixels(), looked)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    def random_pixels(self) -> Int[Tensor, " n"] | None:
        """Random pixels that a step compares; None for all."""
        if self.scorer is not None or self.size**2 <= self.config.rays:
            return None
        return torch.randperm(self.size**2, generator=self.generator)[: self.config.rays]

    @torch.no_grad()
    def final_loss(self, attempt: Attempt) -> float:
        """The loss without noise, over all pixels."""
        pose, shape, appearance = attempt.groups.values()
        return float(self.loss(pose, shape, appearance, attempt.home, self.config.code_clip))


def invert(
    model: ConditionalModel,
    target: Target,
    config: InversionConfig | None = None,
    *,
    scorer: Scorer | None = None,
    encoder: PictureEncoder | None = None,
    start: tuple[Float[Tensor, " s"], Float[Tensor, " a"], View] | None = None,
) -> Inversion:
    """Find pose, shape code and appearance code of the object in a picture.

    Args:
        model: model of the object's category; it does not change.
        target: the picture (`target_picture.target_of`), with the settings' size.
        config: settings.
        scorer: CLIP for the paper's term D_CLIP; None compares pixels alone.
        encoder: predicts the starts; None starts from typical shapes in views with similar silhouettes.
        start: codes and view of the only start; the encoder is not used then.

    Raises:
        ValueError: the picture's size is not the settings', or the encoder belongs to another field.
    """
    config = config or InversionConfig()
    if tuple(target.alpha.shape) != (config.size, config.size):
        raise ValueError(f"the picture must have {config.size} pixels a side, got {list(target.alpha.shape)}")
    screen = search = Search(model, target, config, scorer)
    if start is None and encoder is not None:
        attempts = _encoded_starts(search, encoder)
    elif start is None:
        small = target.resized(min(config.screening_size, config.size))
        screen = Search(model, small, config, scorer, search.generator)
        appearance = torch.zeros(model.appearance_codes.shape[1])
        attempts = [
            Attempt(screen, shape, appearance, *pose) for pose, shape in screen.silhouette_starts(config.starts)
        ]
    else:
        codes = model.shape_prior.whiten(start[0]), model.appearance_prior.whiten(start[1])
        angles = math.radians(start[2].azimuth), math.radians(start[2].elevation)
        attempts = [Attempt(search, *codes, *angles)]
    first, losses = 0, ()
    for kept in (-(-len(attempts) // 3), 1):
        for attempt in attempts:
            for number in range(first, first + config.screening):
                screen.round(attempt, number)
        left = [screen.final_loss(attempt) for attempt in attempts]
        losses, first = losses or tuple(left), first + config.screening
        attempts = [attempts[i] for i in torch.tensor(left).argsort()[:kept].tolist()]
    for number in range(first, config.iterations):
        search.round(attempts[0], number)
    return _result(search, attempts[0], losses)


def encoder_of(model: str | Path) -> PictureEncoder | None:
    """The picture encoder in a model's folder; None if the folder has none.

    Args:
        model: folder, or id of a shipped model.

    Raises:
        ValueError: the encoder's files are damaged.
    """
    folder = located(model) / ENCODER
    return load_picture_encoder(folder) if folder.is_dir() else None


@torch.no_grad()
def _encoded_starts(search: Search, encoder: PictureEncoder) -> list[Attempt]:
    """A start for each likely azimuth that the encoder predicts, with its codes and elevation."""
    encoder.check_space(search.model.space)
    encoded = encoder(search.target.resized(encoder.config.size).channels[None])
    shape = search.model.shape_prior.whiten(encoded.shape_code[0])
    appearance = search.model.appearance_prior.whiten(encoded.appearance_code[0])
    rise = float(encoded.elevation[0].clamp(LOWEST, HIGHEST))
    return [Attempt(search, shape, appearance, turn, rise, (shape, appearance)) for turn in encoded.azimuths()[0]]


@torch.no_grad()
def _result(search: Search, best: Attempt, losses: tuple[float, ...]) -> Inversion:
    model, (pose, shape, appearance) = search.model, best.groups.values()
    codes = model.shape_prior.unwhiten(shape.detach()), model.appearance_prior.unwhiten(appearance.detach())
    camera = search.cameras(pose)
    quality = psnr(model.render(*codes, camera).color, search.target.rgb)
    turn, rise = pose.tolist()
    return Inversion(
        *codes,
        azimuth=math.degrees(turn) % 360,
        elevation=math.degrees(min(max(rise, LOWEST), HIGHEST)),
        psnr=quality,
        losses=losses,
    )
