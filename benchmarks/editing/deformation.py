"""Three ways in which a shape code acts on a category field: ``python -m benchmarks.editing.deformation``.

The modes of `nerf.fields.conditional` are the paper's shift of the encoding, a warp of positions, and the code as a
plain input. Each is trained on 32 chairs in 8 palettes at 32x32 pixels, with codes that shapes and palettes share, and
with codes of every (shape, palette) instance; three seeds each. A run ends when a tenth of its steps raises PSNR of
training pairs by less than 0.1 dB. Measured are PSNR and silhouettes of pairs that were never trained together, how
much shape codes change colours, and whether another appearance code changes opacity.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from benchmarks.common.results import Results, Row, Table, result_path
from benchmarks.editing.edits import leak
from mappers.command_line import run_script
from mappers.training.train_config import TrainConfig
from mappers.training.trainer import fit
from nerf.conditional import ConditionalModel
from nerf.conditional.decoder.task import DecoderTask, measured
from nerf.conditional.families.splits import split_of
from nerf.conditional.settings import CategoryConfig
from nerf.fields.conditional import ConditionalConfig

OUTPUT = result_path(__file__)
Mode = Literal["modulation", "warp", "concat"]
Sharing = Literal["shared", "instance"]
SIZE, SHAPES, PALETTES, PAIRS = 32, 32, 8, 64
GAIN = 0.1
"""Decibels that a tenth of the steps must bring."""


class InstanceCodes(nn.Module):
    """A pair of codes for every (shape, palette) instance, as in EditNeRF."""

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
    """The auto-decoder's task, with either kind of codes, which reports when PSNR no longer rises."""

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


def measure(mode: Mode, sharing: Sharing, seed: int, steps: int) -> Row:
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


def main(*, steps: int = 2000, seeds: int = 3, threads: int = 1, output: Path = OUTPUT) -> None:
    """Compare how a shape code may act on a category field.

    Args:
        steps: Most steps of a run.
        seeds: Seeds of each row.
        threads: Threads of PyTorch.
        output: Results.
    """
    torch.set_num_threads(threads)
    results = Results(output)
    for seed in range(seeds):
        for sharing in get_args(Sharing):
            for mode in get_args(Mode):
                results.row(
                    f"{mode}, {sharing} codes, seed {seed}",
                    lambda mode=mode, sharing=sharing, seed=seed: measure(mode, sharing, seed, steps),
                )
    results.report(table(results.rows))


def table(rows: Mapping[str, Row]) -> Table:
    """Means and standard deviations over seeds."""
    columns, lines = ("psnr_train", "psnr_held_pairs", "iou_held_pairs", "leak", "opacity_change"), []
    for sharing in get_args(Sharing):
        for mode in get_args(Mode):
            chosen = [row for row in rows.values() if (row["mode"], row["codes"]) == (mode, sharing)]
            if not chosen:
                continue
            cells = []
            for name in columns:
                values = torch.tensor([float(row[name]) for row in chosen])
                spread = f" ± {float(values.std()):.3f}" if len(values) > 1 else ""
                cells.append(f"{float(values.mean()):.3f}{spread}")
            lines.append([mode, sharing, *cells])
    names = ["PSNR of training pairs, dB", "PSNR of held-out pairs, dB", "IoU of held-out silhouettes",
             "change of colour by shape", "change of opacity by appearance"]  # fmt: skip
    return Table("Modes of deformation", ["mode", "codes", *names], lines)


if __name__ == "__main__":
    raise SystemExit(run_script(main))
