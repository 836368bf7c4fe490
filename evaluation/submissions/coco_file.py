"""Checking COCO and LVIS results files: JSON as it is, or in a zip archive."""

import lzma
import math
import os
import re
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import msgspec
import numpy as np

from evaluation.ground_truth import GroundTruth
from evaluation.submissions.audit import Audit, Block
from evaluation.submissions.report import Findings, size_text
from fusion.coco_results import read_coco_results
from fusion.coco_results.blocks import JsonFile, TruncatedError, decode_list
from fusion.coco_results.records import Problems, RecordReader, Result
from fusion.coco_results.vocabulary import integer_like
from fusion.errors import InputError, option
from fusion.masks import mask_array
from fusion.table import DetectionTable, Metadata

__all__ = ["MAX_RATIO", "check_json", "check_name", "check_size", "read_coco_submission", "unpacked"]

_BLOCK = 256 << 10
# Real archives unpack to 3 to 20 times their size; what is made to fill a disk, to 1,000 times.
MAX_RATIO = 200.0
_SMALL = 64 << 20
_DAMAGE = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, RuntimeError, ValueError, OSError,
)  # fmt: skip
_ELSEWHERE = "Free some room, or name a folder with more by the environment variable TMPDIR"
# COCO's server was seen to give up above this: codalab/codalab-competitions issue 3330, FastInst issue 19.
_LARGE = 300_000_000
_PLAIN = msgspec.json.Decoder(list[Result])
_NAME = re.compile(r"detections_(?P<split>[^_/]+)_(?P<algorithm>.+)_results\.json")


def read_coco_submission(
    path: str | os.PathLike[str], *, images: GroundTruth | None = None, metadata: Metadata | None = None
) -> DetectionTable:
    """Read a COCO or LVIS submission, zipped or not, into a table; see `fusion.coco_results.read_coco_results`.

    Args:
        path: The archive or JSON file.
        images: What ids are checked against; None accepts any.
        metadata: Data set, split, member for the table.

    Raises:
        InputError: If the archive or a record cannot be used.
    """
    vocabulary = None if images is None else images.vocabulary
    if not zipfile.is_zipfile(path):
        return read_coco_results(path, vocabulary=vocabulary, metadata=metadata)
    findings = Findings()
    with unpacked(Path(path), findings) as inner:
        if inner is None:
            what = findings.all()[0]
            raise InputError(path, what.what, what.remedy)
        return read_coco_results(inner, vocabulary=vocabulary, metadata=metadata)


@contextmanager
def unpacked(path: Path, findings: Findings, max_ratio: float = MAX_RATIO) -> Iterator[Path | None]:
    """Give the one file of a zip archive, unpacked to the system's folder for temporary files.

    What a server would stumble over is added to the findings: folders, several files, damage. An
    archive without a file, or one that cannot be read or is larger inside than it may be, gives None.

    Args:
        path: The archive.
        findings: Where faults go.
        max_ratio: How many times as large as the archive its file may be.

    Raises:
        InputError: If there is no room for the file.
    """
    with _temporary_folder() as folder:
        yield _unpack(path, folder, findings, max_ratio)


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    try:
        folder = tempfile.TemporaryDirectory(prefix="quorum-")
    except OSError as error:
        place = error.filename or "the folder for temporary files"
        raise InputError(place, f"could not be made: {error.strerror or error}", _ELSEWHERE) from error
    with folder as name:
        yield Path(name)


def check_name(name: str, split: str | None, findings: Findings) -> None:
    """Check the name of the JSON file in an archive."""
    match = _NAME.fullmatch(name)
    remedy = "COCO's server reads the split and the method from it"
    if match is None:
        what = "the JSON file is not named detections_<split>_<algorithm>_results.json"
        findings.add("error", what, 1, [name], remedy)
    elif split is not None and match["split"] != split:
        findings.add("error", f"the name of the JSON file is of another split than {split}", 1, [name], remedy)


def check_size(size: int, name: str, findings: Findings) -> None:
    """Warn of an archive on which servers were seen to run out of memory."""
    remedy = "Servers have run out of memory on such files: --digits 2 --score-digits 5 make boxes smaller,"
    remedy += " --max-per-image everything"
    if size > _LARGE:
        findings.add("warning", f"the file is larger than {_LARGE // 10**6} MB", 1, [name], remedy)


def check_json(
    path: Path,
    audit: Audit,
    findings: Findings,
    size_of: Callable[[int | str | None, str | None], tuple[int, int] | None],
    texts: bool | None,
    progress: Callable[[int, int], None] | None,
) -> bool:
    """Check a JSON list of results, in pieces.

    Args:
        path: The file.
        audit: Takes the records.
        findings: Where faults go.
        size_of: Height and width of an image, for masks that are polygons.
        texts: Whether image ids have to be texts; None takes the first one's kind.
        progress: Called with the bytes read so far and in all.

    Returns:
        Whether the file could be read to its end.
    """
    records = _Records(str(path), audit, findings, size_of, texts)
    try:
        file = JsonFile(path, _BLOCK, progress)
        try:
            if file.first != b"[":
                findings.add("error", "the file is not a list of results", 1, remedy="Servers take a JSON list only")
                return False
            findings_of_file = file.notes
            file.blocks(records.take_text)
        finally:
            file.close()
    except InputError as error:
        where = error.where.replace(str(path), path.name)
        findings.add("error", f"cannot be read to its end: {error.problem}", 1, [where], error.remedy)
        return False
    for note in findings_of_file:
        findings.add("warning", note)
    records.finish()
    return True


class _Faults(Problems):
    """Turns the faults of records into findings."""

    def __init__(self, where: str, findings: Findings) -> None:
        super().__init__(where)
        self._findings = findings

    def add(self, record: int, field_name: str, expected: str, got: str, remedy: str) -> None:
        what = f"{field_name or 'record'}: expected {expected}"
        self._findings.add("error", what, 1, [f"record {record}: {got}"], remedy)


class _Records:
    """One file under way."""

    def __init__(
        self,
        where: str,
        audit: Audit,
        findings: Findings,
        size_of: Callable[[int | str | None, str | None], tuple[int, int] | None],
        texts: bool | None,
    ) -> None:
        self._where, self._audit, self._findings = where, audit, findings
        self._reader = RecordReader(where, _Faults(where, findings), size_of, names=False)  # servers want ids
        self._count = 0
        self._odd = 0
        self._texts = texts

    def take_text(self, text: bytes, offset: int, last: bool) -> bool:
        """Take the records in a piece of the file; see `JsonFile.blocks`."""
        try:
            text.decode()  # msgspec does not look into what it passes over
            results = _PLAIN.decode(b"[" + text + b"]")
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            try:
                records = decode_list(text, self._where, offset, self._count)
            except TruncatedError:
                if last:
                    raise
                return False
            self._take_records(records)
            return True
        if self._count == 0 and results:
            self._reader.refuse_other_kinds(_first_record(text))
        self._take(results, np.arange(self._count, self._count + len(results)))
        self._count += len(results)
        return True

    def finish(self) -> None:
        """Add the findings that need the whole file."""
        audit, findings = self._audit, self._findings
        findings.add(
            "warning", "ids are written as floats such as 5.0", self._reader.whole_floats, (), "Write them as integers"
        )
        findings.add("warning", "masks are polygons, expected RLE", self._reader.polygons, (), "Encode them as RLE")
        what = "ids are texts where integers are expected, or the other way round"
        findings.add("error", what, self._odd, (), "Write them as the data set does")
        boxes, masks = audit.boxes, audit.masks
        if 0 < masks < audit.detections:
            remedy = "A file has boxes only, or a mask in every record"
            findings.add("error", "records without a mask where others have one", audit.detections - masks, (), remedy)
        if masks and 0 < boxes < audit.detections:
            remedy = "Servers look at the first record to tell what the file is"
            findings.add("error", "records without a box where others have one", audit.detections - boxes, (), remedy)
        elif masks and boxes:
            findings.add(
                "note",
                "masks come with boxes: pycocotools then takes the areas of the boxes for small, medium and large",
                boxes,
            )

    def _take_records(self, records: Sequence[Any]) -> None:
        read = [(self._reader.read(record, number), number) for number, record in enumerate(records, self._count)]
        good = [(result, number) for result, number in read if result is not None]
        plain = [Result(*(getattr(result, name) for name in Result.__struct_fields__)) for result, _ in good]
        self._take(plain, np.array([number for _, number in good], np.int64))
        self._count += len(records)

    def _mended(self, results: Sequence[Result], number: np.ndarray, texts: bool) -> tuple[list[Result], np.ndarray]:
        """Return the records with ids of the expected kinds, those that can be; the others are only counted."""
        kept, numbers = [], []
        for result, place in zip(results, number.tolist(), strict=True):
            image, category = _id(result.image_id, texts), _id(result.category_id, False)
            self._odd += (image, category) != (result.image_id, result.category_id)
            if image is not None and category is not None:
                kept.append(msgspec.structs.replace(result, image_id=image, category_id=category))
                numbers.append(place)
        return kept, np.array(numbers, dtype=np.int64)

    def _take(self, results: Sequence[Result], number: np.ndarray) -> None:
        if not results:
            return
        if self._texts is None:
            self._texts = isinstance(results[0].image_id, str)
        texts = self._texts
        if any(isinstance(one.image_id, str) != texts or isinstance(one.category_id, str) for one in results):
            results, number = self._mended(results, number, texts)
        count = len(results)
        image = [result.image_id for result in results]
        box = np.full((count, 4), np.nan)
        boxed = [row for row, result in enumerate(results) if result.bbox is not None]
        if boxed:
            box[boxed] = [results[row].bbox for row in boxed]
        masks = [result.segmentation for result in results]
        mask = None
        if any(one is not None for one in masks):
            height, width = ([one.size[side] if one is not None else 0 for one in masks] for side in (0, 1))
            mask = mask_array(height, width, [one.counts.encode() if one is not None else None for one in masks])
        self._audit.take(
            Block(
                np.array(image, dtype=object if self._texts else np.int64),
                np.array([result.category_id for result in results], dtype=np.int64),
                np.array([result.score for result in results], dtype=np.float64),
                box,
                mask,
                False,
                number,
                "record",
                lambda row: f"record {number[row]} (image {image[row]})",
            )
        )


def _id(value: int | str, texts: bool) -> int | str | None:
    """Return an id in the kind that is expected; None where it has no such form."""
    if isinstance(value, str):
        return value if texts else integer_like(value)
    return str(value) if texts else value


def _first_record(text: bytes) -> dict[str, Any]:
    return msgspec.json.decode(b"[" + text + b"]", type=list[dict[str, msgspec.Raw]])[0]


def _unpack(path: Path, folder: Path, findings: Findings, max_ratio: float) -> Path | None:
    try:
        with zipfile.ZipFile(path) as archive:
            files = [info for info in archive.infolist() if not info.is_dir()]
            names = [info.filename for info in files]
            folders = [info.filename for info in archive.infolist() if "/" in info.filename]
            remedy = "Zip the one file itself: zip -j"
            findings.add("error", "the archive has folders", len(folders), folders, remedy)
            if len(files) != 1:
                findings.add("error", f"the archive has {len(files)} files, expected one", 1, names, remedy)
            files = [info for info in files if info.filename.endswith((".json", ".csv"))]
            if not files:
                findings.add("error", "there is no .json or .csv file in the archive", 1, names, remedy)
                return None
            size, packed = files[0].file_size, path.stat().st_size
            if size > max(max_ratio * packed, _SMALL):
                what = f"the archive's file is {size / packed:,.0f} times as large as the archive"
                remedy = f"If it is what you think, allow for it with {option('max_ratio', math.ceil(size / packed))}"
                findings.add("error", what, 1, [f"{size_text(size)} in {size_text(packed)}"], remedy)
                return None
            target = folder / Path(files[0].filename).name
            with archive.open(files[0]) as source:  # gives no more than it says: its checksum would not fit
                _write(source, target, size)
            return target
    except InputError:
        raise
    except _DAMAGE as error:
        findings.add("error", f"the archive is damaged: {error}", 1, [path.name], "Write or copy it again")
        return None


def _write(source: IO[bytes], target: Path, size: int) -> None:
    with _room(target, size):
        file = target.open("wb", buffering=0)
    with file:
        while piece := memoryview(source.read(1 << 20)):
            while piece:
                with _room(target, size):
                    piece = piece[file.write(piece) :]


@contextmanager
def _room(target: Path, size: int) -> Iterator[None]:
    """Tell what goes wrong with the unpacked file from what is wrong with the archive."""
    try:
        yield
    except OSError as error:
        problem = f"could not be unpacked, which takes {size_text(size)}: {error.strerror or error}"
        raise InputError(target, problem, _ELSEWHERE) from error
