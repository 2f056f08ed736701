"""``mapfield nerf info``: what a file holds, without torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nerf.compression.block_order import BlockOrder
from nerf.compression.container.bitstream import Container, Item
from nerf.compression.model.codec import load_model
from nerf.compression.model.stored import folder_of, stored_model
from nerf.compression.overview import block_sizes


@pytest.mark.parametrize(("name", "dims"), [("photos", (200, 130)), ("tiny", (32, 64)), ("sounds", (20_000,))])
def test_blocks_are_counted_as_a_decoder_counts_them(name: str, dims: tuple[int, ...]) -> None:
    """Of models with several levels and components too."""
    model, stored = load_model(name), stored_model(folder_of(name))
    tiling = model.description.tiling(dims)
    choices = np.random.default_rng(0).integers(model.description.components, size=tiling.rows[0])
    components = tuple(int(choice) for choice in choices)
    order = BlockOrder(model, 1, tiling, components)
    assert block_sizes(stored, 1, tiling, components) == [(b.level, len(b.rows)) for b in order.blocks.values()]


def test_a_file_is_described_without_torch(tmp_path: Path) -> None:
    """Importing torch and what the codec reads media with takes seconds and hundreds of megabytes."""
    model = stored_model(folder_of("tiny"))
    file = tmp_path / "a.mfc"
    item = Item((32, 32), 0, b"")
    file.write_bytes(Container("picture", model.id, model.description.candidate_bits, 0, [item]).write())
    code = (
        "import sys; from nerf.cli import main\n"
        f"assert main(['info', {str(file)!r}]) == 0\n"
        "assert not {'torch', 'av', 'matplotlib', 'accelerate', 'PIL'} & set(sys.modules), sorted(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[:3] == ["modality\tpicture", "method\tindices", f"model\t{model.id.hex()}"]
    assert "file bytes\t" in done.stdout
