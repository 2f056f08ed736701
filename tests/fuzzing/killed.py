"""Processes that write the same files again and again, killed at random moments.

Run as a program, which imports everything once and then starts a copy of itself for each moment:

    python killed.py FOLDER COUNT
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

LONGEST = 0.15
"""Seconds until a process is killed, at most."""


def _checkpoint(folder: Path, number: int) -> None:
    import torch

    from mappers.training.checkpoints import Checkpoint, save

    weights = {"a": torch.full((200, 200), float(number))}
    save(folder / "checkpoints", Checkpoint(number % 3, weights, weights, state={"seed": number}), keep_last=2)


def _word(folder: Path, number: int) -> None:
    from mappers.neti import NeTIMapper
    from pipelines.personalization.concepts import Concept, save_concept
    from pipelines.plugging.fingerprint import Fingerprint

    mapper = NeTIMapper(layers=2, width=64, norm=1.0)
    save_concept(Concept("<x>", "toy", mapper, Fingerprint(2, 64, [0.0] * 16), "./none"), folder / "word.safetensors")


def _sound(folder: Path, number: int) -> None:
    import numpy as np

    from pipelines.audio.files import write_sound

    write_sound(folder / "a.wav", np.full(20_000, 0.1, dtype=np.float32), 16_000)
    write_sound(folder / "a.flac", np.linspace(-0.5, 0.5, 20_000, dtype=np.float32), 16_000)


def _film(folder: Path, number: int) -> None:
    import numpy as np

    from nerf import write_film

    frames = [np.full((32, 32, 3), i, dtype=np.uint8) for i in range(6)]
    write_film(frames, folder / "a.mp4", fps=6)
    write_film(frames, folder / "a.gif", fps=6)


def _command(folder: Path, number: int, words: str) -> None:
    from mapfield.cli import main

    os.chdir(folder)
    assert main(words.split()) == 0


def _compress(folder: Path, number: int) -> None:
    from PIL import Image

    if not (folder / "in.png").exists():
        Image.linear_gradient("L").resize((8, 8)).save(folder / "in.png")
    _command(folder, number, "nerf compress in.png a.mfc --model tiny --seconds 0.01 --overwrite")
    _command(folder, number, "nerf decompress a.mfc out.png --overwrite")


def _export(folder: Path, number: int) -> None:
    run = Path(__file__).parents[2] / "demos" / "finished" / "fields-teach" / "teacher"
    for ending in ("ply", "glb", "obj"):
        _command(folder, number, f"nerf export --run {run} --output a.{ending} --resolution 12 --overwrite")


def _views(folder: Path, number: int) -> None:
    run = Path(__file__).parents[2] / "demos" / "finished" / "fields-teach" / "teacher"
    _command(folder, number, f"nerf render --run {run} --output views --size 8 --views 2 --depth --overwrite")


def _job(folder: Path, number: int) -> None:
    """What the app keeps of a job."""
    from demos.records import Task, save

    place = folder / str(number % 3)
    place.mkdir(exist_ok=True)
    save(place, Task("sound", "A sound", {"seed": number, "text": "x" * 5000}), "listen", {"numbers": [1] * 500})


def _mapper(folder: Path, number: int) -> None:
    from mappers.files import replacing_folder
    from mappers.v2a import RegressionMapper

    with replacing_folder(folder / "mapper") as temporary:
        RegressionMapper(12, 16, source_space="a", target_space="b").save_pretrained(temporary)


WRITERS: dict[str, Callable[[Path, int], None]] = {
    writer.__name__[1:]: writer
    for writer in (_checkpoint, _word, _sound, _film, _compress, _export, _views, _job, _mapper)
}


def unreadable(folder: Path) -> list[str]:
    """Files under a final name that cannot be read, and why; hidden ones are of a process that was killed."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts):
            try:
                _read(path)
            except Exception as error:  # whatever a reader says
                found.append(f"{path}: {error}")
    for place in folder.rglob("checkpoints"):
        from mappers.training.checkpoints import load

        assert load(place).weights["a"].shape == (200, 200)
    return found


def _read(path: Path) -> None:
    import av
    import soundfile
    import trimesh
    from PIL import Image
    from safetensors.torch import load_file

    from mappers.v2a import RegressionMapper
    from nerf import compression

    if path.suffix == ".mp4":
        with av.open(str(path)) as film:
            assert sum(1 for _ in film.decode(video=0)) == 6
    elif path.suffix == ".mfc":
        compression.decompress(path)
    elif path.name == "job.json":
        from demos.records import load

        assert load(path.parent) is not None
    elif path.parent.name == "mapper" and path.name == "config.json":
        RegressionMapper.from_pretrained(path.parent)
    else:
        {
            ".safetensors": load_file, ".png": lambda file: Image.open(file).load(), ".json": lambda _: None,
            ".gif": lambda file: Image.open(file).seek(5), ".wav": soundfile.read, ".flac": soundfile.read,
            ".ply": trimesh.load, ".glb": trimesh.load, ".obj": trimesh.load,
        }[path.suffix](path)  # fmt: skip


def main(folder: Path, moments: int) -> None:
    """Kill a process at each of so many moments; each has a folder with files of an earlier, whole writing."""
    rng = random.Random(0)
    for moment in range(moments):
        kind = list(WRITERS)[moment % len(WRITERS)]
        place = folder / f"{moment:03d}-{kind}"
        place.mkdir()
        WRITERS[kind](place, 0)
        child = os.fork()
        if child == 0:
            for number in count(1):
                WRITERS[kind](place, number)
        time.sleep(rng.random() * LONGEST)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        # A writer that fails ends by itself.
        assert os.WTERMSIG(status) == signal.SIGKILL, kind


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
