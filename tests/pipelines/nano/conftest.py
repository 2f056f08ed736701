"""Fixtures of the nano models' tests."""

from __future__ import annotations

import pytest

from pipelines.nano.world.moments import Clips


@pytest.fixture(scope="session")
def clips() -> Clips:
    return Clips(None, 32, 11)
