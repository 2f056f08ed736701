"""A missing package of an extra is one sentence that names the extra."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from mappers.extras import EXTRAS, MissingExtraError, extra
from pipelines.audio.files import resample


def test_other_modules_are_a_bug() -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_module"), extra("audio"):
        import no_such_module  # pyright: ignore[reportMissingImports]  # noqa: F401


@pytest.mark.parametrize("name", EXTRAS)
def test_each_extra_is_named(name: str) -> None:
    with pytest.raises(MissingExtraError, match=rf"install mapfield\[{name}\]: python -m pip install"), extra(name):
        raise ModuleNotFoundError("No module named 'x'", name=f"{EXTRAS[name][0]}.inner")


def test_a_function_of_the_package_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "soxr", None)
    with pytest.raises(MissingExtraError, match=r"soxr is not installed; install mapfield\[audio\]"):
        resample(np.zeros(16, np.float32), 16_000, 8_000)
