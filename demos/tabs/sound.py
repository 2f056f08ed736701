"""Tab: a sound for a picture or a video."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import gradio as gr

from ..pages import Form, cancelling, on
from ..records import Record, Task
from ..visitors import State, Studio, check_text, refusal, refusals
from . import sound_jobs as jobs
from .sound_layout import Page, layout


class Handlers:
    """What the tab's events do; each returns the values of the components that it is wired to."""

    def __init__(self, studio: Studio):
        self.studio = studio

    def listen(
        self, picture: str | None, video: str | None, prompt: str, negative_prompt: str, duration: float | None,
        candidates: int, model: str, seed: float, visitor: str,
    ) -> Generator[State, None, tuple[Any, ...]]:  # fmt: skip
        """Make sounds."""
        file = self._film(video) if video else self.studio.check_picture(
            picture, "there is no picture yet; drop one or choose an example"
        )  # fmt: skip
        longest = self.studio.limits.sound_seconds
        if duration is not None and not 0 < duration <= longest:
            raise refusal(f"a sound of {duration:g} seconds is not possible; ask for {longest:g} at most")
        prompt, negative_prompt = check_text(prompt, "prompt"), check_text(negative_prompt, "negative prompt")
        settings = {
            "prompt": prompt, "negative_prompt": negative_prompt,
            "duration": duration, "candidates": int(candidates), "model": model, "seed": int(seed),
        }  # fmt: skip
        title = f"Sound of {Path(file).name}" + (f", {prompt}" if prompt.strip() else "")
        record = yield from self.studio.work(
            visitor, jobs.listen, Task("sound", title, settings, {"picture": picture, "video": video}),
            file=file, film=bool(video), **settings,
        )  # fmt: skip
        return shown(record)

    def _film(self, video: str) -> str:
        with refusals():
            seconds = jobs.seconds_of(video)
        longest = self.studio.limits.sound_seconds
        if seconds > longest:
            raise refusal(f"the video has {seconds:.0f} seconds; at most {longest:g} are possible, so cut it")
        return video


def shown(record: Record) -> tuple[Any, ...]:
    """Values of the sounds, the film and the spectrogram."""
    made = record.made
    scores = made["scores"] or [None] * len(made["sounds"])
    sounds = [
        gr.Audio(value=path, visible=True, label=_label(i, score, len(scores)))
        for i, (path, score) in enumerate(zip(made["sounds"], scores, strict=True))
    ]
    sounds += [gr.Audio(value=None, visible=False) for _ in range(jobs.MOST - len(sounds))]
    return *sounds, gr.Video(value=made["film"], visible=made["film"] is not None), made["spectrogram"]


def _label(i: int, score: float | None, count: int) -> str:
    fit = "" if score is None else f", fit to the picture {score:.2f}"
    return ("Sound" if count == 1 else "Best sound" if i == 0 else f"Candidate {i + 1}") + fit


def tab(studio: Studio, visitor: gr.BrowserState) -> Form:
    """Build the tab."""
    page, handlers = layout(studio), Handlers(studio)
    outputs = [*page.sounds, page.film, page.spectrogram]
    on(
        page.at.pressed, handlers.listen, [*_given(page), visitor], outputs,
        at=page.at, may_be_empty=[page.duration], api_name="vision_to_audio",
    )  # fmt: skip
    cancelling(studio, visitor, page.at, "sound")
    # Of a picture and a video the latest counts.
    silent: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    page.picture.upload(lambda: None, None, page.video, **silent)
    page.video.upload(lambda: None, None, page.picture, **silent)

    def show(record: Record) -> dict[Any, Any]:
        names = ("picture", "video", "prompt", "negative_prompt", "duration", "candidates", "model", "seed")
        settings = {one: record.settings.get(name) for one, name in zip(_given(page), names, strict=True)}
        return settings | dict(zip(outputs, shown(record), strict=True))

    return Form([*_given(page), *outputs], show)


def _given(page: Page) -> list[Any]:
    return [
        page.picture, page.video, page.prompt, page.negative_prompt, page.duration, page.candidates, page.model,
        page.seed,
    ]  # fmt: skip
