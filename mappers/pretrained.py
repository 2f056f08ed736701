"""Small models in diffusers' layout, of whichever of some classes, with one sentence for all that can be wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypeVar

from diffusers import ModelMixin
from safetensors import SafetensorError

Model = TypeVar("Model", bound=ModelMixin)


def load_pretrained(folder: str | Path, classes: tuple[type[Model], ...], what: str, command: str) -> Model:
    """Read what ``save_pretrained`` wrote, in single precision and for evaluation.

    Args:
        folder: holds ``config.json``, which names the class, and the weights.
        classes: the classes that the model may be of.
        what: what the folder should hold, for messages.
        command: the command that trains one, for messages.

    Raises:
        FileNotFoundError: there is none.
        ValueError: the folder holds another kind of model, or a damaged one.
    """
    folder, known = Path(folder).expanduser(), {cls.__name__: cls for cls in classes}
    path = folder / "config.json"
    if not path.is_file():
        raise FileNotFoundError(f"{folder} holds no {what}; train one with {command}")
    try:
        kind = json.loads(path.read_text(encoding="utf-8")).get("_class_name")
        if kind not in known:
            raise ValueError(f"it is of the class {kind}")
        model = known[kind].from_pretrained(str(folder), low_cpu_mem_usage=False)
        if not all(bool(value.isfinite().all()) for value in model.state_dict().values()):
            raise ValueError("its numbers are not finite")
    except (OSError, ValueError, TypeError, AttributeError, RuntimeError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{folder} is not a whole {what} ({reason}); restore or train it again") from error
    return model.float().eval()
