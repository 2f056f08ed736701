"""What the tabs of the app share: visitors, their folders, and running a job with a progress bar."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .jobs import Cancelled, JobError, Progress, Worker
from .tabs.editing_models import Category, Editors

if TYPE_CHECKING:
    import gradio as gr  # otherwise where a page needs it: the worker's process starts sooner without

VISITOR = re.compile(r"[0-9a-f]{32}")
PICTURES = (".png", ".jpg", ".gif")
FOLDERS = re.compile(r"(?<![\w.])/(?:[^\s/'\"]+/)+")
"""Of this machine, in messages: no visitor's business."""


def refusal(message: str) -> gr.Error:
    """The error that a visitor sees; it stays long enough to be read."""
    import gradio as gr

    return gr.Error(message, duration=20, print_exception=False)


@contextmanager
def refusals() -> Iterator[None]:
    """Errors of the library inside this block become errors that a visitor sees."""
    try:
        yield
    except (ValueError, OSError) as error:
        raise refusal(FOLDERS.sub("", str(error))) from None


def job(handler: Callable[..., Any]) -> Callable[..., Any]:
    """A page's handler that runs a job: what the page shows stays as it is when the job is cancelled."""

    @wraps(handler)
    def handled(*arguments: Any, **named: Any) -> Any:
        import gradio as gr

        try:
            return handler(*arguments, **named)
        except Cancelled as cancelled:
            gr.Info(str(cancelled))
            return gr.skip()

    return handled


@dataclass(frozen=True)
class Studio:
    """The app's place on disk and its worker.

    Args:
        root: folder of all results, one folder for each visitor in it.
        models: text-to-image models that visitors may choose of; nothing else is loaded, whatever they upload.
        sounds: generators of sounds that visitors may choose of; likewise.
        categories: category models that visitors may choose of; likewise.
    """

    root: Path
    models: tuple[str, ...] = ("nano",)
    sounds: tuple[str, ...] = ("nano",)
    categories: tuple[Category, ...] = ()
    worker: Worker = field(default_factory=Worker)
    editors: Editors = field(default_factory=Editors)

    def work(
        self,
        visitor: str,
        work: Callable[..., dict[str, Any]],
        *,
        progress: gr.Progress,
        steps: int | None = None,
        keep: bool = True,
        **arguments: Any,
    ) -> dict[str, Any]:
        """Run ``work(folder=..., **arguments)`` for a visitor in a new folder of theirs.

        Args:
            visitor: their number.
            progress: where to show how far it is.
            steps: how many the job takes, where it counts them.
            keep: whether it writes anything; otherwise ``work`` is called without a folder.

        Raises:
            Cancelled: the visitor cancelled it; `job` tells the page so.
            gr.Error: the job gave no result; the message says why.
        """
        folder = self.fresh(visitor, work.__name__)  # refuses who has no number, kept or not
        result: dict[str, Any] = {}
        try:
            for state in self.worker.run(visitor, work, folder=folder if keep else None, **arguments):
                if isinstance(state, Progress):
                    progress(*_shown(state, steps))
                else:
                    result = state
        except Cancelled:
            raise
        except JobError as error:
            raise refusal(FOLDERS.sub("", str(error))) from None
        return result

    def cancel(self, visitor: str) -> None:
        """Stop a visitor's running job."""
        if not self.worker.cancel(visitor):
            import gradio as gr

            gr.Info("none of your jobs is running")

    def folder(self, visitor: str) -> Path:
        """Where a visitor's results are.

        Raises:
            gr.Error: that is no visitor's number.
        """
        if not isinstance(visitor, str) or not VISITOR.fullmatch(visitor):
            raise refusal("this page has lost its visitor's number; load it again")
        return self.root / visitor

    def fresh(self, visitor: str, job: str) -> Path:
        """A folder that is not there yet, for a job of a visitor.

        Raises:
            gr.Error: that is no visitor's number.
        """
        name = f"{time.strftime('%Y%m%d-%H%M%S')}-{job}"
        names = (name if i == 1 else f"{name}-{i}" for i in count(1))
        return next(path for path in map(self.folder(visitor).joinpath, names) if not path.exists())

    def results(self, visitor: str) -> list[tuple[str, str]]:
        """A visitor's pictures, the latest first, each with the name of its job."""
        folder = self.folder(visitor)
        paths = [p for p in folder.glob("*/*") if p.suffix in PICTURES] if folder.is_dir() else []
        paths.sort(key=lambda path: (path.parent.name, path.name), reverse=True)
        return [(str(path), f"{path.parent.name}/{path.name}") for path in paths]


def new_visitor() -> str:
    """A number that nobody guesses."""
    return secrets.token_hex(16)


def _shown(state: Progress, steps: int | None) -> tuple[Any, str]:
    step = int(state.metrics.get("step", 0))
    figures = [
        f"{name.split('/')[-1]} {value:.3g}"
        for name, value in state.metrics.items()
        if name in ("train/loss", "train/psnr", "val/psnr_to_teacher")
    ]
    if not (steps and step):
        return 0.0, f"{state.seconds:.0f} s"
    return (min(step, steps), steps), ", ".join([f"step {step} of {steps}", *figures])
