"""What is out of the ordinary about the detections that were evaluated, as numbers; words are made of them last."""

from typing import NamedTuple

from evaluation.protocol import Coco, Lvis
from fusion.errors import option

__all__ = ["Noticed", "protocol_notes"]


class Noticed(NamedTuple):
    """Numbers of detections; those of several tables or parts are added up.

    Attributes:
        unknown_category: Of categories that the ground truth does not have.
        without_mask: Without a mask where masks are measured.
        other_size: With a mask of another size than the ground truth's.
    """

    unknown_category: int = 0
    without_mask: int = 0
    other_size: int = 0

    def plus(self, other: "Noticed") -> "Noticed":
        """Return the sums."""
        return Noticed(*(one + more for one, more in zip(self, other, strict=True)))

    def texts(self) -> tuple[str, ...]:
        """Return what the reader of the figures has to know, in sentences."""
        sentences = (
            "detections are of categories that the ground truth does not have; they were dropped",
            "detections have no mask; their boxes were taken as masks",
            "detections have a mask of another size than the ground truth's; they match nothing",
        )
        return tuple(f"{count} {text}" for count, text in zip(self, sentences, strict=True) if count)


def protocol_notes(protocol: Coco | Lvis, has_zero: bool) -> tuple[str, ...]:
    """Return what the reader of figures has to know of a protocol's options and of ground truth with an id of 0."""
    notes = []
    if has_zero and not protocol.match_id_zero:
        notes.append(
            "an annotation has id 0, which the official code never counts as matched; its figure is reproduced "
            f"({option('match_id_zero', True)} counts it)"
        )
    if isinstance(protocol, Lvis) and not protocol.fixed_ap and protocol.max_dets != 300:
        notes.append(f"figures are for at most {protocol.max_dets} detections per image, not 300")
    if isinstance(protocol, Coco) and protocol.max_dets[-1] != 100:
        notes.append(f"figures are for at most {protocol.max_dets[-1]} detections per image and category, not 100")
    return tuple(notes)
