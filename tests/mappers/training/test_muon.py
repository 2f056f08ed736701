"""Muon against the singular value decomposition, torch's AdamW, and a problem that it should solve."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mappers.training.muon import Muon, matrix_parameters, orthogonalize


@pytest.mark.parametrize("shape", [(24, 60), (60, 24), (40, 40)])
def test_orthogonalize_keeps_singular_vectors_and_levels_singular_values(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    matrix = torch.randn(shape)
    result = orthogonalize(matrix)
    u, s, v = torch.linalg.svd(matrix, full_matrices=False)
    levelled = u.T @ result @ v.T
    large = s > 0.05 * s[0]
    assert levelled.diagonal()[large].min() > 0.6
    assert levelled.diagonal().max() < 1.3
    off = levelled - torch.diag(levelled.diagonal())
    assert off.abs().max() < 1e-3


def test_scale_of_the_gradient_does_not_matter() -> None:
    matrix = torch.randn(20, 30, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(orthogonalize(matrix), orthogonalize(matrix * 1e3), rtol=1e-4, atol=1e-5)


def test_embeddings_biases_and_narrow_layers_are_left_to_adamw() -> None:
    module = nn.ModuleDict(
        {
            "table": nn.Embedding(50, 32),
            "wide": nn.Linear(32, 32),
            "narrow": nn.Linear(32, 4),
            "conv": nn.Conv2d(16, 32, 3),
        }
    )
    names = {name for name, p in module.named_parameters() if any(p is m for m in matrix_parameters(module))}
    assert names == {"wide.weight", "conv.weight"}


def test_others_take_the_steps_of_torch_adamw() -> None:
    torch.manual_seed(0)
    start = torch.randn(7)
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    mine = Muon([], [ours], lr=0.01, betas=(0.9, 0.99), weight_decay=0.1)
    reference = torch.optim.AdamW([theirs], lr=0.01, betas=(0.9, 0.99), weight_decay=0.1)
    for step in range(10):
        for parameter, optimizer in ((ours, mine), (theirs, reference)):
            parameter.grad = torch.sin(parameter.detach() + step)
            optimizer.step()
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_first_step_has_the_size_of_adamw() -> None:
    conv = nn.Conv2d(32, 32, 3, bias=False)
    before = conv.weight.detach().clone()
    conv.weight.grad = torch.randn(conv.weight.shape, generator=torch.Generator().manual_seed(0))
    Muon([conv.weight], [], lr=1.0, weight_decay=0.0).step()
    size = (conv.weight - before).square().mean().sqrt().item()
    assert 0.7 < size < 1.2  # 1 for exactly orthogonal rows


def test_it_solves_least_squares() -> None:
    torch.manual_seed(0)
    inputs, target = torch.randn(256, 32), torch.randn(32, 32)
    layer = nn.Linear(32, 32)
    optimizer = Muon([layer.weight], [layer.bias], lr=0.02, weight_decay=0.0)
    for step in range(400):
        loss = (layer(inputs) - inputs @ target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        for group in optimizer.param_groups:
            group["lr"] = 0.02 * (1 - step / 400)
        optimizer.step()
    assert loss.item() < 1e-2
