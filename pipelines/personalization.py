"""Learn a new word from a few pictures: NeTI (arXiv 2305.15391) with a frozen text-to-image model."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import matplotlib.figure
import numpy as np
import torch
from accelerate import PartialState
from diffusers.utils import make_image_grid
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn

from mappers.draws import Draws
from mappers.files import replacing, writable_folder
from mappers.neti import NeTIMapper, TextualInversionMapper
from mappers.trainer import FitReport, Prepared, fit

from .attention import context_attention
from .concepts import Concept, category_embedding, check_token
from .contexts import layer_contexts, tokenize
from .images import Images, load_images, square
from .neti_pipeline import NeTIPipeline
from .settings import PersonalizeConfig

TEMPLATES = (
    "a {}",
    "a photo of a {}",
    "a picture of a {}",
    "a photo of one {}",
    "a picture of the {}",
    "a photo of the {}",
)
"""Sentences of the training; short and plain, so that what else is in a picture is not blamed on a sentence."""

SAMPLE_PROMPTS = ("a photo of a {}", "a {} on the beach", "a {} in the snow", "a {} in the night sky")


class NeTITask:
    """The diffusion model's own loss, as a function of the mapper alone (section 3)."""

    def __init__(
        self,
        pipeline: NeTIPipeline,
        mapper: nn.Module,
        token: str,
        pictures: Tensor,
        config: PersonalizeConfig,
    ):
        self.pipeline, self.mapper, self.token, self.config = pipeline, mapper, token, config
        self.modules: Mapping[str, nn.Module] = {"mapper": mapper}
        self.mean, self.std = _posteriors(pipeline, pictures)
        self.prompts = tokenize(pipeline.tokenizer, [t.format(token) for t in TEMPLATES], [token])
        # The training noise schedule is that of the model, whichever scheduler samples from it.
        self.alphas = pipeline.scheduler.alphas_cumprod.to(pipeline.device)

    def batch(self, draws: Draws) -> tuple[Tensor, Tensor]:
        """Clean latents, sampled anew from the cached posteriors, and the noise [b, c, h, w]."""
        pictures = draws.integers("picture", len(self.mean))
        flipped = (draws.uniform("flip") < self.config.flip).long()
        noise = draws.normal("posterior", self.mean.shape[2:])
        latents = self.mean[pictures, flipped] + self.std[pictures, flipped] * noise
        return latents * self.pipeline.vae.config.scaling_factor, draws.normal("noise", self.mean.shape[2:])

    def loss(self, modules: Prepared, batch: tuple[Tensor, Tensor], draws: Draws) -> dict[str, Tensor]:
        """Squared error of the model's prediction (noise or velocity), all layers in one text-encoder call."""
        latents, noise = batch
        pipeline, layers = self.pipeline, self.pipeline.layers
        groups = [index // self.config.shared_points for index in draws.indices]
        points = Draws(draws.seed, draws.step, list(dict.fromkeys(groups)), draws.device)
        rows = torch.tensor([points.indices.index(group) for group in groups], device=draws.device)

        times = points.integers("timestep", len(self.alphas))
        chosen = points.integers("template", len(TEMPLATES)).cpu()
        kept = self.mapper.draw_kept(points)
        word = modules["mapper"](
            times.repeat_interleave(layers),
            torch.arange(layers, device=draws.device).repeat(len(points)),
            kept=None if kept is None else kept.flatten(),
        )
        prompts = dataclasses.replace(
            self.prompts,
            ids=self.prompts.ids[chosen],
            places={self.token: self.prompts.places[self.token][chosen]},
        )
        contexts = layer_contexts(pipeline.text_encoder, prompts, {self.token: word}, layers).rows(rows)

        alpha = self.alphas[times[rows]].view(-1, 1, 1, 1)
        noisy = alpha.sqrt() * latents + (1 - alpha).sqrt() * noise
        velocity = pipeline.scheduler.config.prediction_type == "v_prediction"
        target = alpha.sqrt() * noise - (1 - alpha).sqrt() * latents if velocity else noise
        predicted = pipeline.unet(
            noisy.to(pipeline.unet.dtype),
            times[rows],
            contexts.keys[0],
            cross_attention_kwargs={"contexts": contexts},
            return_dict=False,
        )[0]
        return {"loss": (predicted.float() - target).square().mean()}

    def validate(self, modules: Prepared, step: int) -> dict[str, Any]:
        """One picture of each sample prompt; the noise is the same at every step."""
        learned = Concept(self.token, "", self.mapper, self.pipeline.base)
        self.pipeline.concepts[self.token] = learned
        try:
            return {"samples": sample_grid(self.pipeline, self.token, self.config.train.seed, columns=1)}
        finally:
            del self.pipeline.concepts[self.token]


def sample_grid(pipeline: NeTIPipeline, token: str, seed: int, *, columns: int) -> Image.Image:
    """A row of ``columns`` pictures for each of `SAMPLE_PROMPTS`."""
    pictures = pipeline(
        [prompt.format(token) for prompt in SAMPLE_PROMPTS],
        num_inference_steps=25,
        guidance_scale=5.0,
        num_images_per_prompt=columns,
        generator=torch.Generator().manual_seed(seed),
    ).images
    return make_image_grid(pictures, rows=len(SAMPLE_PROMPTS), cols=columns)


def personalize(
    images: Images,
    token: str,
    *,
    model: str | Path = "nano",
    category: str | None = None,
    steps: int | None = None,
    max_minutes: float | None = None,
    seed: int = 0,
    output_dir: str | Path | None = None,
    resume: bool | Literal["auto"] = False,
    config: PersonalizeConfig | None = None,
    device: str | None = None,
) -> NeTIPipeline:
    """Teach a frozen text-to-image model a new word.

    Args:
        images: a folder, or a sequence of files, PIL pictures or arrays; three to six suffice.
        token: the new word, such as "<my-cat>"; prompts use it like any other.
        model: "nano", a Stable Diffusion 1.x folder, or a hub id.
        category: what kind of thing it is, such as "toy"; the word starts there. None takes "object".
        steps: optimizer steps; None takes the config's.
        max_minutes: stop, keeping what was learned, after this many minutes of training.
        seed: seed of every draw.
        output_dir: where ``concept.safetensors``, ``samples.png``, ``loss.png`` and ``report.json`` go.
        resume: go on from the checkpoints in ``output_dir``.
        config: all further settings.
        device: where to train; None takes the accelerator when there is one.

    Returns:
        A pipeline that knows the word: ``pipeline("a photo of a <my-cat> on the beach").images``.

    Raises:
        FileNotFoundError, ValueError: pictures, token, category or model cannot be used; the message says why.
        OSError: ``output_dir`` is not writable.
        TrainingError: training cannot go on; checkpoints in ``output_dir`` are kept.
    """
    config = config or PersonalizeConfig()
    config = dataclasses.replace(config, train=config.train.given(steps=steps, max_minutes=max_minutes, seed=seed))
    pictures = load_images(images)
    output = None if output_dir is None else writable_folder(output_dir)
    on = device or ("cpu" if config.train.cpu else str(PartialState().device))
    pipeline = NeTIPipeline.from_model(model, device=on)
    check_token(token, pipeline.tokenizer)
    start = category_embedding(pipeline.tokenizer, pipeline.text_encoder, category or "object")
    mapper = _build_mapper(pipeline, start, config)
    side = config.resolution or pipeline.unet.config.sample_size * pipeline.vae_scale_factor
    pixels = np.stack([np.asarray(square(picture, side)) for picture in pictures])
    tensor = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1
    for module in (pipeline.unet, pipeline.text_encoder, pipeline.vae):
        module.requires_grad_(False).eval()
    task = NeTITask(pipeline, mapper, token, tensor, config)
    with context_attention(pipeline.unet):
        report = fit(task, config.train, output_dir=output, resume=resume)
    concept = Concept(
        token, category or "object", mapper, pipeline.base, str(model), {"seed": seed, "steps": report.steps}
    )
    pipeline.load_concept(concept)
    if output and PartialState().is_main_process:
        # The concept first: whatever fails below, what was learned is on the disk.
        pipeline.save_concept(token, output / "concept.safetensors")
        _write_results(pipeline, token, report, config, output)
    return pipeline


def _build_mapper(pipeline: NeTIPipeline, start: Float[Tensor, " d"], config: PersonalizeConfig) -> nn.Module:
    sizes = {"layers": pipeline.layers, "width": len(start), "norm": float(start.norm())}
    if config.method != "neti":
        mapper = TextualInversionMapper(**sizes, per_layer=config.method == "xti")
        mapper.start_at(start)
        return mapper
    mapper = NeTIMapper(
        **sizes, bypass=config.bypass, positional_encoding=config.positional_encoding, seed=config.train.seed
    )
    if config.init == "category":
        mapper.start_at(start)
    return mapper


@torch.no_grad()
def _posteriors(pipeline: NeTIPipeline, pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation [n, 2, c, h, w] of each picture and its mirror image, encoded once."""
    means, deviations = [], []
    for picture in pictures:
        pair = torch.stack([picture, picture.flip(-1)]).to(pipeline.device, pipeline.vae.dtype)
        posterior = pipeline.vae.encode(pair).latent_dist
        means.append(posterior.mean.float())
        deviations.append(posterior.std.float())
    return torch.stack(means), torch.stack(deviations)


def _write_results(
    pipeline: NeTIPipeline, token: str, report: FitReport, config: PersonalizeConfig, output: Path
) -> None:
    """``samples.png``, ``loss.png`` and ``report.json``."""
    sample_grid(pipeline, token, config.train.seed, columns=4).save(output / "samples.png")
    figure = matplotlib.figure.Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.subplots()
    axes.plot([step for step, _ in report.losses], [loss for _, loss in report.losses])
    axes.set(xlabel="step", ylabel="loss", title=f"Learning {token}")
    figure.savefig(output / "loss.png", dpi=120)
    packages = ("mapfield", "torch", "diffusers", "transformers", "accelerate")
    result = {
        "token": token,
        "model": pipeline.model_id,
        "metrics": {
            "steps": report.steps,
            "stopped": report.stopped,
            "seconds": round(report.seconds, 2),
            "final_loss": report.losses[-1][1] if report.losses else None,
        },
        "samples": {"prompts": [prompt.format(token) for prompt in SAMPLE_PROMPTS], "seed": config.train.seed},
        "settings": dataclasses.asdict(config),
        "versions": {package: version(package) for package in packages},
    }
    with replacing(output / "report.json") as temporary:
        temporary.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
