"""Muon for weight matrices and AdamW for everything else, as one optimizer.

K. Jordan and others, 2024: https://kellerjordan.github.io/posts/muon
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

NARROWEST = 16
"""Matrices with fewer rows or columns are left to AdamW: orthogonalization gains little there."""
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Coefficients of the quintic iteration: steep at zero, so that five rounds bring every singular value to about one."""


def orthogonalize(matrix: Float[Tensor, "m n"], rounds: int = 5) -> Float[Tensor, "m n"]:
    """Nearly U V^T of the singular value decomposition U S V^T of ``matrix``, by Newton-Schulz iteration.

    Singular values of the result lie in about 0.7..1.2; those that were zero stay zero.
    """
    a, b, c = COEFFICIENTS
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / (x.norm() + 1e-7)
    # Every round multiplies x by a polynomial of its Gram matrix, and these commute: the long side of a kernel, often
    # twenty times the short one, takes part in the first and in the last product only.
    gram = x @ x.T
    factor = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    for _ in range(rounds):
        step = torch.addmm(gram, gram, gram, beta=b, alpha=c)
        step.diagonal().add_(a)
        factor, gram = step @ factor, step @ gram @ step
    x = factor @ x
    return x.T if tall else x


def matrix_parameters(module: nn.Module) -> list[nn.Parameter]:
    """The trained weights of ``module`` that Muon may update: linear and convolution kernels, no embeddings."""
    tables = {id(child.weight) for child in module.modules() if isinstance(child, nn.Embedding)}
    return [
        p
        for p in module.parameters()
        if p.requires_grad and p.ndim >= 2 and id(p) not in tables and min(p.flatten(1).shape) >= NARROWEST
    ]


class Muon(torch.optim.Optimizer):
    """Steps of orthogonalized Nesterov momentum for ``matrices``, and AdamW's for ``others``.

    A kernel of a convolution counts as the matrix [out, in x height x width]. Updates are scaled by sqrt(max(m, n))
    to a root mean square of about one, that of AdamW's first steps, so that one learning rate serves both
    (arXiv 2502.16982 scales to 0.2 of that, the size of AdamW's later steps). `docs/notebook/nano.md` says what was
    tried.
    """

    def __init__(
        self,
        matrices: Iterable[nn.Parameter],
        others: Iterable[nn.Parameter],
        *,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.01,
        momentum: float = 0.95,
        eps: float = 1e-8,
    ):
        common = {"lr": lr, "weight_decay": weight_decay, "betas": betas, "momentum": momentum, "eps": eps}
        groups = [{"params": list(matrices), "muon": True}, {"params": list(others), "muon": False}]
        super().__init__([group for group in groups if group["params"]], common)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient."""
        result = None
        if closure is not None:
            with torch.enable_grad():
                result = closure()
        for group in self.param_groups:
            update = self._muon if group["muon"] else self._adam
            for p in group["params"]:
                if p.grad is not None:
                    p.mul_(1 - group["lr"] * group["weight_decay"])
                    p.add_(update(p, group), alpha=-group["lr"])
        return result

    def _muon(self, p: Tensor, group: dict[str, Any]) -> Tensor:
        state = self.state[p]
        momentum = state.setdefault("momentum", torch.zeros_like(p))
        momentum.lerp_(p.grad, 1 - group["momentum"])
        direction = p.grad.lerp(momentum, group["momentum"]).flatten(1)
        return orthogonalize(direction).view_as(p) * max(direction.shape) ** 0.5

    def _adam(self, p: Tensor, group: dict[str, Any]) -> Tensor:
        state = self.state[p]
        if not state:
            state["step"] = torch.zeros(())
            state["first"], state["second"] = torch.zeros_like(p), torch.zeros_like(p)
        beta1, beta2 = group["betas"]
        state["step"] += 1
        steps = float(state["step"])
        state["first"].lerp_(p.grad, 1 - beta1)
        state["second"].lerp_(p.grad.square(), 1 - beta2)
        scale = (state["second"] / (1 - beta2**steps)).sqrt_().add_(group["eps"])
        return state["first"] / scale / (1 - beta1**steps)
