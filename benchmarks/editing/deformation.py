"""Compares how a shape code may act on a category field: ``python -m benchmarks.editing.deformation``.

The three modes of `nerf.fields.conditional` (the paper's shift of the encoding, a warp of positions, and the code as a
plain input) learn 32 chairs in 8 palettes at 32x32 pixels, with codes that shapes and palettes share, and with codes
of every (shape, palette) instance for itself; three seeds each. A run ends when a tenth of its steps brings less than
0.1 dB on training pairs. Then: PSNR and silhouettes of pairs that were never seen together, how far shape leaks into
colour, and whether another appearance code leaves opacity alone. Writes its results after every
run, and goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from benchmarks.editing.edits import leak
from mappers.files import replacing
from mappers.train_config import TrainConfig
from mappers.trainer import fit
from nerf.conditional import ConditionalModel
from nerf.conditional.decoder.task import DecoderTask, measured
from nerf.conditional.families.splits import split_of
from nerf.conditional.settings import CategoryConfig
from nerf.fields.conditional import ConditionalConfig

ROOT = Path(__file__).parents[2]
Mode = Literal["modulation", "warp", "concat"]
Sharing = Literal["shared", "instance"]
SIZE, SHAPES, PALETTES, PAIRS = 32, 32, 8, 64
GAIN = 0.1
"""Decibels that a tenth of the steps must bring."""


class InstanceCodes(nn.Module):
    """Codes of every (shape, palette) instance for itself, as EditNeRF has them."""

    def __init__(self, sizes: tuple[int, int], start: float):
        super().__init__()
        self.shapes = nn.Parameter(torch.randn(SHAPES, PALETTES, sizes[0]) * start)
        self.appearances = nn.Parameter(torch.randn(SHAPES, PALETTES, sizes[1]) * start)

    def forward(
        self, shape: Int[Tensor, " n"], palette: Int[Tensor, " n"]
    ) -> tuple[Float[Tensor, "n s"], Float[Tensor, "n a"]]:
        return self.shapes[shape, palette], self.appearances[shape, palette]

    def tables(self, allowed: Tensor) -> tuple[Float[Tensor, "s c"], Float[Tensor, "p c"]]:
        """A code of each shape and of each palette: those of the first instance that was trained."""
        palette, shape = allowed.float().argmax(1), allowed.float().argmax(0)
        return self.shapes[torch.arange(SHAPES), palette], self.appearances[shape, torch.arange(PALETTES)]


class ComparedTask(DecoderTask):
    """The auto-decoder's task, with either kind of codes, which says when it gains no more."""

    def __init__(self, config: CategoryConfig, sharing: Sharing):
        super().__init__(config)
        self.reached = -math.inf
        if sharing == "instance":
            sizes = config.field.shape_code, config.field.appearance_code
            self.instances = InstanceCodes(sizes, config.code_start)
            self.modules = {"field": self.field, "codes": self.instances, "grids": self.grids}
        self.sharing = sharing

    def _renew(self, step: int) -> None:
        self.take_tables()
        super()._renew(step)

    @torch.no_grad()
    def take_tables(self) -> None:
        """What grids and models read: the tables of shapes and palettes."""
        if self.sharing == "instance":
            shape, appearance = self.instances.tables(~self.split.held_out_pairs)
            self.codes.shape.copy_(shape)
            self.codes.appearance.copy_(appearance)

    def model(self) -> ConditionalModel:
        self.take_tables()
        return super().model()

    def validate(self, modules: Mapping[str, Callable[..., Any]], step: int) -> dict[str, float]:
        found = measured(self.model(), self.config)["psnr_train"]
        if found >= self.reached + GAIN:
            self.reached = found
        return {"loss": -self.reached, "psnr": found}


def run(mode: Mode, sharing: Sharing, seed: int, steps: int) -> dict[str, Any]:
    """Train one field and measure it."""
    field = ConditionalConfig(
        mode=mode, shape_code=16, appearance_code=16, layers=3, width=64, octaves=5, deform_width=64, color_width=48
    )
    train = TrainConfig(
        steps=steps, batch_size=8, learning_rate=3e-3, warmup_steps=20, weight_decay=0.0, betas=(0.9, 0.99), ema=0.99,
        validate_every=steps // 10, patience=1, save_every=None, log_every=50, seed=seed,
    )  # fmt: skip
    config = CategoryConfig(
        shapes=SHAPES, palettes=PALETTES, size=SIZE, rays=128, taught_steps=steps // 10, intervals=48, field=field,
        train=train,
    )  # fmt: skip
    torch.manual_seed(seed)
    task = ComparedTask(config, sharing)
    started = time.monotonic()
    report = fit(task, train)
    model = task.model()
    return {
        "mode": mode, "codes": sharing, "seed": seed, "steps": report.steps, "stopped": report.stopped,
        "seconds": round(time.monotonic() - started, 1), **measured(model, config, PAIRS),
        "leak": leak(model, 32)["leak"], **silhouettes(model),
    }  # fmt: skip


@torch.no_grad()
def silhouettes(model: ConditionalModel) -> dict[str, float]:
    """Overlap (IoU) of drawn and true masks over held-out pairs, and the largest change under another palette."""
    family = model.family
    split = split_of(family, SHAPES, PALETTES)
    pairs, generator = split.held_out_pairs.nonzero(), torch.Generator().manual_seed(5)
    cameras = family.cameras(len(pairs), SIZE, generator)
    truth = family.render(split.shapes[pairs[:, 0]], split.palettes[pairs[:, 1]], cameras)[1] > 0.5
    overlaps, changes = [], []
    for i, (shape, palette) in enumerate(pairs.tolist()):
        drawn, other = (
            model.render(model.shape_codes[shape], model.appearance_codes[k % PALETTES], cameras[i]).opacity
            for k in (palette, palette + 1)
        )
        mask = drawn > 0.5
        overlaps.append(float((mask & truth[i]).sum() / (mask | truth[i]).sum()))
        changes.append(float((drawn - other).abs().max()))
    return {"iou_held_pairs": sum(overlaps) / len(overlaps), "opacity_change": max(changes)}


def main() -> None:
    parser = argparse.ArgumentParser(description="Compares how a shape code may act on a category field.")
    parser.add_argument("--steps", type=int, default=2000, help="most steps of a run")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "results" / "editing" / "deformation.json")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows: dict[str, dict[str, Any]] = {}
    if arguments.output.is_file():
        rows = json.loads(arguments.output.read_text(encoding="utf-8"))
    for seed in range(arguments.seeds):
        for sharing in get_args(Sharing):
            for mode in get_args(Mode):
                name = f"{mode}, {sharing} codes, seed {seed}"
                if name in rows:
                    continue
                rows[name] = run(mode, sharing, seed, arguments.steps)
                with replacing(arguments.output) as temporary:
                    temporary.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    print_table(list(rows.values()))


def print_table(rows: Sequence[Mapping[str, Any]]) -> None:
    """Means and standard deviations over seeds."""
    columns = ("psnr_train", "psnr_held_pairs", "iou_held_pairs", "leak", "opacity_change", "steps")
    print(f"{'mode':12s} {'codes':10s} " + " ".join(f"{name:>18s}" for name in columns))
    for sharing in get_args(Sharing):
        for mode in get_args(Mode):
            chosen = [row for row in rows if (row["mode"], row["codes"]) == (mode, sharing)]
            cells = []
            for name in columns:
                values = torch.tensor([float(row[name]) for row in chosen])
                spread = float(values.std()) if len(values) > 1 else math.nan
                cells.append(f"{float(values.mean()):.3f} ± {spread:.3f}".rjust(18))
            print(f"{mode:12s} {sharing:10s} " + " ".join(cells))


if __name__ == "__main__":
    main()
