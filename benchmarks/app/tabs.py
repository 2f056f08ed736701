"""Times the default job of every tab of the app against its budget: ``python -m benchmarks.app.tabs``.

Serves the page and asks it as a visitor does, through its named endpoints: each job once in a worker that has just
started, and once more. Jobs that are not asked for keep their figures. To be run on a quiet machine.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from gradio_client import Client, handle_file

from benchmarks.common.results import Results, Row, Table, result_path
from demos.app import TABS, launch
from demos.examples import EXAMPLE
from demos.tabs.compress_jobs import examples as codec_examples
from demos.tabs.fields_jobs import SCENES
from demos.tabs.personalize_jobs import examples as object_examples
from demos.tabs.sound_jobs import examples as sound_examples
from mappers.command_line import run_script
from mappers.yaml_settings import load_settings
from pipelines.personalization.settings import PersonalizeConfig

OUTPUT = result_path(__file__)
Job = Literal["personalize", "draw", "measure", "sound", "distill", "edit", "codec"]
BUDGETS: dict[Job, float | None] = {
    "personalize": 90.0,
    "draw": None,
    "measure": None,
    "sound": 5.0,
    "distill": 60.0,
    "edit": 10.0,
    "codec": 30.0,
}
"""Seconds that a tab's default job may take on two cores; None: no budget was set."""


def jobs(client: Client, root: Path, visitor: str) -> dict[Job, Callable[[], Any]]:
    """The default job of every tab, in the order of the page; each is a call of an endpoint."""

    def ask(name: str, *values: Any) -> Any:
        return client.predict(*values, api_name=f"/{name}")

    steps = load_settings(PersonalizeConfig, "nano", task="personalize").train.steps
    pictures = [{"image": handle_file(path), "caption": None} for path in object_examples(root)]

    def personalize() -> None:
        ask("personalize", pictures, "<my-thing>", "object", "nano", steps, 0, visitor)

    def draw() -> None:
        prompt = "a photo of a <teapot> on the beach"
        ask("draw", EXAMPLE, prompt, 4, 0, 128, 128, 1, "", visitor)

    others = [{"image": handle_file(path), "caption": None} for path in object_examples(root, others=True)]
    bell, face = handle_file(sound_examples(root)[0]), handle_file(codec_examples(root)[0])
    return {
        "personalize": personalize,
        "draw": draw,
        "measure": lambda: ask("measure", EXAMPLE, others, visitor),
        "sound": lambda: ask("vision_to_audio", bell, None, "", "", None, 2, "nano", 0, visitor),
        "distill": lambda: ask("distill", SCENES[0], "vm", 100, 0, visitor),
        "edit": lambda: ask("edit", "nano-chairs", 0, "a red chair", None, 1.0, True, True, 235, 25, visitor),
        "codec": lambda: ask("compress", face, "the whole picture, made smaller", 50, 50, "size", 900, 28, visitor),
    }


def main(*, chosen: tuple[Job, ...] = tuple(BUDGETS), output: Path = OUTPUT) -> None:
    """Time the default jobs of the app's tabs.

    Args:
        chosen: Jobs that are timed.
        output: Results.
    """
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    results = Results(output)
    with tempfile.TemporaryDirectory() as folder:
        page = launch(list(TABS), Path(folder), wait=False)
        try:
            client = Client(page.local_url, verbose=False)
            visitor = client.predict("", api_name="/visitor")
            for name, job in jobs(client, Path(folder), visitor).items():
                if name in chosen:
                    results.put(name, {"first": seconds(job), "again": seconds(job), "budget": BUDGETS[name]})
        finally:
            page.close()
    results.report(table(results.rows))


def seconds(job: Callable[[], Any]) -> float:
    """Seconds of the clock until a job is done."""
    begun = time.perf_counter()
    job()
    return round(time.perf_counter() - begun, 1)


def table(rows: dict[str, Row]) -> Table:
    """A row for each job."""
    lines = [[name, *(f"{row[key]:.1f}" for key in ("first", "again")), row["budget"]] for name, row in rows.items()]
    return Table("Seconds of a tab's default job", ["job", "first time", "again", "budget"], lines)


if __name__ == "__main__":
    raise SystemExit(run_script(main))
