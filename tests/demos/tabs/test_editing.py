"""The tab Edit: edits and the way back, views, visitors apart, jobs, and what is refused, on a tiny random model."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import socket
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
from gradio_client import Client, handle_file
from PIL import Image, ImageDraw
from safetensors.torch import load_file

from demos.app import build, launch
from demos.tabs import editing
from demos.tabs import editing_jobs as edits
from demos.tabs.editing_jobs import PREVIEW, SESSION, SHOWN, START, Place
from demos.tabs.editing_layout import EXAMPLES
from demos.tabs.editing_models import found
from demos.visitors import Studio, new_visitor
from nerf.conditional import model
from nerf.conditional.inversion import inversion

OPTIONS: dict[str, Any] = {"exemplar": None, "strength": 1.0, "shape": True, "appearance": True}
START_PLACE = Place("chairs", 2)


@pytest.fixture(autouse=True)
def coarse_rays(monkeypatch: pytest.MonkeyPatch) -> None:
    """How well pictures show the object is tested elsewhere."""
    monkeypatch.setattr(model, "INTERVALS", 24)


@pytest.fixture
def studio(chairs: Path, tmp_path: Path) -> Studio:
    return Studio(tmp_path / "app", categories=found([str(chairs)]))


@pytest.fixture
def disc(tmp_path: Path) -> str:
    image = Image.new("RGB", (900, 600), "white")
    ImageDraw.Draw(image).ellipse((300, 150, 600, 450), fill=(200, 30, 30))
    image.save(tmp_path / "disc.png")
    return str(tmp_path / "disc.png")


def same(one: Image.Image, other: Image.Image) -> bool:
    return np.array_equal(np.asarray(one), np.asarray(other))


def codes(place: Place) -> list[list[float]]:
    assert place.session is not None
    return load_file(place.session)["shape_codes"].tolist()


def close_loops() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        asyncio.set_event_loop(None)
        gc.collect()


@pytest.mark.usefixtures("loops")
@pytest.mark.filterwarnings("ignore")
def test_without_a_model_the_tab_says_how_to_get_one(tmp_path: Path) -> None:
    page = json.dumps(build(Studio(tmp_path), ["editing"]).get_config_file(), default=str)
    assert "No category model (nano-chairs or nano-cars) is part of this installation; train one with" in page
    assert "Describe the object" not in page


def test_edits_are_undone_and_done_again_and_their_pictures_stay(studio: Studio, disc: str) -> None:
    visitor = new_visitor()
    (place, before, first, history, files, ways), doubt = edits.edit(
        studio, visitor, START_PLACE, START, text="a tall red chair", **OPTIONS
    )
    assert (history, doubt) == ("instance 2\n→ a tall red chair", "")
    assert files == [str(place.session)]
    assert ways == ("undo", "start_again")
    assert before.size == first.size == (SHOWN, SHOWN)
    assert not same(before, first)
    (again, _, second, history, *_), _ = edits.edit(
        studio, visitor, place, START, text=" ", **OPTIONS | {"exemplar": disc, "shape": False}
    )
    assert again == place
    assert history.splitlines() == ["instance 2", "a tall red chair", "→ exemplar"]
    shapes = codes(place)
    assert shapes[0] != shapes[1] == shapes[2]  # only its colours
    step = partial(edits.step, studio, visitor, place, START)
    assert same(step("undo")[2], first)
    assert same(step("redo")[2], second)
    begun = step("start_again")
    assert begun.ways == ("redo",)
    assert same(begun[1], before)
    assert same(begun[2], before)
    assert begun[3].startswith("→ instance 2")
    with pytest.raises(gr.Error, match="there is nothing to undo"):
        step("start_again")
    assert same(step("redo")[2], first)
    assert place.session is not None
    (record,) = studio.results(visitor)
    assert record.folder == place.session.parent
    assert {path.name for path in record.files()} == {SESSION, "after.png", "edit_01.png", "edit_02.png"}
    assert record.title == "chairs, instance 2, a tall red chair"  # where undo and redo left it
    with Image.open(record.made["after"]) as after:
        assert same(after.resize((SHOWN, SHOWN), Image.Resampling.BICUBIC), first)
    assert str(studio.root).encode() not in place.session.read_bytes()


@pytest.mark.usefixtures("loops")
@pytest.mark.filterwarnings("ignore")
def test_a_page_that_is_loaded_again_shows_the_newest_edits_without_a_model(studio: Studio) -> None:
    visitor = new_visitor()
    (place, *_), _ = edits.edit(studio, visitor, START_PLACE, START, text="a red chair", **OPTIONS)
    (record,) = studio.results(visitor)
    with gr.Blocks():
        form = editing.tab(studio, gr.BrowserState())
    others = Studio(studio.root, categories=studio.categories)
    shown = form.show(record)
    assert not others.editors.has("chairs")
    values = {component.label: value for component, value in shown.items() if getattr(component, "label", None)}
    assert (values["Model"], values["Object"]["value"], values["Describe the object"]) == ("chairs", 2, "a red chair")
    assert values["Done so far"] == "instance 2\n→ a red chair"
    assert Path(values["After"]).is_file()
    assert place in shown.values()
    assert {*shown} <= {*form.components}


def test_an_example_is_copied_before_it_is_changed(studio: Studio) -> None:
    owner, visitor = new_visitor(), new_visitor()
    (place, *_), _ = edits.edit(studio, owner, START_PLACE, START, text="a red chair", **OPTIONS)
    assert place.session is not None
    before = place.session.read_bytes()
    mine = edits.step(studio, visitor, place, START, "undo")
    assert mine.place.session is not None
    assert mine.place.session.is_relative_to(studio.folder(visitor))
    (further, *_), _ = edits.edit(studio, visitor, place, START, text="a wide chair", **OPTIONS)
    assert further.session not in (place.session, mine.place.session)
    assert place.session.read_bytes() == before


def returned(states: Any) -> Any:
    """What a handler returns after what it yields."""
    while True:
        try:
            next(states)
        except StopIteration as ended:
            return ended.value


def test_the_first_visit_tells_that_a_model_is_loaded(studio: Studio) -> None:
    handlers, page = editing.Handlers(studio), editing.PageState()
    first = handlers.enter(None, page)
    assert next(first) == "Loading the model chairs, which takes some seconds ..."
    assert returned(first)[5:6] == (Place("chairs", 0),)
    assert returned(handlers.enter(Place("chairs", 0), page)) == gr.skip()
    assert list(handlers.loading("chairs")) == []


def test_another_view_is_drawn_coarsely_and_then_sharply(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(editing, "SETTLED", 0.0)
    handlers, page, visitor = editing.Handlers(studio), editing.PageState(), new_visitor()
    given = ("chairs", 2, "a red chair", None, 1.0, True, True, *START, visitor, None, page)
    edited = returned(handlers.edit(*given)).values
    place = edited[0]
    assert page.sharp == START
    coarse = handlers.preview(300.0, 40.0, place, page)
    assert page.sharp is None
    small = coarse[1].resize((PREVIEW, PREVIEW), Image.Resampling.BICUBIC)
    assert not same(coarse[0], coarse[1])
    sharp = handlers.settle(300.0, 40.0, place, page)
    assert page.sharp == (300.0, 40.0)
    assert not same(sharp[1], edited[2])
    assert not same(sharp[1], coarse[1])
    near = sharp[1].resize((PREVIEW, PREVIEW), Image.Resampling.BOX)
    assert np.abs(np.asarray(near, float) - np.asarray(small, float)).mean() < 8  # the same view
    for late in (handlers.preview, handlers.settle):  # what comes up after the slider was let go changes nothing
        assert not any(isinstance(one, Image.Image) for one in late(300.0, 40.0, place, page))
    assert same(handlers.look(*START, place, page)[1], edited[2])

    def moves_on(studio: Studio, place: Place, angles: edits.Angles) -> Any:
        page.previews += 1
        return place, None, None

    page.sharp = None
    with monkeypatch.context() as patch:
        patch.setattr(edits, "look", moves_on)
        handlers.settle(10.0, 10.0, place, page)
    assert page.sharp is None


def test_another_object_or_model_begins_anew(studio: Studio, cars: Path) -> None:
    studio = Studio(studio.root, categories=(*studio.categories, *found([str(cars)])))
    handlers, page, visitor = editing.Handlers(studio), editing.PageState(), new_visitor()
    given = ("a red chair", None, 1.0, True, True, *START, visitor)
    place = returned(handlers.edit("chairs", 2, *given, None, page)).values[0]
    assert handlers.choose("chairs", 2, *START, place, page) == gr.skip()
    assert handlers.preview_object("chairs", 3, *START, place, page)[0] == Place("chairs", 3)
    assert page.sharp is None
    assert handlers.choose("chairs", 3, *START, Place("chairs", 3), page)[0] == Place("chairs", 3)
    text, instance, examples, other, *_ = returned(handlers.model("cars", *START, page))
    assert (text, instance["value"], other) == ("a long red car", 0, Place("cars", 0))
    assert examples["samples"] == [[text] for text in EXAMPLES["cars"]]
    # An edit of another object than the page has starts from that.
    other = returned(handlers.edit("cars", 1, *given, place, page)).values[0]
    assert (other.category, other.instance) == ("cars", 1)
    assert other.session != place.session


def test_two_visitors_do_not_see_each_other(studio: Studio) -> None:
    visitors = new_visitor(), new_visitor()
    places = [START_PLACE, Place("chairs", 4)]
    for text in ("a tall red chair", "a wide chair"):
        for i, visitor in enumerate(visitors):
            (places[i], *_), _ = edits.edit(studio, visitor, places[i], START, text=text, **OPTIONS)
    edits.step(studio, visitors[0], places[0], START, "undo")
    (_, _, _, histories, *_) = edits.look(studio, places[1], START)
    assert histories == "instance 4\na tall red chair\n→ a wide chair"
    (alone, *_), _ = edits.edit(studio, new_visitor(), Place("chairs", 4), START, text="a tall red chair", **OPTIONS)
    assert codes(alone) == codes(places[1])[:2]
    assert {str(place.session).split("/")[-3] for place in places} == {*visitors}


def test_what_cannot_be_done_is_one_sentence_without_folders(studio: Studio, disc: str, tmp_path: Path) -> None:
    visitor = new_visitor()
    (tmp_path / "wrong.png").write_bytes(b"no picture")
    Image.new("1", (6000, 5000)).save(tmp_path / "huge.png")
    Image.new("RGB", (40, 40)).save(tmp_path / "plain.png")
    edit = partial(edits.edit, studio, visitor, START_PLACE, START)
    wrong = [
        (lambda: edit(text=" ", **OPTIONS), "the text is empty; say what"),
        (lambda: edit(text="x" * 201, **OPTIONS), "the text has 201 characters"),
        (lambda: edit(text="a", **OPTIONS | {"shape": False, "appearance": False}), "neither shape nor appearance"),
        (lambda: edit(text="a", **OPTIONS | {"exemplar": disc}), "give either a text or an exemplar"),
        (lambda: edit(text="a red chair", **OPTIONS | {"strength": 1e3}), "lower the strength"),
        (lambda: edit(text="", **OPTIONS | {"exemplar": str(tmp_path / "wrong.png")}), "wrong.png is not a picture"),
        (lambda: edit(text="", **OPTIONS | {"exemplar": str(tmp_path / "huge.png")}), "huge.png has 6000x5000 pixels"),
        (lambda: edit(text="", **OPTIONS | {"exemplar": str(tmp_path / "plain.png")}), "the exemplar shows no object"),
        (lambda: edits.edit(studio, "../x", START_PLACE, START, text="a", **OPTIONS), "visitor's number"),
        (lambda: edits.look(studio, Place("chairs", 99), START), "instance 99 does not exist; there are 0..5"),
        (lambda: edits.look(studio, Place("/etc", 0), START), "has no model '/etc'"),
        (lambda: edits.look(studio, START_PLACE, (0.0, 91.0)), "elevation must be in"),
        (lambda: edits.look(studio, Place("chairs", 0, tmp_path / "gone"), START), "there is no saved edit gone"),
        (lambda: editing.Handlers(studio).look(0, 0, None, editing.PageState()), "there is no object yet"),
        (lambda: list(editing.Handlers(studio).turn(0, visitor, START_PLACE)), "no edit to film yet"),
        (lambda: list(editing.Handlers(studio).find("chairs", 0, None, 0, visitor, editing.PageState())), "no picture"),
    ]
    for act, message in wrong:
        with pytest.raises(gr.Error, match=message) as caught:
            act()
        assert str(tmp_path) not in str(caught.value)
    assert studio.results(visitor) == []


def test_a_strange_text_is_doubted(studio: Studio, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.CRITICAL):
        _, doubt = edits.edit(studio, new_visitor(), START_PLACE, START, text="a cat", **OPTIONS | {"strength": 0.2})
    assert doubt.startswith("'a cat' is unlike the captions of chairs")


def test_an_upload_keeps_its_transparency_and_loses_size(disc: str, tmp_path: Path) -> None:
    assert edits.upload(disc).size == (512, 341)
    assert edits.upload(disc).mode == "RGB"
    Image.new("RGBA", (600, 300), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    clear = edits.upload(str(tmp_path / "clear.png"))
    assert (clear.size, clear.getchannel("A").getextrema()) == ((512, 256), (0, 0))
    Image.new("I;16", (30, 20), 40_000).save(tmp_path / "deep.png")
    assert edits.upload(str(tmp_path / "deep.png")).mode == "RGB"


def test_jobs_find_an_object_and_turn_it_around(
    studio: Studio, disc: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = partial(inversion.InversionConfig, size=8, iterations=2, starts=1, screening=1)
    monkeypatch.setattr(inversion, "InversionConfig", quick)
    monkeypatch.setattr(edits, "VIEWS", 2)
    (category,) = studio.categories
    made = edits.find(category, disc, 5, tmp_path / "find")
    assert made["said"].endswith("; seed 5")
    assert {path.name for path in (tmp_path / "find").iterdir()} == {SESSION, "picture.png", "found.png"}
    seen = edits.look(studio, Place("chairs", 0, Path(made["session"])), made["angles"])
    assert seen[3] == "→ picture"
    film = edits.turn(category, Path(made["session"]), 20.0, tmp_path / "turn")["film"]
    with Image.open(film) as opened:
        assert (opened.size, getattr(opened, "n_frames", 1)) == ((2 * edits.TURNED, edits.TURNED), 2)
    assert (tmp_path / "turn" / "metrics.jsonl").read_text().splitlines()[-1] == '{"step": 2}'


@pytest.fixture(scope="module")
def address(chairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with socket.socket() as free, pytest.MonkeyPatch.context() as patch:
        free.bind(("127.0.0.1", 0))
        patch.setenv("GRADIO_SERVER_PORT", str(free.getsockname()[1]))
        patch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
        free.close()
        page = launch(["editing"], tmp_path_factory.mktemp("app"), categories=[str(chairs)], wait=False)
        yield page.local_url
        page.close()
        close_loops()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_endpoints_keep_each_page_s_place(address: str, disc: str) -> None:
    pages = [Client(address, verbose=False) for _ in range(2)]
    visitors = [page.predict("", api_name="/visitor") for page in pages]
    options = ("a tall red chair", None, 1, True, True, *START)
    for i, (page, visitor) in enumerate(zip(pages, visitors, strict=True)):
        assert page.predict(api_name="/enter")[7] == "→ instance 0"
        assert page.predict("chairs", 3 + i, *options, visitor, api_name="/edit")[2] == (
            f"instance {3 + i}\n→ a tall red chair"
        )
    assert pages[0].predict(*START, visitors[0], api_name="/undo")[2] == "→ instance 3\na tall red chair"
    before, after, history, files, film = pages[1].predict(
        "chairs", 4, "", handle_file(disc), 0.5, True, True, *START, visitors[1], api_name="/edit"
    )
    assert history == "instance 4\na tall red chair\n→ exemplar"
    assert film["value"] is None
    assert load_file(files[0])["shape_codes"].shape == (3, 4)
    with Image.open(before) as one, Image.open(after) as other:
        assert not same(one, other)
    film, files = pages[1].predict(20, visitors[1], api_name="/turntable")
    assert [Path(file).name for file in files] == [SESSION, "turntable.gif"]
    found_again: Any = pages[1].predict(visitors[1], "", "", api_name="/results")
    assert [one["caption"] for one in found_again["value"]] == [
        "Edit 3D: chairs 4 from all sides", "Edit 3D: chairs, instance 4, a tall red chair, exemplar",
    ]  # fmt: skip
    views = [pages[1].predict(*angles, api_name=name) for name in ("/preview", "/look_at") for angles in [(10, 10)]]
    assert views[0] != views[1]
    for name, arguments, message in (
        ("/undo", (*START, visitors[0]), "nothing to undo"),
        ("/edit", ("/etc", 0, *options, visitors[0]), "not in the list of choices"),
        ("/edit", ("chairs", 0, " ", *options[1:], visitors[0]), "the text is empty"),
        ("/edit", ("chairs", 0, *options, "../../etc"), "visitor"),
        ("/find", ("chairs", 0, None, 0, visitors[0]), "no picture yet"),
    ):
        with pytest.raises(Exception, match=message):
            pages[0].predict(*arguments, api_name=name)
