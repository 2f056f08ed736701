"""Components of the tab Sound."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

from ..limits import LONGEST_TEXT
from ..pages import Desk, desk, film_upload, heard, seen, still, upload
from ..visitors import Studio
from .sound_jobs import MOST, examples


@dataclass(frozen=True)
class Page:
    """The tab's components."""

    picture: gr.Image
    video: gr.Video
    prompt: gr.Textbox
    negative_prompt: gr.Textbox
    duration: gr.Number
    candidates: gr.Slider
    model: gr.Dropdown
    seed: gr.Number
    at: Desk
    sounds: list[gr.Audio]
    film: gr.Video
    spectrogram: gr.Image


def layout(studio: Studio) -> Page:
    """Build them."""
    gr.Markdown(
        "A picture or a silent video becomes a sound that fits. The small model that comes with mapfield knows sixteen"
        " drawn objects: a bell, a dog, a train ..."
    )
    with gr.Row():
        with gr.Column():
            with gr.Row():
                picture = upload("Picture")
                video = film_upload("Or a video")
            gr.Examples(examples(studio.root), picture, label="Examples")
            prompt = gr.Textbox(
                "", label="Prompt (optional)", max_length=LONGEST_TEXT, info="a sound to mix in: a dog barks",
            )  # fmt: skip
            candidates = gr.Slider(
                1,
                MOST,
                2 if studio.sounds[0] == "nano" else 1,
                step=1,
                label="Number of candidates",
                info="the best is heard first; a video gets that one",
            )
            with gr.Accordion("More", open=False):
                negative_prompt = gr.Textbox(
                    "", label="Negative prompt (optional)", max_length=LONGEST_TEXT, info="a sound to keep away from"
                )
                duration = gr.Number(
                    None, label="Seconds (optional)", minimum=0.5, maximum=studio.limits.sound_seconds,
                    info="empty: as long as the video, or what the model was trained for",
                )  # fmt: skip
                model = gr.Dropdown(list(studio.sounds), value=studio.sounds[0], label="Model")
                seed = gr.Number(0, label="Seed", precision=0)
            at = desk("Make a sound")
        with gr.Column():
            sounds = [
                heard("Sound" if i == 0 else f"Candidate {i + 1}", elem_id=f"sound-{i + 1}", visible=i == 0)
                for i in range(MOST)
            ]
            film = seen("Video with the sound", elem_id="film", visible=False)
            spectrogram = still("Spectrogram", "Spectrogram of the sound", elem_id="spectrogram")
    return Page(
        picture, video, prompt, negative_prompt, duration, candidates, model, seed, at, sounds, film, spectrogram
    )
