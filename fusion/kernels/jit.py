"""How every kernel is compiled, cached and spread over threads."""

import atexit
import contextlib
import functools
import hashlib
import os
import shutil
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from fusion.errors import InputError
from fusion.formulas import bound

__all__ = [
    "caching",
    "chunks",
    "formula",
    "intrinsic",
    "jit",
    "joined",
    "kept_elsewhere",
    "run",
    "threads",
    "uncounted",
]

kept_elsewhere: list[str] = []
"""Where compiled kernels are kept if not where they should be, in words."""


@functools.cache
def _cache_folder(package: str) -> str:
    """Folder for the compiled kernels of one package, named after the sources they are made of.

    Numba's own cache looks at the kernel's file only, so an edited formula in another file would be
    served stale; a folder named after all of them cannot be. Kernels live in folders called `kernels`
    and their formulas in folders called `formulas`, nowhere else.
    """
    root = Path(__file__).resolve().parents[2]
    sources: set[Path] = set()
    for name in ("fusion", package):
        for kind in ("kernels", "formulas"):
            sources.update((root / name).glob(f"**/{kind}/*.py"))
    digest = hashlib.sha256()
    for path in sorted(sources):
        if path.exists():
            digest.update(path.read_bytes())
    base = os.environ.get("NUMBA_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME")
    name = f"{package}-{digest.hexdigest()[:16]}"
    folder = (Path(base) if base else Path.home() / ".cache") / "quorum" / name
    if _usable(folder):
        return str(folder)
    own = Path(tempfile.gettempdir()) / f"quorum-kernels-{os.getuid() if hasattr(os, 'getuid') else 'own'}"
    if _usable(own, mode=0o700) and _private(own) and _usable(own / name):
        spare = own / name
    else:  # compiled code is not taken from a place that others can write to
        spare = Path(tempfile.mkdtemp(prefix="quorum-kernels-"))
        atexit.register(shutil.rmtree, spare, ignore_errors=True)
    kept_elsewhere.append(f"{folder.parent} cannot be written to, so they are kept in {spare.parent}")
    return str(spare)


def _usable(folder: Path, mode: int = 0o777) -> bool:
    """Whether a folder, made if it is not there, can be written to; if not, that must not stop the import."""
    with contextlib.suppress(OSError):
        folder.mkdir(mode=mode, parents=True, exist_ok=True)
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)


def _private(folder: Path) -> bool:
    """Whether a folder is this user's and nobody else can write to it."""
    found = folder.lstat()
    owner = not hasattr(os, "geteuid") or found.st_uid == os.geteuid()
    return stat.S_ISDIR(found.st_mode) and owner and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


@contextlib.contextmanager
def caching(function: Callable[..., Any], where: str = "") -> Iterator[None]:
    """Let Numba keep a kernel that it is given inside the block in the folder of its package, or in a folder there."""
    import numba

    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(Path(_cache_folder(function.__module__.partition(".")[0]), where))
    try:
        yield
    finally:
        numba.config.CACHE_DIR = before


class _Lazy:
    """What Numba makes of a function: one thing when it is called, another when a kernel that calls it is compiled.

    So Numba, which takes longer to load than most commands work, is loaded with the first kernel that runs.

    Args:
        function: The function.
        make: Makes what is called from Python.
        inside: Makes what is called from kernels.
    """

    def __init__(
        self, function: Callable[..., Any], make: Callable[[Any], Any], inside: Callable[[Any], Any] | None = None
    ) -> None:
        functools.update_wrapper(self, function)
        self._make, self._make_inside = make, inside or make
        self._made: Any = None
        self._inside: Any = None

    def __call__(self, *arguments: Any) -> Any:
        return (self._made or self.made())(*arguments)

    def made(self) -> Any:
        """Return what is called from Python, always the same."""
        if self._made is None:
            with _making:
                self._made = self._made or self._make(self.__wrapped__)
        return self._made

    @property
    def _numba_type_(self) -> Any:
        """The type of what is called from kernels; of whatever is none of its own, Numba asks this attribute."""
        from numba.core.registry import cpu_target

        with _making:
            self._inside = self._inside or self._make_inside(self.__wrapped__)
        cpu_target.typing_context.refresh()
        return cpu_target.typing_context.resolve_value_type(self._inside)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.made(), name)


_making = threading.RLock()


def _compiled(function: Callable[..., Any], **options: Any) -> Any:
    from fusion.kernels.cache import keep

    with caching(function):
        import numba

        if numba.config.DISABLE_JIT:  # what compiled code passes over in silence, NumPy's numbers warn of
            return np.errstate(all="ignore")(function)
        return keep(numba.njit(nogil=True, error_model="numpy", no_cfunc_wrapper=True, **options)(function))


def _inside(function: Callable[..., Any], **options: Any) -> Any:
    """Compile a function for kernels that call it: without what lets Python call it, which takes longer than most."""
    from fusion.kernels.cache import keep

    with caching(function, "inside"):
        import numba

        made = numba.njit(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True, **options)(function)
        return keep(made)


def jit(function: Callable[..., Any], **options: Any) -> Any:
    """Compile a kernel when it is first called: no GIL, NumPy's error model, cached on disk.

    `error_model="numpy"` because Python's zero-division test stops SIMD in every loop with a
    division (0.4 against 1.6 G pairs/s). Threads come from `run`, not from `parallel=True`: it
    compiles four times faster, can be interrupted between chunks, and Numba's default thread pool
    breaks when two Python threads enter it.
    """
    return _Lazy(function, functools.partial(_compiled, **options), functools.partial(_inside, **options))


def intrinsic(plain: Callable[..., Any]) -> Callable[[Callable[..., Any]], Any]:
    """Let kernels call a function that writes its own LLVM code, as `numba.extending.intrinsic` does.

    Args:
        plain: The same in Python, for NUMBA_DISABLE_JIT, under which kernels run as they stand.
    """

    def generated(function: Callable[..., Any]) -> Any:
        import numba
        from numba.extending import intrinsic

        return plain if numba.config.DISABLE_JIT else intrinsic(function)

    return lambda function: _Lazy(function, generated)


def uncounted(function: Callable[..., Any], **options: Any) -> Any:
    """Compile a kernel, or a part of one, that makes no arrays, without Numba's reference counts.

    Handing arrays from function to function counts their references, atomically: that took 85 of 160 ns per box in WBF.
    The option is Numba's own but not documented; without it the result is the same, only slower.
    """
    return jit(function, _nrt=False, **options)


@functools.cache
def formula(function: Callable[..., Any]) -> Any:
    """Make a part of kernels of a shared formula, and of those that it calls; once, whoever asks."""
    return uncounted(bound(function, formula))


def threads() -> int:
    """Number of threads for kernels: QUORUM_THREADS, else the processors this process may use."""
    text = os.environ.get("QUORUM_THREADS")
    if text is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not text.isdigit() or int(text) < 1:
        raise InputError("environment variable QUORUM_THREADS", f"expected a whole number of at least 1, got {text!r}")
    return int(text)


def chunks(start: np.ndarray, size: int = 65536) -> list[tuple[int, int]]:
    """Cut cells into runs of about `size` detections.

    The cuts depend on the data alone, never on the number of threads.

    Args:
        start: int64 [cells + 1], offsets of the cells (CSR).
        size: Detections per run; one larger cell is a run of its own.

    Returns:
        Pairs (first cell, one past the last cell), in order, covering all cells; none for no cells.
    """
    cells = len(start) - 1
    if cells <= 0:
        return []
    targets = np.arange(start[0] + size, start[-1], size)
    cuts = np.unique(np.concatenate(([0], np.searchsorted(start, targets), [cells])))
    return list(zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True))


def joined(pieces: list[Any]) -> list[np.ndarray]:
    """Join the arrays of pieces, first with first and so on, letting each go once it is joined.

    Args:
        pieces: At least one tuple of arrays; emptied, so that nothing is in memory twice for long.
    """
    columns = [list(parts) for parts in zip(*pieces, strict=True)]
    pieces.clear()
    return [np.concatenate(columns.pop(0)) for _ in range(len(columns))]


def run(task: Callable[[int, int], Any], pieces: Sequence[tuple[int, int]]) -> list[Any]:
    """Call `task(low, high)` for every piece on the kernel threads and return the results in order.

    The answer is the same for any number of threads: pieces are independent and are collected in
    order. Ctrl-C is answered as soon as the pieces under way are done.
    """
    workers = min(threads(), len(pieces))
    if workers <= 1:
        return [task(low, high) for low, high in pieces]
    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(task, low, high) for low, high in pieces]
        try:
            return [future.result() for future in futures]
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
