"""Text with the score before the box: a file per image of lines `class score x1 y1 x2 y2`."""

import re
from pathlib import Path

import numpy as np

from evaluation.files.look import Look, stem_of
from evaluation.files.raw_columns import keyed, raw_columns
from evaluation.files.scored_corners import read_scored_corners
from evaluation.formats.base import Format, Progress
from fusion.coco_results import RawResults, Reading, Vocabulary
from fusion.coco_results.raw import RecordKey
from fusion.coco_results.vocabulary import OwnLists

__all__ = ["ScoredFormat"]

_NUMBER = r"[-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?"
_LINE = re.compile(rf"\S+(?:[ \t]+{_NUMBER}){{5}}[ \t]*")


class ScoredFormat(Format):
    """Text files of several tools that compute mAP: corners in pixels, or centre and size as shares."""

    title = "text of class, score and box, a file per image"

    def recognises(self, look: Look) -> int:
        """Take lines whose box cannot be YOLO's: in pixels, or outside the picture unless the score stands first."""
        if look.folder:
            heads = [look.into(name) for name in look.ending(".txt")[:200]]
            lines = [line for head in heads for line in head.lines[:50] if _LINE.fullmatch(line.strip())]
            return self._rank(lines) if all(_LINE.fullmatch(h.lines[0].strip()) for h in heads if h.lines) else 0
        lines = look.lines[:200]
        return self._rank(lines) if all(_LINE.fullmatch(line.strip()) for line in lines) else 0

    def _rank(self, lines: list[str]) -> int:
        if not lines:
            return 0
        numbers = np.array([line.split()[1:] for line in lines], np.float64)
        if np.abs(numbers[:, 1:]).max() > 1.5:
            return int(np.all((numbers[:, 0] >= 0) & (numbers[:, 0] <= 1)))
        # of shares: which of the two readings keeps more boxes in the picture
        return 2 * int(_inside(numbers[:, 1:5]) > _inside(numbers[:, 0:4]))

    def results(
        self, path: Path, vocabulary: Vocabulary | None, reading: Reading, progress: Progress | None
    ) -> RawResults:
        """Read the files."""
        look = Look.at(path)
        folder, names = (path, look.ending(".txt")) if look.folder else (path.parent, [path.name])
        found = read_scored_corners(folder, names, "text of detections", "class score x1 y1 x2 y2")
        shares = bool(len(found.box)) and float(np.abs(found.box).max()) <= 1.5
        categories, category = keyed(found.word)
        columns = raw_columns(
            images=[RecordKey(stem_of(name), None) for name in names],
            image=found.rows.file,
            categories=categories,
            category=category,
            score=found.score,
            box=found.box,
        )
        native = "cxcywh_normalized" if shares else "xyxy"
        listed = OwnLists({}, {}, {})
        return RawResults.of(str(path), columns, native=native, listed=listed, place=found.rows.within)


def _inside(box: np.ndarray) -> int:
    near, far = box[:, :2] - box[:, 2:] / 2, box[:, :2] + box[:, 2:] / 2
    return int(((near >= -0.01) & (far <= 1.01)).all(axis=1).sum())
