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

from demos.app import TABS, build, launch
from demos.jobs import Cancelled, JobError, Progress, Worker
from demos.limits import Limits
from demos.records import Task
from demos.tabs.editing_models import found
from demos.tabs.personalize_jobs import loaded
from demos.visitors import Studio, new_visitor
from mappers.neti import NeTIMapper
from pipelines.personalization.concepts import Concept, save_concept
from pipelines.plugging.fingerprint import Fingerprint


def test_an_uploaded_word_does_not_say_which_model_is_loaded(tmp_path: Path) -> None:
    word = Concept("<x>", "toy", NeTIMapper(2, 8, 0.4), Fingerprint(2, 8, [0.0] * 16), "/somewhere/else")
    path = save_concept(word, tmp_path / "concept.safetensors")
    with (
        pytest.raises(ValueError, match="learned on 'else'; this app has nano"),
        loaded(str(path), models=("nano",)),
    ):
        pass


def work_of(worker: Worker, root: Path, visitor: str) -> Any:
    """What a job of a visitor yields and returns."""
    return Studio(root, worker=worker).work(visitor, print, Task("sound", "A sound"))


def test_a_job_that_gives_no_result_leaves_nothing_behind(tmp_path: Path) -> None:
    class Ended(Worker):
        def __init__(self, error: JobError):
            super().__init__()
            self.error = error

        def run(self, *_: Any, folder: Path, **__: Any) -> Iterator[Any]:
            folder.mkdir(parents=True)
            yield Progress(1.0)
            raise self.error

    visitor = new_visitor()
    with pytest.raises(Cancelled):
        list(work_of(Ended(Cancelled("the job was cancelled")), tmp_path, visitor))
    with pytest.raises(gr.Error, match="no memory is left in file") as caught:
        list(work_of(Ended(JobError("no memory is left in /somewhere/private/file")), tmp_path, visitor))
    assert caught.value.visible is False
    assert list((tmp_path / visitor).iterdir()) == []


def test_what_no_page_uses_goes_when_a_job_is_done(tmp_path: Path) -> None:
    class Done(Worker):
        def run(self, *_: Any, folder: Path, **__: Any) -> Iterator[Any]:
            for name in ("checkpoints/step_1/optimizer.safetensors", "stage_0/checkpoints/a.safetensors", "made.png"):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(b"x")
            yield {"picture": str(folder / "made.png")}

    visitor = new_visitor()
    list(work_of(Done(), tmp_path, visitor))
    (record,) = Studio(tmp_path).results(visitor)
    assert [path.name for path in record.files()] == ["made.png"]
    assert Path(record.made["picture"]).is_file()
    assert not list(record.folder.rglob("checkpoints"))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[gr.Blocks]:
    yield build(Studio(tmp_path_factory.mktemp("page"), categories=found(), limits=Limits(keep_hours=2)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        asyncio.set_event_loop(None)
        gc.collect()


@pytest.mark.filterwarnings("ignore")
def test_tabs_are_named_by_what_one_does(page: gr.Blocks) -> None:
    tabs = [block.label for block in page.blocks.values() if isinstance(block, gr.Tab)]
    assert tabs == ["Personalize", "Explore", "Sound", "3D fields", "Edit 3D", "Compress", "Results"]


@pytest.mark.filterwarnings("ignore")
def test_no_button_shares_and_nothing_to_undo_is_no_button_to_press(page: gr.Blocks) -> None:
    """Share works on Hugging Face's servers alone; Gradio's own list of buttons has it."""
    kinds = (gr.Image, gr.Gallery, gr.Audio)
    pictures = [block for block in page.blocks.values() if isinstance(block, kinds)]
    assert len(pictures) > 20
    for block in pictures:
        assert block.buttons is not None, block.label
        assert "share" not in block.buttons, block.label
    buttons = {b.value: b.interactive for b in page.blocks.values() if isinstance(b, gr.Button)}
    waiting = ("Undo", "Redo", "Start again", "Zoom out", "Whole map", "Cancel", "Use again", "Delete")
    assert [buttons[name] for name in waiting] == [False] * len(waiting)


@pytest.mark.filterwarnings("ignore")
def test_uploads_are_deleted_after_the_time_that_the_page_states(page: gr.Blocks) -> None:
    assert page.delete_cache == (3600, 7200)
    texts = [block.value for block in page.blocks.values() if isinstance(block, gr.Markdown)]
    assert any("deleted after 2 hours" in str(text) for text in texts)


@pytest.mark.filterwarnings("ignore")
def test_every_event_shows_its_progress_in_one_place(page: gr.Blocks) -> None:
    """That is the note; Gradio would lay a bar, and after a refusal a red block, over each output."""
    own = [event for event in page.fns.values() if event.outputs]
    assert own
    assert {event.show_progress for event in own} == {"hidden"}


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


def compress(client: Client, picture: Any, visitor: str) -> Any:
    whole = ("the whole picture, made smaller", 50, 50, "size", 200, 28)
    return client.predict(picture, *whole, visitor, api_name="/compress")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_picture_is_compressed_and_found_again(client: Client, tmp_path: Path) -> None:
    visitor = client.predict("", api_name="/visitor")
    assert client.predict(visitor, api_name="/visitor") == visitor
    Image.linear_gradient("L").resize((32, 32)).convert("RGB").save(tmp_path / "a.png")
    other, pair, table, file, _ = compress(client, handle_file(tmp_path / "a.png"), visitor)
    assert Path(file).stat().st_size <= 200
    assert f"| mapfield | {Path(file).stat().st_size} |" in table
    assert (other, len(pair)) == ("the picture itself", 2)  # neither JPEG nor AVIF is as small
    assert not client.predict(visitor, "gradient", "", api_name="/results")["value"]
    (one,) = client.predict(visitor, "200 bytes", "compress", api_name="/results")["value"]
    assert one["caption"] == "Compress: a.png in 200 bytes"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_bad_input_is_one_sentence(client: Client, tmp_path: Path) -> None:
    visitor = client.predict("", api_name="/visitor")
    (tmp_path / "a.png").write_bytes(b"no picture")
    wrong_picture = handle_file(tmp_path / "a.png")
    sound = ("", "", None, 1, "nano", 0)
    region = ("the whole picture, made smaller", 50, 50, "size", 200, 28)
    wrong = [
        ("/compress", (wrong_picture, *region, visitor), "a.png"),
        ("/draw", (None, "a photo of a <x>", 1, 0, 128, 128, 1, "", visitor), "no word is chosen"),
        ("/personalize", (None, "<x>", "object", "nano", 160, 0, visitor), "no pictures"),
        ("/personalize", (None, "<x>", "object", "/etc", 160, 0, visitor), "not in the list of choices"),
        ("/vision_to_audio", (wrong_picture, None, *sound, visitor), "a.png"),
        ("/vision_to_audio", (None, None, *sound, visitor), "no picture yet"),
        ("/vision_to_audio", (None, None, "", "", None, 1, "/etc", 0, visitor), "not in the list of choices"),
        ("/explore", ("a photo of a bell", 1, 4, 0, "", visitor), "2 to 64"),
        ("/explore", ("a " * 100_000, 2, 4, 0, "", visitor), "the prompt has 199999 characters"),
        ("/zoom_out", (), "no map yet"),
        ("/look", (30, 25, visitor), "no field to turn"),
        ("/compress", (wrong_picture, *region, "../../etc"), "a.png|visitor"),
        ("/results", ("../../etc", "", ""), "visitor"),
    ]
    for name, arguments, message in wrong:
        with warnings.catch_warnings(), pytest.raises(Exception, match=message):
            client.predict(*arguments, api_name=name)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_server_keeps_no_history_and_asks_for_a_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("GRADIO_SERVER_PORT", str(free.getsockname()[1]))
    page = launch(["compress"], tmp_path, users={"anna": "secret"}, wait=False)
    try:
        assert page.run_history is False
        with pytest.raises(Exception, match="(?i)auth|login|401"):
            Client(page.local_url, verbose=False)
        with pytest.raises(Exception, match="(?i)auth|login|credentials"):
            Client(page.local_url, verbose=False, auth=("anna", "wrong"))
        visitor = Client(page.local_url, verbose=False, auth=("anna", "secret")).predict("", api_name="/visitor")
        assert len(visitor) == 32
    finally:
        page.close()
