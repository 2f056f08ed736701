"""Trains the nano audio models from scratch: ``python -m pipelines.nano.train_audio clap|mel-vae|...``.

``clap``, ``mel-vae`` and ``clip`` need no other part; ``unet`` needs the exported clap and mel-vae; ``prior`` and
``regression`` need the exported clip and clap. ``--resume`` continues a run and ``--export`` writes the model into the
package;
`docs/how-to/train-nano.md` has the settings of the shipped weights.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from torch import nn
from transformers import (
    ClapProcessor,
    ClapTextModelWithProjection,
    CLIPImageProcessor,
    CLIPVisionModelWithProjection,
    RobertaTokenizer,
)

from mappers.command_line import run_script
from mappers.diffusion_prior import DiffusionPriorMapper
from mappers.embedding_cache import space_id
from mappers.pairs import PairTask
from mappers.training.model_training import ModelTraining, frozen_parts
from mappers.training.train_config import TrainConfig
from mappers.training.trainer import FitReport
from mappers.v2a import RegressionMapper

from ..audio.clap import Clap
from ..audio.griffin_lim import GriffinLim
from ..audio.pipeline import VisionToAudioPipeline
from .recipes.audio_clip import AudioCLIPTask, build_audio_clip
from .recipes.audio_mappers import build_prior, build_regression, pair_task
from .recipes.audio_unet import AudioDiffusionTask, build_audio_unet
from .recipes.clap import CLAPTask, build_clap, build_extractor, train_text_tokenizer
from .recipes.clip import MEAN, STD
from .recipes.mel_vae import MelVAETask, build_mel_vae, mels_of
from .recipes.vae import standardize_latents
from .train import HERE, _tidy_config, shared_tokenizer
from .world.moments import Clips

VISION_TO_AUDIO, CLAP = HERE / "vision_to_audio", HERE / "clap"
TRAINING, HELD_OUT = 4_800, 512
"""Numbers of clips for training (seed 0) and for validation (seed 1)."""

AudioTask = CLAPTask | MelVAETask | AudioDiffusionTask | AudioCLIPTask | PairTask

RECIPES: dict[str, TrainConfig] = {
    "clap": TrainConfig(
        steps=700, batch_size=32, optimizer="muon", learning_rate=1e-3, warmup_steps=50, betas=(0.9, 0.98),
        weight_decay=0.05, clip_norm=1.0, precision="auto", ema=0.99, schedule="cosine", save_every=100,
        validate_every=150, log_every=10,
    ),
    "mel-vae": TrainConfig(
        steps=6_000, batch_size=4, learning_rate=2e-3, warmup_steps=50, betas=(0.9, 0.99), weight_decay=0.0,
        clip_norm=1.0, precision="auto", ema=0.99, schedule="cosine", save_every=100, validate_every=300, log_every=20,
    ),
    "clip": TrainConfig(
        steps=2_400, batch_size=32, optimizer="muon", learning_rate=5e-4, warmup_steps=20, betas=(0.9, 0.98),
        weight_decay=0.05, clip_norm=1.0, precision="auto", ema=0.98, schedule="cosine", save_every=60,
        validate_every=120, log_every=10,
    ),
    "unet": TrainConfig(
        steps=6_000, batch_size=16, optimizer="muon", learning_rate=1e-3, warmup_steps=50, betas=(0.9, 0.99),
        weight_decay=0.01, clip_norm=1.0, precision="auto", ema=0.995, schedule="cosine", save_every=100,
        validate_every=400, log_every=20,
    ),
    "prior": TrainConfig(
        steps=1_000, batch_size=256, learning_rate=1e-3, warmup_steps=100, weight_decay=0.01, clip_norm=0.5,
        precision="auto", ema=0.995, schedule="cosine", save_every=500, validate_every=1_000, log_every=50,
    ),
    "regression": TrainConfig(
        steps=2_000, batch_size=256, learning_rate=1e-3, warmup_steps=100, weight_decay=0.01, precision="auto",
        schedule="cosine", save_every=1_000, validate_every=1_000, log_every=100,
    ),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Arguments(ModelTraining):
    """Train one part of the nano audio models."""

    part: Annotated[
        Literal["clap", "mel-vae", "clip", "unet", "prior", "regression"], tyro.conf.Positional
    ]  # fmt: skip
    """Which part; prior and regression are the two mappers."""
    clips: Path = Path("runs/nano_audio_clips")
    """Folder of the rendered sounds, which all parts share; sounds are rendered when they are missing."""


def main(arguments: Annotated[Arguments, tyro.conf.arg(name="")]) -> FitReport:
    """Train ``arguments.part`` and, if asked, export it."""
    arguments.start()
    config = arguments.with_overrides(RECIPES[arguments.part])
    task = build_task(arguments.part, Clips(arguments.clips, TRAINING, 0), Clips(arguments.clips, HELD_OUT, 1))
    inputs: dict[str, Any] = {"part": arguments.part, "frozen": frozen_parts(task)}
    if isinstance(task, PairTask):
        inputs["spaces"] = [task.mapper.config.source_space, task.mapper.config.target_space]
    elif isinstance(task, AudioDiffusionTask):
        inputs["spaces"] = [task.text_space]
    report = arguments.fit(task, config, inputs)
    if arguments.export:
        export(task)
    arguments.finish(report, {"part": arguments.part}, settings=config)
    return report


def build_task(part: str, clips: Clips, held_out: Clips) -> AudioTask:
    """The task of ``part`` with new weights; parts that it depends on are read from the package."""
    if part == "clap":
        tokenizer = train_text_tokenizer()
        return CLAPTask(build_clap(tokenizer), build_extractor(), tokenizer, clips, held_out)
    if part == "mel-vae":
        return MelVAETask(build_mel_vae(), clips, held_out)
    if part == "clip":
        return AudioCLIPTask(build_audio_clip(), shared_tokenizer())
    clap = Clap.from_folder(CLAP)
    if part == "unet":
        vae = AutoencoderKL.from_pretrained(VISION_TO_AUDIO / "vae")
        return AudioDiffusionTask(build_audio_unet(), vae, clap, clips, held_out)
    image_encoder = CLIPVisionModelWithProjection.from_pretrained(VISION_TO_AUDIO / "image_encoder").eval()
    extractor = CLIPImageProcessor.from_pretrained(VISION_TO_AUDIO / "feature_extractor")
    build = build_prior if part == "prior" else build_regression
    mapper = build(space_id(image_encoder), clap.space_id)
    return pair_task(mapper, image_encoder, extractor, clap, clips, held_out, RECIPES[part].batch_size)


def export(task: AudioTask) -> None:
    """Write the trained model into the package as fp16 safetensors, in its library's own layout."""
    if isinstance(task, CLAPTask):
        _save(task.clap, CLAP)
        ClapProcessor(task.extractor, train_text_tokenizer()).save_pretrained(CLAP)
        _tidy_config(CLAP / "tokenizer_config.json")
        text_encoder = ClapTextModelWithProjection(task.clap.config.text_config)
        text_encoder.text_model, text_encoder.text_projection = task.clap.text_model, task.clap.text_projection
        _save(text_encoder, VISION_TO_AUDIO / "text_encoder")
        train_text_tokenizer().save_pretrained(VISION_TO_AUDIO / "tokenizer")
        _tidy_config(VISION_TO_AUDIO / "tokenizer" / "tokenizer_config.json")
    elif isinstance(task, MelVAETask):
        standardize_latents(task.vae, mels_of(task.clips.waves(slice(0, 256))))
        _save(task.vae, VISION_TO_AUDIO / "vae")
    elif isinstance(task, AudioCLIPTask):
        image_encoder = CLIPVisionModelWithProjection(task.clip.config.vision_config)
        image_encoder.vision_model, image_encoder.visual_projection = (
            task.clip.vision_model, task.clip.visual_projection,
        )  # fmt: skip
        _save(image_encoder, VISION_TO_AUDIO / "image_encoder")
        processor = CLIPImageProcessor(
            size={"height": 64, "width": 64}, do_center_crop=False, image_mean=list(MEAN), image_std=list(STD)
        )
        processor.save_pretrained(VISION_TO_AUDIO / "feature_extractor")
    elif isinstance(task, AudioDiffusionTask):
        _save(task.unet, VISION_TO_AUDIO / "unet")
        task.scheduler.save_pretrained(VISION_TO_AUDIO / "scheduler")
    else:
        name = "mapper" if task.mapper.generative else "regression_mapper"
        _save(task.mapper, VISION_TO_AUDIO / name)
    write_index(VISION_TO_AUDIO)


def _save(model: nn.Module, folder: Path) -> None:
    model.half().save_pretrained(folder)
    # diffusers loads weights as fp32, transformers as the configuration says; this makes them agree.
    is_transformers = "transformers_version" in json.loads((folder / "config.json").read_text(encoding="utf-8"))
    _tidy_config(folder / "config.json", **({"dtype": "float32"} if is_transformers else {}))


PARTS: dict[str, type] = {
    "vae": AutoencoderKL,
    "unet": UNet2DConditionModel,
    "scheduler": DDIMScheduler,
    "vocoder": GriffinLim,
    "text_encoder": ClapTextModelWithProjection,
    "tokenizer": RobertaTokenizer,
    "image_encoder": CLIPVisionModelWithProjection,
    "feature_extractor": CLIPImageProcessor,
    "mapper": DiffusionPriorMapper,
    "regression_mapper": RegressionMapper,
}
"""Components of the pipeline, by the names of their folders."""


def write_index(folder: Path) -> None:
    """Write the vocoder, which has no learned weights, and, once all parts exist, ``model_index.json``."""
    _save(GriffinLim(), folder / "vocoder")
    if all((folder / name).exists() for name in PARTS):
        parts = {name: part.from_pretrained(folder / name) for name, part in PARTS.items()}
        VisionToAudioPipeline(**parts).save_config(folder)


if __name__ == "__main__":
    raise SystemExit(run_script(main))
