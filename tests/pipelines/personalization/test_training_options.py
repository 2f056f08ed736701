"""Settings of a training, what is refused, and that only the same inputs resume a run."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler
from PIL import Image
from safetensors.torch import load_file, save_file

from mappers.training.monitoring import TrainingError
from mappers.training.train_config import TrainConfig
from pipelines import personalize
from pipelines.personalization import cli, training
from pipelines.personalization.attention import context_attention
from pipelines.personalization.pipeline import NeTIPipeline
from pipelines.personalization.settings import PersonalizeConfig
from pipelines.personalization.subjects import Source, common_size
from pipelines.personalization.task import SAMPLE_PROMPTS, TEMPLATES

from .test_training import CONFIG, TOKEN, pictures, task

QUICK = PersonalizeConfig(train=TrainConfig(steps=1, batch_size=2))


def portrait(width: int = 64, height: int = 96) -> Image.Image:
    """White, with a red head in the top sixth, which the centred square leaves out."""
    picture = Image.new("RGB", (width, height), "white")
    picture.paste("red", (0, 0, width, height // 6))
    return picture


@pytest.mark.parametrize(
    ("sizes", "side", "factor", "expected"),
    [
        ([(512, 512)], 512, 8, (512, 512)),
        ([(512, 768)] * 2 + [(900, 600)], 512, 8, (448, 640)),
        ([(768, 512)], 1024, 8, (1280, 832)),
        ([(4000, 300)], 512, 8, (704, 384)),
        ([(64, 96)], 32, 2, (26, 40)),
    ],
)
def test_the_common_shape_has_as_many_pixels(
    sizes: list[tuple[int, int]], side: int, factor: int, expected: tuple[int, int]
) -> None:
    source = Source(TOKEN, "toy", [Image.new("RGB", size) for size in sizes], None)
    assert common_size([source], side, factor) == expected


def test_portraits_keep_their_heads(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learned: dict[str, torch.Tensor] = {}
    for aspect in ("square", "common"):
        made = training._task

        def noted(*args: Any, aspect: str = aspect, made: Any = made) -> Any:
            result = made(*args)
            learned[aspect] = result.subjects[0].pictures
            return result

        monkeypatch.setattr(training, "_task", noted)
        config = dataclasses.replace(QUICK, aspect=aspect)
        personalize([portrait()] * 2, TOKEN, model=tiny_model, category="toy", config=config, device="cpu")
        monkeypatch.undo()
    red = {aspect: float((pixels[:, 1] < 0).float().mean()) for aspect, pixels in learned.items()}
    assert learned["square"].shape[2] == learned["square"].shape[3]
    assert red["square"] < 0.03
    height, width = learned["common"].shape[2:]
    assert height > width
    assert red["common"] > 0.1


def test_a_style_has_sentences_of_its_own(tiny_model: Path, tmp_path: Path) -> None:
    config = dataclasses.replace(QUICK, learns="style")
    personalize(
        pictures(), TOKEN, model=tiny_model, category="painting", config=config, output_dir=tmp_path, device="cpu"
    )
    shown = json.loads((tmp_path / "report.json").read_text())["samples"]["prompts"]
    assert shown == [prompt.format(TOKEN) for prompt in SAMPLE_PROMPTS["style"]]
    assert all("style of {}" in text for text in (*TEMPLATES["style"], *SAMPLE_PROMPTS["style"]))


def test_the_sentences_of_a_style_are_learned_from(pipeline: NeTIPipeline) -> None:
    ids = [task(pipeline, dataclasses.replace(CONFIG, learns=kind)).prompts[0].ids for kind in ("object", "style")]
    assert len(ids[1]) == len(TEMPLATES["style"])
    assert not torch.equal(ids[0], ids[1])


@pytest.mark.parametrize("predicts", ["epsilon", "v_prediction", "sample"])
def test_the_target_is_what_the_model_predicts(pipeline: NeTIPipeline, predicts: str) -> None:
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config, prediction_type=predicts)
    made = task(pipeline)
    latents, noise = torch.randn(2, 4, 4, 4), torch.randn(2, 4, 4, 4)
    times = torch.tensor([100, 700])
    alpha = made.alphas[times].view(-1, 1, 1, 1)
    noisy = alpha.sqrt() * latents + (1 - alpha).sqrt() * noise
    wanted = {
        "epsilon": noise, "sample": latents, "v_prediction": pipeline.scheduler.get_velocity(latents, noise, times),
    }[predicts]  # fmt: skip
    contexts = made._contexts(
        made.modules, times, torch.zeros(2, dtype=torch.long), torch.zeros(2, dtype=torch.long), None
    )
    with context_attention(pipeline.unet), torch.no_grad():
        predicted = pipeline.predict(noisy, times, contexts)
        errors = made._errors(latents, noise, times, contexts)
    torch.testing.assert_close(errors, (predicted - wanted).square())


def test_a_model_that_predicts_something_else_is_refused(pipeline: NeTIPipeline) -> None:
    pipeline.scheduler.register_to_config(prediction_type="flow")
    with pytest.raises(ValueError, match="the model predicts flow; words can be learned where it predicts noise"):
        task(pipeline)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"category": " "}, r"the category of <thing> is empty; say what kind of thing it is"),
        ({"config": dataclasses.replace(QUICK, resolution=17)}, r"resolution must be a multiple of \d+, got 17; take "),
        ({"seed": 10**20}, "seed must have at most 63 bits, got 100000000000000000000"),
    ],
)
def test_bad_settings_are_sentences(changes: dict[str, Any], message: str, tiny_model: Path) -> None:
    given = {"category": "toy", "config": QUICK} | changes
    with pytest.raises(ValueError, match=message):
        personalize(pictures(), TOKEN, model=tiny_model, device="cpu", **given)


def test_several_pictures_of_one_word_need_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called: dict[str, Any] = {}
    monkeypatch.setattr(training, "personalize", lambda images, **options: called.update(options, images=images))
    options = cli.PersonalizeOptions(output_dir=tmp_path)
    files = tuple(tmp_path / f"{number}.png" for number in range(3))
    cli.Personalize(images=files, token=(TOKEN,), options=options).run()
    assert called["images"] == {TOKEN: files}
    with pytest.raises(ValueError, match="several folders for one token; give one folder, or only picture files"):
        cli.Personalize(images=(tmp_path, tmp_path), token=(TOKEN,), options=options).run()
    with pytest.raises(ValueError, match=r"3 entries for 2 tokens; .*\(all pictures of a word in one folder\)"):
        cli.Personalize(images=files, token=(TOKEN, "<b>"), options=options).run()


RESUMED = PersonalizeConfig(train=TrainConfig(steps=3, batch_size=2, log_every=1, schedule="cosine"))
MASKS = [Image.new("L", (32, 32), "white")] * 2


@pytest.fixture
def begun(tiny_model: Path, tmp_path: Path) -> dict[str, Any]:
    """Arguments of a run that was stopped after its first step."""
    arguments: dict[str, Any] = {
        "images": {TOKEN: pictures()}, "category": "toy", "config": RESUMED, "model": tiny_model, "output_dir": tmp_path
    }  # fmt: skip
    personalize(**arguments, max_minutes=1e-9)
    return arguments


def finetuned(model: Path, folder: Path) -> Path:
    shutil.copytree(model, folder)
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    save_file({k: v + 0.01 * torch.randn_like(v) for k, v in load_file(path).items()}, path, {"format": "pt"})
    return folder


def test_resuming_with_other_inputs_is_refused_and_names_them(begun: dict[str, Any], tmp_path: Path) -> None:
    other = dataclasses.replace(RESUMED, min_snr=5.0, flip=0.0, resolution=16)
    changes: list[tuple[dict[str, Any], str]] = [
        ({"images": {TOKEN: pictures(3)}}, r"word.<thing>.pictures: other content"),
        ({"images": {"<that>": pictures()}}, r"word.<that>.category: nothing -> toy; .*words: \['<thing>'\] -> "),
        ({"category": "car"}, r"word.<thing>.category: toy -> car"),
        ({"masks": {TOKEN: MASKS}}, r"word.<thing>.masks: other content"),
        ({"config": other}, r"flip: 0.5 -> 0.0; settings.min_snr: nothing -> 5.0; settings.resolution: nothing -> 16"),
        ({"model": finetuned(begun["model"], tmp_path / "finetuned")}, r"model.unet: other content"),
    ]
    for changed, message in changes:
        with pytest.raises(TrainingError, match=rf"made from other inputs \(.*{message}"):
            personalize(**begun | changed, resume=True)
    personalize(**begun, resume=True)


def test_a_finished_word_learns_on(begun: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    personalize(**begun, resume=True)
    personalize(**begun, resume=True, steps=5)
    assert "goes on to 5 steps with the schedule of a run of that length" in caplog.text
