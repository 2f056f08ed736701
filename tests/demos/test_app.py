"""The app through its programming interface, on nano."""

from __future__ import annotations

import asyncio
import gc
import socket
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from gradio_client import Client, handle_file
from PIL import Image

from demos.app import TABS, launch
from demos.jobs import Cancelled, JobError, Progress, Worker
from demos.tabs.personalize_jobs import loaded
from demos.visitors import Studio, job, new_visitor
from mappers.neti import NeTIMapper
from pipelines.personalization.concepts import Concept, Fingerprint, save_concept


def test_visitors_numbers_are_no_paths(tmp_path: Path) -> None:
    studio = Studio(tmp_path)
    number = new_visitor()
    assert studio.folder(number) == tmp_path / number
    for wrong in ("", "..", "../" + number, number[:-1], number.upper() + "/", None):
        with pytest.raises(gr.Error, match="visitor"):
            studio.folder(wrong)  # pyright: ignore[reportArgumentType]


def test_results_are_one_visitors_and_the_latest_first(tmp_path: Path) -> None:
    studio, number = Studio(tmp_path), new_visitor()
    assert studio.results(number) == []
    for name in ("20260101-000000-draw", "20260102-000000-code"):
        (tmp_path / number / name).mkdir(parents=True)
        Image.new("RGB", (4, 4)).save(tmp_path / number / name / "a.png")
        (tmp_path / number / name / "concept.safetensors").write_bytes(b"")
    assert [name for _, name in studio.results(number)] == ["20260102-000000-code/a.png", "20260101-000000-draw/a.png"]
    assert studio.results(new_visitor()) == []


def test_an_uploaded_word_does_not_say_which_model_is_loaded(tmp_path: Path) -> None:
    word = Concept("<x>", "toy", NeTIMapper(2, 8, 0.4), Fingerprint(2, 8, [0.0] * 16), "/somewhere/else")
    path = save_concept(word, tmp_path / "concept.safetensors")
    with (
        pytest.raises(ValueError, match="learned on '/somewhere/else'; this app has nano"),
        loaded(str(path), models=("nano",)),
    ):
        pass


def test_a_cancelled_job_leaves_the_page_as_it_is_and_a_failed_one_does_not(tmp_path: Path) -> None:
    class Ended(Worker):
        def __init__(self, error: JobError):
            super().__init__()
            self.error = error

        def run(self, *_: Any, **__: Any) -> Iterator[Any]:
            yield Progress(1.0)
            raise self.error

    shown = []

    def press(error: JobError) -> Any:
        studio = Studio(tmp_path, worker=Ended(error))

        @job
        def handler(visitor: str) -> Any:
            return studio.work(visitor, print, progress=lambda *state: shown.append(state))  # pyright: ignore

        return handler(new_visitor())

    assert press(Cancelled("the job was cancelled")) == gr.skip()
    assert shown == [(0.0, "1 s")]
    with pytest.raises(gr.Error, match="no memory"):
        press(JobError("there is no memory left in /somewhere/private/"))


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with socket.socket() as free, pytest.MonkeyPatch.context() as patch:
        free.bind(("127.0.0.1", 0))
        patch.setenv("GRADIO_SERVER_PORT", str(free.getsockname()[1]))
        patch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
        free.close()
        page = launch(list(TABS), tmp_path_factory.mktemp("app"), wait=False)
        yield Client(page.local_url, verbose=False)
        page.close()
        with warnings.catch_warnings():  # gradio leaves its event loops open; not for a later test to stumble over
            warnings.simplefilter("ignore", ResourceWarning)
            asyncio.set_event_loop(None)
            gc.collect()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_picture_is_compressed_and_found_again(client: Client, tmp_path: Path) -> None:
    visitor = client.predict("", api_name="/visitor")
    assert client.predict(visitor, api_name="/visitor") == visitor
    Image.linear_gradient("L").resize((32, 32)).convert("RGB").save(tmp_path / "a.png")
    gallery, table, file, *_ = client.predict(handle_file(tmp_path / "a.png"), 200, visitor, api_name="/compress")
    assert Path(file).stat().st_size <= 200
    assert f"| mapfield | {Path(file).stat().st_size} |" in table
    assert [one["caption"] for one in gallery][:2] == ["input", "decoded"]
    found: Any = client.predict(visitor, api_name="/results")
    assert {one["caption"].split("/")[1] for one in found} >= {"input.png", "decoded.png"}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_bad_input_is_one_sentence(client: Client, tmp_path: Path) -> None:
    visitor = client.predict("", api_name="/visitor")
    (tmp_path / "a.png").write_bytes(b"no picture")
    wrong = [
        ("/compress", (handle_file(tmp_path / "a.png"), 200, visitor), "a.png"),
        ("/draw", (None, "a photo of a <x>", 1, 0, 128, 128, 1, None, visitor), "no word is learned"),
        ("/measure", (None, [handle_file(tmp_path / "a.png")], visitor), "no word is learned"),
        ("/personalize", (None, "<x>", "object", "nano", 160, 0, visitor), "no pictures"),
        ("/personalize", (None, "<x>", "object", "/etc", 160, 0, visitor), "not in the list of choices"),
        ("/vision_to_audio", (handle_file(tmp_path / "a.png"), "/etc", 1, 0, visitor), "not in the list of choices"),
        ("/explore", ("a photo of a bell", 1, 4, 0, None, visitor), "2 to 64"),
        ("/zoom_out", (), "no map yet"),
        ("/look", (30, 25, visitor), "no student"),
        ("/compress", (handle_file(tmp_path / "a.png"), 200, "../../etc"), "visitor"),
    ]
    for name, arguments, message in wrong:
        with warnings.catch_warnings(), pytest.raises(Exception, match=message):
            client.predict(*arguments, api_name=name)
