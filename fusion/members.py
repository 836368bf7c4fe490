"""The members behind tables: what they are called, and their numbers."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from fusion.errors import InputError
from fusion.table import Metadata

__all__ = ["Described", "label", "name_members"]


class Described(Protocol):
    """Whatever has a table's metadata."""

    @property
    def metadata(self) -> Metadata:
        """What the table says about itself."""
        ...


def label(tables: Sequence[Described], number: int) -> str:
    """Return what one of some tables is called: its member, or its number."""
    return tables[number].metadata.member or f"table{number}"


def name_members(
    tables: Sequence[Described], named: Sequence[Sequence[str] | None], *, shared: bool
) -> tuple[tuple[str, ...], list[np.ndarray]]:
    """Name the members behind tables.

    Args:
        tables: The tables.
        named: Names in the `member` column of each, None for a table without it, which is a member itself.
        shared: Whether two tables may bring the same member.

    Returns:
        The names of all members, and for each table the index there of each of its own: int16.

    Raises:
        InputError: If two tables bring the same member and may not, or there are too many.
    """
    names: list[str] = []
    owner: dict[str, int] = {}
    lookups = []
    for number, column in enumerate(named):
        own = [label(tables, number)] if column is None else column
        place = []
        for name in own:
            if owner.setdefault(name, number) != number and not shared:
                raise InputError(
                    f"tables {owner[name]} and {number} (counted from 0)",
                    f"both bring a member called {name!r}",
                    "Give each its own name with --member at import",
                )
            if name not in names:
                names.append(name)
            place.append(names.index(name))
        if len(names) >= 2**15:
            raise InputError("fusion", f"got {len(names)} members, at most {2**15 - 1} are possible")
        lookups.append(np.array(place, dtype=np.int16))
    return tuple(names), lookups
