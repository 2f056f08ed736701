"""Prompts of edits, and what a perfect edit looks like: the families' own objects, changed as the prompt says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from nerf.cameras import Cameras
from nerf.conditional.families import Family
from nerf.conditional.families.splits import split_of

WORDS = ("red", "green", "blue", "yellow")
"""Colours that prompts name."""
TWENTY = 20
"""Prompts that R-precision chooses among."""
FAR = (0.05, 0.95)
"""Parameters of a true answer, of 0..1."""
Drawn = Float[Tensor, "v h w 3"]
Edit = Callable[[str, int, Sequence[Cameras]], Drawn]
"""Pictures of an object (its number) after a text."""


@dataclass(frozen=True)
class Prompt:
    """A text that names one attribute."""

    text: str
    name: str
    """Of a trait or a part."""
    value: float
    """The direction (+1, -1) of a trait, or the number of a colour's word."""


def prompts_of(family: Family) -> list[Prompt]:
    """Every trait's words, and every part in four colours."""
    noun, rows = family.name.removesuffix("s"), []
    for trait in family.traits:
        for word, sign in ((trait.low, -1.0), (trait.high, 1.0)):
            if word:
                rows.append(Prompt(f"a {noun} with {word}" if trait.with_ else f"a {word} {noun}", trait.name, sign))
    for part in family.parts:
        article = "" if part.endswith("s") else "a "
        rows += [Prompt(f"a {noun} with {article}{word} {part}", part, float(i)) for i, word in enumerate(WORDS)]
    return rows


def color_of(family: Family, prompt: Prompt) -> Float[Tensor, 3]:
    """RGB of the colour that a prompt names."""
    return torch.tensor(family.colors[WORDS[int(prompt.value)]])


class Truth:
    """The family's own objects, changed so that a text is true of them: the upper bound of all edits.

    Args:
        family: of objects.
        count: held-out objects that are edited; the last `TWENTY` of the others are what captions are about.
        split: numbers of training shapes and palettes.
    """

    def __init__(self, family: Family, count: int, split: tuple[int, int]):
        self.family = family
        held = split_of(family, *split)
        self.objects = list(zip(held.held_out_shapes[:count], held.held_out_palettes[:count], strict=True))
        self.prompts = {prompt.text: prompt for prompt in prompts_of(family)}
        self.captions: dict[str, tuple[Tensor, Tensor]] = {}
        generator = torch.Generator().manual_seed(31)
        for shape, palette in zip(held.held_out_shapes.flip(0), held.held_out_palettes.flip(0), strict=True):
            text = family.caption(shape, palette, generator)
            if len(self.captions) < TWENTY and text not in self.captions and text not in self.prompts:
                self.captions[text] = shape, palette

    def __call__(self, text: str, number: int, cameras: Sequence[Cameras]) -> Drawn:
        """Pictures of the object that a caption is about, or of object ``number`` with the named attribute changed.

        Without a text the object is as it was.
        """
        shape, palette = self.captions[text] if text in self.captions else self.changed(text, number)
        return torch.cat([self.family.render(shape[None], palette[None], camera)[0] for camera in cameras])

    def changed(self, text: str, number: int) -> tuple[Float[Tensor, " p"], Float[Tensor, " q"]]:
        """Shape and palette of an object that has what a prompt names and is else as it was."""
        shape, palette = self.objects[number]
        if not text:
            return shape, palette
        prompt = self.prompts[text]
        if prompt.name in self.family.parts:
            first, changed = 3 * self.family.parts.index(prompt.name), palette.clone()
            changed[first : first + 3] = color_of(self.family, prompt)
            return shape, changed
        changed = shape.clone()
        for k in range(len(shape)):
            both = shape.repeat(2, 1)
            both[:, k] = torch.tensor(FAR)
            low, high = self.family.measure(both)[prompt.name].tolist()
            if low != high:
                changed[k] = FAR[int((high > low) == (prompt.value > 0))]
        return changed, palette
