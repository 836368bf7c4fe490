"""Reading results beside a ground truth: joined to it, and compared with its objects."""

import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from evaluation.files.table_pieces import TablePieces
from evaluation.formats import format_of, recognised
from evaluation.ground_truth import GroundTruth
from evaluation.readings import check_reading, check_table
from fusion.atomic import replacing
from fusion.coco_results import AS_FOUND, Pieces, RawResults, Reading
from fusion.errors import InputError, Warned, option
from fusion.reparting import Dealer
from fusion.table import DetectionTable, Metadata

__all__ = ["deal_results", "read_label_map", "read_results", "table_of_raw", "write_results"]

_ROWS = 1 << 19  # records that become rows at a time


def read_results(
    path: str | os.PathLike[str],
    truth: GroundTruth | None,
    reading: Reading = AS_FOUND,
    *,
    format: str | None = None,  # noqa: A002 - the word that users know it by
    as_is: bool = False,
    unknown_images: str = "error",
    unknown_categories: str = "error",
    scores: str = "any",
    metadata: Metadata | None = None,
    progress: Callable[[int, int], None] | None = None,
    categories_of: GroundTruth | None = None,
) -> DetectionTable:
    """Read results of any format as `fusion.read_coco_results` does, and look whether they mean what they seem to mean.

    Args:
        path: The file or folder; "-" is standard input.
        truth: What it is joined to and compared with; None accepts it as it is.
        reading: What ids, names and boxes mean; what is said here is not questioned.
        format: One of `evaluation.formats.format_names()`; None: as it is recognised.
        as_is: Do not compare it.
        unknown_images: "error", or "drop" detections on images that the truth does not have.
        unknown_categories: "error", or "drop" detections of categories that are not found.
        scores: "any" finite score, or only those in the "unit" interval.
        metadata: Data set, split, member for the table.
        progress: Called with the bytes read so far and in all.
        categories_of: Where there is no truth of these images, that of others of the data set: its categories' names.

    Raises:
        InputError: If it cannot be read, or another reading agrees far better; see `evaluation.readings`.
    """
    vocabulary = None if truth is None else truth.vocabulary
    kind = recognised(path, "results") if format is None else format_of(format, "results")
    raw = kind.results(Path(path), vocabulary, reading, progress)
    return table_of_raw(
        raw,
        truth,
        reading,
        format=kind.name,
        as_is=as_is,
        unknown_images=unknown_images,
        unknown_categories=unknown_categories,
        scores=scores,
        metadata=metadata,
        categories_of=categories_of,
    )


def deal_results(
    path: str | os.PathLike[str],
    truth: GroundTruth | None,
    reading: Reading = AS_FOUND,
    *,
    output: str | os.PathLike[str],
    parts: int,
    format: str | None = None,  # noqa: A002 - the word that users know it by
    as_is: bool = False,
    unknown_images: str = "error",
    unknown_categories: str = "error",
    scores: str = "any",
    metadata: Metadata | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Metadata, int, int]:
    """Read results as `read_results` does, into a folder of parts: of a COCO list of any length in bounded memory.

    Records are gathered on disk, in the folder for temporary files and beside the output; one part is in memory at a
    time.

    Args:
        path: As in `read_results`.
        truth: As in `read_results`.
        reading: As in `read_results`.
        output: A folder that does not exist yet.
        parts: Number of parts, at most 512.
        format: As in `read_results`.
        as_is: As in `read_results`.
        unknown_images: As in `read_results`.
        unknown_categories: As in `read_results`.
        scores: As in `read_results`.
        metadata: As in `read_results`.
        progress: As in `read_results`.

    Returns:
        What the table says about itself, and its number of rows and of images.

    Raises:
        InputError: As `read_results`, or if the folder cannot be written.
    """
    kind = recognised(path, "results") if format is None else format_of(format, "results")
    with replacing(output, folder=True) as folder, Dealer(folder.parent, parts) as dealer:
        raw = kind.results(Path(path), None if truth is None else truth.vocabulary, reading, progress)
        pieces = _read_pieces(
            raw,
            truth,
            reading,
            format=kind.name,
            as_is=as_is,
            unknown_images=unknown_images,
            unknown_categories=unknown_categories,
            scores=scores,
            metadata=metadata,
            rows=_ROWS,
        )
        said: list[str] = []
        for number, piece in enumerate(pieces):
            said += [] if number else _checked(piece, truth, as_is)
            dealer.take(piece.arrow)
        told = _with_notes(pieces.metadata, said)
        rows, images = dealer.write(folder, told)
    return told, rows, images


def write_results(
    table: DetectionTable | Path,
    path: str | os.PathLike[str],
    format: str,  # noqa: A002 - the word that users know it by
    truth: GroundTruth | None = None,
) -> list[str]:
    """Write a table as result files.

    Args:
        table: The detections, or their file or folder of parts, which is not read as a whole; what is written is the
            same.
        path: The file, or the folder of formats with a file per image.
        format: One of those that are written: coco, csv, kitti, mot, openimages, voc, yolo.
        truth: The names and sizes of images and the names of categories, which most formats have in place of ids.

    Returns:
        What was left out.

    Raises:
        InputError: If the format cannot carry the table, or needs a ground truth.
    """
    return format_of(format, "write").write(TablePieces(table), Path(path), truth)


def table_of_raw(
    raw: RawResults,
    truth: GroundTruth | None,
    reading: Reading,
    *,
    format: str,  # noqa: A002 - the word that users know it by
    as_is: bool = False,
    unknown_images: str = "error",
    unknown_categories: str = "error",
    scores: str = "any",
    metadata: Metadata | None = None,
    categories_of: GroundTruth | None = None,
) -> DetectionTable:
    """Make a table of results as they stand, as `read_results` says; the table says in what format they were."""
    pieces = _read_pieces(
        raw,
        truth,
        reading,
        format=format,
        as_is=as_is,
        unknown_images=unknown_images,
        unknown_categories=unknown_categories,
        scores=scores,
        metadata=metadata,
        categories_of=categories_of,
    )
    table = pieces.whole()
    return replace(table, metadata=_with_notes(table.metadata, _checked(table, truth, as_is)))


def _read_pieces(
    raw: RawResults,
    truth: GroundTruth | None,
    reading: Reading,
    *,
    format: str,  # noqa: A002 - the word that users know it by
    as_is: bool,
    metadata: Metadata | None,
    categories_of: GroundTruth | None = None,
    **options: Any,
) -> Pieces:
    if truth is not None and not as_is and not raw.faulty:
        raw.notes += map(Warned, check_reading(raw, truth, reading))
    metadata = metadata or Metadata()
    return raw.pieces(
        None if truth is None else truth.vocabulary,
        reading,
        metadata=msgspec.structs.replace(metadata, made_by={**metadata.made_by, "format": format}),
        categories=None if categories_of is None else categories_of.vocabulary,
        **options,
    )


def _checked(table: DetectionTable, truth: GroundTruth | None, as_is: bool) -> list[str]:
    """Return what is said of boxes that are shares of sides: other readings of these cannot be tried."""
    if truth is None or as_is or truth.unit == "pixel":
        return []
    return list(map(Warned, check_table(table, truth)))


def _with_notes(metadata: Metadata, notes: list[str]) -> Metadata:
    made_by = metadata.made_by
    return msgspec.structs.replace(metadata, made_by={**made_by, "notes": [*made_by["notes"], *notes]})


def read_label_map(text: str) -> dict[int | str, int | str]:
    """Read a label map: pairs such as `1=3,3=10,dog=18`, JSON such as `{"dog": 18}`, or a JSON or TOML file's name.

    Returns:
        Source category, by id or name, to target category, by id or name.

    Raises:
        InputError: If it is neither.
    """
    path = Path(text)
    if text.startswith("{"):
        try:
            return msgspec.json.decode(text, type=dict[int | str, int | str])
        except (msgspec.MsgspecError, ValueError) as error:
            problem = f"expected JSON that maps labels to ids or names ({error})"
            raise InputError(f"option {option('label_map')}", problem, 'For example {"person": 1}') from error
    if "=" in text and not os.path.exists(text):  # noqa: PTH110 - a map may be longer than any file name
        pairs = [pair.rpartition("=") for pair in text.split(",")]
        if any(not source or not target for source, _, target in pairs):
            raise InputError(f"option {option('label_map')}", f"expected pairs such as 1=3,3=10,dog=18, got {text!r}")
        return {source: int(target) if re.fullmatch("-?[0-9]{1,10}", target) else target for source, _, target in pairs}
    try:
        decode = msgspec.toml.decode if path.suffix == ".toml" else msgspec.json.decode
        labels: dict[int | str, int | str] = decode(path.read_bytes(), type=dict[str, int | str])
        return labels
    except (OSError, msgspec.MsgspecError, ValueError) as error:
        raise InputError(
            path,
            f"expected a JSON or TOML file that maps labels to ids or names ({error})",
            'For example {"person": 1}; or say 1=3,3=10',
        ) from error
