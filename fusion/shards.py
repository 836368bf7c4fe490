"""Which share of the parts of a run a process makes, where several on machines without common locks make one output."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from fusion.errors import InputError, option

__all__ = ["Shard"]

# number of a process and how many there are; an indexed job of Kubernetes says the number alone
_NUMBERS = (
    ("RANK", "WORLD_SIZE"),
    ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT"),
    ("SLURM_PROCID", "SLURM_NTASKS"),
    ("JOB_COMPLETION_INDEX", None),
)


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

        "auto/N" says how many there are: an indexed job of Kubernetes tells its pods their number alone.

        Raises:
            InputError: If it is none of these, or nothing is said.
        """
        found = re.fullmatch(r"auto(?:/(\d{1,9}))?", text)
        if found is not None:
            return cls._said(text, None if found[1] is None else int(found[1]), environment)
        found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
        if found is None or not 1 <= int(found[1]) <= int(found[2]):
            problem = f"expected a share such as 1/4, the first of four, auto, or auto/4, got {text!r}"
            raise InputError(f"option {option('shard')}", problem)
        return cls(int(found[1]) - 1, int(found[2]))

    @classmethod
    def _said(cls, text: str, total: int | None, environment: Mapping[str, str]) -> "Shard":
        where = f"option {option('shard', text)}"
        for name, counted in _NUMBERS:
            said = environment.get(counted or "") if total is None else str(total)
            if name not in environment or (counted is not None and said is None):
                continue
            if said is None:
                problem = f"{name} says which process this is, and nothing how many there are"
                raise InputError(where, problem, "Give auto/N, where N is the number of completions of the job")
            words = [environment[name], said]
            if "ARRAY" in name:
                words += [
                    environment.get(f"SLURM_ARRAY_TASK_{end}", start) for end, start in (("MIN", "0"), ("STEP", "1"))
                ]
            if not all(re.fullmatch(r"\d{1,9}", word) for word in words):
                raise InputError(where, f"{name} and what goes with it are no numbers: {', '.join(words)}")
            number, count, first, step = [*map(int, words), 0, 1][:4]
            number = (number - first) // max(step, 1)
            if not 0 <= number < count:
                raise InputError(where, f"{name} is {environment[name]}, and there are {count}")
            return cls(number, count)
        names = ", ".join(" and ".join(filter(None, pair)) for pair in _NUMBERS)
        raise InputError(where, f"none of these is set: {names}", "Give a share such as 1/4")

    def of(self, parts: int) -> list[int]:
        """Return the numbers of its parts, of so many in all."""
        return list(range(self.number, parts, self.count))
