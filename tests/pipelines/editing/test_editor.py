"""The editor: edits, the way back, files that survive, and bad input in one sentence each."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

import pipelines
from mappers.code_mapper import CodeMapper
from mappers.options import declared_by
from nerf.conditional import ConditionalModel
from nerf.conditional.clip.scorer import Scorer
from nerf.conditional.families import FAMILIES
from nerf.conditional.inversion.inversion import InversionConfig
from nerf.conditional.mapping.code_optimization import OptimizerConfig
from nerf.conditional.mapping.objective import ObjectiveConfig
from nerf.conditional.views import View
from nerf.fields.conditional import ConditionalConfig, ConditionalField
from nerf.runs import load_run
from pipelines.cli import main
from pipelines.editing import session as editing_session
from pipelines.editing.editor import Editor, edit_nerf
from pipelines.editing.files import edit_to_folder
from pipelines.editing.options import EditOptions, ObjectOptions

SMALL = ConditionalConfig(
    shape_code=4, appearance_code=3, layers=2, width=24, octaves=4, deform_layers=1, deform_width=16, features=8,
    color_layers=1, color_width=16,
)  # fmt: skip
VIEW = View(size=12)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random category model that is seen, and a mapper that moves codes by whatever it is given."""
    path = tmp_path_factory.mktemp("model")
    torch.manual_seed(3)
    field = ConditionalField(FAMILIES["chairs"].bounds, SMALL)
    torch.nn.init.normal_(field.deform.last.weight)
    torch.nn.init.constant_(field.trunk.last.bias[:1], 1.0)
    ConditionalModel(field, torch.randn(6, 4), torch.randn(5, 3), "chairs").save(path)
    mapper = CodeMapper(
        128, 4, 3, hidden=8, field_space=ConditionalModel.load(path).space, clip_space=Scorer.load().space
    )
    for net in mapper.nets.values():
        torch.nn.init.normal_(net[-1].weight, std=0.15)  # pyright: ignore[reportIndexIssue, reportArgumentType]
    mapper.save_pretrained(path / "mapper")
    return path


@pytest.fixture
def editor(folder: Path) -> Editor:
    return pipelines.edit_nerf(folder, instance=2)


def same(a: Any, b: Any) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def disc() -> Image.Image:
    image = Image.new("RGB", (40, 40), "white")
    ImageDraw.Draw(image).ellipse((10, 10, 29, 29), fill=(200, 30, 30))
    return image


def test_edits_are_undone_and_done_again(editor: Editor) -> None:
    start = editor.codes
    assert same(start, editor.model.codes(2))
    first = editor.apply("a red chair").codes
    second = editor.apply(exemplar=disc(), strength=0.5).codes
    assert not same(first, start)
    assert not same(second, first)
    assert same(editor.undo().codes, first)
    assert same(editor.undo().codes, start)
    assert same(editor.redo().codes, first)
    editor.apply("a blue chair", strength=0.0)
    assert same(editor.codes, first)
    with pytest.raises(ValueError, match="there is nothing to redo"):
        editor.redo()
    editor.undo().undo()
    with pytest.raises(ValueError, match="there is nothing to undo"):
        editor.undo()


def test_an_edit_of_appearance_leaves_density_to_the_bit(editor: Editor) -> None:
    before = editor.run()
    editor.apply("a red chair", shape=False)
    after = editor.run()
    points = torch.rand(20_000, 3) * 1.2 - 0.6
    assert torch.equal(before.field.features(points)[:, 0], after.field.features(points)[:, 0])
    camera = VIEW.camera(editor.model)
    assert torch.equal(before.draw(camera).opacity, after.draw(camera).opacity)
    assert not torch.equal(before.draw(camera).color, after.draw(camera).color)
    assert np.array_equal(np.asarray(editor.render(VIEW)), (after.draw(camera).color * 255).round().byte().numpy())
    assert not np.array_equal(np.asarray(editor.render(VIEW)), np.asarray(editor.render(VIEW, original=True)))


def test_a_session_outlives_the_program(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every change is on disk at once; a write that fails midway leaves the file before it."""
    path = tmp_path / "session.safetensors"
    editor = pipelines.edit_nerf(folder, instance=1, session=path)
    codes = editor.apply("a red chair").codes
    editor.apply("a wide chair").undo()

    def breaks(tensors: Any, target: Path, metadata: Any) -> None:
        target.write_bytes(b"half")
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(editing_session, "save_file", breaks)
        with pytest.raises(OSError, match="could not write"):
            editor.apply("a blue chair")
    again = pipelines.edit_nerf(folder, session=path)
    assert same(again.codes, codes)
    assert [step.label for step in again.history.steps] == ["instance 1", "a red chair", "a wide chair"]
    again.redo()
    assert [path.name] == [child.name for child in tmp_path.iterdir()]


def test_saved_edits_of_others_and_damaged_ones_are_named(editor: Editor, folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "edit.safetensors"
    editor.save(path)
    torch.manual_seed(9)
    other = ConditionalModel(
        ConditionalField(FAMILIES["cars"].bounds, SMALL), torch.randn(3, 4), torch.randn(3, 3), "cars"
    )
    other.save(tmp_path / "cars")
    with pytest.raises(ValueError, match="was made with the model .*, whose codes mean something else"):
        pipelines.edit_nerf(tmp_path / "cars").load(path)
    with pytest.raises(ValueError, match="this mapper was trained with the field"):
        pipelines.edit_nerf(tmp_path / "cars", mapper=folder / "mapper")
    with pytest.raises(FileNotFoundError, match="holds no mapper of codes"):
        pipelines.edit_nerf(tmp_path / "cars", method="mapper")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match="is not a saved edit that can be read"):
        editor.load(path)
    with pytest.raises(FileNotFoundError, match="there is no saved edit"):
        editor.load(tmp_path / "none")


def test_bad_input_is_named(editor: Editor, tmp_path: Path) -> None:
    before = editor.codes
    nan = torch.full((4,), torch.nan)
    for act, message in (
        (lambda: editor.apply(), "give either a text or an exemplar"),
        (lambda: editor.apply("a", exemplar=disc()), "give either a text or an exemplar"),
        (lambda: editor.apply("  "), "the text is empty; say what"),
        (lambda: editor.apply("a red chair", shape=False, appearance=False), "neither shape nor appearance may change"),
        (lambda: editor.apply("a red chair", strength=float("nan")), "strength must be a finite number"),
        (lambda: editor.apply("a red chair", strength=1e3), "standard deviations .*; lower the strength"),
        (lambda: editor.apply(exemplar=tmp_path / "none.png"), "there is no picture"),
        (lambda: editor.apply(exemplar=Image.new("RGB", (40, 40))), "the exemplar shows no object"),
        (lambda: editor.invert(Image.new("RGB", (40, 40))), "the picture shows no object"),
        (lambda: editor.instance(6), "instance 6 does not exist; there are 0..5"),
        (lambda: editor.use(nan, before[1]), "shape_code must be 4 finite numbers"),
        (lambda: editor.use(before[0][:3], before[1]), "shape_code must be 4 finite numbers"),
        (lambda: editor.use(before[0] + 500, before[1]), "the shape code lies .* standard deviations"),
        (lambda: View(size=0), "size must be at least 1 pixel"),
        (lambda: pipelines.edit_nerf(editor.name, instance=1, seed=1), "either an instance or a seed"),
    ):
        with pytest.raises(ValueError, match=message):
            act()
    assert same(editor.codes, before)


def test_a_strange_text_is_warned_of_and_done(editor: Editor, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        editor.apply("a tall red chair")
        assert not caplog.records
        editor.apply("a cat", strength=0.2)
    assert "'a cat' is far from the captions of chairs (similarity 0." in caplog.text
    assert editor.history.current == 2


def test_the_closed_form_and_optimisation_take_a_mapper_s_place(folder: Path) -> None:
    """Each finds another edit; the ridge is fitted when it is first needed."""
    quick = OptimizerConfig(steps=1, views=1, objective=ObjectiveConfig(size=8))
    edited = [
        pipelines.edit_nerf(folder, method=method, optimizer=quick).apply("a red chair", shape=False).codes
        for method in (None, "ridge", "optimize")
    ]
    assert all(torch.equal(codes[0], edited[0][0]) for codes in edited)
    assert len({tuple(codes[1].tolist()) for codes in edited}) == 3


def test_help_needs_no_torch() -> None:
    code = (
        "import sys\nfrom pipelines.cli import main\n"
        "try: main(['edit-nerf', '--help'])\nexcept SystemExit: pass\nassert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--exemplar" in done.stdout


def test_a_picture_is_inverted_and_edited(editor: Editor) -> None:
    quick = InversionConfig(size=8, iterations=2, starts=1, screening=1)
    found = editor.invert(disc().convert("RGBA"), config=quick)
    assert same(editor.codes, (found.shape_code, found.appearance_code))
    assert editor.history.now.label == "picture"
    editor.apply("a red chair", strength=0.1)
    assert editor.render(found.view(8)).size == (8, 8)


@pytest.mark.slow
def test_an_exported_object_is_a_run_of_another_family(editor: Editor, tmp_path: Path) -> None:
    editor.apply("a red chair").export(tmp_path / "run", field="voxel", steps=2)
    run = load_run(tmp_path / "run")
    assert run.field.name == "voxel"
    assert run.draw(VIEW.camera(editor.model)).color.shape == (12, 12, 3)


def test_the_command_writes_pictures_and_a_report(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["edit-nerf", "--model", str(folder), "--output", str(tmp_path / "red"), "--size", "16", "--views", "2"]
    assert main([*words, "--instance", "3", "--text", "a red chair", "--no-shape"]) == 0
    assert str(tmp_path / "red" / "after.png") in capsys.readouterr().out
    names = {"before.png", "after.png", "turntable.gif", "edit.safetensors", "report.json"}
    assert {path.name for path in (tmp_path / "red").iterdir()} == names
    report = json.loads((tmp_path / "red" / "report.json").read_text())
    assert report["object"] == "instance 3"
    assert report["edit"]["target"] == "a red chair"
    before, after = (report["figures"][name] for name in ("before", "after"))
    assert before["shape_deviation"] == after["shape_deviation"]
    assert before["appearance_deviation"] != after["appearance_deviation"]
    with Image.open(tmp_path / "red" / "turntable.gif") as film:
        assert (film.size, getattr(film, "n_frames", 1)) == ((128, 64), 2)
    for more, message in (
        ([], "say what to do: give a text, an exemplar, or a picture"),
        (["--text", "a", "--size", "0"], "size must be at least 1 pixel, got 0"),
        (["--text", "a", "--views", "0"], "views must be at least 1"),
        (["--text", "a", "--strength", "nan"], "strength must be a finite number, got nan"),
        (["--text", "a", "--instance", "99"], "instance 99 does not exist"),
        (["--image", "x.png", "--instance", "1"], "give either a picture to find the object in, or an instance"),
    ):
        assert main([*words, "--overwrite", *more]) == 2
        (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
        assert message in line
    assert main(["edit-nerf", "--model", "nano-trucks", "--text", "a", "--output", str(tmp_path / "x")]) == 2


def test_a_picture_alone_is_only_found(folder: Path, tmp_path: Path) -> None:
    quick = InversionConfig(size=8, iterations=2, starts=1, screening=1)
    report = edit_to_folder(tmp_path / "out", model=folder, image=disc(), size=8, views=1, inversion=quick)
    assert set(report) == {"model", "clip", "inversion", "object", "figures"}
    assert set(report["inversion"]) == {"psnr", "azimuth", "elevation", "seconds"}


def test_a_strength_that_is_no_number_is_refused_before_a_model_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="strength must be a finite number, got nan"):
        edit_to_folder(tmp_path / "out", model="nowhere", text="a tall chair", strength=float("nan"))
    assert not (tmp_path / "out").exists()


def test_the_editor_loads_no_training_code() -> None:
    """Importing it loads at most 50 of our own modules: no trainer, no training task, no reader of scenes."""
    code = (
        "import sys, pipelines.editing.editor\n"
        "print(*(m for m in sys.modules if m.split('.')[0] in ('mappers', 'nerf', 'pipelines', 'demos', 'configs')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert len(loaded) <= 50, sorted(loaded)
    training = ("mappers.training.trainer", "mappers.v2a", "nerf.scenes.loading", "nerf.training")
    rooms = tuple(f"nerf.conditional.{room}." for room in ("decoder", "inversion", "mapping"))
    assert not [name for name in loaded if name in training or name.startswith(rooms)]


def test_functions_have_the_arguments_that_the_command_declares() -> None:
    declared_by(ObjectOptions)(edit_nerf)
    declared_by(EditOptions)(Editor.apply)
