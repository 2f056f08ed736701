"""All commands of ``mapfield`` as one union of dataclasses. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import tyro

from demos.cli import App, Demo
from pipelines import cli

from . import environment


@dataclass(frozen=True, kw_only=True)
class Env:
    """Show the installation: versions, where each package comes from, extras, devices, caches."""

    json: bool = False
    """Print JSON."""

    def run(self) -> None:
        environment.show(as_json=self.json)


Command = (
    cli.Command
    | Annotated[App, tyro.conf.subcommand("app")]
    | Annotated[Demo, tyro.conf.subcommand("demo")]
    | Annotated[Env, tyro.conf.subcommand("env")]
)
