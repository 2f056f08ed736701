"""Fields as files: bit-equal weights, small, drawable, and every kind of damage is named."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import zlib
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mappers.training.train_config import TrainConfig
from nerf.compression.container.errors import (
    ChecksumError,
    CompressedFileError,
    NotCompressedError,
    TrailingBytesError,
    TruncatedError,
    VersionError,
)
from nerf.compression.container.field import is_field
from nerf.compression.field_files import compress_run, decompress_field, read, to_field_file
from nerf.compression.overview import describe_field
from nerf.fields import build_field
from nerf.fields.cam import CAMConfig
from nerf.fields.quantized import bits_per_tensor, rounded
from nerf.media.fields import PictureConfig
from nerf.media.fitting import fit_media
from nerf.runs import Run, load_run
from nerf.scenes import Scene
from nerf.settings import FitConfig, RadianceConfig
from nerf.training import train

OLD_FILES = Path(__file__).parents[2] / "expected" / "nerf" / "compression" / "old_files.json"
"""Files that were written once, in base 64; they are never written anew."""
TINY = PictureConfig(width=64, frequencies=32, layers=3, nodes=(4, 4))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture field trained with 6 bits a weight."""
    folder = tmp_path_factory.mktemp("run")
    y, x = np.mgrid[:18, :22] / 20
    values = np.stack([x, y, (np.hypot(x - 0.4, y - 0.5) < 0.3).astype(float)], -1).clip(0, 1)
    Image.fromarray((values * 255).astype(np.uint8)).save(folder / "disc.png")
    train = TrainConfig(steps=40, batch_size=396, learning_rate=5e-3, weight_decay=0.0, cpu=True)
    fit_media(folder / "disc.png", size=TINY, config=FitConfig(train=train, bits=6), output_dir=folder / "run")
    return folder / "run"


def test_a_trained_field_decodes_bit_equal_to_what_was_trained(run: Path, tmp_path: Path) -> None:
    data = compress_run(run, tmp_path / "a.mfc")
    assert (tmp_path / "a.mfc").read_bytes() == data
    assert is_field(data)
    decompress_field(tmp_path / "a.mfc", tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as decoded, Image.open(run / "picture.png") as drawn:
        assert np.array_equal(np.array(decoded), np.array(drawn))


@pytest.mark.parametrize("bits", [2, 5, 8])
def test_weights_are_those_that_rounding_gives_and_the_file_is_near_their_entropy(bits: int) -> None:
    field = build_field("cam", torch.tensor([[-1.0, -1, -1], [1, 1, 1]]))
    data = to_field_file(field, bits).write()
    file = read(data)
    plan, entropy = bits_per_tensor(field, bits), 0.0
    for name, value in field.named_parameters():
        assert torch.equal(file.state[name], rounded(value, plan[name])), name
        _, counts = file.state[name].unique(return_counts=True)
        share = counts / counts.sum()
        entropy -= float((counts * share.log2()).sum()) / 8
    assert torch.equal(file.state["bounds"], field.bounds)
    # A Huffman code spends at least a bit on a symbol, so that it is far from the entropy of three values.
    assert len(data) < (1.5 if bits == 2 else 1.08) * entropy + 1200
    assert read(file.write()).state.keys() == file.state.keys()
    assert file.write() == data


def test_an_old_file_has_the_same_weights_as_ever(expected: Callable[..., None]) -> None:
    file = read(b64decode(json.loads(OLD_FILES.read_text(encoding="utf-8"))["field"]))
    weights = hashlib.sha256()
    for name, value in sorted(file.state.items()):
        weights.update(name.encode() + value.numpy().tobytes())
    expected("weights_of_old_file_sha256", weights.hexdigest())
    assert (file.family, set(file.bits.values())) == ("picture", {8})


def test_a_scene_becomes_a_run_again(trained: tuple[Run, Path], scene: Scene, tmp_path: Path) -> None:
    _, folder = trained
    data = compress_run(folder, bits=8)
    assert len(data) < (folder / "field.safetensors").stat().st_size / 3
    decompress_field(data, tmp_path / "again")
    again, run = load_run(tmp_path / "again"), load_run(folder)
    camera = scene.split("test").cameras[0]
    torch.testing.assert_close(again.draw(camera).color, run.draw(camera).color, atol=0.05, rtol=0)
    assert again.viewpoints == run.viewpoints
    assert torch.equal(again.sampler.occupied, run.sampler.occupied)  # pyright: ignore


def test_a_budget_is_met_or_refused(run: Path) -> None:
    whole = len(compress_run(run, bits=8))
    target = int(whole * 0.7)
    assert target * 0.6 < len(compress_run(run, target_bytes=target)) <= target
    with pytest.raises(ValueError, match="target_bytes 500 cannot be met: with 2 bits a weight the file still has"):
        compress_run(run, target_bytes=500)


def test_what_a_file_holds_is_described(run: Path) -> None:
    found = describe_field(compress_run(run))
    assert (found["kind"], found["family"], found["bits of a weight"], found["size"]) == (
        "field",
        "picture",
        "6 8",
        "[18, 22]",
    )


def test_damage_is_named(run: Path, trained: tuple[Run, Path]) -> None:
    data = compress_run(run)
    for length in [*range(0, 40), len(data) // 2, len(data) - 1]:
        with pytest.raises(CompressedFileError):
            read(data[:length])
    with pytest.raises(TruncatedError, match="get a whole copy"):
        read(data[:-9])
    with pytest.raises(TrailingBytesError, match="1 bytes follow"):
        read(data + b"x")
    with pytest.raises(NotCompressedError, match="does not begin with 'mfc'"):
        read(b"PNG" + data)
    with pytest.raises(VersionError, match="version 9, this program reads 1; update mapfield"):
        read(data[:4] + b"\x09" + data[5:])
    for place in range(6, len(data), 97):
        with pytest.raises(CompressedFileError):
            read(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
    body = data[:-5] + bytes([data[-5] ^ 255])
    with pytest.raises(ChecksumError, match="checksum does not match"):
        read(body + data[-4:])
    with pytest.raises(CompressedFileError):
        read(body + zlib.crc32(body).to_bytes(4, "little"))


def test_what_has_no_small_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no finished run"):
        compress_run(tmp_path)
    field = build_field("voxel", torch.tensor([[-1.0, -1, -1], [1, 1, 1]]))
    with pytest.raises(
        ValueError, match="cannot quantize a voxel field: its tensor .* is int.*; distill it to another family first"
    ):
        to_field_file(field, 8)


def test_a_scene_trained_with_few_bits_is_written_without_loss(scene: Scene, settings: RadianceConfig) -> None:
    size = CAMConfig(layers=2, color_layers=1, width=48, octaves=4)
    config = dataclasses.replace(settings, bits=6, train=dataclasses.replace(settings.train, steps=12))
    run = train(scene, "cam", size=size, config=config)
    state = read(to_field_file(run.field, 6).write()).state
    for name, value in run.field.state_dict().items():
        assert torch.equal(state[name], value), name
    assert run.report.losses[-1][1] < run.report.losses[0][1]
