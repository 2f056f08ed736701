"""Values of options and of files' fields: mostly usual ones, and now and then what nobody would expect."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

ODD_NUMBERS = ("0", "0", "-1", "-7", "3", "0.5", "nan", "inf", "-inf", "1e-30", "1e400", "abc", "", "٣", "1_0")
"""What a number may be given as; nothing here asks for hours of work."""
HUGE = ("1000000000", "99999999999999999999999", "1e12")
"""Sizes that no machine has the memory for."""
TEXTS = (
    "a photo of a toy", "", " ", "x" * 3000, "café ☕ 🔔", "Ж", "'\"\\", "<a> <b>", "a\nb", "../../etc/passwd", "{}",
    "{0.__class__}", "%s %d", "-", "nano", "\ufeff", "a\u202eb", "$HOME", "*", "a/b", "CON", ".", "..",
)  # fmt: skip
ODD_VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 0.5, 1e30, -1e300, 10**30, float("nan"), float("inf"), "", "abc", "nan", [], [1, 2], ["a"], {},
    {"a": 1}, [[1, 2], [3]],
)  # fmt: skip
"""What a field of a JSON or YAML file may hold instead of its own value."""


def number(rng: random.Random, *usual: float, huge: bool = False) -> str:
    """The words of a number: one of the usual ones in seven of eight cases."""
    if rng.random() < 7 / 8:
        return str(rng.choice(usual))
    return rng.choice(ODD_NUMBERS + HUGE if huge else ODD_NUMBERS)


def text(rng: random.Random, *usual: str) -> str:
    """A text: one of the usual ones in two of three cases."""
    return rng.choice(usual) if usual and rng.random() < 2 / 3 else rng.choice(TEXTS)


def damage(rng: random.Random, path: Path) -> Path:
    """The file, damaged in one case of four."""
    if rng.random() < 0.75:
        return path
    data = bytearray(path.read_bytes())
    kind = rng.randrange(6)
    if kind == 0:
        del data[rng.randrange(len(data) + 1) :]
    elif kind == 1:
        for _ in range(rng.choice((1, 3, 20))):
            if data:
                data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif kind == 2:
        data.clear()
    elif kind == 3:
        data += bytes(rng.randrange(1, 40))
    elif kind == 4:
        start = rng.randrange(len(data) + 1)
        data[start:] = bytes(len(data) - start)
    else:
        data[:] = rng.choice(
            (b"hello\n", b"{}", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WAVE", b"\x93NUMPY\x01\x00", b"PK\x03\x04")
        )
    path.write_bytes(bytes(data))
    return path


def vary(rng: random.Random, value: Any, share: float = 0.5) -> Any:
    """A value of JSON with one of its parts changed, in some of the cases."""
    if rng.random() > share:
        return value
    value = json.loads(json.dumps(value))
    holders: list[tuple[Any, Any]] = []
    waiting = [value]
    while waiting:
        holder = waiting.pop()
        parts = list(holder.items()) if isinstance(holder, dict) else list(enumerate(holder))
        holders += [(holder, key) for key, _ in parts]
        waiting += [part for _, part in parts if isinstance(part, dict | list)]
    if not holders:
        return rng.choice(ODD_VALUES)
    # What lies near the top is as likely as one of a thousand numbers below.
    near = [(holder, key) for holder, key in holders if holder is value]
    holder, key = rng.choice(near if rng.random() < 0.5 else holders)
    if rng.random() < 0.3:
        del holder[key]
    else:
        holder[key] = rng.choice(ODD_VALUES)
    if isinstance(value, dict) and rng.random() < 0.1:
        value[rng.choice(("unknown", "", "a b"))] = rng.choice(ODD_VALUES)
    return value


def write_json(rng: random.Random, path: Path, value: Any, share: float = 0.5) -> Path:
    """A JSON file, in some of the cases with a changed part, another encoding or damage."""
    path.parent.mkdir(parents=True, exist_ok=True)
    written = json.dumps(vary(rng, value, share))
    path.write_bytes(written.encode(rng.choice(("utf-8",) * 8 + ("utf-8-sig", "utf-16"))))
    return damage(rng, path) if rng.random() < share else path
