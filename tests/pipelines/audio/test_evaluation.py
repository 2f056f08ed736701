"""Judges of sounds, and the rows that they are compared with."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from pipelines.audio.evaluation import evaluate_audio, figures_table
from pipelines.audio.extractors import Cnn14, Cnn14Extractor, Vggish, load_extractor
from pipelines.audio.files import write_sound
from pipelines.audio.generation import Sonifier
from pipelines.audio.settings import FitMapperConfig, SoundConfig
from pipelines.audio.training import fit_mapper
from pipelines.cli import main

QUICK = SoundConfig(inference_steps=1, mapper_steps=1)


def noise(seed: int, samples: int = 16_000) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, samples).astype(np.float32)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("judged")
    for number in range(20):
        kind = folder / ("low" if number % 2 else "high")
        kind.mkdir(exist_ok=True)
        shade = np.full((16, 16, 3), 40 if number % 2 else 200, dtype=np.uint8)
        shade[: number // 2] = 0
        Image.fromarray(shade).save(kind / f"p{number}.png")
        hertz = (200 if number % 2 else 3000) * (1 + number / 100)
        wave = 0.5 * np.sin(2 * np.pi * hertz * np.arange(9_000) / 16_000)
        write_sound(kind / f"s{number}.wav", wave.astype(np.float32), 16_000)
    return folder


@pytest.fixture(scope="module")
def sonifier(folders: Any) -> Sonifier:
    loaded = Sonifier.load(**folders.parts, device="cpu")
    loaded.backend.pipeline.set_progress_bar_config(disable=True)  # pyright: ignore
    return loaded


def test_rows_and_figures(pairs: Path, folders: Any, sonifier: Sonifier, tmp_path: Path) -> None:
    back = FitMapperConfig(method="linear", reverse=True)
    fit_mapper(pairs, tmp_path / "back", clip=folders.clip, clap=folders.clap, config=back)
    rows = evaluate_audio(
        pairs, tmp_path / "run", sonifier=sonifier, clap=folders.clap, sound_to_picture=tmp_path / "back", config=QUICK
    )
    by_name = {row.sounds: row.figures for row in rows}
    assert list(by_name) == ["generated", "oracle", "shuffled", "silence", "noise", "training"]
    wanted = {"FD clap", "IS clap", "KL clap", "accuracy clap", "CLAP score", "recall at 1", "CS"}
    levels = {"loudness (LUFS)", "true peak (dBTP)"}
    for name, figures in by_name.items():
        assert set(figures) == (wanted if name == "silence" else wanted | levels)
        for estimate in figures.values():
            assert math.isfinite(estimate.value)
            assert estimate.low <= estimate.high
    # Distances of distributions do not see which sound belongs to which picture.
    for figure in ("FD clap", "IS clap"):
        assert by_name["shuffled"][figure].value == pytest.approx(by_name["generated"][figure].value, rel=1e-6)
    assert by_name["training"]["FD clap"].value < by_name["silence"]["FD clap"].value
    assert by_name["training"]["recall at 1"].value > 0.7
    assert by_name["generated"]["true peak (dBTP)"].value <= -0.99
    assert by_name["generated"]["loudness (LUFS)"].value <= -22.9
    assert by_name["silence"]["IS clap"].value == pytest.approx(1)
    assert len(list((tmp_path / "run" / "sounds" / "generated").glob("*.wav"))) == 4
    assert json.loads((tmp_path / "run" / "report.json").read_text())[0]["sounds"] == "generated"
    assert (tmp_path / "run" / "report.md").read_text() == figures_table(rows) + "\n"
    again = evaluate_audio(pairs, tmp_path / "again", sonifier=sonifier, clap=folders.clap, config=QUICK)
    assert again[0].figures["FD clap"] == by_name["generated"]["FD clap"]


def test_sounds_made_elsewhere_by_the_command_line(
    pairs: Path, folders: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(20):
        write_sound(tmp_path / "made" / f"p{number}.wav", noise(number), 16_000)
    parts = [word for name, path in folders.parts.items() for word in (f"--{name.replace('_', '-')}", str(path))]
    run = ["evaluate-audio", "--pairs", str(pairs), *parts, "--output", str(tmp_path / "run")]
    made = ["--generated", str(tmp_path / "made"), "--extractor", str(folders.clap)]
    assert main([*run, *made]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("| sounds | FD clap |")
    assert [line.split(" | ")[0] for line in lines[2:]] == [
        "| generated", "| shuffled", "| silence", "| noise", "| training",
    ]  # fmt: skip
    (tmp_path / "made" / "p8.wav").unlink()
    assert main([*run, *made, "--overwrite"]) == 2
    assert "there is no sound p8.*" in capsys.readouterr().err


def cnn14(path: Path, rate: int = 32_000) -> Cnn14:
    """Weights as the published file has them, with the front end's constants."""
    torch.manual_seed(0)
    model = Cnn14(rate).eval()
    bins = 513 if rate == 32_000 else 257
    tensors = {**model.state_dict(), "spectrogram_extractor.stft.conv_real.weight": torch.zeros(bins, 1, 8)}
    if path.suffix == ".safetensors":
        save_file(tensors, path)
    else:
        torch.save({"iteration": 1, "model": tensors}, path)
    return model


@pytest.mark.slow
def test_cnn14_has_its_published_size_and_is_read_from_both_kinds_of_file(tmp_path: Path) -> None:
    model = cnn14(tmp_path / "cnn14.pth")
    assert sum(p.numel() for p in model.parameters()) == 80_753_615
    found = load_extractor(tmp_path / "cnn14.pth", ["a"])
    features = found([noise(0, 16_000), noise(1, 700)], 16_000)
    assert features.embeds.shape == (2, 2048)
    assert features.logits.shape == (2, 527)
    assert np.isfinite(features.embeds).all()
    alone = found([noise(1, 700)], 16_000)
    np.testing.assert_allclose(alone.embeds[0], features.embeds[1], atol=1e-5)


def test_nothing_in_a_weights_file_is_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return (Path.touch, (tmp_path / "touched",))  # pyright: ignore

    torch.save({"model": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(ValueError, match="holds more than weights, and such files are not read"):
        Cnn14Extractor(tmp_path / "evil.pth")
    assert not (tmp_path / "touched").exists()
    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="does not hold the weights of CNN14"):
        Cnn14Extractor(tmp_path / "other.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(b"1234")
    with pytest.raises(ValueError, match="holds no readable weights"):
        Cnn14Extractor(tmp_path / "cut.safetensors")
    with pytest.raises(FileNotFoundError, match="there is no file"):
        Cnn14Extractor(tmp_path / "none.pth")


def test_cnn14_s_front_end_equals_librosa() -> None:
    import librosa

    model = object.__new__(Cnn14)
    torch.nn.Module.__init__(model)
    model.sampling_rate, model.hop = 32_000, 320
    wave = noise(3, 20_000)
    power = librosa.feature.melspectrogram(
        y=wave, sr=32_000, n_fft=1024, hop_length=320, n_mels=64, fmin=50, fmax=14_000, pad_mode="reflect"
    )
    expected = librosa.power_to_db(power, ref=1.0, amin=1e-10, top_db=None)
    np.testing.assert_allclose(model.log_mel(torch.from_numpy(wave)[None])[0, 0].numpy(), expected.T, atol=1e-3)


SMALL = (4, 6, 8, 8, 10, 10, 12, 12, 5)


def test_vggish_hears_stretches_and_is_told_by_its_tensors(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Vggish(SMALL).eval()
    torch.save(model.state_dict(), tmp_path / "vggish.pth")
    found = load_extractor(tmp_path / "vggish.pth", ["a"])
    features = found([noise(0, 16_000), noise(1, 48_000), noise(2, 900)], 16_000)
    assert (found.name, found.distance, found.classes, features.logits) == ("vggish", "FAD", None, None)
    assert features.embeds.shape == (1 + 3 + 1, 5)  # short ones are filled up
    wave = torch.from_numpy(noise(1, 48_000))
    later = found([noise(1, 48_000)[15_360:]], 16_000).embeds
    np.testing.assert_allclose(later, features.embeds[2:4], atol=1e-5)
    assert model.log_mel(wave).shape == (3, 1, 96, 64)
    save_file({**model.state_dict(), "embeddings.4.weight": torch.zeros(5, 3)}, tmp_path / "wrong.safetensors")
    with pytest.raises(ValueError, match="does not hold the weights of VGGish"):
        load_extractor(tmp_path / "wrong.safetensors", ["a"])


@pytest.mark.slow
def test_vggish_has_its_published_size() -> None:
    assert sum(p.numel() for p in Vggish().parameters()) == 72_141_184


def test_vggish_s_front_end_is_a_sum_over_bins_between_mels() -> None:
    """One frame, bin by bin: each magnitude counts by how near it is, in mels, to a filter's middle."""
    wave = noise(4, 400 + 95 * 160)
    spectrum = np.abs(np.fft.rfft(wave[:400] * (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)), 512))
    mel = [1127 * math.log(1 + 8_000 * bin / 256 / 700) for bin in range(257)]
    low, high = (1127 * math.log(1 + hertz / 700) for hertz in (125, 7_500))
    step = (high - low) / 65
    for number in (0, 20, 63):
        middle = low + (number + 1) * step
        total = sum(max(0.0, 1 - abs(mel[bin] - middle) / step) * spectrum[bin] for bin in range(1, 257))
        got = Vggish(SMALL).log_mel(torch.from_numpy(wave))[0, 0, 0, number].item()
        assert got == pytest.approx(math.log(total + 0.01), abs=1e-4)


def test_a_judge_without_classes_gives_distances_alone(
    pairs: Path, folders: Any, sonifier: Sonifier, tmp_path: Path
) -> None:
    torch.save(Vggish(SMALL).state_dict(), tmp_path / "vggish.pth")
    rows = evaluate_audio(
        pairs,
        tmp_path / "run",
        sonifier=sonifier,
        clap=folders.clap,
        extractors=[tmp_path / "vggish.pth"],
        config=QUICK,
    )
    by_name = {row.sounds: row.figures for row in rows}
    assert {figure for figure in by_name["generated"] if figure.endswith("vggish")} == {"FAD vggish"}
    assert by_name["training"]["FAD vggish"].value < by_name["silence"]["FAD vggish"].value
