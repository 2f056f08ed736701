"""Where mapfield's packages are, and what has taken their place. Imports the standard library only."""

from __future__ import annotations

import base64
import hashlib
import sys
from collections.abc import Iterator, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import Distribution, distributions
from pathlib import Path
from types import ModuleType

HOME = Path(__file__).resolve().parents[1]
"""Folder of all packages of mapfield."""
PACKAGES = ("mappers", "nerf", "pipelines", "demos", "configs")
"""Packages of mapfield whose names others use too."""
REINSTALL = "python -m pip install --force-reinstall --no-deps mapfield"


class OwnPackages(MetaPathFinder):
    """Finds `PACKAGES` in `HOME` before any other place is searched."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The package, or None for every other name."""
        return PathFinder.find_spec(fullname, [str(HOME)]) if fullname in PACKAGES else None


def use_own_packages() -> None:
    """Import mapfield's own packages from now on, also where another folder of these names comes first."""
    if not any(isinstance(finder, OwnPackages) for finder in sys.meta_path):
        sys.meta_path.insert(0, OwnPackages())


def faults(home: Path = HOME) -> list[str]:
    """A sentence with its remedy for each package that is missing in ``home``, or that another one has replaced."""
    recorded = _recorded_hashes(home)
    found = []
    for name in PACKAGES:
        path = home / name / "__init__.py"
        if not path.is_file():
            found.append(f"mapfield's package {name} is missing in {home}; reinstall mapfield: {REINSTALL}")
        elif recorded.get(name, _hash(path)) != _hash(path):
            found.append(
                f"{path} is not mapfield's: {_others(name, home)} replaced it; uninstall that, then reinstall mapfield:"
                f" {REINSTALL}"
            )
    return found


def hidden_by(name: str) -> list[Path]:
    """Other packages and modules called ``name`` in the working folder and on Python's search path."""
    found = []
    for place in dict.fromkeys(str(Path(entry).resolve()) for entry in ("", *sys.path)):
        spec = PathFinder.find_spec(name, [place])
        if spec is not None and spec.origin and Path(spec.origin).resolve().parent != HOME / name:
            found.append(Path(spec.origin))
    return found


def _recorded_hashes(home: Path) -> dict[str, str]:
    """Hashes of the packages' first files as they were installed in ``home``; none for an editable installation."""
    found = next(iter(distributions(name="mapfield", path=[str(home)])), None)
    return {
        file.parts[0]: file.hash.value
        for file in (found.files if found is not None else None) or ()
        if len(file.parts) == 2 and file.parts[0] in PACKAGES and file.name == "__init__.py" and file.hash is not None
    }


def _hash(path: Path) -> str:
    digest = hashlib.sha256(path.read_bytes()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _others(name: str, home: Path) -> str:
    """Distributions in ``home`` other than mapfield with a package ``name``, in words."""
    found = sorted(f"{other.name} {other.version}" for other in _owners(name, home))
    return "the distribution " + " or ".join(found) if found else "another file"


def _owners(name: str, home: Path) -> Iterator[Distribution]:
    for other in distributions(path=[str(home)]):
        if other.name != "mapfield" and any(file.parts[0] == name for file in other.files or ()):
            yield other
