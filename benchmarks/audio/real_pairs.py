"""Mappers on recorded sounds and drawn pictures of them: ``python -m benchmarks.audio.real_pairs --pairs DIR``.

The paper's two mappers and the linear baseline learn the training files of ``DIR`` (as `pipelines.fit_mapper` reads
it) between nano-clip and nano-clap, which know a painted world and its sounds only. Held-out pictures ask for held-out
recordings of their kind; and the sounds made for them are named by a judge that nothing here was trained with: ridge
regression on means and deviations of mel bins, fitted to the training recordings. Beside them the oracle (recordings of
the training ask; sounds are made from held-out recordings' own embeddings), the held-out recordings themselves, and
chance. Prints a table, writes its results.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int

import pipelines
from benchmarks.distillation.all_pairs import ROOT
from mappers.files import replacing
from mappers.yaml_settings import load_settings
from pipelines.audio.conditioning import load_mapper
from pipelines.audio.files import read_sound
from pipelines.audio.generation import Sonifier
from pipelines.audio.mel import RATE, log_mel
from pipelines.audio.metrics import accuracy, recall_at
from pipelines.audio.pairs import EmbeddedItems, Item, read_pairs
from pipelines.audio.settings import FitMapperConfig, SoundConfig
from pipelines.audio.training import EmbeddedPairs
from pipelines.estimate import Estimate, bootstrap

METHODS = ("linear", "regression", "prior")
SETTINGS = {"linear": "linear", "regression": "regression", "prior": "nano"}
"""Files of `configs/fit_mapper`."""
DRAWS = 2
"""Sounds, and draws of a generative mapper, for each picture."""
RIDGE = 10.0
"""Of the judge, on standardized features."""


class Judge:
    """Names the kind of a sound."""

    def __init__(self, sounds: list[Item], classes: list[str]):
        self.classes = classes
        rows = np.stack([features(read_sound(item.path, RATE)) for item in sounds])
        self.mean, self.deviation = rows.mean(0), rows.std(0) + 1e-6
        rows = self._standard(rows)
        wanted = np.eye(len(classes))[[classes.index(item.name) for item in sounds]]
        self.weights = np.linalg.solve(
            rows.T @ rows + RIDGE * np.eye(rows.shape[1]), rows.T @ (wanted - wanted.mean(0))
        )

    def __call__(self, waves: list[Float[np.ndarray, " samples"]]) -> Float[np.ndarray, "n classes"]:
        """A score for each kind; the largest names it."""
        return self._standard(np.stack([features(wave) for wave in waves])) @ self.weights

    def _standard(self, rows: np.ndarray) -> np.ndarray:
        return (rows - self.mean) / self.deviation


def features(wave: Float[np.ndarray, " samples"]) -> Float[np.ndarray, " 128"]:
    """Mean and deviation of each mel bin over the frames, of a sound of peak 1."""
    loud = wave / max(float(np.abs(wave).max()), 1e-4)
    mel = log_mel(torch.from_numpy(loud).float()[None])[0].clamp(min=-8).numpy()
    return np.concatenate([mel.mean(0), mel.std(0)])


def numbers(side: EmbeddedItems, classes: list[str]) -> Int[np.ndarray, " n"]:
    """Indices of the kinds of its items."""
    return np.array([classes.index(name) for name in side.names])


def retrieval(rows: np.ndarray, kinds: np.ndarray, gallery: np.ndarray, known: np.ndarray) -> dict[str, Estimate]:
    """Share of queries that find a recording of their kind first, and among five."""
    return {
        f"recall at {k}": bootstrap(lambda a, b, k=k: recall_at(k, a, b[:, 0], gallery, known), rows, kinds[:, None])
        for k in (1, 5)
    }


def those(side: EmbeddedItems, classes: list[str]) -> EmbeddedItems:
    """Its items of some kinds."""
    chosen = [number for number, name in enumerate(side.names) if name in classes]
    return EmbeddedItems([side.items[number] for number in chosen], side.rows[chosen])


def naming(judge: Judge, waves: list[np.ndarray], kinds: np.ndarray) -> Estimate:
    """Share of sounds that are named as they should be."""
    return bootstrap(lambda scores, right: accuracy(scores, right[:, 0]), judge(waves), kinds[:, None])


def made(sonifier: Sonifier, rows: torch.Tensor, seed: int, *, heard: bool) -> list[np.ndarray]:
    """`DRAWS` sounds for each picture embedding, or where ``heard`` for each sound embedding, one after the other."""
    sounds, seconds = [], sonifier.backend.native_seconds
    for number, row in enumerate(rows):
        seeds = [seed + DRAWS * number + draw for draw in range(DRAWS)]
        if heard:
            noise = [torch.Generator().manual_seed(each) for each in seeds]
            waves = sonifier.backend.generate(row.expand(DRAWS, -1), seconds=seconds, generator=noise).numpy()
        else:
            config = SoundConfig()
            waves = sonifier.from_embeddings(row.expand(DRAWS, 1, -1), seeds, seconds=seconds, config=config).audios
        sounds += list(waves)
    return sounds


def main() -> None:
    parser = argparse.ArgumentParser(description="Mappers on recorded sounds and drawn pictures of the same things.")
    parser.add_argument("--pairs", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "real_pairs")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "results" / "audio" / "real_pairs.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for method in METHODS:
        pipelines.fit_mapper(
            arguments.pairs, arguments.runs / method, cache=arguments.runs / "cache", seed=arguments.seed,
            resume="auto", config=load_settings(FitMapperConfig, SETTINGS[method], task="fit_mapper"),
        )  # fmt: skip
    sides = EmbeddedPairs.load(arguments.runs / METHODS[0] / "embeddings.safetensors")
    asked, gallery = sides.pictures.part(held_out=True), sides.sounds.part(held_out=True)
    classes = sorted(set(gallery.names))
    asked = those(asked, classes)
    kinds, known = numbers(asked, classes), numbers(gallery, classes)
    sounds = read_pairs(arguments.pairs).sounds
    judge = Judge([item for item in sounds if not item.held_out and item.name in classes], classes)
    rows: dict[str, dict[str, Estimate]] = {}
    for method in METHODS:
        mapper = load_mapper(arguments.runs / method)
        with torch.no_grad():
            found = mapper.translate(asked.rows, generator=torch.Generator().manual_seed(arguments.seed)).numpy()
        waves = made(Sonifier.load(mapper=arguments.runs / method), asked.rows, arguments.seed, heard=False)
        rows[method] = retrieval(found, kinds, gallery.rows.numpy(), known)
        rows[method]["named"] = naming(judge, waves, np.repeat(kinds, DRAWS))
    others = those(sides.sounds.part(held_out=False), classes)
    rows["oracle"] = retrieval(others.rows.numpy(), numbers(others, classes), gallery.rows.numpy(), known)
    waves = made(Sonifier.load(), gallery.rows, arguments.seed, heard=True)
    rows["oracle"]["named"] = naming(judge, waves, np.repeat(known, DRAWS))
    held = [item for item in sounds if item.held_out and item.name in classes]
    recordings = [read_sound(item.path, RATE) for item in held]
    named = np.array([classes.index(item.name) for item in held])
    rows["recordings"] = {"named": naming(judge, recordings, named)}
    shares = np.bincount(known, minlength=len(classes)) / len(known)
    first, five = float(shares[kinds].mean()), float((1 - (1 - shares[kinds]) ** 5).mean())
    rows["chance"] = {
        name: Estimate(value, value, value)
        for name, value in (("recall at 1", first), ("recall at 5", five), ("named", 1 / len(classes)))
    }
    about = {"kinds": len(classes), "pictures": len(kinds), "recordings": len(known), "draws": DRAWS}
    report(rows, about)
    figures = {name: {figure: vars(value) for figure, value in row.items()} for name, row in rows.items()}
    with replacing(arguments.output) as temporary:
        temporary.write_text(json.dumps({**about, "mappers": figures}, indent=1) + "\n", encoding="utf-8")


def report(rows: dict[str, dict[str, Estimate]], about: dict[str, int]) -> None:
    """A row for each mapper."""
    print(about)
    figures = list(rows["chance"])
    print("| | " + " | ".join(figures) + " |\n" + "|---" * (len(figures) + 1) + "|")
    for name, row in rows.items():
        known = [None if figure not in row else [100 * v for v in vars(row[figure]).values()] for figure in figures]
        cells = ["" if one is None else "{:.0f} % ({:.0f} to {:.0f})".format(*one) for one in known]
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
