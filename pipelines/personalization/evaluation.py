"""Measures of a learned word: similarity to the subject, agreement with prompts, copies of training pictures."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import torch
from diffusers.utils import make_image_grid
from jaxtyping import Float
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoImageProcessor, AutoModel, CLIPModel, CLIPTokenizer

from mappers.files import check_outputs, replacing, writable_folder
from mappers.hub import resolve, why_not_loaded
from mappers.options import declared_by

from ..estimate import Estimate
from ..images import Images, load_images, square
from .concept_hub import from_pretrained
from .concepts import Concept
from .domain_check import is_nano
from .generation import base_of
from .loading import native_size
from .options import EvaluateOptions
from .pipeline import NeTIPipeline
from .settings import EvaluateConfig

logger = logging.getLogger(__name__)

T_QUANTILES = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131)
"""Student's t at 97.5 % for 1..15 degrees of freedom; beyond, the Gaussian's 1.96 is less than 9 % too small."""

FILES = ("report.json", "samples.png", "truncation.png", "neighbours.png")
"""What `evaluate` writes."""

Embed = Callable[[Sequence[Image.Image]], Float[Tensor, "n d"]]


class Judges:
    """Embeddings of pictures and texts, all of unit length.

    Args:
        clip: folder, embedded or hub id of a `CLIPModel` with tokenizer and image processor.
        dino: the same of a picture transformer whose first output is its class token; None leaves DINO out.
        device: where to compute.

    Raises:
        FileNotFoundError: a model cannot be loaded.
    """

    def __init__(self, clip: str | Path, dino: str | Path | None, device: str | torch.device):
        self.device = torch.device(device)
        try:
            folder = resolve(clip, "CLIP")
            self.clip = CLIPModel.from_pretrained(folder).eval().to(self.device)
            self.tokenizer = CLIPTokenizer.from_pretrained(folder)
            self.embed_images: dict[str, Embed] = {"clip_i": self._clip(AutoImageProcessor.from_pretrained(folder))}
            if dino is not None:
                clip = dino
                folder = resolve(dino, "CLIP")
                model = AutoModel.from_pretrained(folder).eval().to(self.device)
                self.embed_images["dino"] = self._dino(model, AutoImageProcessor.from_pretrained(folder))
        except (OSError, ValueError) as error:
            if isinstance(error, FileNotFoundError):
                raise
            raise FileNotFoundError(
                f"could not load the judge {str(clip)!r} ({why_not_loaded(error)}); give a folder in its layout"
            ) from error

    def _clip(self, processor: Any) -> Embed:
        def embed(pixels: Tensor) -> Tensor:
            return self.clip.visual_projection(self.clip.vision_model(pixel_values=pixels).pooler_output)

        return self._batched(processor, embed)

    def _dino(self, model: Any, processor: Any) -> Embed:
        return self._batched(processor, lambda pixels: model(pixel_values=pixels).last_hidden_state[:, 0])

    def _batched(self, processor: Any, embed: Callable[[Tensor], Tensor], size: int = 32) -> Embed:
        @torch.no_grad()
        def all_of(pictures: Sequence[Image.Image]) -> Tensor:
            rows = []
            for first in range(0, len(pictures), size):
                pixels = processor(list(pictures[first : first + size]), return_tensors="pt").pixel_values
                rows.append(embed(pixels.to(self.device)).float().cpu())
            return F.normalize(torch.cat(rows), dim=-1)

        return all_of

    @torch.no_grad()
    def embed_texts(self, texts: Sequence[str]) -> Float[Tensor, "n d"]:
        """CLIP's embeddings of texts."""
        length = self.clip.config.text_config.max_position_embeddings
        ids = self.tokenizer(
            list(texts), padding="max_length", max_length=length, truncation=True, return_tensors="pt"
        ).input_ids.to(self.device)
        states = self.clip.text_model(input_ids=ids).pooler_output
        return F.normalize(self.clip.text_projection(states).float().cpu(), dim=-1)


@declared_by(EvaluateOptions)
def evaluate(
    concept: Concept | str | Path,
    references: Images,
    *,
    training: Images | None = None,
    output_dir: str | Path | None = None,
    model: str | Path | None = None,
    model_config: str | None = None,
    any_base: bool = False,
    clip: str | Path = "nano-clip",
    dino: str | Path | None = None,
    seed: int = 0,
    overwrite: bool = False,
    config: EvaluateConfig | None = None,
    device: str | None = None,
) -> dict[str, Any]:
    """Measure a learned word next to its category word (the floor) and real pictures (the ceiling).

    CLIP-I and DINO are mean cosines of all pairs of a generated and a reference picture; CLIP-T is that of a picture
    and its prompt without the word, as in textual inversion's evaluation. All rows start from the same noise.

    ``concept`` may also be a loaded `Concept`. Pictures may be given in each way that `pipelines.personalize` takes.

    Args:
        config: all further settings.
        device: where to compute; None takes the accelerator when there is one.

    Returns:
        What ``report.json`` holds. Intervals are of 95 %, over seeds.

    Raises:
        FileNotFoundError, ValueError: an argument cannot be used, or a reference is a training picture.
        FileExistsError, OSError: ``output_dir`` has files of these names, or is not writable.
    """
    config = config or EvaluateConfig()
    output = None if output_dir is None else _report_folder(Path(output_dir).expanduser(), overwrite)
    known = concept if isinstance(concept, Concept) else from_pretrained(concept)
    held_out, seen = load_images(references), [] if training is None else load_images(training)
    pipeline, token = _load(known, model, model_config, any_base=any_base, device=device)
    _warn_of_nano_clip(clip, pipeline.model_id)
    held_out, seen = (_squares(pipeline, pictures) for pictures in (held_out, seen))
    _check_held_out(held_out, seen)
    measure = Measurement(pipeline, Judges(clip, dino, pipeline.device), held_out, config, seed)
    word, pictures = measure.score(token)
    category, _ = measure.score(pipeline.concept(token).category)
    result: dict[str, Any] = {
        "token": token,
        "model": pipeline.model_id,
        "judges": {"clip": str(clip), "dino": None if dino is None else str(dino)},
        "references": len(held_out),
        "scores": {"word": word, "category": category} | measure.ceiling(seen),
        "truncation": measure.truncation_curve(token, word),
        "settings": asdict(config) | {"seed": seed},
    }
    nearest = None
    if seen:
        nearest, result["copies"] = _copies(measure.judges.embed_images["clip_i"], pictures, held_out, seen)
    if output is not None:
        _write(output, result, pictures, seen, nearest)
    return result


def _report_folder(output: Path, overwrite: bool) -> Path:
    check_outputs([output / name for name in FILES], overwrite=overwrite)
    return writable_folder(output)


def _load(
    known: Concept, model: str | Path | None, config: str | None, *, any_base: bool, device: str | None
) -> tuple[NeTIPipeline, str]:
    """The base model with the word in it, and the word's token."""
    pipeline = base_of([known], model, config, device=device)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline, pipeline.load_concept(known, any_base=any_base)


def _warn_of_nano_clip(clip: str | Path, model: str) -> None:
    """Warn when nano-clip is to judge pictures of another model than nano."""
    if str(clip) == "nano-clip" and not is_nano(model):
        logger.warning(
            "nano-clip, which knows drawn pictures of 64 pixels alone, judges those of %s: the scores say little. Give "
            "clip= a CLIP that has seen photos, such as openai/clip-vit-large-patch14",
            model or "this model",
        )


def _squares(pipeline: NeTIPipeline, pictures: list[Image.Image]) -> list[Image.Image]:
    """The centred squares of pictures at the model's size."""
    side = min(native_size(pipeline.unet, pipeline.vae_scale_factor))
    return [square(picture, side) for picture in pictures]


class Measurement:
    """Scores of words in the prompts of a configuration, against held-out pictures.

    Args:
        pipeline: the base model, with the word loaded.
        judges: the embedding models.
        held_out: pictures of the subject that the word was not learned from.
        config: prompts, seeds and steps.
        seed: the first seed of the noise.
    """

    def __init__(
        self, pipeline: NeTIPipeline, judges: Judges, held_out: list[Image.Image], config: EvaluateConfig, seed: int
    ):
        self.pipeline, self.judges, self.config, self.seed = pipeline, judges, config, seed
        self.references = {name: embed(held_out) for name, embed in judges.embed_images.items()}
        self.texts = judges.embed_texts([" ".join(prompt.format("").split()) for prompt in config.prompts])

    def score(self, word: str, truncation: int | None = None) -> tuple[dict[str, Any], list[Image.Image]]:
        """Each score's `Estimate` over seeds, as plain data, and the pictures."""
        pictures = self._draw(word, truncation)
        scores, seeds = {}, self.config.seeds
        embedded = {name: embed(pictures) for name, embed in self.judges.embed_images.items()}
        for name, rows in embedded.items():
            scores[name] = (rows @ self.references[name].T).mean(1)
        scores["clip_t"] = (embedded["clip_i"] * self.texts.repeat_interleave(seeds, 0)).sum(1)
        by_seed = {name: score.view(-1, seeds).mean(0) for name, score in scores.items()}
        return {name: asdict(estimate_over_seeds(score)) for name, score in by_seed.items()}, pictures

    def ceiling(self, seen: list[Image.Image]) -> dict[str, Any]:
        """The row of real pictures: scores of the training pictures, without an interval. Empty without any."""
        if not seen:
            return {}
        row = {
            name: asdict(Estimate(*[float((embed(seen) @ self.references[name].T).mean())] * 3))
            for name, embed in self.judges.embed_images.items()
        }
        return {"training pictures": row}

    def truncation_curve(self, token: str, whole: dict[str, Any]) -> dict[int, dict[str, Any]]:
        """Scores by units kept; those of all units are ``whole``. Empty for a mapper without units."""
        hidden = int(cast(Any, self.pipeline.concept(token).mapper).hidden)
        cuts = sorted({min(hidden, round(hidden * share)) for share in self.config.truncations}) if hidden else []
        return {units: whole if units == hidden else self.score(token, units)[0] for units in cuts}

    def _draw(self, word: str, truncation: int | None) -> list[Image.Image]:
        """One picture of each prompt and seed, prompt-major; a seed's noise is the same for every prompt and word."""
        config = self.config
        pictures: list[Image.Image] = []
        for prompt in config.prompts:
            noise = [torch.Generator().manual_seed(self.seed + i) for i in range(config.seeds)]
            pictures += self.pipeline(
                prompt.format(word),
                num_inference_steps=config.inference_steps,
                guidance_scale=config.guidance_scale,
                num_images_per_prompt=config.seeds,
                generator=noise,
                truncation=truncation,
            ).images
        return pictures


def _write(
    output: Path,
    result: dict[str, Any],
    pictures: list[Image.Image],
    seen: list[Image.Image],
    nearest: list[int] | None,
) -> None:
    """``report.json`` and its pictures."""
    columns = result["settings"]["seeds"]
    with replacing(output / "samples.png") as temporary:
        make_image_grid(pictures, rows=len(pictures) // columns, cols=columns).save(temporary)
    if result["truncation"]:
        draw_curve(result["truncation"], result["scores"]["category"], output / "truncation.png")
    if nearest is not None:
        draw_neighbours(pictures, seen, nearest, output / "neighbours.png")
    with replacing(output / "report.json") as temporary:
        temporary.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def estimate_over_seeds(values: Float[Tensor, " s"]) -> Estimate:
    """Mean and 95 % interval, by Student's t, of one score per seed, of which there are at least two."""
    mean, count = float(values.mean()), len(values)
    t = T_QUANTILES[count - 2] if count - 2 < len(T_QUANTILES) else 1.96
    half = t * float(values.std()) / math.sqrt(count)
    return Estimate(mean, mean - half, mean + half)


def _copies(
    embed: Embed, pictures: list[Image.Image], held_out: list[Image.Image], seen: list[Image.Image]
) -> tuple[list[int], dict[str, Any]]:
    """The training picture nearest to each generated one, and whether it is nearer than any other real picture is.

    A generated picture is suspicious if it is nearer to a training picture than *every* held-out picture is to its own
    nearest: no new photograph of the subject is that near.
    """
    memory = embed(seen)
    near, nearest = (embed(pictures) @ memory.T).max(1)
    limit = (embed(held_out) @ memory.T).max()
    suspicious = (near > limit).float().mean()
    result = {"nearest": float(near.mean()), "held_out": float(limit), "suspicious": float(suspicious)}
    return nearest.tolist(), result


def _check_held_out(held_out: list[Image.Image], seen: list[Image.Image]) -> None:
    """Refuse references that were learned from.

    Raises:
        ValueError: one is a training picture.
    """
    known = {picture.tobytes() for picture in seen}
    for i, picture in enumerate(held_out):
        if picture.tobytes() in known:
            raise ValueError(
                f"reference {i + 1} is one of the training pictures, which would reward overfitting; hold it out"
            )


def draw_curve(curve: Mapping[int, Mapping[str, Any]], category: Mapping[str, Any], path: Path) -> None:
    """CLIP-I against CLIP-T along the truncation, with intervals, compared with the category word."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for label, rows in (("units kept", list(curve.values())), ("category word", [category])):
        points = [[row[name]["value"] for row in rows] for name in ("clip_t", "clip_i")]
        spread = [[row[name]["high"] - row[name]["value"] for row in rows] for name in ("clip_t", "clip_i")]
        axes.errorbar(*points, xerr=spread[0], yerr=spread[1], fmt="o-", capsize=2, label=label)
    for units, row in curve.items():
        at = row["clip_t"]["value"], row["clip_i"]["value"]
        axes.annotate(str(units), at, textcoords="offset points", xytext=(4, 4))
    axes.set(xlabel="CLIP-T (agreement with the prompt)", ylabel="CLIP-I (similarity to the subject)")
    axes.legend()
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")


def draw_neighbours(
    pictures: Sequence[Image.Image], seen: Sequence[Image.Image], nearest: Sequence[int], path: Path, *, most: int = 8
) -> None:
    """Generated pictures, evenly chosen, above the training picture nearest to each."""
    chosen = range(0, len(pictures), max(1, len(pictures) // most))[:most]
    rows = [[pictures[i] for i in chosen], [seen[nearest[i]] for i in chosen]]
    with replacing(path) as temporary:
        make_image_grid([picture for row in rows for picture in row], rows=2, cols=len(chosen)).save(temporary)
