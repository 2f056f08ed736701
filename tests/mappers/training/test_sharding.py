"""Sharded training gives what one process gives, and its checkpoints and modules are whole.

Accelerators are what FSDP and DeepSpeed are for; here two gloo processes of a CPU stand in for them. Each runs
`worker`, after telling accelerate that it has found GPUs, or it would fall back from sharding.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from accelerate import DistributedType
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.state import PartialState
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from mappers.training import checkpoints
from mappers.training.draws import Draws
from mappers.training.train_config import TrainConfig
from mappers.training.trainer import Prepared, TrainingError, fit

ROOT = Path(__file__).parents[3]
CONFIGS = sorted((ROOT / "configs" / "accelerate").glob("*.yaml"))
CONFIG = TrainConfig(
    steps=20, batch_size=8, gradient_accumulation=2, learning_rate=1e-2, clip_norm=0.5, ema=0.9, save_every=5,
    validate_every=10, log_every=1,
)  # fmt: skip
HALF = dataclasses.replace(CONFIG, steps=10)


class Regression:
    """Fit the sum of four numbers: sizes that two does not divide, a frozen parameter, a buffer, two rates."""

    rates: Mapping[str, float] = {"head": 0.5}

    def __init__(self) -> None:
        torch.manual_seed(0)
        body = nn.Sequential(nn.Linear(4, 15), nn.Tanh())
        body.register_buffer("kept", torch.arange(3.0))
        self.modules: Mapping[str, nn.Module] = {"body": body, "head": nn.Linear(15, 1)}
        self.modules["body"][0].bias.requires_grad_(False)  # pyright: ignore

    def batch(self, draws: Draws) -> Tensor:
        return draws.normal("x", (4,))

    def loss(self, modules: Prepared, batch: Tensor, draws: Draws) -> dict[str, Tensor]:
        features = modules["body"](batch)
        error = modules["head"](features) - batch.sum(1, keepdim=True)
        return {"loss": error.square().mean() + 1e-3 * features.square().mean()}

    def validate(self, modules: Prepared, step: int) -> dict[str, float]:
        x = torch.linspace(-1, 1, 40).view(10, 4)
        own = self.modules["head"](self.modules["body"](x))
        assert torch.equal(own, modules["head"](modules["body"](x)))
        return {"sum": own.sum().item()}


def weights(task: Regression) -> dict[str, Tensor]:
    return nn.ModuleDict(dict(task.modules)).state_dict()


def worker(kind: str, folder: Path) -> None:
    """One of the processes: an uninterrupted run, an interrupted one, half of one, and half of a plain one's."""
    PartialState._prepare_backend = lambda *_: ("gloo", DistributedType.MULTI_GPU)  # pyright: ignore
    for name, parts in {
        "whole": [CONFIG],
        "parts": [dataclasses.replace(CONFIG, max_minutes=1e-9), HALF, CONFIG],
        "half": [HALF],
        "plain-half": [CONFIG],
    }.items():
        for config in parts:
            task = Regression()
            report = fit(task, config, output_dir=folder / name, resume="auto")
        state = PartialState()
        assert (state.distributed_type.value, state.num_processes) == (kind, 2)
        assert all(type(p) is nn.Parameter for module in task.modules.values() for p in module.parameters())
        if state.is_main_process:
            figure = torch.tensor(report.metrics["val/sum"])
            save_file({**weights(task), "figure": figure}, folder / f"{name}.safetensors")


def environment(kind: str) -> dict[str, str]:
    return {
        f"ACCELERATE_USE_{kind}": "true",
        "ACCELERATE_TORCH_DEVICE": "cpu",
        "DS_ACCELERATOR": "cpu",
        "FSDP_VERSION": "2",
    }


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["FSDP", "DEEPSPEED"])
def test_two_sharding_processes_give_what_one_gives(
    tmp_path: Path, kind: str, two_processes: Callable[..., None]
) -> None:
    if kind == "DEEPSPEED":
        pytest.importorskip("deepspeed")
    plain = Regression()
    figure = fit(plain, dataclasses.replace(CONFIG, cpu=True), output_dir=tmp_path / "plain").metrics["val/sum"]
    fit(Regression(), dataclasses.replace(HALF, cpu=True), output_dir=tmp_path / "plain-half")
    two_processes(worker, kind, tmp_path, **environment(kind))

    def same(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> None:
        assert a.keys() == b.keys()
        for name, value in a.items():
            torch.testing.assert_close(value, b[name], atol=1e-5, rtol=0)

    expected = {**weights(plain), "figure": torch.tensor(figure)}
    for name in ("whole", "parts", "plain-half"):
        same(load_file(tmp_path / f"{name}.safetensors"), expected)
    one, two = (checkpoints.load(tmp_path / name / "checkpoints") for name in ("plain", "whole"))
    for part in ("weights", "optimizer", "ema"):
        same(getattr(one, part), getattr(two, part))
    resumed = Regression()  # in one plain process, what the two began
    fit(resumed, dataclasses.replace(CONFIG, cpu=True), output_dir=tmp_path / "half", resume=True)
    same(weights(resumed), weights(plain))


@pytest.mark.parametrize("kind", ["FSDP", "DEEPSPEED"])
def test_muon_is_refused(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setenv(f"ACCELERATE_USE_{kind}", "true")
    with pytest.raises(TrainingError, match=f"muon needs whole weight matrices, which {kind} splits; use adamw"):
        fit(Regression(), dataclasses.replace(CONFIG, optimizer="muon"))


@pytest.mark.parametrize("kind", ["FSDP", "DEEPSPEED"])
def test_a_launch_that_would_fall_back_is_refused(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("FSDP_VERSION", "2")
    monkeypatch.setenv(f"ACCELERATE_USE_{kind}", "true")
    if kind == "FSDP" or find_spec("deepspeed"):
        message = f"asks for {kind}, which accelerate does not do on this machine's .*; use GPUs"
    else:
        message = "asks for DeepSpeed, which is not installed: pip install deepspeed"
    with pytest.raises(TrainingError, match=message):
        fit(Regression(), CONFIG)


def test_the_first_fsdp_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FSDP_VERSION", "1")
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(TrainingError, match="set fsdp_version: 2"):
        fit(Regression(), CONFIG)


def test_configurations_are_accelerates_own_and_name_themselves() -> None:
    kinds = {path.stem: load_config_from_file(str(path)).distributed_type.value for path in CONFIGS}
    assert kinds == {
        "cpu": "NO",
        "single_gpu": "NO",
        "multi_gpu_ddp": "MULTI_GPU",
        "fsdp": "FSDP",
        "deepspeed": "DEEPSPEED",
    }
    for path in CONFIGS:
        assert path.read_text(encoding="utf-8").startswith(
            f"# accelerate launch --config_file configs/accelerate/{path.name}"
        )


class Attends(Regression):
    """Its loss looks at what attention does under autocast."""

    def loss(self, modules: Prepared, batch: Tensor, draws: Draws) -> dict[str, Tensor]:
        query, key, value = draws.normal("heads", (3, 64, 16)).bfloat16().unbind(1)
        mask = torch.linspace(-1, 1, 64).expand(64, -1)
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=0.5)
        with torch.autocast("cpu", enabled=False):
            scores = 0.5 * query.float() @ key.float().mT + mask
            exact = torch.softmax(scores, -1) @ value.float()
        # Rounded once, at the end: half a unit of the last of bf16's bits. bf16 attention also rounds its weights.
        assert attended.dtype == torch.bfloat16
        assert ((attended.float() - exact).abs() <= 1.001 * 2**-8 * exact.abs() + 1e-6).all()
        return super().loss(modules, batch, draws)

    def validate(self, modules: Prepared, step: int) -> dict[str, float]:
        return {}


def test_attention_stays_in_fp32_while_a_cpu_computes_in_bf16() -> None:
    plain = F.scaled_dot_product_attention
    fit(Attends(), dataclasses.replace(CONFIG, steps=2, precision="bf16", cpu=True))
    assert F.scaled_dot_product_attention is plain
