"""The background gate of expert models (mmfruit-openimages2019, sec. 5.4)."""

from torch import Tensor

__all__ = ["gated"]


def gated(boxes: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
    """Return the regions that are some category rather than background, and their scores.

    "If the background classification score is larger than all other foreground scores, then this RoI will not be sent
    to the bounding box regression step." No region's box depends on another's, so that it is the same to leave out the
    box of a region that has gone through the regression.

    Args:
        boxes: float32 [n, 4] or [n, classes, 4].
        scores: float32 [n, classes + 1], background first.
    """
    kept = scores[:, 0] <= scores[:, 1:].amax(1)
    return boxes[kept], scores[kept]
