"""Who hears that kernels are about to be compiled, which takes seconds."""

from collections.abc import Callable

__all__ = ["listeners", "tell"]

listeners: list[Callable[[], None]] = []


def tell() -> None:
    """Call whoever listens."""
    for listener in tuple(listeners):
        listener()
