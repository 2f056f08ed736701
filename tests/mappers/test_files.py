"""Files appear whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from mappers.files import (
    check_outputs,
    files_in,
    read_text,
    refuse_filled,
    refuse_taken,
    replacing,
    replacing_folder,
    writable_folder,
)


def test_a_file_appears_with_its_folder_and_replaces_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "new" / "weights.safetensors"
    for value in (1.0, 2.0):
        with replacing(path) as temporary:
            save_file({"w": torch.tensor(value)}, temporary)
            assert temporary.suffix == path.suffix
            assert path.exists() == (value == 2.0)
    assert load_file(path)["w"].item() == 2.0
    assert list(path.parent.iterdir()) == [path]


def test_whoever_may_read_new_files_may_read_weights(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("")
    with replacing(tmp_path / "weights.safetensors") as temporary:
        save_file({"w": torch.zeros(1)}, temporary)
    assert (tmp_path / "weights.safetensors").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_what_was_there_survives_an_error_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text("old")
    with pytest.raises(KeyError), replacing(path) as temporary:  # noqa: PT012
        temporary.write_text("half")
        raise KeyError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_unwritable_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"could not write .*report.json: .*choose another folder"):  # noqa: PT012
        with replacing(tmp_path / "file" / "report.json") as temporary:
            temporary.write_text("x")


def test_a_folder_is_tried_before_anything_is_made(tmp_path: Path) -> None:
    assert writable_folder(tmp_path / "new" / "one").is_dir()
    assert not any((tmp_path / "new" / "one").iterdir())
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"cannot write to the output folder .*file"):
        writable_folder(tmp_path / "file")


def test_no_file_is_replaced_unless_that_is_wanted(tmp_path: Path) -> None:
    taken = tmp_path / "a.png"
    taken.write_bytes(b"a user's")
    refuse_taken(tmp_path / "new.png")
    refuse_taken(taken, overwrite=True)
    with pytest.raises(FileExistsError, match=r"a.png exists already; .* --overwrite"):
        refuse_taken(taken)
    for overwrite in (False, True):
        with pytest.raises(FileExistsError, match="is a folder"):
            refuse_taken(tmp_path, overwrite=overwrite)
        with pytest.raises(FileExistsError, match="is no plain file"):
            refuse_taken("/dev/null", overwrite=overwrite)


def test_a_folder_with_files_is_refused_unless_that_is_wanted(tmp_path: Path) -> None:
    refuse_filled(tmp_path)
    refuse_filled(tmp_path / "new")
    (tmp_path / ".DS_Store").touch()
    refuse_filled(tmp_path)
    (tmp_path / "a.png").touch()
    with pytest.raises(FileExistsError, match="has files in it; choose a new or empty folder"):
        refuse_filled(tmp_path)
    refuse_filled(tmp_path, overwrite=True)
    with pytest.raises(FileExistsError, match="is a file; choose a new or empty folder"):
        refuse_filled(tmp_path / "a.png", overwrite=True)


def test_outputs_that_exist_are_refused_unless_they_may_be_replaced(tmp_path: Path) -> None:
    old, sounds = tmp_path / "old.wav", tmp_path / "sounds"
    sounds.mkdir()
    (sounds / "cache").mkdir()
    refuse_filled(sounds, besides=["cache"])
    with pytest.raises(FileExistsError, match="sounds has files in it"):
        refuse_filled(sounds)
    check_outputs([tmp_path / "new.wav", old], folders=[tmp_path / "none" / "new"])
    old.write_text("mine")
    with pytest.raises(FileExistsError, match=r"old\.wav exists already"):
        check_outputs([tmp_path / "new.wav", old])
    with pytest.raises(FileExistsError, match="sounds has files in it"):
        check_outputs(folders=[sounds])
    check_outputs([old], folders=[sounds], overwrite=True)


def test_an_input_is_never_replaced(tmp_path: Path) -> None:
    """By whichever path it is named: through another folder, a link, or a second name of the same file."""
    film = tmp_path / "film.mp4"
    film.write_text("mine")
    (tmp_path / "soft.mp4").symlink_to(film)
    (tmp_path / "hard.mp4").hardlink_to(film)
    for output in (film, tmp_path / "new" / ".." / "film.mp4", tmp_path / "soft.mp4", tmp_path / "hard.mp4"):
        with pytest.raises(FileExistsError, match="is also an input, and would replace it; choose another name"):
            check_outputs([output], inputs=[tmp_path / "other.mp4", film], overwrite=True)
    with pytest.raises(FileExistsError, match="is also an input"):
        check_outputs(folders=[tmp_path], inputs=[tmp_path], overwrite=True)


def test_files_of_a_folder_are_those_that_its_user_sees(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / ".hidden").mkdir()
    for name in ("b.PNG", "a.png", "._a.png", ".b.png", "a.txt", "in/c.png", "in/._c.png", ".hidden/d.png"):
        (tmp_path / name).write_text("x")
    (tmp_path / "folder.png").mkdir()
    assert [path.name for path in files_in(tmp_path, (".png",))] == ["a.png", "b.PNG"]
    assert [path.name for path in files_in(tmp_path)] == ["a.png", "a.txt", "b.PNG"]
    assert [path.name for path in files_in(tmp_path, (".png",), recursive=True)] == ["a.png", "b.PNG", "c.png"]


def test_a_folder_appears_with_all_its_files_and_replaces_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "new" / "mapper"
    for value in ("1", "2"):
        with replacing_folder(path) as temporary:
            (temporary / "a").write_text(value)
            assert path.exists() == (value == "2")
    with pytest.raises(KeyError), replacing_folder(path) as temporary:  # noqa: PT012
        (temporary / "a").write_text("half")
        raise KeyError
    assert (path / "a").read_text() == "2"
    assert list(path.parent.iterdir()) == [path]


def test_nothing_is_written_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for refuse in (refuse_taken, refuse_filled):
        with pytest.raises(FileExistsError, match=r"file/new/a\.png cannot be written, because .*file is a file"):
            refuse(tmp_path / "file" / "new" / "a.png")
    with pytest.raises(OSError, match=r"could not write .*a\.png: (Not a directory|File exists); make room"):  # noqa: SIM117
        with replacing(tmp_path / "file" / "a.png"):
            pass


def test_text_has_a_mark_or_none_and_is_utf_8(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    for encoding in ("utf-8", "utf-8-sig"):
        path.write_text("é", encoding=encoding)
        assert read_text(path) == "é"
    path.write_text("é", encoding="utf-16")
    with pytest.raises(ValueError, match=r"a\.txt is not text in UTF-8 .*; save it in that encoding"):
        read_text(path)
