"""Recolour a single trained field by text, ``pipelines.edit_scene``: CLIP-NeRF's released editor of single scenes.

Only parameters of the colours are trained, so density does not change by a bit. A penalty on changes of luminance keeps
the structure of the views. CLIP embeds whole views, normalised by its own pixel statistics, which the released code
leaves out.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mappers.pixels import check_side
from mappers.training.draws import Draws
from mappers.training.run_folder import run_folder
from mappers.training.train_config import TrainConfig
from mappers.training.trainer import Prepared, fit
from nerf.cameras import Cameras
from nerf.conditional.clip.scorer import DEFAULT, Scorer, clip_distance
from nerf.fields import VolumeField, density_of
from nerf.rendering.compositing import composite
from nerf.rendering.sampling import sample_points
from nerf.runs import Run, VolumeRun, load_run
from nerf.viewpoints import Viewpoints

LUMINANCE = (0.2126, 0.7152, 0.0722)
"""Weights of red, green and blue in luminance (Rec. 709)."""


@dataclass(frozen=True, kw_only=True)
class SceneEditConfig:
    """Settings of recolouring a scene."""

    size: int = 64
    """Side in pixels of the square views that CLIP embeds."""
    clip_weight: float = 1.0
    """Weight of 1 - cosine similarity of view and text."""
    grey_weight: float = 10.0
    """Weight of the mean squared change of the views' luminance, which keeps their structure."""
    train: TrainConfig = dataclasses.field(
        default_factory=lambda: TrainConfig(
            steps=150, batch_size=2, learning_rate=5e-3, schedule="cosine", weight_decay=0.0, save_every=None
        )
    )
    """Optimizer and schedule; `train.batch_size` counts views."""

    def __post_init__(self) -> None:
        check_side(self.size, least=4)
        for name in ("clip_weight", "grey_weight"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")


def grey(pictures: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n"]:
    """Luminance of RGB colours."""
    return pictures @ torch.tensor(LUMINANCE).to(pictures)


class Recolored(nn.Module):
    """A field with trainable colours and fixed density.

    The colour head is trained. If it has no weights (voxels, whose features are coefficients of colour), the features
    are trained, without gradient for the density among them.
    """

    def __init__(self, field: VolumeField):
        super().__init__()
        self.field = field.requires_grad_(False)
        self.headless = not list(field.head.parameters())
        (field if self.headless else field.head).requires_grad_(True)

    def forward(
        self, points: Float[Tensor, "n 3"], views: Float[Tensor, "n 3"]
    ) -> tuple[Float[Tensor, " n"], Float[Tensor, "n 3"]]:
        """Density, without a gradient, and RGB."""
        with torch.set_grad_enabled(self.headless and torch.is_grad_enabled()):
            features = self.field.features(points)
        return density_of(features[:, 0]).detach(), self.field.color(features, views)


class SceneEditTask:
    """Random views, near the text for CLIP and as bright as they were.

    Args:
        run: what to recolour, in place.
        text: its embedding.
        scorer: CLIP.
        config: settings.
    """

    def __init__(self, run: VolumeRun, text: Float[Tensor, " d"], scorer: Scorer, config: SceneEditConfig):
        self.run, self.text, self.scorer, self.config = run, text, scorer, config
        self.before = deepcopy(run.field).requires_grad_(False)
        self.modules: Mapping[str, nn.Module] = {"colors": Recolored(run.field)}
        self.viewpoints = resized(run.viewpoints, config.size)

    def batch(self, draws: Draws) -> list[Cameras]:
        self.run.to(draws.device)
        self.before.to(draws.device)
        seeds = draws.integers("camera", 2**62).tolist()
        return [self.viewpoints.draw(1, torch.Generator().manual_seed(seed)) for seed in seeds]

    def loss(self, modules: Prepared, batch: list[Cameras], draws: Draws) -> dict[str, Tensor]:
        run, after, before = self.run, [], []
        for camera in batch:
            rays = camera.picture_rays(0).to(draws.device)
            samples = run.sampler.march(rays, run.marching)
            points, views = sample_points(rays, samples), rays.views[samples.ray]
            white = torch.ones(len(rays), 3, device=draws.device)
            density, color = modules["colors"](points, views)
            with torch.no_grad():
                was = self.before.color(self.before.features(points), views)
            after.append(composite(samples, density, color.float(), white).color)
            before.append(composite(samples, density, was.float(), white).color)
        size = (len(batch), batch[0].height, batch[0].width, 3)
        # CLIP stays on the CPU.
        shown, known = (torch.stack(views).view(size).cpu() for views in (after, before))
        distance = clip_distance(self.scorer.embed_images(shown), self.text).mean()
        change = (grey(shown) - grey(known)).square().mean()
        loss = self.config.clip_weight * distance + self.config.grey_weight * change
        return {"loss": loss, "clip": distance, "grey": change}


def resized(viewpoints: Viewpoints, size: int) -> Viewpoints:
    """The same viewpoints with square pictures of another size and the same angle of view along the longer side."""
    focal = viewpoints.focal * size / max(viewpoints.width, viewpoints.height)
    return dataclasses.replace(viewpoints, width=size, height=size, focal=focal)


def edit_scene(
    run: Run | str | Path,
    text: str,
    *,
    output_dir: str | Path | None = None,
    clip: str | Path = DEFAULT,
    steps: int | None = None,
    max_minutes: float | None = None,
    seed: int = 0,
    config: SceneEditConfig | None = None,
) -> Run:
    """Recolour a trained field of any family by text; its density stays as it is.

    Args:
        run: a run of ``mapfield nerf train`` or ``distill``, or its folder, which is left as it is.
        text: what it should look like, such as "a golden robot".
        output_dir: folder for checkpoints, metrics and the recoloured run.
        clip: CLIP that judges: folder, embedded or hub id.
        steps: optimizer steps; None takes the settings'.
        max_minutes: stop, keeping what was learned, after this many minutes.
        seed: of the views.
        config: all further settings.

    Returns:
        The recoloured run; ``figures`` has the text's cosine to eight views before and after.

    Raises:
        FileNotFoundError, ValueError: the run, the text or CLIP cannot be used, or the scene moves.
        TrainingError: the output folder holds a run already.
    """
    started = time.process_time()
    output = run_folder(output_dir)
    if not text.strip():
        raise ValueError('the text is empty; say what the scene should look like, such as "a golden robot"')
    teacher = (run if isinstance(run, Run) else load_run(run)).volume()
    if teacher.field.moves:
        raise ValueError(f"the scene moves, and {teacher.field.name} fields cannot be recoloured; give a still one")
    config = config or SceneEditConfig()
    train = config.train.with_overrides(steps=steps, max_minutes=max_minutes, seed=seed)
    config = dataclasses.replace(config, train=train)
    scorer = Scorer.load(clip)
    target = scorer.embed_texts([text])[0]
    field, sampler = deepcopy(teacher.field), deepcopy(teacher.sampler)
    edited = dataclasses.replace(teacher, field=field, sampler=sampler, figures={})
    edited.report = fit(SceneEditTask(edited, target, scorer, config), train, output_dir=output)
    edited.to("cpu").field.requires_grad_(True)
    edited.count_cost(started)
    cameras = resized(teacher.viewpoints, config.size).draw(8, torch.Generator().manual_seed(seed + 1))
    for name, shown in (("clip_before", teacher), ("clip_after", edited)):
        views = torch.stack([shown.draw(cameras[i]).color for i in range(len(cameras))])
        edited.figures[name] = float((scorer.embed_images(views) @ target).mean())
    if output:
        edited.save(output, config)
    return edited
