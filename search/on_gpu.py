"""The nodes of candidates on an NVIDIA GPU."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from itertools import count

import numpy as np

from fusion.cuda.kernels.cells import Rows
from fusion.cuda.kernels.device import empty, free_memory
from fusion.cuda.resident import Origins, Resident
from fusion.cuda.session import Need, Session, memory_for
from fusion.errors import InputError
from fusion.steps.base import Step
from fusion.steps.concat import Concat
from fusion.steps.reweight import Reweight
from fusion.table import DetectionTable
from search.engine import Profile
from search.genome import Operator

__all__ = ["GpuFuser", "Measure"]

Measure = Callable[[Resident], np.ndarray]
"""From detections on the GPU to float64 [k], the AP of all categories by ascending id, NaN without ground truth."""

# What candidates and the evaluation look at.
_COLUMNS = ("image_id", "category_id", "score", "x", "y", "w", "h", "x2", "y2", "mask")
# A candidate takes what one fusion of all rows does, and besides holds answers of the nodes below.
_FUSIONS = 2
# Where the memory is used up by others, since there was room at first.
_GO_ON = "The trials so far are kept: go on with --resume, and less --memory or --device cpu"


class GpuFuser:
    """Fuses the members' rows of all categories at once, since a launch costs the same for a part of them.

    The members and all results stay on the GPU. Steps are those that `recipe_of` writes down.

    Attributes:
        looks: As given.
        room: Bytes of the GPU's memory that are left for kept results.
    """

    def __init__(
        self, tables: Sequence[DetectionTable], looks: Sequence[np.ndarray], measure: Callable[[Origins], Measure]
    ) -> None:
        """Put the members on the GPU.

        Args:
            tables: One per member.
            looks: Category ids, int32, of each chunk that is looked at in turn, together all of the ground truth's.
            measure: Makes what tells the AP, for answers that refer to the members on the GPU.

        Raises:
            InputError: If the GPU's memory is too small for the members.
        """
        self.looks = tuple(np.asarray(look, dtype=np.int32) for look in looks)
        ids = np.concatenate(self.looks)
        self._place = np.argsort(np.argsort(ids))
        # a protocol with a single look is one that counts detections of other categories as well
        known = ids if len(self.looks) > 1 else None
        session = Session([_bare(table, number, known) for number, table in enumerate(tables)], remedy=_GO_ON)
        need = session.need._replace(copies=_FUSIONS)
        _require_room(need)
        session.upload()
        self._session, self._numbers = session, count()
        self._leaves = [self._resident(session.apply(Concat(), [table])) for table in session.tables]
        self._ap = measure(session.origins)
        # a simulated GPU has no end of memory
        self.room = int(min(max(free_memory() - need.bytes, 0), sys.maxsize))

    def leaf(self, member: int, weight: float, profile: Profile) -> Resident:
        """Return a member with its scores multiplied."""
        leaf = self._leaves[member]
        if weight == 1.0 or not len(leaf):
            return leaf
        return self._run(Reweight(weights={str(leaf.metadata.member): weight}), [leaf], profile)

    def node(self, operator: Operator, first: Resident, second: Resident, profile: Profile) -> Resident:
        """Fuse two children."""
        answer: Resident = operator.fuse(lambda step, inputs: self._run(step, inputs, profile), first, second)
        # a name of its own, by which a step tells the members that come from here from others
        return answer.with_metadata(member=f"node {next(self._numbers)}")

    def measure(self, result: Resident, profile: Profile) -> np.ndarray:
        """Return the AP of each category of all looks, one behind the other: float64 [k]."""
        with profile.timing("measure"), memory_for("the evaluation", _GO_ON):
            return self._ap(result)[self._place]

    def size(self, result: Resident) -> int:
        """Return the bytes that a result takes."""
        return sum(len(column) * column.dtype.itemsize for column in result.rows)

    def _run(self, step: Step, inputs: Sequence[Resident], profile: Profile) -> Resident:
        # where the GPU is not waited for, this is the time of its orders alone, and a later step has the rest
        with profile.timing(type(step).__name__):
            return self._resident(self._session.apply(step, inputs))

    def _resident(self, answer: DetectionTable | Resident) -> Resident:
        """Return an answer on the GPU; a session leaves steps on no rows at all to the CPU."""
        if isinstance(answer, Resident):
            return answer
        if len(answer):
            raise TypeError("a step of a candidate was not run on the GPU")
        kinds = (np.int32, np.int32, *(np.float64,) * 7, np.int16, np.int32, np.int16)
        columns = answer.arrow.column_names
        return Resident(
            self._session.origins,
            Rows._make(empty(0, kind) for kind in kinds),
            None if answer.member is None else tuple(answer.member.dictionary.to_pylist()),
            tuple(answer.column(name).dtype for name in ("score", "x", "y", "w", "h")),
            frozenset(name for name in ("x2", "y2", "mask", "votes") if name in columns),
            answer.metadata,
        )


def _require_room(need: Need) -> None:
    """Refuse where the GPU's memory is too small."""
    free = free_memory()
    if not need.fits(free):
        raise InputError(
            "device cuda",
            f"the members need about {need.bytes / 2**30:.1f} GiB on the GPU, and {free / 2**30:.1f} GiB are free",
            "Search on fewer images, or use --device cpu",
        )


def _bare(table: DetectionTable, number: int, category_ids: np.ndarray | None) -> DetectionTable:
    """Return a member under a name of its own, with the columns and categories that are looked at."""
    if category_ids is not None:
        table = table.select_categories(category_ids)
    arrow = table.arrow.select([name for name in _COLUMNS if name in table.arrow.column_names])
    return DetectionTable(arrow, table.metadata).with_metadata(member=f"leaf {number}")
