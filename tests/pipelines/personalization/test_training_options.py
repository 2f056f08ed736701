"""Settings of a training, what is refused, and that only the same inputs resume a run."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline
from PIL import Image
from safetensors.torch import load_file, save_file

from mappers.training.monitoring import TrainingError
from mappers.training.train_config import TrainConfig
from pipelines import load_concept, personalize
from pipelines.personalization import cli, training
from pipelines.personalization.pipeline import NeTIPipeline
from pipelines.personalization.settings import PersonalizeConfig
from pipelines.personalization.subjects import Source, common_size
from pipelines.personalization.task import SAMPLE_PROMPTS, TEMPLATES
from pipelines.plugging.learning import fed_by_argument, predict

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
    with fed_by_argument(pipeline.unet), torch.no_grad():
        predicted = predict(pipeline.unet, noisy, times, contexts, pixels=4)
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


SHORT = PersonalizeConfig(train=TrainConfig(steps=2, batch_size=2, learning_rate=1e-2))


def state(pipeline: Any) -> dict[str, torch.Tensor]:
    return pipeline.concepts[TOKEN].mapper.state_dict()


def drawn(pipe: Any) -> torch.Tensor:
    pipe.set_progress_bar_config(disable=True)
    options = {"num_inference_steps": 2, "output_type": "latent", "generator": torch.Generator().manual_seed(0)}
    return pipe(f"a {TOKEN} on the beach", **options).images


def test_a_pipeline_learns_a_word(tiny_model: Path) -> None:
    """As the folder that it is from does; it is left as it was, but for the word."""
    want = personalize(pictures(), TOKEN, model=tiny_model, config=SHORT)
    pipe: Any = StableDiffusionPipeline.from_pretrained(tiny_model)
    pipe.unet.train()
    assert personalize(pictures(), TOKEN, model=pipe, config=SHORT) is pipe
    socket = pipe.__dict__["encode_prompt"].__self__
    made = socket.words[TOKEN].concept.mapper.state_dict()
    assert all(torch.equal(value, made[name]) for name, value in state(want).items())
    assert pipe.unet.training
    assert all(weight.requires_grad for weight in pipe.unet.parameters())
    torch.testing.assert_close(drawn(pipe.to("cpu")), drawn(want), atol=1e-4, rtol=1e-4)
    pipe.unet.eval()
    socket.unplug()
    assert not [m for m in pipe.unet.modules() if m._forward_pre_hooks]


def test_a_pipeline_without_text_is_refused(tiny_model: Path) -> None:
    pipe = StableDiffusionPipeline.from_pretrained(tiny_model, text_encoder=None)
    with pytest.raises(ValueError, match="a StableDiffusionPipeline, without text_encoder; words can be learned for"):
        personalize(pictures(), TOKEN, model=pipe, config=SHORT)


def test_the_mapper_stays_in_fp32(tiny_model: Path, tmp_path: Path) -> None:
    made = personalize(pictures(), TOKEN, model=tiny_model, config=SHORT, dtype="bfloat16", output_dir=tmp_path)
    assert made.unet.dtype == made.text_encoder.dtype == torch.bfloat16
    assert {value.dtype for value in state(made).values()} == {torch.float32}
    saved = load_file(tmp_path / "concept.safetensors")
    assert {value.dtype for value in saved.values()} == {torch.float32}
    start = personalize(pictures(), TOKEN, model=tiny_model, config=SHORT)
    for name, value in state(start).items():
        # AdamW takes steps of one size whichever size a gradient has, so single numbers may go the other way.
        assert (state(made)[name].float() - value.float()).abs().mean() < 0.01
    assert load_concept(tmp_path / "concept.safetensors").base.difference(start.base) is None
