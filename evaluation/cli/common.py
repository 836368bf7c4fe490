"""What the commands of package `evaluation` share: options, ground truth, chosen images."""

from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from cyclopts import Parameter

from evaluation.coco import evaluate
from evaluation.coco_json import read_coco
from evaluation.ground_truth import GroundTruth
from evaluation.result import CocoResult
from fusion.errors import InputError
from fusion.table import DetectionTable
from fusion.terminal import announcing_compilation, notes

__all__ = ["GroundTruthFile", "IouType", "Output", "measured", "on_images", "read_truth", "some_tables"]

Output = Annotated[Path, Parameter(name=("--output", "-o"))]
GroundTruthFile = Annotated[Path, Parameter(name=("--ground-truth", "-g"))]
IouType = Literal["bbox", "segm"]


def some_tables(tables: tuple[Path, ...], command: str) -> tuple[Path, ...]:
    """Return the tables named on the command line; none at all is an error."""
    if not tables:
        raise InputError(command, "no table was given", "Name one or several Parquet files or folders of parts")
    return tables


def read_truth(path: Path, images: Path | None) -> GroundTruth:
    """Read COCO annotations, of the listed images only if there is a list; what is unusual is printed."""
    truth = read_coco(path)
    notes(path, truth.notes)
    return truth if images is None else truth.subset(_read_images(images, truth))


def on_images(truth: GroundTruth, table: DetectionTable, images: Path | None) -> DetectionTable:
    """Leave out detections on other images, but only where the user chose images."""
    return table if images is None else table.select_images(truth.image_id)


def measured(path: Path, table: DetectionTable, truth: GroundTruth, **options: Any) -> CocoResult:
    """Evaluate a table; notes and errors name its file."""
    try:
        with announcing_compilation():
            result = evaluate(table, truth, **options)
    except InputError as error:
        raise InputError(f"{path}, {error.where}", error.problem, error.remedy) from error
    notes(path, result.notes)
    return result


def _read_images(path: Path, truth: GroundTruth) -> np.ndarray:
    try:
        lines = path.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(path, f"expected a text file with an image id per line ({error})") from error
    if truth.image_id.dtype == object:
        return np.array(lines, dtype=object)
    wrong = [line for line in lines if not line.lstrip("-").isdigit()]
    if wrong:
        raise InputError(path, f"expected integer image ids as in {truth.source}, got {wrong[0]!r}")
    return np.array([int(line) for line in lines], dtype=np.int64)
