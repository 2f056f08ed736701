"""What ``mapfield env`` shows: versions, where each package comes from, extras, devices, caches."""

from __future__ import annotations

import json
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from . import installation

LIBRARIES = (
    "torch", "torchvision", "diffusers", "transformers", "accelerate", "numpy", "scipy", "pillow", "av", "matplotlib",
    "gradio", "soundfile", "soxr", "open-clip-torch", "scikit-image", "trimesh",
)  # fmt: skip
"""Distributions whose versions are shown."""
VARIABLES = (
    "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "HF_HOME", "HF_HUB_OFFLINE",
    "HF_ENDPOINT", "HTTPS_PROXY", "MPLCONFIGDIR", "GRADIO_TEMP_DIR", "GRADIO_SERVER_NAME",
    "GRADIO_SERVER_PORT", "PYTHONPATH",
)  # fmt: skip
"""Environment variables that change what mapfield does; a proxy's password is not shown."""
Section = dict[str, str]


def show(*, as_json: bool = False) -> None:
    """Print the environment, a section after the other, or as one JSON object."""
    found = described()
    if as_json:
        print(json.dumps(found, indent=2))
        return
    for title, rows in found.items():
        print(title)
        for name, value in rows.items():
            print(f"  {name}\t{value}")


def described() -> dict[str, Section]:
    """Sections by title, each with its values by name."""
    return {
        "mapfield": _program(),
        "packages": {name: _origin(name) for name in installation.PACKAGES},
        "libraries": {name: _version(name) for name in LIBRARIES},
        "extras": _extras(),
        "devices": _devices(),
        "caches": _caches(),
        "variables": {name: _shown(name) for name in VARIABLES if name in os.environ},
    }


def _program() -> Section:
    return {
        "version": _version("mapfield"),
        "python": f"{platform.python_version()} {sys.executable}",
        "system": platform.platform(),
    }


def _origin(name: str) -> str:
    """Folder of a package of mapfield, what has replaced it, and others of its name on Python's search path."""
    fault = [fault for fault in installation.faults() if f"package {name} " in fault or f"{name}/__init__" in fault]
    others = [str(path) for path in installation.hidden_by(name)]
    said = [str(installation.HOME / name), *fault]
    if others:
        said.append(f"also found, and not used by the command mapfield: {', '.join(others)}")
    return "; ".join(said)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _extras() -> Section:
    if installation.faults():
        return {}
    from mappers.extras import EXTRAS

    missing = {name: [module for module in modules if find_spec(module) is None] for name, modules in EXTRAS.items()}
    return {name: f"without {', '.join(modules)}" if modules else "installed" for name, modules in missing.items()}


def _devices() -> Section:
    try:
        import torch
    except ImportError as error:
        return {"torch": f"cannot be imported: {error}"}
    found = {"cpu": f"{os.cpu_count()} cores, {torch.get_num_threads()} threads"}
    for number in range(torch.cuda.device_count()):
        device = torch.cuda.get_device_properties(number)
        found[f"cuda:{number}"] = f"{device.name}, {device.total_memory / 2**30:.0f} GiB"
    if torch.backends.mps.is_available():
        found["mps"] = "available, not tried with mapfield"
    return found


def _caches() -> Section:
    hub = os.environ.get("HF_HUB_CACHE") or Path(os.environ.get("HF_HOME") or "~/.cache/huggingface") / "hub"
    return {
        "models of the Hugging Face hub": _folder(hub),
        "fonts (matplotlib)": _folder(os.environ.get("MPLCONFIGDIR") or "~/.cache/matplotlib"),
    }


def _folder(path: str | Path) -> str:
    return str(Path(path).expanduser()) if str(path).startswith(("~", "/")) else str(path)


def _shown(name: str) -> str:
    value = os.environ[name]
    return "(set)" if name == "HTTPS_PROXY" else value
