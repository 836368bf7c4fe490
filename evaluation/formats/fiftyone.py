"""FiftyOne: the samples of a dataset or view with a field of detections."""

from pathlib import PurePosixPath
from typing import Any

import numpy as np

from evaluation.files.image_rows import ImageNames, category_names
from evaluation.files.per_image import OfImage, gathered
from evaluation.files.table_pieces import TablePieces
from evaluation.formats.base import Format
from evaluation.ground_truth import GroundTruth
from fusion.coco_results import RawResults
from fusion.errors import InputError
from fusion.table import DetectionTable

__all__ = ["FiftyoneFormat"]


class FiftyoneFormat(Format):
    """Samples with detections that have a confidence; boxes are shares of the picture's sides."""

    title = "FiftyOne datasets and views"

    def take(self, objects: Any) -> RawResults | None:
        """Take a dataset or view with one field of detections with confidence."""
        if not hasattr(objects, "iter_samples"):
            return None
        fields: dict[str, dict[str, OfImage]] = {}
        for sample in objects.iter_samples():
            for name in sample.field_names:
                value = sample[name]
                found = getattr(value, "detections", None)
                if found is None or any(one.confidence is None for one in found):
                    continue
                own = fields.setdefault(name, {})
                box, score = [one.bounding_box for one in found], [one.confidence for one in found]
                own[_image(sample.filepath)] = OfImage(box, score, [one.label for one in found])
        fields = {name: own for name, own in fields.items() if any(len(one.score) for one in own.values())}
        if len(fields) != 1:
            got = f"fields {', '.join(sorted(fields))}" if fields else "none"
            problem = f"expected one field of detections with a confidence, got {got}"
            raise InputError("the samples", problem, "Select it with view.select_fields(...)")
        [(name, images)] = fields.items()
        return gathered(images, f"field {name!r} of the samples", "xywh_normalized")

    def give(self, table: DetectionTable, truth: GroundTruth | None) -> dict[str, Any]:
        """Return Detections by the names of the files, to be set as a field of the samples of these names."""
        try:
            from fiftyone import Detection, Detections
        except ImportError as error:
            raise InputError("fiftyone", "is not installed", "pip install fiftyone") from error
        shares = table.metadata.unit == "normalized"
        names = category_names(TablePieces(table), truth, self.name)
        score, category, box = table.score.astype(np.float64), table.category_id, table.xywh.astype(np.float64)
        found = {}
        for image in ImageNames(truth, self.name, sizes=not shares).of(table):
            sides = np.ones(4) if shares else np.tile([image.width, image.height], 2)
            rows = zip(
                category[image.rows].tolist(),
                score[image.rows].tolist(),
                (box[image.rows] / sides).tolist(),
                strict=True,
            )
            found[image.name] = Detections(
                detections=[Detection(label=names[c], confidence=s, bounding_box=b) for c, s, b in rows]
            )
        return found


def _image(path: str) -> str:
    return str(PurePosixPath(str(path).replace("\\", "/")))
