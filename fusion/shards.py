"""Which share of the parts of a run a process makes, where several on machines without common locks make one output."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from fusion.errors import InputError, option

__all__ = ["Shard"]

_NUMBERS = (("RANK", "WORLD_SIZE"), ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT"), ("SLURM_PROCID", "SLURM_NTASKS"))


@dataclass(frozen=True)
class Shard:
    """A share of the parts.

    Attributes:
        number: From 0.
        count: How many shares there are.
    """

    number: int
    count: int

    @classmethod
    def parse(cls, text: str, environment: Mapping[str, str] = os.environ) -> "Shard":
        """Read K/N, counted from 1; or "auto": what torchrun, a SLURM array or srun say of this process.

        Raises:
            InputError: If it is neither, or nothing is said.
        """
        if text == "auto":
            return cls._said(environment)
        found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
        if found is None or not 1 <= int(found[1]) <= int(found[2]):
            problem = f"expected a share such as 1/4, the first of four, or auto, got {text!r}"
            raise InputError(f"option {option('shard')}", problem)
        return cls(int(found[1]) - 1, int(found[2]))

    @classmethod
    def _said(cls, environment: Mapping[str, str]) -> "Shard":
        for name, count in _NUMBERS:
            if name in environment and count in environment:
                first = int(environment.get("SLURM_ARRAY_TASK_MIN", 0)) if "ARRAY" in name else 0
                return cls(int(environment[name]) - first, int(environment[count]))
        names = ", ".join(f"{name} and {count}" for name, count in _NUMBERS)
        raise InputError(
            f"option {option('shard', 'auto')}", f"none of these is set: {names}", "Give a share such as 1/4"
        )

    def of(self, parts: int) -> list[int]:
        """Return the numbers of its parts, of so many in all."""
        return list(range(self.number, parts, self.count))
