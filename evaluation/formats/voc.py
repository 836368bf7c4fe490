"""Pascal VOC: an XML file per image. Corners are taken and written as they stand, without VOC's + 1."""

import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from xml.sax.saxutils import escape

import numpy as np
import pyarrow.compute as pc

from evaluation.files.file_bytes import file_bytes
from evaluation.files.image_rows import ImageNames, category_names, corners_of, left_out
from evaluation.files.look import Look, stem_of
from evaluation.files.plain_xml import plain_objects
from evaluation.files.raw_columns import keyed, raw_columns
from evaluation.files.table_pieces import TablePieces
from evaluation.files.truths import NamedObjects
from evaluation.formats.base import Format, Progress
from evaluation.ground_truth import GroundTruth
from fusion.arrow_arrays import numpy_array
from fusion.atomic import replacing
from fusion.coco_results import RawResults, Reading, Vocabulary
from fusion.coco_results.raw import RecordKey
from fusion.errors import InputError
from fusion.source import STANDARD_INPUT

__all__ = ["VocFormat"]

_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_REMEDY = "Mend or drop the object"


class VocFormat(Format):
    """XML files of Pascal VOC, as labelImg and CVAT write them too; results have a score in each object."""

    title = "Pascal VOC XML, a file per image"

    def recognises(self, look: Look) -> int:
        """Take XML whose root is an annotation."""
        if look.folder:
            return int(any(self.recognises(look.into(name)) for name in _xml_files(look)[:5]))
        named = bool(look.ending(".xml")) or str(look.path) == STANDARD_INPUT
        return int(named and look.text.lstrip("\ufeff \t\r\n").startswith("<") and "<annotation>" in look.text)

    def results(
        self, path: Path, vocabulary: Vocabulary | None, reading: Reading, progress: Progress | None
    ) -> RawResults:
        """Read objects with a <score> or <confidence>."""
        folder, names = _files(path)
        texts = [file_bytes(folder / name, "a Pascal VOC file") for name in names]
        plain = None
        for tag in ("score", "confidence"):
            plain = plain or plain_objects(texts, ("name", tag, *_CORNERS))
        if plain is not None and pc.all(pc.not_equal(plain[1][0], "")).as_py() in (True, None):
            count, (label, *numbers) = plain
            categories, category = keyed(label, "name")
            score, *box = (numpy_array(column) for column in numbers)
            boxes = np.stack(box, axis=1)
        else:
            count, categories, category, score, boxes = _careful(folder, names, texts)
        first = np.cumsum(count) - count
        columns = raw_columns(
            images=[RecordKey(stem_of(name), None) for name in names],
            image=np.repeat(np.arange(len(names)), count),
            categories=categories,
            category=category,
            score=score,
            box=boxes,
        )

        def place(row: int) -> str:
            file = int(columns.image[row])
            return f"{names[file]}, object {row - first[file] + 1}"

        return RawResults.of(str(path), columns, native="xyxy", place=place)

    def truth(self, path: Path, files: Mapping[str, Path]) -> GroundTruth:
        """Read annotations; an image is called as its XML file is."""
        folder, names = _files(path)
        found = NamedObjects(path)
        for name in names:
            root, file = _root(file_bytes(folder / name, "a Pascal VOC file"), folder / name), folder / name
            width, height = (root.findtext(f"size/{side}") or "0" for side in ("width", "height"))
            suffix = PurePosixPath((root.findtext("filename") or "").strip()).suffix or ".jpg"
            size = tuple(int(_number(side, file, 0, "size")) for side in (width, height))
            image = found.add_image(stem_of(name) + suffix, size)  # type: ignore[arg-type]
            for nth, entry in enumerate(root.findall("object"), 1):
                hard = (entry.findtext("difficult") or "0").strip() == "1"
                box = _box(entry, file, nth)
                if box[2] < box[0] or box[3] < box[1]:
                    raise InputError(f"{file}, object {nth}", f"its box ends before it begins: {box}", _REMEDY)
                found.add(image, _label(entry, file, nth), box, difficult=hard)
        return found.truth()

    def write(self, table: TablePieces, path: Path, truth: GroundTruth | None) -> list[str]:
        """Write a file per image with detections."""
        if table.metadata.unit != "pixel":
            raise InputError(
                path, "VOC has boxes in pixels, the boxes of the table are shares", "Export another format"
            )
        names = {number: escape(name) for number, name in category_names(table, truth, "voc").items()}
        images = ImageNames(truth, "voc")
        with replacing(path, folder=True) as folder:
            for piece in table:
                columns = piece.category_id, piece.score.astype(np.float64), corners_of(piece)
                for image in images.of(piece):
                    file = folder / f"{image.stem}.xml"
                    file.parent.mkdir(parents=True, exist_ok=True)
                    text = "".join(
                        f"\t<object>\n\t\t<name>{names[number]}</name>\n\t\t<score>{confidence}</score>\n\t\t<bndbox>"
                        f"<xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox>\n\t</object>\n"
                        for number, confidence, (x1, y1, x2, y2) in zip(
                            *(column[image.rows].tolist() for column in columns), strict=True
                        )
                    )
                    size = f"<width>{image.width}</width><height>{image.height}</height><depth>3</depth>"
                    head = f"\t<filename>{escape(PurePosixPath(image.name).name)}</filename>\n\t<size>{size}</size>\n"
                    file.write_text(f"<annotation>\n{head}{text}</annotation>\n", encoding="utf-8")
        return left_out(table, "mask", "soft_mask", "member", "view", "votes")


def _files(path: Path) -> tuple[Path, list[str]]:
    look = Look.at(path)
    if not look.folder:
        return path.parent, [path.name]
    names = _xml_files(look)
    folders = {name.rpartition("Annotations/")[0] for name in names if "Annotations/" in name}
    if len(folders) == 1:  # the root of a data set: images are called by their names alone
        return path / next(iter(folders)) / "Annotations", [name.rpartition("Annotations/")[2] for name in names]
    return path, names


def _xml_files(look: Look) -> list[str]:
    names = look.ending(".xml")
    return [name for name in names if "Annotations/" in name] or names


def _careful(
    folder: Path, names: list[str], texts: list[bytes]
) -> tuple[list[int], list[RecordKey], np.ndarray, np.ndarray, np.ndarray]:
    """Return number of objects of each file, and the objects' categories, scores and boxes."""
    keys: dict[str, int] = {}
    count: list[int] = []
    category: list[int] = []
    score: list[float] = []
    box: list[tuple[float, ...]] = []
    for name, text in zip(names, texts, strict=True):
        objects = _root(text, folder / name).findall("object")
        count.append(len(objects))
        for nth, entry in enumerate(objects, 1):
            found = entry.findtext("score") or entry.findtext("confidence")
            if found is None:
                remedy = "Write <score> in each object; annotations without are given as ground truth"
                raise InputError(f"{folder / name}, object {nth}", "it has no <score>", remedy)
            score.append(_number(found, folder / name, nth, "score"))
            category.append(keys.setdefault(_label(entry, folder / name, nth), len(keys)))
            box.append(_box(entry, folder / name, nth))
    numbers = np.array(category, np.int32), np.array(score), np.array(box).reshape(-1, 4)
    return count, [RecordKey(None, name) for name in keys], *numbers


def _root(text: bytes, file: Path) -> ElementTree.Element:
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise InputError(file, f"is not XML ({error})", "Write it again") from error
    if root.tag != "annotation":
        raise InputError(file, f"expected <annotation>, got <{root.tag}>", "Is it a Pascal VOC file?")
    return root


def _label(entry: ElementTree.Element, file: Path, nth: int) -> str:
    name = (entry.findtext("name") or "").strip()
    if not name:
        raise InputError(f"{file}, object {nth}", "it has no <name>", _REMEDY)
    return name


def _box(entry: ElementTree.Element, file: Path, nth: int) -> tuple[float, float, float, float]:
    box = entry.find("bndbox")
    texts = [None if box is None else box.findtext(side) for side in _CORNERS]
    missing = [side for side, text in zip(_CORNERS, texts, strict=True) if text is None]
    if missing:
        raise InputError(f"{file}, object {nth}", f"its <bndbox> has no <{missing[0]}>", _REMEDY)
    try:
        x1, y1, x2, y2 = map(float, texts)  # type: ignore[arg-type]
    except ValueError:
        x1, y1, x2, y2 = (_number(str(text), file, nth, side) for side, text in zip(_CORNERS, texts, strict=True))
    return x1, y1, x2, y2


def _number(text: str, file: Path, nth: int, what: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        where = f"{file}, object {nth}" if nth else file
        raise InputError(where, f"expected a number as <{what}>, got {text[:40]!r}", _REMEDY) from error
