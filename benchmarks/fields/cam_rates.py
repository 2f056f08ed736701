"""A whole scene in a small file: ``python -m benchmarks.fields.cam_rates [--scene robot] [--learned 6]``.

A modulated field of paper size (8 layers of 256) learns a scene, its weights are rounded to fewer and fewer bits, and
each file is decoded and draws the test views: bytes beside what rounding costs. ``--learned`` adds a field whose
weights were rounded while they learned. Prints a table and writes its results; what was trained
stays in ``runs/cam_rates``. One thread.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
from pathlib import Path
from typing import Any

import torch

from benchmarks.fields.cam import numbers
from mappers.files import replacing
from mappers.yaml_settings import load_settings
from nerf.compression.field_files import compress_run, decompress_field
from nerf.evaluation import evaluate_views
from nerf.runs import Run, load_run
from nerf.scenes import Scene, load_scene
from nerf.settings import RadianceConfig
from nerf.training import train

ROOT = Path(__file__).parents[2]
ROUNDED = (8, 7, 6, 5, 4)


def trained(scene: Scene, folder: Path, steps: int, bits: int | None) -> Run:
    """The run in a folder, trained as far as is missing."""
    config = load_settings(RadianceConfig, "cam", task="train")
    quiet = dataclasses.replace(config.train, validate_every=None, log_every=50, save_every=100, cpu=True)
    config = dataclasses.replace(config, bits=bits, train=quiet)
    return train(scene, "cam", size="paper", steps=steps, seed=0, config=config, output_dir=folder, resume="auto")


def rounded(scene: Scene, folder: Path, bits: int) -> dict[str, Any]:
    """Bytes of a run's file, and quality of what it decodes to."""
    with tempfile.TemporaryDirectory() as again:
        data = compress_run(folder, bits=bits)
        decompress_field(data, again)
        return {"bits": bits, "bytes": len(data), **figures(load_run(again), scene)}


def figures(run: Run, scene: Scene) -> dict[str, float]:
    """PSNR and SSIM of the test views."""
    found = evaluate_views(run.draw, scene)
    return {name: round(found[name], 3) for name in ("psnr", "ssim")}


def main() -> None:
    parser = argparse.ArgumentParser(description="A whole scene in a small file.")
    parser.add_argument("--scene", default="robot")
    parser.add_argument("--downscale", type=float, default=1, help="of the scene's photos")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--learned", type=int, help="bits of weights that learn rounded")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "cam_rates")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "results" / "fields" / "cam_rates.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    scene = load_scene(arguments.scene, downscale=arguments.downscale)
    folder = arguments.runs / f"{arguments.scene}-{arguments.steps}"
    run = trained(scene, folder, arguments.steps, None)
    result: dict[str, Any] = {
        "scene": arguments.scene, "steps": arguments.steps,
        "parameters": numbers(run.field),
        "float32": {"bytes": 4 * numbers(run.field), **figures(run, scene)},
        "rounded afterwards": [rounded(scene, folder, bits) for bits in ROUNDED],
    }  # fmt: skip
    if arguments.learned:
        learned = folder.with_name(f"{folder.name}-{arguments.learned}bits")
        trained(scene, learned, arguments.steps, arguments.learned)
        result["learned rounded"] = [rounded(scene, learned, arguments.learned)]
    with replacing(arguments.output) as temporary:
        temporary.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print("| weights | bytes | PSNR | SSIM |\n|---|---|---|---|")
    rows = [{"bits": "32, as trained", **result["float32"]}, *result["rounded afterwards"]]
    rows += [{**row, "bits": f"{row['bits']}, learned rounded"} for row in result.get("learned rounded", [])]
    for row in rows:
        print(f"| {row['bits']} | {row['bytes']} | {row['psnr']:.2f} | {row['ssim']:.3f} |")


if __name__ == "__main__":
    main()
