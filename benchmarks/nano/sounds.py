"""Quality of nano's sounds: ``python -m benchmarks.nano.sounds [--each 10]``.

Autoencoder, CLAP and CLIP are measured on fresh moments of the world; mappers by what their embeddings retrieve; and
the whole model by an independent classifier (`benchmarks.nano.sound_judge`): whether it names what the picture shows,
the Frechet distance of generated to real sounds in its features (and in those of aiSFX where that is installed, see
`benchmarks.audio.aisfx`), and whether larger objects sound lower. The sheet shows uncurated spectrograms, and the files
their sounds. All seeds are fresh: no training drew from them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from transformers import CLIPModel

from benchmarks.audio.aisfx import Aisfx, installed
from benchmarks.common.results import IMAGES, ROOT, Results, Table, median_seconds, result_path
from benchmarks.nano.sound_judge import judge, load_classifier, object_scores
from mappers.command_line import run_script
from mappers.files import replacing
from mappers.hub import resolve
from mappers.v2a import EmbeddingMapper, IdentityMapper, LinearMapper
from pipelines.audio.clap import Clap
from pipelines.audio.mel import log_mel
from pipelines.audio.metrics import accuracy, frechet_distance, inception_score, recall_at
from pipelines.audio.pipeline import VisionToAudioPipeline
from pipelines.estimate import bootstrap
from pipelines.nano import world
from pipelines.nano.recipes.audio_clip import plain_caption
from pipelines.nano.recipes.audio_mappers import embed_moments
from pipelines.nano.recipes.clap import measure_clap
from pipelines.nano.recipes.clip import tokens_of
from pipelines.nano.recipes.mel_vae import mels_of, spectrogram_grid
from pipelines.nano.train import shared_tokenizer
from pipelines.nano.train_audio import CLAP, VISION_TO_AUDIO
from pipelines.nano.world.moments import NAMES, Moment, numbered_moment
from pipelines.nano.world.sounds import RATE, SAMPLES

SEED = 5_000_011
DRAWS = 8
SHOWN = ("real sounds", "oracle", "regression", "prior")
"""Rows of the table that are columns of the sheet."""
OUTPUT = result_path(__file__)


def moments_from(seed: int, count: int) -> list[Moment]:
    """Fresh moments; objects and ways to sound take turns."""
    return [numbered_moment(seed, index) for index in range(count)]


def sounds_of(moments: Sequence[Moment]) -> Float[Tensor, "n samples"]:
    """Their sounds."""
    return torch.from_numpy(np.stack([moment.sound() for moment in moments]))


def objects_of(moments: Sequence[Moment]) -> np.ndarray:
    """Indices of their objects."""
    return np.array([NAMES.index(moment.name) for moment in moments])


def ranks(values: np.ndarray) -> np.ndarray:
    """Places in order; equal values share theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse]


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's."""
    return float(np.corrcoef(ranks(first), ranks(second))[0, 1])


class Measured:
    """Everything that is loaded once, and the moments that are measured on."""

    def __init__(self, each: int, steps: int, guidance: float):
        self.pipeline = VisionToAudioPipeline.from_pretrained(VISION_TO_AUDIO)
        self.pipeline.set_progress_bar_config(disable=True)
        self.clap = Clap.from_folder(CLAP)
        self.judge = load_classifier()
        self.aisfx = Aisfx() if installed() else None
        if self.aisfx is None:
            print("skipped: FD by aiSFX, which is not installed (pip install --no-deps aisfx)")
        self.steps, self.guidance = steps, guidance
        self.moments = moments_from(SEED, 16 * each)
        self.reference = moments_from(SEED + 1, 512)
        self.sounds, self.reference_sounds = sounds_of(self.moments), sounds_of(self.reference)
        self.real_aisfx = None if self.aisfx is None else self.aisfx(self.reference_sounds[: 16 * each], RATE)
        self.embeds = self.heard(self.sounds)
        self.reference_embeds = self.heard(self.reference_sounds)
        self.pictures = self.seen(self.moments)

    def heard(self, sounds: Float[Tensor, "n samples"]) -> Float[Tensor, "n a"]:
        """CLAP's embeddings of sounds."""
        return self.clap.embed_sounds(list(sounds.numpy()), RATE)

    def seen(self, moments: Sequence[Moment]) -> Float[Tensor, "n c"]:
        """CLIP's embeddings of the moments' pictures."""
        return embed_moments(self.pipeline.image_encoder, self.pipeline.feature_extractor, moments)

    def generate(self, audio_embeds: Float[Tensor, "n d"], batch: int = 16) -> Float[Tensor, "n samples"]:
        """A sound from each embedding, each with noise of its own."""
        parts = []
        for first in range(0, len(audio_embeds), batch):
            part = audio_embeds[first : first + batch]
            noise = [torch.Generator().manual_seed(SEED + first + i) for i in range(len(part))]
            out = self.pipeline(
                audio_embeds=part, num_inference_steps=self.steps, guidance_scale=self.guidance, generator=noise
            )
            parts.append(torch.from_numpy(out.audios))
        return torch.cat(parts)


def reconstructed(m: Measured, mels: Float[Tensor, "n 1 t b"]) -> Float[Tensor, "n 1 t b"]:
    """Spectrograms through the autoencoder."""
    vae = m.pipeline.vae
    return torch.cat([vae.decode(vae.encode(x).latent_dist.mode()).sample for x in mels.split(32)])


def vocoded(m: Measured, mels: Float[Tensor, "n 1 t b"]) -> Float[Tensor, "n samples"]:
    """Sounds of spectrograms."""
    return torch.cat([m.pipeline.vocoder(x) for x in mels[:, 0].split(16)])


@torch.no_grad()
def measure_parts(m: Measured) -> dict[str, float]:
    """Autoencoder, CLAP and CLIP on the reference moments."""
    mels = mels_of(m.reference_sounds[:128])
    decoded = reconstructed(m, mels)
    sounds = vocoded(m, mels[:64])
    found = measure_clap(m.clap, m.reference_embeds, m.reference)
    texts = CLIPModel.from_pretrained(resolve("nano-clip", "CLIP")).eval()
    names = texts.get_text_features(
        tokens_of(shared_tokenizer(), [plain_caption(name) for name in NAMES])
    ).pooler_output
    seen = m.seen(m.reference) @ F.normalize(names, dim=1).T
    return {
        "vae_l1_nat": (decoded - mels).abs().mean().item(),
        "vocoder_mel_l1_nat": (log_mel(sounds) - mels[:64, 0]).abs().mean().item(),
        "clap_objects_named": found["named"],
        "clap_text_recall": found["text_recall"],
        "clap_captions": found["captions"],
        "clip_objects_named": accuracy(seen.numpy(), objects_of(m.reference)),
    }


def mappers_of(m: Measured) -> dict[str, EmbeddingMapper]:
    """The shipped mappers and what they have to beat; the linear one is fitted here, on moments of its own."""
    linear = LinearMapper(m.pictures.shape[1], m.embeds.shape[1])
    others = moments_from(SEED + 2, 512)
    linear.fit(m.seen(others), m.heard(sounds_of(others)))
    return {
        "none": IdentityMapper(m.pictures.shape[1], m.embeds.shape[1]),
        "linear": linear,
        "regression": m.pipeline.regression_mapper,
        "prior": m.pipeline.mapper,
    }


def mapped(mapper: EmbeddingMapper, pictures: Float[Tensor, "n d"], seed: int = SEED) -> Float[Tensor, "n a"]:
    """Embeddings of sounds for those of pictures."""
    generator = torch.Generator().manual_seed(seed) if mapper.generative else None
    return mapper.translate(pictures, generator=generator)


def measure_mapper(m: Measured, mapper: EmbeddingMapper, styled: Float[Tensor, "n d"]) -> dict[str, float]:
    """What embeddings of fresh pictures find among 512 other sounds."""
    gallery, classes = m.reference_embeds.numpy(), objects_of(m.reference)
    found = mapped(mapper, m.pictures).numpy()
    in_style = mapped(mapper, styled).numpy()
    own = torch.from_numpy(found)
    return {
        "object_recall": recall_at(1, found, objects_of(m.moments), gallery, classes),
        "object_recall_unseen_styles": recall_at(1, in_style, objects_of(m.moments), gallery, classes),
        "nearest_of_own_object": nearest_cosine(own, m),
    }


def nearest_cosine(found: Float[Tensor, "n a"], m: Measured) -> float:
    """Mean cosine to the nearest real sound of the same object."""
    cosines = found @ m.reference_embeds.T
    same = torch.from_numpy(objects_of(m.moments)[:, None] == objects_of(m.reference)[None])
    return cosines.masked_fill(~same, -1).amax(1).mean().item()


def variants_covered(m: Measured, mapper: EmbeddingMapper) -> float:
    """Share of objects of whose two ways to sound eight draws for one picture hit both, by nearest real sound."""
    pictures = m.pictures[shown(m)].repeat_interleave(DRAWS, 0)
    nearest = (mapped(mapper, pictures) @ m.reference_embeds.T).argmax(1)
    ways = torch.tensor([moment.sound_class for moment in m.reference])[nearest].view(len(NAMES), DRAWS)
    wanted = 2 * torch.arange(len(NAMES))[:, None]
    return ((ways == wanted).any(1) & (ways == wanted + 1).any(1)).float().mean().item()


def measure_sounds(m: Measured, sounds: Float[Tensor, "n samples"], real: np.ndarray, real_clap: np.ndarray) -> Any:
    """What the judge hears, against the moments that were asked for, and distances to the real sounds."""
    ways, factors, features = judge(m.judge, sounds)
    scores, objects = object_scores(ways).numpy(), objects_of(m.moments)
    sizes = np.array([moment.scene.scale for moment in m.moments])
    clap = m.heard(sounds).numpy()
    named = bootstrap(accuracy, scores, objects)
    return {
        "named": named.value,
        "named_low": named.low,
        "named_high": named.high,
        "size_pitch": rank_correlation(sizes, -factors[:, 0].numpy()),
        "count_heard": float(np.mean((factors[:, 1].numpy() > 0) == [k.scene.count == 2 for k in m.moments])),
        "fd": frechet_distance(features.numpy(), real),
        "fd_clap": frechet_distance(clap, real_clap),
        "fd_aisfx": None if m.aisfx is None else frechet_distance(m.aisfx(sounds, RATE), m.real_aisfx),
        "is": inception_score(scores),
    }


def sanity_rows(m: Measured) -> dict[str, Float[Tensor, "n samples"]]:
    """Sounds that are no answer."""
    count = len(m.moments)
    noise = 0.2 * torch.randn(count, SAMPLES, generator=torch.Generator().manual_seed(SEED))
    bells = [k for k in moments_from(SEED + 3, 16 * count) if k.name == "bell"][:count]
    return {"noise": noise, "silence": 1e-4 * noise, "one object": sounds_of(bells)}


@torch.no_grad()
def copies(m: Measured) -> dict[str, Float[Tensor, "n samples"]]:
    """The real sounds as the vocoder gives them back, and as autoencoder and vocoder do: no denoiser can do better."""
    mels = mels_of(m.sounds)
    return {"real, vocoder": vocoded(m, mels), "real, autoencoder": vocoded(m, reconstructed(m, mels))}


def measure_generation(m: Measured, mappers: dict[str, EmbeddingMapper]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Rows of the table and the sounds behind them."""
    count = len(m.moments)
    _, _, real = judge(m.judge, m.reference_sounds[:count])
    real, real_clap = real.numpy(), m.reference_embeds[:count].numpy()
    train = [numbered_moment(0, index) for index in range(count)]
    rows = {"training sounds": sounds_of(train), "real sounds": m.sounds, **copies(m), **sanity_rows(m)}
    rows["oracle"] = m.generate(m.embeds)
    for name in ("regression", "prior"):
        rows[name] = m.generate(mapped(mappers[name], m.pictures))
    rows["prior, shuffled"] = rows["prior"].roll(1, 0)
    return {name: measure_sounds(m, sounds, real, real_clap) for name, sounds in rows.items()}, rows


def measure_time(m: Measured) -> dict[str, float]:
    """Median seconds of five clips from one picture each, and the mapper's share of them."""
    picture = Image.fromarray(m.moments[0].picture())
    whole = median_seconds(
        lambda: m.pipeline(picture, num_inference_steps=m.steps, guidance_scale=m.guidance, generator=_generator()),
        clock=time.perf_counter,
    )
    mapping = median_seconds(
        lambda: m.pipeline.mapper.translate(m.pictures[:1], generator=_generator()), clock=time.perf_counter
    )
    return {"seconds_per_clip": whole, "mapper_share": mapping / whole, "threads": torch.get_num_threads()}


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def shown(m: Measured) -> list[int]:
    """The first moment of every object."""
    return [next(i for i, moment in enumerate(m.moments) if moment.name == name) for name in NAMES]


def write_sounds(m: Measured, rows: dict[str, Tensor], folder: Path) -> None:
    """A file for every column of the sheet: its sixteen sounds, from the top, with a pause after each."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in SHOWN:
        sounds = F.pad(rows[name][shown(m)], (0, RATE // 2)).flatten()
        with replacing(folder / f"nano_audio_{name.split()[0]}.ogg") as temporary:
            soundfile.write(temporary, sounds.numpy(), RATE, format="OGG", subtype="VORBIS")


def sheet(m: Measured, rows: dict[str, Tensor]) -> Image.Image:
    """One row an object: the picture, a real sound, and what oracle, regression and prior made of it."""
    first = shown(m)
    mels = torch.stack([log_mel(rows[name][first]) for name in SHOWN], 1).flatten(0, 1)
    page = spectrogram_grid(mels, len(SHOWN)).convert("RGB")
    height = page.height // len(NAMES)
    out = Image.new("RGB", (page.width + height, page.height))
    out.paste(page, (height, 0))
    for row, index in enumerate(first):
        out.paste(Image.fromarray(world.render(m.moments[index].scene, size=64)).resize((height, height)),
                  (0, row * height))  # fmt: skip
    return out


def main(*, each: int = 10, steps: int = 25, guidance: float = 2.5, threads: int = 1, output: Path = OUTPUT,
         picture: Path = IMAGES / "nano" / "sounds.png", listen: Path = ROOT / "docs" / "sounds") -> None:  # fmt: skip
    """Measure nano's sound model and its mappers.

    Args:
        each: Sounds of each of the 16 objects.
        steps: Denoising steps.
        guidance: Guidance scale.
        threads: Threads of PyTorch.
        output: Results.
        picture: Sheet of spectrograms.
        listen: Folder of the sheet's sounds.
    """
    torch.set_num_threads(threads)
    results = Results(output, {"sounds_each": each, "steps": steps, "guidance": guidance})
    m = Measured(each, steps, guidance)
    mappers = mappers_of(m)
    styles = list(world.STYLES)
    styled = m.seen(
        [replace(k, scene=replace(k.scene, style=styles[i % len(styles)])) for i, k in enumerate(m.moments)],
    )
    results.put("parts", _rounded(measure_parts(m)))
    for name, mapper in mappers.items():
        row = {**measure_mapper(m, mapper, styled), "variants_covered": variants_covered(m, mapper)}
        results.put(f"mapper: {name}", _rounded(row))
    results.put("time", _rounded(measure_time(m)))
    measured, sounds = measure_generation(m, mappers)
    for name, row in measured.items():
        results.put(f"sounds: {name}", _rounded(row))
    picture.parent.mkdir(parents=True, exist_ok=True)
    sheet(m, sounds).save(picture, optimize=True)
    write_sounds(m, sounds, listen)
    results.report(*tables(results.rows))


def tables(rows: dict[str, Any]) -> list[Table]:
    """Parts, mappers, and sounds."""
    parts = [[name.replace("_", " "), f"{value:.4g}"] for name, value in {**rows["parts"], **rows["time"]}.items()]
    mappers = [
        [key.removeprefix("mapper: "), f"{row['object_recall']:.1%}", f"{row['object_recall_unseen_styles']:.1%}",
         f"{row['nearest_of_own_object']:.3f}", f"{row['variants_covered']:.1%}"]
        for key, row in rows.items() if key.startswith("mapper: ")
    ]  # fmt: skip
    sounds = [
        [key.removeprefix("sounds: "), f"{row['named']:.1%} ({row['named_low']:.0%} to {row['named_high']:.0%})",
         f"{row['size_pitch']:.2f}", f"{row['count_heard']:.1%}", f"{row['fd']:.2f}", f"{row['fd_clap']:.4f}",
         None if row["fd_aisfx"] is None else f"{row['fd_aisfx']:.1f}", f"{row['is']:.2f}"]
        for key, row in rows.items() if key.startswith("sounds: ")
    ]  # fmt: skip
    return [
        Table("Parts", ["figure", "value"], parts),
        Table("Mappers", ["mapper", "object recall at 1", "unseen styles", "cosine to nearest of own object",
                          f"both variants in {DRAWS} draws"], mappers),
        Table("Sounds", ["sounds", "named (95 % interval)", "correlation of size and pitch", "count heard", "FD",
                         "FD by CLAP", "FD by aiSFX", "IS"], sounds),
    ]  # fmt: skip


def _rounded(row: dict[str, Any]) -> dict[str, Any]:
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in row.items()}


if __name__ == "__main__":
    raise SystemExit(run_script(main))
