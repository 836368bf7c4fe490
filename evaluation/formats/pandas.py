"""Frames of pandas with a row per box, columns told by their usual names."""

from typing import Any

import pyarrow as pa

from evaluation.files.box_tables import BoxColumns, results_of
from evaluation.formats.base import Format
from evaluation.formats.csv import plain_table
from evaluation.ground_truth import GroundTruth
from fusion.coco_results import RawResults
from fusion.errors import InputError
from fusion.table import DetectionTable

__all__ = ["PandasFormat"]


class PandasFormat(Format):
    """Frames as `csv` describes them."""

    title = "pandas frames, a row per box"

    def take(self, objects: Any) -> RawResults | None:
        """Take a frame."""
        if not (hasattr(objects, "columns") and hasattr(objects, "iloc")):
            return None
        where = "the frame"
        columns = BoxColumns([str(name) for name in objects.columns], where)
        texts, numbers = columns.texts, columns.numbers
        named = {str(name): objects[name] for name in objects.columns}
        arrays: dict[str, Any] = {}
        try:
            for name in texts:
                values = named[name].tolist()
                arrays[name] = pa.array([None if value != value else str(value) for value in values], pa.string())
            for name in numbers:
                arrays[name] = pa.array(named[name].to_numpy(dtype="float64"), pa.float64(), from_pandas=True)
        except (ValueError, TypeError) as error:
            raise InputError(where, f"expected numbers as scores and boxes ({error})", "Mend the frame") from error
        table = pa.table({name: pa.chunked_array([column]) for name, column in arrays.items()})
        return results_of(table, columns, where, "row {}".format)

    def give(self, table: DetectionTable, truth: GroundTruth | None) -> Any:
        """Return a frame of image_id, category_id, names where they are known, score, x, y, w, h."""
        return plain_table(table, truth).to_pandas()
