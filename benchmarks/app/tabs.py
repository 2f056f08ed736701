"""Times the default job of every tab of the app against its budget: ``python -m benchmarks.app.tabs``.

Serves the page and asks it as a visitor does, through its named endpoints: each job once in a worker that has just
started, and once more. Prints a table and writes its results, where jobs that were not asked for keep
their figures. To be run on a quiet machine.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gradio_client import Client, handle_file

from demos.app import TABS, launch
from demos.codec import examples as codec_examples
from demos.fields import SCENES
from demos.personalize_jobs import examples as object_examples
from demos.sound import examples as sound_examples
from mappers.files import replacing
from mappers.yaml_settings import load_settings
from pipelines.personalization.settings import PersonalizeConfig

ROOT = Path(__file__).parents[2]
BUDGETS = {
    "personalize": 90.0,
    "draw": None,
    "measure": None,
    "sound": 5.0,
    "distill": 60.0,
    "edit": 10.0,
    "codec": 30.0,
}
"""Seconds that a tab's default job may take on two cores; None: no budget was set."""


def jobs(client: Client, root: Path, visitor: str) -> dict[str, Callable[[], Any]]:
    """The default job of every tab, in the order of the page; each is a call of an endpoint."""

    def ask(name: str, *values: Any) -> Any:
        return client.predict(*values, api_name=f"/{name}")

    steps = load_settings(PersonalizeConfig, "nano", task="personalize").train.steps
    pictures = [handle_file(path) for path in object_examples(root)]
    learned: dict[str, Any] = {}

    def personalize() -> None:
        made = ask("personalize", pictures, "<my-thing>", "object", "nano", steps, 0, visitor)
        learned["concept"] = handle_file(made[2])

    def draw() -> None:
        prompt = "a photo of a <my-thing> on the beach"
        ask("draw", learned["concept"], prompt, 4, 0, 128, 128, 1, None, visitor)

    others = [handle_file(path) for path in object_examples(root, others=True)]
    bell, face = handle_file(sound_examples(root)[0]), handle_file(codec_examples(root)[0])
    return {
        "personalize": personalize,
        "draw": draw,
        "measure": lambda: ask("measure", learned["concept"], others, visitor),
        "sound": lambda: ask("vision_to_audio", bell, "nano", 1, 0, visitor),
        "distill": lambda: ask("distill", SCENES[0], "vm", 100, 0, visitor),
        "edit": lambda: ask("edit", "nano-chairs", 0, "a tall red chair", None, 1.0, True, True, 235, 25, visitor),
        "codec": lambda: ask("compress", face, 900, visitor),
    }


def measured(chosen: Sequence[str]) -> dict[str, dict[str, float | None]]:
    """Seconds of each job, the first time and again."""
    rows: dict[str, dict[str, float | None]] = {}
    with tempfile.TemporaryDirectory() as folder:
        page = launch(list(TABS), Path(folder), wait=False)
        try:
            client = Client(page.local_url, verbose=False)
            visitor = client.predict("", api_name="/visitor")
            for name, job in jobs(client, Path(folder), visitor).items():
                if name not in chosen:
                    continue
                seconds = []
                for _ in range(2):
                    begun = time.perf_counter()
                    job()
                    seconds.append(time.perf_counter() - begun)
                rows[name] = {"first": seconds[0], "again": seconds[1], "budget": BUDGETS[name]}
                print(f"{name:12s} {seconds[0]:7.1f} s first {seconds[1]:7.1f} s again   budget {BUDGETS[name]}")
        finally:
            page.close()
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description="Times the default job of every tab of the app.")
    parser.add_argument("--jobs", nargs="+", choices=list(BUDGETS), default=list(BUDGETS))
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "results" / "app" / "tabs.json")
    arguments = parser.parse_args()
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    before = json.loads(arguments.output.read_text(encoding="utf-8"))["seconds"] if arguments.output.is_file() else {}
    result = {"cores": os.cpu_count(), "seconds": before | measured(arguments.jobs)}
    with replacing(arguments.output) as temporary:
        temporary.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
