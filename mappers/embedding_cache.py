"""Embeddings of files, computed once: a cache keyed by what a file holds."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from tqdm.auto import tqdm

from .files import replacing


def space_id(*models: nn.Module) -> str:
    """What tells an embedding space apart: 16 hexadecimal digits of the SHA-256 of its models' weights.

    Weights count as fp32, so that a file in half precision and the model loaded from it have the same id.
    """
    digest = hashlib.sha256()
    for model in models:
        for name, value in sorted(model.state_dict().items()):
            digest.update(name.encode())
            digest.update(str(list(value.shape)).encode())
            value = value.detach().cpu()
            digest.update((value.float() if value.is_floating_point() else value).contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


class EmbeddingCache:
    """Embeddings on disk by (space, content of the file), so that moved, copied and resumed work is not done again.

    Every batch becomes one safetensors file that appears whole or not at all; a damaged one is left out and its
    embeddings are computed again.

    Args:
        folder: where the files are; made when needed.
        space: `space_id` of the model that embeds; other spaces' embeddings are not looked at.
    """

    def __init__(self, folder: str | Path, space: str):
        self.folder = Path(folder) / space
        self.known: dict[str, Tensor] = {}
        for path in sorted(self.folder.glob("*.safetensors")):
            try:
                self.known.update(load_file(path))
            except SafetensorError:
                path.unlink()

    def embed(
        self, paths: Sequence[str | Path], embed: Callable[[list[Path]], Float[Tensor, "b d"]], *, batch: int = 32
    ) -> Float[Tensor, "n d"]:
        """The embeddings of files, in order; ``embed`` is asked only for contents that were never seen.

        Raises:
            FileNotFoundError: a file is missing.
        """
        keys = [content_key(path) for path in paths]
        new = {key: Path(path) for key, path in zip(keys, paths, strict=True) if key not in self.known}
        wanted = list(new)
        for first in tqdm(range(0, len(wanted), batch), unit="batch", desc="embedding", disable=not wanted):
            part = wanted[first : first + batch]
            rows = embed([new[key] for key in part]).detach().float().cpu()
            self._keep({key: row.clone() for key, row in zip(part, rows, strict=True)})
        return torch.stack([self.known[key] for key in keys])

    def _keep(self, rows: dict[str, Tensor]) -> None:
        name = hashlib.sha256("".join(sorted(rows)).encode()).hexdigest()[:32]
        with replacing(self.folder / f"{name}.safetensors") as temporary:
            save_file(rows, temporary)
        self.known.update(rows)


def content_key(path: str | Path) -> str:
    """SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
