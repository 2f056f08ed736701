"""Components of the tab Personalize."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

from pipelines import PersonalizeConfig

from ..limits import LONGEST_TEXT
from ..pages import Desk, desk, still, stills, uploads
from ..visitors import Studio
from ..words import example_words
from .personalize_jobs import UNITS


@dataclass(frozen=True)
class Learning:
    """Components of learning a word."""

    files: gr.Gallery
    example: gr.Button
    token: gr.Textbox
    category: gr.Textbox
    model: gr.Dropdown
    steps: gr.Slider
    seed: gr.Number
    at: Desk
    samples: gr.Image
    loss: gr.Image
    concept: gr.File


@dataclass(frozen=True)
class Drawing:
    """Components of drawing with it."""

    word: gr.Dropdown
    file: gr.UploadButton
    send: gr.Button
    prompt: gr.Textbox
    count: gr.Slider
    seed: gr.Number
    early: gr.Slider
    late: gr.Slider
    fine: gr.Slider
    looks: gr.Dropdown
    at: Desk
    gallery: gr.Gallery


@dataclass(frozen=True)
class Measuring:
    """Components of measuring it."""

    pictures: gr.Gallery
    example: gr.Button
    at: Desk
    scores: gr.Markdown
    curve: gr.Image


def layout(studio: Studio) -> tuple[Learning, Drawing, Measuring]:
    """Build them."""
    gr.Markdown(
        "Teach an image generator a new word: give it a few pictures of one thing, and ask for that thing in new"
        " places. Learning takes a minute or two with the small model that comes with mapfield."
    )
    with gr.Row():
        learning = _learning(studio)
    gr.Markdown("### Draw the learned word")
    with gr.Row():
        drawing = _drawing()
    with gr.Accordion("Measure how well the word does, with fewer and fewer of its units", open=False):
        measuring = _measuring()
    return learning, drawing, measuring


def _learning(studio: Studio) -> Learning:
    nano_steps = PersonalizeConfig().train.steps
    with gr.Column():
        files = uploads("Two to six pictures of one thing", elem_id="pictures-given")
        example = gr.Button("Four pictures of a teapot", size="sm")
        with gr.Row():
            token = gr.Textbox("<teapot>", label="New word", max_length=60)
            category = gr.Textbox("object", label="Kind of thing", max_length=60)
        with gr.Accordion("More", open=False):
            model = gr.Dropdown(list(studio.models), value=studio.models[0], label="Model")
            steps = gr.Slider(
                10, 1000, nano_steps, step=10, label="Steps",
                info=f"{nano_steps} are right for nano; other models need 500 or more",
            )  # fmt: skip
            seed = gr.Number(0, label="Seed of learning", precision=0)
        at = desk("Learn the word")
    with gr.Column():
        samples = still("Samples of the learned word", "Samples of the new word", elem_id="samples", height=340)
        concept = gr.File(label="File of the learned word", height=90, interactive=False)
        with gr.Accordion("Loss over steps", open=False):
            loss = still("Loss", "Loss over steps", height=240)
    return Learning(files, example, token, category, model, steps, seed, at, samples, loss, concept)


def _drawing() -> Drawing:
    with gr.Column():
        with gr.Row():
            word = gr.Dropdown(example_words(), label="Learned word", elem_id="word", scale=3)
            file = gr.UploadButton("Open a word's file", file_types=[".safetensors"], size="sm", min_width=120)
        prompt = gr.Textbox("", label="Prompt", info="with the word in it", max_length=LONGEST_TEXT)
        with gr.Row():
            count = gr.Slider(1, 8, 4, step=1, label="Pictures")
            seed = gr.Number(0, label="Seed of drawing", precision=0)
        with gr.Accordion("Less of the thing, more of the prompt; the looks of another word", open=False):
            early = gr.Slider(0, UNITS, UNITS, step=1, label="Units early", info="few: the layout is the prompt's")
            late = gr.Slider(0, UNITS, UNITS, step=1, label="Units late", info="many: the details are the thing's")
            fine = gr.Slider(0, 1, 1, step=0.05, label="Share in fine layers", info="little: looks by the prompt")
            looks = gr.Dropdown([("none", ""), *example_words()], value="", label="Word whose looks to take")
        at = desk("Draw")
        send = gr.Button("Explore this word", size="sm")
    with gr.Column():
        gallery = stills("Pictures", columns=2, height="auto", elem_id="pictures")
    return Drawing(word, file, send, prompt, count, seed, early, late, fine, looks, at, gallery)


def _measuring() -> Measuring:
    with gr.Row():
        with gr.Column():
            pictures = uploads("Pictures of the thing that the word was not learned from")
            example = gr.Button("Four other pictures of the teapot", size="sm")
            at = desk("Measure: takes a minute")
        with gr.Column():
            scores = gr.Markdown(elem_id="scores")
            curve = still(
                "Truncation curve", "CLIP-I over CLIP-T for fewer and fewer units", height=320, elem_id="truncation"
            )
    return Measuring(pictures, example, at, scores, curve)
