"""What the commands print besides their results: notes, progress, and word of compilation; all on stderr."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from numba.core import event
from rich.console import Console
from rich.measure import Measurement
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from fusion.kernels.jit import kept_elsewhere

__all__ = ["announcing_compilation", "notes", "print_table", "progress_bar", "stderr", "stdout"]

stderr = Console(stderr=True, soft_wrap=True, markup=False)

# Tables that go to a file or a pipe are not cut to the 80 columns of a terminal that is not there.
_WIDE = 200


def stdout() -> Console:
    """Return the console that results are printed on."""
    console = Console(markup=False)  # names of categories and files may have brackets
    return console if console.is_terminal else Console(width=_WIDE, markup=False)


def print_table(table: Table) -> None:
    """Print a table on standard output; columns for which a terminal is too narrow are named instead."""
    console = stdout()
    unbounded = console.options.update(width=10 * _WIDE)
    left_out: list[str] = []
    while len(table.columns) > 2 and Measurement.get(console, unbounded, table).maximum > console.width:
        left_out.insert(0, str(table.columns.pop().header))
    console.print(table)
    if left_out:
        stderr.print(f"a wider terminal, or a file, also gets: {', '.join(left_out)}", style="dim", highlight=False)


def notes(where: object, lines: Iterable[str]) -> None:
    """Print notes about a file, one line each."""
    for line in lines:
        stderr.print(f"{where}: {line}", style="yellow", markup=False, highlight=False)


def progress_bar() -> Progress:
    """Return a progress display that is silent when stderr is not a terminal."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        console=stderr,
        transient=True,
        disable=not stderr.is_terminal,
    )


class _Compilation(event.Listener):  # type: ignore[misc]
    """Says once that kernels are being compiled, since the first call after installation takes a while."""

    said = False

    def on_start(self, event: event.Event) -> None:
        if not _Compilation.said:
            _Compilation.said = True
            stderr.print(
                "Compiling kernels for this machine; this happens once and takes some seconds ...", style="dim"
            )
            for line in kept_elsewhere[:1]:
                stderr.print(f"{line}; set XDG_CACHE_HOME to a folder of yours to choose another place", style="dim")

    def on_end(self, event: event.Event) -> None:
        pass


@contextmanager
def announcing_compilation() -> Iterator[None]:
    """Print a line when a kernel has to be compiled inside the block."""
    with event.install_listener("numba:compile", _Compilation()):
        yield
