"""Tables that are larger than the GPU's memory: fused in parts of whole images, with copies beside the kernels."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from fusion.cuda.kernels.device import free_memory, new_stream, through
from fusion.cuda.masking import mask_bytes
from fusion.cuda.resident import Resident
from fusion.cuda.session import SMALLER, Need, Session, Work, as_table
from fusion.cuda.steps import twin_of
from fusion.errors import InputError
from fusion.steps.base import Step
from fusion.steps.calibrate import Calibrate
from fusion.steps.surround import Surround
from fusion.table import DetectionTable

__all__ = ["TableStream", "open_on_gpu"]

# What these answer for an image depends on the others: on scores that round to the same value, and on which categories
# there are at all.
_WHOLE = {Calibrate, Surround}
# Parts on the GPU at once: one that comes up, one that is fused, one that goes down.
_AT_ONCE = 3


def open_on_gpu(tables: Sequence[DetectionTable], steps: Sequence[Step]) -> "Session | TableStream":
    """Prepare a fusion on the GPU: at once where its memory is large enough, else in parts of whole images.

    Args:
        tables: All tables of the fusion.
        steps: All its steps.

    Raises:
        InputError: If the memory is too small for the largest image, or for tables that steps have to see whole.
    """
    session, memory = Session(tables, steps), free_memory()
    if session.need.fits(memory) or not session.need.images:
        return session
    cuts = None
    if all(twin_of(step) and type(step) not in _WHOLE for step in steps):
        cuts = _cuts(tables, session.need, memory / _AT_ONCE)
    if cuts is None:
        problem = f"the tables need about {session.need.bytes / 2**30:.1f} GiB on the GPU"
        raise InputError("device cuda", f"{problem}, and {memory / 2**30:.1f} GiB are free", SMALLER)
    return TableStream(tables, steps, cuts)


class TableStream:
    """Fuses tables in parts of whole images.

    While a part is fused, the next one is uploaded and the answer to the last one downloaded, by threads with a stream
    of their own each.

    Args:
        tables: All tables of the fusion.
        steps: All its steps.
        cuts: Ids of the first image of each part.
    """

    def __init__(self, tables: Sequence[DetectionTable], steps: Sequence[Step], cuts: Sequence[Any]) -> None:
        self._tables, self._steps, self._cuts = tables, steps, cuts

    def fuse(self, work: Work) -> DetectionTable:
        """Do all the work on one part after the other and return the table of all answers."""
        arriving, here, departing = (new_stream() for _ in range(3))
        answers: list[DetectionTable] = []
        leaving: list[DetectionTable | Resident] = []
        going: Future[DetectionTable] | None = None
        with ThreadPoolExecutor(1) as up, ThreadPoolExecutor(1) as down:
            coming = up.submit(self._load, 0, arriving)
            for number in range(len(self._cuts)):
                session = coming.result()
                if number + 1 < len(self._cuts):
                    coming = up.submit(self._load, number + 1, arriving)
                with through(here):
                    answer = work(session.apply, session.tables)
                if going is not None:
                    answers.append(going.result())
                # held by this list alone, so that its memory is freed by this thread: Numba's record of what is to be
                # freed is not made for several
                leaving[:] = [answer]
                del answer
                going = down.submit(_downloaded, leaving, departing)
            if going is not None:
                answers.append(going.result())
        return _joined(answers)

    def _load(self, number: int, stream: Any) -> Session:
        """Put a part on the GPU."""
        first, last = self._cuts[number], self._cuts[number + 1] if number + 1 < len(self._cuts) else None
        with through(stream):
            session = Session([_images(table, first, last) for table in self._tables], self._steps)
            session.upload()
        return session


def _downloaded(leaving: "list[DetectionTable | Resident]", stream: Any) -> DetectionTable:
    with through(stream):
        return as_table(leaving[0])


def _cuts(tables: Sequence[DetectionTable], need: Need, memory: float) -> list[Any] | None:
    """Return the ids of the first image of each part; None if one image alone does not fit."""
    full = [table for table in tables if len(table)]
    ids = np.unique(np.concatenate([table.image_ids for table in full]))
    rows, masks = np.zeros((2, len(ids)), np.int64)
    for table in full:
        own = np.searchsorted(ids, table.image_ids)
        rows[own] += np.diff(table.image_start)
        if need.masks:
            masks[own] += np.diff(mask_bytes(table))
    before, masks_before = (np.concatenate(([0], np.cumsum(numbers))) for numbers in (rows, masks))
    cuts, first = [], 0
    while first < len(ids):
        cuts.append(ids[first])
        fitting, most = first, len(ids)
        while fitting < most:
            last = (fitting + most + 1) // 2
            size, held = (int(sums[last] - sums[first]) for sums in (before, masks_before))
            if need._replace(rows=size, images=last - first, masks=held).fits(memory):
                fitting = last
            else:
                most = last - 1
        if fitting == first:
            return None
        first = fitting
    return cuts


def _images(table: DetectionTable, first: Any, last: Any) -> DetectionTable:
    """Return the rows of the images from one id to before another, or to the end."""
    if not len(table):  # its ids may be of another kind
        return table
    low = int(np.searchsorted(table.image_ids, first))
    high = len(table.image_ids) if last is None else int(np.searchsorted(table.image_ids, last))
    begin, end = table.image_start[[low, high]].tolist()
    return replace(table, arrow=table.arrow.slice(begin, end - begin))


def _joined(answers: Sequence[DetectionTable]) -> DetectionTable:
    full = [answer for answer in answers if len(answer)] or list(answers[:1])
    if len(full) == 1:
        return full[0]
    arrow = pa.concat_tables([answer.arrow for answer in full]).unify_dictionaries()
    return DetectionTable.from_arrow(arrow, full[0].metadata, "fusion")
