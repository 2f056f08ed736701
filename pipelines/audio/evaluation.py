"""Measures generated sounds and, for comparison, silence, noise, shuffled pairs and sounds of the true embedding."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int

from mappers.embedding_cache import EmbeddingCache, space_id
from mappers.files import check_outputs, files_in, replacing, writable_folder
from mappers.hub import resolve
from mappers.options import declared_by
from mappers.tables import markdown_table
from mappers.training.draws import key
from mappers.v2a import EmbeddingMapper

from ..estimate import Estimate, bootstrap
from . import metrics
from .backends import BackendOptions
from .clap import Clap
from .conditioning import load_mapper
from .encoders import NANO_CLAP
from .extractors import ClapExtractor, Extractor, Features, load_extractor
from .files import SOUND_SUFFIXES, read_sound, write_sound
from .generation import Sonifier
from .loudness import loudness, true_peak
from .options import EvaluateAudioOptions, check_sound
from .pairs import EmbeddedItems, Item, embed_picture_files, enough_pairs, read_pairs
from .settings import SoundConfig

logger = logging.getLogger(__name__)

FILES = ("report.json", "report.md")
"""Names of the reports."""

Waves = Float[np.ndarray, "n samples"]


@dataclass(frozen=True)
class Row:
    """The figures of one set of sounds, by name; figures that do not exist for a set are left out."""

    sounds: str
    figures: dict[str, Estimate]


@dataclass(frozen=True)
class EvaluationSet:
    """Pictures to generate sounds for, and reference sounds of the same names."""

    pictures: EmbeddedItems
    references: Waves
    """One for each picture; the sounds of one name are used in turn."""
    gallery: Waves
    """All reference sounds, each once."""
    gallery_names: list[str]
    training: Waves | None
    """Sounds from training, one of the same name for each picture; None where a name has no training sound."""
    sampling_rate: int

    @property
    def classes(self) -> list[str]:
        """All names, sorted."""
        return sorted(set(self.gallery_names))

    def class_indices(self, names: Sequence[str]) -> Int[np.ndarray, " n"]:
        """Indices of ``names`` in `classes`."""
        return np.array([self.classes.index(name) for name in names])


@dataclass(frozen=True)
class Judge:
    """A network that judges sounds, with its features of the real ones."""

    extractor: Extractor
    gallery: Features
    references: Features


@declared_by(EvaluateAudioOptions)
def evaluate_audio(
    pairs: str | Path,
    output_dir: str | Path,
    *,
    sonifier: Sonifier | None = None,
    generated: str | Path | None = None,
    clap: str | Path = NANO_CLAP,
    extractors: Sequence[str | Path | Extractor] = (),
    sound_to_picture: str | Path | None = None,
    duration: float | None = None,
    seed: int = 0,
    overwrite: bool = False,
    config: SoundConfig | None = None,
) -> list[Row]:
    """Measure sounds generated for held-out pictures (for all pictures where none is held out).

    ``extractors`` may also be loaded ones.

    Args:
        sonifier: generates the sounds; None loads nano. Its CLIP image encoder also measures CS.
        config: settings of the sounds.

    Returns:
        Rows "generated", "oracle" (generated from the reference's own CLAP embedding), "shuffled" (the generated sounds
        of other pictures), "silence", "noise" and, where there are any, "training" (real sounds of the same name from
        the training part).

    Raises:
        FileNotFoundError, ValueError: pairs or a model cannot be used.
        FileExistsError: the output folder has files of these names.
        OSError: the output cannot be written.
    """
    check_sound(duration)
    output = report_folder(pairs, output_dir, generated=generated, overwrite=overwrite)
    config = config or SoundConfig()
    sonifier = sonifier or Sonifier.load()
    judge_clap = Clap.from_folder(resolve(clap, "CLAP"))
    to_picture = None if sound_to_picture is None else load_mapper(sound_to_picture)
    if to_picture is not None:
        to_picture.check_spaces(judge_clap.space_id, space_id(sonifier.vision_encoder.image_encoder))
    rate, seconds = sonifier.backend.sampling_rate, duration or sonifier.backend.native_seconds
    dataset = _evaluation_set(Path(pairs), sonifier, round(seconds * rate), output / "cache", config)
    judges = _judges([ClapExtractor(Path(clap).name, judge_clap, dataset.classes), *extractors], dataset)
    if generated is not None:
        sets = {"generated": _read_generated(Path(generated), dataset)}
    else:
        sets = _generate(sonifier, dataset, seconds, seed, config)
        _write_sounds(output / "sounds", sets, dataset)
    sets |= _comparisons(sets["generated"], dataset, seed)
    _warn_if_few(dataset, judge_clap.model.config.projection_dim)
    rows = [_row(name, waves, dataset, judge_clap, judges, to_picture) for name, waves in sets.items()]
    _write_report(output, rows)
    return rows


def report_folder(
    pairs: str | Path, output_dir: str | Path, *, generated: str | Path | None = None, overwrite: bool = False
) -> Path:
    """The output folder of `evaluate_audio`, made and tried; needs no model.

    Raises:
        FileNotFoundError, ValueError: ``pairs`` or ``generated`` cannot be used.
        FileExistsError: a file would be replaced; see `mappers.files.check_outputs`.
        OSError: nothing can be written there.
    """
    output = Path(output_dir).expanduser()
    inputs = [Path(path).expanduser() for path in (pairs, generated) if path is not None]
    reports = [output / name for name in FILES]
    check_outputs(reports, folders=[output / "sounds"], inputs=inputs, overwrite=overwrite)
    read_pairs(pairs)
    if generated is not None and not inputs[1].is_dir():
        raise FileNotFoundError(f"there is no folder {generated}")
    return writable_folder(output)


def _judges(extractors: Sequence[str | Path | Extractor], dataset: EvaluationSet) -> list[Judge]:
    judges, rate = [], dataset.sampling_rate
    for each in extractors:
        extractor = load_extractor(each, dataset.classes) if isinstance(each, str | Path) else each
        judges.append(
            Judge(extractor, extractor(list(dataset.gallery), rate), extractor(list(dataset.references), rate))
        )
    return judges


def _warn_if_few(dataset: EvaluationSet, width: int) -> None:
    """A covariance of fewer rows than ``width`` has not full rank."""
    fewest = min(len(dataset.references), len(dataset.gallery))
    if fewest <= width:
        logger.warning("only %d sounds: Frechet distances are biased upwards; compare rows, not runs", fewest)


def _comparisons(generated: Waves, dataset: EvaluationSet, seed: int) -> dict[str, Waves]:
    """The sets that need no generator; noise is as loud as the references."""
    rng = np.random.default_rng(seed)
    sets = {"shuffled": generated[_derangement(dataset.class_indices(dataset.pictures.names), rng)]}
    sets["silence"] = np.zeros_like(dataset.references)
    loudness = np.sqrt(np.square(dataset.references).mean())
    sets["noise"] = rng.normal(0, loudness, dataset.references.shape).astype(np.float32)
    if dataset.training is not None:
        sets["training"] = dataset.training
    return sets


def _write_sounds(folder: Path, sets: dict[str, Waves], dataset: EvaluationSet) -> None:
    for kind, waves in sets.items():
        for number, (item, wave) in enumerate(zip(dataset.pictures.items, waves, strict=True)):
            write_sound(folder / kind / f"{number:04d}-{item.path.stem}.wav", wave, dataset.sampling_rate)


def _write_report(output: Path, rows: list[Row]) -> None:
    with replacing(output / "report.json") as temporary:
        values = [dataclasses.asdict(row) for row in rows]
        temporary.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    with replacing(output / "report.md") as temporary:
        temporary.write_text(figures_table(rows) + "\n", encoding="utf-8")


def figures_table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table with 95 % confidence intervals."""
    names = list(dict.fromkeys(name for row in rows for name in row.figures))
    cells = [[row.sounds, *(str(row.figures.get(name, "–")) for name in names)] for row in rows]
    return markdown_table(["sounds", *names], cells)


def _evaluation_set(
    pairs: Path, sonifier: Sonifier, samples: int, cache: Path, config: SoundConfig
) -> EvaluationSet:  # fmt: skip
    files = read_pairs(pairs)
    held_out = files.part(held_out=True)
    if not enough_pairs([item.name for item in held_out.pictures], [item.name for item in held_out.sounds]):
        logger.warning("fewer than two pairs are held out: all are measured, also those that a mapper was trained on")
        held_out = files
    rate, encoder = sonifier.backend.sampling_rate, sonifier.vision_encoder
    sounds = _read(held_out.sounds, rate, samples)
    training = _read([] if held_out is files else files.part(held_out=False).sounds, rate, samples)
    names = {item.name for item, _ in sounds}
    store = EmbeddingCache(cache, f"{space_id(encoder.image_encoder)}-{config.frames_per_second:g}")
    pictures = embed_picture_files(
        [item for item in held_out.pictures if item.name in names], encoder.image_encoder, encoder.feature_extractor,
        store, frames_per_second=config.frames_per_second,
    )  # fmt: skip
    if len(pictures.items) < 2:
        raise ValueError(f"fewer than two pairs in {pairs} can be used, and figures need two; add pairs")
    complete = set(pictures.names) <= {item.name for item, _ in training}
    return EvaluationSet(
        pictures,
        _in_turns(pictures.names, sounds),
        np.stack([wave for _, wave in sounds]),
        [item.name for item, _ in sounds],
        _in_turns(pictures.names, training) if complete else None,
        rate,
    )


def _read(items: Sequence[Item], rate: int, samples: int) -> list[tuple[Item, Float[np.ndarray, " _samples"]]]:
    """Readable sounds, each cut or padded to ``samples``."""
    found = []
    for item in items:
        try:
            wave = read_sound(item.path, rate)[:samples]
            found.append((item, np.pad(wave, (0, samples - len(wave)))))
        except (ValueError, FileNotFoundError) as error:
            logger.warning("left out: %s", error)
    return found


def _in_turns(names: Sequence[str], sounds: Sequence[tuple[Item, np.ndarray]]) -> Waves:
    """One sound for each of ``names``; the sounds of one name are used in turn."""
    by_name: dict[str, list[np.ndarray]] = {}
    for item, wave in sounds:
        by_name.setdefault(item.name, []).append(wave)
    turn = dict.fromkeys(by_name, 0)
    chosen = []
    for name in names:
        chosen.append(by_name[name][turn[name] % len(by_name[name])])
        turn[name] += 1
    return np.stack(chosen)


def _read_generated(folder: Path, dataset: EvaluationSet) -> Waves:
    """Sounds made elsewhere, one for each picture, by its file name."""
    rows, samples = [], dataset.references.shape[1]
    sounds = {path.stem: path for path in reversed(files_in(folder, tuple(SOUND_SUFFIXES)))}
    for item in dataset.pictures.items:
        if item.path.stem not in sounds:
            raise FileNotFoundError(f"there is no sound {item.path.stem}.* in {folder} for {item.path}")
        wave = read_sound(sounds[item.path.stem], dataset.sampling_rate)[:samples]
        rows.append(np.pad(wave, (0, samples - len(wave))))
    return np.stack(rows)


def _generate(
    sonifier: Sonifier, dataset: EvaluationSet, seconds: float, seed: int, config: SoundConfig, *, batch: int = 16
) -> dict[str, Waves]:
    """Sounds from the pictures ("generated") and from the references' own embeddings with the same noise ("oracle")."""
    if sonifier.clap is None:
        raise ValueError("the oracle needs the generator's CLAP model; give clap= to the sonifier")
    true = sonifier.clap.embed_sounds(list(dataset.references), sonifier.backend.sampling_rate)
    parts: dict[str, list[np.ndarray]] = {"generated": [], "oracle": []}
    for first in range(0, len(true), batch):
        rows = slice(first, min(first + batch, len(true)))
        seeds = [key(seed, row) for row in range(rows.start, rows.stop)]
        embeds = dataset.pictures.rows[rows, None]
        parts["generated"].append(sonifier.from_embeddings(embeds, seeds, seconds=seconds, config=config).audios)
        noise = [torch.Generator().manual_seed(key(each, 0, "sound")) for each in seeds]
        options = BackendOptions.from_config(config, seconds=seconds, generator=noise)
        parts["oracle"].append(sonifier.generate(true[rows], options))
    return {name: np.concatenate(waves) for name, waves in parts.items()}


def _derangement(classes: Int[np.ndarray, " n"], rng: np.random.Generator) -> Int[np.ndarray, " n"]:
    """The permutation, of 200 random ones, that leaves the fewest rows at a place of their own class."""
    drawn = [rng.permutation(len(classes)) for _ in range(200)]
    return min(drawn, key=lambda order: int((classes[order] == classes).sum()))


def _row(
    name: str,
    waves: Waves,
    dataset: EvaluationSet,
    judge_clap: Clap,
    judges: Sequence[Judge],
    to_picture: EmbeddingMapper | None,
) -> Row:
    """Figures by each judge, by CLAP and, with ``to_picture``, by CLIP."""
    rate, classes = dataset.sampling_rate, dataset.class_indices(dataset.pictures.names)
    figures: dict[str, Estimate] = {}
    for judge in judges:
        extractor, found = judge.extractor, judge.extractor(list(waves), rate)
        figures |= _judged(judge, found)
        if extractor.classes is not None and found.logits is not None:
            figures[f"accuracy {extractor.name}"] = bootstrap(
                lambda logits, right: metrics.accuracy(logits, right[:, 0]), found.logits, classes[:, None]
            )
    sounds = judge_clap.embed_sounds(list(waves), rate).numpy()
    prompts = [f"the sound of {each.replace('_', ' ')}" for each in dataset.pictures.names]
    figures["CLAP score"] = bootstrap(metrics.cosine_score, sounds, judge_clap.embed_texts(prompts).numpy())
    references = judge_clap.embed_sounds(list(dataset.gallery), rate).numpy()
    gallery_classes = dataset.class_indices(dataset.gallery_names)
    figures["recall at 1"] = bootstrap(
        lambda rows, right: metrics.recall_at(1, rows, right[:, 0], references, gallery_classes),
        sounds, classes[:, None],
    )  # fmt: skip
    figures |= _levels(waves, rate)
    if to_picture is not None:
        generator = torch.Generator().manual_seed(0)
        pictures = to_picture.translate(torch.from_numpy(sounds), generator=generator).numpy()
        figures["CS"] = bootstrap(metrics.cosine_score, pictures, dataset.pictures.rows.numpy())
    return Row(name, figures)


def _levels(waves: Waves, rate: int) -> dict[str, Estimate]:
    """Mean loudness in LUFS and mean true peak in dBTP, by ITU-R BS.1770; of silence there is neither."""
    measured = np.array([[loudness(wave, rate), true_peak(wave)] for wave in waves])
    heard = measured[np.isfinite(measured).all(1)]
    if len(heard) < 2:
        return {}
    names = ("loudness (LUFS)", "true peak (dBTP)")
    return {name: bootstrap(lambda rows: float(rows.mean()), heard[:, [i]]) for i, name in enumerate(names)}


def _judged(judge: Judge, found: Features) -> dict[str, Estimate]:
    """Frechet distance to the gallery; where quick enough, its extrapolation to infinitely many sounds; for a judge
    with classes also IS, and KL from the paired references."""
    name, distance = judge.extractor.name, judge.extractor.distance
    gallery, references = judge.gallery, judge.references
    narrow = found.embeds.shape[1] <= 256  # the root of a wide covariance takes seconds
    frechet = partial(metrics.frechet_distance, warn=False)
    figures = {distance: bootstrap(frechet, found.embeds, gallery.embeds, rounds=200 if narrow else 20, centred=True)}
    if found.logits is not None and references.logits is not None:
        figures["IS"] = bootstrap(metrics.inception_score, found.logits, centred=True)
        figures["KL"] = bootstrap(
            lambda a, b: metrics.paired_kl(a, _row_names(a), b, _row_names(b)), found.logits, references.logits
        )
    if narrow and len(found.embeds) >= 32:
        figures[f"{distance}∞"] = bootstrap(
            metrics.extrapolated_frechet_distance, found.embeds, gallery.embeds, rounds=20, centred=True
        )
    return {f"{figure} {name}": value for figure, value in figures.items()}


def _row_names(rows: np.ndarray) -> list[str]:
    """Row numbers as names: `metrics.paired_kl` then pairs rows in order."""
    return [str(number) for number in range(len(rows))]
