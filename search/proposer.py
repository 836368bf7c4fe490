"""Who proposes candidates: the interface, and the plain lists."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from search.genome import Genome

__all__ = ["Listed", "Proposer"]


class Proposer(Protocol):
    """Proposes candidates and learns from their values.

    `ask` is called with the number of candidates wanted, `tell` with each of them in the order asked and
    before the next `ask`: what is proposed depends on the seed and the values alone, not on the number of workers.
    """

    def ask(self, count: int) -> list[Genome]:
        """Return at most so many candidates; none ends the phase."""
        ...

    def tell(self, genome: Genome, value: float) -> None:
        """Learn the value of a candidate, its own or one that another machine's search has found."""
        ...


class Listed:
    """Proposes the candidates of a list, each once."""

    def __init__(self, genomes: Iterable[Genome]) -> None:
        """Take the list."""
        self._left: Sequence[Genome] = list(genomes)

    def ask(self, count: int) -> list[Genome]:
        """Return the next ones."""
        asked, self._left = list(self._left[:count]), self._left[count:]
        return asked

    def tell(self, genome: Genome, value: float) -> None:
        """Nothing is learned."""
