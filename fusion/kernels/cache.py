"""Compiled kernels on disk: loaded without what only compiling takes."""

from typing import Any

from numba.core import types
from numba.core.caching import FunctionCache
from numba.core.runtime import rtsys

from fusion import compilation

__all__ = ["keep"]


class _Cache(FunctionCache):  # type: ignore[misc]
    """Numba's cache, which loads all that it can compile with before it looks at the disk: 0.3 s of a start of 0.7 s.

    That is put off until something has to be compiled; then the compiler loads it itself.
    """

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the compiled code for a signature, None where there is none and it will be compiled."""
        rtsys.initialize(target_context)  # arrays that kernels make are counted by it
        with self._guard_against_spurious_io_errors():
            found = self._load_overload(sig, target_context)
        if found is None:
            compilation.tell()
        return found


def keep(dispatcher: Any) -> Any:
    """Let a function of Numba keep what is compiled of it, in the folder of `caching`; return it.

    Kernels that call it get one version for each kind of arguments. Numba would first compile one more for each
    constant that is passed, and for each variable that begins as one: a fifth of the time that compiling takes.
    """
    if not hasattr(dispatcher, "enable_caching"):  # a plain function where NUMBA_DISABLE_JIT is set
        return dispatcher
    dispatcher._cache = _Cache(dispatcher.py_func)
    find = dispatcher.get_call_template
    dispatcher.get_call_template = lambda args, names: find(*_without_constants(args, names))
    return dispatcher


def _without_constants(args: Any, names: Any) -> Any:
    return tuple(map(types.unliteral, args)), {name: types.unliteral(kind) for name, kind in names.items()}
