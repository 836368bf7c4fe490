"""Command `quorum check`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from evaluation.cli.output import Form
from evaluation.cli.protocols import OFFICIAL, IouType, ProtocolName, ProtocolOptions, protocol_of
from evaluation.cli.truth import NO_FILES, OpenImagesFiles
from fusion.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from evaluation.ground_truth import GroundTruth

__all__ = ["check"]


def check(
    ground_truth: Path,
    /,
    *tables: Path,
    beside: Annotated[tuple[Path, ...], Parameter(consume_multiple=True, negative="")] = (),
    protocol: ProtocolName | None = None,
    iou_type: IouType = "bbox",
    options: ProtocolOptions = OFFICIAL,
    open_images: OpenImagesFiles = NO_FILES,
    as_format: Form = "text",
) -> None:
    """Look for what is wrong with ground truth, and say what of it changes the official figures.

    Exit code 1 says that something does.

    Args:
        ground_truth: Annotations in any format that the commands know.
        tables: Detections, Parquet files or folders of parts: their AP is given with and without what was found.
        beside: Other splits of the data: ground truth, or text files with an image id of this one per line.
        protocol: Whose figures; those of the data set by default: LVIS, Open Images, else COCO.
        iou_type: Boxes or masks.
        options: Of the protocol, where they are not to be the official ones.
        open_images: What goes with a CSV file as ground truth.
        as_format: text for people, Markdown or HTML, or a JSON object.
    """
    from dataclasses import asdict

    from evaluation.cli.members import read_member, short_names
    from evaluation.mended_reading import read_mended
    from evaluation.truth_check import check_truth
    from fusion.printed_table import print_heading, print_json, print_line, print_table
    from fusion.terminal import announcing_compilation

    files = {name: file for name, file in asdict(open_images).items() if file is not None}
    truth, refused = read_mended(ground_truth, files)
    usual: ProtocolName = "openimages" if truth.unit == "normalized" else "lvis" if truth.frequency else "coco"
    chosen = protocol_of(protocol or usual, iou_type, options)
    names, lists = _splits(beside, truth)
    found = dict(zip(short_names(tables), (read_member(path, truth, None) for path in tables), strict=True))
    with announcing_compilation():
        checked = check_truth(truth, found, protocol=chosen, beside=names, lists=lists, refused=refused)
    if as_format == "json":
        print_json(checked.to_dict())
    else:
        counts = f"{len(truth.image_id):,} images, {len(truth.category_id):,} categories, {len(truth):,} annotations"
        print_heading(f"{ground_truth} ({counts})", as_format)
        if as_format == "text":
            print_line(checked.to_text())
        elif checked.findings:
            print_table(checked.to_table(), as_format)
        print_line(
            "Something changes the official figures." if checked.changes else "Nothing changes the official figures.",
            as_format,
        )
    if checked.changes:
        sys.exit(1)


def _splits(paths: tuple[Path, ...], truth: "GroundTruth") -> "tuple[dict[str, list[str]], dict[str, np.ndarray]]":
    """Read other splits: names of files by split, and places of images of lists."""
    from evaluation.cli.image_lists import read_image_list
    from evaluation.mended_reading import read_mended
    from evaluation.truth_columns import places_of

    names: dict[str, list[str]] = {}
    lists: dict[str, np.ndarray] = {}
    for path in paths:
        if path.suffix != ".txt":
            names[str(path)] = [str(name) for name in read_mended(path)[0].file_name]
            continue
        listed = read_image_list(path, truth)
        places = places_of(truth.image_id, listed)
        if (places < 0).any():
            missing = listed[places < 0].tolist()[0]
            raise InputError(path, f"{truth.source} has no image {missing!r}", "List images of this ground truth")
        lists[str(path)] = places
    return names, lists
