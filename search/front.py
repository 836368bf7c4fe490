"""From members to the best fusion of them in one call: files or tables in, files out."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from evaluation.cli.groups import groups_of
from evaluation.cli.protocols import IouType, ProtocolName, protocol_of
from evaluation.ground_truth import GroundTruth
from evaluation.loading import load, load_truth
from evaluation.protocol import Coco, Lvis, OpenImages
from fusion.coco_results import write_coco_results
from fusion.errors import InputError, option
from fusion.recipe_file import write_recipe
from fusion.storage import write_table
from fusion.table import DetectionTable
from search.auto import Improvement, improve
from search.report import write_report

__all__ = ["Member", "auto", "results_file"]

Member = DetectionTable | str | os.PathLike[str]
"""A table, or the file that one is read from; see `evaluation.load`."""


def auto(
    members: Sequence[Member],
    ground_truth: GroundTruth | str | os.PathLike[str],
    *,
    output: str | os.PathLike[str] | None = None,
    minutes: float = 5.0,
    test_files: Sequence[Member] = (),
    groups: np.ndarray | str | os.PathLike[str] | None = None,
    protocol: ProtocolName | Coco | Lvis | OpenImages = "coco",
    iou_type: IouType = "bbox",
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> Improvement:
    """Turn the detections of several members into better ones, and say by how much: what `quorum auto` does.

    Half of the images chooses and learns, the other half measures: no figure is of images that it was learned on. Where
    fusing does not help, the answer is the best member, with the reason.

    Args:
        members: The detections of each on the images of the ground truth: tables, or their files.
        ground_truth: Ground truth, or its file.
        output: Folder for fused.parquet, results.json (or results.csv), best.toml, report.md and the trials, with which
            the same call goes on where it was interrupted. Nothing is written when not given.
        minutes: About how long it may take.
        test_files: Detections of the same members, in the same order, on images without ground truth: these are fused
            then.
        groups: [images] label of each image: images of one group (a video, a day) are kept together; or a CSV file with
            columns image_id and group. Taken from the file names, if they tell, when not given.
        protocol: Which official evaluation: its name, or one with options of your own.
        iou_type: Boxes or masks, where the protocol is named.
        seed: Of everything random.
        progress: Told what is being done.

    Returns:
        What was found: `fused`, `recipe`, `gain` and more.

    Raises:
        InputError: If something cannot be read, or there is too little to learn from.
    """
    paths = [one for one in members if not isinstance(one, DetectionTable)]
    if not members:
        raise InputError("auto", "no result file was given", "Name one for each detector")
    if test_files and len(test_files) != len(members):
        raise InputError(
            f"option {option('test_files')}",
            f"got {len(test_files)} for {len(members)} detectors",
            "Give one each, in their order",
        )
    if minutes <= 0:
        raise InputError(f"option {option('minutes')}", f"expected a number above 0, got {minutes:g}")
    truth = load_truth(ground_truth)
    if groups is None or isinstance(groups, (str, os.PathLike)):
        groups = groups_of(truth, None if groups is None else Path(groups), "auto")
    measured = protocol_of(protocol, iou_type) if isinstance(protocol, str) else protocol
    tables = _named(members, [one if isinstance(one, DetectionTable) else load(one, truth) for one in members])
    tests = [one if isinstance(one, DetectionTable) else load(one) for one in test_files]
    folder = None if output is None else Path(output)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    found = improve(
        tables, truth, measured, groups=groups, seconds=60 * minutes, seed=seed, folder=folder, progress=progress
    )
    if tests:
        tests = [test.with_metadata(member=one.metadata.member) for test, one in zip(tests, tables, strict=True)]
        found = replace(found, fused=found.recipe.fuse(tests))
    if folder is not None:
        write_table(found.fused, folder / "fused.parquet")
        results = folder / results_file(paths, tested=bool(tests))
        if results.suffix == ".json":
            write_coco_results(found.fused, results)
        elif results.suffix == ".csv":
            from evaluation.submissions import write_submission

            write_submission(found.fused, results, "openimages-evaluator", images=truth, iou_type=measured.iou_type)
        write_recipe(found.recipe, folder / "best.toml")
        write_report(found.answer, found.study, folder)
    return found


def results_file(paths: Sequence[str | os.PathLike[str]], *, tested: bool) -> str:
    """Return the name of the file in which the answer is written in the form that the first member came in.

    Of an Open Images answer on test files that is the table: which images they are of, only their list can tell.
    """
    csv = bool(paths) and Path(paths[0]).suffix == ".csv"
    return ("fused.parquet" if tested else "results.csv") if csv else "results.json"


def _named(members: Sequence[Member], tables: Sequence[DetectionTable]) -> list[DetectionTable]:
    """Give each a name of its own: files of one name that of their folder as well, tables without one a number."""
    names = [str(table.metadata.member or f"member-{place}") for place, table in enumerate(tables, 1)]
    made = [
        f"{Path(one).absolute().parent.name}-{name}"
        if names.count(name) > 1 and not isinstance(one, DetectionTable)
        else name
        for one, name in zip(members, names, strict=True)
    ]
    if len(set(made)) < len(made):
        twice = next(name for name in made if made.count(name) > 1)
        raise InputError("auto", f"two files are of member {twice!r}", "Rename one")
    return [table.with_metadata(member=name) for table, name in zip(tables, made, strict=True)]
