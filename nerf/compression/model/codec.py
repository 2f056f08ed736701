"""A trained codec model: network, priors, blocks and tables, stored as a folder of safetensors and JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from safetensors import SafetensorError
from safetensors.numpy import load_file
from torch import Tensor

from ..coding.indices import IndexCode, PrefixCode, word_lengths
from ..coding.shared_randomness import normal_table
from ..description import Description
from .amortiser import Amortiser
from .gaussians import DiagonalGaussian
from .network import Representation, Transform
from .priors import Priors
from .stored import FORMAT, damaged, folder_of, model_id, stored_model, write_model

SPARE_BITS = 3
"""Bits of a block's candidates beyond its mean information. Fuller blocks are better for data like the training data,
and worse for data of less information, which use only part of their bits."""
SMALLEST_BITS = 0.02
"""Latent numbers of less mean information than this, in bits, are never sent: they keep the prior's mean."""


@dataclass(frozen=True)
class Rate:
    """Priors, blocks and codes of one of a model's rates."""

    prior: list[DiagonalGaussian]
    """Prior of each level, [components, columns]."""
    blocks: list[Int[Tensor, "_components _columns"]]
    """For each level, the number of each column's block; -1 for columns that are never sent."""
    beta: float
    """Squared error that training traded for a nat of information."""
    component_code: PrefixCode
    """Prefix code of the components that patches choose."""

    def members(self, level: int, component: int) -> list[Int[Tensor, " _d"]]:
        """The columns of each block of a level and component."""
        blocks = self.blocks[level][component]
        return [torch.nonzero(blocks == number)[:, 0] for number in range(int(blocks.max()) + 1)]


class CodecModel:
    """Everything that a decoder needs to turn indices into values, and what an encoder needs to find the indices.

    Args:
        description: of the data and the network.
        tensors: the network's weights ("network.*"), each rate's "mean", "std", "block" and "log_beta", and the
            quantile "table".
        lengths: bits of each word of the index code.
        component_lengths: for each rate, bits of each word of the code of the prior's components.
        amortiser: weights of the amortiser, which only an encoder needs.
    """

    def __init__(
        self,
        description: Description,
        tensors: Mapping[str, np.ndarray],
        lengths: list[int],
        component_lengths: list[list[int]],
        amortiser: Mapping[str, np.ndarray],
    ):
        self.description, self.tensors, self.code = description, dict(tensors), IndexCode(lengths)
        self.component_lengths = component_lengths
        self.config = {
            "format": FORMAT, "description": dataclasses.asdict(description), "word_lengths": lengths,
            "name_lengths": component_lengths,
        }  # fmt: skip
        self.id = model_id(self.config, self.tensors)
        self.table = self.tensors["table"]
        self.network = Representation(description)
        _load(self.network, {k.removeprefix("network."): v for k, v in tensors.items() if k.startswith("network.")})
        self.amortiser = Amortiser(description)
        self.amortiser_tensors = dict(amortiser)
        _load(self.amortiser, amortiser)
        self.rates = [self._rate(number) for number in range(len(description.budgets))]

    @property
    def key(self) -> int:
        """The id as a 64-bit number, the key of shared randomness."""
        return int.from_bytes(self.id, "little")

    def _rate(self, number: int) -> Rate:
        def levels(name: str) -> list[Tensor]:
            dtype = torch.int64 if name == "block" else torch.float32
            values = torch.from_numpy(np.asarray(self.tensors[name][number])).to(dtype)
            layout = self.description.priors
            parts = values.split([count * width for count, width in layout])
            return [part.view(shape) for part, shape in zip(parts, layout, strict=True)]

        prior = [DiagonalGaussian(mean, std) for mean, std in zip(levels("mean"), levels("std"), strict=True)]
        beta = float(np.exp(self.tensors["log_beta"][number]))
        return Rate(prior, levels("block"), beta, PrefixCode(self.component_lengths[number]))

    def save(self, folder: Path) -> None:
        """Write ``config.json``, ``model.safetensors`` and ``amortiser.safetensors``."""
        tensors = {"model.safetensors": self.tensors, "amortiser.safetensors": self.amortiser_tensors}
        write_model(folder, self.config, tensors)

    @classmethod
    def load(cls, folder: Path) -> CodecModel:
        """Read what :meth:`save` wrote.

        Raises:
            CodecModelError: the folder holds no codec model, or a damaged one.
        """
        stored = stored_model(folder)
        try:
            amortiser = load_file(folder / "amortiser.safetensors")
            return cls(stored.description, stored.tensors, stored.lengths, stored.component_lengths, amortiser)
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise damaged(folder, error) from error

    @classmethod
    def trained(
        cls, description: Description, network: Representation, amortiser: Amortiser, priors: Priors
    ) -> CodecModel:
        """A model of trained parts.

        Weights are rounded to half precision; those of the transform, which has most of them, to 8 bits.
        """
        information = priors.information.cpu().numpy()
        columns = np.cumsum([width for count, width in description.priors for _ in range(count)])[:-1]
        blocks = [
            np.concatenate(
                [cut_blocks(part, description.candidate_bits - SPARE_BITS) for part in np.split(rate, columns)]
            )
            for rate in information
        ]
        tensors = {f"network.{name}": value for name, value in (_halves(network) | _bytes(network.transform)).items()}
        single = {name: getattr(priors, name).cpu().numpy() for name in ("mean", "std", "log_beta")}
        tensors |= single | {"block": np.stack(blocks).astype(np.int16), "table": normal_table()}
        # Until indices are counted, the probability of an exponent is its share of the candidates.
        weights = [2.0**exponent for exponent in range(description.candidate_bits)] + [1.0]
        component_lengths = [word_lengths(share) for share in priors.share.tolist()]
        return cls(description, tensors, word_lengths(weights), component_lengths, _halves(amortiser))

    def with_counts(self, counts: Float[np.ndarray, " exponents"]) -> CodecModel:
        """This model with the index code for exponents that occur ``counts`` times."""
        lengths = word_lengths(counts.tolist())
        return CodecModel(self.description, self.tensors, lengths, self.component_lengths, self.amortiser_tensors)


def cut_blocks(information: Float[np.ndarray, " columns"], capacity: float) -> Int[np.ndarray, " columns"]:
    """The block of each column: consecutive columns in falling order of information, or -1 for those never sent.

    The columns of a block have at most ``capacity`` bits of information together, on average. The paper cuts blocks in
    a random order. Sorted, the first blocks of a stream carry the most information, so that a stream may end early.
    Full blocks are worth more than capacity for unusual data: an index of little information takes many bits relative
    to it, while a sample chosen among too few candidates is only slightly inexact.
    """
    blocks = np.full(len(information), -1)
    number, total = -1, 0.0
    for column in np.argsort(-information, kind="stable"):
        bits = float(information[column])
        if bits < SMALLEST_BITS:
            break
        if number < 0 or total + bits > capacity:
            number, total = number + 1, 0.0
        blocks[column] = number
        total += bits
    return blocks


@lru_cache(maxsize=4)
def load_model(model: str) -> CodecModel:
    """A shipped model by name, or one in a folder.

    Raises:
        FileNotFoundError: there is no such model; the message lists the shipped ones.
        CodecModelError: the model is damaged.
    """
    return CodecModel.load(folder_of(model))


def _load(module: torch.nn.Module, tensors: Mapping[str, np.ndarray]) -> None:
    module.load_state_dict({name: torch.from_numpy(value).float() for name, value in tensors.items()})
    module.eval().requires_grad_(False)


def _halves(module: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: value.half().cpu().numpy() for name, value in module.state_dict().items()}


def _bytes(transform: Transform) -> dict[str, np.ndarray]:
    """A transform with rows of whole numbers up to 127; the rows' quantization step is part of their scale."""
    step = transform.basis.detach().flatten(1).abs().amax(1).clamp_min(1e-12) / 127
    basis = (transform.basis.detach() / step.view(-1, *[1] * (transform.basis.dim() - 1))).round().to(torch.int8)
    return {
        "transform.basis": basis.cpu().numpy(),
        "transform.scale": (transform.scale * step).cpu().numpy(),
    }
