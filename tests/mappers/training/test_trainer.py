"""The shared trainer's promises: bit-equal resume, process-count independence, and nothing learned is lost."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from mappers.training import checkpoints
from mappers.training.draws import Draws
from mappers.training.train_config import TrainConfig, learning_rate
from mappers.training.trainer import Prepared, TrainingError, fit

CONFIG = TrainConfig(steps=20, batch_size=8, learning_rate=1e-2, save_every=5, log_every=1, ema=0.9, cpu=True)


class Regression:
    """Fit the sum of four numbers; dropout makes the step depend on the trainer's own randomness."""

    def __init__(self, *, dropout: float = 0.1, poison: int | None = None):
        torch.manual_seed(0)
        self.modules: Mapping[str, nn.Module] = {
            "body": nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Dropout(dropout)),
            "head": nn.Linear(16, 1),
        }
        self.poison = poison

    def batch(self, draws: Draws) -> Tensor:
        return draws.normal("x", (4,))

    def loss(self, modules: Prepared, batch: Tensor, draws: Draws) -> dict[str, Tensor]:
        error = (modules["head"](modules["body"](batch)) - batch.sum(1, keepdim=True)).square().mean()
        return {"loss": error * float("nan") if draws.step == self.poison else error}

    def validate(self, modules: Prepared, step: int) -> dict[str, float | Image.Image]:
        return {"step": float(step), "picture": Image.new("RGB", (4, 4))}


def weights(task: Regression) -> dict[str, Tensor]:
    return nn.ModuleDict(dict(task.modules)).state_dict()


def equal(a: Regression, b: Regression) -> bool:
    return all(torch.equal(x, y) for x, y in zip(weights(a).values(), weights(b).values(), strict=True))


def test_learns_and_leaves_metrics_and_samples(tmp_path: Path) -> None:
    begun = time.process_time()
    report = fit(
        Regression(dropout=0.0),
        dataclasses.replace(CONFIG, steps=300, validate_every=100),
        output_dir=tmp_path,
    )
    assert report.stopped == "steps"
    assert report.losses[-1][1] < 0.05 * report.losses[0][1]
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "train/loss" in row] == list(range(1, 301))
    assert 0 < sum(row.get("train/processor_seconds", 0) for row in rows) <= time.process_time() - begun
    assert sorted(p.name for p in (tmp_path / "samples").iterdir()) == [f"step_000{n}00_picture.png" for n in (1, 2, 3)]


def test_resume_is_bit_equal_to_the_uninterrupted_run(tmp_path: Path) -> None:
    whole, parts = Regression(), Regression()
    fit(whole, CONFIG)
    stopped = fit(parts, dataclasses.replace(CONFIG, max_minutes=1e-9), output_dir=tmp_path)
    assert (stopped.stopped, stopped.steps) == ("time", 1)
    resumed = Regression()
    report = fit(resumed, CONFIG, output_dir=tmp_path, resume=True)
    assert report.steps == 20
    assert equal(whole, resumed)
    assert [step for step, _ in report.losses] == list(range(1, 21))


class Judged(Regression):
    """Validation losses that were written beforehand."""

    def __init__(self, *losses: float):
        super().__init__()
        self.losses = losses

    def validate(self, modules: Prepared, step: int) -> dict[str, float | Image.Image]:
        return {"loss": self.losses[step // 2 - 1]}


def test_patience_stops_after_validations_without_gain() -> None:
    patient = dataclasses.replace(CONFIG, validate_every=2, patience=2)
    for losses, steps in (
        ((3.0, 2.0, 2.0, 2.5, 1.0), 8),  # as low as before is no gain
        ((3.0, 4.0, 2.0, 2.5, 1.9, 1.8, 1.7, 1.6, 1.5, 1.4), 20),
    ):
        report = fit(Judged(*losses), patient)
        assert (report.steps, report.stopped) == (steps, "patience" if steps < 20 else "steps")
    with pytest.raises(TrainingError, match="patience needs a validation that gives a loss"):
        fit(Regression(), patient)
    with pytest.raises(ValueError, match="patience counts validations, but there are none"):
        TrainConfig(patience=2)


def test_patience_is_remembered_by_checkpoints(tmp_path: Path) -> None:
    """An interrupted run stops where the uninterrupted one does, with its weights, and stays stopped."""
    patient = dataclasses.replace(CONFIG, validate_every=2, patience=2, save_every=2)
    losses = 3.0, 2.0, 2.1, 2.2, 1.0
    whole = Judged(*losses)
    fit(whole, patient)

    class Late(Judged):
        def loss(self, modules: Prepared, batch: Tensor, draws: Draws) -> dict[str, Tensor]:
            if draws.step == 6:
                raise KeyError("interrupted")
            return super().loss(modules, batch, draws)

    with pytest.raises(KeyError):
        fit(Late(*losses), patient, output_dir=tmp_path)
    for again in range(2):
        resumed = Judged(*losses)
        report = fit(resumed, patient, output_dir=tmp_path, resume=True)
        assert (report.steps, report.stopped) == (8, "patience"), again
        assert equal(whole, resumed)


def test_accumulation_changes_nothing() -> None:
    whole, parts = Regression(dropout=0.0), Regression(dropout=0.0)
    fit(whole, CONFIG)
    fit(parts, dataclasses.replace(CONFIG, gradient_accumulation=4))
    for a, b in zip(weights(whole).values(), weights(parts).values(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=0)


class Hooked(Regression):
    """Notes when the trainer calls its hooks, and what they see."""

    def __init__(self) -> None:
        super().__init__(dropout=0.0)
        self.calls: list[tuple[str, int, int]] = []

    def begin_step(self, modules: Prepared, draws: Draws) -> None:
        assert not torch.is_grad_enabled()
        self.calls.append(("begin", draws.step, len(draws)))

    def after_backward(self, batch: Tensor, draws: Draws) -> None:
        assert all(p.grad is not None for module in self.modules.values() for p in module.parameters())
        self.calls.append(("after", draws.step, len(batch)))


def test_hooks_run_once_a_step_and_once_a_backward_pass() -> None:
    task = Hooked()
    fit(task, dataclasses.replace(CONFIG, steps=2, gradient_accumulation=2))
    assert task.calls == [
        (name, step, size) for step in (0, 1) for name, size in (("begin", 8), ("after", 4), ("after", 4))
    ]


def test_average_is_the_recursion_of_its_definition() -> None:
    trail: list[Tensor] = []

    class Watched(Regression):
        def loss(self, modules: Prepared, batch: Tensor, draws: Draws) -> dict[str, Tensor]:
            trail.append(self.modules["head"].weight.detach().clone())
            return super().loss(modules, batch, draws)

    plain = Watched()
    fit(plain, dataclasses.replace(CONFIG, ema=None))
    trail.append(plain.modules["head"].weight.detach().clone())
    average = trail[0].clone()
    for step, value in enumerate(trail[1:]):
        average.lerp_(value, 1 - min(0.9, (1 + step) / (10 + step)))
    averaged = Regression()
    fit(averaged, CONFIG)
    torch.testing.assert_close(averaged.modules["head"].weight.detach(), average, atol=1e-6, rtol=0)


def test_schedules() -> None:
    config = TrainConfig(steps=110, warmup_steps=10, learning_rate=2.0, schedule="cosine")
    assert learning_rate(config, 4) == pytest.approx(1.0)
    assert learning_rate(config, 60) == pytest.approx(1.0)
    assert learning_rate(config, 110) == pytest.approx(0.0)
    assert learning_rate(dataclasses.replace(config, schedule="linear"), 85) == pytest.approx(0.5)
    scaled = dataclasses.replace(config, schedule="constant", scale_learning_rate=True, batch_size=4)
    assert learning_rate(scaled, 100) == pytest.approx(8.0)


def test_a_loss_that_is_not_finite_stops_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="became nan at step 12.*step 10 is kept.*learning_rate"):
        fit(Regression(poison=12), CONFIG, output_dir=tmp_path)
    assert checkpoints.steps(tmp_path / "checkpoints") == [5, 10]
    healed = Regression()
    fit(healed, CONFIG, output_dir=tmp_path, resume=True)
    whole = Regression()
    fit(whole, CONFIG)
    assert equal(healed, whole)


def test_sigterm_saves_and_returns(tmp_path: Path) -> None:
    class Interrupting(Regression):
        def batch(self, draws: Draws) -> Tensor:
            if draws.step == 7:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().batch(draws)

    report = fit(Interrupting(), CONFIG, output_dir=tmp_path)
    assert (report.stopped, report.steps) == ("signal", 8)
    assert checkpoints.steps(tmp_path / "checkpoints")[-1] == 8


def test_fit_works_outside_the_main_thread(tmp_path: Path) -> None:
    task = Regression()
    thread = threading.Thread(target=fit, args=(task, CONFIG))
    thread.start()
    thread.join(60)
    other = Regression()
    fit(other, CONFIG)
    assert equal(task, other)


def test_an_existing_run_is_not_overwritten_and_other_settings_are_refused(tmp_path: Path) -> None:
    fit(Regression(), CONFIG, output_dir=tmp_path)
    with pytest.raises(TrainingError, match="already holds a run; resume it"):
        fit(Regression(), CONFIG, output_dir=tmp_path)
    with pytest.raises(TrainingError, match=r"learning_rate 0.01 -> 0.5"):
        fit(Regression(), dataclasses.replace(CONFIG, learning_rate=0.5), output_dir=tmp_path, resume=True)


def test_a_longer_run_may_resume_a_shorter_one_of_constant_rate(tmp_path: Path) -> None:
    fit(Regression(), CONFIG, output_dir=tmp_path)
    longer = Regression()
    config = dataclasses.replace(CONFIG, steps=30)
    fit(longer, config, output_dir=tmp_path, resume=True)
    whole = Regression()
    fit(whole, config)
    assert equal(longer, whole)


def test_the_callers_random_state_is_untouched() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    task = Regression()
    torch.manual_seed(3)
    fit(task, CONFIG)
    assert torch.equal(torch.rand(2), expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 0}, "batch_size must be positive, got 0"),
        ({"max_minutes": -1.0}, "max_minutes must be positive or none"),
        ({"batch_size": 6, "gradient_accumulation": 4}, "must be a multiple of gradient_accumulation 4"),
        ({"ema": 1.5}, "ema must lie between 0 and 1"),
        ({"warmup_steps": 99}, "warmup_steps must be in 0..20"),
    ],
)
def test_bad_settings(changes: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(CONFIG, **changes)


@pytest.mark.parametrize(("native", "expected"), [(True, torch.bfloat16), (False, torch.float32)])
def test_auto_precision_is_bf16_only_where_the_hardware_has_it(
    monkeypatch: pytest.MonkeyPatch, native: bool, expected: torch.dtype
) -> None:
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: native)
    seen: list[torch.dtype] = []

    class Watched(Regression):
        def loss(self, modules: Prepared, batch: Tensor, draws: Draws) -> dict[str, Tensor]:
            # Not what a prepared module gives: accelerate turns that into fp32 again.
            seen.append((batch @ batch.T).dtype)
            return super().loss(modules, batch, draws)

    fit(Watched(), dataclasses.replace(CONFIG, steps=1, precision="auto"))
    assert seen == [expected]


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_both_optimizers_resume_bit_equal(tmp_path: Path, optimizer: str) -> None:
    config = dataclasses.replace(CONFIG, optimizer=optimizer)

    def task() -> Regression:
        made = Regression()
        made.modules = {"body": nn.Sequential(nn.Linear(4, 32), nn.Linear(32, 16)), "head": nn.Linear(16, 1)}
        nn.init.eye_(made.modules["body"][1].weight)  # pyright: ignore
        return made

    torch.manual_seed(0)
    whole = task()
    start = {name: value.clone() for name, value in weights(whole).items()}
    fit(whole, config)
    for options in ({"max_minutes": 1e-9}, {}):
        parts = task()
        nn.ModuleDict(dict(parts.modules)).load_state_dict(start)
        fit(parts, dataclasses.replace(config, **options), output_dir=tmp_path, resume="auto")
    assert equal(whole, parts)


def test_fp16_on_a_cpu_is_refused() -> None:
    with pytest.raises(TrainingError, match="fp16 needs a GPU"):
        fit(Regression(), dataclasses.replace(CONFIG, precision="fp16"))


SCRIPT = """
import importlib.util, sys
import accelerate
from pathlib import Path
from safetensors.torch import save_file
from mappers.training.trainer import fit
spec = importlib.util.spec_from_file_location("task", {file!r})
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)

def main(output, **changes):
    import dataclasses
    task = module.Regression(dropout=0.0)
    fit(task, dataclasses.replace(module.CONFIG, **changes), output_dir=Path(output))
    state = accelerate.PartialState()
    print(f"process {{state.process_index}} of {{state.num_processes}}", flush=True)

if __name__ == "__main__":
    main(sys.argv[1], **eval(sys.argv[2]))
"""


def script(tmp_path: Path) -> Path:
    path = tmp_path / "train_script.py"
    path.write_text(SCRIPT.format(file=__file__), encoding="utf-8")
    return path


def environment() -> dict[str, str]:
    root = Path(checkpoints.__file__).parents[2]
    return {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}


@pytest.mark.slow
def test_two_gloo_processes_give_the_weights_of_one(tmp_path: Path) -> None:
    # accelerate's own launcher starts one process on a CPU; torchrun, which it calls on GPUs, starts two.
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    changes = "{'steps': 20, 'save_every': 5, 'batch_size': 8}"
    done = subprocess.run(
        [*launch, str(script(tmp_path)), str(tmp_path / "two"), changes],
        check=True,
        env={**environment(), "ACCELERATE_USE_CPU": "true"},
        timeout=300,
        capture_output=True,
        text=True,
    )
    assert sorted(re.findall(r"process \d of 2", done.stdout)) == ["process 0 of 2", "process 1 of 2"]
    one = Regression(dropout=0.0)
    fit(one, CONFIG, output_dir=tmp_path / "one")
    a = checkpoints.load(tmp_path / "one" / "checkpoints")
    b = checkpoints.load(tmp_path / "two" / "checkpoints")
    assert a.step == b.step == 20
    assert a.weights.keys() == b.weights.keys()
    for name, value in a.weights.items():
        torch.testing.assert_close(value, b.weights[name], atol=1e-5, rtol=0)


def save_endlessly(output: Path) -> None:
    torch.set_num_threads(1)
    fit(Regression(dropout=0.0), dataclasses.replace(CONFIG, steps=100_000, save_every=1), output_dir=output)


@pytest.mark.slow
def test_kill_in_mid_save_leaves_a_readable_latest_checkpoint(tmp_path: Path, processes: Any) -> None:
    """Kill the process at random moments of a run that does little but save."""
    for attempt in range(4):
        output = tmp_path / f"run{attempt}"
        process = processes.Process(target=save_endlessly, args=(output,))
        process.start()
        deadline = time.monotonic() + 60
        while not checkpoints.steps(output / "checkpoints") and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.05 + 0.037 * attempt)
        process.kill()
        process.join()
        loaded = checkpoints.load(output / "checkpoints")
        assert loaded.step >= 1
        fit(
            Regression(dropout=0.0),
            dataclasses.replace(CONFIG, steps=loaded.step + 2),
            output_dir=output,
            resume=True,
        )
        assert not list((output / "checkpoints").glob(".writing-*"))
