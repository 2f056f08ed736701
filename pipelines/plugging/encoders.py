"""Where learned words stand in what a pipeline makes of a prompt, whatever text encoders and templates it has.

Private copies of the tokenizers know the words.
What the encoders make of words is found again in the result by equality.
"""

from __future__ import annotations

import copy
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from tokenizers import AddedToken
from torch import Tensor, nn

UNIQUE = 0.01
"""Share of a word's input embedding that is noise of its own: no plain prompt is taken for one with the word."""


class Places(NamedTuple):
    """One encoded prompt's words, by which it is recognized."""

    at: Int[Tensor, " k"]
    """Places in the prompt."""
    states: Float[Tensor, "k d"]
    """What the pipeline hands to the denoiser there."""
    words: tuple[Any, ...]
    """The word at each of them."""
    last: int
    """The last place."""

    def same(self, other: Places) -> bool:
        """Whether both are of the same encoded prompt."""
        return torch.equal(self.at, other.at) and torch.equal(self.states, other.states)


class _Read(NamedTuple):
    """One call of a text encoder."""

    words: Int[Tensor, "b s"]
    """Number of the word at each place, from 1 on; 0 elsewhere."""
    states: list[Tensor]
    """All that the encoder answered, [b, s, ...]."""


def text_parts(pipe: Any) -> list[tuple[str, str]]:
    """Names of the tokenizers and text encoders that a pipeline has."""
    names = [(f"tokenizer{n}", f"text_encoder{n}") for n in ("", "_2", "_3", "_4")]
    parts = [(first, second) for first, second in names if getattr(pipe, second, None) is not None]
    return [(first, second) for first, second in parts if getattr(pipe, first, None) is not None]


def _of_text(tokenizer: Any) -> Any:
    """The tokenizer of a processor that prepares pictures too."""
    return getattr(tokenizer, "tokenizer", tokenizer)


class PrivateTokenizers:
    """Copies of a pipeline's tokenizers that know learned words, and the carriers that encoders read in their place.

    A word's carrier is the mean input embedding of its category, and noise of 1 %.

    Args:
        pipe: the pipeline.
        categories: the category of each word.
    """

    def __init__(self, pipe: Any, categories: Mapping[str, str]):
        self.pipe, self.categories = pipe, dict(categories)
        self.copies = {first: copy.deepcopy(getattr(pipe, first)) for first, _ in text_parts(pipe)}
        for tokenizer in self.copies.values():
            added = [AddedToken(_written(i), normalized=False) for i in range(len(categories))]
            _of_text(tokenizer).add_tokens(added)

    def written(self, pieces: Sequence[tuple[str, str | None]]) -> str:
        """A prompt in pieces as the private tokenizers read it: no cleaning of prompts changes these words."""
        order = list(self.categories)
        return "".join(piece if token is None else _written(order.index(token)) for piece, token in pieces)

    @contextmanager
    def in_use(self) -> Iterator[list[_Read]]:
        """While the pipeline encodes prompts; yields what its encoders read."""
        reads: list[_Read] = []
        before = {name: self.pipe.__dict__[name] for name in self.copies}
        with ExitStack() as stack:
            for first, second in text_parts(self.pipe):
                stack.enter_context(self._watch(first, getattr(self.pipe, second), reads))
            self.pipe.__dict__.update(self.copies)
            try:
                yield reads
            finally:
                self.pipe.__dict__.update(before)

    @contextmanager
    def _watch(self, name: str, encoder: nn.Module, reads: list[_Read]) -> Iterator[None]:
        """Let ``encoder`` read carriers, and note what it makes of them."""
        tokenizer = _of_text(self.copies[name])
        new = torch.tensor([tokenizer.convert_tokens_to_ids(_written(i)) for i in range(len(self.categories))])
        plain = _of_text(self.pipe.__dict__[name])
        carried = [plain(category, add_special_tokens=False).input_ids for category in self.categories.values()]
        masks: list[Tensor] = []

        def before(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            ids = kwargs["input_ids"] if "input_ids" in kwargs else args[0]
            same = ids[..., None] == new.to(ids)
            masks.append(torch.where(same.any(-1), same.int().argmax(-1) + 1, 0))
            # The new numbers are beyond what the encoder knows, and some pool at the highest.
            for i, own in enumerate(carried):
                ids = torch.where(masks[-1] == i + 1, own[-1], ids)
            return (args, kwargs | {"input_ids": ids}) if "input_ids" in kwargs else ((ids, *args[1:]), kwargs)

        def embed(module: nn.Module, _args: tuple[Any, ...], output: Tensor) -> Tensor | None:
            if not masks or output.shape[:-1] != masks[-1].shape:
                return None
            for i, (token, own) in enumerate(zip(self.categories, carried, strict=True)):
                # The inner call loads weights that are kept elsewhere between calls.
                mean = module.forward(torch.tensor(own, device=output.device)).mean(0)
                output = torch.where((masks[-1] == i + 1)[..., None], _carrier(mean, token), output)
            return output

        def after(_module: nn.Module, _args: tuple[Any, ...], output: Any) -> None:
            reads.append(_Read(masks[-1], list(_states(output, masks[-1].shape))))

        table = encoder.get_input_embeddings()  # pyright: ignore[reportCallIssue]
        # T5 has its table twice, and reads the one that it does not name here.
        tables = [m for m in encoder.modules() if isinstance(m, nn.Embedding) and m.weight.shape == table.weight.shape]
        handles = [part.register_forward_hook(embed) for part in tables]
        handles.append(encoder.register_forward_pre_hook(before, with_kwargs=True))
        handles.append(encoder.register_forward_hook(after))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def places_in(row: Float[Tensor, "s d"], reads: Sequence[_Read], words: Sequence[Any]) -> Places | None:
    """Where in an encoded prompt the encoders' own states of words are, in whatever order they were put together.

    Args:
        row: the encoded prompt.
        reads: what the encoders read.
        words: the words, in the order of their numbers.
    """
    found = torch.zeros(len(row), dtype=torch.long, device=row.device)
    for read in reads:
        for state in read.states:
            width = state.shape[-1]
            if width > row.shape[-1] or not (read.words > 0).any():
                continue
            vectors = state[read.words > 0].to(row)
            numbers = read.words[read.words > 0].to(row.device)
            for vector, number in zip(vectors, numbers, strict=True):
                found = torch.where((row[:, :width] == vector).all(-1), number, found)
    at = found.nonzero()[:, 0]
    if not len(at):
        return None
    return Places(at, row[at].detach().clone(), tuple(words[n - 1] for n in found[at].tolist()), int(at[-1]))


def recognized(rows: Sequence[Tensor], known: Sequence[Places]) -> list[Places | None]:
    """For each row that a denoiser is called with the places of its words; of several that fit, the most."""
    pairs = [(i, places) for i, row in enumerate(rows) for places in known if _fits(row, places)]
    if not pairs:
        return [None] * len(rows)
    there = [rows[i][places.at.to(rows[i].device)] == places.states.to(rows[i]) for i, places in pairs]
    same = torch.stack([equal.all() for equal in there]).tolist()
    found: list[Places | None] = [None] * len(rows)
    for (i, places), equal in zip(pairs, same, strict=True):
        before = found[i]
        if equal and (before is None or len(places.at) > len(before.at)):
            found[i] = places
    return found


def _fits(row: Tensor, places: Places) -> bool:
    return row.shape[-1] == places.states.shape[-1] and len(row) > places.last


def _written(number: int) -> str:
    """A word that no tokenizer knows and no cleaning of prompts touches: small letters alone."""
    return "mapfieldword" + "".join("abcdefghij"[int(digit)] for digit in f"{number:02d}")


def _carrier(mean: Float[Tensor, " d"], token: str) -> Float[Tensor, " d"]:
    noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(zlib.crc32(token.encode()))).to(mean)
    return mean + UNIQUE * mean.norm() * noise / noise.norm()


def _states(output: Any, shape: torch.Size) -> Iterator[Tensor]:
    """All tensors [b, s, ...] in what an encoder answers."""
    if isinstance(output, Tensor):
        if output.ndim == 3 and output.shape[:2] == shape:
            yield output
    elif isinstance(output, Mapping):
        for value in output.values():
            yield from _states(value, shape)
    elif isinstance(output, list | tuple):
        for value in output:
            yield from _states(value, shape)
