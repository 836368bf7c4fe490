"""Command `quorum evaluate`."""

import re
import sys
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from cyclopts import Parameter

from evaluation.cli.common import (
    NO_FILES,
    GroundTruthFile,
    IouType,
    OpenImagesFiles,
    ProtocolName,
    note_categories,
    prepared_truth,
    read_member,
    some_tables,
)
from evaluation.ground_truth import GroundTruth
from evaluation.open_images import PreparedOpenImages
from evaluation.open_images_result import OpenImagesResult
from evaluation.prepared import Prepared
from evaluation.protocol import Coco, Lvis, OpenImages
from evaluation.result import CocoResult
from fusion.errors import InputError
from fusion.storage import part_paths, read_metadata
from fusion.terminal import announcing_compilation, notes, print_table, progress_bar, stdout

__all__ = ["evaluate"]


def evaluate(
    *tables: Path,
    ground_truth: GroundTruthFile,
    protocol: ProtocolName = "coco",
    iou_type: IouType = "bbox",
    as_format: Annotated[Literal["text", "json"], Parameter(name="--format")] = "text",
    images: Path | None = None,
    max_dets: str | None = None,
    use_cats: bool = True,
    match_id_zero: Annotated[bool, Parameter(negative="")] = False,
    fixed_ap: Annotated[bool, Parameter(negative="")] = False,
    group_of_weight: float | None = None,
    open_images: OpenImagesFiles = NO_FILES,
    per_category: bool = True,
) -> None:
    """Measure tables by an official protocol: its figures, and a table per category.

    Args:
        tables: Parquet files or folders of parts.
        ground_truth: COCO or LVIS annotations, or the CSV file of Open Images boxes.
        protocol: coco, lvis, or openimages for the Open Images challenge.
        iou_type: Boxes or masks.
        as_format: text for people, or one JSON list with an object per table.
        images: Measure only these images: a text file with an id per line, as `quorum split` writes.
        max_dets: coco: detections per image and category that count, numbers with commas between, 1,10,100 by default;
            lvis: per image, 300 by default; openimages: per image and category, 10000 by default.
        use_cats: coco. Off: all categories are one.
        match_id_zero: coco, lvis. Let annotation id 0 be matched: the official code never does, and so neither do we.
        fixed_ap: lvis. No cap per image, but the best 10,000 detections of each category.
        group_of_weight: openimages. What a group-of box counts, 1 by default.
        open_images: What goes with a CSV file as ground truth.
        per_category: Print the table per category.
    """
    chosen = _protocol(protocol, iou_type, max_dets, use_cats, match_id_zero, fixed_ap, group_of_weight)
    paths = some_tables(tables, "evaluate")
    with announcing_compilation():
        truth, prepared = prepared_truth(ground_truth, chosen, images, open_images)
        results = [(path, _measured(path, truth, prepared, images)) for path in paths]
    if as_format == "json":
        rows = [{"table": str(path), **result.to_dict()} for path, result in results]
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(rows), indent=2).decode() + "\n")
        return
    console = stdout()
    for path, result in results:
        what = f"{protocol}, {iou_type}" if protocol != "coco" else iou_type
        console.print(str(path), style="bold", highlight=False, end="")
        console.print(f"  ({what}, {len(truth.image_id):,} images)", highlight=False)
        print_table(result.to_rich())
        if per_category:
            print_table(result.to_rich(per_category=True))


def _protocol(
    name: ProtocolName,
    iou_type: IouType,
    max_dets: str | None,
    use_cats: bool,
    match_id_zero: bool,
    fixed_ap: bool,
    group_of_weight: float | None,
) -> Coco | Lvis | OpenImages:
    """Make the protocol; an option of another protocol is an error."""
    given = {
        "--max-dets": max_dets is not None,
        "--no-use-cats": not use_cats,
        "--match-id-zero": match_id_zero,
        "--fixed-ap": fixed_ap,
        "--group-of-weight": group_of_weight is not None,
    }
    known = {
        "coco": ("--max-dets", "--no-use-cats", "--match-id-zero"),
        "lvis": ("--max-dets", "--match-id-zero", "--fixed-ap"),
        "openimages": ("--max-dets", "--group-of-weight"),
    }
    for option, is_given in given.items():
        if is_given and option not in known[name]:
            raise InputError(f"option {option}", f"does not go with --protocol {name}", "Leave it out")
    caps = () if max_dets is None else _caps(max_dets)
    if name == "coco":
        return Coco(iou_type=iou_type, max_dets=caps or (1, 10, 100), use_cats=use_cats, match_id_zero=match_id_zero)
    if len(caps) > 1:
        raise InputError("option --max-dets", f"expected one number with --protocol {name}, got {max_dets!r}")
    cap = {"max_dets": caps[0]} if caps else {}
    if name == "lvis":
        return Lvis(iou_type=iou_type, fixed_ap=fixed_ap, match_id_zero=match_id_zero, **cap)
    if group_of_weight is None:
        return OpenImages(iou_type=iou_type, **cap)
    return OpenImages(iou_type=iou_type, group_of_weight=group_of_weight, **cap)


def _measured(
    path: Path, truth: GroundTruth, prepared: Prepared | PreparedOpenImages, images: Path | None
) -> CocoResult | OpenImagesResult:
    """Evaluate a table; notes and errors name its file."""
    result: CocoResult | OpenImagesResult
    try:
        if isinstance(prepared, PreparedOpenImages) and len(part_paths(path)) > 1 and images is None:
            # part by part: Open Images tables need not fit in memory
            note_categories(path, read_metadata(path)[0], truth)
            with progress_bar() as bar:
                task = bar.add_task(path.name, total=None)
                result = prepared.evaluate_parts(
                    path, lambda what, done, total: bar.update(task, description=what, completed=done, total=total)
                )
        else:
            result = prepared.evaluate(read_member(path, truth, images))
    except InputError as error:
        if str(path) in error.where:
            raise
        raise InputError(f"{path}, {error.where}", error.problem, error.remedy) from error
    notes(path, result.notes)
    return result


def _caps(text: str) -> tuple[int, ...]:
    caps = text.split(",")
    if not all(re.fullmatch(" *[0-9]{1,9} *", cap) for cap in caps):
        raise InputError("option --max-dets", f"expected whole numbers with commas between, got {text!r}")
    return tuple(int(cap) for cap in caps)
