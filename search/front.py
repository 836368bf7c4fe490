"""From members to the best fusion of them in one call: files or tables in, an answer and files out."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from evaluation.cli.groups import groups_of
from evaluation.cli.protocols import IouType, ProtocolName, protocol_of
from evaluation.ground_truth import GroundTruth
from evaluation.loading import load, load_truth
from evaluation.protocol import Coco, Lvis, OpenImages
from fusion.checks import at_least, one_of
from fusion.coco_results import write_coco_results
from fusion.errors import InputError, option
from fusion.one_part import signed
from fusion.recipe import Recipe
from fusion.recipe_file import write_recipe
from fusion.storage import write_table
from fusion.table import DetectionTable
from fusion.terminal import notes
from search.answer import Answer
from search.auto import Improvement, improve
from search.device import settle_device
from search.journal import Journal
from search.preparation import LEARNED
from search.problem import pose
from search.report import write_report
from search.seek import in_words, seek
from search.splits import dealt
from search.study import Settings

__all__ = ["Member", "auto", "results_file", "search"]

Member = DetectionTable | str | os.PathLike[str]
"""A table, or the file that one is read from; see `quorum.load`."""


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
        output: Folder for fused.parquet, results.json (or results.csv), best.toml, report.html and .md, and the trials,
            with which the same call goes on where it was interrupted. Nothing is written when not given.
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
    groups = _labels(groups, truth, "auto")
    measured = protocol_of(protocol, iou_type) if isinstance(protocol, str) else protocol
    tables = _named(members, [one if isinstance(one, DetectionTable) else load(one, truth) for one in members])
    tests = [one if isinstance(one, DetectionTable) else load(one, categories_of=truth) for one in test_files]
    folder = None if output is None else Path(output)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    found = improve(
        tables, truth, measured, groups=groups, seconds=60 * minutes, seed=seed, folder=folder, progress=progress
    )
    if tests:
        tests = [test.with_metadata(member=one.metadata.member) for test, one in zip(tests, tables, strict=True)]
        found = replace(found, fused=found.recipe.fuse(tests))
    found = replace(found, fused=signed(found.fused, found.recipe))
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


def search(
    members: Sequence[Member],
    ground_truth: GroundTruth | str | os.PathLike[str],
    *,
    splits: Mapping[str, np.ndarray] | None = None,
    budget: int = 1000,
    mode: str = "hybrid",
    protocol: ProtocolName | Coco | Lvis | OpenImages = "coco",
    iou_type: IouType = "bbox",
    learn: Literal["all", "calibration", "nothing"] = "all",
    groups: np.ndarray | str | os.PathLike[str] | None = None,
    patience: int | None = None,
    seed: int = 0,
    device: str = "cpu",
    workers: int = 1,
    memory: float = 2.0,
    output: str | os.PathLike[str] | None = None,
    progress: Callable[[str], None] | None = None,
) -> Answer:
    """Search for the best tree of members and operators: what `quorum search` does.

    Args:
        members: The detections of each on the images of the ground truth: tables with a name, or their files.
        ground_truth: Ground truth, or its file.
        splits: Image ids by name: the first split is searched on, the last one's figure is the one to quote. Two even
            ones, "search" and "verify", when not given.
        budget: Number of trials.
        mode: One of `search.study.MODES`.
        protocol: Which official evaluation: its name, or one with options of your own.
        iou_type: Boxes or masks, where the protocol is named.
        learn: On the first split, what becomes part of the recipe: "all", corrections of boxes, calibrations and
            learned scores, where they help on parts held back; "calibration", a map of scores per member.
        groups: [images] label of each image: those of one group (a video, a day) are held back together; or a CSV file
            with columns image_id and group. Taken from the file names, if they tell, when not given.
        patience: Stop when so many trials have brought no more than a standard error.
        seed: Of everything random; the same seed gives the same answer for any number of workers.
        device: "cpu", "cuda" (an NVIDIA GPU, which runs trials one at a time), or "auto": the GPU if there is one.
        workers: Processes that run trials; a script that has more than one must be importable, as for any process pool
            of Python: what it does stands under `if __name__ == "__main__"`.
        memory: GiB for results of sub-trees, in each process or on the GPU.
        output: Folder for best.toml, report.html, report.md, tree.svg and the journal of trials, with which the same
            call goes on. Nothing is written when not given.
        progress: Told what is being done.

    Returns:
        The answer: its `recipe`, to be replayed on other tables, and its gains on every split.

    Raises:
        InputError: If something cannot be read or used, or there is too little to learn from.
    """
    truth = load_truth(ground_truth)
    labels = _labels(groups, truth, "search")
    at_least("workers", workers, 1, whole=True)
    at_least("memory", memory, 0.0)
    one_of("learn", learn, tuple(LEARNED))
    settings = Settings(mode=mode, budget=budget, seed=seed, patience=patience)
    device, said = settle_device(device, workers)
    notes("search", said)
    measured = protocol_of(protocol, iou_type) if isinstance(protocol, str) else protocol
    tables = _named(members, [one if isinstance(one, DetectionTable) else load(one, truth) for one in members])
    parts = dealt(truth, ("search", "verify"), groups=labels, seed=seed) if splits is None else splits
    problem = pose(
        tables,
        truth,
        parts,
        measured,
        treatment=LEARNED[learn],
        groups=labels,
        weigh=device == "cpu",
        progress=progress,
    )
    folder = None if output is None else Path(output)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    origin = problem.origin | {"mode": mode}
    journal = None if folder is None else Journal(folder / "trials.journal", origin, 0)

    def keep(recipe: Recipe) -> None:
        if folder is not None:
            write_recipe(recipe, folder / "best.toml")

    study, answer = seek(
        problem,
        settings,
        device=device,
        workers=workers,
        memory=memory,
        scores=learn == "all",
        journal=journal,
        chosen=keep,
        said=progress,
        progress=None if progress is None else in_words(progress),
    )
    if folder is not None:
        write_report(answer, study, folder)
    return answer


def _labels(groups: np.ndarray | str | os.PathLike[str] | None, truth: GroundTruth, what: str) -> np.ndarray | None:
    """Return the group of each image, as given, as a file says, or as file names suggest."""
    if groups is None or isinstance(groups, (str, os.PathLike)):
        return groups_of(truth, None if groups is None else Path(groups), what)
    return groups


def results_file(paths: Sequence[str | os.PathLike[str]], *, tested: bool) -> str:
    """Return the name of the file in which the answer is written in the form that the first member came in.

    Of an Open Images answer on test files that is the table: which images they are of, only their list can tell.
    """
    from evaluation.formats import recognised

    csv = bool(paths) and Path(paths[0]).suffix == ".csv" and recognised(paths[0], "results").name == "openimages"
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
        raise InputError("members", f"two are of the name {twice!r}", "Rename one")
    return [table.with_metadata(member=name) for table, name in zip(tables, made, strict=True)]
