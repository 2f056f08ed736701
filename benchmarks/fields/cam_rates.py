"""A whole scene in a small file: ``python -m benchmarks.fields.cam_rates [--scene robot] [--learned 6]``.

A modulated field of paper size (8 layers of 256) learns a scene. Its weights are rounded to fewer and fewer bits, each
file is decoded, and the decoded field draws the test views. ``--learned`` adds a field whose weights were rounded while
it was trained. The trained fields stay in ``runs/cam_rates``. One thread.
"""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import torch

from benchmarks.common.results import RUNS, Results, Table, result_path
from benchmarks.fields.cam import count_parameters
from mappers.command_line import run_script
from mappers.yaml_settings import load_settings
from nerf.compression.field_files import compress_run, decompress_field
from nerf.evaluation import evaluate_views
from nerf.runs import Run, load_run
from nerf.scenes import Scene, load_scene
from nerf.settings import RadianceConfig
from nerf.training import train

OUTPUT = result_path(__file__)
ROUNDED = (8, 7, 6, 5, 4)
"""Bits of a weight."""


def trained(scene: Scene, folder: Path, steps: int, bits: int | None) -> Run:
    """The run in a folder, trained as far as is missing."""
    config = load_settings(RadianceConfig, "cam", task="train")
    quiet = dataclasses.replace(config.train, validate_every=None, log_every=50, save_every=100, cpu=True)
    config = dataclasses.replace(config, bits=bits, train=quiet)
    return train(scene, "cam", size="paper", steps=steps, seed=0, config=config, output_dir=folder, resume="auto")


def quantized(scene: Scene, folder: Path, bits: int) -> dict[str, Any]:
    """Bytes of a run's file, and quality of what it decodes to."""
    with tempfile.TemporaryDirectory() as unpacked:
        data = compress_run(folder, bits=bits)
        decompress_field(data, unpacked)
        return {"bytes": len(data), **figures(load_run(unpacked), scene)}


def figures(run: Run, scene: Scene) -> dict[str, float]:
    """PSNR and SSIM of the test views."""
    found = evaluate_views(run.draw, scene)
    return {name: round(found[name], 3) for name in ("psnr", "ssim")}


def main(*, scene: str = "robot", downscale: float = 1, steps: int = 1500, learned: int | None = None,
         runs: Path = RUNS / "cam_rates", output: Path = OUTPUT) -> None:  # fmt: skip
    """Store a scene's field with fewer and fewer bits a weight.

    Args:
        scene: Shipped scene or folder.
        downscale: Factor by which the scene's photos are made smaller.
        steps: Training steps.
        learned: Bits of a field whose weights are rounded while it is trained; none when not given.
        runs: Folder of the trained fields.
        output: Results.
    """
    torch.set_num_threads(1)
    loaded = load_scene(scene, downscale=downscale)
    folder = runs / f"{scene}-{steps}"
    plain = trained(loaded, folder, steps, None)
    parameters = count_parameters(plain.field)
    results = Results(output, {"scene": scene, "steps": steps, "parameters": parameters})
    results.row("float32", lambda: {"bytes": 4 * parameters, **figures(plain, loaded)})
    for bits in ROUNDED:
        results.row(f"rounded afterwards, {bits} bits", lambda bits=bits: quantized(loaded, folder, bits))
    if learned:
        other = folder.with_name(f"{folder.name}-{learned}bits")
        trained(loaded, other, steps, learned)
        results.row(f"learned rounded, {learned} bits", lambda: quantized(loaded, other, learned))
    results.report(table(results.rows))


def table(rows: dict[str, Any]) -> Table:
    """A row for each file."""
    lines = [[name, row["bytes"], f"{row['psnr']:.2f}", f"{row['ssim']:.3f}"] for name, row in rows.items()]
    return Table("Files of a field", ["weights", "bytes", "PSNR in dB", "SSIM"], lines)


if __name__ == "__main__":
    raise SystemExit(run_script(main))
