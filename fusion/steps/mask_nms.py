"""Hard suppression by the overlap of masks."""

from dataclasses import dataclass, field

from fusion.across import across_categories
from fusion.columns import Fused
from fusion.kernels.mask_suppress import mask_nms_cells
from fusion.kernels.suppress import NmsScratch, Picked
from fusion.masks import pool_masks, unreadable
from fusion.pool import Pool
from fusion.steps.base import check, parameter
from fusion.suppression import suppress

__all__ = ["MaskNms"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskNms:
    """Greedy hard suppression within each (image, category) cell by the IoU of masks.

    Detections are taken by score, ties by row; one is kept unless the IoU of its mask with that of one kept
    before it is above the threshold (equal is not above). The IoU is pycocotools': shared pixels over covered
    ones. A detection without a mask, or with an empty one, shares no pixel: it is kept and suppresses nothing.
    Soft masks do not count; `vote_masks` without voters pastes them. `across_categories` is that of `Nms`.
    """

    iou: float = field(
        default=0.5,
        metadata=parameter(
            "A detection whose mask's IoU with a kept one's is above this is dropped.", low=0.0, high=1.0
        ),
    )
    across_categories: bool = field(
        default=False,
        metadata=parameter("Suppress masks of any category; the category of highest summed score stays."),
    )

    def __post_init__(self) -> None:
        check(self)

    def fuse(self, pool: Pool, sources: bool = False) -> Fused:
        """Return the kept detections, in order of (cell, score descending, row); sources as `Nms` gives them.

        Raises:
            InputError: If a mask cannot be read, or masks of one image differ in size.
        """
        if self.across_categories:
            return across_categories(self, pool, sources)
        masks = pool_masks(pool)
        columns, threshold = pool.columns, float(self.iou)

        def kernel(low: int, high: int, _work: NmsScratch, out: Picked) -> int:
            left: int = mask_nms_cells(columns, low, high, threshold, masks.text, masks.masked, out)
            if left < 0:
                raise unreadable(pool, masks.text, -1 - left)
            return left

        return suppress(columns, kernel, sources)
