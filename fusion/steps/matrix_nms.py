"""Matrix non-maximum suppression."""

from dataclasses import dataclass, field
from typing import ClassVar

from fusion.columns import Fused
from fusion.kernels.matrix import matrix_cells
from fusion.pool import Pool
from fusion.steps.base import check, parameter
from fusion.suppression import METHODS, suppress

__all__ = ["MatrixNms"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixNms:
    """Lower each score once, by the overlap with better boxes that are not covered themselves.

    Source: SOLOv2 (Wang 2020, arXiv 2003.10152, sec. 3.3), where it is of masks; here it is of the boxes of an (image,
    category) cell. With boxes by falling score, ties by row, the score of box j is multiplied by the least of

        f(IoU of i and j) / f(largest IoU of i with a box before i),    i before j,

    f(u) being 1 - u ("linear") or exp(-u^2 / sigma) ("gaussian"). The divisor is what is left of the evidence that i
    is there at all; with "linear" a box i that equals one before it has none, and lowers nothing.

    The lowered scores are what is returned. A box whose score is under `floor`, from the start or once it is lowered,
    is dropped.
    """

    cellwise: ClassVar[bool] = True

    method: str = field(default="gaussian", metadata=parameter("How scores fall.", choices=METHODS, typed="decay"))
    sigma: float = field(default=0.5, metadata=parameter("Width of the gaussian; without effect on linear.", above=0.0))
    floor: float = field(default=0.001, metadata=parameter("Boxes with a lower score are dropped.", low=0.0))

    def __post_init__(self) -> None:
        check(self)

    def fuse(self, pool: Pool, sources: bool = False) -> Fused:
        """Return what stays of the pool, in order of (cell, score descending, row)."""
        columns, how = pool.columns, (self.method == "gaussian", float(self.sigma), float(self.floor))
        return suppress(columns, lambda low, high, _, out: int(matrix_cells(columns, low, high, *how, out)), sources)
