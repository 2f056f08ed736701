"""The house: imports go one way and in no circle, rooms stay small, tests mirror the tree, the wheel is complete."""

from __future__ import annotations

import ast
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("mapfield", "pipelines", "mappers", "nerf", "demos", "configs")
CODE = (*PACKAGES, "benchmarks")
MOST_LINES, MOST_LINES_OF_A_FUNCTION, MOST_MODULES_OF_A_FOLDER = 400, 60, 25
STRAY_NAMES = ("utils", "helpers", "misc")
WHOLE_PROJECT = (
    "test_house",
    "test_manual",
    "test_release",
    "test_plain_english",
    "test_readme",
    "test_shapes",
    "test_source_tree",
)
"""Tests of the project as a whole, which mirror no module."""


@cache
def modules(*tops: str) -> dict[Path, ast.Module]:
    """The syntax trees of all modules below the folders ``tops``, by their path."""
    paths = [path for top in tops for path in sorted((ROOT / top).rglob("*.py"))]
    return {path.relative_to(ROOT): ast.parse(path.read_text(encoding="utf-8")) for path in paths}


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def test_imports_go_one_way() -> None:
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def circle_of(imports: Mapping[str, set[str]]) -> list[str]:
    """Modules that import each other in a circle, in order, or an empty list."""
    finished: set[str] = set()

    def search(module: str, path: list[str]) -> list[str]:
        if module in path:
            return [*path[path.index(module) :], module]
        if module in finished:
            return []
        for imported in sorted(imports.get(module, ())):
            if circle := search(imported, [*path, module]):
                return circle
        finished.add(module)
        return []

    return next((circle for module in sorted(imports) if (circle := search(module, []))), [])


def test_a_circle_is_found() -> None:
    assert circle_of({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert circle_of({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_imports_form_no_circle() -> None:
    graph = grimp.build_graph(*CODE, exclude_type_checking_imports=True, cache_dir=None)
    imports = {module: set(graph.find_modules_directly_imported_by(module)) for module in graph.modules}
    assert not circle_of(imports)


def test_files_are_short_and_named_for_their_content() -> None:
    for path in modules(*CODE, "tests"):
        assert len((ROOT / path).read_text(encoding="utf-8").splitlines()) <= MOST_LINES, f"{path} is too long"
        assert path.stem not in STRAY_NAMES, path


def test_functions_are_short() -> None:
    lengths = {
        f"{path}: {function.name}": (function.end_lineno or 0) - function.lineno + 1
        for path, tree in modules(*CODE, "tests").items()
        for function in functions(tree)
    }
    assert not {name: lines for name, lines in lengths.items() if lines > MOST_LINES_OF_A_FUNCTION}


def test_folders_are_small() -> None:
    counts = Counter(path.parent for path in modules(*CODE, "tests") if path.name != "__init__.py")
    assert not {folder: count for folder, count in counts.items() if count > MOST_MODULES_OF_A_FOLDER}


def test_tests_mirror_the_tree() -> None:
    """``tests/a/test_b.py``, or ``test_b_aspect.py``, tests the module ``a/b.py`` or the folder ``a/b``."""
    for path in modules("tests"):
        if path.stem in ("conftest", "shapes", "source_tree", *WHOLE_PROJECT) or path.parent.name == "fuzzing":
            continue
        folder = ROOT / path.parent.relative_to("tests")
        words = path.stem.removeprefix("test_").split("_")
        names = ["_".join(words[:count]) for count in range(1, len(words) + 1)]
        assert any((folder / f"{name}.py").exists() or (folder / name).is_dir() for name in names), path


@pytest.mark.slow
def test_the_wheel_holds_the_packages_and_their_data(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == set(PACKAGES)
    for needed in (
        *(f"{package}/py.typed" for package in PACKAGES),
        "configs/personalize/nano.yaml",
        "configs/accelerate/multi_gpu_ddp.yaml",
        "configs/compression/pictures32.yaml",
        "configs/train/hash.yaml",
        "nerf/nano/NOTICE.txt",
        "nerf/nano/pictures32/config.json",
        "nerf/nano/pictures32/model.safetensors",
        "nerf/scenes/data/LICENSE",
        "nerf/scenes/data/robot/transforms_train.json",
        "pipelines/nano/objects/LICENSE",
        "pipelines/nano/objects/teapot.webp",
        "pipelines/nano/text_to_image/LICENSE",
        "pipelines/nano/text_to_image/model_index.json",
        "pipelines/nano/text_to_image/unet/diffusion_pytorch_model.safetensors",
    ):
        assert needed in names
