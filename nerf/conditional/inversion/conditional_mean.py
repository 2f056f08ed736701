"""Expected codes of a family's objects given their parameters, for objects without a code in the table."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from mappers.ridge import ridge_regression

RIDGE = 50.0
"""Ridge penalty of products of two parameters; left-out codes of chairs and cars have the least error at 30 to 100."""
SLIGHT = 1e-3
"""Ridge penalty of single parameters, so that there is a solution for fewer objects than parameters."""


class ConditionalMean:
    """E[code | parameters] as a polynomial of second degree in standardised parameters, fitted by ridge regression.

    Args:
        parameters: parameters of the table's objects, in any unit: traits of shapes (`Family.traits_of`), or palettes.
        codes: codes of the table's objects.
    """

    def __init__(self, parameters: Float[Tensor, "n p"], codes: Float[Tensor, "n c"]):
        self.mean, self.scale = parameters.mean(0), parameters.std(0).clamp_min(1e-6)
        terms = self._terms(parameters)
        penalty = torch.full((terms.shape[1],), RIDGE)
        penalty[: parameters.shape[1]] = SLIGHT
        self.weight, self.bias = ridge_regression(terms, codes, penalty)

    def __call__(self, parameters: Float[Tensor, "n p"]) -> Float[Tensor, "n c"]:
        """Expected codes of objects with these parameters."""
        return (self._terms(parameters) @ self.weight.T + self.bias).to(parameters)

    def _terms(self, parameters: Float[Tensor, "n p"]) -> Float[Tensor, "n t"]:
        """Standardised parameters, and their products in pairs."""
        values = ((parameters - self.mean) / self.scale).double()
        one, other = torch.triu_indices(values.shape[1], values.shape[1])
        return torch.cat([values, values[:, one] * values[:, other]], 1)
