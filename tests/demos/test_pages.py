"""Messages beside the buttons: refusals are whole and escaped, results stay, and there is one display of progress."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr
import pytest

from demos.jobs import Cancelled, Progress, Waiting
from demos.pages import Desk, Note, Reply, Uploads, answering, said, shown
from demos.visitors import refusal

WORD = '<img src=x onerror="alert(1)">'


@pytest.fixture
def at() -> Desk:
    return Desk(Note(), gr.Button("Start"), gr.Button("Cancel"))


def notes(handler: Any, at: Desk, outputs: list[Any]) -> list[dict[Any, Any]]:
    return list(answering(handler, at, outputs)())


def test_a_refusal_is_whole_and_escaped_and_changes_no_output(at: Desk) -> None:
    out = gr.Textbox()
    message = f"the prompt does not have the word {WORD} in it; add it" + " x" * 300

    def handler() -> None:
        raise refusal(message)

    events = answering(handler, at, [out])()
    update = next(events)
    assert out not in update
    note = update[at.note]
    assert "<img" not in note
    assert "&lt;img src=x onerror=&quot;alert(1)&quot;&gt; in it; add it" in note
    assert note.count(" x") >= 300
    assert 'role="alert"' in note
    with pytest.raises(gr.Error, match="the prompt does not have") as caught:
        next(events)
    assert caught.value.visible is False  # no second message, and no red block in the place of a result


def test_progress_is_told_once_for_each_change_and_the_buttons_follow(at: Desk) -> None:
    out = gr.Textbox()

    def handler() -> Iterator[Any]:
        yield Waiting(1)
        yield Progress(1.0)
        yield Progress(1.2)
        yield Progress(2.0, {"step": 5, "train/loss": 0.25}, steps=20)
        return "made"

    first, second, third, last = notes(handler, at, [out])
    assert "Waiting: 1 job is before yours" in first[at.note]
    assert first[at.start]["interactive"] is False
    assert first[at.stop]["interactive"] is True
    assert "1 s" in second[at.note]
    assert "value=" not in second[at.note]
    assert "step 5 of 20, 2 s, loss 0.25" in third[at.note]
    assert "max='20' value='5'" in third[at.note]
    assert last[out] == "made"
    assert last[at.note] == ""
    assert last[at.start]["interactive"] is True


def test_a_cancelled_job_says_so_and_changes_no_output(at: Desk) -> None:
    def handler() -> Iterator[Any]:
        yield Waiting(2)
        raise Cancelled("the job was cancelled")

    *_, last = notes(handler, at, [gr.Textbox()])
    assert last.keys() == {at.note, at.start, at.stop}
    assert "The job was cancelled." in last[at.note]


def test_a_page_that_is_closed_closes_the_job(at: Desk) -> None:
    closed = []

    def handler() -> Iterator[Any]:
        try:
            yield Progress(0.0)
            yield Progress(1.0)
        finally:
            closed.append(True)

    events = answering(handler, at, [])()
    next(events)
    events.close()  # pyright: ignore[reportAttributeAccessIssue]
    assert closed == [True]


def test_a_bug_is_one_sentence_and_a_warning_comes_with_the_result(at: Desk, caplog: pytest.LogCaptureFixture) -> None:
    out = gr.Textbox()

    def broken() -> None:
        raise KeyError("x")

    events = answering(broken, at, [out])()
    assert "This is a bug, sorry (KeyError)" in next(events)[at.note]
    with pytest.raises(gr.Error, match="bug"):
        next(events)
    assert "a bug in" in caplog.text

    (reply,) = notes(lambda: Reply(("made",), "but <odd>"), at, [out])
    assert (reply[out], "but &lt;odd&gt;" in reply[at.note]) == ("made", True)
    (kept,) = notes(lambda: gr.skip(), at, [out])
    assert out not in kept


def test_texts_of_jobs_are_escaped() -> None:
    assert said("") == ""
    assert "<b>" not in said("<b>") + shown("<b>")


def test_uploads_come_as_they_were_sent(tmp_path: Any) -> None:
    path = tmp_path / "broken.png"
    path.write_bytes(b"no picture")
    given = Uploads().data_model(root=[{"image": {"path": str(path)}}])  # pyright: ignore[reportCallIssue]
    assert Uploads().preprocess(given) == [str(path)]
    assert Uploads().preprocess(None) is None


def test_a_number_that_is_empty_is_refused_by_its_label(at: Desk) -> None:
    """A visitor can empty a field; its value is then none."""
    out = gr.Textbox()
    answered = answering(lambda seed, length: f"{seed} {length}", at, [out], {0: "Seed"})
    (made,) = answered(3, None)
    assert made[out] == "3 None"
    refused = answered(None, None)
    assert "The field &#x27;Seed&#x27; is empty; enter a number." in next(refused)[at.note]
    with pytest.raises(gr.Error, match="the field 'Seed' is empty"):
        next(refused)
