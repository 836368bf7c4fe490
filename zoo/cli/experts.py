"""Command `quorum zoo experts`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from cyclopts import Parameter

from evaluation.cli.protocols import ProtocolName, protocol_of
from evaluation.cli.truth import NO_FILES, OpenImagesFiles
from fusion.errors import InputError, option
from fusion.printed_table import print_table
from fusion.terminal import notes, stderr
from zoo.cli.common import Output, need_torch

if TYPE_CHECKING:
    import numpy as np

    from evaluation.analysis.confusion import Confusion
    from zoo.data import Data

__all__ = ["zoo_experts"]


def zoo_experts(
    *,
    data: str,
    output: Output,
    by: Literal["cosine", "hierarchy", "confusion"] = "cosine",
    worst: int | None = None,
    categories: str | None = None,
    evaluation: Path | None = None,
    run: Path | None = None,
    table: Path | None = None,
    ground_truth: Annotated[Path | None, Parameter(name=("--ground-truth", "-g"))] = None,
    protocol: ProtocolName = "coco",
    threshold: float | None = None,
    ratio: float | None = None,
    seed: int = 0,
    open_images: OpenImagesFiles = NO_FILES,
) -> None:
    """Choose what an expert learns: categories, those that are confused with them, and the images of both.

    Writes positive.txt and confused.txt (ids and names), images.txt (ids) and data.txt, which `quorum train --data`
    takes.

    Args:
        data: What is to be trained on, as for quorum train.
        output: A folder.
        by: What makes categories confused: the cosine of their weights in the classifier of --run, a common parent
            in --hierarchy, or that detections of the one in --table meet objects of the other.
        worst: Learn so many categories, those of lowest AP in --evaluation, or of --table by the ground truth.
        categories: Or these: ids, names or labels with + between.
        evaluation: What quorum evaluate --format json printed of one table.
        run: Folder of a training on all categories.
        table: A detection table of a member.
        ground_truth: Annotations of the table's images.
        protocol: Which official evaluation of the table.
        threshold: Confused is what is more alike than this; 0.25 for cosine, 0.1 for confusion, when not given.
        ratio: At most so many images without an object of the expert's categories for each with one. Without
            --threshold the most alike categories are taken that bring as many.
        seed: Of the draw of images, where there are more.
        open_images: Further files of the ground truth; the hierarchy of --by hierarchy.
    """
    need_torch("zoo experts")
    from fusion.checks import at_least
    from zoo.data import open_data
    from zoo.data.extension import named_categories
    from zoo.experts import THRESHOLDS, choose_lesson, worst_categories

    if (worst is None) == (categories is None):
        raise InputError("zoo experts", "expected one of --worst and --categories", "For example --worst 10")
    if data.startswith("scenes:"):
        raise InputError(
            f"data {data!r}", "images of a data set in memory cannot be listed", "Write it: quorum zoo scenes"
        )
    if any(item.startswith(("only=", "against=")) for item in data.split(",")):
        raise InputError(f"data {data!r}", "knows some categories only", "Choose among all: leave only=, against= out")
    if ratio is not None:
        at_least("ratio", ratio, 0)
    source = open_data(data)
    notes(source.name, source.notes)
    measured: tuple[dict[int, float], Confusion] | None = None
    if table is not None and ground_truth is not None:
        measured = _measured(table, ground_truth, protocol, open_images, source)
    ap = _evaluated(evaluation) if evaluation is not None else {} if measured is None else measured[0]
    ids = source.category_ids.tolist()
    if categories is not None:
        positive = source.category_ids[named_categories(source.truth, categories)].tolist()
    elif not ap:
        raise InputError("option --worst", "there is no AP to go by", "Add --evaluation, or --table with -g")
    else:
        positive = worst_categories({category: ap[category] for category in ids if category in ap}, worst or 0)
    likeness = _likeness(by, source, run, None if measured is None else measured[1], open_images)
    lesson = choose_lesson(
        source.image_categories,
        source.category_ids,
        source.category_names,
        positive,
        likeness,
        threshold=THRESHOLDS[by] if threshold is None and ratio is None else threshold,
        ratio=ratio,
        seed=seed,
    )
    lesson.write(output, data, source.image_ids)
    print_table(lesson.table(ap))
    alike = f" (likeness from {lesson.likeness[-1]:.3g})" if len(lesson.confused) else ""
    stderr.print(
        f"{output}: {len(lesson.positive)} categories, {len(lesson.confused)} confused with them{alike}; "
        f"{lesson.having:,} images with an object of the expert's, {len(lesson.images) - lesson.having:,} without "
        f"(1 : {lesson.ratio:.2g})",
        highlight=False,
    )
    if not len(lesson.confused):
        more = "" if by == "hierarchy" else f"; {option('ratio', '3')} takes the most alike"
        notes(output, [f"nothing is confused with these categories{more}"])


def _evaluated(path: Path) -> dict[int, float]:
    """Return the AP of each category of a JSON file of quorum evaluate."""
    try:
        entries = msgspec.json.decode(path.read_bytes(), type=list[dict[str, Any]])
        [entry] = entries
        rows = {int(row["category_id"]): row["AP"] for row in entry["per_category"]}
    except (OSError, msgspec.MsgspecError, KeyError, TypeError, ValueError) as error:
        problem = f"expected what quorum evaluate --format json prints of one table ({error})"
        raise InputError(path, problem) from error
    return {category: float(value) for category, value in rows.items() if value is not None}


def _measured(
    table: Path, ground_truth: Path, protocol: ProtocolName, files: OpenImagesFiles, data: "Data"
) -> "tuple[dict[int, float], Confusion]":
    """Return the AP of each category of a table, and its confusion matrix.

    Raises:
        InputError: If the ground truth has other categories than the data.
    """
    from evaluation.analysis.table_analysis import analyze_table
    from evaluation.cli.members import read_member
    from evaluation.cli.truth import prepared_truth

    truth, prepared = prepared_truth(ground_truth, protocol_of(protocol, "bbox"), None, files)
    if truth.category_id.tolist() != data.category_ids.tolist():
        problem = f"has other categories than {data.name}"
        raise InputError(ground_truth, problem, "Give ground truth of the same data set")
    analysis = analyze_table(read_member(table, truth, None), prepared)
    return {row.category_id: row.AP for row in analysis.result.per_category if row.AP == row.AP}, analysis.confusion


def _likeness(
    by: str, data: "Data", run: Path | None, confusion: "Confusion | None", files: OpenImagesFiles
) -> "np.ndarray":
    """Return how much category i is confused with category j, float64 [k, k]."""
    import numpy as np

    from fusion.hierarchy import read_hierarchy
    from zoo.at_test import with_categories_of
    from zoo.experts import confusions, siblings
    from zoo.inference import load_model
    from zoo.rcnn import TwoStage

    match by:
        case "cosine" if run is not None:
            network, identity = load_model(run)
            if not isinstance(network, TwoStage):
                raise InputError(run, "has no classifier", "Give a detector")
            ids = with_categories_of(identity, data, run)[0].category_ids
            if len(ids) != len(data.category_ids):
                raise InputError(run, f"knows only {len(ids)} of the categories", "Give a training on all of them")
            order = np.argsort(ids)
            return network.boxes.category_cosines().double().numpy()[np.ix_(order, order)]
        case "hierarchy" if files.hierarchy is not None:
            return siblings(read_hierarchy(files.hierarchy), data.truth)
        case "confusion" if confusion is not None:
            return confusions(confusion.matrix)
    needed = {"cosine": "--run", "hierarchy": "--hierarchy", "confusion": "--table and -g"}[by]
    raise InputError(f"option --by {by}", f"needs {needed}")
