"""What the tab Word does: words that are learned, drawn and measured in the worker; no page in here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipelines import Concept, NeTIPipeline

OBJECT = "teapot"
"""Object of the example, which the embedded model has never seen."""
LATE_TIMESTEP = 400
"""Timestep from which on the late units are kept: by then the layout is decided."""
UNITS = 128
"""Units of a mapper by default; an envelope of more keeps all there are."""
PROMPTS, SHARES = ("a photo of a {} on the beach", "a watercolor of a {}"), (0.0, 0.0625, 0.25, 1.0)
"""Prompts that a word is measured by, four pictures each, and the shares of its units that are kept."""


def learn(
    files: list[str], token: str, category: str, model: str, count: int | None, seed: int, folder: Path
) -> dict[str, Any]:
    """Learn a word; runs in the worker."""
    import pipelines

    pipelines.personalize(
        files, token, category=category or None, model=model, steps=count, seed=seed, output_dir=folder
    )
    names = {"samples": "samples.png", "loss": "loss.png", "concept": "concept.safetensors"}
    return {key: str(folder / name) for key, name in names.items()}


def draw(
    concept: str, looks: str | None, prompt: str, count: int, seed: int, early: int, late: int, fine: float,
    models: tuple[str, ...], folder: Path,
) -> dict[str, Any]:  # fmt: skip
    """Pictures with a learned word; runs in the worker.

    Args:
        concept: file of the word.
        looks: file of a word that the finer layers take in its place.
        prompt: what to draw.
        count: pictures.
        seed: of the noise.
        early: units of the mapper kept at the first, noisiest step.
        late: units kept from `LATE_TIMESTEP` on.
        fine: share of the units that finer layers keep.
        models: the app's.
        folder: where pictures go.
    """
    import torch

    from pipelines import Envelope

    with loaded(concept, looks, models=models) as (pipeline, token):
        if token not in prompt:
            raise ValueError(f"the prompt {prompt!r} does not have the word {token} in it; add it")
        layers = {layer: fine for layer in pipeline.fine_layers()} if fine < 1 else {}
        whole = min(early, late) >= UNITS and not layers
        pictures = pipeline(
            prompt, num_inference_steps=25, guidance_scale=5.0, num_images_per_prompt=count,
            truncation=None if whole else Envelope(times={999: early, LATE_TIMESTEP: late}, layers=layers),
            generator=torch.Generator().manual_seed(seed),
        ).images  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"picture_{i}.png" for i in range(len(pictures))]
    for path, picture in zip(paths, pictures, strict=True):
        picture.save(path)
    return {"pictures": [str(path) for path in paths]}


def measure(concept: str, pictures: list[str], models: tuple[str, ...], folder: Path) -> dict[str, Any]:
    """Measure a word, its category and its truncations; runs in the worker.

    Args:
        concept: file of the word.
        pictures: of the thing, which the word was not learned from.
        models: the app's.
        folder: where the report goes.
    """
    import pipelines

    config = pipelines.EvaluateConfig(prompts=PROMPTS, truncations=SHARES)
    result = pipelines.evaluate(_known(concept, models), pictures, output_dir=folder, config=config)
    rows = [
        (name, f"{scores['clip_i']['value']:.3f}", f"{scores['clip_t']['value']:.3f}")
        for name, scores in result["scores"].items()
    ]
    table = pipelines.markdown_table(["", "similarity to the thing (CLIP-I)", "fit to the prompt (CLIP-T)"], rows)
    curve = folder / "truncation.png"
    return {"curve": str(curve) if curve.is_file() else None, "table": table}


@contextmanager
def loaded(
    concept: str | None, looks: str | None = None, *, models: tuple[str, ...]
) -> Iterator[tuple[NeTIPipeline, str]]:
    """A pipeline with a word in it for the time being, and the word ("" for none); in the worker.

    Raises:
        ValueError: the file is no word, or one of another model.
    """
    from pipelines import load_concept

    if concept is None:
        yield _pipeline(models[0]), ""
        return
    learned = _known(concept, models)
    pipeline = _pipeline(learned.model)
    if looks is not None:
        learned = learned.mix(load_concept(Path(looks)), layers=pipeline.fine_layers(), token=learned.token)
    token = pipeline.load_concept(learned)
    try:
        yield pipeline, token
    finally:
        pipeline.unload_concept(token)


def _known(concept: str, models: tuple[str, ...]) -> Concept:
    """A word of a model that the app has: which models are loaded is not for an uploaded file to say."""
    from pipelines import load_concept

    learned = load_concept(Path(concept))
    if learned.model not in models:
        raise ValueError(f"the word {learned.token} was learned on {learned.model!r}; this app has {', '.join(models)}")
    return learned


@lru_cache(maxsize=2)
def _pipeline(model: str) -> NeTIPipeline:
    import pipelines

    return pipelines.NeTIPipeline.from_model(model)


def examples(root: Path, *, others: bool = False) -> list[str]:
    """Four pictures of an object, drawn once, or four ``others`` of it."""
    from pipelines.nano import world

    folder = root / "examples" / (f"other {OBJECT}" if others else OBJECT)
    paths = [folder / f"{i}.png" for i in range(4)]
    if not all(path.is_file() for path in paths):
        folder.mkdir(parents=True, exist_ok=True)
        scenes = world.reference_scenes(OBJECT, seed=int(others))
        for path, picture in zip(paths, world.render_all(scenes), strict=True):
            picture.save(path)
    return [str(path) for path in paths]
