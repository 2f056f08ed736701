"""Colours that can be read: WCAG 2.1 wants a contrast of 4.5 : 1 for text."""

from __future__ import annotations

import re

import pytest

from demos.theme import CSS, theme

NAMED = {"white": "#ffffff", "black": "#000000"}


def luminance(color: str) -> float:
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    bright, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def value(name: str) -> str:
    """A colour of the theme; names of others are followed, in the dark to what those are there."""
    found = getattr(theme(), name) or getattr(theme(), name.removesuffix("_dark"))
    while found.startswith("*"):
        dark = f"{found[1:]}_dark" if name.endswith("_dark") else ""
        found = getattr(theme(), dark, None) or getattr(theme(), found[1:])
    return NAMED.get(found, found)


def test_the_formula_is_that_of_the_guidelines() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#6366f1", "#e0e7ff") == pytest.approx(3.62, abs=0.01)  # Gradio's labels


@pytest.mark.parametrize("dark", ["", "_dark"])
@pytest.mark.parametrize(
    ("text", "ground"),
    [
        ("block_label_text_color", "block_label_background_fill"),
        ("block_title_text_color", "block_title_background_fill"),
        ("block_info_text_color", "block_background_fill"),
        ("body_text_color", "body_background_fill"),
        ("body_text_color_subdued", "body_background_fill"),
        ("button_primary_text_color", "button_primary_background_fill"),
        ("button_primary_text_color", "button_primary_background_fill_hover"),
        ("button_secondary_text_color", "button_secondary_background_fill"),
        ("link_text_color", "body_background_fill"),
        ("input_placeholder_color", "input_background_fill"),
        ("checkbox_label_text_color_selected", "checkbox_label_background_fill_selected"),
    ],
)
def test_texts_have_enough_contrast(text: str, ground: str, dark: str) -> None:
    assert contrast(value(text + dark), value(ground + dark)) >= 4.5


def test_messages_have_enough_contrast() -> None:
    found = re.findall(r"background: (#\w{6}); color: (#\w{6})", CSS)
    assert len(found) == 3
    for ground, text in found:
        assert contrast(text, ground) >= 4.5
