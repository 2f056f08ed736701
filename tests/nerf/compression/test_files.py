"""Pictures to files and back: shapes, sizes, qualities, and the same pixels whoever decodes."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import subprocess
import sys
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import pipelines
from mappers.quality import psnr
from nerf.cli import main
from nerf.compression.block_order import BlockOrder
from nerf.compression.coding.indices import to_digits
from nerf.compression.container import bitstream
from nerf.compression.decoder import decode_latents, synthesize, to_samples
from nerf.compression.encoder import EncodeConfig
from nerf.compression.files import Compressed, compress, decompress
from nerf.compression.modalities.modality import Compressible, Sound, Video
from nerf.compression.model.codec import CodecModel, load_model
from nerf.compression.overview import describe
from nerf.compression.reconstruction import decode

OLD_FILES = Path(__file__).parents[2] / "expected" / "nerf" / "compression" / "old_files.json"
"""Files that were written once, in base 64; they are never written anew."""
Maker = Callable[..., Image.Image]


def digest(media: Compressible) -> str:
    """SHA-256 of what a file decodes to."""
    values = media.samples if isinstance(media, Sound) else media.frames if isinstance(media, Video) else media
    return hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()


def test_reported_figures_are_those_of_the_file(compressed: Compressed, picture: Maker, tmp_path: Path) -> None:
    path = tmp_path / "a.mfc"
    path.write_bytes(compressed.data)
    assert compressed.bits_per_point == 8 * path.stat().st_size / (40 * 24)
    decoded = decompress(path)
    assert isinstance(decoded, Image.Image)
    assert compressed.psnr == pytest.approx(psnr(np.asarray(decoded), np.asarray(picture(40, 24))), abs=1e-9)
    assert compressed.psnr > 15


def test_another_process_decodes_the_same_pixels(compressed: Compressed, tmp_path: Path) -> None:
    """With one thread and with two."""
    (tmp_path / "a.mfc").write_bytes(compressed.data)
    commands = [["decompress", "a.mfc", f"{threads}.png", "--threads", str(threads)] for threads in (1, 2)]
    code = f"import sys\nfrom nerf.cli import main\nsys.exit(max(main(one) for one in {commands}))"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, cwd=tmp_path)
    for threads in (1, 2):
        with Image.open(tmp_path / f"{threads}.png") as picture:
            assert digest(picture) == digest(decompress(compressed.data))  # pyright: ignore


def test_pixels_do_not_depend_on_how_many_patches_are_drawn_at_once(
    compressed: Compressed, tiny: CodecModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = digest(decompress(compressed.data))  # pyright: ignore
    for count in (1, 2):
        monkeypatch.setattr("nerf.compression.windows.WINDOW", {2: count})
        assert digest(decompress(compressed.data)) == expected  # pyright: ignore


def test_fast_decoding_is_off_by_one_at_most(compressed: Compressed) -> None:
    exact, fast = (np.asarray(decompress(compressed.data, fast=fast)).astype(int) for fast in (False, True))
    assert abs(exact - fast).max() <= 1


@pytest.mark.parametrize("size", [(1, 1), (17, 5), (9, 33)])
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "LA"])
def test_size_and_mode_stay(picture: Maker, quick: EncodeConfig, size: tuple[int, int], mode: str) -> None:
    original = picture(*size, mode)
    if mode in ("RGBA", "LA"):
        original.putalpha(Image.linear_gradient("L").resize(size))
    decoded = decompress(compress(original, model="tiny", config=quick).data)
    assert isinstance(decoded, Image.Image)
    assert (decoded.size, decoded.mode) == (size, mode)
    if mode in ("RGBA", "LA"):
        assert decoded.getchannel("A").tobytes() == original.getchannel("A").tobytes()


def test_sixteen_bits_palettes_and_rotated_photos_are_read(picture: Maker, quick: EncodeConfig, tmp_path: Path) -> None:
    deep = Image.fromarray(np.asarray(picture(16, 16, "L")).astype(np.uint16) * 257)
    decoded = decompress(compress(deep, model="tiny", config=quick).data)
    assert decoded.mode == "L"  # pyright: ignore
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    picture(20, 10).save(tmp_path / "turned.jpg", exif=exif)
    assert decompress(compress(tmp_path / "turned.jpg", model="tiny", config=quick).data).size == (10, 20)  # pyright: ignore
    palette = picture(16, 16).convert("P")
    assert decompress(compress(palette, model="tiny", config=quick).data).mode == "RGB"  # pyright: ignore


def test_a_target_is_met_and_not_exceeded(picture: Maker, quick: EncodeConfig) -> None:
    for target in (60, 120, 200):
        size = len(compress(picture(64, 48), model="tiny", target_bytes=target, config=quick).data)
        assert 0.9 * target <= size <= target
    with pytest.raises(ValueError, match="less than the 27 bytes"):
        compress(picture(64, 48), model="tiny", target_bytes=20)


def test_more_bytes_look_better(picture: Maker) -> None:
    config = EncodeConfig(steps=60, rounds=3, round_steps=5)
    results = [compress(picture(32, 32), model="tiny", target_bytes=n, config=config).psnr for n in (40, 70, 110)]
    assert results[0] < results[1] < results[2]


def test_a_wanted_quality_is_reached(picture: Maker, quick: EncodeConfig) -> None:
    lower = compress(picture(32, 32), model="tiny", target_psnr=14, config=quick)
    higher = compress(picture(32, 32), model="tiny", target_psnr=17, config=quick)
    assert lower.psnr >= 14
    assert higher.psnr >= 17
    assert len(lower.data) < len(higher.data)
    with pytest.raises(ValueError, match="ask for less"):
        compress(picture(32, 32), model="tiny", target_psnr=90, config=quick)


def test_a_shorter_search_takes_less_time(picture: Maker) -> None:
    assert compress(picture(16, 16), model="tiny", seconds=0.3).seconds < 5


def test_a_pack_holds_many_and_each_decodes_alone(picture: Maker, quick: EncodeConfig, tmp_path: Path) -> None:
    originals = [picture(16, 16), picture(16, 16, "L"), picture(20, 7)]
    packed = compress(originals, tmp_path / "p.mfc", model="tiny", config=quick)
    decoded = decompress(tmp_path / "p.mfc", tmp_path / "out")
    assert isinstance(decoded, list)
    assert [(d.size, d.mode) for d in decoded] == [(o.size, o.mode) for o in originals]
    assert len(list((tmp_path / "out").iterdir())) == 3
    container = bitstream.read(packed.data)
    alone = dataclasses.replace(container, items=container.items[2:], pack=False)
    alone = dataclasses.replace(alone, samples=bitstream.checksum(decode(alone, load_model("tiny"), checked=False)))
    assert digest(decompress(alone.write())) == digest(decoded[2])  # pyright: ignore


def test_a_batch_is_as_good_as_single_pictures(picture: Maker) -> None:
    config = EncodeConfig(steps=100, rounds=4, round_steps=8)
    originals = [picture(16, 16).rotate(90 * turn) for turn in range(4)]
    single = [compress(original, model="tiny", config=config).psnr for original in originals]
    assert compress(originals, model="tiny", config=config).psnr == pytest.approx(np.mean(single), abs=0.8)


def test_a_leading_share_decodes_to_a_coarser_picture(compressed: Compressed, picture: Maker) -> None:
    original = np.asarray(picture(40, 24))
    qualities = [psnr(np.asarray(decompress(compressed.data, share=share)), original) for share in (0.0, 0.4, 1.0)]
    assert qualities[0] < qualities[1] < qualities[2]


def test_levels_add_up_to_the_payload(compressed: Compressed, tiny: CodecModel) -> None:
    found = describe(compressed.data)
    item = bitstream.read(compressed.data).items[0]
    code = tiny.rates[1].component_code
    digits, place = to_digits(item.payload), 0
    for _ in range(tiny.description.tiling(item.dims).rows[0]):
        component, place = code.symbol(digits, place)
        assert component < tiny.description.components
    named = math.ceil(place / 8)
    assert found["component bits"] == 8 * named
    indices, whole = tiny.code.decode(item.payload[named:], 1000)
    assert whole
    bits = sum(tiny.code.size(index) for index in indices)
    assert found["level 1 bits"] == bits
    assert len(item.payload) == named + math.ceil(bits / 8)
    assert found["file bytes"] == len(compressed.data)


def test_a_constant_picture_is_no_trouble(quick: EncodeConfig) -> None:
    done = compress(Image.new("RGB", (16, 16), (255, 255, 255)), model="tiny", config=quick)
    assert math.isfinite(done.psnr)


def test_fixed_indices_decode_to_the_same_pixels_as_ever(tiny: CodecModel, expected: Callable[..., None]) -> None:
    """The encoder takes no part. A change of these values breaks every file that was ever written."""
    order = BlockOrder(tiny, 1, tiny.description.tiling((20, 24)), (0, 3, 1, 2))
    values = decode_latents(tiny, order, [(7919 * place) % 16384 for place in range(order.count)])
    pixels = to_samples(synthesize(tiny, order.tiling, values), 255)
    expected("tiny_model_id", tiny.id.hex())
    expected("pixels_of_fixed_indices_sha256", hashlib.sha256(pixels.tobytes()).hexdigest())


@pytest.mark.parametrize(
    "name", ["tiny", "tiny_pack_with_transparency", "pictures32", "photos", "sounds", "videos", "volumes", "grids"]
)
def test_old_files_decode_to_the_same_samples_as_ever(name: str, expected: Callable[..., None]) -> None:
    decoded = decompress(b64decode(json.loads(OLD_FILES.read_text(encoding="utf-8"))[name]))
    items = decoded if isinstance(decoded, list) else [decoded]
    expected(f"samples_of_old_file_{name}_sha256", [digest(item) for item in items])


def test_decoding_needs_no_amortiser(compressed: Compressed, tiny: CodecModel) -> None:
    zeros = {name: np.zeros_like(value) for name, value in tiny.amortiser_tensors.items()}
    other = CodecModel(tiny.description, tiny.tensors, tiny.code.lengths, tiny.component_lengths, zeros)
    assert other.id == tiny.id
    values, expected = (decode(bitstream.read(compressed.data), m)[0] for m in (other, tiny))
    np.testing.assert_array_equal(values, expected)


def test_public_functions_are_the_pipelines() -> None:
    assert pipelines.compress is compress
    assert pipelines.decompress is decompress


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["compress", "no.png", "{}/a.mfc", "--model", "tiny"], "there is no picture no.png"),
        (["compress", "{}/a.png", "{}/no/a.mfc", "--model", "tiny"], "there is no folder"),
        (["compress", "{}/a.png", "{}/a.mfc", "--model", "none"], "shipped are:"),
        (["compress", "{}/text.png", "{}/a.mfc", "--model", "tiny"], "is not a picture that can be read"),
        (["compress", "{}/empty.png", "{}/a.mfc", "--model", "tiny"], "is not a picture that can be read"),
        (["compress", "{}/a.png", "--model", "tiny"], "at least one file"),
        (["decompress", "{}/none.mfc", "{}/b.png"], "there is no file"),
        (["decompress", "{}/text.png", "{}/b.png"], "this is not a file of"),
        (["info", "{}/empty.png"], "this is not a file of"),
    ],
)
def test_bad_input_is_one_line(
    words: list[str], message: str, picture: Maker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture(16, 16).save(tmp_path / "a.png")
    (tmp_path / "text.png").write_text("not a picture")
    (tmp_path / "empty.png").write_bytes(b"")
    assert main([word.replace("{}", str(tmp_path)) for word in words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1


def test_the_command_line_goes_both_ways(picture: Maker, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture(16, 16).save(tmp_path / "a.png")
    small, back = str(tmp_path / "a.mfc"), str(tmp_path / "b.png")
    assert main(["compress", str(tmp_path / "a.png"), small, "--model", "tiny", "--target-bytes", "45"]) == 0
    size = (tmp_path / "a.mfc").stat().st_size
    assert f"{size} bytes" in capsys.readouterr().out
    assert 0.9 * 45 <= size <= 45
    assert main(["decompress", small, back]) == 0
    with Image.open(back) as decoded:
        assert decoded.size == (16, 16)
    assert main(["info", small]) == 0
    assert "shape\t16x16" in capsys.readouterr().out


def test_a_damaged_model_is_named(tiny: CodecModel, tmp_path: Path) -> None:
    tiny.save(tmp_path / "model")
    assert load_model(str(tmp_path / "model")).id == tiny.id
    (tmp_path / "model" / "model.safetensors").write_bytes(b"")
    with pytest.raises(RuntimeError, match="not a whole codec model"):
        CodecModel.load(tmp_path / "model")


def test_torch_threads_are_left_alone(compressed: Compressed) -> None:
    before = torch.get_num_threads()
    decompress(compressed.data)
    assert torch.get_num_threads() == before
