"""What the command lines share: tyro reads typed dataclasses and functions, and errors become one line.

Exit codes: 0 done, 1 failed while running, 2 bad usage or input, 130 interrupted.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import logging
import sys
import traceback
import typing
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Generic, TypeVar

import tyro
from tyro.constructors import ConstructorRegistry, StructConstructorSpec, StructFieldSpec, StructTypeInfo

from .options import RunLength

C = TypeVar("C")


@dataclass(frozen=True, kw_only=True)
class Training:
    """Options of every command that trains; a command has them as its field ``training`` without a prefix."""

    length: Annotated[RunLength, tyro.conf.arg(name="")] = RunLength()
    config: str | None = None
    """Settings: the name of shipped ones or a YAML file; if not given, those that fit.
    Further options change single settings."""


class Configured(ABC):
    """A command whose settings come from a YAML file, which its other options choose."""

    settings: Any

    @abstractmethod
    def chosen_settings(self) -> Any:
        """The settings of the YAML file. Its own field ``settings`` is not to be read here.

        Raises:
            FileNotFoundError, ValueError: there is no such file, or it cannot be used; the message says why.
        """


@dataclass(frozen=True, kw_only=True)
class Group:
    """Base of a command with subcommands; a subclass declares their union as ``command``."""

    command: Any

    def run(self) -> None:
        self.command.run()


@dataclass(frozen=True, kw_only=True)
class Program(Generic[C]):
    """A whole command line: one of several commands, and the options of all."""

    command: Annotated[C, tyro.conf.arg(name="")]
    debug: bool = False
    """Show the traceback of an error."""


@dataclass(frozen=True, kw_only=True)
class Draft(Program[C]):
    """`Program` as it is read the first time, where ``--help`` is an option like others."""

    help: Annotated[bool, tyro.conf.arg(aliases=["-h"])] = False


def run_command(commands: Any, words: Sequence[str], *, prog: str) -> int:
    """Parse ``words`` as one of ``commands`` and run it.

    Args:
        commands: a union of dataclasses annotated as tyro's subcommands.
        words: the command line without the program's name.
        prog: the program's name, for help.

    Returns:
        The exit code.
    """
    print_anywhere()
    draft = read_draft(commands, words)
    work = partial(_parse_and_run, commands, words, prog=prog, draft=draft)
    return _exit_code(work, debug=draft is not None and draft.debug)


def run_script(main: Callable[..., Any], words: Sequence[str] | None = None) -> int:
    """Call the function ``main`` of a module that is a command of its own (``python -m MODULE``).

    Args:
        main: a function with type annotations and a docstring; both make the help.
        words: the command line without the program's name; that of this process when not given.

    Returns:
        The exit code; an integer that ``main`` returns is one.
    """
    print_anywhere()
    spec = getattr(sys.modules[main.__module__], "__spec__", None)
    prog = f"python -m {spec.name if spec else main.__module__}"
    return _exit_code(partial(tyro.cli, main, args=words, prog=prog))


def print_anywhere() -> None:
    """Let output never fail: characters that the console's encoding lacks are printed as escapes (``\\u0416``)."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def parse(commands: Any, words: Sequence[str], *, prog: str, draft: Draft[Any] | None) -> Program[Any]:
    """The command line as typed objects, where settings have the defaults of the YAML file that ``draft`` chooses.

    Raises:
        SystemExit: the words ask for help, or are bad usage; what to say is printed.
        FileNotFoundError, ValueError: the YAML file cannot be used.
    """
    command = None if draft is None else _with_settings(draft.command)
    default = tyro.MISSING_NONPROP if command is None else _unchecked(Program, command=command, debug=False)
    about = f"'{prog} COMMAND --help' describes a command; 'mapfield --version' prints the version."
    return tyro.cli(
        Program[commands], args=words, prog=prog, description=about, default=default,
        config=(tyro.conf.CascadeSubcommandArgs,),
    )  # fmt: skip


def read_draft(commands: Any, words: Sequence[str]) -> Draft[Any] | None:
    """The command line without checks, which shows the settings file that it needs.

    No option is required, and no ``__post_init__`` is called, because a setting may be valid only together with others
    of the file. None if the words cannot be parsed at all; `parse` then says why.
    """
    registry = ConstructorRegistry()
    registry.struct_rule(_unchecked_rule)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            return tyro.cli(
                Draft[commands], args=words, add_help=False, console_outputs=False, registry=registry,
                config=(tyro.conf.CascadeSubcommandArgs,),
            )  # fmt: skip
    except SystemExit:
        return None


def _unchecked_rule(info: StructTypeInfo) -> StructConstructorSpec | None:
    """How tyro builds a dataclass of which no field is required and none is checked."""
    cls: Any = info.type
    if not (isinstance(cls, type) and dataclasses.is_dataclass(cls)) or issubclass(cls, Program | Group):
        return None
    hints = typing.get_type_hints(cls, include_extras=True)
    specs = [_optional(field, hints[field.name], info.default) for field in dataclasses.fields(cls)]
    return StructConstructorSpec(instantiate=partial(_unchecked, cls), fields=tuple(specs))


def _optional(field: dataclasses.Field[Any], hint: Any, parent: Any) -> StructFieldSpec:
    """How tyro reads a field: None where neither the field nor ``parent``, an instance, has a default."""
    if dataclasses.is_dataclass(parent) and hasattr(parent, field.name):
        return StructFieldSpec(field.name, hint, getattr(parent, field.name))
    plain, *notes = (hint.__origin__, *hint.__metadata__) if typing.get_origin(hint) is Annotated else (hint,)
    default = _own_default(field, otherwise=tyro.MISSING_NONPROP)
    if default is tyro.MISSING_NONPROP and not dataclasses.is_dataclass(plain):
        optional: Any = Annotated[(plain | None, tyro.conf.arg(), *notes)]
        return StructFieldSpec(field.name, optional, None)
    return StructFieldSpec(field.name, hint, default)


def _own_default(field: dataclasses.Field[Any], *, otherwise: Any) -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    return otherwise if field.default_factory is dataclasses.MISSING else field.default_factory()


def _unchecked(cls: type, **values: Any) -> Any:
    made = object.__new__(cls)
    vars(made).update(values)
    return made


def _with_settings(command: Any) -> Any | None:
    """A command with its settings as the only thing that is known of it; None where it has none."""
    if isinstance(command, Group):
        inner = _with_settings(command.command)
        return None if inner is None else _unchecked(type(command), command=inner)
    if not isinstance(command, Configured):
        return None
    fields = dataclasses.fields(typing.cast(Any, command))
    rest = {field.name: _own_default(field, otherwise=tyro.MISSING_NONPROP) for field in fields}
    return _unchecked(type(command), **rest | {"settings": command.chosen_settings()})


def _parse_and_run(commands: Any, words: Sequence[str], *, prog: str, draft: Draft[Any] | None) -> None:
    parse(commands, words, prog=prog, draft=draft).command.run()


def _exit_code(work: Callable[[], Any], *, debug: bool = False) -> int:
    """Do ``work`` and say how it ended; an integer that it returns is the exit code."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    try:
        returned = work()
    except KeyboardInterrupt:
        return 130
    except (ValueError, FileNotFoundError, FileExistsError) as error:
        return _fail(error, 2, debug)
    except (RuntimeError, OSError) as error:
        return _fail(error, 1, debug)
    return returned if isinstance(returned, int) else 0


def _fail(error: Exception, code: int, debug: bool) -> int:
    if debug:
        traceback.print_exception(error)
    # Names of files may have line breaks, and so have messages of libraries.
    print(f"error: {' '.join(str(error).splitlines())}", file=sys.stderr)
    return code
