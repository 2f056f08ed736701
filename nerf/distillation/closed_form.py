"""Closed-form starts: a grid family starts as a sampled and factorized copy of its teacher.

No gradient step is made. Beyond PVD's paper, whose students start from random weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from ..fields import VolumeField, spherical_harmonics
from ..fields.low_rank import LINES, PLANES, CPField, LowRankField, VMField
from ..fields.voxel import VoxelField

DIRECTIONS = 32
"""Number of view directions to which a node's colour is fitted."""
ROUNDS = 12
"""Alternations of a least-squares factorization."""
RIDGE = 1e-4
"""Added to the diagonal of a normal matrix, relative to its mean; it keeps the matrix invertible."""
TURNS = 3
"""How often every axis of VM takes back what it fits better than the others did."""
FACTORIZED = 96
"""Most nodes along an axis that are factorized; factors of finer tensors are interpolated from there.

Time grows with the cube. A paper-size VM of a hash grid, 300 nodes, reached 38.8, 40.4 and 41.0 dB of its teacher's
pictures from 64, 96 and 128 nodes in 16, 57 and 140 processor seconds; all 300 took 2,765.
"""


def initialize_from_teacher(teacher: VolumeField, student: VolumeField, log_density: tuple[float, float]) -> bool:
    """Set the student's grids to the teacher's values; False, and no change, if its family has no closed form.

    Where colour features mean something else to the teacher, a factorized student takes over the density alone.

    Args:
        teacher: any field.
        student: voxel, vm or cp; its colour head must already be what it will be.
        log_density: range that log-densities are cut to, for a factorization would spend its rank on the rest.
    """
    start = CLOSED_FORMS.get(type(student))
    if start is None:
        return False
    with torch.no_grad():
        if isinstance(student, LowRankField) and (size := student.config.resolution) > FACTORIZED:
            coarse = student.resized(FACTORIZED)
            start(teacher, coarse, log_density)
            student.load_state_dict(coarse.resized(size).state_dict())
        else:
            start(teacher, student, log_density)
    return True


def shares_head(teacher: VolumeField, student: VolumeField) -> bool:
    """Whether both fields have the same colour features: equal feature counts and equal head weights."""
    theirs, ours = teacher.head.state_dict(), student.head.state_dict()
    return (
        teacher.feature_size == student.feature_size
        and list(theirs) == list(ours)
        and all(a.shape == b.shape and torch.equal(a, b) for a, b in zip(theirs.values(), ours.values(), strict=True))
    )


def node_points(field: VolumeField, resolution: int) -> Float[Tensor, "n 3"]:
    """World positions of a grid's nodes over the field's box, x fastest, then y, then z."""
    axis = torch.linspace(0, 1, resolution, device=field.bounds.device)
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    unit = torch.stack([x, y, z], -1).flatten(0, 2)
    return field.bounds[0] + unit * (field.bounds[1] - field.bounds[0])


def _sampled(
    function: Callable[[Tensor], Tensor], points: Float[Tensor, "n 3"], chunk: int = 2**15
) -> Float[Tensor, "n f"]:
    return torch.cat([function(part) for part in points.split(chunk)])


def fibonacci_sphere(count: int) -> Float[Tensor, "n 3"]:
    """Unit vectors spread uniformly over the sphere (Fibonacci lattice)."""
    index = torch.arange(count) + 0.5
    height = 1 - 2 * index / count
    azimuth = index * math.pi * (1 + 5**0.5)
    flat = (1 - height.square()).sqrt()
    return normalize(torch.stack([flat * azimuth.cos(), flat * azimuth.sin(), height], -1), dim=-1)


def _voxel(teacher: VolumeField, student: VoxelField, log_density: tuple[float, float]) -> None:
    """Log-density at the kept nodes, and the harmonics that fit the logit of the colour from all around."""
    kept = (student.rows > 0).flatten()
    points = node_points(student, student.config.resolution)[kept]
    views = fibonacci_sphere(DIRECTIONS).to(points)
    solve = torch.linalg.pinv(spherical_harmonics(views, 3))  # [9, directions]

    def values(part: Tensor) -> Tensor:
        features = teacher.features(part)
        seen = teacher.color(
            features.repeat_interleave(DIRECTIONS, 0), views.repeat(len(part), 1)
        ).float()  # [n * directions, 3]
        logits = torch.logit(seen.clamp(0.003, 0.997)).view(len(part), DIRECTIONS, 3)
        waves = torch.einsum("kd,ndc->nck", solve, logits).flatten(1)
        return torch.cat([features[:, :1].clamp(*log_density), waves], -1)

    student.values.copy_(_sampled(values, points, chunk=2**12))


def _grid_features(
    teacher: VolumeField, student: VolumeField, resolution: int, log_density: tuple[float, float]
) -> tuple[Float[Tensor, "z y x"], Float[Tensor, "f z y x"] | None]:
    """The teacher's log-density and, where they mean the same to the student, colour features at its nodes."""
    count = teacher.feature_size if shares_head(teacher, student) else 1
    values = _sampled(lambda part: teacher.features(part)[:, :count], node_points(student, resolution))
    grid = values.T.reshape(-1, resolution, resolution, resolution)
    return grid[0].clamp(*log_density), grid[1:] if count > 1 else None


def _vm(teacher: VolumeField, student: VMField, log_density: tuple[float, float]) -> None:
    """Density by a singular value decomposition for each axis of what the axes before left over; colours by ALS."""
    size, ranks = student.config.resolution, student.config
    rest, colors = _grid_features(teacher, student, size, log_density)
    for turn in range(TURNS):
        for axis, along in enumerate(LINES):
            plane, line = student.planes[axis, : ranks.density_rank], student.lines[axis, : ranks.density_rank]
            if turn:
                rest += _spread(torch.einsum("ruv,rw->uvw", plane, line), along)
            u, s, v = torch.linalg.svd(_unfolded(rest, along), full_matrices=False)
            root = s[: ranks.density_rank].sqrt()
            plane.copy_((u[:, : ranks.density_rank] * root).T.view(-1, size, size))
            line.copy_(v[: ranks.density_rank] * root[:, None])
            rest -= _spread(torch.einsum("ruv,rw->uvw", plane, line), along)
    if colors is None:
        return
    rest = colors.clone()
    parts: list[list[Tensor] | None] = [None] * 3
    for _ in range(TURNS):
        for axis, along in enumerate(LINES):
            if (last := parts[axis]) is not None:
                rest += _unflattened(_product(*last), along)
            folded = torch.stack([_unfolded(channel, along) for channel in rest])  # [channels, plane, line]
            parts[axis] = found = cp_decomposition(folded, ranks.color_rank, ROUNDS // TURNS, start=last)
            rest -= _unflattened(_product(*found), along)
    for axis, (_, plane, line) in enumerate(part for part in parts if part):
        student.planes[axis, ranks.density_rank :] = plane.T.view(-1, size, size)
        student.lines[axis, ranks.density_rank :] = line.T
    student.basis.weight.copy_(torch.cat([part[0] for part in parts if part], 1))


def _cp(teacher: VolumeField, student: CPField, log_density: tuple[float, float]) -> None:
    """Both tensors by alternating least squares."""
    size, ranks = student.config.resolution, student.config
    density, colors = _grid_features(teacher, student, size, log_density)
    z, y, x = cp_decomposition(density, ranks.density_rank)
    student.lines[:, : ranks.density_rank] = torch.stack([x.T, y.T, z.T])
    if colors is None:
        return
    channel, z, y, x = cp_decomposition(colors, ranks.color_rank)
    student.lines[:, ranks.density_rank :] = torch.stack([x.T, y.T, z.T])
    student.basis.weight.copy_(channel)


def _unfolded(volume: Float[Tensor, "z y x"], along: int) -> Float[Tensor, "p l"]:
    """Rows: positions in VM's plane, as the field stores it; columns: positions ``along`` axis 0 (x), 1 or 2 (z)."""
    first, second = PLANES[LINES.index(along)]
    return volume.permute(2 - second, 2 - first, 2 - along).flatten(0, 1)


def _spread(part: Float[Tensor, "u v w"], along: int) -> Float[Tensor, "z y x"]:
    """The inverse of ``_unfolded`` for a volume [plane rows, plane columns, along]."""
    first, second = PLANES[LINES.index(along)]
    order = [2 - second, 2 - first, 2 - along]
    return part.permute([order.index(axis) for axis in range(3)])


def _unflattened(folded: Float[Tensor, "c p l"], along: int) -> Float[Tensor, "c z y x"]:
    """The inverse of ``_unfolded``, for every channel."""
    size = folded.shape[-1]
    return torch.stack([_spread(part.view(size, size, size), along) for part in folded])


def _product(*factors: Float[Tensor, "_n r"]) -> Tensor:
    """The tensor with the given factors, one factor for each dimension."""
    letters = "abcd"[: len(factors)]
    return torch.einsum(",".join(f"{letter}r" for letter in letters) + "->" + letters, *factors)


def cp_decomposition(
    tensor: Tensor, rank: int, rounds: int = ROUNDS, start: list[Tensor] | None = None
) -> list[Float[Tensor, "_n r"]]:
    """A canonical polyadic decomposition by alternating least squares.

    Args:
        tensor: of any number of dimensions.
        rank: components.
        rounds: how often every factor is solved for.
        start: factors to go on from; random ones when not given.

    Returns:
        One factor [size, rank] per dimension; their outer products sum to about ``tensor``.
    """
    generator = torch.Generator().manual_seed(0)
    dims = tensor.dim()
    factors = start or [torch.randn(n, rank, generator=generator).to(tensor) for n in tensor.shape]
    letters = "abcd"[:dims]
    for _ in range(rounds):
        for axis in range(dims):
            others = [i for i in range(dims) if i != axis]
            gram = torch.ones(rank, rank).to(tensor)
            for i in others:
                gram = gram * (factors[i].T @ factors[i])
            terms = ",".join(f"{letters[i]}r" for i in others)
            right = torch.einsum(f"{letters},{terms}->{letters[axis]}r", tensor, *(factors[i] for i in others))
            gram.diagonal().add_(RIDGE * gram.diagonal().mean() + 1e-8)
            factors[axis] = torch.linalg.solve(gram, right.T).T
        # Equal sizes in all dimensions, so that no factor runs away and none is too small to learn.
        norms = [factor.norm(dim=0).clamp(min=1e-12) for factor in factors]
        mean = torch.stack(norms).log().mean(0).exp()
        factors = [factor / norm * mean for factor, norm in zip(factors, norms, strict=True)]
    return factors


CLOSED_FORMS: dict[type[VolumeField], Callable[..., None]] = {VoxelField: _voxel, VMField: _vm, CPField: _cp}
"""The families that have a closed form."""
