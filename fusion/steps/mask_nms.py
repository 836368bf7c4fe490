"""Hard suppression by the overlap of masks."""

from dataclasses import dataclass

from fusion.checks import within
from fusion.columns import Fused
from fusion.kernels.mask_suppress import mask_nms_cells
from fusion.kernels.suppress import Picked, Scratch
from fusion.masks import pool_masks, unreadable
from fusion.pool import Pool, Tables
from fusion.run import apply
from fusion.suppression import suppress
from fusion.table import DetectionTable

__all__ = ["MaskNms", "mask_nms"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskNms:
    """Greedy hard suppression within each (image, category) cell by the IoU of masks.

    Detections are taken by score, ties by row; one is kept unless the IoU of its mask with that of one kept
    before it is above the threshold (equal is not above). The IoU is pycocotools': shared pixels over covered
    ones. A detection without a mask, or with an empty one, shares no pixel: it is kept and suppresses nothing.
    Soft masks do not count; `vote_masks` without voters pastes them.

    Attributes:
        iou: Threshold in [0, 1].
    """

    iou: float = 0.5

    def __post_init__(self) -> None:
        within("iou", self.iou, 0.0, 1.0)

    def fuse(self, pool: Pool, sources: bool = False) -> Fused:
        """Return the kept detections, in order of (cell, score descending, row); sources as `Nms` gives them.

        Raises:
            InputError: If a mask cannot be read, or masks of one image differ in size.
        """
        masks = pool_masks(pool)
        columns, threshold = pool.columns, float(self.iou)

        def kernel(low: int, high: int, _work: Scratch, out: Picked) -> int:
            left: int = mask_nms_cells(columns, low, high, threshold, masks.text, masks.masked, out)
            if left < 0:
                raise unreadable(pool, masks, -1 - left)
            return left

        return suppress(columns, kernel, sources)


def mask_nms(tables: Tables, *, iou: float = 0.5, device: str = "cpu") -> DetectionTable:
    """Keep the detections whose mask no better one of their image and category covers; see `MaskNms`.

    Args:
        tables: One table or several; several are pooled.
        iou: A detection whose mask's IoU with a kept one's is above this is dropped.
        device: "cpu", "cuda", or "auto"; see `fusion.apply`.

    Returns:
        The kept rows, unchanged.

    Raises:
        InputError: If `iou` is not in [0, 1], a mask cannot be read, or the tables do not go together.
    """
    return apply(MaskNms(iou=iou), tables, device=device)
