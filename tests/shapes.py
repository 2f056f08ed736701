"""While tests run, every function that names shapes has its arguments and results checked, by jaxtyping and beartype.

jaxtyping's own import hook checks every annotation of every function, which costs several times as much and refuses
`typing.Self`. This one checks the annotations with a shape in them and leaves all other functions alone.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import importlib.util
import inspect
import re
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType
from typing import Any
from unittest import mock

SHAPED = re.compile(r"\b(Float|Int|UInt|Integer|Bool|Real|Num|Inexact|Complex|Shaped)\d*\[")
NAME = "__shapes_checked__"


def checked(target: Any) -> Any:
    """A function that raises where an argument or the result has another shape than annotated; or such a dataclass."""
    from beartype import BeartypeConf, beartype
    from beartype.roar import BeartypeCallHintParamViolation
    from jaxtyping import jaxtyped

    if inspect.isclass(target):
        return _checked_dataclass(target)
    given = target.__annotations__
    shaped = _shaped(given, target.__globals__)
    if not shaped:
        return target
    target.__annotations__ = shaped
    strict = jaxtyped(typechecker=None)(beartype(conf=BeartypeConf(is_pep484_tower=True))(target))

    @functools.wraps(target)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            return strict(*args, **kwargs)
        except BeartypeCallHintParamViolation as violation:
            # What a function refuses by itself, with a sentence of its own, comes first.
            with contextlib.suppress(RuntimeError, IndexError):
                target(*args, **kwargs)
            raise violation

    target.__annotations__ = wrapper.__annotations__ = given
    return wrapper


def _checked_dataclass(cls: Any) -> Any:
    """Checks the fields once they are set: what a class refuses by itself, with a sentence of its own, comes first."""
    from beartype.door import die_if_unbearable
    from jaxtyping import jaxtyped

    plain = vars(cls).get("__init__")
    shaped = _shaped(cls.__annotations__, vars(sys.modules[cls.__module__]))
    if plain is None or not shaped:
        return cls

    @functools.wraps(plain)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        plain(self, *args, **kwargs)
        with jaxtyped("context"):
            for name, hint in shaped.items():
                die_if_unbearable(getattr(self, name), hint, exception_prefix=f"{cls.__qualname__}.{name}: ")

    cls.__init__ = init
    return cls


def _shaped(annotations: dict[str, Any], names: dict[str, Any]) -> dict[str, Any]:
    """The annotations with a shape in them, evaluated."""
    shaped = {}
    for name, text in annotations.items():
        if isinstance(text, str) and SHAPED.search(text):
            try:
                shaped[name] = eval(text, names)
            except NameError:  # a type that is imported for annotations only
                continue
    return shaped


class _Decorator(ast.NodeTransformer):
    """Puts `checked` below all other decorators of functions, and above those of dataclasses."""

    def _decorated(self, node: Any) -> Any:
        self.generic_visit(node)
        arguments = node.args
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
        annotations = [each.annotation for each in every if each] + [node.returns]
        if any(SHAPED.search(ast.unparse(each)) for each in annotations if each):
            node.decorator_list.append(ast.copy_location(ast.Name(NAME, ast.Load()), node))
        return node

    visit_FunctionDef = _decorated

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        self.generic_visit(node)
        if any("dataclass" in ast.unparse(each) for each in node.decorator_list):
            node.decorator_list.insert(0, ast.copy_location(ast.Name(NAME, ast.Load()), node))
        return node


class _Loader(SourceFileLoader):
    def source_to_code(self, data: Any, path: Any, *, _optimize: int = -1) -> Any:
        tree = ast.fix_missing_locations(_Decorator().visit(ast.parse(data)))
        return compile(tree, path, "exec", dont_inherit=True, optimize=_optimize)

    def get_code(self, fullname: str) -> Any:
        """Compiled files have names of their own, so that programs never meet them."""
        ours = functools.partial(importlib.util.cache_from_source, optimization="shapes4")
        with mock.patch("importlib._bootstrap_external.cache_from_source", ours):
            return super().get_code(fullname)

    def exec_module(self, module: ModuleType) -> None:
        vars(module)[NAME] = checked
        super().exec_module(module)


class _Finder:
    def __init__(self, packages: Sequence[str]):
        self.packages = packages

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if fullname.split(".")[0] not in self.packages:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


def install(*packages: str) -> None:
    """Check the modules of ``packages`` that are imported from now on.

    Raises:
        RuntimeError: one is imported already.
    """
    early = [name for name in packages if name in sys.modules]
    if early:
        raise RuntimeError(f"shapes of {', '.join(early)} cannot be checked: imported before the tests' conftest.py")
    sys.meta_path.insert(0, _Finder(packages))
