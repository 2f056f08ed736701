"""Embeddings of files, computed once: a cache on disk, keyed by file content."""

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
    """Id of an embedding space: 16 hexadecimal digits of the SHA-256 of its models' weights.

    Weights are hashed as fp32, so that fp16 weights and the fp32 model loaded from them have the same id.
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
    """Embeddings on disk, keyed by embedding space and file content: moved and copied files are not embedded again.

    Each batch is written as one safetensors file, completely or not at all. Damaged files are deleted and their
    embeddings computed again.

    Args:
        folder: of the cache; created when needed.
        space: `space_id` of the embedding model; embeddings of other spaces are ignored.
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
        """The embeddings of files, in order; ``embed`` is called only for contents that are not cached.

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
