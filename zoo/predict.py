"""Running a trained model over a data set: a detection table, written part by part."""

import hashlib
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import pyarrow.parquet as pq
import torch

from evaluation.belonging import origin_of
from fusion.atomic import replacing
from fusion.checks import at_least
from fusion.errors import InputError, option
from fusion.parquet import check_bytes, parquet_writer
from fusion.places import Remote, place_of
from fusion.shards import Shard
from fusion.storage import BY_ID, part_name, part_of, part_paths, read_metadata, read_table, write_table
from fusion.table import DetectionTable, Metadata, Part
from fusion.terminal import notes
from fusion.unfinished import put_in_place, whole, work_folder
from zoo.checkpoint import Which
from zoo.data import Data, View
from zoo.distributed import alone, joined
from zoo.finder import Finder
from zoo.inference import Inference
from zoo.runs import source_revision, versions
from zoo.store import hash_of
from zoo.trained import TrainedFinder

__all__ = ["PredictReport", "predict"]

_CHUNK = 256  # images in memory at a time where the output is one file


@dataclass(frozen=True)
class PredictReport:
    """What a prediction did.

    Attributes:
        images: Images of the data set; with a share, of its parts.
        detections: Rows of the table; where others' shares are left, those that this call has written.
        seconds: Of this call.
        resumed: Parts taken from an interrupted run.
        complete: The whole table was there already, written by an earlier call with the same model, data and options.
        whole: The table is there; of a share it is only where others have made theirs.
    """

    images: int
    detections: int
    seconds: float
    resumed: int
    complete: bool = False
    whole: bool = True


def predict(
    model: Path | Callable[[torch.device], Finder],
    data: Data,
    output: Path,
    *,
    views: Sequence[View] | None = None,
    boxes: Path | None = None,
    scores: Literal["box", "mask"] = "box",
    parts: int | None = None,
    shard: Shard | None = None,
    batch: int = 1,
    workers: int = 0,
    settings: Mapping[str, Any] | None = None,
    weights: Which | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> PredictReport:
    """Run a model over a data set and write what it finds as a detection table.

    Every view of an image is seen on its own and its detections keep the view's name; merging them is fusion's
    work. Finished parts stay in `<output>.<key>.unfinished` when a run is interrupted, and the same call takes them up;
    where the table is complete, it runs nothing.
    Under torchrun the parts are shared among the processes.

    Args:
        model: Folder of the training; or what loads another model onto a device, such as `zoo.members.foreign`.
        data: Images, with or without annotations.
        output: A file, or with `parts` a folder.
        views: Sizes and flips; the configuration's when not given.
        boxes: A table whose boxes get masks (two-pass, megdetv2-coco2019, sec. 1), or are moved by a box refiner: rows,
            categories, scores and, by a segmenter, boxes stay as they are, and no others are found. With several views,
            each row comes once per view.
        scores: "mask" multiplies scores by the IoU that a mask-rescoring head predicts.
        parts: Cut the table into a folder of this many files, for data sets whose table does not fit in memory.
        shard: Of the parts make only this share, without joining other processes; whoever makes the last of all parts
            puts the table in place.
        batch: Images that go through the model together.
        workers: Processes that load images.
        settings: Fields of `infer` that are to be others than the training's, such as {"infer.detections": 300}.
        weights: "ema" takes the averaged weights, "last" those of the last step; None the averaged if there are such.
        progress: Called with (images done, images in all), counting each view.

    Raises:
        InputError: If the model, the boxes and the data do not go together, or the output cannot be written.
    """
    started = time.perf_counter()
    at_least("batch", batch, 1, whole=True)
    if not len(data):
        raise InputError(data.name, "has no image")
    if shard is not None and parts is None:
        problem = "is of the parts of a table, and this one is a single file"
        raise InputError(f"option {option('shard')}", problem, f"Give {option('parts')} as well")
    with joined() if shard is None else alone() as ranks:
        if isinstance(model, Path):
            finder: Finder = TrainedFinder.load(model, data, ranks.device, settings, weights)
            where = str(model)
        else:
            finder = model(ranks.device)
            where = str(finder.about.get("model", finder.name))
        inference = Inference(
            model=finder,
            data=data,
            views=tuple(views or finder.views),
            given=None if boxes is None else _given(boxes, data, finder),
            scores=scores,
            batch=batch,
            workers=workers,
        )
        if boxes is None and finder.boxes_given == "always":
            raise InputError(where, "takes boxes that are given to it, and none were given", f"Add {option('boxes')}")
        if boxes is not None and finder.boxes_given == "never":
            problem = f"has no mask head that takes boxes, and {option('boxes')} asks for masks"
            raise InputError(where, problem, "Train a variant with masks")
        if scores == "mask" and not finder.scores_masks:
            raise InputError("option --scores mask", f"{where} has no mask-rescoring head", "Leave it out")
        said = tuple(finder.notes(data, inference.views, boxes is None))
        metadata = _metadata(inference, boxes, parts, said)
        if ranks.first:
            notes(where, said)
        rows = _rows_of_finished(output, metadata, parts)
        if rows is not None:
            if ranks.first:
                shutil.rmtree(work_folder(output, metadata.made_by["run"]), ignore_errors=True)
            return PredictReport(len(data), rows, time.perf_counter() - started, 0, complete=True)
        if isinstance(place_of(output), Remote):
            remedy = "Choose one there, and copy it with `quorum repart`"
            raise InputError(output, "expected a place on a disk: what is predicted waits there", remedy)
        if output.exists() and (parts is not None or output.is_dir()):
            raise InputError(
                output, "exists already, and a folder is not overwritten", "Remove it or choose another name"
            )
        share = shard or Shard(ranks.rank, ranks.world)
        images, written, resumed = _write_parts(inference, output, metadata, parts, share, progress)
        if shard is not None and parts is not None:
            there = _finish_shares(output, metadata.made_by["run"], parts)
            rows = read_metadata(output)[1] if there else written
            return PredictReport(images, rows, time.perf_counter() - started, resumed, whole=there)
        ranks.wait()
        rows = _finish(output, metadata.made_by["run"], parts) if ranks.first else 0
        ranks.wait()
        return PredictReport(len(data), rows, time.perf_counter() - started, resumed)


def _given(boxes: Path, data: Data, finder: Finder) -> DetectionTable:
    table = read_table(boxes)
    if table.metadata.unit != "pixel":
        raise InputError(boxes, f"its boxes are {table.metadata.unit}, expected pixels")
    unknown = np.setdiff1d(table.category_id, np.array(finder.category_ids))
    if len(unknown):
        raise InputError(boxes, f"has category {unknown[0]}, which the model does not know")
    known = set(data.image_ids)
    outside = [image for image in table.image_ids.tolist() if image not in known]
    if outside:
        raise InputError(
            boxes,
            f"has boxes on {len(outside)} images that the data set does not have, such as {outside[0]!r}",
            "Give the data set that the boxes were found on",
        )
    return table


def _metadata(inference: Inference, boxes: Path | None, parts: int | None, said: tuple[str, ...]) -> Metadata:
    """What the table says about itself; `made_by["run"]` tells runs apart by all that their rows depend on."""
    made_by: dict[str, Any] = {
        **inference.model.about,
        "views": [
            view.name if view.long is None else f"{view.name} (long side up to {view.long})" for view in inference.views
        ],
        "scores": inference.scores,
        "notes": list(said),
        "versions": versions(),
        "source": source_revision(),
    }
    name = inference.model.name
    if boxes is not None and inference.given is not None:
        given = inference.given.metadata.member
        made_by["boxes"] = {"file": str(boxes), "sha256": hash_of(boxes), "member": given}
        name = f"{given or boxes.stem}+{name}"
    metadata = Metadata(
        dataset=inference.data.name or None,
        split=inference.data.split or None,
        **origin_of(inference.data.truth),
        member=name,
        made_by=made_by,
    )
    document = [metadata, inference.model.category_ids, inference.data.fingerprint, inference.data.image_ids, parts]
    made_by["run"] = hashlib.sha256(msgspec.json.encode(document)).hexdigest()
    return metadata


def _write_parts(
    inference: Inference,
    output: Path,
    metadata: Metadata,
    parts: int | None,
    share: Shard,
    progress: Callable[[int, int], None] | None,
) -> tuple[int, int, int]:
    """Write a share of the parts that are not there; return its images, rows written, and how many parts were there."""
    pieces = _pieces(inference.data, parts)
    run = metadata.made_by["run"]
    work = work_folder(output, run)
    mine = [(number, pieces[number]) for number in share.of(len(pieces))]
    total, done = len(inference.views) * sum(len(piece) for _, piece in mine), 0

    def advance(count: int = 1) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(done, total)

    targets = {number: work / part_name(number) for number, _ in mine}
    left = [(number, piece) for number, piece in mine if not targets[number].exists()]
    advance(total - len(inference.views) * sum(len(piece) for _, piece in left))
    tables = inference.tables([piece for _, piece in left], metadata, advance)
    rows = 0
    for (number, _), table in zip(left, tables, strict=True):
        part = None if parts is None else Part(rule=BY_ID, count=parts, number=number)
        write_table(table, targets[number], part=part, key=run)
        rows += len(table)
    return sum(len(piece) for _, piece in mine), rows, len(mine) - len(left)


def _pieces(data: Data, parts: int | None) -> list[np.ndarray]:
    """Indices of the images of each part; chunks in the order of ids, or by `fusion.storage.part_of`."""
    given = data.image_ids
    ids = np.array(given, dtype=object if isinstance(given[0], str) else np.int64)
    order = np.argsort(ids, kind="stable")
    if parts is None:
        return [order[start : start + _CHUNK] for start in range(0, len(order), _CHUNK)]
    part = part_of(ids, parts)[order]
    return [order[part == number] for number in range(parts)]


def _rows_of_finished(output: Path, metadata: Metadata, parts: int | None) -> int | None:
    """Return the number of rows of the output if an earlier run of the same has made it to its end, else None."""
    try:
        found, rows = read_metadata(output)
        pieces = len(part_paths(output)) if output.is_dir() else None
    except InputError:
        return None
    return rows if (pieces, found.made_by.get("run")) == (parts, metadata.made_by["run"]) else None


def _finish_shares(output: Path, run: str, parts: int) -> bool:
    """Put the output in place if all parts are there, whoever made them; return whether it is."""
    work, keys = work_folder(output, run), [run] * parts
    if whole(output, keys):
        shutil.rmtree(work, ignore_errors=True)  # made anew by who was at a part that another has made, too
    elif all((work / part_name(number)).exists() for number in range(parts)):
        put_in_place(work, output, keys)
    return whole(output, keys)


def _finish(output: Path, run: str, parts: int | None) -> int:
    """Make the output of the finished parts, one in memory at a time; return the number of rows."""
    work = work_folder(output, run)
    files = sorted(work.glob("part-*.parquet"))
    rows = sum(int(pq.ParquetFile(file).metadata.num_rows) for file in files)
    if parts is not None:
        put_in_place(work, output, [run] * parts)
        return rows
    schema = pq.read_schema(files[0])
    with replacing(output) as temporary, parquet_writer(temporary, schema) as write:
        for file in files:
            check_bytes(file)
            write(pq.read_table(file, page_checksum_verification=True))
    shutil.rmtree(work)
    return rows
