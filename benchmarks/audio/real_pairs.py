"""Mappers trained on recorded sounds and drawn pictures: ``python -m benchmarks.audio.real_pairs --pairs DIR``.

The paper's two mappers and the linear baseline are trained on the training files of ``DIR`` (as `pipelines.fit_mapper`
reads it) between nano-clip and nano-clap, which were trained on a painted world and its sounds only. Held-out pictures
are the queries for held-out recordings of their class. A judge names the class of the sounds that are generated for
them: ridge regression on means and deviations of mel bins, fitted to the training recordings, which no model here was
trained with. For comparison: the oracle (queries are training recordings; sounds are generated from the embeddings of
held-out recordings themselves), the held-out recordings, and chance.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int

import pipelines
from benchmarks.common.results import RUNS, Results, Row, Table, result_path
from mappers.command_line import run_script
from mappers.yaml_settings import load_settings
from pipelines.audio.backends import BackendOptions
from pipelines.audio.conditioning import load_mapper
from pipelines.audio.files import read_sound
from pipelines.audio.generation import Sonifier
from pipelines.audio.mel import RATE, log_mel
from pipelines.audio.metrics import accuracy, recall_at
from pipelines.audio.pairs import EmbeddedItems, EmbeddedPairs, Item, read_pairs
from pipelines.audio.settings import FitMapperConfig, SoundConfig
from pipelines.estimate import Estimate, bootstrap

OUTPUT = result_path(__file__)
METHODS = ("linear", "regression", "prior")
SETTINGS = {"linear": "linear", "regression": "regression", "prior": "nano"}
"""Files of `configs/fit_mapper`."""
DRAWS = 2
"""Sounds, and draws of a generative mapper, for each picture."""
RIDGE = 10.0
"""Of the judge, on standardized features."""


class Judge:
    """Names the class of a sound: ridge regression on features of mel spectra."""

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


def class_indices(side: EmbeddedItems, classes: list[str]) -> Int[np.ndarray, " n"]:
    """Indices of the kinds of its items."""
    return np.array([classes.index(name) for name in side.names])


def retrieval(rows: np.ndarray, kinds: np.ndarray, gallery: np.ndarray, known: np.ndarray) -> dict[str, Estimate]:
    """Share of queries that find a recording of their kind first, and among five."""
    return {
        f"recall at {k}": bootstrap(lambda a, b, k=k: recall_at(k, a, b[:, 0], gallery, known), rows, kinds[:, None])
        for k in (1, 5)
    }


def of_classes(side: EmbeddedItems, classes: list[str]) -> EmbeddedItems:
    """Its items of some classes."""
    chosen = [number for number, name in enumerate(side.names) if name in classes]
    return EmbeddedItems([side.items[number] for number in chosen], side.rows[chosen])


def named_share(judge: Judge, waves: list[np.ndarray], kinds: np.ndarray) -> Estimate:
    """Share of sounds that are named as they should be."""
    return bootstrap(lambda scores, right: accuracy(scores, right[:, 0]), judge(waves), kinds[:, None])


def generate(sonifier: Sonifier, rows: torch.Tensor, seed: int, *, from_sounds: bool) -> list[np.ndarray]:
    """`DRAWS` sounds for each picture embedding, or where ``from_sounds`` for each sound embedding, in order."""
    sounds, seconds = [], sonifier.backend.native_seconds
    for number, row in enumerate(rows):
        seeds = [seed + DRAWS * number + draw for draw in range(DRAWS)]
        if from_sounds:
            noise = [torch.Generator().manual_seed(each) for each in seeds]
            options = BackendOptions(seconds=seconds, generator=noise)
            waves = sonifier.generate(row.expand(DRAWS, -1), options)
        else:
            config = SoundConfig()
            waves = sonifier.from_embeddings(row.expand(DRAWS, 1, -1), seeds, seconds=seconds, config=config).audios
        sounds += list(waves)
    return sounds


def main(*, pairs: Path, seed: int = 0, runs: Path = RUNS / "real_pairs", output: Path = OUTPUT) -> None:
    """Train mappers on recordings and drawings and measure retrieval and generated sounds.

    Args:
        pairs: Folder of pictures and sounds, as pipelines.fit_mapper reads it.
        seed: Seed of training and of sounds.
        runs: Folder of the trained mappers.
        output: Results.
    """
    torch.set_num_threads(1)
    for method in METHODS:
        pipelines.fit_mapper(
            pairs, runs / method, cache=runs / "cache", seed=seed,
            resume="auto", config=load_settings(FitMapperConfig, SETTINGS[method], task="fit_mapper"),
        )  # fmt: skip
    embedded = EmbeddedPairs.load(runs / METHODS[0] / "embeddings.safetensors")
    queries, gallery = embedded.pictures.part(held_out=True), embedded.sounds.part(held_out=True)
    classes = sorted(set(gallery.names))
    queries = of_classes(queries, classes)
    asked, known = class_indices(queries, classes), class_indices(gallery, classes)
    results = Results(output, {"kinds": len(classes), "pictures": len(asked), "recordings": len(known), "draws": DRAWS})
    sounds = read_pairs(pairs).sounds
    judge = Judge([item for item in sounds if not item.held_out and item.name in classes], classes)

    def of_mapper(method: str) -> Row:
        mapper = load_mapper(runs / method)
        with torch.no_grad():
            found = mapper.translate(queries.rows, generator=torch.Generator().manual_seed(seed)).numpy()
        waves = generate(Sonifier.load(mapper=runs / method), queries.rows, seed, from_sounds=False)
        named = named_share(judge, waves, np.repeat(asked, DRAWS))
        return as_row({**retrieval(found, asked, gallery.rows.numpy(), known), "named": named})

    def of_oracle() -> Row:
        others = of_classes(embedded.sounds.part(held_out=False), classes)
        found = retrieval(others.rows.numpy(), class_indices(others, classes), gallery.rows.numpy(), known)
        waves = generate(Sonifier.load(), gallery.rows, seed, from_sounds=True)
        return as_row({**found, "named": named_share(judge, waves, np.repeat(known, DRAWS))})

    def of_recordings() -> Row:
        held_out = [item for item in sounds if item.held_out and item.name in classes]
        truth = np.array([classes.index(item.name) for item in held_out])
        return as_row({"named": named_share(judge, [read_sound(item.path, RATE) for item in held_out], truth)})

    for method in METHODS:
        results.row(method, lambda method=method: of_mapper(method))
    results.row("oracle", of_oracle)
    results.row("recordings", of_recordings)
    results.row("chance", lambda: of_chance(asked, known, len(classes)))
    results.report(table(results.rows))


def of_chance(asked: np.ndarray, known: np.ndarray, classes: int) -> Row:
    """What random embeddings and random names reach."""
    shares = np.bincount(known, minlength=classes) / len(known)
    first, five = float(shares[asked].mean()), float((1 - (1 - shares[asked]) ** 5).mean())
    found = {"recall at 1": first, "recall at 5": five, "named": 1 / classes}
    return as_row({name: Estimate(value, value, value) for name, value in found.items()})


def as_row(figures: dict[str, Estimate]) -> Row:
    """Estimates as plain numbers."""
    return {name: dict(vars(value)) for name, value in figures.items()}


def table(rows: dict[str, Row]) -> Table:
    """A row for each mapper; in brackets 95 % intervals."""
    figures, lines = list(rows["chance"]), []
    for name, row in rows.items():
        known = [[100 * v for v in row[figure].values()] if figure in row else None for figure in figures]
        lines.append([name, *("" if one is None else "{:.0f} % ({:.0f} to {:.0f})".format(*one) for one in known)])
    return Table("Held-out pictures and recordings", ["", *figures], lines)


if __name__ == "__main__":
    raise SystemExit(run_script(main))
