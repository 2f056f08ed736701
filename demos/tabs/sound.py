"""Tab: a sound for a picture."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gradio as gr

from ..visitors import Studio, job, refusal

NAMES = ("bell", "dog", "train")
"""Of the example pictures: objects that the embedded model knows by sound."""


def listen(file: str, model: str, candidates: int, seed: int, folder: Path) -> dict[str, Any]:
    """Make sounds for a picture, the best first; runs in the worker."""
    from pipelines import write_sound, write_spectrogram

    sounds = _sonifier(model)(file, candidates=candidates, seed=seed)
    folder.mkdir(parents=True, exist_ok=True)
    write_sound(folder / "sound.wav", sounds.best[0], sounds.sampling_rate)
    write_spectrogram(folder / "spectrogram.png", sounds.best[0], sounds.sampling_rate)
    return {"sound": str(folder / "sound.wav"), "spectrogram": str(folder / "spectrogram.png")}


def warm(model: str) -> None:
    """Load the models that `listen` needs."""
    _sonifier(model)


def warm_plots() -> None:
    """Load what draws spectrograms; on its own, so that a job need not wait for both."""
    import numpy as np

    from pipelines import write_spectrogram

    with TemporaryDirectory() as folder:
        write_spectrogram(Path(folder) / "silence.png", np.zeros(16_000, dtype=np.float32), 16_000)


@lru_cache(maxsize=2)
def _sonifier(model: str) -> Any:
    from pipelines import Sonifier

    return Sonifier.load(model)


def examples(root: Path) -> list[str]:
    """One picture of each example object, drawn once."""
    from pipelines.nano import world

    folder = root / "examples" / "sounding"
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.png" for name in NAMES]
    for name, path in zip(NAMES, paths, strict=True):
        if not path.is_file():
            world.render_all(world.reference_scenes(name, 1))[0].save(path)
    return [str(path) for path in paths]


def tab(studio: Studio, visitor: gr.BrowserState) -> None:
    """Build the tab."""
    gr.Markdown("A picture becomes a sound that fits. nano knows sixteen drawn objects: a bell, a dog, a train ...")
    with gr.Row():
        with gr.Column():
            picture = gr.File(label="Picture or video", file_types=["image", "video"], height=160)
            gr.Examples(examples(studio.root), picture, label="Examples")
            model = gr.Dropdown(list(studio.sounds), value=studio.sounds[0], label="Model")
            candidates = gr.Slider(1, 8, 1, step=1, label="Sounds to choose the best of")
            seed = gr.Number(0, label="Seed", precision=0)
            with gr.Row():
                start = gr.Button("Make a sound", variant="primary")
                stop = gr.Button("Cancel")
        with gr.Column():
            sound = gr.Audio(label="Sound", type="filepath", interactive=False, elem_id="sound")
            spectrogram = gr.Image(
                label="Spectrogram",
                interactive=False,
                height=280,
                elem_id="spectrogram",
                alt_text="Spectrogram of the sound",
            )

    @job
    def on_listen(
        picture: str | None, model: str, candidates: int, seed: float, visitor: str,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> tuple[str, str]:  # fmt: skip
        if not picture:
            raise refusal("there is no picture yet; drop one or choose an example")
        made = studio.work(
            visitor, listen, progress=progress, file=picture, model=model, candidates=int(candidates), seed=int(seed)
        )
        return made["sound"], made["spectrogram"]

    start.click(
        on_listen, [picture, model, candidates, seed, visitor], [sound, spectrogram],
        api_name="vision_to_audio", concurrency_id="work", concurrency_limit=1,
    )  # fmt: skip
    stop.click(studio.cancel, visitor, None, api_name=False, queue=False)
