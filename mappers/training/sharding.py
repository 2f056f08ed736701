"""How processes share one training: the accelerator that a launch asks for, and the model that it may shard.

Whichever way they share the work (DDP, FSDP2, DeepSpeed's ZeRO), what leaves this module is whole: a checkpoint of
one way goes on in another, and a trained module is a plain module again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast
from unittest import mock

import torch
from accelerate import Accelerator, DistributedType
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DeepSpeedPlugin, FullyShardedDataParallelPlugin, GradientAccumulationPlugin
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn import functional as F

from .monitoring import TrainingError
from .muon import Muon, matrix_parameters
from .train_config import TrainConfig, learning_rate

_FULL = StateDictOptions(full_state_dict=True, cpu_offload=True)
_MOMENTS = ("exp_avg", "exp_avg_sq")


def accelerator_for(config: TrainConfig, trackers: list[str], output_dir: Path | None) -> Accelerator:
    """The accelerator that ``accelerate launch`` and ``config`` ask for together.

    Raises:
        TrainingError: the two contradict each other, or ask for what this machine does not offer.
    """
    requested = _requested_sharding()
    if requested and config.optimizer == "muon":
        raise TrainingError(f"optimizer muon needs whole weight matrices, which {requested.value} splits; use adamw")
    if requested == DistributedType.DEEPSPEED and config.precision == "fp16":
        raise TrainingError("precision fp16 under DEEPSPEED has a loss scale that is not saved; use bf16 or fp32")
    # accelerate keeps the first precision of a process for good; a notebook may train in one and then another. And
    # after a run with FSDP it would take the next one to be set up already, unless it looks at the processes again.
    AcceleratorState._reset_state(PartialState._shared_state.get("distributed_type") == DistributedType.FSDP)
    accelerator = Accelerator(
        # As a plugin, because the launcher's environment overrules a bare number of steps.
        gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=config.gradient_accumulation),
        mixed_precision="no" if requested == DistributedType.DEEPSPEED else _mixed_precision(config),
        log_with=[*trackers] or None,
        project_dir=output_dir / "logs" if output_dir else None,
        cpu=config.cpu,
        fsdp_plugin=_fsdp_plugin() if requested == DistributedType.FSDP else None,
        deepspeed_plugin=_deepspeed_plugin() if requested == DistributedType.DEEPSPEED else None,
    )
    launched = int(os.environ.get("WORLD_SIZE", 1))
    got = accelerator.distributed_type if accelerator.num_processes == launched else DistributedType.NO
    if requested and launched > 1 and got != requested:
        raise TrainingError(
            f"this launch asks for {requested.value}, which accelerate does not do on this machine's "
            f"{accelerator.device.type}; use GPUs, or a launch without {requested.value}"
        )
    if config.precision == "fp16" and accelerator.device.type == "cpu":
        raise TrainingError("precision fp16 needs a GPU; use bf16 or fp32 on a CPU")
    return accelerator


def rounds(config: TrainConfig, accelerator: Accelerator) -> list[range]:
    """The global sample indices of this process's micro-batches in a step."""
    processes = accelerator.num_processes
    parts = processes * config.gradient_accumulation
    if config.batch_size % parts:
        raise TrainingError(
            f"batch_size {config.batch_size} must be a multiple of processes x gradient_accumulation = {parts}"
        )
    size = config.batch_size // parts
    places = range(accelerator.process_index, parts, processes)
    return [range(place * size, (place + 1) * size) for place in places]


_attention = F.scaled_dot_product_attention


def fp32_attention(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, *args: Any, **kwargs: Any
) -> Tensor:
    """`torch.nn.functional.scaled_dot_product_attention` in fp32; the result has the type of ``query``."""
    if attn_mask is not None and attn_mask.is_floating_point():
        attn_mask = attn_mask.float()
    with torch.autocast(query.device.type, enabled=False):
        attended = _attention(query.float(), key.float(), value.float(), attn_mask, *args, **kwargs)
    return attended.to(query.dtype)


class TrainedModules(nn.ModuleDict):
    """The trained modules as one: FSDP and DeepSpeed prepare exactly one module together with its optimizer."""

    def forward(self, part: str, /, *args: Any, **kwargs: Any) -> Any:
        return self[part](*args, **kwargs)


class SharedModel:
    """The trained modules, their optimizer and the average of their weights, as the processes share them.

    Args:
        accelerator: from :func:`accelerator_for`.
        modules: what to train, by name.
        config: how.
        rates: learning rates relative to the configuration's, by prefix of parameter names; 1 for the others.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        modules: Mapping[str, nn.Module],
        config: TrainConfig,
        rates: Mapping[str, float],
    ):
        self.accelerator = accelerator
        self.deepspeed = accelerator.distributed_type == DistributedType.DEEPSPEED
        for module in modules.values():
            module.to(accelerator.device).train()
            if config.compile:
                module.compile()
        self.bf16 = _mixed_precision(config) == "bf16"
        self.root = TrainedModules(modules)
        if self.deepspeed:
            self._configure_deepspeed(config, accelerator.deepspeed_plugin.deepspeed_config)
        optimizer = _optimizer(self.root, config, rates)
        names = {id(p): name for name, p in self.root.named_parameters()}
        # Recorded now: ZeRO replaces each group by one flat tensor.
        self.group_names = [[names[id(p)] for p in group["params"]] for group in optimizer.param_groups]
        self.prepared, self.optimizer = accelerator.prepare(self.root, optimizer)
        self.calls: dict[str, Callable[..., Any]] = {name: partial(self.prepared, name) for name in modules}
        # Collected only now: FSDP has replaced the parameters by shards.
        self.parameters = [p for p in self.root.parameters() if p.requires_grad]
        self.average = [p.detach().clone() for p in self.parameters] if config.ema else []

    def autocast(self) -> AbstractContextManager[Any]:
        """Mixed precision for a loss; accelerate leaves it to DeepSpeed, which sees the trained modules only."""
        if self.deepspeed:
            return torch.autocast(self.accelerator.device.type, torch.bfloat16, enabled=self.bf16)
        if self.bf16 and self.accelerator.device.type == "cpu":
            return self._cpu_autocast()
        return self.accelerator.autocast()

    @contextmanager
    def _cpu_autocast(self) -> Iterator[None]:
        """bf16 with attention in fp32: on a CPU the backward pass of bf16 attention takes eight times as long."""
        with self.accelerator.autocast(), mock.patch.object(F, "scaled_dot_product_attention", fp32_attention):
            yield

    @torch.no_grad()
    def update_average(self, decay: float) -> None:
        torch._foreach_lerp_(_locals(self.average), _locals(self.parameters), 1 - decay)

    @torch.no_grad()
    def use_average(self) -> None:
        """The averaged weights instead of the trained ones, where an average is kept."""
        for parameter, value in zip(_locals(self.parameters), _locals(self.average), strict=False):
            parameter.copy_(value)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Whole averaged weights in the modules, ready for evaluation, for a while."""
        trained = [value.clone() for value in _locals(self.parameters)] if self.average else []
        self.use_average()
        self.prepared.eval()
        if isinstance(self.root, FSDPModule):
            self.root.unshard()
        try:
            with torch.no_grad():
                yield
        finally:
            if isinstance(self.root, FSDPModule):
                self.root.reshard()
            self.prepared.train()
            for parameter, value in zip(_locals(self.parameters), trained, strict=False):
                parameter.copy_(value)

    def finite(self) -> bool:
        """Whether the weights of this process are."""
        return all(bool(value.isfinite().all()) for value in _locals(self.parameters))

    def release(self) -> None:
        """Put whole plain parameters into the modules, which then save and train on like any others."""
        if self.deepspeed:
            self.prepared.destroy()
        elif not isinstance(self.root, FSDPModule):
            return
        plain: dict[nn.Parameter, nn.Parameter] = {}  # a parameter that two modules share stays shared
        for module in self.root.modules():
            for name, parameter in list(module.named_parameters(recurse=False, remove_duplicate=False)):
                if parameter not in plain:
                    plain[parameter] = nn.Parameter(_whole(parameter).clone(), parameter.requires_grad)
                setattr(module, name, plain[parameter])

    def weights(self) -> dict[str, Tensor]:
        """The whole weights by name; every process takes part, only the main one needs to receive them."""
        return cast(dict[str, Tensor], get_model_state_dict(self.root, options=_FULL))

    def full_average(self) -> dict[str, Tensor]:
        """The whole averages by their place among the trained parameters; every process takes part."""
        return {str(i): _whole(value) for i, value in enumerate(self.average)}

    def optimizer_state(self) -> dict[str, Any]:
        """The optimizer's whole moments by parameter name; every process takes part."""
        if not self.deepspeed:
            return get_optimizer_state_dict(self.root, self.optimizer.optimizer, options=_FULL)
        from deepspeed.utils import safe_get_full_optimizer_state  # pyright: ignore[reportMissingImports]

        self._link_zero_moments()
        zero, named = self.optimizer.optimizer, self._named_parameters()
        steps = next(iter(zero.state.values()))["step"]
        state = {
            name: {"step": steps.clone(), **{slot: safe_get_full_optimizer_state(p, slot).cpu() for slot in _MOMENTS}}
            for name, p in named.items()
        }
        groups = [{**group, "params": names} for group, names in zip(zero.param_groups, self.group_names, strict=True)]
        return {"state": state, "param_groups": groups}

    @torch.no_grad()
    def load(self, weights: dict[str, Tensor], optimizer: dict[str, Any], average: Mapping[str, Tensor]) -> None:
        """Take over what :meth:`weights`, :meth:`optimizer_state` and :meth:`full_average` gave."""
        if self.deepspeed:
            self._load_zero(weights, optimizer["state"])
        else:
            set_model_state_dict(self.root, {**weights}, options=_FULL)
            set_optimizer_state_dict(self.root, self.optimizer.optimizer, optimizer, options=_FULL)
        for i, target in enumerate(self.average):
            value = average[str(i)].to(target.device)
            if isinstance(target, DTensor):  # every process has read the whole and keeps its own shard
                value = distribute_tensor(value, target.device_mesh, target.placements, src_data_rank=None)
            target.copy_(value)

    def _load_zero(self, weights: dict[str, Tensor], moments: dict[str, dict[str, Tensor]]) -> None:
        from deepspeed.utils import (  # pyright: ignore[reportMissingImports]
            safe_set_full_fp32_param,
            safe_set_full_optimizer_state,
        )

        # ZeRO makes its moments in the first step: take one that changes nothing.
        for group in self.optimizer.param_groups:
            group["lr"] = 0.0
        with torch.enable_grad():
            self.accelerator.backward(torch.stack([(p * 0).sum() for p in self.parameters]).sum())
        self._link_zero_moments()
        set_model_state_dict(self.root, {**weights}, options=_FULL)
        for name, parameter in self._named_parameters().items():
            safe_set_full_fp32_param(parameter, parameter.detach())
            for slot in _MOMENTS:
                safe_set_full_optimizer_state(parameter, moments[name][slot].to(parameter.device), slot)
        steps = next(iter(moments.values()))["step"]
        for state in self.optimizer.optimizer.state.values():
            state["step"].copy_(steps)

    def _link_zero_moments(self) -> None:
        """Link each parameter with its moments: DeepSpeed does it too early where rates make several groups."""
        from deepspeed.utils import lazy_init_hp_params_optimizer_state  # pyright: ignore[reportMissingImports]

        zero = self.optimizer.optimizer
        for parameters, flat in zip(zero.bit16_groups, zero.single_partition_of_fp32_groups, strict=True):
            lazy_init_hp_params_optimizer_state(parameters, flat, zero.state)

    def _named_parameters(self) -> dict[str, nn.Parameter]:
        return {name: p for name, p in self.root.named_parameters() if p.requires_grad}

    def _configure_deepspeed(self, config: TrainConfig, settings: dict[str, Any]) -> None:
        """Write what ``config`` and the model say into the settings that DeepSpeed starts with."""
        settings.update(
            train_batch_size=config.batch_size,
            train_micro_batch_size_per_gpu=len(rounds(config, self.accelerator)[0]),
            gradient_accumulation_steps=config.gradient_accumulation,
            gradient_clipping=config.clip_norm or 0.0,
        )
        if self.bf16:  # as elsewhere: weights and what the processes exchange stay fp32
            settings["torch_autocast"] = {"enabled": True, "dtype": "bfloat16", "lower_precision_safe_modules": []}
        # A buffer of the default size, 5e8 numbers, would be larger than most mappers.
        size = min(sum(p.numel() for p in self.root.parameters()), 500_000_000)
        settings["zero_optimization"]["reduce_bucket_size"] = size


def _requested_sharding() -> DistributedType | None:
    """What the environment that ``accelerate launch`` made asks for; accelerate itself would fall back silently."""
    for kind in (DistributedType.FSDP, DistributedType.DEEPSPEED):
        if os.environ.get(f"ACCELERATE_USE_{kind.value}", "").lower() == "true":
            return kind
    return None


def _fsdp_plugin() -> FullyShardedDataParallelPlugin:
    plugin = FullyShardedDataParallelPlugin()
    if plugin.fsdp_version != 2:
        raise TrainingError("this launch asks for the first FSDP; set fsdp_version: 2 in its accelerate configuration")
    plugin.mixed_precision_policy = MixedPrecisionPolicy()  # autocast does it, as elsewhere: weights stay fp32
    return plugin


def _deepspeed_plugin() -> DeepSpeedPlugin:
    if find_spec("deepspeed") is None:
        raise TrainingError("this launch asks for DeepSpeed, which is not installed: pip install deepspeed")
    plugin = DeepSpeedPlugin()
    if plugin.zero_stage != 2:
        raise TrainingError(f"this launch asks for ZeRO stage {plugin.zero_stage}; use zero_stage: 2, or FSDP")
    return plugin


def _optimizer(root: nn.Module, config: TrainConfig, rates: Mapping[str, float]) -> torch.optim.Optimizer:
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in root.named_parameters():
        if parameter.requires_grad:
            relative = next((rate for prefix, rate in rates.items() if name.startswith(prefix)), 1.0)
            groups.setdefault(relative, []).append(parameter)
    rate, betas, decay = learning_rate(config, 0), config.betas, config.weight_decay
    if config.optimizer == "adamw":
        parts = [{"params": ps, **({"rate": relative} if relative != 1 else {})} for relative, ps in groups.items()]
        return torch.optim.AdamW(parts, lr=rate, betas=betas, weight_decay=decay, eps=config.eps)
    if set(groups) != {1.0}:
        raise TrainingError(
            "optimizer muon has one learning rate for all weights, and this task asks for more; use adamw"
        )
    parameters = groups[1.0]
    matrices = matrix_parameters(root)
    chosen = {id(p) for p in matrices}
    others = [p for p in parameters if id(p) not in chosen]
    return Muon(matrices, others, lr=rate, betas=betas, weight_decay=decay, eps=config.eps)


def _mixed_precision(config: TrainConfig) -> str:
    """accelerate's word for ``config.precision``; a processor without bf16 arithmetic is 15 times slower with it."""
    if config.precision != "auto":
        return "no" if config.precision == "fp32" else config.precision
    on_cpu = config.cpu or not torch.accelerator.is_available()
    native = torch.ops.mkldnn._is_mkldnn_bf16_supported() if on_cpu else torch.cuda.is_bf16_supported()
    return "bf16" if native else "no"


def _locals(tensors: list[Any]) -> list[Tensor]:
    """The parts of ``tensors`` that this process holds, as views without gradients."""
    return [t.detach().to_local() if isinstance(t, DTensor) else t.detach() for t in tensors]


def _whole(tensor: Tensor) -> Tensor:
    return tensor.detach().full_tensor() if isinstance(tensor, DTensor) else tensor.detach()
