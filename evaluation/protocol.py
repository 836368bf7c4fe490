"""The evaluation protocols and their options."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fusion.checks import at_least, one_of, within
from fusion.errors import InputError, option

__all__ = ["AREA_RANGES", "FIXED_AP_DETECTIONS", "RECALLS", "Coco", "Lvis", "OpenImages"]

AREA_RANGES = {"all": (0.0, 1e10), "small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}
"""Area ranges in square pixels, bounds included on both sides: an area of 1024 is small and medium."""

RECALLS = np.linspace(0.0, 1.0, 101)
"""float64 [101], the recalls at which COCO and LVIS read precision."""

FIXED_AP_DETECTIONS = 10_000
"""Detections of a category that count in LVIS's fixed AP."""


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

    name: ClassVar[str] = "coco"

    iou_type: str = "bbox"
    max_dets: tuple[int, ...] = (1, 10, 100)
    use_cats: bool = True
    iou_thresholds: tuple[float, ...] | None = None
    match_id_zero: bool = False

    def __post_init__(self) -> None:
        one_of("iou_type", self.iou_type, ("bbox", "segm"))
        caps = tuple(self.max_dets)
        if not caps or any(not isinstance(cap, int) or cap < 1 for cap in caps) or len(set(caps)) < len(caps):
            raise InputError(
                f"option {option('max_dets')}", f"expected different whole numbers of at least 1, got {caps!r}"
            )
        object.__setattr__(self, "max_dets", tuple(sorted(caps)))
        thresholds = self.thresholds
        if thresholds.ndim != 1 or not thresholds.size or not np.all((thresholds > 0) & (thresholds <= 1)):
            raise InputError(
                f"option {option('iou_thresholds')}", f"expected numbers in (0, 1], got {self.iou_thresholds!r}"
            )
        if np.any(thresholds[1:] <= thresholds[:-1]):
            raise InputError(
                f"option {option('iou_thresholds')}", f"expected ascending numbers, got {self.iou_thresholds!r}"
            )

    @property
    def thresholds(self) -> np.ndarray:
        """float64 [t]; the official ones to the last bit (0.5 + 0.05 * i differs at two of them)."""
        given = np.linspace(0.5, 0.95, 10) if self.iou_thresholds is None else self.iou_thresholds
        return np.asarray(given, dtype=np.float64)

    @property
    def caps(self) -> tuple[int, ...]:
        """Detections of a cell that count."""
        return self.max_dets


@dataclass(frozen=True, slots=True, kw_only=True)
class Lvis:
    """The LVIS protocol (lvis-api 0.5.3): COCO's figures with federated labels, and AP by frequency group.

    Attributes:
        iou_type: "bbox" or "segm".
        max_dets: Detections of an image that count, the best by score, whatever their categories.
        fixed_ap: No cap per image, instead the best 10,000 detections of each category count. It is
            what open-vocabulary detectors report, as the cap per image rewards calibration across categories.
        match_id_zero: As in `Coco`; lvis-api does not count a match with annotation id 0 either.
    """

    name: ClassVar[str] = "lvis"

    iou_type: str = "bbox"
    max_dets: int = 300
    fixed_ap: bool = False
    match_id_zero: bool = False

    def __post_init__(self) -> None:
        one_of("iou_type", self.iou_type, ("bbox", "segm"))
        if not isinstance(self.max_dets, int) or self.max_dets < 1:
            raise InputError(
                f"option {option('max_dets')}", f"expected a whole number of at least 1, got {self.max_dets!r}"
            )

    @property
    def use_cats(self) -> bool:
        """Categories are never pooled."""
        return True

    @property
    def thresholds(self) -> np.ndarray:
        """float64 [10], the IoU thresholds."""
        return np.linspace(0.5, 0.95, 10)

    @property
    def caps(self) -> tuple[int, ...]:
        """Detections of a cell that count: all that the cut of the image or category leaves."""
        return (FIXED_AP_DETECTIONS if self.fixed_ap else self.max_dets,)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenImages:
    """The Open Images Challenge protocol and its options; the defaults are those of the official evaluator.

    Attributes:
        iou_type: "bbox" for object detection, "segm" for instance segmentation.
        iou_threshold: In (0, 1]: least IoU of a true positive, and least share of a detection that has to
            lie in a group-of region for it to be absorbed.
        group_of_weight: What a group-of region counts, in [0, 1]. 0 leaves regions and what they absorb
            out, as in the V2 metric.
        max_dets: Detections of an image and category that count, the best by score.
    """

    name: ClassVar[str] = "openimages"

    iou_type: str = "bbox"
    iou_threshold: float = 0.5
    group_of_weight: float = 1.0
    max_dets: int = 10_000

    def __post_init__(self) -> None:
        one_of("iou_type", self.iou_type, ("bbox", "segm"))
        within("iou_threshold", self.iou_threshold, 0, 1)
        within("group_of_weight", self.group_of_weight, 0, 1)
        at_least("max_dets", self.max_dets, 1, whole=True)
        if self.iou_threshold == 0:
            raise InputError(f"option {option('iou_threshold')}", "expected a number above 0, got 0")
