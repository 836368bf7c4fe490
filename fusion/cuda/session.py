"""One fusion on the GPU: tables are uploaded once, fused step by step, and downloaded once."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from fusion.agreement import check_agreement
from fusion.corners import FAR
from fusion.cuda.kernels.cells import MOST_CELLS, Rows, rows_like
from fusion.cuda.kernels.device import out_of_memory, to_device
from fusion.cuda.kernels.rescore import copy_rows
from fusion.cuda.masking import mask_bytes, upload_masks
from fusion.cuda.resident import CARRIED, NUMBERS, GpuPool, Origins, Resident, UnsuitableError
from fusion.cuda.steps import twin_of
from fusion.dense import dense, distinct
from fusion.errors import InputError
from fusion.members import name_members
from fusion.on_cpu import fuse_tables
from fusion.parents import ancestors_of
from fusion.steps.base import Step
from fusion.steps.expand_hierarchy import ExpandHierarchy
from fusion.steps.mask_nms import MaskNms
from fusion.steps.nmw import Nmw
from fusion.steps.prob_fusion import ProbFusion
from fusion.steps.select_views import SelectViews
from fusion.steps.vote import Vote
from fusion.steps.vote_masks import VoteMasks
from fusion.steps.wbf import Wbf
from fusion.table import DetectionTable

__all__ = ["SMALLER", "Apply", "Need", "Session", "Work", "as_table", "memory_for"]

# An upper bound of what is on the GPU at once: a row as it was uploaded (70 bytes), pooled (70), sorted (70), what
# `wbf`, the largest operator, works with (120), and its answer (116).
_BYTES_PER_ROW = 450
_BYTES_PER_CELL = 16
# Steps whose answer has no soft masks. A soft mask belongs to its box, so rows on the GPU cannot have one that was
# for another box; other steps get tables with soft masks on the CPU.
_WITHOUT_SOFT = {Nmw, ProbFusion, Vote, VoteMasks, Wbf}
# What to do where the memory is too small.
SMALLER = "Keep the tables as folders of parts, which are fused one at a time; or use --device cpu"

# What there is to do, by means of a function that runs one step on some inputs.
Apply = Callable[[Step, Any], Any]
Work = Callable[[Apply, Sequence[DetectionTable]], Any]


class Need(NamedTuple):
    """What a fusion takes on the GPU.

    Attributes:
        rows: Of all tables.
        images: Number of images.
        categories: Number of categories.
        copies: How many rows may come of one.
        masks: Bytes for masks, if a step is on them.
    """

    rows: int
    images: int
    categories: int
    copies: int
    masks: int

    @property
    def bytes(self) -> int:
        """An upper bound of the memory."""
        rows, cells = self.rows * self.copies, self.images * self.categories
        return rows * _BYTES_PER_ROW + cells * _BYTES_PER_CELL + self.masks

    def fits(self, memory: float) -> bool:
        """Whether it can be done at once."""
        countable = self.rows * self.copies < 2**31 and self.images * self.categories <= MOST_CELLS
        return countable and self.bytes <= memory


class Session:
    """Runs steps on the GPU where they have a twin, and on the CPU where they have none.

    Args:
        tables: All tables of the fusion.
        steps: All its steps: those that make new categories tell which.
        remedy: What to do where a step finds the memory used up.

    Attributes:
        tables: As given.
        need: Bounds of what the fusion takes.
        origins: What the rows on the GPU refer to.
    """

    def __init__(self, tables: Sequence[DetectionTable], steps: Sequence[Step] = (), remedy: str = SMALLER) -> None:
        self.tables, self._remedy = tuple(tables), remedy
        full = [table for table in tables if len(table)]
        self._id_types = {table.arrow["image_id"].type for table in full}
        images = categories = np.zeros(0, np.int64)
        if len(self._id_types) == 1:  # other tables are refused by the step that pools them
            images = np.unique(np.concatenate([table.image_ids for table in full]))
            categories = np.unique(np.concatenate([distinct(table.category_id) for table in full]))
        categories, copies = _with_ancestors(categories, steps)
        self._steps = tuple(steps)
        self._masks = any(isinstance(step, (MaskNms, SelectViews, VoteMasks)) for step in steps)
        masks = sum(int(mask_bytes(table)[-1]) for table in full) if self._masks else 0
        self.need = Need(sum(map(len, full)), len(images), len(categories), copies, masks)
        self.origins = Origins(images, categories.astype(np.int32))
        self._uploaded: dict[int, Resident] = {}
        self._rows = 0

    def upload(self) -> None:
        """Put those tables on the GPU that can be there."""
        with memory_for("its tables"):
            for table in self.tables:
                if self._fits(table, self._steps):
                    self._upload(table)
            if self._masks and self.origins.tables:
                upload_masks(self.origins)

    def fuse(self, work: Work) -> DetectionTable:
        """Do all the work on the tables and return its table."""
        return as_table(work(self.apply, self.tables))

    def apply(self, step: Step, inputs: "Sequence[DetectionTable | Resident]") -> "DetectionTable | Resident":
        """Run one step; its answer stays on the GPU if it was made there.

        Raises:
            InputError: If the tables do not go together, or the step refuses them.
        """
        twin = twin_of(step)
        if twin is not None and any(map(len, inputs)) and all(self._fits(table, [step]) for table in inputs):
            try:
                with memory_for(type(step).__name__, self._remedy):
                    return twin(step, self._pool(inputs, shared=getattr(step, "shares_members", False)))
            except UnsuitableError:  # the CPU says what is wrong
                pass
        return fuse_tables(step, [table if isinstance(table, DetectionTable) else table.to_table() for table in inputs])

    def _fits(self, table: "DetectionTable | Resident", steps: Sequence[Step]) -> bool:
        """Whether a table can be on the GPU for one of some steps: nothing of it is lost, and its ids are known."""
        if isinstance(table, Resident) or not len(table):
            return True
        if "soft_mask" in table.arrow.column_names and not any(type(step) in _WITHOUT_SOFT for step in steps):
            return False
        if id(table) in self._uploaded:
            return True
        if table.arrow["image_id"].type not in self._id_types or len(self._id_types) > 1:
            return False
        known = np.isin(distinct(table.category_id), self.origins.category_ids).all()
        return bool(known and np.isin(table.image_ids, self.origins.image_ids).all())

    def _pool(self, inputs: "Sequence[DetectionTable | Resident]", *, shared: bool) -> GpuPool:
        residents = tuple(table if isinstance(table, Resident) else self._upload(table) for table in inputs)
        check_agreement(residents)
        members, codes = name_members(residents, [table.names for table in residents], shared=shared)
        rows = residents[0].rows
        if len(residents) > 1:
            size = sum(map(len, residents))
            votes = all("votes" in table.optional for table in residents)
            rows = rows_like(rows, size, votes=votes)
            first = 0
            for table, own in zip(residents, codes, strict=True):
                copy_rows(len(table), table.rows, to_device(own), first, rows)
                first += len(table)
        return GpuPool(residents, rows, members)

    def _upload(self, table: DetectionTable) -> Resident:
        """Put a table on the GPU, unless it is there."""
        if id(table) not in self._uploaded:
            self._uploaded[id(table)] = Resident(
                self.origins,
                self._rows_of(table),
                None if table.member is None else tuple(table.member.dictionary.to_pylist()),
                tuple(table.column(name).dtype for name in NUMBERS),
                frozenset(
                    name for name in (*FAR.values(), *CARRIED, "soft_mask", "votes") if name in table.arrow.column_names
                ),
                table.metadata,
            )
            # kept, so that no other table gets its id
            self.origins.tables.append(table)
            self._rows += len(table)
        return self._uploaded[id(table)]

    def _rows_of(self, table: DetectionTable) -> Rows:
        n = len(table)
        image = np.searchsorted(self.origins.image_ids, table.image_ids).astype(np.int32)
        member: Any = np.zeros(n, np.int16) if table.member is None else table.member.indices.to_numpy()
        votes = table.column("votes") if "votes" in table.arrow.column_names else np.zeros(0, np.int16)
        columns = (
            np.repeat(image, np.diff(table.image_start)),
            dense(table.category_id, self.origins.category_ids),
            *(table.column(name).astype(np.float64, copy=False) for name in NUMBERS),
            *map(table.far, FAR),
            member.astype(np.int16, copy=False),
            np.arange(self._rows, self._rows + n, dtype=np.int32),
            votes,
        )
        return Rows._make(map(to_device, columns))


def as_table(answer: "DetectionTable | Resident") -> DetectionTable:
    """Return an answer as a table."""
    return answer if isinstance(answer, DetectionTable) else answer.to_table()


@contextmanager
def memory_for(what: str, remedy: str = SMALLER) -> Iterator[None]:
    """Say in our words that the GPU's memory is used up, and what to do."""
    try:
        yield
    except Exception as error:
        if not out_of_memory(error):
            raise
        raise InputError("device cuda", f"its memory was used up by {what}", remedy) from error


def _with_ancestors(categories: np.ndarray, steps: Sequence[Step]) -> tuple[np.ndarray, int]:
    """Return the categories that there may be after all steps, and how many rows may come of one."""
    copies = 1
    for step in steps:
        if isinstance(step, ExpandHierarchy):
            ancestors = ancestors_of(step.parents)
            reach = [(category, *ancestors.get(category, ())) for category in categories.tolist()]
            copies *= max(map(len, reach), default=1)
            categories = np.array(sorted({category for row in reach for category in row}), np.int64)
    return categories, copies
