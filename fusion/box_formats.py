"""The ways in which four numbers are a box, and pictures of other sizes than the data set's."""

import re
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from fusion.errors import InputError, option

__all__ = ["AS_IT_IS", "BOX_FORMATS", "BoxFormat", "Picture", "box_columns", "box_corners", "needs_sizes"]

_SUFFIX = "_normalized"
_DECIMALS = 9
BoxFormat = Literal[
    "xywh",
    "xyxy",
    "xyxy_inclusive",
    "cxcywh",
    "yxhw",
    "yxyx",
    "xywh_normalized",
    "xyxy_normalized",
    "cxcywh_normalized",
    "yxhw_normalized",
    "yxyx_normalized",
]
BOX_FORMATS: tuple[str, ...] = get_args(BoxFormat)


def box_corners(box: np.ndarray, box_format: str, size: np.ndarray | None) -> np.ndarray:
    """Return x1, y1, x2, y2 in pixels of boxes in a format.

    Args:
        box: float64 [n, 4].
        box_format: One of `BOX_FORMATS`. "xyxy_inclusive" counts pixels from 1 and has the last one inside, as Pascal
            VOC's own evaluation does, so that x1 and y1 are one less here. "cxcywh" has the centre, those that begin
            with y have the vertical coordinate first; with "_normalized" they are shares of the picture's width and
            height.
        size: [n, 2], height and width of each box's picture; only looked at for normalized ones.

    Returns:
        float64 [n, 4].
    """
    order = box_format.removesuffix(_SUFFIX)
    box = box[:, [1, 0, 3, 2]] if order.startswith("y") else box
    with np.errstate(over="ignore", invalid="ignore"):
        if order in ("xyxy", "yxyx"):
            corners = box.copy()
        elif order == "xyxy_inclusive":
            corners = box - np.array([1.0, 1.0, 0.0, 0.0])
        elif order == "cxcywh":
            corners = np.concatenate([box[:, :2] - box[:, 2:] / 2, box[:, :2] + box[:, 2:] / 2], axis=1)
        else:
            corners = np.concatenate([box[:, :2], box[:, :2] + box[:, 2:]], axis=1)
        if box_format.endswith(_SUFFIX) and size is not None:
            corners *= size[:, [1, 0, 1, 0]]
    return corners


def box_columns(
    box: np.ndarray, box_format: str, picture: "Picture", size: np.ndarray | None
) -> tuple[str, np.ndarray]:
    """Return boxes in pixels of the data set's pictures, as a table takes them; bits are kept where they can.

    Args:
        box: float64 [n, 4].
        box_format: One of `BOX_FORMATS`.
        picture: What was done to the pictures before.
        size: [n, 2], height and width of each box's picture; only looked at where `needs_sizes` says so.

    Returns:
        "xywh" or "xyxy", and float64 [n, 4].
    """
    if picture == AS_IT_IS:
        if box_format == "xywh":
            return "xywh", box
        if box_format == "yxhw":
            return "xywh", box[:, [1, 0, 3, 2]]
        if box_format == "cxcywh":
            return "xywh", np.concatenate([box[:, :2] - box[:, 2:] / 2, box[:, 2:]], axis=1)
        if box_format == "cxcywh_normalized" and size is not None:
            # pixels of up to nine decimals come back as they were before they were divided by the picture's sides
            sides = size[:, [1, 0]]
            extent = box[:, 2:] * sides
            return "xywh", np.round(np.concatenate([box[:, :2] * sides - extent / 2, extent], axis=1), _DECIMALS)
    return "xyxy", picture.undo(box_corners(box, box_format, size), size)


def needs_sizes(box_format: str, picture: "Picture") -> bool:
    """Tell whether boxes cannot be read without the sizes of their pictures."""
    return box_format.endswith(_SUFFIX) or picture.kind not in ("as_it_is", "scaled")


@dataclass(frozen=True)
class Picture:
    """What was done to a data set's pictures before the detector saw them.

    Attributes:
        kind: "scaled" by `width`, "stretched" to width x height, "fit" (scaled so that the longer side is at most
            `width` and the shorter at most `height`), "letterbox" (scaled into width x height, the rest filled on
            both sides alike), "mirrored" (left and right exchanged), "flipped" (top and bottom), or "as_it_is".
        width: Pixels, or the factor.
        height: Pixels.
    """

    kind: str = "as_it_is"
    width: float = 1.0
    height: float = 1.0

    @classmethod
    def parse(cls, text: str) -> "Picture":
        """Read a picture from its text: `mirrored`, `flipped`, `0.5`, `640x480`, `fit-1333x800`, `letterbox-640x640`.

        Raises:
            InputError: If it is none of these.
        """
        number = r"(\d+(?:\.\d+)?(?:e[-+]?\d+)?)"
        sides = re.fullmatch(rf"(fit-|letterbox-|){number}x{number}", text)
        picture = None
        if text in ("mirrored", "flipped", "as_it_is"):
            picture = cls(text)
        elif re.fullmatch(number, text):
            picture = cls("scaled", float(text), float(text))
        elif sides is not None:
            kind = sides[1].removesuffix("-") or "stretched"
            picture = cls(kind, float(sides[2]), float(sides[3]))
        if picture is None or not (0 < picture.width < 1e9 and 0 < picture.height < 1e9):
            raise InputError(
                f"option {option('picture')}",
                f"expected mirrored, flipped, a factor such as 0.5, or a size such as 640x480, fit-1333x800 or"
                f" letterbox-640x640, got {text!r}",
            )
        return picture

    def __str__(self) -> str:
        if self.kind == "scaled":
            return f"{self.width:.10g}"
        if self.kind in ("stretched", "fit", "letterbox"):
            kind = "" if self.kind == "stretched" else self.kind + "-"
            return f"{kind}{self.width:.10g}x{self.height:.10g}"
        return self.kind

    def undo(self, corners: np.ndarray, size: np.ndarray | None) -> np.ndarray:
        """Return where boxes of such a picture lie in the data set's picture.

        Args:
            corners: float64 [n, 4], x1, y1, x2, y2.
            size: [n, 2], height and width of the data set's picture of each box; not looked at for "scaled".

        Returns:
            float64 [n, 4].
        """
        if self.kind == "as_it_is" or (size is None and self.kind != "scaled"):
            return corners
        if self.kind == "scaled" or size is None:
            return corners / self.width
        height, width = size[:, 0].astype(np.float64), size[:, 1].astype(np.float64)
        if self.kind == "mirrored":
            return np.stack([width - corners[:, 2], corners[:, 1], width - corners[:, 0], corners[:, 3]], axis=1)
        if self.kind == "flipped":
            return np.stack([corners[:, 0], height - corners[:, 3], corners[:, 2], height - corners[:, 1]], axis=1)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            scale_x, scale_y, left, top = self._placed(height, width)
            x = (corners[:, 0::2] - left[:, None]) / scale_x[:, None]
            y = (corners[:, 1::2] - top[:, None]) / scale_y[:, None]
        return np.stack([x[:, 0], y[:, 0], x[:, 1], y[:, 1]], axis=1)

    def _placed(self, height: np.ndarray, width: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return the factors across and down, and where the picture begins."""
        none = np.zeros(len(height))
        if self.kind == "scaled":
            return none + self.width, none + self.width, none, none
        if self.kind == "stretched":
            return self.width / width, self.height / height, none, none
        if self.kind == "fit":
            longer, shorter = np.maximum(height, width), np.minimum(height, width)
            scale = np.minimum(self.width / longer, self.height / shorter)
            return scale, scale, none, none
        scale = np.minimum(self.width / width, self.height / height)
        return scale, scale, (self.width - scale * width) / 2, (self.height - scale * height) / 2


AS_IT_IS = Picture()
