"""YOLO text: a file per image, a line per box with its centre and size as shares of the picture's sides."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa

from evaluation.files.class_names import names_beside, split_of
from evaluation.files.image_rows import ImageNames, category_names, left_out
from evaluation.files.look import Look, stem_of
from evaluation.files.pictures import picture_files, picture_size
from evaluation.files.raw_columns import raw_columns
from evaluation.files.table_pieces import TablePieces
from evaluation.files.text_rows import TextRows
from evaluation.formats.base import Format, Progress
from evaluation.ground_truth import GroundTruth
from fusion.arrow_arrays import numpy_array
from fusion.atomic import replacing
from fusion.coco_results import RawResults, Reading, Vocabulary
from fusion.coco_results.raw import RecordKey
from fusion.coco_results.vocabulary import OwnLists
from fusion.errors import InputError

__all__ = ["YoloFormat"]

_OTHER = {"classes", "train", "val", "valid", "test", "trainval", "readme", "names", "predefined_classes", "obj"}
_NUMBER = r"[-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?"
_LINE = re.compile(rf"[0-9]+(?:\.0*)?(?:[ \t]+{_NUMBER}){{4,}}[ \t]*")
_REMEDY = "Write a line as class x_center y_center width height confidence"


class YoloFormat(Format):
    """Text files of YOLO: Ultralytics' with `save_txt` and `save_conf`, and Darknet's."""

    title = "YOLO text, a file per image (Ultralytics, Darknet)"

    def recognises(self, look: Look) -> int:
        """Take files of lines with five numbers or more, whose boxes lie in [0, 1]."""
        if look.folder:
            names = _label_files(look)
            return int(any(self.recognises(look.into(name)) for name in names[:1000]))
        if look.path.suffix in (".yaml", ".yml"):
            return int(bool(re.search(r"^names\s*:", look.text, re.MULTILINE)))
        return int(any(_LINE.fullmatch(line.strip()) is not None and _shares(line) for line in look.lines[:1]))

    def results(
        self, path: Path, vocabulary: Vocabulary | None, reading: Reading, progress: Progress | None
    ) -> RawResults:
        """Read detections; a line of an outline gives its bounds."""
        look = Look.at(path)
        folder, names = (path, _label_files(look)) if look.folder else (path.parent, [path.name])
        rows = TextRows(folder, names, "YOLO text")
        notes: list[str] = []
        columns = rows.columns([pa.float64()] * 6) if rows.width == 6 or not len(rows) else None
        if columns is not None:
            numbers = [numpy_array(column) for column in columns]
            label, box, score = _classes(numbers[0], rows), np.stack(numbers[1:5], axis=1), numbers[5]
        else:
            label, box, score = _careful(rows, notes)
        classes, category = np.unique(label, return_inverse=True)
        found = raw_columns(
            images=[RecordKey(_stem(name), None) for name in names],
            image=rows.file,
            categories=[RecordKey(int(number), None) for number in classes],
            category=category,
            score=score,
            box=box,
        )
        listed = OwnLists({}, {}, names_beside(path))
        return RawResults.of(
            str(path), found, native="cxcywh_normalized", listed=listed, notes=notes, place=rows.within
        )

    def truth(self, path: Path, files: Mapping[str, Path]) -> GroundTruth:
        """Read annotations; sizes come from the pictures beside them, and are not known without."""
        if path.suffix in (".yaml", ".yml"):
            path = split_of(path)
        look = Look.at(path)
        folder, names = (path, _label_files(look)) if look.folder else (path.parent, [path.name])
        rows = TextRows(folder, names, "YOLO text")
        stems = [_stem(name) for name in names]
        pictures = picture_files(_picture_folders(folder, names))
        pictures = {stem: file for stem, file in pictures.items() if look.folder or stem in stems}
        ids = sorted({*stems, *pictures})
        sizes = np.array([picture_size(pictures[one]) if one in pictures else (0, 0) for one in ids]).reshape(-1, 2)
        known = bool(len(ids)) and bool((sizes > 0).all())
        notes = [] if known else ["there are no pictures beside the labels to tell sizes; boxes stay shares of them"]
        label, box, polygons = _objects(rows)
        image = np.array([ids.index(stem) for stem in stems], np.int64)[rows.file] if stems else rows.file
        scale = np.tile(sizes[image], 2) if known else np.ones((len(box), 4))
        corners = np.concatenate([box[:, :2] - box[:, 2:] / 2, box[:, :2] + box[:, 2:] / 2], axis=1) * scale
        outlines: Sequence[Any] | None = None
        if known and any(polygons):
            outlines = [
                [(np.array(one).reshape(-1, 2) * sizes[at]).ravel().tolist()] if one else []
                for one, at in zip(polygons, image.tolist(), strict=True)
            ]
        own = names_beside(path)
        numbers = sorted({*own, *np.unique(label).tolist()})
        return GroundTruth.from_arrays(
            image_id=np.array(ids, object),
            width=sizes[:, 0] if known else None,
            height=sizes[:, 1] if known else None,
            file_name=[pictures[one].name if one in pictures else one for one in ids],
            category_id=numbers,
            category_name=[own.get(number, str(number)) for number in numbers],
            annotation_image_id=np.array(ids, object)[image] if ids else np.zeros(0, object),
            annotation_category_id=label,
            xyxy=corners,
            segmentation=outlines,
            unit="pixel" if known else "normalized",
            notes=notes,
            source=path,
        )

    def write(self, table: TablePieces, path: Path, truth: GroundTruth | None) -> list[str]:
        """Write labels/*.txt and data.yaml."""
        shares = table.metadata.unit == "normalized"
        names = category_names(table, truth, "yolo")
        ids = sorted(names) if truth is None else truth.category_id.tolist()
        index = {number: place for place, number in enumerate(ids)}
        images = ImageNames(truth, "yolo", sizes=not shares)
        with replacing(path, folder=True) as folder:
            for piece in table:
                columns = [piece.column(name).astype(np.float64) for name in ("x", "y", "w", "h", "score")]
                category = [index[number] for number in piece.category_id.tolist()]
                for image in images.of(piece):
                    width, height = (1, 1) if shares else (image.width, image.height)
                    x, y, w, h, score = (column[image.rows] for column in columns)
                    box = ((x + w / 2) / width, (y + h / 2) / height, w / width, h / height)
                    sides = (side.tolist() for side in (*box, score))
                    file = folder / "labels" / f"{image.stem}.txt"
                    file.parent.mkdir(parents=True, exist_ok=True)
                    lines = zip(category[image.rows], *sides, strict=True)
                    text = "".join(f"{c} {x} {y} {w} {h} {s}\n" for c, x, y, w, h, s in lines)
                    file.write_text(text, encoding="utf-8")
            titles = dict(zip(ids, truth.category_name, strict=True)) if truth is not None else names
            listed = "".join(f"  {index[number]}: {_quoted(titles[number])}\n" for number in ids)
            (folder / "labels").mkdir(exist_ok=True)
            (folder / "data.yaml").write_text("names:\n" + (listed or "  {}\n"), encoding="utf-8")
        return left_out(table, "mask", "soft_mask", "member", "view", "votes")


def _quoted(name: str) -> str:
    import json

    return json.dumps(name, ensure_ascii=False)


def _shares(line: str) -> bool:
    return all(-0.5 <= float(word) <= 1.5 for word in line.split()[1:5])


def _stem(name: str) -> str:
    """Return how the image of a file of labels is called: without suffix, below the folder of labels."""
    parts = PurePosixPath(stem_of(name)).parts
    last = max(
        (place for place, part in enumerate(parts[:-1]) if part == "labels" or part.endswith("_data")), default=-1
    )
    return "/".join(parts[last + 1 :])


def _label_files(look: Look) -> list[str]:
    names = [name for name in look.ending(".txt") if PurePosixPath(stem_of(name)).name.lower() not in _OTHER]
    labels = [name for name in names if "labels" in PurePosixPath(name).parts[:-1]]
    darknet = [name for name in names if any(part.endswith("_data") for part in PurePosixPath(name).parts[:-1])]
    return labels or darknet or names


def _classes(label: np.ndarray, rows: TextRows) -> np.ndarray:
    wrong = np.flatnonzero((label != np.floor(label)) | (label < 0) | (label > 2**31 - 1))
    if len(wrong):
        problem = f"expected the number of a class, got {label[wrong[0]]:g}"
        raise InputError(rows.place(int(wrong[0])), problem, _REMEDY)
    return label.astype(np.int64)


def _numbers(rows: TextRows) -> list[list[float]]:
    """Return the numbers of each line, slowly."""
    found = []
    for row, words in rows.rows():
        try:
            found.append([float(word) for word in words])
        except ValueError as error:
            problem = f"expected numbers, got {' '.join(words)[:60]!r}"
            raise InputError(rows.place(row), problem, _REMEDY) from error
    return found


def _careful(rows: TextRows, notes: list[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return class, box and score of each line, of boxes or outlines; outlines have an even number of words."""
    label, box, score = np.zeros(len(rows)), np.zeros((len(rows), 4)), np.zeros(len(rows))
    outlines = 0
    for row, numbers in enumerate(_numbers(rows)):
        if len(numbers) < 6 or len(numbers) % 2:
            got = f"{len(numbers)} numbers"
            problem = f"expected class, box and confidence, got {got}"
            remedy = _REMEDY
            if len(numbers) == 5 or len(numbers) % 2:
                remedy = "There is no confidence: predict with save_conf; labels without are ground truth"
            raise InputError(rows.place(row), problem, remedy)
        label[row], score[row] = numbers[0], numbers[-1]
        box[row] = numbers[1:5] if len(numbers) == 6 else _bounds(numbers[1:-1])
        outlines += len(numbers) > 6
    if outlines:
        notes.append(f"{outlines} lines are outlines, of which the bounds are taken")
    return _classes(label, rows), box, score


def _objects(rows: TextRows) -> tuple[np.ndarray, np.ndarray, list[list[float]]]:
    """Return class, box and outline of each annotation; no outline is []."""
    columns = rows.columns([pa.float64()] * 5) if rows.width == 5 or not len(rows) else None
    if columns is not None:
        numbers = [numpy_array(column) for column in columns]
        return _classes(numbers[0], rows), np.stack(numbers[1:], axis=1), [[]] * len(rows)
    label, box, outlines = np.zeros(len(rows)), np.zeros((len(rows), 4)), []
    for row, values in enumerate(_numbers(rows)):
        if len(values) < 5 or len(values) % 2 == 0:
            problem = f"expected class and box, or class and outline, got {len(values)} numbers"
            remedy = "Six numbers are a detection with its confidence: give them as results" if len(values) == 6 else ""
            raise InputError(rows.place(row), problem, remedy)
        label[row] = values[0]
        box[row] = values[1:] if len(values) == 5 else _bounds(values[1:])
        outlines.append(values[1:] if len(values) > 5 else [])
    return _classes(label, rows), box, outlines


def _bounds(points: Sequence[float]) -> list[float]:
    """Return centre and size of the bounds of an outline."""
    x, y = points[0::2], points[1::2]
    return [(min(x) + max(x)) / 2, (min(y) + max(y)) / 2, max(x) - min(x), max(y) - min(y)]


def _picture_folders(folder: Path, names: Sequence[str]) -> list[Path]:
    """Return where the pictures of a folder of labels may lie."""
    found = []
    inner = {PurePosixPath(name).parts[0] for name in names if "/" in name}
    if "labels" in inner:
        found += [folder / "images"]
    parts = folder.parts
    if "labels" in parts:
        place = len(parts) - 1 - parts[::-1].index("labels")
        found.append(Path(*parts[:place], "images", *parts[place + 1 :]))
    found += [folder / one for one in sorted(inner)]
    return [*found, folder / "images", folder.parent / "images", folder.parent / "JPEGImages", folder]
