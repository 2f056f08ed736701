"""A training step of personalization compared with plainer ways: ``python -m benchmarks.personalization.step``.

Builds a model of Stable Diffusion 1.4's size with random weights (``--tiny``: a few channels, to try the script) and
times, interleaved in one process: the step of NeTI as its paper's code goes about it, ours in fp32 and in bf16, and
textual inversion as diffusers' script goes about it. Then the contexts of 50 steps, compared with one text-encoder call
for each timestep and layer, and generation with a learned word, compared with diffusers' own pipeline. Exits with 1
where gradients, contexts or calls of the text encoder are not what they have to be.
"""

from __future__ import annotations

import ctypes
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from diffusers import StableDiffusionPipeline
from diffusers.utils.logging import set_verbosity_error
from torch import Tensor, nn

from benchmarks.common.results import Results, Row, Table, result_path
from benchmarks.personalization.step_references import Plain, Sample, build, in_bf16
from mappers.command_line import run_script
from mappers.neti import NeTIMapper
from mappers.training.draws import Draws
from mappers.training.train_config import TrainConfig
from pipelines.personalization.attention import context_attention
from pipelines.personalization.concepts import Concept
from pipelines.personalization.contexts import ContextTable
from pipelines.personalization.pipeline import NeTIPipeline
from pipelines.personalization.settings import PersonalizeConfig
from pipelines.personalization.subjects import Subject
from pipelines.personalization.task import NeTITask

OUTPUT = result_path(__file__)
TOKEN = "<cat>"
PROMPT = f"a photo of a {TOKEN} on the beach"


class Ours:
    """`NeTITask` and its optimizer."""

    def __init__(self, pipeline: NeTIPipeline, mapper: NeTIMapper, pixels: Tensor, batch: int):
        config = PersonalizeConfig(train=TrainConfig(batch_size=batch), shared_points=1, flip=0.0)
        self.pipeline, self.batch = pipeline, batch
        self.task = NeTITask(pipeline, [Subject(TOKEN, mapper, pixels)], config)
        self.optimizer = torch.optim.AdamW(mapper.parameters(), lr=1e-3)

    def loss(self, step: int) -> Tensor:
        draws = Draws(0, step, range(self.batch), self.pipeline.device)
        return self.task.loss(self.task.modules, self.task.batch(draws), draws)["loss"]

    def step(self, step: int) -> None:
        self.loss(step).backward()
        self.optimizer.step()
        self.optimizer.zero_grad()

    def sample(self, pixels: Tensor, step: int) -> Sample:
        """What `loss` of the same step sees, drawn as it draws."""
        draws = Draws(0, step, range(self.batch), self.pipeline.device)
        shape, task = self.task.pictures.mean.shape[2:], self.task
        chosen = task.pictures.choose(draws, torch.zeros(self.batch, dtype=torch.long, device=draws.device), 0.0)
        templates = draws.integers("template", len(task.prompts[0].ids)).cpu()
        prompts = task.prompts[0].rows(templates)
        return Sample(
            pixels[chosen[0].cpu()].to(draws.device), draws.normal("posterior", shape), draws.normal("noise", shape),
            draws.integers("timestep", len(task.alphas)), prompts.ids.to(draws.device),
            prompts.positions[TOKEN].to(draws.device), task.subjects[0].mapper.draw_kept_units(draws),
        )  # fmt: skip


@dataclass
class Times:
    """Seconds of calls, by the clock and of the processor: on a shared machine only the latter compares."""

    clock: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)

    def take(self, call: Callable[[], Any], device: torch.device) -> Any:
        synchronize(device)
        clock, processor = time.perf_counter(), time.process_time()
        result = call()
        synchronize(device)
        self.clock.append(time.perf_counter() - clock)
        self.processor.append(time.process_time() - processor)
        return result

    def row(self) -> dict[str, float]:
        return {
            "seconds": round(statistics.median(self.clock), 4),
            "processor_seconds": round(statistics.median(self.processor), 4),
        }


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_bytes(call: Callable[[], Any], device: torch.device) -> int | None:
    """Peak memory of ``call`` beyond what was in use before; None where that cannot be measured."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        return torch.cuda.max_memory_allocated(device) - before
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not status.exists():
        return None

    def kilobytes(name: str) -> int:
        return int(next(line for line in status.read_text().splitlines() if line.startswith(name)).split()[1])

    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:  # what an earlier call left in the allocator would hide what this one needs
        trim(0)
    before = kilobytes("VmRSS")
    reset.write_text("5")  # forgets the highest value so far
    call()
    return 1024 * (kilobytes("VmHWM") - before)


def gradients(module: nn.Module) -> dict[str, Tensor]:
    """Those of its parameters, which it forgets."""
    found = {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}
    module.zero_grad()
    return found


def measure_steps(pipeline: NeTIPipeline, pixels: Tensor, batch: int, steps: int) -> dict[str, Any]:
    """Every way's step, interleaved, after one that is not counted; and by how much gradients differ."""
    device = pipeline.device
    mapper = NeTIMapper(pipeline.layers, pipeline.text_encoder.config.hidden_size, 0.4).to(device)
    half = in_bf16(pipeline)
    plain, ours, halved = Plain(pipeline, mapper), *(Ours(p, mapper, pixels, batch) for p in (pipeline, half))
    mine = lambda: context_attention(pipeline.unet, pipeline.cross_attentions)  # noqa: E731
    automatic = lambda: torch.autocast(device.type, torch.bfloat16)  # noqa: E731

    def in_autocast(step: int) -> None:
        with automatic():
            loss = ours.loss(step)
        loss.backward()
        ours.optimizer.step()
        ours.optimizer.zero_grad()

    ways: dict[str, tuple[Callable[[], Any], Callable[[int], None]]] = {
        "straightforward NeTI": (plain.layers, lambda step: plain.neti(ours.sample(pixels, step))),
        "ours, fp32": (mine, ours.step),
        "ours, bf16": (mine, in_autocast),
        "ours, model in bf16": (lambda: context_attention(half.unet, half.cross_attentions), halved.step),
        "textual inversion": (nullcontext, lambda step: plain.textual_inversion(ours.sample(pixels, step))),
    }
    with plain.layers():
        plain.neti_loss(ours.sample(pixels, 1000)).backward()
    expected = gradients(mapper)
    with mine():
        ours.loss(1000).backward()
    made, largest = gradients(mapper), max(float(gradient.abs().max()) for gradient in expected.values())
    difference = max(float((made[name] - gradient).abs().max()) for name, gradient in expected.items()) / largest
    times = {name: Times() for name in ways}
    for step in range(steps + 1):
        for name, (within, call) in ways.items():
            with within():
                (times[name] if step else Times()).take(lambda call=call, step=step: call(step), device)
    rows: dict[str, Any] = {}
    for name, (within, call) in ways.items():
        with within():
            rows[name] = times[name].row() | {"peak_bytes": peak_bytes(lambda call=call: call(0), device)}
    return {"gradient_difference": difference, "steps": rows}


class Calls:
    """Counts the calls of a module."""

    def __init__(self, module: nn.Module):
        self.count = 0
        module.register_forward_pre_hook(self._add)

    def _add(self, *_: Any) -> None:
        self.count += 1


@torch.no_grad()
def measure_contexts(pipeline: NeTIPipeline, steps: int) -> dict[str, Any]:
    """The contexts of all (timestep, layer) of a prompt: ours in large calls, and one call for each pair."""
    times = torch.linspace(981, 1, steps).tolist()
    layers, rows = pipeline.layers, {}
    for name, model in (("fp32", pipeline), ("bf16", in_bf16(pipeline))):
        text, mapper = (
            model.text,
            NeTIMapper(layers, model.text_encoder.config.hidden_size, 0.4).eval().to(model.device),
        )

        def table(count: int, layer: int | None = None, text: Any = text, mapper: Any = mapper) -> ContextTable:
            """Of all layers, or of one alone."""
            answer = mapper if layer is None else lambda t, _l: mapper(t, torch.full_like(_l, layer))
            return ContextTable(text, [PROMPT], {TOKEN: answer}, count)

        def ours(table: Any = table) -> list[Any]:
            made = table(layers)
            return [made.at(t, times[i:]) for i, t in enumerate(times)]

        def pairs(table: Any = table) -> list[list[Any]]:
            each = [table(1, layer) for layer in range(layers)]
            return [[one.at(t) for one in each] for t in times]

        took = Times(), Times()
        made, wanted = took[0].take(ours, model.device), took[1].take(pairs, model.device)
        difference = max(
            float((getattr(a, part)[layer] - getattr(one, part)[0]).abs().max() / getattr(one, part).abs().max())
            for a, alone in zip(made, wanted, strict=True)
            for layer, one in enumerate(alone)
            for part in ("keys", "values")
        )
        rows[name] = {"ours": took[0].row(), "one call a pair": took[1].row(), "difference": difference}
    return rows


@torch.no_grad()
def measure_generation(pipeline: NeTIPipeline, steps: int, rounds: int) -> dict[str, Any]:
    """Latents of a prompt with a learned word and prepared contexts, and of diffusers' pipeline with a plain word."""
    parts = pipeline.components | {"safety_checker": None, "feature_extractor": None, "image_encoder": None}
    plain = StableDiffusionPipeline(**parts, requires_safety_checker=False)
    plain.set_progress_bar_config(disable=True)
    mapper = NeTIMapper(pipeline.layers, pipeline.text_encoder.config.hidden_size, 0.4)
    pipeline.load_concept(Concept(TOKEN, "cat", mapper, pipeline.base, "random"))
    options = {"num_inference_steps": steps, "guidance_scale": 7.5, "output_type": "latent"}
    calls, took = Calls(pipeline.text_encoder), {"ours": Times(), "plain": Times()}
    table = pipeline.contexts([PROMPT, ""])
    pipeline(PROMPT, contexts=table, generator=torch.Generator().manual_seed(0), **options)
    first = calls.count
    for seed in range(1, rounds + 1):
        noise = [torch.Generator().manual_seed(seed) for _ in range(2)]
        before = calls.count
        took["ours"].take(
            lambda noise=noise: pipeline(PROMPT, contexts=table, generator=noise[0], **options), pipeline.device
        )
        again = calls.count - before
        took["plain"].take(
            lambda noise=noise: plain(PROMPT.replace(TOKEN, "cat"), generator=noise[1], **options), pipeline.device
        )
    return {name: times.row() for name, times in took.items()} | {
        "text_encoder_calls": {"first seed": first, "second seed": again}
    }


def tables(rows: dict[str, Row]) -> list[Table]:
    """For each size of pictures: steps, and what else was measured."""
    found = []
    for name, result in rows.items():
        base, lines = result["steps"]["straightforward NeTI"], []
        for label, row in result["steps"].items():
            faster = [f"{base[key] / row[key]:.2f}" for key in ("seconds", "processor_seconds")]
            peak = None if row["peak_bytes"] is None else f"{row['peak_bytes'] / 1e6:.0f}"
            lines.append([label, f"{row['seconds']:.2f}", f"{row['processor_seconds']:.2f}", *faster, peak])
        columns = ["step", "seconds", "processor seconds", "times faster", "processor, times faster", "peak MB"]
        found.append(Table(f"Steps, {name}", columns, lines))
        figures = [["gradients, ours and straightforward NeTI: difference / largest",
                    f"{result['gradient_difference']:.1e}"]]  # fmt: skip
        for kind, row in result["contexts"].items():
            ours, pairs = row["ours"]["seconds"], row["one call a pair"]["seconds"]
            figures.append([f"contexts, {kind}: seconds", f"{ours:.2f}"])
            figures.append([f"contexts, {kind}: seconds with one call a (timestep, layer)", f"{pairs:.2f}"])
            figures.append([f"contexts, {kind}: difference / largest", f"{row['difference']:.1e}"])
        drawn = result["generation"]
        slower = drawn["ours"]["seconds"] / drawn["plain"]["seconds"] - 1
        figures.append(["generation with a word compared with the plain pipeline", f"{100 * slower:+.1f} %"])
        figures += [[f"text-encoder calls, {seed}", calls] for seed, calls in drawn["text_encoder_calls"].items()]
        found.append(Table(f"Contexts and generation, {name}", ["figure", "value"], figures))
    return found


def main(*, pixels: Literal[256, 512] = 512, steps: int = 5, batch: int = 1, tiny: bool = False,
         output: Path = OUTPUT) -> int:  # fmt: skip
    """Time a training step of personalization, contexts and generation.

    Args:
        pixels: Side of the pictures.
        steps: Counted steps of each way.
        batch: Pictures of a step.
        tiny: A model of a few channels at 64 pixels, to try the script.
        output: Results.
    """
    size, side = ("tiny", 64) if tiny else ("sd1.4", pixels)
    set_verbosity_error()
    results = Results(output)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    pipeline = build(size, side, device)
    pictures = torch.rand(4, 3, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1
    row: Row = {"size": size, "batch": batch, **measure_steps(pipeline, pictures, batch, steps)}
    row["contexts"] = measure_contexts(pipeline, 4 if tiny else 50)
    row["generation"] = measure_generation(pipeline, 3, steps)
    results.put(f"{side} pixels", row)
    results.report(*tables(results.rows))
    wrong = row["gradient_difference"] > 1e-4 or row["contexts"]["fp32"]["difference"] > 1e-5
    return int(wrong or row["generation"]["text_encoder_calls"]["second seed"] > 0)


if __name__ == "__main__":
    raise SystemExit(run_script(main))
