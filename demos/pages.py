"""How a page shows things: pictures without Share buttons, uploads as they are, and messages next to the buttons."""

from __future__ import annotations

import inspect
import logging
from abc import ABCMeta
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from html import escape
from typing import Any

import gradio as gr

from .jobs import Cancelled, Waiting
from .records import Record
from .visitors import State, Studio, refusal

logger = logging.getLogger(__name__)

LOOKED_AT: list[Any] = ["download", "fullscreen"]
"""Buttons of a picture; Gradio's own list also has Share, which works on Hugging Face's servers alone."""
FIGURES = ("train/loss", "train/psnr", "val/psnr_to_teacher")
"""Of a job's metrics, those that are shown."""


def component(name: str, base: type, **members: Any) -> Any:
    """A component class of the app's own. Gradio's metaclass, which writes .pyi files, is passed by."""
    return ABCMeta.__new__(type(base), name, (base,), {"is_template": True, "__module__": __name__, **members})


def path_of(_: Any, payload: Any) -> str | None:
    """Path of a file as a visitor sent it: what is wrong with it is for the handler to say."""
    return payload.path if payload else None


def paths_of(_: Any, payload: Any) -> list[str] | None:
    """Paths of pictures as a visitor sent them."""
    return [one.image.path for one in payload.root if hasattr(one, "image")] if payload else None


Note = component("Note", gr.HTML, skip_api=True)
"""A message next to a button; it is no value of the page's programming interface."""
Upload = component("Upload", gr.Image, preprocess=path_of)
Uploads = component("Uploads", gr.Gallery, preprocess=paths_of)
Film = component("Film", gr.Video, preprocess=path_of)


def upload(label: str, **named: Any) -> gr.Image:
    """A place for one picture."""
    return Upload(
        label=label, sources=["upload", "clipboard"], type="filepath", **{"height": 180, "buttons": []} | named
    )


def uploads(label: str, **named: Any) -> gr.Gallery:
    """A place for several pictures."""
    return Uploads(
        label=label, interactive=True, file_types=["image"], sources=["upload"], buttons=[],
        **{"columns": 4, "height": 180, "object_fit": "contain"} | named,
    )  # fmt: skip


def film_upload(label: str, **named: Any) -> gr.Video:
    """A place for a video."""
    return Film(label=label, sources=["upload"], buttons=[], **{"height": 180} | named)


def still(label: str, alt_text: str, **named: Any) -> gr.Image:
    """A picture that a job makes."""
    return gr.Image(label=label, alt_text=alt_text, interactive=False, buttons=LOOKED_AT, **{"height": 280} | named)


def stills(label: str, **named: Any) -> gr.Gallery:
    """Pictures that a job makes."""
    return gr.Gallery(
        label=label,
        interactive=False,
        buttons=LOOKED_AT,
        **{"columns": 4, "height": 280, "object_fit": "contain"} | named,
    )


def heard(label: str, **named: Any) -> gr.Audio:
    """A sound that a job makes."""
    return gr.Audio(label=label, type="filepath", interactive=False, buttons=["download"], **named)


def seen(label: str, **named: Any) -> gr.Video:
    """A film that a job makes."""
    return gr.Video(label=label, interactive=False, buttons=["download"], **{"height": 280} | named)


def compared(label: str, **named: Any) -> gr.ImageSlider:
    """Two pictures with a line to drag between them."""
    return gr.ImageSlider(label=label, interactive=False, buttons=LOOKED_AT, **named)


@dataclass(frozen=True)
class Reply:
    """What a handler returns to say something too."""

    values: tuple[Any, ...]
    text: str


@dataclass(frozen=True)
class Desk:
    """What surrounds the button of an event: where its messages go, and which buttons wait for one another."""

    note: gr.HTML
    start: gr.Button | None = None
    stop: gr.Button | None = None

    @property
    def pressed(self) -> Any:
        """The event of its button."""
        return getattr(self.start, "click")  # noqa: B009

    def shows(self, message: str, *, busy: bool) -> dict[Any, Any]:
        """Updates of the page: a message, and which of the buttons can be pressed."""
        buttons = {self.start: not busy, self.stop: busy}
        return {self.note: message} | {
            button: gr.update(interactive=free) for button, free in buttons.items() if button is not None
        }


def desk(title: str, *, cancel: bool = True, ready: str = "") -> Desk:
    """A button that starts a job, one that cancels it, and the place of its messages below them."""
    with gr.Row():
        start = gr.Button(title, variant="primary", min_width=120)
        stop = gr.Button("Cancel", interactive=False, min_width=80) if cancel else None
    return Desk(Note(said(ready) if ready else ""), start, stop)


def said(text: str, kind: str = "said") -> str:
    """A message as HTML: the text is never taken for HTML, and is not shortened.

    Args:
        text: what it says.
        kind: "said"; "busy" for what goes on, or "refused" for what went wrong.
    """
    role = "alert" if kind == "refused" else "status"
    return f'<div class="note {kind}" role="{role}">{escape(text)}</div>' if text else ""


def shown(state: State) -> str:
    """The one display of a job's progress, as HTML: its place in the queue, steps, or seconds."""
    if isinstance(state, str):
        return said(state, "busy")
    if isinstance(state, Waiting):
        jobs = "1 job is" if state.before == 1 else f"{state.before} jobs are"
        return f'<div class="note busy" role="status">Waiting: {jobs} before yours.</div>'
    step = int(state.metrics.get("step", 0))
    words, bar = [f"{state.seconds:.0f} s"], "<progress aria-label='Progress'></progress>"
    if state.steps and step:
        step = min(step, state.steps)
        words.insert(0, f"step {step} of {state.steps}")
        bar = f"<progress aria-label='Progress' max='{state.steps}' value='{step}'></progress>"
    words += [f"{name.split('/')[-1]} {state.metrics[name]:.3g}" for name in FIGURES if name in state.metrics]
    return f'<div class="note busy" role="status">{bar} {escape(", ".join(words))}</div>'


def answering(
    handler: Callable[..., Any], at: Desk, outputs: Sequence[Any], numbers: Mapping[int, str] | None = None
) -> Callable[..., Iterator[Any]]:
    """A handler for Gradio: progress, refusals and what else is said go to the note; the rest of the page stays.

    A refusal is also raised, without being shown a second time, so that programs get an exception.

    Args:
        handler: returns the values of the outputs, or `Reply`; a generator yields `Waiting` and `Progress` before it.
        at: where the messages go.
        outputs: the components.
        numbers: arguments that must be numbers, by their place, and what the page calls them: a field can be emptied.
    """

    @wraps(handler)
    def answered(*arguments: Any, **named: Any) -> Iterator[Any]:
        try:
            for place, label in (numbers or {}).items():
                if arguments[place] is None:
                    raise refusal(f"the field {label!r} is empty; enter a number")
            if inspect.isgeneratorfunction(handler):
                values = yield from _progress(handler(*arguments, **named), at)
            else:
                values = handler(*arguments, **named)
        except Cancelled as cancelled:
            yield at.shows(said(f"{str(cancelled).capitalize()}."), busy=False)
        except gr.Error as error:
            yield at.shows(said(_sentence(error.message), "refused"), busy=False)
            raise
        except Exception as error:
            logger.exception("a bug in %s", handler.__qualname__)
            message = f"This is a bug, sorry ({type(error).__name__}). The app's log has the details."
            yield at.shows(said(message, "refused"), busy=False)
            raise refusal(message) from None
        else:
            text = ""
            if isinstance(values, Reply):
                text, values = values.text, values.values
            elif len(outputs) == 1:
                values = (values,)
            skipped = values == gr.skip() or values == (gr.skip(),)
            shows = {} if skipped else dict(zip(outputs, values, strict=True))
            yield at.shows(said(text), busy=False) | shows

    return answered


def _progress(states: Generator[State, None, Any], at: Desk) -> Generator[Any, None, Any]:
    """Shows what a job yields, once for each change; gives what it returns."""
    last = None
    try:
        while True:
            try:
                message = shown(next(states))
            except StopIteration as ended:
                return ended.value
            if message != last:
                last = message
                yield at.shows(message, busy=True)
    finally:
        states.close()


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def on(
    triggers: Any, handler: Callable[..., Any], inputs: Any, outputs: Sequence[Any], *, at: Desk,
    may_be_empty: Sequence[Any] = (), **named: Any,
) -> Any:  # fmt: skip
    """Wire an event; `answering` says what becomes of its messages. Jobs wait in the worker's queue, not Gradio's.

    A number that is empty is refused, unless its field is one of ``may_be_empty``.
    """
    given = inputs if isinstance(inputs, list | tuple) else [] if inputs is None else [inputs]
    numbers = {
        place: str(one.label) for place, one in enumerate(given)
        if isinstance(one, gr.Number | gr.Slider) and not any(one is other for other in may_be_empty)
    }  # fmt: skip
    components = [component for component in (at.note, at.start, at.stop) if component is not None]
    wired = answering(handler, at, outputs, numbers), inputs, [*outputs, *components]
    options = {"show_progress": "hidden", "concurrency_limit": None} | named
    return gr.on(triggers, *wired, **options)


def cancelling(studio: Studio, visitor: gr.BrowserState, at: Desk, tab: str) -> None:
    """Wire the Cancel button of a desk: it takes back the visitor's jobs of the tab, waiting or running."""
    if at.stop is not None:
        at.stop.click(
            lambda visitor: said(studio.cancel(visitor, tab)), visitor, at.note,
            queue=False, show_progress="hidden", api_visibility="private",
        )  # fmt: skip


@dataclass(frozen=True)
class Form:
    """A tab as the rest of the page knows it."""

    components: Sequence[Any]
    """All that `show` may set."""
    show: Callable[[Record], dict[Any, Any]]
    """Values of components for a finished job, its settings and what it made."""
    words: Sequence[gr.Dropdown] = ()
    """Lists of learned words, the one that is drawn first."""
    needs_word: bool = False
    """Whether one of the first list has to be chosen."""
    prompts: gr.Textbox | None = None
    """What is drawn with them."""
    send: gr.Button | None = None
    """Takes the chosen word to the other tab that draws words."""
