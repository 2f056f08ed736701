"""How well every family learns a scene: ``python -m benchmarks.fields.quality [--scene robot DIR ...]``.

Each of the five families with the settings that ship for it, on the photos of each scene, one thread, one seed; PSNR
and SSIM of the test views, and processor seconds. Prints a table, writes its results and a
picture of the first test view of every scene by every family. Goes on where it was interrupted.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import torch

from benchmarks.distillation.all_pairs import FAMILIES, ROOT, Table, timed
from mappers.files import replacing
from nerf.evaluation import evaluate_views, picture_of
from nerf.runs import load_run
from nerf.scenes import Scene, load_scene
from nerf.training import train


def main() -> None:
    parser = argparse.ArgumentParser(description="How well every family learns a scene.")
    parser.add_argument("--scene", nargs="+", default=["robot"], help="shipped scenes, and folders")
    parser.add_argument("--side", type=int, default=100, help="pixels that larger photos are brought to")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "field_quality")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "results" / "fields" / "quality.json")
    parser.add_argument("--picture", type=Path, default=ROOT / "docs" / "images" / "fields" / "quality.png")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    table, strips = Table(arguments.output, {"side": str(arguments.side)}), []
    for name in arguments.scene:
        scene, label = at_side(name, arguments.side), Path(name).name
        test = scene.split("test")
        strip = [test.picture(0)]
        for family in FAMILIES:
            folder = arguments.runs / label / family

            def measure(scene: Scene = scene, family: str = family, folder: Path = folder) -> dict[str, float]:
                shutil.rmtree(folder, ignore_errors=True)  # what an interrupted run left was not timed
                run, seconds = timed(lambda: train(scene, family, output_dir=folder))
                return {
                    **evaluate_views(run.draw, scene),
                    "seconds": seconds,
                    "parameters": float(run.figures["parameters"]),
                }

            table.cell(f"{label}: {family}", measure)
            strip.append(load_run(folder).draw(test.cameras[0]).color.cpu())
        strips.append(torch.cat(strip, 1))
    with replacing(arguments.picture) as temporary:
        picture_of(torch.cat(strips)).save(temporary)
    report(table)


def at_side(name: str, side: int) -> Scene:
    """A scene with photos of so many pixels a side."""
    scene = load_scene(name)
    return load_scene(name, downscale=scene.split("test").cameras.width / side)


def report(table: Table) -> None:
    """PSNR / SSIM / seconds of every scene and family."""
    print("\n| scene | " + " | ".join(FAMILIES) + " |\n|---|" + "---|" * len(FAMILIES))
    for label in dict.fromkeys(key.split(":")[0] for key in table.cells):
        rows = [table.cells[f"{label}: {family}"] for family in FAMILIES]
        cells = [f"{row['psnr']:.1f} / {row['ssim']:.3f} / {row['seconds']:.0f}" for row in rows]
        print(f"| {label} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
