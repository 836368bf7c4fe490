"""Which protocol a command measures by, and its options."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from fusion.errors import InputError

if TYPE_CHECKING:
    from evaluation.protocol import Coco, Lvis, OpenImages

__all__ = ["OFFICIAL", "IouType", "ProtocolName", "ProtocolOptions", "protocol_of"]

IouType = Literal["bbox", "segm"]
ProtocolName = Literal["coco", "lvis", "openimages"]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ProtocolOptions:
    """Departures from a protocol's official options.

    Attributes:
        max_dets: coco: detections per image and category that count, numbers with commas between, 1,10,100 by default;
            lvis: per image, 300 by default; openimages: per image and category, 10000 by default.
        use_cats: coco. Off: all categories are one.
        match_id_zero: coco, lvis. Let annotation id 0 be matched: the official code never does, and so neither do we.
        fixed_ap: lvis. No cap per image, but the best 10,000 detections of each category.
        group_of_weight: openimages. What a group-of box counts, 1 by default.
    """

    max_dets: str | None = None
    use_cats: bool = True
    match_id_zero: Annotated[bool, Parameter(negative="")] = False
    fixed_ap: Annotated[bool, Parameter(negative="")] = False
    group_of_weight: float | None = None

    @property
    def given(self) -> dict[str, str]:
        """What is not as the protocol has it: options by name, and their values as they were typed."""
        values = {
            "--max-dets": self.max_dets,
            "--no-use-cats": None if self.use_cats else "",
            "--match-id-zero": "" if self.match_id_zero else None,
            "--fixed-ap": "" if self.fixed_ap else None,
            "--group-of-weight": None if self.group_of_weight is None else str(self.group_of_weight),
        }
        return {name: value for name, value in values.items() if value is not None}

    def __str__(self) -> str:
        return " ".join(f"{name} {value}".strip() for name, value in self.given.items())


OFFICIAL = ProtocolOptions()
_KNOWN = {
    "coco": ("--max-dets", "--no-use-cats", "--match-id-zero"),
    "lvis": ("--max-dets", "--match-id-zero", "--fixed-ap"),
    "openimages": ("--max-dets", "--group-of-weight"),
}


def protocol_of(
    name: ProtocolName, iou_type: IouType, options: ProtocolOptions = OFFICIAL
) -> "Coco | Lvis | OpenImages":
    """Make the protocol; an option of another protocol is an error."""
    from evaluation.protocol import Coco, Lvis, OpenImages

    for option in options.given:
        if option not in _KNOWN[name]:
            raise InputError(f"option {option}", f"does not go with --protocol {name}", "Leave it out")
    caps = () if options.max_dets is None else _caps(options.max_dets)
    zero = options.match_id_zero
    if name == "coco":
        return Coco(iou_type=iou_type, max_dets=caps or (1, 10, 100), use_cats=options.use_cats, match_id_zero=zero)
    if len(caps) > 1:
        raise InputError("option --max-dets", f"expected one number with --protocol {name}, got {options.max_dets!r}")
    cap = {"max_dets": caps[0]} if caps else {}
    if name == "lvis":
        return Lvis(iou_type=iou_type, fixed_ap=options.fixed_ap, match_id_zero=zero, **cap)
    if options.group_of_weight is None:
        return OpenImages(iou_type=iou_type, **cap)
    return OpenImages(iou_type=iou_type, group_of_weight=options.group_of_weight, **cap)


def _caps(text: str) -> tuple[int, ...]:
    caps = text.split(",")
    if not all(re.fullmatch(" *[0-9]{1,9} *", cap) for cap in caps):
        raise InputError("option --max-dets", f"expected whole numbers with commas between, got {text!r}")
    return tuple(int(cap) for cap in caps)
