"""The reader of PLY vertices allocates nothing that a header only claims."""

from __future__ import annotations

from pathlib import Path

import pytest

from nerf.vertices import VerticesError, read_vertices


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is not a PLY file"),
        ("ply\nformat ascii 2.0\nelement face 1\nend_header\n", "must list its vertices first"),
        ("ply\nformat ebcdic 1.0\nelement vertex 1\nproperty float x\nend_header\n1\n", "damaged header"),
        ("ply\nformat ascii 1.0\nelement vertex 1\nproperty list uchar int x\nend_header\n1\n", "damaged header"),
        ("ply\nformat ascii 1.0\nelement vertex 2\nproperty float x\nend_header\n1\n", "ends before its 2 vertices do"),
        ("ply\nformat ascii 1.0\nelement vertex 9999999999\nproperty float x\nend_header\n1\n", "claims 9999999999"),
        (
            "ply\nformat binary_little_endian 1.0\nelement vertex 999999999\nproperty float x\nend_header\n1\n",
            "ends before",
        ),
    ],
)
def test_damaged_files_are_one_sentence(text: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "a.ply").write_text(text)
    with pytest.raises(VerticesError, match=sentence):
        read_vertices(tmp_path / "a.ply")


def test_columns_come_by_name(tmp_path: Path) -> None:
    text = "ply\nformat ascii 1.0\nelement vertex 2\nproperty int a\nproperty double b\nend_header\n1 2.5\n3 -4\n"
    (tmp_path / "a.ply").write_text(text)
    found = read_vertices(tmp_path / "a.ply")
    assert {name: values.tolist() for name, values in found.items()} == {"a": [1, 3], "b": [2.5, -4]}
