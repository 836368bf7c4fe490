"""CSV with a header and a row per box; columns are told by their usual names."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as arrow_csv

from evaluation.files.box_tables import BoxColumns, results_of
from evaluation.files.image_rows import left_out
from evaluation.files.look import Look
from evaluation.files.table_pieces import TablePieces
from evaluation.formats.base import Format, Progress
from evaluation.ground_truth import GroundTruth
from evaluation.open_images_csv.columns import TEXT, read_csv
from evaluation.truth_columns import places_of
from fusion.arrow_arrays import arrow_array
from fusion.atomic import replacing
from fusion.coco_results import RawResults, Reading, Vocabulary
from fusion.table import DetectionTable

__all__ = ["CsvFormat", "csv_header"]


class CsvFormat(Format):
    """CSV, as pandas writes the detections of YOLOv5, of AutoML tools, or of `quorum export csv`."""

    title = "CSV with a header, a row per box"

    def recognises(self, look: Look) -> int:
        """Take headers with columns of images, boxes and scores."""
        return int(not look.folder and BoxColumns.fit(csv_header(look)[0]))

    def results(
        self, path: Path, vocabulary: Vocabulary | None, reading: Reading, progress: Progress | None
    ) -> RawResults:
        """Read a file, with commas, semicolons or tabs between fields."""
        names, delimiter = csv_header(Look.at(path))
        columns = BoxColumns(names, str(path))
        types = dict.fromkeys(columns.texts, TEXT) | {name: pa.float64() for name in columns.numbers}
        file = read_csv(path, types, delimiter=delimiter)
        return results_of(file.table, columns, str(path), lambda row: f"line {file.lines[row]}")

    def write(self, table: TablePieces, path: Path, truth: GroundTruth | None) -> list[str]:
        """Write ids, names where they are known, scores and boxes, to the last bit."""
        nothing = plain_table(table.nothing, truth)
        with replacing(path) as temporary, arrow_csv.CSVWriter(temporary, nothing.schema) as writer:
            for piece in table:
                writer.write_table(plain_table(piece, truth))
        return left_out(table, "mask", "soft_mask", "member", "view", "votes")


def plain_table(table: DetectionTable, truth: GroundTruth | None) -> pa.Table:
    """Return the columns of a table that need no explanation, with names beside ids where they are known."""
    arrow = table.arrow
    ids = arrow["image_id"]
    columns = {"image_id": ids.cast(pa.string()) if pa.types.is_dictionary(ids.type) else ids}
    if truth is not None and any(truth.file_name):
        place = places_of(truth.image_id, table.image_ids)
        names = [str(truth.file_name[at]) if at >= 0 else "" for at in place.tolist()]
        columns["file_name"] = arrow_array(np.repeat(np.array(names, object), np.diff(table.image_start)), pa.string())
    columns["category_id"] = arrow["category_id"]
    if truth is not None:
        known = dict(zip(truth.category_id.tolist(), truth.category_name, strict=True))
        columns["category_name"] = pa.array(
            [known.get(number, "") for number in table.category_id.tolist()], pa.string()
        )
    columns |= {name: arrow[name].cast(pa.float64()) for name in ("score", "x", "y", "w", "h")}
    return pa.table(columns)


def csv_header(look: Look) -> tuple[list[str], str]:
    """Return the names of the columns, and what stands between fields."""
    line = look.lines[0].lstrip("\ufeff") if look.lines else ""
    delimiter = max((",", ";", "\t"), key=line.count)
    return [name.strip().strip('"') for name in line.split(delimiter)], delimiter
