"""What the commands print besides their results: warnings, notes, progress, word of compilation; all on stderr."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console

from fusion import compilation
from fusion.errors import Warned
from fusion.said import first_time

if TYPE_CHECKING:
    from rich.progress import Progress

__all__ = ["announcing_compilation", "notes", "progress_bar", "quiet", "showing_progress", "stderr", "stdout"]

stderr = Console(stderr=True, soft_wrap=True, markup=False)

# Tables that go to a file or a pipe are not cut to the 80 columns of a terminal that is not there.
_WIDE = 200


def stdout() -> Console:
    """Return the console that results are printed on."""
    console = Console(markup=False)  # names of categories and files may have brackets
    return console if console.is_terminal else Console(width=_WIDE, markup=False)


@contextmanager
def quiet() -> Iterator[None]:
    """Print nothing on stderr inside the block but warnings and errors."""
    before, stderr.quiet = stderr.quiet, True
    try:
        yield
    finally:
        stderr.quiet = before


def notes(where: object, lines: Iterable[str]) -> None:
    """Print notes about a file, one line each: warnings always, others once (see `fusion.said`)."""
    for line in lines:
        if isinstance(line, Warned):
            before, stderr.quiet = stderr.quiet, False
            stderr.print(f"warning: {where}: {line}", style="bold yellow", markup=False, highlight=False)
            stderr.quiet = before
        elif not stderr.quiet and first_time(where, line):
            stderr.print(f"note: {where}: {line}", style="cyan", markup=False, highlight=False)


class _Unseen:
    """Stands for a progress display where there is no terminal: loading rich's takes longer than the work on a file."""

    def __enter__(self) -> "_Unseen":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def start(self) -> None:
        pass

    def stop(self) -> None:
        pass

    def add_task(self, *_: object, **__: object) -> int:
        return 0

    def update(self, *_: object, **__: object) -> None:
        pass

    def track(self, items: Iterable[Any], *_: object, **__: object) -> Iterable[Any]:
        return items


def progress_bar() -> "Progress":
    """Return a progress display that is silent when stderr is not a terminal, or quiet."""
    if stderr.quiet or not stderr.is_terminal:
        return _Unseen()  # type: ignore[return-value]
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        console=stderr,
        transient=True,
    )


_said: list[str] = []


def _say_compiling() -> None:
    """Say once that kernels are being compiled, since the first call after installation takes a while."""
    from numba.core import event

    from fusion.kernels.jit import kept_elsewhere

    if _said:
        return
    _timers.append(event.TimingListener())
    event.register("numba:compile", _timers[0])
    _said.append("Compiling kernels for this machine; this happens once and takes some seconds ...")
    _said.extend(f"{line}; set XDG_CACHE_HOME to a folder of yours to choose another place" for line in kept_elsewhere)
    for line in _said[:2]:
        stderr.print(line, style="dim")


_timers: list[Any] = []  # Numba's, of what is compiled since the first word of it


@contextmanager
def announcing_compilation() -> Iterator[None]:
    """Print a line when a kernel has to be compiled inside the block, and one at its end: how long that took."""
    compilation.listeners.append(_say_compiling)
    before = _compiled_in()
    try:
        yield
    finally:
        compilation.listeners.remove(_say_compiling)
        spent = _compiled_in() - before
        if spent and not compilation.listeners:
            stderr.print(f"Compiled in {spent:.1f} s; kept for later commands", style="dim", highlight=False)


def _compiled_in() -> float:
    """Seconds that went into compiling so far."""
    return float(sum(timer.duration for timer in _timers if timer.done))


@contextmanager
def showing_progress() -> Iterator[Callable[..., None]]:
    """Show a bar that moves and names the step, on a terminal; say when kernels are compiled, and how long that takes.

    Yields:
        What is given as `progress` to any function that takes one: `with showing_progress() as progress: ...`.
    """
    with announcing_compilation(), progress_bar() as bar:
        task = bar.add_task("", total=None)

        def show(*told: Any) -> None:
            words = [one for one in told if isinstance(one, str)]
            numbers = [one for one in told if not isinstance(one, str)]
            if words:
                bar.update(task, description=words[0])
            if len(numbers) > 1:
                bar.update(task, completed=numbers[0], total=numbers[1])

        yield show
