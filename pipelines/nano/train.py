"""Trains the nano models from scratch: ``python -m pipelines.nano.train vae|decoder|clip|diffusion|families``.

``diffusion`` and ``decoder`` need the exported autoencoder; ``vae``, ``clip`` and ``families`` need no other part.
``--resume`` continues a run and ``--export`` writes the model into the package. `docs/how-to/train-nano.md` has the
settings of the shipped weights.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file
from transformers import CLIPImageProcessor, CLIPModel, CLIPProcessor, CLIPTextModel, CLIPTokenizer

from mappers.command_line import run_script
from mappers.training.model_training import ModelTraining, frozen_parts
from mappers.training.train_config import TrainConfig
from mappers.training.trainer import FitReport

from . import world
from .recipes.clip import MEAN, STD, CLIPTask, build_clip
from .recipes.clip_families import (
    FOLDER,
    FamiliesTask,
    build_families_clip,
    families_config,
    families_tokenizer,
    save_open_clip,
)
from .recipes.diffusion import DiffusionTask, build_text_encoder, build_unet, unet_with_latents
from .recipes.tokenizer import train_tokenizer
from .recipes.vae import VAETask, build_vae, pictures_of, standardize_latents

HERE = Path(__file__).parent
TEXT_TO_IMAGE, CLIP = HERE / "text_to_image", HERE / "clip"

RECIPES: dict[str, TrainConfig] = {
    "vae": TrainConfig(
        steps=6_000, batch_size=16, optimizer="muon", learning_rate=2e-3, schedule="linear", warmup_steps=100,
        betas=(0.9, 0.99), weight_decay=0.0, clip_norm=1.0, precision="auto", ema=0.998, save_every=250,
        validate_every=250, log_every=50,
    ),
    "clip": TrainConfig(
        steps=8_000, batch_size=64, optimizer="muon", learning_rate=1e-3, warmup_steps=100, betas=(0.9, 0.98),
        weight_decay=0.05, clip_norm=1.0, precision="auto", ema=0.995, schedule="cosine", save_every=200,
        validate_every=200, log_every=20,
    ),
    "families": TrainConfig(
        steps=12_000, batch_size=64, learning_rate=2e-3, warmup_steps=50, betas=(0.9, 0.98), weight_decay=0.05,
        ema=0.99, schedule="cosine", save_every=500, validate_every=1_000, log_every=20,
    ),
    "diffusion": TrainConfig(
        steps=80_000, batch_size=64, optimizer="muon", learning_rate=1e-3, warmup_steps=100, betas=(0.9, 0.99),
        weight_decay=0.01, clip_norm=1.0, precision="auto", ema=0.995, schedule="linear", save_every=100,
        validate_every=250, log_every=25,
    ),
}  # fmt: skip
"""A run may be followed by another one that starts from its weights (``--shipped --seed 1``). The rates of the denoiser
therefore fall to zero within each run, whose ``--steps`` are what the time allows."""


@dataclass(frozen=True, kw_only=True)
class Arguments(ModelTraining):
    """Train one part of the nano models."""

    part: Annotated[Literal["vae", "decoder", "clip", "families", "diffusion"], tyro.conf.Positional]
    """Which part; "decoder" trains the autoencoder's decoder alone, so that latents stay as they are."""
    learning_rate: float | None = None
    """Peak learning rate; the recipe's own when not given."""
    workers: int | None = None
    """Processes that render ahead; if not given, as many as there are cores to spare. "families" has none."""
    shipped: bool = False
    """Start from the weights in the package instead of from random ones."""
    text_to_image: Path = TEXT_TO_IMAGE
    """Folder of the text-to-image model: its parts are read from here and exported to here."""


def main(arguments: Annotated[Arguments, tyro.conf.arg(name="")]) -> FitReport:
    """Train ``arguments.part`` and, if asked, export it."""
    arguments.start()
    config = RECIPES["vae" if arguments.part == "decoder" else arguments.part]
    config = arguments.with_overrides(config).with_overrides(learning_rate=arguments.learning_rate)
    task = build_task(arguments.part, shipped=arguments.shipped, text_to_image=arguments.text_to_image)
    inputs = {"part": arguments.part, "shipped": arguments.shipped, "frozen": frozen_parts(task)}
    report = arguments.fit(task, config, inputs, workers=arguments.workers)
    if arguments.export:
        export(task, arguments.text_to_image)
    arguments.finish(report, {"part": arguments.part}, settings=config)
    return report


NanoTask = VAETask | CLIPTask | FamiliesTask | DiffusionTask


def build_task(part: str, *, shipped: bool = False, text_to_image: Path = TEXT_TO_IMAGE) -> NanoTask:
    """The task of ``part``, with new weights or those in the package.

    Args:
        part: as on the command line.
        shipped: start from the weights in the package, or in ``text_to_image``.
        text_to_image: folder of the text-to-image model, for its parts and the denoiser, which needs its autoencoder.
    """
    if part == "decoder" or (part == "vae" and shipped):
        return VAETask(AutoencoderKL.from_pretrained(text_to_image / "vae"), freeze_encoder=part == "decoder")
    if part == "vae":
        return VAETask(build_vae())
    if part == "families":
        words = families_tokenizer()
        config = families_config(words)
        clip = build_families_clip(config)
        if shipped:
            clip.load_state_dict(load_file(FOLDER / "open_clip_model.safetensors"))
        return FamiliesTask(clip, config, words, RECIPES["families"].batch_size)
    tokenizer = shared_tokenizer()
    if part == "clip":
        return CLIPTask(CLIPModel.from_pretrained(CLIP) if shipped else build_clip(tokenizer), tokenizer)
    vae = AutoencoderKL.from_pretrained(text_to_image / "vae")
    if shipped:
        # A folder that has only an autoencoder so far takes the other weights from the shipped model.
        start = text_to_image if (text_to_image / "unet").exists() else TEXT_TO_IMAGE
        unet = UNet2DConditionModel.from_pretrained(start / "unet")
        unet = unet_with_latents(unet, vae.config.latent_channels)
        return DiffusionTask(unet, CLIPTextModel.from_pretrained(start / "text_encoder"), tokenizer, vae)
    return DiffusionTask(build_unet(vae.config.latent_channels), build_text_encoder(tokenizer), tokenizer, vae)


def shared_tokenizer() -> CLIPTokenizer:
    """The tokenizer of all nano models, trained once: the weights depend on its ids."""
    folder = TEXT_TO_IMAGE / "tokenizer"
    if not folder.exists():
        train_tokenizer(world.vocabulary_texts()).save_pretrained(folder)
    return CLIPTokenizer.from_pretrained(folder)


def export(task: NanoTask, text_to_image: Path = TEXT_TO_IMAGE) -> None:
    """Write the trained model as fp16 safetensors, in its library's own layout.

    Parts of the text-to-image model go into the folder ``text_to_image``, the others into the package.
    """
    if isinstance(task, VAETask):
        if task.vae.encoder.conv_in.weight.requires_grad:
            rng = torch.Generator().manual_seed(0)
            names = [task.names[i] for i in torch.randint(len(task.names), (256,), generator=rng)]
            standardize_latents(task.vae, pictures_of(world.scenes_of(names, seed=0)))
        task.vae.half().save_pretrained(text_to_image / "vae")
        _tidy_config(text_to_image / "vae" / "config.json")
    elif isinstance(task, CLIPTask):
        task.clip.half().save_pretrained(CLIP)
        _tidy_config(CLIP / "config.json", dtype="float32")
        processor = CLIPImageProcessor(
            size={"height": 64, "width": 64}, do_center_crop=False, image_mean=list(MEAN), image_std=list(STD)
        )
        CLIPProcessor(processor, shared_tokenizer()).save_pretrained(CLIP)  # the task's own has padding turned on
        _tidy_config(CLIP / "tokenizer_config.json")
    elif isinstance(task, FamiliesTask):
        save_open_clip(task.clip, task.config, families_tokenizer(), FOLDER)
    else:
        # Autoencoder and tokenizer were read from the package and are unchanged.
        task.unet.half().save_pretrained(text_to_image / "unet")
        task.text_encoder.half().save_pretrained(text_to_image / "text_encoder")
        task.scheduler.save_pretrained(text_to_image / "scheduler")
        if not (text_to_image / "tokenizer").exists():
            task.tokenizer.save_pretrained(text_to_image / "tokenizer")
        task.pipeline().save_config(text_to_image)
        _tidy_config(text_to_image / "unet" / "config.json")
        _tidy_config(text_to_image / "text_encoder" / "config.json", dtype="float32")


STAMPS = ("_name_or_path", "is_local", "local_files_only", "processor_class")
"""Fields that saving adds to a configuration and that depend on where the model was loaded from."""


def _tidy_config(path: Path, **changes: str) -> None:
    """Leave `STAMPS` out of a configuration.

    transformers loads fp16 weights in the precision that the configuration names, diffusers always in fp32. With fp32
    in the configuration all parts of a pipeline agree.
    """
    config = {**json.loads(path.read_text(encoding="utf-8")), **changes}
    config = {name: value for name, value in config.items() if name not in STAMPS}
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(run_script(main))
