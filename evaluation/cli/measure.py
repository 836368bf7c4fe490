"""Commands `quorum evaluate` and `quorum leaderboard`."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from cyclopts import Parameter

from evaluation.cli.common import GroundTruthFile, IouType, measured, on_images, read_truth, some_tables
from evaluation.leaderboard import Entry, leaderboard_table
from fusion.errors import InputError
from fusion.storage import part_paths, read_table
from fusion.terminal import stdout

__all__ = ["evaluate", "leaderboard"]


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
    truth = read_truth(ground_truth, images)
    caps = _caps(max_dets)
    results = []
    for path in some_tables(tables, "evaluate"):
        table = on_images(truth, read_table(path), images)
        options = {"iou_type": iou_type, "max_dets": caps, "use_cats": use_cats, "match_id_zero": match_id_zero}
        results.append((path, measured(path, table, truth, **options)))
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
    truth = read_truth(ground_truth, images)
    entries = []
    stems = [path.stem for path in tables]
    for path in some_tables(tables, "leaderboard"):
        table = on_images(truth, read_table(path), images)
        result = measured(path, table, truth, iou_type=iou_type)
        name = path.stem if stems.count(path.stem) == 1 else str(path)
        size = sum(part.stat().st_size for part in part_paths(path))
        entries.append(Entry(name, result, len(table), size))
    stdout().print(leaderboard_table(entries, f"{iou_type}, {len(truth.image_id):,} images"))


def _caps(text: str) -> tuple[int, ...]:
    caps = text.split(",")
    if not all(cap.strip().isdigit() for cap in caps):
        raise InputError("option --max-dets", f"expected whole numbers with commas between, got {text!r}")
    return tuple(int(cap) for cap in caps)
