"""The commands compress, decompress and info: files that are there stay, and options that do nothing are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mappers.training.train_config import TrainConfig
from nerf.cli import main
from nerf.compression.files import Compressed
from nerf.media.fields import PictureConfig
from nerf.media.fitting import fit_media
from nerf.settings import FitConfig

Maker = Callable[..., Image.Image]
TINY = ["--model", "tiny"]


@pytest.fixture
def folder(picture: Maker, compressed: Compressed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with three pictures and a compressed one."""
    for name in ("a.png", "b.png", "c.png"):
        picture(16, 16).save(tmp_path / name)
    (tmp_path / "a.mfc").write_bytes(compressed.data)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a picture's field, 12 x 8."""
    place = tmp_path_factory.mktemp("field")
    Image.new("RGB", (12, 8), "red").save(place / "p.png")
    train = TrainConfig(steps=2, batch_size=96, cpu=True)
    size = PictureConfig(width=64, frequencies=32, layers=3, nodes=(4, 4))
    fit_media(place / "p.png", size=size, config=FitConfig(train=train), output_dir=place / "run")
    assert main(["compress", str(place / "run"), str(place / "f.mfc")]) == 0
    return place / "f.mfc"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["compress", "a.png", "b.png", "c.png"], "c.png ends like a file to compress"),
        (["compress", "a.png", "a.png"], "a.png ends like a file to compress"),
        (["compress", "a.png", "new.WAV", "--overwrite"], "new.WAV ends like a file to compress"),
        (["compress", "a.png", "a.mfc"], "a.mfc exists already; choose another name, or replace it with --overwrite"),
        (["compress", "a.png", "/dev/null", "--overwrite"], "/dev/null is no plain file"),
        (["decompress", "a.mfc", "b.png"], "b.png exists already"),
        (["decompress", "a.mfc", "a.mfc", "--overwrite"], "a.mfc cannot be written as a picture"),
        (["decompress", "b.png", "new.png"], "b.png: this is not a file of `mapfield nerf compress`"),
        (["info", "b.png"], "b.png: this is not a file of `mapfield nerf compress`"),
        (["compress", "a.png", "s.wav", "new.mfc"], "a.png is a picture and s.wav a sound; make a pack for each kind"),
        (["decompress", "a.mfc", "new"], "new cannot be written as a picture; give a file that ends in .png"),
        (["fit", "a.png", "--output", ".", "--steps", "1"], "has files in it; choose a new or empty folder"),
    ],
)
def test_files_that_are_there_stay(
    words: list[str], message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(folder)
    assert main(words if words[0] != "compress" else [*words, *TINY]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert contents(folder) == before


def test_a_pack_and_a_folder_of_frames_do_not_mix_with_other_files(folder: Path) -> None:
    assert main(["compress", "a.png", "b.png", "p.mfc", "--target-bytes", "60", *TINY]) == 0
    before = contents(folder)
    assert main(["decompress", "p.mfc", "."]) == 2
    assert contents(folder) == before
    assert main(["decompress", "p.mfc", ".", "--overwrite"]) == 0
    assert set(contents(folder)) - set(before) == {"0000.png", "0001.png"}


def test_what_is_to_be_replaced_is(folder: Path, compressed: Compressed) -> None:
    before = contents(folder)
    assert main(["decompress", "a.mfc", "b.png", "--overwrite"]) == 0
    assert main(["compress", "a.png", "a.mfc", "--target-bytes", "45", "--overwrite", *TINY]) == 0
    after = contents(folder)
    assert {name for name in before if before[name] != after[name]} == {"b.png", "a.mfc"}
    with Image.open("b.png") as decoded:
        assert decoded.size == (40, 24)


def test_a_field_is_not_written_over_files_either(
    field: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(folder)
    assert main(["decompress", str(field), "a.png"]) == 2
    assert main(["compress", str(field.parent / "run"), "a.mfc"]) == 2
    assert main(["compress", str(field.parent / "run"), "a.png"]) == 2
    assert main(["decompress", str(field), "out"]) == 2
    assert "out cannot be written as a picture; give a file that ends in .png" in capsys.readouterr().err
    assert contents(folder) == before
    assert main(["decompress", str(field), "a.png", "--overwrite"]) == 0
    with Image.open("a.png") as decoded:
        assert decoded.size == (12, 8)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--region", "0,0,4,4"], "--region cannot be used with a field; leave it out"),
        (["--salvage", "--share", "0.1"], "--share and --salvage cannot be used with a field; leave them out"),
        (["--fast"], "--fast cannot be used"),
        (["--model", "tiny"], "--model cannot be used"),
    ],
)
def test_options_that_a_field_does_not_have_are_refused(
    field: Path, words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["decompress", str(field), str(tmp_path / "x.png"), *words]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    assert main(["compress", str(field.parent / "run"), str(tmp_path / "x.mfc"), "--target-psnr", "30"]) == 2
    assert "--target-psnr cannot be used with a field" in capsys.readouterr().err
    assert main(["info", str(field), "--model", "tiny"]) == 2


def test_an_output_folder_with_files_is_used_if_that_is_wanted(folder: Path) -> None:
    before = contents(folder)
    assert main(["fit", "a.png", "--output", ".", "--steps", "1", "--overwrite"]) == 0
    after = contents(folder)
    assert "picture.png" in after
    assert {name: after[name] for name in before} == before
    assert np.array(Image.open("picture.png")).shape == (16, 16, 3)
    assert main(["fit", "a.png", "--output", ".", "--steps", "1", "--overwrite"]) == 1
