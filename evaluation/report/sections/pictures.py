"""The images on which an entry is worst, and those on which it is most improved, as pictures."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from evaluation.report.blocks import Choice, PageBlock, PagePicture, PagePictures
from evaluation.report.material import Material
from evaluation.report.page import Section

if TYPE_CHECKING:
    from evaluation.pictures import Shown

__all__ = ["section"]

_EACH = 10
_BYTES = 250_000  # of a picture: 20 of them take 7 MB of a page


def section(material: Material) -> Section | None:
    """Return the ten worst and the ten most improved images."""
    gallery = material.gallery
    if gallery is None:
        return None
    subject = gallery.verdicts[gallery.subject].name
    chosen = {f"worst of {subject}": gallery.worst(_EACH)}
    if len(gallery.verdicts) > 1:
        rival = gallery.verdicts[gallery.rival].name
        chosen[f"{subject} most improved over {rival}"] = gallery.most_improved(_EACH)
    blocks: dict[str, PageBlock] = {what: _drawn(shown) for what, shown in chosen.items() if shown}
    if not blocks:
        return None
    lead = f"The ground truth and each entry at its score of highest F1, at IoU {gallery.iou:g}."
    if gallery.folder is None:
        lead += " On empty frames: no folder of pictures was given."
    return Section("Pictures", [Choice("Images", blocks)], lead)


def _drawn(chosen: "Sequence[Shown]") -> PagePictures:
    from evaluation.pictures import jpeg_bytes

    return PagePictures(
        [PagePicture(jpeg_bytes(one.draw(), _BYTES), "image/jpeg", one.alt, one.title) for one in chosen]
    )
