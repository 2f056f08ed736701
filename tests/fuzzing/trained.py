"""Files that mapfield writes: learned words, runs of fields, compressed files, mappers and settings, damaged or not."""

from __future__ import annotations

import json
import random
import shutil
import zlib
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from .values import ODD_VALUES, damage, vary, write_json

ROOT = Path(__file__).parents[2]


def word(rng: random.Random, path: Path, source: Path) -> Path:
    """Write a learned word, in half of the cases with changed metadata, tensors or bytes; or a plain embedding."""
    path = path.with_suffix(rng.choice((".safetensors", ".safetensors", ".safetensors", ".pt", ".bin")))
    if path.suffix != ".safetensors":
        vectors: Any = rng.choice(({"<x>": torch.zeros(48)}, {"string_to_param": {"*": torch.zeros(1, 48)}}, [1], "a"))
        torch.save(vectors, path)
        return damage(rng, path)
    return tensors(rng, source, path)


def tensors(rng: random.Random, source: Path, path: Path) -> Path:
    """Copy a file of tensors, in half of the cases with changes that keep it a file of tensors."""
    if rng.random() < 0.5:
        shutil.copy(source, path)
        return damage(rng, path)
    held = load_file(source)
    with safe_open(source, "pt") as file:
        about = dict(file.metadata() or {})
    name = rng.choice(sorted(held))
    kind = rng.randrange(7)
    if kind == 0:
        del held[name]
    elif kind == 1:
        held[name] = rng.choice((torch.zeros(0), torch.zeros(3), torch.zeros(2, 2), torch.tensor(1.0)))
    elif kind == 2:
        held[name] = torch.full_like(held[name].float(), rng.choice((float("nan"), float("inf"), 1e30)))
    elif kind == 3:
        held[name] = held[name].to(rng.choice((torch.float16, torch.int64, torch.bool, torch.float64)))
    elif kind == 4 and about:
        key = rng.choice(sorted(about))
        about[key] = rng.choice(("", "{}", "[]", "null", "abc", '{"a": 1}', "-1", "1e400", "NaN"))
    elif kind == 5 and about:
        key = rng.choice(sorted(about))
        try:
            about[key] = json.dumps(vary(rng, json.loads(about[key]), 1.0))
        except ValueError:
            del about[key]
    else:
        held["unknown"] = torch.zeros(2)
    save_file({one: value.contiguous() for one, value in held.items()}, path, metadata=about or None)
    return path


def run(rng: random.Random, path: Path, source: Path) -> Path:
    """Copy the run of a field, in half of the cases with a changed report or tensors."""
    path.mkdir(parents=True)
    for file in sorted(path for path in source.iterdir() if path.suffix in (".json", ".safetensors")):
        if rng.random() < 0.03:
            continue
        if file.suffix == ".json":
            write_json(rng, path / file.name, json.loads(file.read_text()), 0.25)
        elif rng.random() < 0.15:
            tensors(rng, file, path / file.name)
        else:
            shutil.copy(file, path / file.name)
    return path


def packed(rng: random.Random, path: Path, kept: Path) -> Path:
    """Copy a compressed file of the folder ``kept``, in half of the cases changed, some with a right checksum."""
    path = path.with_suffix(rng.choice((".mfc", ".mfc", ".mfc", ".png", "")))
    data = bytearray(rng.choice(sorted(kept.iterdir())).read_bytes())
    if rng.random() < 0.25 and len(data) > 8:
        for _ in range(rng.choice((1, 2, 8))):
            data[rng.randrange(min(len(data), rng.choice((20, 40, 10**6))))] = rng.randrange(256)
        data[-4:] = zlib.crc32(bytes(data[:-4])).to_bytes(4, "little")
    path.write_bytes(bytes(data))
    return damage(rng, path)


def settings(rng: random.Random, path: Path, task: str) -> Path:
    """Write a settings file: a shipped one with a changed value, or anything else that YAML can say."""
    path = path.with_suffix(".yaml")
    shipped = sorted((ROOT / "configs" / task).glob("*.yaml"))
    values = yaml.safe_load(rng.choice(shipped).read_text(encoding="utf-8")) or {}
    values = vary(rng, values, 0.9)
    if isinstance(values, dict) and isinstance(values.get("train"), dict) and rng.random() < 0.5:
        values["train"][rng.choice(("steps", "warmup_steps", "batch_size", "precision", "betas", "unknown"))] = (
            rng.choice(ODD_VALUES)
        )
    path.write_text(
        yaml.safe_dump(values, allow_unicode=True), encoding=rng.choice(("utf-8",) * 6 + ("utf-16", "latin-1"))
    )
    if rng.random() < 0.1:
        path.write_text(
            rng.choice(("", "- a\n", "a: &x [*x]\n", "a: !!python/object:os.system x\n", "a: 1\na: 2\n", "\t:", "\0"))
        )
    return damage(rng, path) if rng.random() < 0.2 else path


def pickled(rng: random.Random, path: Path) -> Path:
    """Write one of the two files of an official NeTI run, or something like it."""
    cfg: Any = {"model": {"pretrained_model_name_or_path": "nano"}, "data": {"super_category_token": "toy"}}
    values: Any = rng.choice(
        (
            {"cfg": vary(rng, cfg), "state_dict": {"a": torch.zeros(2)}, "encoder": None},
            {"<x>": torch.zeros(rng.choice((48, 3)))}, {}, [], {"<x>": 1}, print,
        )
    )  # fmt: skip
    torch.save(values, path)
    return damage(rng, path)
