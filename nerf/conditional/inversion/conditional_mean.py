"""Codes of a family's objects that no table holds, guessed from what is known of the objects."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from mappers.ridge import ridge_regression

RIDGE = 50.0
"""Penalty of products; between 30 and 100 codes of chairs and cars that were left out are guessed best."""
SLIGHT = 1e-3
"""Penalty of the parameters themselves, so that there is a solution for fewer objects than parameters."""


class ConditionalMean:
    """A polynomial of second degree from standardised parameters to codes, fitted to a table by ridge regression.

    Args:
        parameters: of the table's objects, each in any unit: traits of shapes (`Family.traits_of`), or palettes.
        codes: theirs.
    """

    def __init__(self, parameters: Float[Tensor, "n p"], codes: Float[Tensor, "n c"]):
        self.mean, self.scale = parameters.mean(0), parameters.std(0).clamp_min(1e-6)
        terms = self._terms(parameters)
        penalty = torch.full((terms.shape[1],), RIDGE)
        penalty[: parameters.shape[1]] = SLIGHT
        self.weight, self.bias = ridge_regression(terms, codes, penalty)

    def __call__(self, parameters: Float[Tensor, "n p"]) -> Float[Tensor, "n c"]:
        """What the codes of objects would be."""
        return (self._terms(parameters) @ self.weight.T + self.bias).to(parameters)

    def _terms(self, parameters: Float[Tensor, "n p"]) -> Float[Tensor, "n t"]:
        """Every parameter, and every product of two."""
        values = ((parameters - self.mean) / self.scale).double()
        one, other = torch.triu_indices(values.shape[1], values.shape[1])
        return torch.cat([values, values[:, one] * values[:, other]], 1)
