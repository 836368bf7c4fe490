"""Files that choose images or put them in groups."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from fusion.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from evaluation.ground_truth import GroundTruth
    from evaluation.slices import Slices

__all__ = ["named_slices", "read_groups", "read_image_list"]


def read_image_list(path: Path, truth: "GroundTruth") -> "np.ndarray":
    """Read image ids, one per line, of the kind that the ground truth has.

    Raises:
        InputError: If the file cannot be read, an id is of another kind, or the list or one that was dealt together
            with it has changed since.
    """
    import numpy as np

    from evaluation.lists import check_siblings

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


def read_groups(path: Path, truth: "GroundTruth") -> "np.ndarray":
    """Read the group of each image of the ground truth from a CSV file: object [images].

    Raises:
        InputError: If the file cannot be read, or an image has no group or two.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.csv

    from evaluation.truth_columns import places_of

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


def named_slices(given: str | None, truth: "GroundTruth", images: Path | None) -> "Slices | None":
    """Read what --slices names, and print what was noticed; None where it is not given.

    Args:
        given: A CSV file, or a field of the images.
        truth: The images that are measured.
        images: The list that they were chosen by.
    """
    if given is None:
        return None
    from evaluation.slices import read_slices
    from fusion.terminal import notes

    slices = read_slices(given, truth, partial=images is not None)
    notes(given, slices.notes)
    return slices
