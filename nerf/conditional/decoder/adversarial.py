"""The paper's objective (CLIP-NeRF, arXiv 2112.05139, section 3.4): adversarial training with a patch discriminator.

D is high for fakes and maximises E f(D(fake)) + E[f(-D(real)) - λ ||grad D(real)||²] with f(u) = -log(1 + exp(-u)).
Patches, their scales and the discriminator are those of GRAF (arXiv 2007.02442). Real pictures are rendered in each
step from other cameras than the field's; they reach the field only through the discriminator.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from mappers.training.draws import Draws

from ...cameras import Cameras, Rays, pixel_centers
from ...evaluation import picture_of
from ...fields.conditional import ConditionalField
from ...rendering.compositing import composite
from ...rendering.sampling import Marching, sample_points, span, uniform_samples
from ..families import FAMILIES
from ..families.splits import split_of
from ..model import ConditionalModel
from ..settings import CategoryConfig
from .point_supervision import random_cameras

LAST = 4
"""Side in cells of the feature map after the strided convolutions; a last convolution reduces it to one logit."""
SLOPE = 0.2
"""Negative slope of the discriminator's leaky ReLU."""
MEASURED = 16
"""Real patches, and fake patches, that a validation measures."""
COLUMNS = 8
"""Pictures in each row of a validation's grid."""
SAMPLES = 11
"""Seed of the sampled codes in a finished model's tables."""


def reward(u: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """The paper's f(u) = -log(1 + exp(-u))."""
    return F.logsigmoid(u)


def discriminator_loss(real: Float[Tensor, " b"], fake: Float[Tensor, " b"]) -> Float[Tensor, ""]:
    """-E f(D(fake)) - E f(-D(real)), which D minimises so that it is high for fakes. The penalty is added elsewhere."""
    return -(reward(fake).mean() + reward(-real).mean())


def generator_loss(fake: Float[Tensor, " b"], kind: Literal["softplus", "printed"]) -> Float[Tensor, ""]:
    """The field's loss, which is low if D is low for the field's pictures.

    Args:
        fake: logits D of the field's patches.
        kind: "printed" is the paper's E f(D), whose gradient 1 - sigmoid(D) vanishes where D is sure of a fake.
            "softplus" is E -f(-D) = E log(1 + exp(D)), whose gradient sigmoid(D) does not. GRAF and GIRAFFE print the
            first, and their code minimises the second.
    """
    return reward(fake).mean() if kind == "printed" else -reward(-fake).mean()


def gradient_penalty(logits: Float[Tensor, " b"], real: Float[Tensor, "b 3 p p"]) -> Float[Tensor, ""]:
    """R1: mean over patches of ||grad D||². Differentiable.

    Args:
        logits: D(real).
        real: patches, which require a gradient.
    """
    (gradient,) = torch.autograd.grad(logits.sum(), real, create_graph=True)
    return gradient.square().flatten(1).sum(1).mean()


class Discriminator(nn.Module):
    """GRAF's discriminator: 4x4 convolutions of stride 2 down to 4x4 cells, spectral and instance norm, leaky ReLU.

    The first convolution has no instance norm, which would hide brightness and saturation. In GRAF that holds for
    patches of 64 and 128 pixels; its network for 32 has one.

    Args:
        patch: side of patches in pixels, a power of two from 8 on.
        channels: channels after the last stride; each earlier convolution has half as many as the next.
    """

    def __init__(self, patch: int, channels: int):
        super().__init__()
        strides = (patch // LAST).bit_length() - 1
        widths = [3] + [channels // 2 ** (strides - 1 - i) for i in range(strides)]
        layers: list[nn.Module] = []
        for i, (before, after) in enumerate(pairwise(widths)):
            # Instance norm removes a bias.
            layers.append(spectral_norm(nn.Conv2d(before, after, 4, stride=2, padding=1, bias=i == 0)))
            layers += [nn.InstanceNorm2d(after)] if i else []
            layers.append(nn.LeakyReLU(SLOPE))
        self.net = nn.Sequential(*layers, spectral_norm(nn.Conv2d(channels, 1, LAST)))

    def forward(self, patches: Float[Tensor, "b 3 p p"], *, frozen: bool = False) -> Float[Tensor, " b"]:
        """Logit of being fake of each patch.

        Args:
            patches: colours in -1..1.
            frozen: gradients reach only the patches, and spectral norm's vectors do not change. An argument of this
                call, because the wrapper for several processes synchronises gradients through it only.
        """
        if not frozen:
            return self.net(patches).flatten()
        state = {name: value.detach() for name, value in self.net.named_parameters()}
        state |= {name: value.clone() for name, value in self.net.named_buffers()}
        return functional_call(self.net, state, (patches,)).flatten()


def cropped(cameras: Cameras, patch: int, scale: Float[Tensor, " b"], shift: Float[Tensor, "b 2"]) -> Cameras:
    """Cameras whose pictures are patches: ``patch`` points a side, evenly spaced over the share ``scale`` of a picture.

    Points are those of GRAF: at scale 1 the outer points are the centres of the picture's corner pixels, and with as
    many points as pixels they are the pixel centres.

    Args:
        cameras: b cameras of whole pictures.
        patch: points on each side of a patch.
        scale: side of each patch relative to the picture's side, in 0..1.
        shift: place of each patch from left (0) to right (1), and from top (0) to bottom (1).
    """
    reach = torch.tensor([cameras.width - 1, cameras.height - 1]).to(scale)
    gap = scale[:, None] * reach / (patch - 1)
    first = 0.5 + shift * (1 - scale[:, None]) * reach
    center = 0.5 - (first - cameras.center) / gap
    return dataclasses.replace(cameras, focal=cameras.focal / gap, center=center, width=patch, height=patch)


@dataclass(frozen=True)
class Patches:
    """Real patches of a step, and codes and rays for as many fake patches."""

    shape_code: Float[Tensor, "b s"]
    appearance_code: Float[Tensor, "b a"]
    rays: Rays
    """Rays of the fakes, patch by patch and row by row."""
    jitter: Float[Tensor, " r"]
    ground: Float[Tensor, "b 3"]
    """Background colour of real and fake patch i, RGB in 0..1."""
    real: Float[Tensor, "b 3 p p"]
    """Real patches with colours in -1..1."""


class AdversarialTask:
    """Codes from N(0, I); the discriminator separates the field's patches from the family's.

    The loss is the sum of the field's and the discriminator's. The field's part has a frozen discriminator, and the
    discriminator's part has detached fakes, so that each network gets only the gradient of its own loss.
    """

    def __init__(self, config: CategoryConfig):
        self.config, self.family = config, FAMILIES[config.family]
        self.split = split_of(self.family, config.shapes, config.palettes)
        self.pairs = (~self.split.held_out_pairs).nonzero()
        self.field = ConditionalField(self.family.bounds, config.field)
        self.discriminator = Discriminator(config.gan.patch, config.gan.channels)
        self.modules: Mapping[str, nn.Module] = {"field": self.field, "discriminator": self.discriminator}
        self.rates = {"discriminator": config.gan.discriminator_rate}
        self.marching = Marching.through(self.family.bounds, config.intervals, near=0.0, far=float("inf"))

    def batch(self, draws: Draws) -> Patches:
        config, gan = self.config, self.config.gan
        scale, shift = self._scale(draws), draws.uniform("shift", (2,)).cpu()
        white = gan.ground == "white"
        ground = torch.ones(len(draws), 3) if white else draws.uniform("ground", (3,)).cpu()
        shape, palette = self.pairs[draws.integers("pair", len(self.pairs)).cpu()].unbind(1)
        seen = cropped(random_cameras(self.family, config.size, draws, "real"), gan.patch, scale, shift)
        rgb, alpha, _ = self.family.render(self.split.shapes[shape], self.split.palettes[palette], seen)
        real = torch.where(alpha[..., None] > 0, rgb, ground[:, None, None])
        cameras = cropped(random_cameras(self.family, config.size, draws), gan.patch, scale, shift)
        points = pixel_centers(gan.patch, gan.patch)
        rays = cameras.rays(torch.arange(len(draws)).repeat_interleave(len(points)), points.repeat(len(draws), 1))
        return Patches(
            draws.normal("shape_code", (config.field.shape_code,)),
            draws.normal("appearance_code", (config.field.appearance_code,)),
            rays.to(draws.device),
            draws.uniform("jitter", (len(points),)).flatten(),
            ground.to(draws.device),
            _signed(real).to(draws.device),
        )

    def _scale(self, draws: Draws) -> Float[Tensor, " b"]:
        """Sides of the patches relative to the picture's: 1 at first, later uniform down to a falling smallest side."""
        gan = self.config.gan
        least = gan.least_scale ** min(1.0, draws.step / gan.anneal_steps)
        return least + (1 - least) * draws.uniform("scale").cpu()

    def fakes(self, field: Callable[..., Any], batch: Patches, draws: Draws) -> Float[Tensor, "b 3 p p"]:
        """Patches rendered by the field, with colours in -1..1."""
        side = self.config.gan.patch
        samples = uniform_samples(*span(batch.rays, self.field.bounds, self.marching), self.marching.step, batch.jitter)
        of = samples.ray // side**2
        points, views = sample_points(batch.rays, samples), batch.rays.views[samples.ray]
        density, color = field(points, views, batch.shape_code[of], batch.appearance_code[of])
        strength = self.config.gan.density_noise * max(0.0, 1 - draws.step / self.config.gan.noise_steps)
        if strength > 0:
            # One more than the intervals of the diagonal, because jitter cuts one of them in two.
            noise = draws.normal("noise", (side**2, self.config.intervals + 2)).flatten(0, 1)
            place = torch.arange(len(samples), device=noise.device) - samples.first[samples.ray]
            density = density * (strength * noise[samples.ray, place]).exp()
        ground = batch.ground.repeat_interleave(side**2, 0)
        return _signed(composite(samples, density, color, ground).color.view(-1, side, side, 3))

    def loss(self, modules: Mapping[str, Callable[..., Any]], batch: Patches, draws: Draws) -> dict[str, Tensor]:
        gan, discriminator = self.config.gan, modules["discriminator"]
        fake = self.fakes(modules["field"], batch, draws)
        real = batch.real.detach().requires_grad_()
        on_real, on_fake = discriminator(real), discriminator(fake.detach())
        penalty = gradient_penalty(on_real, real)
        game = discriminator_loss(on_real, on_fake)
        generator = generator_loss(discriminator(fake, frozen=True), gan.generator)
        return {
            "loss": generator + game + gan.penalty * penalty,
            "generator": generator,
            "discriminator": game,
            "penalty": penalty,
            "logit_real": on_real.mean(),
            "logit_fake": on_fake.mean(),
        }

    @torch.no_grad()
    def logits(self, step: int, count: int = MEASURED) -> dict[str, float]:
        """Mean logits of real and of fake patches with the scales of a step; equal if D cannot separate them."""
        draws = Draws(1, step, range(count), next(self.field.parameters()).device)
        batch = self.batch(draws)
        patches = {"real": batch.real, "fake": self.fakes(self.field, batch, draws)}
        return {f"logit_{kind}": float(self.discriminator(x, frozen=True).mean()) for kind, x in patches.items()}

    def validate(self, modules: Mapping[str, Callable[..., Any]], step: int) -> dict[str, Any]:
        """Mean logits, and a picture: two rows of real objects above two rows of the field's, on white."""
        return {**self.logits(step), "pictures": picture_of(self._pictures())}

    def _pictures(self) -> Float[Tensor, "h w 3"]:
        """The picture of a validation; objects and cameras are the same each time."""
        model, size, count = self.model(), self.config.size, 2 * COLUMNS
        generator = torch.Generator().manual_seed(7)
        shape, palette = self.pairs[torch.randint(len(self.pairs), (count,), generator=generator)].unbind(1)
        cameras = self.family.cameras(count, size, generator)
        real, _, _ = self.family.render(self.split.shapes[shape], self.split.palettes[palette], cameras)
        codes = [model.codes(i % len(model.shape_codes)) for i in range(count)]
        fake = torch.stack([model.render(*pair, cameras[i]).color for i, pair in enumerate(codes)])
        rows = torch.cat([real, fake]).view(4, COLUMNS, size, size, 3)
        return rows.permute(0, 2, 1, 3, 4).reshape(4 * size, COLUMNS * size, 3)

    def model(self) -> ConditionalModel:
        """The trained model; a copy.

        The field has no codes of the family's objects: each z ~ N(0, I) is a random object. The model's tables
        therefore hold such samples, as many as the settings have shapes and palettes, from a fixed seed. Instance i
        does not resemble training shape i, and `ConditionalModel.sampled` is True. Sampling, rendering, inversion and
        edits work as with the decoder's model.
        """
        config = self.config
        generator = torch.Generator().manual_seed(SAMPLES)
        shapes = torch.randn(config.shapes, config.field.shape_code, generator=generator)
        palettes = torch.randn(config.palettes, config.field.appearance_code, generator=generator)
        return ConditionalModel(self.field.copied(), shapes, palettes, self.family.name, {"objective": "gan"})


def _signed(pictures: Float[Tensor, "b p p 3"]) -> Float[Tensor, "b 3 p p"]:
    """Pictures with colours in 0..1 in the discriminator's layout, -1..1."""
    return pictures.permute(0, 3, 1, 2) * 2 - 1
