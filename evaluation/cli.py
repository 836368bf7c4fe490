"""Commands of package `evaluation`: import, evaluate, leaderboard, learn, split."""

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from cyclopts import Parameter

from evaluation.calibration import learn_calibration as learn_map
from evaluation.coco import evaluate as evaluate_table
from evaluation.coco_json import read_coco
from evaluation.ground_truth import GroundTruth
from evaluation.leaderboard import Entry, leaderboard_table
from evaluation.learning import learn_weights as learn_member_weights
from evaluation.learning import tuned_on
from evaluation.result import CocoResult
from fusion.atomic import replacing
from fusion.calibrate import ScoreMap
from fusion.coco_json import read_coco_results
from fusion.errors import InputError
from fusion.parts import named
from fusion.recipe import TunedOn
from fusion.recipe_toml import write_learned
from fusion.storage import part_paths, read_table, write_table
from fusion.table import DetectionTable, Metadata
from fusion.terminal import announcing_compilation, notes, progress_bar, stderr, stdout

__all__ = ["evaluate", "import_coco", "leaderboard", "learn_calibration", "learn_weights", "split"]

Output = Annotated[Path, Parameter(name=("--output", "-o"))]
GroundTruthFile = Annotated[Path, Parameter(name=("--ground-truth", "-g"))]
IouType = Literal["bbox", "segm"]


def import_coco(
    results: Path,
    /,
    *,
    output: Output,
    ground_truth: Annotated[Path | None, Parameter(name=("--ground-truth", "-g"))] = None,
    member: str | None = None,
    box_format: Literal["xywh", "xyxy"] = "xywh",
    categories: Literal["id", "name"] = "id",
    images: Literal["id", "file_name"] = "id",
    label_map: Path | None = None,
    category_offset: int = 0,
    image_offset: int = 0,
    unknown_images: Literal["error", "drop"] = "error",
    unknown_categories: Literal["error", "drop"] = "error",
    scores: Literal["any", "unit"] = "any",
    parts: int | None = None,
    split_name: Annotated[str | None, Parameter(name="--split")] = None,
) -> None:
    """Make a detection table from a COCO results JSON file.

    Args:
        results: A list of results, or a COCO-like file whose annotations carry scores.
        output: The table; with --parts a folder.
        ground_truth: Annotations to check image and category ids against.
        member: Name of the model; the output's name when not given.
        box_format: What `bbox` holds: xywh as COCO says, or xyxy corners.
        categories: What `category_id` holds: ids, or names that the ground truth or the label map knows.
        images: How images are joined with the ground truth: by id, or by file name (needs a file with an image list).
        label_map: A JSON or TOML file that maps the file's category ids or names to those of the ground truth.
        category_offset: Added to each category id.
        image_offset: Added to each image id.
        unknown_images: What to do with detections on images that the ground truth does not have.
        unknown_categories: The same for categories, and for labels that the label map does not have.
        scores: Accept any finite score, or only those in [0, 1].
        parts: Cut the table into this many files, for data sets that do not fit in memory.
        split_name: Name of the split, kept in the table.
    """
    truth = None if ground_truth is None else read_coco(ground_truth)
    if truth is not None:
        notes(ground_truth, truth.notes)
    with announcing_compilation(), progress_bar() as bar:
        task = bar.add_task(f"reading {results.name}", total=None)
        table = read_coco_results(
            results,
            vocabulary=None if truth is None else truth.vocabulary,
            box_format=box_format,
            categories=categories,
            images=images,
            label_map=None if label_map is None else _read_label_map(label_map),
            category_offset=category_offset,
            image_offset=image_offset,
            unknown_images=unknown_images,
            unknown_categories=unknown_categories,
            scores=scores,
            metadata=Metadata(
                member=member or output.stem,
                dataset=None if ground_truth is None else ground_truth.stem,
                split=split_name,
                categories=None if truth is None else truth.categories_fingerprint,
            ),
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    write_table(table, output, parts=parts)
    notes(results, table.metadata.made_by["notes"])
    stderr.print(
        f"{output}: {len(table):,} detections on {len(table.image_ids):,} images, member {table.metadata.member}",
        highlight=False,
    )


def evaluate(
    *tables: Path,
    ground_truth: GroundTruthFile,
    iou_type: IouType = "bbox",
    as_format: Annotated[Literal["text", "json"], Parameter(name="--format")] = "text",
    images: Path | None = None,
    max_dets: str = "1,10,100",
    use_cats: bool = True,
    match_id_zero: Annotated[bool, Parameter(negative="")] = False,
    per_category: bool = True,
) -> None:
    """Measure tables by the COCO protocol: the twelve numbers, and a table per category.

    Args:
        tables: Parquet files or folders of parts.
        ground_truth: COCO annotations.
        iou_type: Boxes or masks.
        as_format: text for people, or one JSON list with an object per table.
        images: Measure only these images: a text file with an id per line, as `quorum split` writes.
        max_dets: Detections per image and category that count: numbers with commas between.
        use_cats: Off: all categories are one.
        match_id_zero: Let annotation id 0 be matched. pycocotools never does, and so neither do we unless asked.
        per_category: Print the table per category.
    """
    truth = _truth(ground_truth, images)
    caps = _caps(max_dets)
    results = []
    for path in _given(tables, "evaluate"):
        table = _on(truth, read_table(path), images)
        options = {"iou_type": iou_type, "max_dets": caps, "use_cats": use_cats, "match_id_zero": match_id_zero}
        results.append((path, _measured(path, table, truth, **options)))
    if as_format == "json":
        rows = [{"table": str(path), **result.to_dict()} for path, result in results]
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(rows), indent=2).decode() + "\n")
        return
    console = stdout()
    for path, result in results:
        console.print(f"[bold]{path}[/bold]  ({iou_type}, {len(truth.image_id):,} images)", highlight=False)
        console.print(result.to_rich())
        if per_category:
            console.print(result.to_rich(per_category=True))


def leaderboard(
    *tables: Path, ground_truth: GroundTruthFile, iou_type: IouType = "bbox", images: Path | None = None
) -> None:
    """Rank tables by AP.

    Args:
        tables: Parquet files or folders of parts.
        ground_truth: COCO annotations.
        iou_type: Boxes or masks.
        images: Measure only these images: a text file with an id per line.
    """
    truth = _truth(ground_truth, images)
    entries = []
    stems = [path.stem for path in tables]
    for path in _given(tables, "leaderboard"):
        table = _on(truth, read_table(path), images)
        result = _measured(path, table, truth, iou_type=iou_type)
        name = path.stem if stems.count(path.stem) == 1 else str(path)
        size = sum(part.stat().st_size for part in part_paths(path))
        entries.append(Entry(name, result, len(table), size))
    stdout().print(leaderboard_table(entries, f"{iou_type}, {len(truth.image_id):,} images"))


def learn_weights(
    *tables: Path,
    ground_truth: GroundTruthFile,
    output: Output,
    builder: str = "ap_ratio",
    images: Path | None = None,
    power: float = 1.0,
    floor: float = 0.0,
    t0: float = 0.5,
    r: int = 1,
    iou_type: IouType = "bbox",
) -> None:
    """Learn a weight per member and category from the members' AP.

    Args:
        tables: One table per member.
        ground_truth: COCO annotations.
        output: A TOML file for `quorum fuse --weights`, or for a recipe's reweight step.
        builder: ap_ratio, ap_share, rank_linear, top_r or uniform.
        images: Learn only on these images: a text file with an id per line.
        power: ap_ratio, ap_share: sharpens above 1, flattens below.
        floor: ap_ratio, ap_share: smallest weight.
        t0: rank_linear: weight of the last rank.
        r: top_r: members kept per category.
        iou_type: Boxes or masks.
    """
    truth = _truth(ground_truth, images)
    with announcing_compilation():
        members = [named(read_table(path), path) for path in _given(tables, "learn weights")]
        chosen = [_on(truth, member, images) for member in members]
        weights = learn_member_weights(chosen, truth, builder, iou_type=iou_type, power=power, floor=floor, t0=t0, r=r)
    write_learned(output, "weights", weights, tuned_on(truth, f"weights by {builder}"))
    stderr.print(f"{output}: weights of {len(weights)} members by {builder}", highlight=False)


def learn_calibration(
    *tables: Path,
    output: Output,
    ground_truth: Annotated[Path | None, Parameter(name=("--ground-truth", "-g"))] = None,
    kind: Literal["isotonic", "rank"] = "isotonic",
    images: Path | None = None,
) -> None:
    """Learn maps that bring the members' scores onto one scale.

    Args:
        tables: One table per member.
        ground_truth: COCO annotations; rank does without.
        output: A TOML file for `quorum fuse --calibration`, or for a recipe's calibrate step.
        kind: isotonic: score to expected IoU; rank: score to its share of the member's scores.
        images: Learn only on these images: a text file with an id per line.
    """
    if ground_truth is None and (kind != "rank" or images is not None):
        raise InputError(
            "learn calibration", f"kind {kind} needs --ground-truth", "Give it, or use --kind rank without --images"
        )
    truth = None if ground_truth is None else _truth(ground_truth, images)
    maps: dict[str, ScoreMap] = {}
    with announcing_compilation():
        for path in _given(tables, "learn calibration"):
            member = named(read_table(path), path)
            maps[str(member.metadata.member)] = learn_map(member, truth, kind)
    if len(maps) < len(tables):
        raise InputError(
            "learn calibration", "two tables have the same member name", "Rename one with --member at import"
        )
    origin = (
        TunedOn(fingerprint="", images=0, note="ranks only")
        if truth is None
        else tuned_on(truth, f"{kind} calibration")
    )
    write_learned(output, "maps", maps, origin)
    stderr.print(f"{output}: {kind} maps of {len(maps)} members", highlight=False)


def split(ground_truth: Path, /, *, output: Output, parts: int = 2) -> None:
    """Deal the images of a data set, sorted by id, in turn into lists.

    Args:
        ground_truth: COCO annotations.
        output: Folder for `part-0.txt`, `part-1.txt` ..., an image id per line.
        parts: Number of lists.
    """
    if parts < 2:
        raise InputError("option parts", f"expected a whole number of at least 2, got {parts}")
    ids = read_coco(ground_truth).image_id
    for part in range(parts):
        path = output / f"part-{part}.txt"
        with replacing(path) as temporary:
            temporary.write_text("".join(f"{image}\n" for image in ids[part::parts]), encoding="utf-8")
        stderr.print(f"{path}: {len(ids[part::parts]):,} images", highlight=False)


def _measured(path: Path, table: DetectionTable, truth: GroundTruth, **options: Any) -> CocoResult:
    """Evaluate a table; notes and errors name its file."""
    try:
        with announcing_compilation():
            result = evaluate_table(table, truth, **options)
    except InputError as error:
        raise InputError(f"{path}, {error.where}", error.problem, error.remedy) from error
    notes(path, result.notes)
    return result


def _caps(text: str) -> tuple[int, ...]:
    caps = text.split(",")
    if not all(cap.strip().isdigit() for cap in caps):
        raise InputError("option --max-dets", f"expected whole numbers with commas between, got {text!r}")
    return tuple(int(cap) for cap in caps)


def _truth(path: Path, images: Path | None) -> GroundTruth:
    truth = read_coco(path)
    notes(path, truth.notes)
    return truth if images is None else truth.subset(_read_images(images, truth))


def _on(truth: GroundTruth, table: DetectionTable, images: Path | None) -> DetectionTable:
    """Leave out detections on other images, but only where the user chose images."""
    return table if images is None else table.select_images(truth.image_id)


def _read_images(path: Path, truth: GroundTruth) -> np.ndarray:
    try:
        lines = path.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(path, f"expected a text file with an image id per line ({error})") from error
    if truth.image_id.dtype == object:
        return np.array(lines, dtype=object)
    wrong = [line for line in lines if not line.lstrip("-").isdigit()]
    if wrong:
        raise InputError(path, f"expected integer image ids as in {truth.source}, got {wrong[0]!r}")
    return np.array([int(line) for line in lines], dtype=np.int64)


def _given(tables: tuple[Path, ...], command: str) -> tuple[Path, ...]:
    if not tables:
        raise InputError(command, "no table was given", "Name one or several Parquet files or folders of parts")
    return tables


def _read_label_map(path: Path) -> dict[int | str, int | str]:
    try:
        decode = msgspec.toml.decode if path.suffix == ".toml" else msgspec.json.decode
        labels: dict[int | str, int | str] = decode(path.read_bytes(), type=dict[str, int | str])
        return labels
    except (OSError, msgspec.MsgspecError, ValueError) as error:
        raise InputError(
            path,
            f"expected a JSON or TOML file that maps labels to ids or names ({error})",
            'For example {"person": 1}',
        ) from error
