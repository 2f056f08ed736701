"""Other people's fields as contenders of ``benchmarks/fields/speed.py``: networks from a checkout of theirs.

Nothing of them is in this repository. A checkout is imported from where it lies and left as it is; what it needs only
to be imported (CUDA for one constant, a package of which one unused function is named) is stood in for.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import subprocess
import sys
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn

from nerf.cameras import Rays
from nerf.scenes import Scene

PROJECTS = {
    "HashNeRF-pytorch": "hash_encoding.py",
    "TensoRF": "models/tensoRF.py",
    "nerf-pytorch": "run_nerf_helpers.py",
}
"""Projects, and a file that tells a checkout of each; the first that fits counts."""
COARSE, FINE = 64, 128
"""Samples of NeRF's two passes."""
TENSORF_L1 = 8e-5
"""Weight of TensoRF's penalty on density factors before its first alpha mask, which comes after 2,000 steps."""


class Reference:
    """A field of another project that learns from rays.

    Args:
        name: the project.
        folder: its checkout.
        colors: rays, and whether to sample at random, to the colours of each pass on white; the last one counts.
        optimizer: as the project sets it up.
        penalty: what else the project minimizes.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        colors: Callable[[Rays, bool], list[Tensor]],
        optimizer: torch.optim.Optimizer,
        penalty: Callable[[], Tensor | float] = lambda: 0.0,
    ):
        self.name, self.commit = name, commit_of(folder)
        self.colors, self.optimizer, self.penalty = colors, optimizer, penalty
        self.parameters = sum(p.numel() for group in optimizer.param_groups for p in group["params"])

    def loss(self, rays: Rays, target: Tensor) -> Tensor:
        errors = [(color - target).square().mean() for color in self.colors(rays, True)]
        return sum(errors, torch.zeros(())) + self.penalty()

    def color(self, rays: Rays) -> Tensor:
        return self.colors(rays, False)[-1]


def found(folders: Sequence[Path]) -> dict[str, Path]:
    """The checkout of each project among ``folders``.

    Raises:
        FileNotFoundError: a folder is a checkout of none of them.
    """
    places = {}
    for folder in folders:
        name = next((name for name, file in PROJECTS.items() if (folder / file).is_file()), None)
        if name is None:
            raise FileNotFoundError(f"{folder} is not a checkout of {', '.join(PROJECTS)}")
        places[name] = folder
    return places


def commit_of(folder: Path) -> str:
    """The commit that is checked out, and a mark if files differ from it."""

    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True).stdout.strip()

    return (git("rev-parse", "HEAD") or "unknown") + (" changed" if git("status", "--porcelain", "-uno") else "")


@contextlib.contextmanager
def importing(folder: Path, stand_ins: Mapping[str, types.ModuleType]) -> Iterator[None]:
    """Import from a checkout: its names (``utils``, ``models``) are forgotten again afterwards."""
    before = dict(sys.modules)
    sys.modules.update(stand_ins)
    tensor = torch.tensor
    on_cpu = mock.patch.object(torch, "tensor", lambda *a, **k: tensor(*a, **{**k, "device": "cpu"}))
    with mock.patch.object(sys, "path", [str(folder), *sys.path]), on_cpu, contextlib.redirect_stdout(io.StringIO()):
        with mock.patch.object(sys, "dont_write_bytecode", True):
            yield
    for name in set(sys.modules) - set(before):
        place = getattr(sys.modules[name], "__file__", None) or ""
        if name in stand_ins or place.startswith(str(folder)):
            del sys.modules[name]


def two_passes(
    query: Callable[[nn.Module, Tensor, Tensor], tuple[Tensor, Tensor]],
    networks: Sequence[nn.Module],
    sample: Callable[..., Tensor],
    near: float,
    far: float,
) -> Callable[[Rays, bool], list[Tensor]]:
    """NeRF's rendering as these projects do it: a coarse network, then a fine one at the union of both samples.

    Args:
        query: a network, points and views to density and colour.
        networks: the coarse and the fine one.
        sample: the project's own inverse distribution.
    """

    def seen(network: nn.Module, rays: Rays, z: Tensor) -> tuple[Tensor, Tensor]:
        points = rays.origins[:, None] + rays.directions[:, None] * z[..., None]
        density, color = query(network, points.flatten(0, 1), rays.views[:, None].expand_as(points).flatten(0, 1))
        length = torch.cat([z.diff(dim=-1), z.new_full((len(z), 1), 1e10)], -1)
        alpha = 1 - torch.exp(-density.view_as(z) * length)
        left = torch.cumprod(torch.cat([torch.ones_like(alpha[:, :1]), 1 - alpha + 1e-10], -1), -1)[:, :-1]
        weights = alpha * left
        shown = (weights[..., None] * color.view(*z.shape, 3)).sum(1)
        return shown + 1 - weights.sum(-1, keepdim=True), weights

    def colors(rays: Rays, random: bool) -> list[Tensor]:
        shift = torch.rand(len(rays), COARSE) if random else 0.5
        z = near + (far - near) * (torch.arange(COARSE) + shift) / COARSE
        z = z.expand(len(rays), COARSE)
        coarse, weights = seen(networks[0], rays, z)
        middles = (z[:, 1:] + z[:, :-1]) / 2
        drawn = sample(middles, weights[:, 1:-1].detach(), FINE, det=not random)
        fine, _ = seen(networks[1], rays, torch.cat([z, drawn], -1).sort(-1).values)
        return [coarse, fine]

    return colors


def nerf_pytorch(folder: Path, scene: Scene, size: Any) -> Reference:
    """``size`` gives layers, width and octaves; views have 4 octaves, as in its settings."""
    with importing(folder, {}):
        helpers: Any = importlib.import_module("run_nerf_helpers")
        encode, inputs = helpers.get_embedder(size.octaves)
        encode_view, view_inputs = helpers.get_embedder(4)

        def network() -> nn.Module:
            return helpers.NeRF(
                D=size.layers, W=size.width, input_ch=inputs, input_ch_views=view_inputs, output_ch=5,
                skips=[size.layers // 2], use_viewdirs=True,
            )  # fmt: skip

        networks = nn.ModuleList([network(), network()])

    def query(network: nn.Module, points: Tensor, views: Tensor) -> tuple[Tensor, Tensor]:
        raw = network(torch.cat([encode(points), encode_view(views)], -1))
        return raw[:, 3].relu(), raw[:, :3].sigmoid()

    optimizer = torch.optim.Adam(networks.parameters(), 5e-4, (0.9, 0.999))
    colors = two_passes(query, list(networks), helpers.sample_pdf, scene.near, scene.far)
    return Reference("nerf-pytorch", folder, colors, optimizer)


def hashnerf(folder: Path, scene: Scene, size: Any) -> Reference:
    """``size`` is a `HashConfig`; both passes share the table, as in its code."""
    kornia: Any = types.ModuleType("kornia")
    kornia.create_meshgrid = None
    with importing(folder, {"kornia": kornia}):
        encoding: Any = importlib.import_module("hash_encoding")
        helpers: Any = importlib.import_module("run_nerf_helpers")
        embed = encoding.HashEmbedder(
            tuple(scene.bounds), n_levels=size.levels, n_features_per_level=size.level_features,
            log2_hashmap_size=size.table_log2, base_resolution=size.coarsest, finest_resolution=size.finest,
        )  # fmt: skip
        embed_view = encoding.SHEncoder()

        def network() -> nn.Module:
            return helpers.NeRFSmall(
                num_layers=2, hidden_dim=64, geo_feat_dim=15, num_layers_color=3, hidden_dim_color=64,
                input_ch=embed.out_dim, input_ch_views=embed_view.out_dim,
            )  # fmt: skip

        networks = nn.ModuleList([network(), network()])

    def query(network: nn.Module, points: Tensor, views: Tensor) -> tuple[Tensor, Tensor]:
        code, inside = embed(points)
        raw = network(torch.cat([code, embed_view(views)], -1))
        return raw[:, 3].relu() * inside, raw[:, :3].sigmoid()

    groups = [
        {"params": list(networks.parameters()), "weight_decay": 1e-6},
        {"params": list(embed.parameters()), "eps": 1e-15},
    ]
    optimizer = torch.optim.RAdam(groups, 1e-2, (0.9, 0.99))
    colors = two_passes(query, list(networks), helpers.sample_pdf, scene.near, scene.far)
    return Reference("HashNeRF-pytorch", folder, colors, optimizer)


def tensorf(folder: Path, scene: Scene, size: Any) -> Reference:
    """``size`` is a `LowRankConfig`; all else, marching included, is its own as set for its lego scene."""
    with importing(folder, {}):
        models: Any = importlib.import_module("models.tensoRF")
        field = models.TensorVMSplit(
            scene.bounds, [size.resolution] * 3, "cpu", density_n_comp=[size.density_rank] * 3,
            appearance_n_comp=[size.color_rank] * 3, app_dim=27, shadingMode="MLP_Fea",
            near_far=[scene.near, scene.far], density_shift=-10, distance_scale=25, view_pe=2, fea_pe=2, step_ratio=0.5,
        )  # fmt: skip

    def colors(rays: Rays, random: bool) -> list[Tensor]:
        return [field(torch.cat([rays.origins, rays.directions], -1), white_bg=True, is_train=random)[0]]

    optimizer = torch.optim.Adam(field.get_optparam_groups(0.02, 1e-3), betas=(0.9, 0.99))
    return Reference("TensoRF", folder, colors, optimizer, lambda: TENSORF_L1 * field.density_L1())


BUILDERS: dict[str, Callable[[Path, Scene, Any], Reference]] = {
    "hash": hashnerf,
    "vm": tensorf,
    "mlp": nerf_pytorch,
}
"""The reference of a family; each gets the sizes of ours."""
NAMES = {"hash": "HashNeRF-pytorch", "vm": "TensoRF", "mlp": "nerf-pytorch"}
