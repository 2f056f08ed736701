"""Options that a function and its command share: one dataclass declares their names, types, defaults and help.

The command reads the dataclass through tyro. The function keeps its own signature, and `declared_by` checks that
signature and adds the help to the docstring. So each help text exists once. Free of torch.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True)
class RunLength:
    """How long a training runs, with which seed, and whether it continues an earlier one."""

    steps: int | None = None
    """Optimizer steps; if not given, as many as the settings say."""
    max_minutes: float | None = None
    """Stop after this many minutes of training and keep what was learned."""
    seed: int = 0
    """Seed of all random draws."""
    resume: bool = False
    """Continue from the checkpoints in the output folder."""


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """Base of the options of what writes files: whether files that exist may be replaced."""

    overwrite: bool = False
    """Replace output files that exist; inputs are never replaced. If not given, nothing is done where one exists."""


def declared_by(*declarations: type) -> Callable[[F], F]:
    """Say that the fields of dataclasses declare arguments of a function; their help goes into its docstring.

    Raises:
        TypeError: a field is not an argument of the function, or both have a default and the two differ.
    """

    def decorate(function: F) -> F:
        parameters = inspect.signature(function).parameters
        lines = []
        for declaration in declarations:
            texts = help_texts(declaration)
            for field in dataclasses.fields(declaration):
                name = f"{getattr(function, '__qualname__', function)}: {field.name}"
                if field.name not in parameters:
                    raise TypeError(f"{name} of {declaration.__name__} is not an argument")
                if not _same_default(field, parameters[field.name].default):
                    raise TypeError(f"{name} has another default than in {declaration.__name__}")
                lines.append(f"    {field.name}: {texts.get(field.name, '')}".rstrip())
        if function.__doc__:
            function.__doc__ = inspect.cleandoc(function.__doc__) + "\n\nOptions:\n" + "\n".join(lines)
        return function

    return decorate


def help_texts(declaration: type) -> dict[str, str]:
    """The string under each field of a dataclass, as one line, by the field's name; empty without the source code."""
    texts: dict[str, str] = {}
    for cls in reversed(declaration.__mro__):
        if not dataclasses.is_dataclass(cls):
            continue
        try:
            (body,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
        except (OSError, SyntaxError):
            continue
        statements = body.body if isinstance(body, ast.ClassDef) else []
        for statement, following in zip(statements, statements[1:], strict=False):
            if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
                    texts[statement.target.id] = " ".join(str(following.value.value).split())
    return texts


def _same_default(field: dataclasses.Field[Any], default: Any) -> bool:
    """Whether a field and an argument agree; None in a signature may replace an empty collection."""
    if default is inspect.Parameter.empty:
        return True
    if field.default is not dataclasses.MISSING:
        return field.default == default or (field.default == () and default is None)
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory() == default or (not field.default_factory() and default is None)
    return True
