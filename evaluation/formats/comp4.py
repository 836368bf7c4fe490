"""Pascal VOC's result files: comp4_det_test_car.txt, one per category, of lines `image score x1 y1 x2 y2`."""

import re
from pathlib import Path, PurePosixPath

import numpy as np

from evaluation.files.look import Look, stem_of
from evaluation.files.raw_columns import keyed, raw_columns
from evaluation.files.scored_corners import read_scored_corners
from evaluation.formats.base import Format, Progress
from fusion.coco_results import RawResults, Reading, Vocabulary
from fusion.coco_results.raw import RecordKey
from fusion.errors import option

__all__ = ["Comp4Format"]

_NAME = re.compile(r"comp[0-9]+_det_[^_]+_(.+)")


class Comp4Format(Format):
    """Result files of VOC's competitions 3 and 4."""

    title = "Pascal VOC results (comp4), a text file per category"

    def recognises(self, look: Look) -> int:
        """Go by the names of the files."""
        return 2 * any(_NAME.fullmatch(PurePosixPath(stem_of(name)).name) for name in look.ending(".txt"))

    def results(
        self, path: Path, vocabulary: Vocabulary | None, reading: Reading, progress: Progress | None
    ) -> RawResults:
        """Read the files; corners as they stand."""
        look = Look.at(path)
        folder, names = (path, look.ending(".txt")) if look.folder else (path.parent, [path.name])
        found = read_scored_corners(folder, names, "VOC results", "image score x1 y1 x2 y2")
        images, image = keyed(found.word, "text")
        stems = [PurePosixPath(stem_of(name)).name for name in names]
        titles = [match[1] if (match := _NAME.fullmatch(stem)) else stem for stem in stems]
        columns = raw_columns(
            images=images,
            image=image,
            categories=[RecordKey(None, title) for title in titles],
            category=found.rows.file,
            score=found.score,
            box=found.box,
        )
        notes = [
            "corners are taken as they stand; if they count pixels from 1, both ends inside, as VOC's own evaluation"
            f" does, read them with {option('box_format', 'xyxy_inclusive')}"
        ]
        notes = notes if len(found.score) and np.all(found.box[:, :2] >= 1) and reading.box_format is None else []
        return RawResults.of(str(path), columns, native="xyxy", notes=notes, place=found.rows.within)
