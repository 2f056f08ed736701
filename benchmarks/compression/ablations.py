"""What the parts of the codec are worth: ``python -m benchmarks.compression.ablations --data DIR``.

Two small codecs for photographs are trained whole, and without one part at a time. "published" is RECOMBINER: a network
whose weights and encodings are sent, square matrices, three levels, and posteriors of its own for each of a fixed set
of crops. "shipped" is the recipe ``photos``: a linear transform next to the network, a mixture as prior, new crops at
every step. All are trained equally long with one seed, and then code held-out crops of 128x128 pixels at equal bits of
indices. One thread.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from benchmarks.common.results import RUNS, Results, Table, result_path
from mappers.command_line import run_script
from mappers.training.trainer import fit
from mappers.yaml_settings import load_settings
from nerf.compression.block_order import block_order_of
from nerf.compression.decoder import decode_latents, synthesize
from nerf.compression.description import Description
from nerf.compression.encoder import EncodeConfig, Encoder
from nerf.compression.learning.crops import Crops
from nerf.compression.learning.datasets import training_data
from nerf.compression.learning.prior_task import PriorTask
from nerf.compression.learning.settings import Recipe
from nerf.compression.model.amortiser import START_STD
from nerf.compression.model.codec import CodecModel
from nerf.compression.train import finished_model

OUTPUT = result_path(__file__)
BUDGETS = (140.0, 320.0)
"""Bits of a patch of 32x32 pixels."""
SIDE, FIXED, MEASURED = 128, 64, 6
"""Pixels of a crop's side; crops of the fixed set; held-out ones."""
SEARCH = EncodeConfig(steps=200, rounds=12, round_steps=10)
PUBLISHED = Description(
    patch=(32, 32), latent=(4, 4), latent_channels=32, upsampler=(32, 24, 16), factors=((2, 2), (2, 2), (2, 2)),
    stitched=True, width=24, layers=4, rank=None, group=(2, 2), components=1, budgets=BUDGETS, default_rate=0,
)  # fmt: skip
ORDERED = ("published", "shipped")
"""Variants that are also measured without the random order of rows."""
RATE = 1e-3
"""Learning rate of "published" and its variants; at the shipped 2e-3 the network diverged at step 250."""
MATRICES = 0.05
"""Learning rate of its square matrices, relative to the others'. At the full rate, 140 bits a patch gave 12.6 dB."""
Change = Callable[[PriorTask], None]


def nothing(task: PriorTask) -> None:
    """Leave the task as it is."""


def no_transform(task: PriorTask) -> None:
    """Only the network draws, and the priors start at a unit normal, as published."""
    task.network.transform.basis.requires_grad_(False).zero_()
    task.amortiser.gain.requires_grad_(False).zero_()
    with torch.no_grad():
        task.amortiser.log_std.fill_(math.log(START_STD))
    task.priors.std.fill_(1.0)
    torch.nn.init.normal_(task.network.layers[-1].base, std=0.1)


def published(task: PriorTask) -> None:
    """As published: no transform, and square matrices that learn slowly, as 55,000 steps at 2e-4 let them."""
    no_transform(task)
    task.rates |= {f"network.layers.{i}.matrix": MATRICES for i in range(len(task.network.layers))}


def no_reparameterization(task: PriorTask) -> None:
    """Latent numbers are the weights' own deviations from their base, all of one size."""
    no_transform(task)
    for layer in task.network.layers:
        size = layer.matrix.detach().norm(dim=0).mean()
        layer.matrix.requires_grad_(False).copy_(size * torch.eye(len(layer.matrix)))


def no_encodings(task: PriorTask) -> None:
    """The network sees Fourier features only; encodings that change nothing cost nothing."""
    published(task)
    for parameter in task.network.upsampler.parameters():
        parameter.requires_grad_(False).zero_()


def no_network(task: PriorTask) -> None:
    """Only the transform draws: the last layer stays at zero."""
    for parameter in task.network.layers[-1].parameters():
        parameter.requires_grad_(False).zero_()


def variants() -> dict[str, tuple[Description, Change, bool]]:
    """Description, change, and whether crops are drawn anew, by name."""
    shipped = dataclasses.replace(
        load_settings(Recipe, "photos", task="compression").description, budgets=BUDGETS, default_rate=0
    )
    return {
        "published": (PUBLISHED, published, False),
        "published, no reparameterization": (PUBLISHED, no_reparameterization, False),
        "published, no encodings": (PUBLISHED, no_encodings, False),
        "published, no hierarchy": (dataclasses.replace(PUBLISHED, group=None), published, False),
        "published, rectangular matrices": (dataclasses.replace(PUBLISHED, rank=shipped.rank), published, False),
        "shipped": (shipped, nothing, True),
        "shipped, no network": (shipped, no_network, True),
        "shipped, no mixture": (dataclasses.replace(shipped, components=1), nothing, True),
        "shipped, no transform": (shipped, no_transform, True),
        "shipped, no hierarchy": (dataclasses.replace(shipped, group=None), nothing, True),
        "shipped, square matrices": (dataclasses.replace(shipped, rank=None), nothing, True),
    }


def learn(description: Description, change: Change, fresh: bool, data: Path, steps: int, output: Path) -> CodecModel:
    """A trained codec."""
    torch.manual_seed(0)
    recipe = load_settings(Recipe, "photos", task="compression")
    rate = recipe.train.learning_rate if fresh else RATE
    config = dataclasses.replace(recipe.train, steps=steps, learning_rate=rate, cpu=True, save_every=None)
    crops = Crops("picture", training_data("photos", data), (SIDE, SIDE), largest_shrink=recipe.largest_shrink)
    learned = crops if fresh else crops.sample(FIXED)
    task = PriorTask(description, learned, config, round_steps=recipe.round_steps // 2)
    change(task)
    fit(task, config, output_dir=output)
    return finished_model(task, learned)


def measure(model: CodecModel, data: Path) -> list[dict[str, float]]:
    """Of each rate: bits of a patch, and PSNR of held-out crops after decoding."""
    held = training_data("photos", data, held_out=True)
    crops = list(Crops("picture", held, (SIDE, SIDE), largest_shrink=2.0).sample(MEASURED, seed=5))
    patches = MEASURED * (SIDE // 32) ** 2
    found = []
    for rate, budget in enumerate(BUDGETS):
        encoder = Encoder(model, rate, crops, patches * budget, SEARCH)
        coded = encoder.encode()
        errors = []
        for datum, one, crop in zip(encoder.data, coded, crops, strict=True):
            drawn = synthesize(model, datum.order.tiling, decode_latents(model, datum.order, one.indices))
            errors.append(float((drawn.float() - crop).square().mean()))
        quality = float(np.mean([-10 * math.log10(error) for error in errors]))
        found.append({"bits": round(encoder.bits_used / patches, 1), "psnr": round(quality, 2)})
    return found


def main(*, data: Path, steps: int = 1000, runs: Path = RUNS / "compression_ablations",
         output: Path = OUTPUT) -> None:  # fmt: skip
    """Train codecs without one of their parts and compare what they reach.

    Args:
        data: Folder that holds concept_photos/ and the other photographs that codecs are trained on.
        steps: Training steps of each codec.
        runs: Folder of the trainings.
        output: Results.
    """
    torch.set_num_threads(1)
    results = Results(output, {"steps": steps, "budgets": BUDGETS})
    for name, (description, change, fresh) in variants().items():
        unordered = f"{name}, no permutation"
        if name in results.rows and (name not in ORDERED or unordered in results.rows):
            continue
        start = time.process_time()
        folder = runs / name.replace(", ", "-").replace(" ", "-")
        model = learn(description, change, fresh, data, steps, folder)
        results.put(name, {"rates": measure(model, data), "seconds": round(time.process_time() - start)})
        if name in ORDERED:  # the order of rows matters to the coding only
            with patch("nerf.compression.block_order.permutations", in_order):
                block_order_of.cache_clear()
                results.put(unordered, {"rates": measure(model, data)})
            block_order_of.cache_clear()
    results.report(table(results.rows))


def table(rows: dict[str, Any]) -> Table:
    """A row for each codec: bits of a patch and PSNR in dB at each budget."""
    columns = [f"{what} {budget:.0f}" for budget in BUDGETS for what in ("bits at", "PSNR at")]
    lines = [[name, *(one[key] for one in row["rates"] for key in ("bits", "psnr"))] for name, row in rows.items()]
    return Table("Codecs without one of their parts", ["codec", *columns], lines)


def in_order(key: int, level: int, component: int, rows: int, columns: int) -> np.ndarray:
    """Rows of every column as they are."""
    return np.repeat(np.arange(rows)[:, None], columns, axis=1)


if __name__ == "__main__":
    raise SystemExit(run_script(main))
