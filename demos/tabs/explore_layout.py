"""Components of the tab Explore."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

from ..pages import Desk, desk
from ..words import example_words
from .explore_jobs import PROMPTS


@dataclass(frozen=True)
class Page:
    """The tab's components."""

    prompts: gr.Textbox
    count: gr.Slider
    steps: gr.Slider
    seed: gr.Number
    word: gr.Dropdown
    send: gr.Button
    at: Desk
    out: gr.Button
    whole: gr.Button
    where: gr.Markdown
    sheet: gr.Image
    groups: gr.Radio


def layout() -> Page:
    """Build them."""
    gr.Markdown(
        "Draws pictures for several prompts and lays them out by similarity, so that you see what the prompts really"
        " cover. Groups of similar pictures are rectangles, the larger the more pictures. Click one to enter it."
    )
    with gr.Row():
        with gr.Column():
            prompts = gr.Textbox(PROMPTS, lines=6, max_lines=12, label="Prompts, one a line")
            count = gr.Slider(1, 16, 4, step=1, label="Pictures of each")
            with gr.Accordion("A learned word in the prompts", open=False):
                word = gr.Dropdown([("none", ""), *example_words()], value="", label="Learned word")
                send = gr.Button("Draw this word in Personalize", size="sm")
            with gr.Accordion("More", open=False):
                steps = gr.Slider(4, 30, 15, step=1, label="Steps")
                seed = gr.Number(0, label="Seed", precision=0)
            at = desk("Draw the map")
        with gr.Column(scale=2):
            where = gr.Markdown()
            sheet = gr.Image(
                label="Map", show_label=False, buttons=["fullscreen"], interactive=False, elem_id="map",
                alt_text="Treemap of pictures in groups of similar ones; the list below it names the groups",
            )  # fmt: skip
            with gr.Row():
                out, whole = gr.Button("Zoom out", interactive=False), gr.Button("Whole map", interactive=False)
            groups = gr.Radio([], label="Groups (largest first)", info="choose one to enter it")
    return Page(prompts, count, steps, seed, word, send, at, out, whole, where, sheet, groups)
