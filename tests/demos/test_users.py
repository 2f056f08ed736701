"""The file of who may use the app."""

from __future__ import annotations

from pathlib import Path

import pytest

from demos.users import read_users


@pytest.mark.parametrize(
    ("text", "message"),
    [("anna", "line 1 of .*users.txt is not NAME:PASSWORD"), ("\n", "names no user"), (None, "cannot be read")],
)
def test_a_file_of_users_that_is_none_is_refused(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / "users.txt").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_users(tmp_path / "users.txt")


def test_users_are_read_with_colons_in_their_passwords(tmp_path: Path) -> None:
    (tmp_path / "users.txt").write_text("anna:one:two\n\nben:three\n")
    assert read_users(tmp_path / "users.txt") == {"anna": "one:two", "ben": "three"}
    (tmp_path / "users.txt").write_text("anna:one\n", encoding="utf-8-sig")  # as Windows' editor does
    assert read_users(tmp_path / "users.txt") == {"anna": "one"}
