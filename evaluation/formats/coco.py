"""COCO: results as JSON lists or dictionaries, annotations with LVIS's extra fields."""

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from evaluation.coco_ground_truth import read_coco
from evaluation.files.class_names import names_beside
from evaluation.files.look import Look
from evaluation.files.table_pieces import TablePieces
from evaluation.formats.base import Format, Progress
from evaluation.ground_truth import GroundTruth
from fusion.coco_results import RawResults, Reading, Vocabulary, gather_coco_results, write_coco_results
from fusion.coco_results.category_join import COCO_IDS
from fusion.errors import InputError

__all__ = ["CocoFormat"]

# how pycocotools' users, detectron2, mmdetection, Ultralytics and SAHI name their results
_NAMED = re.compile(
    r"coco_instances_results|predictions|(.*\.)?(bbox|segm)|results?|detections?(_.*_results)?|.*_(bbox|segm)_results"
)
_ULTRALYTICS = "predictions"  # its category ids count the names of data.yaml from 1
_ANNOTATED = re.compile(r"_annotations\.coco|instances_.*|annotations|labels|.*\.coco")


class CocoFormat(Format):
    """COCO's JSON; LVIS's is the same with more."""

    title = "COCO JSON, as pycocotools, detectron2, mmdetection, Ultralytics, SAHI and torchmetrics have it; LVIS"

    def recognises(self, look: Look) -> int:
        """Take JSON that is no single picture's, and folders with a file of a usual name."""
        if look.folder:
            return 2 * bool(_files(look, _NAMED if look.wanted == "results" else _ANNOTATED))
        text = look.text.lstrip("\ufeff \t\r\n")
        return int(text[:1] in ("[", "{") and not re.search(r'"shapes"\s*:', text))

    def results(
        self, path: Path, vocabulary: Vocabulary | None, reading: Reading, progress: Progress | None
    ) -> RawResults:
        """Read results; of a folder the one file that is named as results are."""
        file = _only(path, _NAMED)
        found = gather_coco_results(file, vocabulary=vocabulary, reading=reading, progress=progress)
        if file.name.partition(".")[0] == _ULTRALYTICS:
            names: dict[int | str, str] = {int(number) + 1: name for number, name in names_beside(file).items()}
            if len(names) != len(COCO_IDS):  # on COCO's 80 it writes COCO's own ids
                found.name_categories(names)
        return found

    def truth(self, path: Path, files: Mapping[str, Path]) -> GroundTruth:
        """Read annotations; of a folder the one file that is named as annotations are."""
        return read_coco(_only(path, _ANNOTATED))

    def write(self, table: TablePieces, path: Path, truth: GroundTruth | None) -> list[str]:
        """Write a list of results."""
        write_coco_results(table.table, path)
        return []


def _files(look: Look, pattern: re.Pattern[str]) -> list[str]:
    names = look.ending(".json")
    return [name for name in names if pattern.fullmatch(PurePosixPath(name).name.partition(".json")[0])]


def _only(path: Path, pattern: re.Pattern[str]) -> Path:
    if not path.is_dir():
        return path
    found = _files(Look.at(path), pattern)
    if not found:
        raise InputError(path, "expected a COCO file in JSON, got a folder without a file of a usual name", "Name it")
    if len(found) > 1:
        raise InputError(path, f"several files may be meant: {', '.join(found[:5])}", "Name one of them")
    return path / found[0]
