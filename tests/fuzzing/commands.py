"""Command lines over random files: one maker for each command."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from . import media, scenes, trained
from .pictures import picture
from .values import TEXTS, number, text

if TYPE_CHECKING:
    from .trial import Shelf

SHORT = ["--train.save-every", "1000", "--train.validate-every", "1000"]


@dataclass(frozen=True)
class Inputs:
    """Where a command's files are, and all draws."""

    rng: random.Random
    folder: Path
    """The folder "in" of the working folder."""
    shelf: Shelf
    """What to choose of."""

    def one_of(self, *makers: Callable[[random.Random, Path, str], Path]) -> str:
        """A file of one kind, or rarely a path that is none."""
        if self.rng.random() < 0.06:
            return self.rng.choice(("in", "in/nothing.png", "", "in/nothing", "/dev/null", "in/\0", "x" * 300))
        return self._relative(self.rng.choice(makers)(self.rng, self.folder, self._stem()))

    def at(self, maker: Callable[..., Path], *arguments: object) -> str:
        """A file that is made at a path."""
        return self._relative(maker(self.rng, self.folder / self._stem(), *arguments))

    def plain(self) -> str:
        """A picture with nothing odd about it."""
        return self._relative(picture(self.rng, self.folder, self._stem(), plain=True))

    def folder_of(self, count: int, *makers: Callable[[random.Random, Path, str], Path]) -> str:
        """A folder of files, mostly with names of their own."""
        path = self.folder / self._stem()
        path.mkdir()
        for i in range(count):
            self.rng.choice(makers)(self.rng, path, str(i))
        return self._relative(path)

    def output(self, *endings: str) -> str:
        """A path to write to."""
        ending = self.rng.choice((*endings * 4, "", ".png", ".xyz", ".mp4"))
        return self.rng.choice(
            (f"out/a{ending}",) * 8 + (f"out/b/ж ☕{ending}", "out", f"in/file/a{ending}", f"out/a\n{ending}")
        )

    def options(self, **choices: str | Callable[[], str]) -> list[str]:
        """Some of the options, with underscores for hyphens and dots."""
        words = []
        for name, value in choices.items():
            if self.rng.random() < 0.3:
                given = value if isinstance(value, str) else value()
                words += [f"--{name.replace('__', '.').replace('_', '-')}", *([given] if given != "(flag)" else [])]
        return words

    def number(self, *usual: float, huge: bool = False) -> Callable[[], str]:
        return lambda: number(self.rng, *usual, huge=huge)

    def _stem(self) -> str:
        taken = len(list(self.folder.iterdir()))
        name = self.rng.choice(("a", "a", "b c", "é", "🔔", "%s", "[x]", "-y"))
        return f"{name}{taken}"

    def _relative(self, path: Path) -> str:
        return path.relative_to(self.folder.parent).as_posix()


Maker = Callable[[Inputs], list[str]]


def personalize(the: Inputs) -> list[str]:
    images = the.folder_of(the.rng.randrange(3), picture) if the.rng.random() < 0.7 else the.one_of(picture)
    words = ["--images", images, "--token", text(the.rng, "<x>"), "--output", the.output(""), "--steps", "1", *SHORT]
    return words + the.options(
        category=lambda: text(the.rng, "toy"), masks=lambda: the.rng.choice(("alpha", the.folder_of(1, picture))),
        resolution=the.number(16, 64, 17, huge=True), config=lambda: the.at(trained.settings, "personalize"),
        held_out=the.number(0, 1), seed=the.number(0, 2**63), aspect=lambda: the.rng.choice(("square", "common", "no")),
        learns="style", method=lambda: the.rng.choice(("textual-inversion", "xti")), flip=the.number(0.5, 1),
        min_snr=the.number(5), train__batch_size=the.number(2, 3), train__precision="bf16",
        train__learning_rate=the.number(1e-3), model=lambda: text(the.rng, "in", "nano-clip"),
    )  # fmt: skip


def generate(the: Inputs) -> list[str]:
    prompt = text(the.rng, "a photo of a toy", "a <my-teapot>")
    words = [
        "--prompt",
        prompt,
        "--output",
        the.output(".png"),
        "--steps",
        number(the.rng, 1),
        "--count",
        number(the.rng, 1),
    ]
    return words + the.options(
        concept=lambda: the.at(trained.word, the.shelf.word), image=lambda: the.one_of(picture, media.film),
        mask=lambda: the.one_of(picture), strength=the.number(0.5, 1), height=the.number(16, 32, 20, huge=True),
        width=the.number(16, 32, 20, huge=True), guidance_scale=the.number(5, 1), truncation=the.number(4, 128),
        negative_prompt=lambda: text(the.rng, "red"), scheduler=lambda: the.rng.choice(("ddim", "euler", "lcm")),
        seed=the.number(1, 2**64), dtype=lambda: the.rng.choice(("float16", "bfloat16")), device="nowhere",
        overwrite="(flag)",
    )  # fmt: skip


def evaluate(the: Inputs) -> list[str]:
    words = [
        "--concept",
        the.at(trained.word, the.shelf.word),
        "--references",
        the.folder_of(the.rng.randrange(2), picture),
    ]
    words += ["--output", the.output(""), "--seeds", number(the.rng, 2), "--inference-steps", number(the.rng, 1)]
    words += ["--prompts", text(the.rng, "a photo of a {}"), "--truncations", number(the.rng, 0.5)]
    return words + the.options(clip=lambda: text(the.rng, "nano"), training=lambda: the.folder_of(1, picture))


def export(the: Inputs) -> list[str]:
    words = ["--concept", the.at(trained.word, the.shelf.word), "--output", the.output("")]
    return words + the.options(model=lambda: text(the.rng, "nano"), any_base="(flag)", overwrite="(flag)")


def import_neti(the: Inputs) -> list[str]:
    return ["--mapper", the.at(trained.pickled), "--embeds", the.at(trained.pickled), "--output", the.output("")]


def vision_to_audio(the: Inputs) -> list[str]:
    given = the.one_of(picture, media.film, media.sound)
    given = the.folder_of(2, picture, media.film) if the.rng.random() < 0.2 else given
    words = ["--input", given, "--output", the.output(".wav", ".flac", ".mp4"), "--inference-steps", number(the.rng, 1)]
    words += ["--duration", number(the.rng, 0.2, huge=True)] if the.rng.random() < 0.8 else []
    words += ["--no-spectrogram"] if the.rng.random() < 0.8 else []
    return words + the.options(
        prompt=lambda: text(the.rng, "a bell"), window=the.number(0.1, 1), candidates=the.number(1, 2),
        guidance_scale=the.number(1, 3), blend=the.number(0, 1), mapper_steps=the.number(1), seed=the.number(1, 2**64),
        onset_strength=the.number(1), frames_per_second=the.number(4), model=lambda: text(the.rng, "in"),
        without=lambda: text(the.rng, "speech"), prompt_weight=the.number(0.3), overwrite="(flag)",
    )  # fmt: skip


def _pairs(the: Inputs) -> str:
    path = the.folder / f"pairs{len(list(the.folder.iterdir()))}"
    path.mkdir()
    names: dict[str, list[str]] = {"picture": [], "sound": []}
    for i in range(the.rng.randrange(3)):
        names["picture"].append(picture(the.rng, path, str(i)).name)
        names["sound"].append(media.sound(the.rng, path, str(i)).name)
    if the.rng.random() < 0.4:
        scenes.listing(the.rng, path, names["picture"], names["sound"])
    return path.relative_to(the.folder.parent).as_posix()


def fit_mapper(the: Inputs) -> list[str]:
    words = ["--pairs", _pairs(the), "--output", the.output(""), "--steps", "1", "--train.warmup-steps", "0", *SHORT]
    return words + the.options(
        config=lambda: the.at(trained.settings, "fit_mapper"), train__batch_size=the.number(2), drop=the.number(0.1),
        clip=lambda: text(the.rng, "in"), clap=lambda: text(the.rng, "in"), reverse="(flag)",
        cache=lambda: the.rng.choice(("out/cache", "in/file")),
    )  # fmt: skip


def evaluate_audio(the: Inputs) -> list[str]:
    words = ["--pairs", _pairs(the), "--output", the.output(""), "--inference-steps", number(the.rng, 1)]
    words += ["--duration", number(the.rng, 0.2)]
    return words + the.options(
        generated=lambda: the.folder_of(1, media.sound), extractor=lambda: the.at(trained.pickled)
    )


def edit_nerf(the: Inputs) -> list[str]:
    words = ["--output", the.output(""), "--size", number(the.rng, 4, huge=True), "--views", number(the.rng, 1)]
    return words + the.options(
        text=lambda: text(the.rng, "a tall red chair"), exemplar=lambda: the.one_of(picture),
        instance=the.number(3, 99999), strength=the.number(1, 0.5), model=lambda: text(the.rng, "nano-cars", "in"),
        method="ridge", seed=the.number(1, 2**64), mask=lambda: the.one_of(picture), no_shape="(flag)",
        no_appearance="(flag)", mapper="in",
    )  # fmt: skip


def nerf_train(the: Inputs) -> list[str]:
    scene = the.one_of(scenes.scene) if the.rng.random() < 0.9 else text(the.rng, "robot")
    words = [
        "--scene",
        scene,
        "--output",
        the.output(""),
        "--steps",
        number(the.rng, 1),
        "--train.batch-size",
        "32",
        *SHORT,
    ]
    words += ["--field", the.rng.choice(("hash", "voxel", "cp", "vm", "mlp", "cam", "ngp"))]
    return words + the.options(
        downscale=the.number(1, 2, 4), config=lambda: the.at(trained.settings, "train"), seed=the.number(1),
        format=lambda: the.rng.choice(("blender", "nerfstudio", "llff", "folder", "auto")), no_ndc="(flag)",
        occupancy=the.number(8), size=lambda: text(the.rng, "paper"), train__learning_rate=the.number(0.01),
        bits=the.number(4), max_minutes=the.number(1), train__precision=lambda: the.rng.choice(("bf16", "fp16")),
    )  # fmt: skip


def nerf_fit(the: Inputs) -> list[str]:
    given = the.one_of(picture, picture, media.film)
    given = the.folder_of(2, picture) if the.rng.random() < 0.2 else given
    words = [given, "--output", the.output(""), "--steps", number(the.rng, 1), "--train.batch-size", "64", *SHORT]
    return words + the.options(
        field=lambda: the.rng.choice(("plain", "normed")), bits=the.number(4, 8), every_second="(flag)",
        config=lambda: the.at(trained.settings, "fit"), grid_rate=the.number(2), seed=the.number(1),
    )  # fmt: skip


def nerf_distill(the: Inputs) -> list[str]:
    words = [
        "--teacher",
        the.at(trained.run, the.shelf.run),
        "--output",
        the.output(""),
        "--steps",
        number(the.rng, 1),
        *SHORT,
    ]
    words += ["--field", the.rng.choice(("voxel", "cp", "mlp", "cam", "ngp")), "--train.batch-size", "32"]
    return words + the.options(
        closed_form="(flag)", config=lambda: the.at(trained.settings, "distill"), lowest=the.number(1e-3),
        points_until=the.number(1), seed=the.number(1), cameras=the.number(2), size=lambda: text(the.rng, "small"),
    )  # fmt: skip


def nerf_render(the: Inputs) -> list[str]:
    words = [
        "--run",
        the.at(trained.run, the.shelf.run),
        "--output",
        the.output(".gif", ".mp4", ""),
        "--size",
        number(the.rng, 4, huge=True),
    ]
    words += ["--views", number(the.rng, 1, 2)] if the.rng.random() < 0.8 else []
    return words + the.options(
        camera_path=lambda: the.at(lambda rng, path: scenes.camera(rng, path)), elevation=the.number(20, 90),
        radius=the.number(3), depth="(flag)", fps=the.number(24), overwrite="(flag)",
    )  # fmt: skip


def nerf_export(the: Inputs) -> list[str]:
    words = ["--run", the.at(trained.run, the.shelf.run), "--output", the.output(".ply", ".glb", ".obj")]
    words += [
        "--resolution",
        number(the.rng, 8, huge=True),
        "--size",
        number(the.rng, 4, huge=True),
        "--views",
        number(the.rng, 1),
    ]
    return words + the.options(
        kind="points", threshold=the.number(10, 0.1), smallest_piece=the.number(0.5), overwrite="(flag)"
    )


def nerf_evaluate(the: Inputs) -> list[str]:
    return ["--run", the.at(trained.run, the.shelf.run), "--scene", the.one_of(scenes.scene)] + the.options(split="val")


def nerf_make_scene(the: Inputs) -> list[str]:
    words = ["--name", text(the.rng, "robot", "still-life", "in/file"), "--output", the.output("")]
    views = [number(the.rng, 1) for _ in range(3)]
    return [*words, "--size", number(the.rng, 4, huge=True), "--views", *views, *the.options(seed=the.number(1))]


def nerf_compress(the: Inputs) -> list[str]:
    makers = (picture, picture, media.sound, media.film, media.volume)
    given = [the.one_of(*makers) for _ in range(the.rng.choice((1, 1, 1, 1, 2)))]
    if the.rng.random() < 0.1:
        given = [the.at(trained.run, the.shelf.run) if the.rng.random() < 0.5 else the.folder_of(2, picture)]
    return [*given, the.output(".mfc"), *the.options(seconds=the.number(0.01, 0.1))] + the.options(
        target_bytes=the.number(100, 300), target_psnr=the.number(15, 20), effort=the.number(0),
        model=lambda: text(the.rng, "tiny", "pictures32", "photos", "sounds", "in"), threads=the.number(1),
        overwrite="(flag)",
    )  # fmt: skip


def nerf_decompress(the: Inputs) -> list[str]:
    given = the.at(trained.packed, the.shelf.packed) if the.rng.random() < 0.9 else the.one_of(picture, media.volume)
    return [given, the.output(".png", ".wav", ".npy", ".mkv", "")] + the.options(
        fast="(flag)", share=the.number(0.5, 1), region=lambda: text(the.rng, "0,0,4,4", "4,4", "-1,0,2,2", "1"),
        salvage="(flag)", model=lambda: text(the.rng, "tiny"), threads=the.number(1),
    )  # fmt: skip


def nerf_info(the: Inputs) -> list[str]:
    return [the.at(trained.packed, the.shelf.packed) if the.rng.random() < 0.9 else the.one_of(picture)]


MAKERS: dict[str, Maker] = {
    "personalize": personalize, "generate": generate, "evaluate": evaluate, "export": export,
    "import-neti": import_neti, "vision-to-audio": vision_to_audio, "fit-mapper": fit_mapper,
    "evaluate-audio": evaluate_audio, "edit-nerf": edit_nerf, "nerf train": nerf_train, "nerf fit": nerf_fit,
    "nerf distill": nerf_distill, "nerf render": nerf_render, "nerf export": nerf_export,
    "nerf evaluate": nerf_evaluate, "nerf make-scene": nerf_make_scene, "nerf compress": nerf_compress,
    "nerf decompress": nerf_decompress, "nerf info": nerf_info,
}  # fmt: skip
"""By command: what makes its words and files."""
ASIDE = {"models", "env", "app", "demo"}
"""Commands that read no file, and the app, whose endpoints are tried by themselves."""


def words_of(command: str, rng: random.Random, folder: Path, shelf: Shelf) -> list[str]:
    """The words of a command line, whose files are written to a working folder."""
    (folder / "in").mkdir()
    (folder / "in" / "file").write_text(rng.choice(TEXTS), encoding="utf-8")
    (folder / "out").mkdir()
    words = [*command.split(), *MAKERS[command](Inputs(rng, folder / "in", shelf))]
    models = shelf.models.get(command, [])
    if "--model" not in words and "--clip" not in words:
        words += models
    if rng.random() < 0.02:
        words.insert(rng.randrange(len(words) + 1), rng.choice(("--unknown", "--help", "--debug", "-", "--")))
    return words
