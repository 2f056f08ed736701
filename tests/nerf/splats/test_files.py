"""Files of Gaussians: what is written is read, pictures stay the same, and damaged files are one sentence."""

from __future__ import annotations

import base64
import gzip
import itertools
import math
import re
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
import zstandard

from mappers.quality import psnr
from nerf.cameras import orbit
from nerf.fields import FieldError
from nerf.fields.splat import SplatConfig, SplatField
from nerf.rendering.rasterizer import draw_splats
from nerf.splats.files import read_splats, write_splats
from nerf.splats.files.gaussians import from_field, turned_harmonics
from nerf.splats.files.ply import read_ply, write_ply

BOUNDS = torch.tensor([[-1.0, -2.0, -0.5], [1.0, 1.0, 1.5]])


def cloud(degree: int = 3, count: int = 200) -> SplatField:
    torch.manual_seed(4)
    field = SplatField(BOUNDS, SplatConfig(count=count, degree=degree))
    with torch.no_grad():
        field.log_scales.copy_(math.log(0.08) + 0.5 * torch.randn(count, 3))
        field.opacity_logits.copy_(1 + torch.randn(count))
        field.harmonics.copy_(0.2 * torch.randn(field.harmonics.shape))
        field.harmonics[:, 0] += 0.5
    return field


def views(field: SplatField) -> torch.Tensor:
    cameras = orbit(3, radius=5.0, elevation=35, width=48, height=48, focal=48.0)
    return torch.stack([draw_splats(field, cameras[index]).color for index in range(3)])


@pytest.mark.parametrize(
    ("ending", "degree", "least"), [(".ply", 3, 80), (".ply", 0, 80), (".spz", 3, 40), (".splat", 0, 40)]
)
def test_a_file_draws_what_was_written(ending: str, degree: int, least: float, tmp_path: Path) -> None:
    field = cloud(degree)
    write_splats(field, tmp_path / f"cloud{ending}")
    again = read_splats(tmp_path / f"cloud{ending}")
    assert again.config.degree == degree
    assert psnr(views(again), views(field)) > least


def test_files_stand_upright_where_y_points_down(tmp_path: Path) -> None:
    """What is above in our world, along z, has the smaller y in a .ply."""
    field = cloud()
    means = from_field(field).means
    np.testing.assert_allclose(means[:, 1], -field.means.detach()[:, 2].numpy(), atol=1e-6)
    np.testing.assert_allclose(means[:, 2], field.means.detach()[:, 1].numpy(), atol=1e-6)


def test_turned_harmonics_are_those_of_the_turned_function() -> None:
    turn = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    matrix = turned_harmonics(turn, 2)
    # The function x, turned by 90 degrees about z, is the function y. Bands: 1, y, z, x.
    np.testing.assert_allclose(matrix @ [0, 0, 0, 1], [0, 1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(turned_harmonics(turn, 4) @ turned_harmonics(turn.T, 4), np.eye(16), atol=1e-12)


@pytest.mark.parametrize("format", ["ascii", "binary_big_endian"])
def test_other_orders_types_and_formats_of_ply_are_read(format: str, tmp_path: Path) -> None:
    whole = write_ply(from_field(cloud(1, 20)))
    header, body = whole.split(b"end_header\n")
    names = [line.split()[-1] for line in header.decode().splitlines() if line.startswith("property")]
    rows = np.frombuffer(body, "<f4").reshape(20, len(names))
    order = np.random.default_rng(0).permutation(len(names))
    lines = ["ply", f"format {format} 1.0", "comment made by hand", "element vertex 20"]
    lines += [f"property double {names[i]}" for i in order] + ["end_header", ""]
    shuffled = rows[:, order].astype(np.float64)
    text = "\n".join(" ".join(f"{v:.9g}" for v in row) for row in shuffled).encode()
    data = "\n".join(lines).encode() + (text if format == "ascii" else shuffled.astype(">f8").tobytes())
    (tmp_path / "other.ply").write_bytes(data)
    (tmp_path / "whole.ply").write_bytes(whole)
    for found, truth in zip(read_ply(tmp_path / "other.ply"), read_ply(tmp_path / "whole.ply"), strict=True):
        np.testing.assert_allclose(found, truth, rtol=1e-6, atol=1e-7)


def test_version_2_of_spz_is_read(tmp_path: Path) -> None:
    """By its description: three bytes of a rotation are x, y and z, and w is what is missing to length 1."""
    position = struct.pack("<i", round(1.5 * 4096))[:3] + struct.pack("<i", round(-0.25 * 4096))[:3] + bytes(3)
    body = position + bytes([128]) + bytes([128, 0, 255]) + bytes([160, 112, 144]) + bytes([255, 128, 128])
    data = gzip.compress(struct.pack("<IIIBBBB", 0x5053474E, 2, 1, 0, 12, 0, 0) + body)
    (tmp_path / "two.spz").write_bytes(data)
    found = from_field(read_splats(tmp_path / "two.spz"))
    np.testing.assert_allclose(found.means, [[1.5, 0.25, 0.0]], atol=1e-6)
    np.testing.assert_allclose(found.log_scales, [[0.0, -3.0, -1.0]], atol=1e-6)
    np.testing.assert_allclose(np.abs(found.quaternions), [[0.0, 1.0, 0.0, 0.0]], atol=0.1)
    np.testing.assert_allclose(found.opacity_logits, [math.log(128 / 127)], atol=1e-5)


def version_4(spz: bytes) -> bytes:
    """A file of version 4 with the planes of one of version 3, by its description."""
    raw = gzip.decompress(spz)
    n, degree, fraction = struct.unpack_from("<IBB", raw, 8)
    widths = (9, 1, 3, 3, 4, 3 * ((degree + 1) ** 2 - 1))
    ends = np.cumsum([16, *(n * width for width in widths)])
    planes = [raw[a:b] for a, b in itertools.pairwise(ends)]
    packed = [zstandard.ZstdCompressor().compress(plane) for plane in planes]
    header = struct.pack("<IIIBBBBI12x", 0x5053474E, 4, n, degree, fraction, 1, len(planes), 32)
    table = b"".join(struct.pack("<QQ", len(small), len(plane)) for small, plane in zip(packed, planes, strict=True))
    return header + table + b"".join(packed)


def test_version_4_of_spz_is_read(tmp_path: Path) -> None:
    write_splats(cloud(2), tmp_path / "three.spz")
    (tmp_path / "four.spz").write_bytes(version_4((tmp_path / "three.spz").read_bytes()))
    three, four = (read_splats(tmp_path / f"{name}.spz") for name in ("three", "four"))
    assert all(torch.equal(a, b) for a, b in zip(three.state_dict().values(), four.state_dict().values(), strict=True))


def test_infinite_logits_of_other_programs_are_solid_and_clear(tmp_path: Path) -> None:
    gaussians = from_field(cloud(0, 10))
    logits = gaussians.opacity_logits.copy()
    logits[:2] = np.inf, -np.inf
    (tmp_path / "a.ply").write_bytes(write_ply(gaussians._replace(opacity_logits=logits)))
    opacity = read_splats(tmp_path / "a.ply").opacity_logits.sigmoid()
    assert opacity[:2].tolist() == pytest.approx([1, 0], abs=1e-5)


def test_a_page_holds_everything_that_it_shows(tmp_path: Path) -> None:
    write_splats(cloud(0, 30), tmp_path / "a.html")
    write_splats(cloud(0, 30), tmp_path / "a.splat")
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    found = re.search(r'atob\("([^"]*)"\)', page)
    assert found is not None
    assert base64.b64decode(found[1]) == (tmp_path / "a.splat").read_bytes()
    assert "http" not in page
    assert "$" not in page
    assert "30 Gaussians" in page


def damaged(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    with pytest.raises(FieldError) as caught:
        read_splats(path)
    message = str(caught.value)
    assert path.name in message
    assert "\n" not in message
    return message


def test_damaged_files_are_one_sentence(tmp_path: Path) -> None:
    for ending in (".ply", ".spz", ".splat"):
        write_splats(cloud(0, 30), tmp_path / f"whole{ending}")
    ply, spz, splat = ((tmp_path / f"whole{ending}").read_bytes() for ending in (".ply", ".spz", ".splat"))
    bad = tmp_path / "bad.ply"
    assert "ends before its 30 vertices do" in damaged(bad, ply[:-7])
    assert "not a PLY file" in damaged(bad, b"")
    assert "no opacity" in damaged(bad, ply.replace(b"float opacity", b"float opaqity"))
    assert "damaged header" in damaged(bad, ply.replace(b"vertex 30", b"vertex x0"))
    assert "claims" in damaged(bad, ply.replace(b"vertex 30", b"vertex 99999999999"))
    assert "not finite" in damaged(bad, ply[:-4] + struct.pack("<f", math.nan))
    assert "holds no Gaussians" in damaged(bad, ply.replace(b"vertex 30", b"vertex 0"))
    text = ply.split(b"end_header")[0].replace(b"binary_little_endian", b"ascii") + b"end_header\n1 2 x\n"
    assert "is damaged" in damaged(bad, text)
    bad = tmp_path / "bad.spz"
    assert "does not hold" in damaged(bad, spz[:-40])
    assert "not an .spz file" in damaged(bad, b"no gzip")
    raw = gzip.decompress(spz)
    assert "more" in damaged(bad, gzip.compress(raw + b"x"))
    assert "need" in damaged(bad, gzip.compress(raw[:-1]))
    assert "claims" in damaged(bad, gzip.compress(raw[:8] + struct.pack("<I", 2**32 - 1) + raw[12:]))
    assert "version 7" in damaged(bad, gzip.compress(raw[:4] + struct.pack("<I", 7) + raw[8:]))
    four = version_4(spz)
    assert "damaged" in damaged(bad, four[:20])
    assert "other sizes" in damaged(bad, four[:8] + struct.pack("<I", 31) + four[12:])
    assert "version 9" in damaged(bad, four[:4] + struct.pack("<I", 9) + four[8:])
    assert "cut off" in damaged(bad, four[:-3])
    bad = tmp_path / "bad.splat"
    assert "cut off" in damaged(bad, splat[:-1])
    assert "scales" in damaged(bad, splat[:12] + struct.pack("<f", -1.0) + splat[16:])
    with pytest.raises(FieldError, match="must end in"):
        read_splats(tmp_path / "cloud.usdz")
    with pytest.raises(FileNotFoundError, match="there is no file"):
        read_splats(tmp_path / "nowhere.ply")
