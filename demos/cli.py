"""The commands ``mapfield app`` and ``mapfield demo``. Free of torch and Gradio until one runs."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from mappers.extras import extra

from .limits import Limits
from .users import read_users

Tab = Literal["all", "personalize", "explore", "sound", "fields", "editing", "compress"]


@dataclass(frozen=True, kw_only=True)
class App:
    """Open the app: a page for the browser with a tab for each feature."""

    name: Positional[Tab] = "all"
    """One tab, or all."""
    output: Path = Path("runs/app")
    """Folder for what visitors make."""
    models: tuple[str, ...] = ("nano",)
    """Text-to-image models that visitors may choose from: nano, folders or hub ids."""
    sounds: tuple[str, ...] = ("nano",)
    """Sound generators that visitors may choose from: nano, or folders and hub ids that also hold an image encoder and
    a mapper."""
    categories: tuple[str, ...] = ()
    """Models of objects to edit that visitors may choose from: nano-chairs, nano-cars, or folders; if not given, those
    of this installation."""
    auth: Path | None = None
    """Text file of who may use the app, a line NAME:PASSWORD for each; if not given, whoever reaches the page may."""
    limits: Limits = field(default_factory=Limits)
    """What one visitor may ask of the app, and how long it keeps what was made."""

    def run(self) -> None:
        users = None if self.auth is None else read_users(self.auth)
        os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
        with extra("app"):
            from .app import TABS, launch

            names = list(TABS) if self.name == "all" else [self.name]
            launch(
                names, self.output, models=self.models, sounds=self.sounds, categories=self.categories,
                limits=self.limits, users=users,
            )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Demo:
    """Teach nano a word from four pictures of an object that it never saw, and draw the object in new places."""

    output: Path = Path("runs/demo")
    """Folder of the run and of the picture grid.png; an earlier demo there is replaced."""

    def run(self) -> None:
        from . import example

        example.run(self.output)
