"""Components of the tab Edit 3D."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

from ..pages import Desk, compared, desk, still, upload
from ..visitors import Studio
from .editing_jobs import LONGEST, SHOWN, START, Way
from .editing_models import Category

EXAMPLES = {
    "chairs": ("a red chair", "a chair with thin blue legs", "a wide chair with a green back"),
    "cars": ("a long red car", "a tall yellow car", "a car with a spoiler and black wheels"),
}
"""One click away, by family."""


@dataclass(frozen=True)
class Controls:
    """What an edit is asked for with."""

    model: gr.Dropdown
    instance: gr.Slider
    text: gr.Textbox
    examples: gr.Dataset
    exemplar: gr.Image
    strength: gr.Slider
    shape: gr.Checkbox
    appearance: gr.Checkbox
    at: Desk


@dataclass(frozen=True)
class Views:
    """What is seen of it."""

    before: gr.Image
    after: gr.Image
    azimuth: gr.Slider
    elevation: gr.Slider
    steps: dict[Way, gr.Button]
    history: gr.Textbox
    turn: Desk
    film: gr.Image
    files: gr.File


@dataclass(frozen=True)
class Search:
    """The object of a picture."""

    picture: gr.Image
    seed: gr.Number
    at: Desk
    compared: gr.ImageSlider
    said: gr.Markdown


def samples_of(category: Category) -> list[list[str]]:
    """Example texts."""
    return [[text] for text in EXAMPLES.get(category.family, ("red",))]


def layout(studio: Studio) -> tuple[Controls, Views, Search]:
    """Build them."""
    gr.Markdown(
        "Describe what a chair or a car should be, or show a picture of one that it should be like; the next edit goes"
        " on from there. Drag a picture to turn the object."
    )
    with gr.Row():
        with gr.Column():
            left = _controls(studio)
        with gr.Column(scale=2):
            right = _views()
    with gr.Accordion("Find the object of a picture", open=False), gr.Row():
        search = _search()
    return left, right, search


def _controls(studio: Studio) -> Controls:
    first, most = studio.categories[0], max(category.count for category in studio.categories)
    model = gr.Dropdown([category.name for category in studio.categories], value=first.name, label="Model")
    instance = gr.Slider(0, max(1, most - 1), 0, step=1, label="Object", info="of those that the model was trained on")
    text = gr.Textbox(
        samples_of(first)[0][0], label="Describe the object", max_length=LONGEST,
        info="like a caption of the finished object: no instructions such as 'remove the arms', no materials or styles",
    )  # fmt: skip
    examples = gr.Dataset(components=["textbox"], samples=samples_of(first), label="Examples: a click edits by one")
    with gr.Accordion("Like a picture instead", open=False):
        exemplar = upload("Picture of an object that it should be like")
    with gr.Accordion("More", open=False):
        strength = gr.Slider(0, 1.5, 1, step=0.05, label="Strength")
        with gr.Row():
            shape, appearance = gr.Checkbox(True, label="shape"), gr.Checkbox(True, label="appearance")
    return Controls(model, instance, text, examples, exemplar, strength, shape, appearance, desk("Edit", cancel=False))


def _views() -> Views:
    with gr.Row():
        before = still("Before", "The object before the edits", height=SHOWN, elem_classes="turned")
        after = still("After", "The object after the edits", height=SHOWN, elem_id="edited", elem_classes="turned")
    with gr.Row():
        titles: dict[Way, str] = {"undo": "Undo", "redo": "Redo", "start_again": "Start again"}
        steps = {way: gr.Button(title, size="sm", min_width=60, interactive=False) for way, title in titles.items()}
    with gr.Row():
        azimuth = gr.Slider(
            0, 359, START[0], step=1, label="Azimuth, degrees", info="coarse while it moves", elem_classes="azimuth"
        )
        elevation = gr.Slider(-5, 85, START[1], step=1, label="Elevation, degrees", elem_classes="elevation")
    history = gr.Textbox(label="Done so far", lines=2, max_lines=8, interactive=False)
    turn = desk("Film it from all sides")
    film = gr.Image(
        label="Before and after, turning", interactive=False, height=200, alt_text="Film of both", visible=False,
        buttons=["download"],
    )  # fmt: skip
    files = gr.File(label="Downloads: the edits and the film", file_count="multiple", height=120, interactive=False)
    return Views(before, after, azimuth, elevation, steps, history, turn, film, files)


def _search() -> Search:
    with gr.Column():
        picture = upload("Picture of an object on a plain ground")
        seed = gr.Number(0, label="Seed of the search", precision=0)
        at = desk("Find it")
    with gr.Column():
        slider = compared("Picture and object found: drag the line", max_height=300)
        figures = gr.Markdown()
    return Search(picture, seed, at, slider, figures)
