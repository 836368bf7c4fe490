"""The options of the COCO protocol."""

from dataclasses import dataclass

import numpy as np

from fusion.checks import one_of
from fusion.errors import InputError

__all__ = ["AREA_RANGES", "Coco"]

AREA_RANGES = {"all": (0.0, 1e10), "small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}
"""Area ranges in square pixels, bounds included on both sides: an area of 1024 is small and medium."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Coco:
    """The COCO protocol and its options; the defaults are the official ones.

    Attributes:
        iou_type: "bbox" or "segm".
        max_dets: Detections of a cell (image and category) that count, the best by score; several.
        use_cats: False pools all categories into one.
        iou_thresholds: Ascending, in (0, 1]; .5, .55 ... .95 by default.
        match_id_zero: pycocotools never counts a match with the annotation of id 0, since 0 means
            "no match" in it. True counts it as any other; False gives pycocotools' numbers.
    """

    iou_type: str = "bbox"
    max_dets: tuple[int, ...] = (1, 10, 100)
    use_cats: bool = True
    iou_thresholds: tuple[float, ...] | None = None
    match_id_zero: bool = False

    def __post_init__(self) -> None:
        one_of("iou_type", self.iou_type, ("bbox", "segm"))
        caps = tuple(self.max_dets)
        if not caps or any(not isinstance(cap, int) or cap < 1 for cap in caps) or len(set(caps)) < len(caps):
            raise InputError("option max_dets", f"expected different whole numbers of at least 1, got {caps!r}")
        object.__setattr__(self, "max_dets", tuple(sorted(caps)))
        thresholds = self.thresholds
        if thresholds.ndim != 1 or not thresholds.size or not np.all((thresholds > 0) & (thresholds <= 1)):
            raise InputError("option iou_thresholds", f"expected numbers in (0, 1], got {self.iou_thresholds!r}")
        if np.any(thresholds[1:] <= thresholds[:-1]):
            raise InputError("option iou_thresholds", f"expected ascending numbers, got {self.iou_thresholds!r}")

    @property
    def thresholds(self) -> np.ndarray:
        """float64 [t]; the official ones to the last bit (0.5 + 0.05 * i differs at two of them)."""
        given = np.linspace(0.5, 0.95, 10) if self.iou_thresholds is None else self.iou_thresholds
        return np.asarray(given, dtype=np.float64)
