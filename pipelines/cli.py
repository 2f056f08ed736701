"""Commands of ``mapfield`` that need no app. ``mapfield nerf`` has the commands of `nerf.cli`.

Each command is a typed dataclass that tyro reads. torch is imported when a command runs, so that ``--help`` answers at
once. One parser holds all commands, so that help, suggestions and shell completion know every one.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import tyro

from mappers.command_line import Group, run_command
from mappers.hub import embedded_models
from nerf import cli as fields

from .audio.cli import EvaluateAudio, FitMapper, VisionToAudio
from .editing.cli import EditNerf
from .personalization.cli import Evaluate, Export, Generate, ImportNeTI, Personalize


@dataclass(frozen=True, kw_only=True)
class Models:
    """List the embedded models, which work offline, one line each: id, kind, parameters, size, folder."""

    json: bool = False
    """Print JSON."""
    supported: bool = False
    """List instead the classes of networks that learned words plug into, and what works with each."""

    def run(self) -> None:
        if self.supported:
            self._show_supported()
            return
        found = embedded_models()
        if self.json:
            rows = [
                {
                    "id": m.id,
                    "kind": m.type,
                    "about": m.about,
                    "parameters": m.parameters,
                    "bytes": m.size,
                    "folder": str(m.folder),
                }
                for m in found
            ]
            print(json.dumps(rows, indent=2))
            return
        for m in found:
            print(f"{m.id}\t{m.type} ({m.about})\t{m.parameters / 1e6:.2f}M\t{m.size / 1e6:.1f} MB\t{m.folder}")

    def _show_supported(self) -> None:
        from .plugging.supported import COLUMNS, supported, table

        if self.json:
            print(json.dumps([one._asdict() for one in supported()], indent=2))
            return
        for row in (COLUMNS, *table()):
            print("\t".join(row))


@dataclass(frozen=True, kw_only=True)
class Nerf(Group):
    """Radiance fields, fields of pictures and videos, and compressed files."""

    command: Annotated[fields.Command, tyro.conf.arg(name="")]


Command = (
    Annotated[Personalize, tyro.conf.subcommand("personalize")]
    | Annotated[Generate, tyro.conf.subcommand("generate")]
    | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
    | Annotated[VisionToAudio, tyro.conf.subcommand("vision-to-audio")]
    | Annotated[EvaluateAudio, tyro.conf.subcommand("evaluate-audio")]
    | Annotated[FitMapper, tyro.conf.subcommand("fit-mapper")]
    | Annotated[EditNerf, tyro.conf.subcommand("edit-nerf")]
    | Annotated[Export, tyro.conf.subcommand("export")]
    | Annotated[ImportNeTI, tyro.conf.subcommand("import-neti")]
    | Annotated[Models, tyro.conf.subcommand("models")]
    | Annotated[Nerf, tyro.conf.subcommand("nerf")]
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    return run_command(Command, words, prog="mapfield")
