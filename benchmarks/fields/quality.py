"""How well every field family learns a scene: ``python -m benchmarks.fields.quality [--scenes robot DIR ...]``.

Each of the five families is trained on the photos of each scene with the settings that ship for it, on one thread with
one seed. PSNR and SSIM of the test views, and processor seconds. The picture shows the first test view of every scene
by every family.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import torch

from benchmarks.common.results import IMAGES, RUNS, Results, Row, Table, result_path
from benchmarks.distillation.all_pairs import FAMILIES, uninterrupted
from mappers.command_line import run_script
from mappers.files import replacing
from nerf.evaluation import evaluate_views, picture_of
from nerf.runs import load_run
from nerf.scenes import Scene, load_scene
from nerf.training import train

OUTPUT = result_path(__file__)


def main(*, scenes: tuple[str, ...] = ("robot",), side: int = 100, runs: Path = RUNS / "field_quality",
         output: Path = OUTPUT, picture: Path = IMAGES / "fields" / "quality.png") -> None:  # fmt: skip
    """Train every field family on scenes and measure test views.

    Args:
        scenes: Shipped scenes and folders.
        side: Pixels of the sides that photos are made smaller to.
        runs: Folder of the trained fields.
        output: Results.
        picture: Picture of the first test views.
    """
    torch.set_num_threads(1)
    results, strips = Results(output, {"side": side}), []
    for name in scenes:
        scene, label = at_side(name, side), Path(name).name
        test = scene.split("test")
        strip = [test.picture(0)]
        for family in FAMILIES:
            folder = runs / label / family
            results.row(f"{label}: {family}",
                        lambda scene=scene, family=family, folder=folder: measure(scene, family, folder))  # fmt: skip
            strip.append(load_run(folder).draw(test.cameras[0]).color.cpu())
        strips.append(torch.cat(strip, 1))
    with replacing(picture) as temporary:
        picture_of(torch.cat(strips)).save(temporary)
    results.report(table(results.rows))


def at_side(name: str, side: int) -> Scene:
    """A scene with photos of so many pixels a side."""
    scene = load_scene(name)
    return load_scene(name, downscale=scene.split("test").cameras.width / side)


def measure(scene: Scene, family: str, folder: Path) -> Row:
    """Train a family on a scene."""
    shutil.rmtree(folder, ignore_errors=True)  # what an interrupted run left was not timed
    trained, seconds = uninterrupted(lambda: train(scene, family, output_dir=folder))
    means = evaluate_views(trained.draw, scene)
    return {"psnr": round(means["psnr"], 2), "ssim": round(means["ssim"], 4), "seconds": round(seconds, 1),
            "parameters": trained.figures["parameters"]}  # fmt: skip


def table(rows: Mapping[str, Row]) -> Table:
    """A row for each scene."""
    lines = []
    for label in dict.fromkeys(key.split(": ")[0] for key in rows):
        cells = [rows[f"{label}: {family}"] for family in FAMILIES]
        lines.append([label, *(f"{one['psnr']:.1f} / {one['ssim']:.2f} / {one['seconds']:.0f}" for one in cells)])
    return Table("PSNR in dB / SSIM / seconds", ["scene", *FAMILIES], lines)


if __name__ == "__main__":
    raise SystemExit(run_script(main))
