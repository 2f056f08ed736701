"""Codes and pose of the object in one picture (CLIP-NeRF, section 3.4): alternating optimisation, several starts.

Starts are what an encoder of pictures sees, where there is one; else views of typical shapes whose outlines are likest.
Most are dropped after a few rounds. In turn pose, shape code and appearance code take a step while the other two rest,
each comparing some of the pixels; codes are disturbed by fresh noise that falls linearly to nothing, which keeps them
from settling early. The camera stands as far away as the family's: one picture does not tell near from large. Codes
are whitened, so that noise and steps count in standard deviations of the family.
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
"""Elevations that are tried."""
AROUND, RISES = 24, (5.0, 25.0, 45.0, 65.0)
"""Azimuths, evenly around, and elevations in degrees of the views that outlines are compared in."""
TYPICAL, SPREAD = 2, 1.5
"""Principal components of the shape codes along which typical shapes lie to either side of the mean, and how far, in
standard deviations."""
APART = math.cos(math.radians(25))
"""Cosine of the least angle between two starts."""


@dataclass(frozen=True, kw_only=True)
class InversionConfig:
    """How a picture is inverted."""

    size: int = 64
    """Side of the renders that are compared, pixels."""
    rays: int = 1024
    """Pixels that a step compares, drawn anew for each; all of them where a scorer is given, which sees pictures."""
    iterations: int = 120
    """Rounds of three steps; those of choosing a start included."""
    starts: int = 8
    """Poses to start from: those whose outlines are likest, of some typical shapes seen from all around."""
    screening: int = 20
    """Rounds after which a third of the starts is kept, and after as many again one."""
    screening_size: int = 16
    """Side of the renders until then, at most `size`."""
    code_rate: float = 0.1
    """Adam's rate for codes, in standard deviations; falls to zero as a cosine does."""
    pose_rate: float = 0.02
    """That of azimuth and elevation, in radians."""
    noise: float = 0.1
    """λ_n at the beginning, in standard deviations; the paper's is 1."""
    mask_weight: float = 0.5
    """Weight of the squared error of opacity against the mask."""
    code_weight: float = 1e-3
    """Weight of the codes' mean squared deviation from the family's mean, or from what an encoder saw."""
    pose_clip: float = 0.1
    """λ_v: weight of D_CLIP in steps of the pose, where a scorer is given."""
    code_clip: float = 0.2
    """λ_s and λ_a: that in steps of the codes."""
    seed: int = 0
    """Of the noise."""

    def __post_init__(self) -> None:
        for name in ("size", "rays", "iterations", "starts", "screening", "screening_size", "code_rate", "pose_rate"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if 2 * self.screening > self.iterations:
            raise ValueError(f"screening must be at most half of iterations, {self.iterations}; got {self.screening}")


@dataclass(frozen=True)
class Inversion:
    """What was found."""

    shape_code: Float[Tensor, " s"]
    appearance_code: Float[Tensor, " a"]
    azimuth: float
    """Degrees, 0..360."""
    elevation: float
    """Degrees."""
    psnr: float
    """Of the render against the picture, dB, at the size that was compared."""
    losses: tuple[float, ...]
    """What was left of each start when a third of them was kept, at the size of then."""

    def view(self, size: int) -> View:
        """From where the object was seen, at the family's distance."""
        return View(azimuth=self.azimuth, elevation=self.elevation, size=size)


class Attempt:
    """One start: three groups of parameters, each with an optimizer of its own."""

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
        """Codes from which deviations count; the family's mean, if not given."""
        pose = torch.tensor([azimuth, elevation])
        self.groups = {"pose": pose, "shape": shape.clone(), "appearance": appearance.clone()}
        for value in self.groups.values():
            value.requires_grad_()
        rates = {"pose": config.pose_rate, "shape": config.code_rate, "appearance": config.code_rate}
        self.optimizers = {name: torch.optim.Adam([value], rates[name]) for name, value in self.groups.items()}
        self.rates = rates


class Search:
    """The loss of pose and codes against one picture, and the steps that lower it.

    Args:
        model: of the category.
        target: the picture, at the size that renders have.
        config: settings.
        scorer: CLIP for the paper's D_CLIP; None leaves it out.
        generator: of the noise; None starts one from the settings' seed.
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
        """The camera of azimuth and elevation (radians)."""
        return self.model.family.seen_from(pose[:1], pose[1:].clamp(LOWEST, HIGHEST), self.size)

    @torch.no_grad()
    def outlined(self, count: int) -> list[tuple[tuple[float, float], Float[Tensor, " s"]]]:
        """Azimuth and elevation (radians) and whitened shape code of typical shapes whose outline is like the target's.

        For every place around, the typical shape with the likest outline; ``count`` places that are apart, the likest
        first.
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
        """The mean, and shapes to either side of it along the codes' principal components; whitened."""
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
        """Squared errors of colour and opacity, and what the settings add; codes are whitened.

        Args:
            home: codes from which deviations count.
            disturbed: codes with noise, which are drawn in place of ``shape`` and ``appearance``.
            pixels: those that are compared, row by row; None takes all.
            grid: where the object is; None looks.
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
        """A step of each group in turn, the others at rest."""
        config, model = self.config, self.model
        left = 1 - number / config.iterations
        # The step that shape takes is small beside a cell and its neighbours; its noise need not be.
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
            loss = self.loss(values["pose"], *codes, attempt.home, weight, disturbed, self.drawn(), looked)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    def drawn(self) -> Int[Tensor, " n"] | None:
        """Pixels that a step compares; None for all."""
        if self.scorer is not None or self.size**2 <= self.config.rays:
            return None
        return torch.randperm(self.size**2, generator=self.generator)[: self.config.rays]

    @torch.no_grad()
    def left(self, attempt: Attempt) -> float:
        """The loss without noise."""
        return float(self.loss(*attempt.groups.values(), attempt.home, self.config.code_clip))


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
        model: of its category; not changed.
        target: the picture (`pictures.target_of`), of the settings' size.
        config: settings.
        scorer: CLIP for the paper's term of it; None compares pixels alone.
        encoder: sees codes and poses to begin with; None begins with typical shapes where their outlines are likest.
        start: codes and view to begin with in place of both.

    Raises:
        ValueError: the picture has another size than the settings'.
    """
    config = config or InversionConfig()
    if tuple(target.alpha.shape) != (config.size, config.size):
        raise ValueError(f"the picture must have {config.size} pixels a side, got {list(target.alpha.shape)}")
    screen = search = Search(model, target, config, scorer)
    if start is None and encoder is not None:
        attempts = _seen(search, encoder)
    elif start is None:
        small = target.resized(min(config.screening_size, config.size))
        screen = Search(model, small, config, scorer, search.generator)
        appearance = torch.zeros(model.appearance_codes.shape[1])
        attempts = [Attempt(screen, shape, appearance, *pose) for pose, shape in screen.outlined(config.starts)]
    else:
        codes = model.shape_prior.whiten(start[0]), model.appearance_prior.whiten(start[1])
        angles = math.radians(start[2].azimuth), math.radians(start[2].elevation)
        attempts = [Attempt(search, *codes, *angles)]
    first, losses = 0, ()
    for kept in (-(-len(attempts) // 3), 1):
        for attempt in attempts:
            for number in range(first, first + config.screening):
                screen.round(attempt, number)
        left = [screen.left(attempt) for attempt in attempts]
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
def _seen(search: Search, encoder: PictureEncoder) -> list[Attempt]:
    """What an encoder sees in the picture, once for every likely azimuth."""
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
    nearness = psnr(model.render(*codes, camera).color, search.target.rgb)
    turn, rise = pose.tolist()
    return Inversion(
        *codes,
        azimuth=math.degrees(turn) % 360,
        elevation=math.degrees(min(max(rise, LOWEST), HIGHEST)),
        psnr=nearness,
        losses=losses,
    )
