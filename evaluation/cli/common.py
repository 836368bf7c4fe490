"""What the commands of package `evaluation` share: options, ground truth, protocols, chosen images."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.csv
from cyclopts import Parameter

from evaluation.belonging import check_belongs
from evaluation.coco_json import read_coco
from evaluation.ground_truth import GroundTruth, places_of
from evaluation.lists import check_siblings
from evaluation.open_images import PreparedOpenImages
from evaluation.open_images_csv import read_open_images
from evaluation.prepared import Prepared, prepare
from evaluation.protocol import Coco, Lvis, OpenImages
from evaluation.readings import check_table
from fusion.errors import InputError
from fusion.parts import named
from fusion.storage import read_table
from fusion.table import DetectionTable
from fusion.terminal import notes

__all__ = [
    "NO_FILES",
    "GroundTruthFile",
    "OpenImagesFiles",
    "Output",
    "prepared_truth",
    "read_groups",
    "read_image_list",
    "read_member",
    "read_truth",
    "some_tables",
]

Output = Annotated[Path, Parameter(name=("--output", "-o"))]
GroundTruthFile = Annotated[Path, Parameter(name=("--ground-truth", "-g"), allow_leading_hyphen=True)]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class OpenImagesFiles:
    """What goes with a CSV file of Open Images boxes as ground truth.

    Attributes:
        image_labels: CSV of verified labels.
        class_descriptions: CSV of labels and names.
        hierarchy: JSON class tree, for files that are not expanded yet.
        masks: CSV of masks.
        mask_folder: Folder of PNG files that the masks' CSV names.
    """

    image_labels: Path | None = None
    class_descriptions: Path | None = None
    hierarchy: Path | None = None
    masks: Path | None = None
    mask_folder: Path | None = None


NO_FILES = OpenImagesFiles()


def some_tables(tables: tuple[Path, ...], command: str) -> tuple[Path, ...]:
    """Return the tables named on the command line; none at all is an error."""
    if not tables:
        raise InputError(command, "no table was given", "Name one or several Parquet files or folders of parts")
    return tables


def read_truth(path: Path, images: Path | None, files: OpenImagesFiles = NO_FILES) -> GroundTruth:
    """Read ground truth, of the listed images only if there is a list; what is unusual is printed.

    Args:
        path: COCO or LVIS annotations, or a CSV file of Open Images boxes.
        images: A text file with an image id per line.
        files: What goes with the CSV file.
    """
    if path.suffix == ".csv":
        truth = read_open_images(
            boxes=path,
            image_labels=files.image_labels,
            class_descriptions=files.class_descriptions,
            hierarchy=files.hierarchy,
            masks=files.masks,
            mask_folder=files.mask_folder,
        )
    elif files != NO_FILES:
        raise InputError(
            path,
            "image labels, class descriptions, a hierarchy and masks go with a CSV file of Open Images boxes",
            "Leave them out, or give that CSV file as --ground-truth",
        )
    else:
        truth = read_coco(path)
    notes(path, truth.notes)
    if images is not None:
        wanted = read_image_list(images, truth)
        try:
            truth = truth.subset(wanted)
        except InputError as error:
            raise InputError(images, f"{error.where}: {error.problem}", "List images of this ground truth") from error
    if not len(truth):
        notes(path, ["there are no annotations, and nothing can be measured without"])
    return truth


def prepared_truth(
    path: Path, protocol: Coco | Lvis | OpenImages, images: Path | None, files: OpenImagesFiles = NO_FILES
) -> tuple[GroundTruth, Prepared | PreparedOpenImages]:
    """Read ground truth as `read_truth` does and make it ready for a protocol."""
    truth = read_truth(path, images, files)
    return truth, prepare(truth, protocol)


def read_member(path: Path, truth: GroundTruth, images: Path | None) -> DetectionTable:
    """Read a member's table under its name; one of another data set is refused, and one that agrees badly is noted.

    Args:
        path: A Parquet file or a folder of parts.
        truth: What it is to be measured on.
        images: Where the user chose images, detections on others are left out.
    """
    table = named(read_table(path), path)
    notes(path, check_belongs(path, table.metadata, truth))
    notes(path, check_table(table, truth, "; `quorum import ... -g` looks for what is wrong"))
    return table if images is None else table.select_images(truth.image_id)


def read_image_list(path: Path, truth: GroundTruth) -> np.ndarray:
    """Read image ids, one per line, of the kind that the ground truth has.

    Raises:
        InputError: If the file cannot be read, an id is of another kind, or the list or one that was dealt together
            with it has changed since.
    """
    check_siblings(path)
    try:
        lines = path.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(path, f"expected a text file with an image id per line ({error})") from error
    if not lines:
        raise InputError(path, "expected a text file with an image id per line, got an empty one")
    if truth.image_id.dtype == object:
        return np.array(lines, dtype=object)
    wrong = [line for line in lines if not re.fullmatch("-?[0-9]{1,19}", line) or abs(int(line)) >= 1 << 63]
    if wrong:
        raise InputError(path, f"expected integer image ids as in {truth.source}, got {wrong[0]!r}")
    return np.array([int(line) for line in lines], dtype=np.int64)


def read_groups(path: Path, truth: GroundTruth) -> np.ndarray:
    """Read the group of each image of the ground truth from a CSV file: object [images].

    Raises:
        InputError: If the file cannot be read, or an image has no group or two.
    """
    text = {"image_id": pa.string(), "group": pa.string()}
    try:
        options = pyarrow.csv.ConvertOptions(column_types=text, include_columns=list(text), strings_can_be_null=False)
        table = pyarrow.csv.read_csv(path, convert_options=options)
    except (pa.ArrowException, OSError, UnicodeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(path, f"expected a CSV file with the columns image_id and group ({reason})") from error
    ids, names = table["image_id"].to_pylist(), np.array(table["group"].to_pylist(), dtype=object)
    given = np.array(ids, dtype=object)
    order = np.argsort(given, kind="stable")
    wanted = np.array([str(i) for i in truth.image_id.tolist()], dtype=object)
    place = places_of(given[order], wanted)
    if len(set(ids)) < len(ids):
        twice = next(i for n, i in enumerate(ids) if i in ids[:n])
        raise InputError(path, f"image {twice!r} is listed twice", "Give each image one group")
    if np.any(place < 0):
        missing = np.flatnonzero(place < 0)
        raise InputError(
            path, f"{len(missing)} images have no group, such as {wanted[missing[0]]!r}", "List every image"
        )
    groups: np.ndarray = names[order][place]
    return groups
