"""How good a model's sounds are, beside what silence, noise, wrong pairs and the true embedding get."""

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

from mappers.draws import key
from mappers.embedding_cache import EmbeddingCache, space_id
from mappers.files import replacing, writable_folder
from mappers.hub import resolve
from mappers.tables import markdown_table
from mappers.v2a import EmbeddingMapper

from ..estimate import Estimate, bootstrap
from . import metrics
from .clap import Clap
from .conditioning import load_mapper
from .encoders import NANO_CLAP
from .extractors import ClapExtractor, Extractor, Features, load_extractor
from .files import SOUND_SUFFIXES, read_sound, write_sound
from .generation import Sonifier, check_duration
from .pairs import EmbeddedItems, Item, embed_picture_files, read_pairs
from .settings import SoundConfig

logger = logging.getLogger(__name__)

Waves = Float[np.ndarray, "n samples"]


@dataclass(frozen=True)
class Row:
    """The figures of one set of sounds, by name; what a set has no figure for is left out."""

    sounds: str
    figures: dict[str, Estimate]


@dataclass(frozen=True)
class EvaluationSet:
    """What sounds are asked for: pictures, each with a reference of the same name."""

    pictures: EmbeddedItems
    references: Waves
    """One for each picture; of a name with several, they take turns."""
    gallery: Waves
    """All references, once each."""
    gallery_names: list[str]
    others: Waves | None
    """Sounds that were trained on, one of the same name for each picture; None where a name has none."""
    sampling_rate: int

    @property
    def classes(self) -> list[str]:
        """All names, sorted."""
        return sorted(set(self.gallery_names))

    def numbers(self, names: Sequence[str]) -> Int[np.ndarray, " n"]:
        """Indices of ``names`` among `classes`."""
        return np.array([self.classes.index(name) for name in names])


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
    config: SoundConfig | None = None,
) -> list[Row]:
    """Measure sounds for held-out pictures (all pictures, where none is held out).

    Args:
        pairs: folder of pairs, see `pipelines.audio.pairs.read_pairs`.
        output_dir: where ``report.json``, ``report.md`` and ``sounds/`` go.
        sonifier: what makes the sounds; None loads nano. Its CLIP is also the one of CS.
        generated: folder of sounds made elsewhere, named as the pictures, to be measured in place of those of
            ``sonifier``; there is no oracle then.
        clap: ClapModel of the CLAP score and of retrieval, and the first extractor.
        extractors: further judges, see `load_extractor`.
        sound_to_picture: folder of a mapper from ``clap`` to the CLIP, with which CS is computed; None leaves CS out.
        duration: seconds of a sound; None takes what the model was made for. References are cut, or filled up with
            silence, to it.
        seed: of every draw.
        config: settings of the sounds.

    Returns:
        Rows "generated", "oracle" (made from the reference's own embedding), "shuffled" (the generated ones of other
        pictures), "silence", "noise" and, where there are any, "training" (recordings of the same name that were
        trained on).

    Raises:
        FileNotFoundError, ValueError: pairs or a model cannot be used.
        OSError: the output cannot be written.
    """
    check_duration(duration)
    output = writable_folder(output_dir)
    config = config or SoundConfig()
    sonifier = sonifier or Sonifier.load()
    judge = Clap.from_folder(resolve(clap, "CLAP"))
    rate = sonifier.backend.sampling_rate
    seconds = duration or sonifier.backend.native_seconds
    asked = _asked(Path(pairs), sonifier, round(seconds * rate), output / "cache", config)
    judges: list[Extractor] = [ClapExtractor(Path(clap).name, judge, asked.classes)]
    judges += [load_extractor(each, asked.classes) if isinstance(each, str | Path) else each for each in extractors]
    real = [(each(list(asked.gallery), rate), each(list(asked.references), rate)) for each in judges]
    sets: dict[str, Waves] = {}
    if generated is not None:
        sets["generated"] = _found(Path(generated), asked)
    else:
        sets["generated"], sets["oracle"] = _made(sonifier, asked, seconds, seed, config)
        for kind in ("generated", "oracle"):
            for number, (item, wave) in enumerate(zip(asked.pictures.items, sets[kind], strict=True)):
                write_sound(output / "sounds" / kind / f"{number:04d}-{item.path.stem}.wav", wave, rate)
    rng = np.random.default_rng(seed)
    sets["shuffled"] = sets["generated"][_elsewhere(asked.numbers(asked.pictures.names), rng)]
    sets["silence"] = np.zeros_like(asked.references)
    loudness = np.sqrt(np.square(asked.references).mean())
    sets["noise"] = rng.normal(0, loudness, asked.references.shape).astype(np.float32)
    if asked.others is not None:
        sets["training"] = asked.others
    back = None if sound_to_picture is None else load_mapper(sound_to_picture)
    if back is not None:
        back.check_spaces(judge.space_id, space_id(sonifier.vision_encoder.image_encoder))
    fewest = min(len(asked.references), len(asked.gallery))
    if fewest <= judge.model.config.projection_dim:
        logger.warning("only %d sounds: Frechet distances are biased upwards; compare rows, not runs", fewest)
    known = list(zip(judges, real, strict=True))
    rows = [_row(name, waves, asked, judge, known, back) for name, waves in sets.items()]
    with replacing(output / "report.json") as temporary:
        held = [dataclasses.asdict(row) for row in rows]
        temporary.write_text(json.dumps(held, indent=2) + "\n", encoding="utf-8")
    with replacing(output / "report.md") as temporary:
        temporary.write_text(figures_table(rows) + "\n", encoding="utf-8")
    return rows


def figures_table(rows: Sequence[Row]) -> str:
    """Rows as a Markdown table, with 95 % intervals."""
    names = list(dict.fromkeys(name for row in rows for name in row.figures))
    cells = [[row.sounds, *(str(row.figures.get(name, "–")) for name in names)] for row in rows]
    return markdown_table(["sounds", *names], cells)


def _asked(pairs: Path, sonifier: Sonifier, samples: int, cache: Path, config: SoundConfig) -> EvaluationSet:
    files = read_pairs(pairs)
    held = files.part(held_out=True)
    if not {item.name for item in held.pictures} & {item.name for item in held.sounds}:
        logger.warning("no pair is held out: all are measured, also those that a mapper may have been trained on")
        held = files
    rate, encoder = sonifier.backend.sampling_rate, sonifier.vision_encoder
    sounds = _read(held.sounds, rate, samples)
    trained = _read([] if held is files else files.part(held_out=False).sounds, rate, samples)
    known = {item.name for item, _ in sounds}
    chosen = [item for item in held.pictures if item.name in known]
    store = EmbeddingCache(cache, f"{space_id(encoder.image_encoder)}-{config.frames_per_second:g}")
    pictures = embed_picture_files(
        chosen, encoder.image_encoder, encoder.feature_extractor, store, frames_per_second=config.frames_per_second
    )
    if len(pictures.items) < 2:
        raise ValueError(f"{pairs} has {len(pictures.items)} usable pair to measure; at least two are needed")
    return EvaluationSet(
        pictures,
        _in_turns(pictures.names, sounds),
        np.stack([wave for _, wave in sounds]),
        [item.name for item, _ in sounds],
        _in_turns(pictures.names, trained) if set(pictures.names) <= {item.name for item, _ in trained} else None,
        rate,
    )


def _read(items: Sequence[Item], rate: int, samples: int) -> list[tuple[Item, Float[np.ndarray, " samples"]]]:
    found = []
    for item in items:
        try:
            wave = read_sound(item.path, rate)[:samples]
            found.append((item, np.pad(wave, (0, samples - len(wave)))))
        except (ValueError, FileNotFoundError) as error:
            logger.warning("left out: %s", error)
    return found


def _in_turns(names: Sequence[str], sounds: Sequence[tuple[Item, np.ndarray]]) -> Waves:
    """For each name one of its sounds; they take turns."""
    by_name: dict[str, list[np.ndarray]] = {}
    for item, wave in sounds:
        by_name.setdefault(item.name, []).append(wave)
    turn = dict.fromkeys(by_name, 0)
    chosen = []
    for name in names:
        chosen.append(by_name[name][turn[name] % len(by_name[name])])
        turn[name] += 1
    return np.stack(chosen)


def _found(folder: Path, asked: EvaluationSet) -> Waves:
    """Sounds made elsewhere, by the names of the pictures."""
    rows, samples = [], asked.references.shape[1]
    for item in asked.pictures.items:
        paths = [path for path in folder.glob(f"{item.path.stem}.*") if path.suffix.lower() in SOUND_SUFFIXES]
        if not paths:
            raise FileNotFoundError(f"there is no sound {item.path.stem}.* in {folder} for {item.path}")
        wave = read_sound(paths[0], asked.sampling_rate)[:samples]
        rows.append(np.pad(wave, (0, samples - len(wave))))
    return np.stack(rows)


def _made(
    sonifier: Sonifier, asked: EvaluationSet, seconds: float, seed: int, config: SoundConfig, *, batch: int = 16
) -> tuple[Waves, Waves]:
    """Sounds of the pictures, and of the references' own embeddings with the same noise."""
    if sonifier.clap is None:
        raise ValueError("the oracle needs the generator's CLAP model; give clap= to the sonifier")
    rate = sonifier.backend.sampling_rate
    true = sonifier.clap.embed_sounds(list(asked.references), rate)
    parts: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for first in range(0, len(true), batch):
        rows = range(first, min(first + batch, len(true)))
        seeds = [key(seed, row) for row in rows]
        seen = asked.pictures.rows[rows.start : rows.stop, None]
        parts[0].append(sonifier.from_embeddings(seen, seeds, seconds=seconds, config=config).audios)
        parts[1].append(
            sonifier.backend.generate(
                true[rows.start : rows.stop],
                seconds=seconds,
                negative_prompt=config.negative_prompt,
                guidance_scale=config.guidance_scale,
                num_inference_steps=config.inference_steps,
                generator=[torch.Generator().manual_seed(key(each, 0, "sound")) for each in seeds],
            ).numpy()
        )
    return np.concatenate(parts[0]), np.concatenate(parts[1])


def _elsewhere(classes: Int[np.ndarray, " n"], rng: np.random.Generator) -> Int[np.ndarray, " n"]:
    """A permutation that leaves as few as possible at a place of their own class (of 200 drawn ones)."""
    drawn = [rng.permutation(len(classes)) for _ in range(200)]
    return min(drawn, key=lambda order: int((classes[order] == classes).sum()))


def _row(
    name: str,
    waves: Waves,
    asked: EvaluationSet,
    judge: Clap,
    judges: Sequence[tuple[Extractor, tuple[Features, Features]]],
    back: EmbeddingMapper | None,
) -> Row:
    """Figures by CLAP and by each judge, which comes with its features of all references and of the paired ones."""
    rate, classes = asked.sampling_rate, asked.numbers(asked.pictures.names)
    figures: dict[str, Estimate] = {}
    for extractor, (gallery, wanted) in judges:
        found = extractor(list(waves), rate)
        figures |= _judged(extractor.name, extractor.distance, found, gallery, wanted)
        if extractor.classes is not None and found.logits is not None:
            figures[f"accuracy {extractor.name}"] = bootstrap(
                lambda logits, right: metrics.accuracy(logits, right[:, 0]), found.logits, classes[:, None]
            )
    heard = judge.embed_sounds(list(waves), rate).numpy()
    texts = judge.embed_texts([f"the sound of {each.replace('_', ' ')}" for each in asked.pictures.names]).numpy()
    figures["CLAP score"] = bootstrap(metrics.cosine_score, heard, texts)
    references = judge.embed_sounds(list(asked.gallery), rate).numpy()
    figures["recall at 1"] = bootstrap(
        lambda rows, right: metrics.recall_at(1, rows, right[:, 0], references, asked.numbers(asked.gallery_names)),
        heard, classes[:, None],
    )  # fmt: skip
    if back is not None:
        seen = back.translate(torch.from_numpy(heard), generator=torch.Generator().manual_seed(0)).numpy()
        figures["CS"] = bootstrap(metrics.cosine_score, seen, asked.pictures.rows.numpy())
    return Row(name, figures)


def _judged(name: str, distance: str, found: Features, gallery: Features, wanted: Features) -> dict[str, Estimate]:
    """Distance to all references and, where quick enough, its limit for endless sounds; of a judge with classes IS too,
    and KL from the paired references."""
    narrow = found.embeds.shape[1] <= 256  # the root of a wide covariance takes seconds
    frechet = partial(metrics.frechet_distance, warn=False)
    figures = {distance: bootstrap(frechet, found.embeds, gallery.embeds, rounds=200 if narrow else 20, centred=True)}
    if found.logits is not None and wanted.logits is not None:
        figures["IS"] = bootstrap(metrics.inception_score, found.logits, centred=True)
        figures["KL"] = bootstrap(
            lambda a, b: metrics.paired_kl(a, _names(a), b, _names(b)), found.logits, wanted.logits
        )
    if narrow and len(found.embeds) >= 32:
        figures[f"{distance}∞"] = bootstrap(
            metrics.extrapolated_frechet_distance, found.embeds, gallery.embeds, rounds=20, centred=True
        )
    return {f"{figure} {name}": value for figure, value in figures.items()}


def _names(rows: np.ndarray) -> list[str]:
    """Pairs by place."""
    return [str(number) for number in range(len(rows))]
