"""A list of likely label errors, to be checked by a person."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from evaluation.ground_truth import GroundTruth
from fusion.atomic import replacing
from fusion.errors import InputError
from fusion.printed_table import PrintedColumn, PrintedTable, notebook_html

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["KINDS_OF_ERRORS", "Suspects", "check_ending"]

KINDS_OF_ERRORS = {
    "missing_label": "members find an object that is not annotated",
    "spurious_label": "nobody finds the annotated object",
    "wrong_category": "members agree on another category",
    "loose_box": "members agree on another box",
}
"""Kinds of likely label errors, and what each says."""


@dataclass(frozen=True, eq=False)
class Suspects:
    """Likely label errors, the likeliest first; n of them.

    Attributes:
        ground_truth: Where they are.
        kind: object [n], keys of `KINDS_OF_ERRORS`.
        score: float64 [n], in [0, 1], falling.
        image: int32 [n], index into the images.
        annotation: int64 [n], index into the annotations; -1 for a missing label.
        category: int32 [n], index into the categories of what members say; the annotated one where they say none.
        xywh: float64 [n, 4], the box that members say, in pixels; the annotated one where they say none.
        members: int64 [n], how many members speak for it.
    """

    ground_truth: GroundTruth
    kind: np.ndarray
    score: np.ndarray
    image: np.ndarray
    annotation: np.ndarray
    category: np.ndarray
    xywh: np.ndarray
    members: np.ndarray

    def __len__(self) -> int:
        return len(self.score)

    def __repr__(self) -> str:
        counts = {kind: int((self.kind == kind).sum()) for kind in KINDS_OF_ERRORS}
        return f"Suspects({', '.join(f'{count:,} {kind}' for kind, count in counts.items())})"

    def _repr_html_(self) -> str:
        return notebook_html(self, self.to_table())

    def only(self, kind: str | None = None, *, least: float = 0.0) -> "Suspects":
        """Return those of one kind, or of all, with at least some score."""
        keep = (self.score >= least) & (True if kind is None else self.kind == kind)
        columns = (self.kind, self.score, self.image, self.annotation, self.category, self.xywh, self.members)
        return Suspects(self.ground_truth, *(column[keep] for column in columns))

    def to_frame(self) -> "pd.DataFrame":
        """Return a row per suspect, the likeliest first.

        kind, score, image_id, file_name; annotation_id, annotated (category) and annotated_x, _y, _w, _h of the
        annotation, missing for a missing label; category_id, category, x, y, w, h of what members say; members.
        """
        import pandas as pd

        return pd.DataFrame(self._columns())

    def _columns(self) -> dict[str, Any]:
        truth = self.ground_truth
        there = self.annotation >= 0
        names = np.array(truth.category_name, dtype=object)
        if len(truth):
            row = np.where(there, self.annotation, 0)
            annotated = np.where(there[:, None], truth.xywh[row], np.nan)
            ids = [int(truth.annotation_id[i]) if known else None for i, known in zip(row, there, strict=True)]
            categories = [names[truth.category[i]] if known else None for i, known in zip(row, there, strict=True)]
        else:
            annotated, ids, categories = np.full((len(self), 4), np.nan), [None] * len(self), [None] * len(self)
        return {
            "kind": self.kind,
            "score": self.score,
            "image_id": truth.image_id[self.image],
            "file_name": truth.file_name[self.image],
            "annotation_id": np.array(ids, dtype=object),
            "annotated": np.array(categories, dtype=object),
            **{f"annotated_{side}": annotated[:, place] for place, side in enumerate("xywh")},
            "category_id": truth.category_id[self.category],
            "category": names[self.category],
            **{side: self.xywh[:, place] for place, side in enumerate("xywh")},
            "members": self.members,
        }

    def to_table(self) -> PrintedTable:
        """Return how many there are of each kind, as a table to print."""
        columns = [PrintedColumn("kind"), PrintedColumn("suspects", ",", right=True)]
        table = PrintedTable([*columns, PrintedColumn("highest score", ".3f", right=True), PrintedColumn("meaning")])
        for kind, meaning in KINDS_OF_ERRORS.items():
            scores = self.score[self.kind == kind]
            table.rows.append([kind, len(scores), float(scores[0]) if len(scores) else None, meaning])
        return table

    def to_coco(self) -> dict[str, Any]:
        """Return ground truth in COCO's form with suspects as its annotations: the boxes and categories members say.

        An annotation has a `suspect` with `kind`, `score`, `members` and the `annotation_id` that is doubted (null for
        a missing label). Images without suspects are left out.
        """
        truth = self.ground_truth
        columns = self._columns()
        shown = np.unique(self.image)
        return {
            "images": [
                {
                    "id": key,
                    "file_name": name,
                    "width": width,
                    "height": height,
                }
                for key, name, width, height in zip(
                    truth.image_id[shown].tolist(),
                    truth.file_name[shown].tolist(),
                    truth.width[shown].tolist(),
                    truth.height[shown].tolist(),
                    strict=True,
                )
            ],
            "categories": [
                {"id": key, "name": name}
                for key, name in zip(truth.category_id.tolist(), truth.category_name, strict=True)
            ],
            "annotations": [
                {
                    "id": number,
                    "image_id": image,
                    "category_id": category,
                    "bbox": box,
                    "area": box[2] * box[3],
                    "iscrowd": 0,
                    "suspect": {"kind": kind, "score": score, "members": members, "annotation_id": annotation},
                }
                for number, (image, category, box, kind, score, members, annotation) in enumerate(
                    zip(
                        columns["image_id"].tolist(),
                        columns["category_id"].tolist(),
                        self.xywh.tolist(),
                        self.kind.tolist(),
                        self.score.tolist(),
                        self.members.tolist(),
                        columns["annotation_id"].tolist(),
                        strict=True,
                    ),
                    1,
                )
            ],
        }

    def write(self, path: Path) -> None:
        """Write the list as CSV, with the columns of `to_frame`, or as COCO JSON, by the ending of the name.

        Raises:
            InputError: If the ending is neither, or the place cannot be written to.
        """
        check_ending(path)
        if path.suffix.lower() == ".json":
            content = msgspec.json.encode(self.to_coco())
        else:
            columns, sink = self._columns(), io.StringIO()
            writer = csv.writer(sink, lineterminator="\n")
            writer.writerow(columns)
            for row in zip(*(column.tolist() for column in columns.values()), strict=True):
                writer.writerow(["" if value is None or value != value else value for value in row])
            content = sink.getvalue().encode()
        with replacing(path) as temporary:
            temporary.write_bytes(content)


def check_ending(path: Path) -> None:
    """Require a name that says how suspects are written.

    Raises:
        InputError: If it does not.
    """
    if path.suffix.lower() not in (".csv", ".json"):
        raise InputError(path, f"expected a name that ends in .csv or .json, got {path.suffix or 'no ending'}")
