"""The one error type for input that a user has to mend, and how its messages name options."""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["InputError", "Warned", "in_command_line", "in_python", "option", "options_of"]

# How options are named: None as Python parameters, else as typed at the command line, with those that are typed
# under another name than the parameter's. One process has one user, so this is a global.
_typed: dict[str, str] | None = None
_told: set[str] | None = None  # options that were named inside `options_of`


class InputError(ValueError):
    """Bad input: a file, a row, a field or an option that cannot be used as it is.

    The message always has the same three parts: where the fault is, what was found against what was
    expected, and what to do about it. The command line prints it and exits with code 2.

    Args:
        where: The file, row, field or option ("a.json, detection 17, field 'bbox'").
        problem: What came and what was expected.
        remedy: What the user can do; may be empty when the problem says it all.
    """

    def __init__(self, where: object, problem: str, remedy: str = "") -> None:
        self.where = str(where)
        self.problem = problem
        self.remedy = remedy
        super().__init__(
            f"{self.where}: {problem}." + (f" {remedy}{'' if remedy.endswith('?') else '.'}" if remedy else "")
        )

    def __reduce__(self) -> tuple[type["InputError"], tuple[str, str, str]]:
        return type(self), (self.where, self.problem, self.remedy)


class Warned(str):
    """A note on what probably spoils the result: printed as a warning, whenever it is true, also with --quiet."""

    __slots__ = ()

    @staticmethod
    def plain(value: object) -> str:
        """Return a warning as the text that files have: what msgspec asks of an object that it does not know.

        Raises:
            TypeError: If the object is something else.
        """
        if isinstance(value, Warned):
            return str(value)
        raise TypeError(f"{type(value)} cannot be written as JSON")


def option(name: str, value: object = None) -> str:
    """Name an option in the words of the interface in use.

    Args:
        name: The Python parameter, such as "box_format"; what follows a dot is kept ("weights.a").
        value: What it is to be set to; None names the option alone, and so does True where it is a flag.

    Returns:
        `box_format='xyxy'` for who calls from Python, `--box-format xyxy` at the command line.
    """
    if _typed is None:
        words = name if value is None else f"{name}={value!r}"
    else:
        name, dot, key = name.partition(".")
        words = f"--{_typed.get(name, name).replace('_', '-')}{dot}{key}"
        words += "" if value is None or value is True else f" {shlex.quote(str(value))}"
    if _told is not None:
        _told.add(words)
    return words


@contextmanager
def options_of(command: str, function: str) -> Iterator[None]:
    """Say of the options that an error inside the block names whose they are, if the command in use has no such ones.

    Args:
        command: What has them at the command line, and makes a table that is taken instead.
        function: What has them in Python.
    """
    global _told
    before, _told = _told, set()
    try:
        yield
    except InputError as error:
        if not any(words in str(error) for words in _told):
            raise
        where = f"options of {function}" if _typed is None else f"options of `{command}`"
        raise type(error)(
            error.where, error.problem, f"{error.remedy}. These are {where}: give its table instead".lstrip(". ")
        ) from error
    finally:
        _told = before


@contextmanager
def in_command_line(**typed: str) -> Iterator[None]:
    """Name options as they are typed at the command line, inside the block.

    Args:
        **typed: Parameters that are typed under another name: `method="decay"`.
    """
    with _named(typed):
        yield


@contextmanager
def in_python() -> Iterator[None]:
    """Name options as parameters inside the block, also at the command line: so they are written in a file."""
    with _named(None):
        yield


@contextmanager
def _named(typed: dict[str, str] | None) -> Iterator[None]:
    global _typed
    before, _typed = _typed, typed
    try:
        yield
    finally:
        _typed = before
