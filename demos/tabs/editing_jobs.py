"""What the tab Edit 3D does: objects, their edits and pictures, and jobs of the worker; no page in here."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from .. import records
from ..records import Task
from ..visitors import Studio, refusal, refusals
from .editing_models import Category, opened

if TYPE_CHECKING:
    from PIL import Image

    from pipelines import Editor

Angles = tuple[float, float]
"""Azimuth and elevation in degrees."""

START: Angles = (235.0, 25.0)
"""From where an object is first seen."""
PREVIEW, SIZE = 64, 128
"""Pixels of a picture while its view changes, and of any other."""
SHOWN = 320
"""Pixels that pictures are enlarged to on the page."""
VIEWS, FPS, TURNED = 16, 8, 96
"""Pictures of a turn, how many a second, and their pixels."""
LONGEST = 200
"""Characters of a text."""
SESSION = "edit.safetensors"
LARGEST = 25_000_000
"""Pixels of an uploaded picture, at most."""
USEFUL = 512
"""Pixels of the longer side that it is brought to."""


Way = Literal["undo", "redo", "start_again"]


@dataclass(frozen=True)
class Place:
    """Which object a page has, and where its edits are; on the server only: no path comes from outside."""

    category: str
    instance: int
    session: Path | None = None
    """File of the edits; None while there are none."""


@contextmanager
def editor_at(studio: Studio, place: Place) -> Iterator[Editor]:
    """An editor of a place's object, for this request alone; refusals of the library become the page's."""
    category = category_of(studio, place.category)
    with refusals(), studio.editors.at(category, place.instance, place.session) as editor:
        yield editor


def category_of(studio: Studio, name: str) -> Category:
    """The model of that name.

    Raises:
        gr.Error: the app does not have it.
    """
    for category in studio.categories:
        if category.name == name:
            return category
    raise refusal(f"this app has no model {name!r}; choose one of the list")


def draw(editor: Editor, angles: Angles, size: int = SIZE) -> tuple[Image.Image, Image.Image]:
    """The object as it was and as it is."""
    from nerf import View

    view = View(azimuth=angles[0], elevation=angles[1], size=size)
    after = editor.render(view)
    return (editor.render(view, original=True) if editor.history.current else after), after


def history_text(editor: Editor) -> str:
    """The history, a line for each step."""
    lines = [step.label for step in editor.history.steps]
    lines[editor.history.current] = f"→ {lines[editor.history.current]}"
    return "\n".join(lines)


class Scene(NamedTuple):
    """What a page shows of a place, in the order of its components."""

    place: Place
    before: Image.Image
    after: Image.Image
    history: str
    files: list[str] | None
    """Files to download; None before the first edit."""
    ways: tuple[Way, ...] = ()
    """What the history has left: edits to undo, to redo."""


def scene(editor: Editor, place: Place, pictures: tuple[Image.Image, Image.Image]) -> Scene:
    """What a page shows of a place; pictures are enlarged."""
    from PIL.Image import Resampling

    before, after = (picture.resize((SHOWN, SHOWN), Resampling.BICUBIC) for picture in pictures)
    files = None if place.session is None else [str(place.session)]
    return Scene(place, before, after, history_text(editor), files, ways_of(editor))


def ways_of(editor: Editor) -> tuple[Way, ...]:
    """What the history has left."""
    current, last = editor.history.current, len(editor.history.steps) - 1
    back: tuple[Way, ...] = ("undo", "start_again") if current else ()
    return (*back, "redo") if current < last else back


def look(studio: Studio, place: Place, angles: Angles, size: int = SIZE) -> Scene:
    """A place as it is.

    Raises:
        gr.Error: it is not there any more, or was never.
    """
    with editor_at(studio, place) as editor:
        return scene(editor, place, draw(editor, angles, size))


def edit(
    studio: Studio, visitor: str, place: Place, angles: Angles, *, text: str, exemplar: str | None, strength: float,
    shape: bool, appearance: bool,
) -> tuple[Scene, str]:  # fmt: skip
    """Edit the object of a place; the edits and a picture of each go to a folder of the visitor.

    Returns:
        What the page shows, and a warning about the text, or "".

    Raises:
        gr.Error: the text or the picture cannot be used.
    """
    if len(text) > LONGEST:
        raise refusal(f"the text has {len(text)} characters; {LONGEST} are enough")
    place = own(studio, visitor, place)
    folder = studio.fresh(visitor, "edit") if place.session is None else place.session.parent
    with editor_at(studio, place) as editor:
        words = None if exemplar and not text.strip() else text
        editor.apply(
            words, exemplar=upload(exemplar) if exemplar else None, strength=strength, shape=shape,
            appearance=appearance,
        )  # fmt: skip
        place = replace(place, session=folder / SESSION)
        editor.save(folder / SESSION)
        pictures = draw(editor, angles)
        numbered = f"edit_{1 + len(list(folder.glob('edit_*.png'))):02d}.png"
        pictures[1].save(folder / numbered)  # those of undone edits stay
        settings = {
            "model": place.category, "instance": place.instance, "text": text, "strength": strength, "shape": shape,
            "appearance": appearance,
        }  # fmt: skip
        keep(editor, place, pictures, settings, {"exemplar": exemplar})
        doubt = "" if words is None else unfamiliar(editor, words)
        return scene(editor, place, pictures), doubt


def keep(
    editor: Editor, place: Place, pictures: tuple[Image.Image, Image.Image], settings: dict[str, Any],
    uploads: dict[str, Any],
) -> None:  # fmt: skip
    """Write the record of an object's edits, with its pictures before and after."""
    assert place.session is not None
    folder = place.session.parent
    for name, picture in zip(("before", "after"), pictures, strict=True):
        picture.save(folder / f"{name}.png")
    made = {
        "session": str(place.session), "before": str(folder / "before.png"), "after": str(folder / "after.png"),
        "thumbnail": str(folder / "after.png"), "history": history_text(editor), "ways": ways_of(editor),
    }  # fmt: skip
    steps = [one.label for one in editor.history.steps[: editor.history.current + 1]]
    records.save(folder, Task("editing", f"{place.category}, {', '.join(steps)}", settings, uploads), "edit", made)


def own(studio: Studio, visitor: str, place: Place) -> Place:
    """The place, with its edits in a folder of the visitor: those of an example are copied before they are changed."""
    folder = studio.folder(visitor)
    if place.session is None or place.session.is_relative_to(folder):
        return place
    if not place.session.is_file():
        raise refusal("these edits were deleted; choose an object")
    mine = studio.fresh(visitor, "edit")
    shutil.copytree(place.session.parent, mine)
    return replace(place, session=mine / place.session.name)


def unfamiliar(editor: Editor, text: str) -> str:
    """A warning about a text that is far from the family's captions, or ""."""
    if editor.prompt_domain.score(text) >= editor.prompt_domain.limit:
        return ""
    return f"{text!r} is unlike the captions of {editor.model.family_name}; the edit may not match it"


def step(studio: Studio, visitor: str, place: Place, angles: Angles, way: Way) -> Scene:
    """Take edits back, or do them again.

    Raises:
        gr.Error: there is nothing to undo or redo.
    """
    place = own(studio, visitor, place)
    with editor_at(studio, place) as editor:
        if way == "redo":
            editor.redo()
        else:
            editor.undo()
        while way == "start_again" and editor.history.current:
            editor.undo()
        pictures = draw(editor, angles)
        saved = None if place.session is None else records.load(place.session.parent)
        if saved is not None and saved.job == "edit":
            exemplar = saved.settings.pop("exemplar", None)
            keep(editor, place, pictures, saved.settings, {"exemplar": exemplar})
        return scene(editor, place, pictures)


def upload(file: str) -> Image.Image:
    """An uploaded picture with its transparency, no larger than is of use here.

    Raises:
        ValueError: it is no picture, or far too large.
    """
    from PIL import Image, ImageOps

    from pipelines import load_images

    try:
        with Image.open(file) as picture:
            if picture.width * picture.height > LARGEST:
                size = f"{picture.width}x{picture.height}"
                raise ValueError(f"{Path(file).name} has {size} pixels, more than {LARGEST:,}; make it smaller")
            if picture.mode not in ("1", "L", "LA", "P", "RGB", "RGBA"):
                return load_images([file])[0]
            picture.draft("RGB", (USEFUL, USEFUL))
            turned = ImageOps.exif_transpose(picture)
            turned = turned.convert("RGBA" if turned.has_transparency_data else "RGB")
    except (OSError, SyntaxError, Image.DecompressionBombError):
        return load_images([file])[0]  # says why, or can
    turned.thumbnail((USEFUL, USEFUL))
    return turned


@lru_cache(maxsize=2)
def _editor(category: Category) -> Editor:
    return opened(category)


def find(category: Category, file: str, seed: int, folder: Path) -> dict[str, Any]:
    """Find the object of a picture and begin a session with it; runs in the worker."""
    from nerf import InversionConfig, picture_of, target_of

    editor, picture = _editor(category), upload(file)
    inversion = editor.invert(picture, config=InversionConfig(seed=seed))
    editor.save(folder / SESSION)
    picture_of(target_of(picture, SIZE).rgb).save(folder / "picture.png")
    editor.render(inversion.view(SIZE)).save(folder / "found.png")
    angles = round(inversion.azimuth) % 360, round(inversion.elevation)
    said = (
        f"PSNR {inversion.psnr:.1f} dB to the picture, from azimuth {angles[0]} and elevation {angles[1]}; seed {seed}"
    )
    pictures = [str(folder / name) for name in ("picture.png", "found.png")]
    return {
        "session": str(folder / SESSION), "pictures": pictures, "angles": angles, "said": said,
        "thumbnail": str(folder / "found.png"), "history": history_text(editor),
    }  # fmt: skip


def turn(category: Category, session: Path, elevation: float, folder: Path) -> dict[str, Any]:
    """A film of the object before and after, side by side, turning; runs in the worker."""
    from nerf import turntable_views, write_film
    from pipelines import turntable_frames

    editor = _editor(category).load(session)
    folder.mkdir(parents=True, exist_ok=True)
    frames = []
    for i, view in enumerate(turntable_views(VIEWS, TURNED, elevation)):
        frames += turntable_frames(editor, [view])
        with (folder / "metrics.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps({"step": i + 1}) + "\n")
    write_film(frames, folder / "turntable.gif", fps=FPS)
    return {"film": str(folder / "turntable.gif"), "thumbnail": str(folder / "turntable.gif")}
