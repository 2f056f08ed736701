"""Who may use the app: names and passwords of a text file."""

from __future__ import annotations

from pathlib import Path


def read_users(path: Path) -> dict[str, str]:
    """Names and passwords of a text file, a line NAME:PASSWORD for each user; empty lines do not count.

    Raises:
        ValueError: it cannot be read, or a line is not one, or there is none.
    """
    try:
        lines = path.expanduser().read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read ({error}); give a text file of lines NAME:PASSWORD") from error
    users: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        user, _, password = line.strip().partition(":")
        if not (user and password):
            raise ValueError(f"line {number} of {path} is not NAME:PASSWORD; correct it")
        users[user] = password
    if not users:
        raise ValueError(f"{path} names no user; write a line NAME:PASSWORD for each")
    return users
