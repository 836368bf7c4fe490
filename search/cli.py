"""Commands `quorum search` and `quorum split`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from evaluation.cli.figure_options import USUAL, FigureOptions
from evaluation.cli.groups import groups_of
from evaluation.cli.image_lists import read_groups, read_image_list
from evaluation.cli.members import read_member, some_tables
from evaluation.cli.output import Output
from evaluation.cli.protocols import IouType, ProtocolName, protocol_of
from evaluation.cli.truth import NO_FILES, GroundTruthFile, OpenImagesFiles, read_truth
from fusion.errors import InputError, Warned, option

if TYPE_CHECKING:
    import numpy as np

    from evaluation.ground_truth import GroundTruth
    from search.answer import Answer
    from search.study import Study

__all__ = ["search", "split"]


def search(
    *tables: Path,
    ground_truth: GroundTruthFile,
    output: Output,
    split: str = "search,verify",
    splits: Path | None = None,
    budget: int = 1000,
    mode: Literal["hybrid", "two-stage", "flat", "greedy"] = "hybrid",
    protocol: ProtocolName = "coco",
    iou_type: IouType = "bbox",
    seed: int = 0,
    workers: int = 1,
    memory: float = 2.0,
    device: str = "cpu",
    learn: Literal["all", "calibration", "nothing"] = "all",
    groups: Path | None = None,
    patience: int | None = None,
    resume: Annotated[bool, Parameter(negative="")] = False,
    storage: str | None = None,
    island: int = 0,
    open_images: OpenImagesFiles = NO_FILES,
    figures: FigureOptions = USUAL,
) -> None:
    """Search for the best tree of members and operators; Ctrl-C ends it with the best so far.

    Args:
        tables: One per member: Parquet files, folders of parts, or result files of any format.
        ground_truth: Annotations of any format (docs/formats.md).
        output: Folder for best.toml, report.html, report.md, tree.svg, trials.parquet, categories.csv and the
            journal of trials.
        split: Names of the splits: the first is searched on, the last one's figure is the one to quote.
        splits: Folder with a list of images per split, as `quorum split` writes; else the images are dealt evenly.
        budget: Number of trials.
        mode: hybrid: trees, then evolution of everything; two-stage: trees, then operators, as in the report; flat:
            weights and one operator; greedy: forward selection.
        protocol: Which official evaluation.
        iou_type: Boxes or masks.
        seed: Of everything random; the same seed gives the same answer for any number of workers.
        workers: Processes that run trials.
        memory: GiB for results of sub-trees, in each process or on the GPU.
        device: cpu, cuda (an NVIDIA GPU, which runs trials one at a time), or auto: the GPU if there is one.
        learn: On the first split, what becomes part of the recipe. all: corrections of boxes, calibrations and learned
            scores, where they help on parts held back; calibration: a map of scores per member, and nothing else.
        groups: A CSV file with columns image_id and group: images of one group (a video, a day) are held back
            together. Taken from the file names, if they tell, when not given.
        patience: Stop when so many trials have brought no more than a standard error.
        resume: Go on with the trials in the output folder.
        storage: A database URL or a shared journal file, where several machines put their trials.
        island: Number of this machine among those; each searches with a seed of its own.
        open_images: What goes with a CSV file of Open Images boxes as ground truth.
        figures: Figures that the report has of answer and rivals beside AP.
    """
    import numpy as np

    from fusion.checks import at_least
    from fusion.recipe_file import write_recipe
    from fusion.score_scales import scales_of, unlike
    from fusion.terminal import announcing_compilation, notes, progress_bar, stderr
    from search.device import settle_device
    from search.journal import Journal
    from search.preparation import LEARNED
    from search.problem import pose
    from search.seek import seek
    from search.splits import dealt
    from search.study import Settings

    settings = Settings(mode=mode, budget=budget, seed=seed + 1_000_003 * island, patience=patience)
    at_least("workers", workers, 1, whole=True)
    at_least("memory", memory, 0.0)
    device, said = settle_device(device, workers)
    notes("search", said)
    journal_path = output / "trials.journal"
    if journal_path.exists() and not resume and storage is None:
        raise InputError(
            output, "holds the trials of a search", "Go on with --resume, choose another folder, or remove it"
        )
    some_tables(tables, "search")
    measure = protocol_of(protocol, iou_type)
    wanted = figures.names(measure, "entries")
    with announcing_compilation():
        truth = read_truth(ground_truth, None, open_images)
        labels = groups_of(truth, groups, "search")
        names = split.split(",")
        parts = _read_splits(splits, names, truth) if splits else dealt(truth, names, groups=labels, seed=seed)
        chosen = np.concatenate(list(parts.values())) if splits else None
        members = [read_member(path, truth, chosen) for path in tables]
        with progress_bar() as bar:
            task = bar.add_task("", total=None)
            problem = pose(
                members,
                truth,
                parts,
                measure,
                treatment=LEARNED[learn],
                groups=labels,
                weigh=device == "cpu",
                progress=lambda what: bar.update(task, description=what),
            )
        told = problem.preparation.treatment
        scales = unlike({n: s for table in members for n, s in scales_of(table).items()})
        if scales is not None and "calibrated" not in told:
            unlike_scales = f"scores are on unlike scales: {scales}; calibrate them with --learn calibration"
            notes("search", [Warned(unlike_scales)])
        stderr.print(f"members are fused {told}", highlight=False)
        del members  # the splits' parts are copies
        for side in (problem.search, *problem.others):
            stderr.print(f"{side.name} split: {len(side.truth.image_id):,} images", highlight=False)
    journal = Journal(storage or journal_path, problem.origin | {"mode": mode, "splits": _fingerprint(parts)}, island)
    notes(storage or journal_path, journal.notes)
    with announcing_compilation(), progress_bar() as bar:
        task = bar.add_task("search", total=budget)
        study, answer = seek(
            problem,
            settings,
            device=device,
            workers=workers,
            memory=memory,
            scores=learn == "all",
            journal=journal,
            figures=wanted,
            chosen=lambda recipe: write_recipe(recipe, output / "best.toml"),
            said=lambda what: stderr.print(what, highlight=False),
            progress=lambda what, done, total: bar.update(task, description=what, completed=done, total=total),
        )
    _write(answer, study, output)
    _tell(answer, study, output)


def split(
    ground_truth: Path,
    /,
    *,
    output: Output,
    parts: int = 2,
    shares: str | None = None,
    groups: Path | None = None,
    seed: int = 0,
) -> None:
    """Cut the images of a data set into lists.

    Args:
        ground_truth: Annotations of any format (docs/formats.md).
        output: Folder for the lists, an image id per line: `part-0.txt`, `part-1.txt` ..., or one per share.
        parts: Deal the images, sorted by id, in turn into so many lists.
        shares: Instead: names and shares, such as search=0.1,verify=0.1. Each list's mixture of categories and sizes is
            then that of the whole; images that are left over are in none.
        groups: With --shares: a CSV file with columns image_id and group; images of one group (a video) stay together.
        seed: With --shares: of the order among equally rare images.
    """
    from evaluation.lists import write_lists
    from fusion.terminal import stderr
    from search.splits import matched_split, split_in_turn, strata_of

    truth = read_truth(ground_truth, None)
    if shares is None:
        if parts < 2:
            raise InputError(f"option {option('parts')}", f"expected a whole number of at least 2, got {parts}")
        part = split_in_turn(len(truth.image_id), parts)
        names = [f"part-{number}" for number in range(parts)]
    else:
        named_shares = _shares(shares)
        names = list(named_shares)
        labels = None if groups is None else read_groups(groups, truth)
        part = matched_split(*strata_of(truth), list(named_shares.values()), groups=labels, seed=seed)
    lists = {name: truth.image_id[part == number] for number, name in enumerate(names)}
    for path, ids in zip(write_lists(output, lists, truth.fingerprint), lists.values(), strict=True):
        stderr.print(f"{path}: {len(ids):,} images", highlight=False)


def _write(answer: Answer, study: Study, folder: Path) -> None:
    from fusion.atomic import replacing
    from search.journal import trials_frame
    from search.report import write_report

    with replacing(folder / "trials.parquet") as temporary:
        trials_frame(study.trials, answer.problem.names).to_parquet(temporary)
    with replacing(folder / "categories.csv") as temporary:
        _categories(answer).to_csv(temporary, index=False)
    write_report(answer, study, folder)


def _categories(answer: Answer):  # type: ignore[no-untyped-def]
    """AP of each category for the answer and its rivals, on every split."""
    import pandas as pd

    columns: dict[str, object] = {}
    for split_name, rivals in answer.rivals.items():
        first = rivals[0].replicates
        columns.setdefault("category_id", first.category_ids)
        columns.setdefault("name", first.category_names)
        for rival in rivals:
            columns[f"{split_name}: {rival.name}"] = rival.replicates.category_observed
    return pd.DataFrame(columns)


def _tell(answer: Answer, study: Study, folder: Path) -> None:
    from fusion.terminal import notes, stdout
    from search.telling import outline

    console = stdout()
    honest = list(answer.rivals)[-1]
    own = answer.rivals[honest][0].replicates.intervals["AP"]
    console.print(outline(answer), highlight=False, markup=False)
    console.print(
        f"AP {100 * own.value:.2f} on the {honest} split (95 % interval {100 * own.low:.2f} to {100 * own.high:.2f}); "
        f"the search ended because {study.stopped}.",
        highlight=False,
    )
    for rival in answer.rivals[honest][1:]:
        gain = answer.gain(rival.name, honest)
        console.print(
            f"  {100 * gain.value:+.2f} over the {rival.name} ({100 * gain.low:+.2f} to {100 * gain.high:+.2f})",
            highlight=False,
        )
    if answer.alarm:
        notes("search", [Warned(f"over-fitting suspected: {answer.alarm}")])
    console.print(f"Replay: quorum fuse TABLES --recipe {folder / 'best.toml'} -o fused.parquet", highlight=False)
    console.print(f"Report: {folder / 'report.html'}, and report.md", highlight=False)


def _read_splits(folder: Path, names: list[str], truth: GroundTruth) -> dict[str, np.ndarray]:
    return {name: read_image_list(folder / f"{name}.txt", truth) for name in names}


def _fingerprint(parts: Mapping[str, np.ndarray]) -> str:
    text = repr([(name, ids.tolist()) for name, ids in parts.items()])
    return hashlib.sha256(text.encode()).hexdigest()


def _shares(text: str) -> dict[str, float]:
    shares = {}
    for entry in text.split(","):
        name, equals, value = entry.partition("=")
        try:
            shares[name.strip()] = float(value)
        except ValueError:
            equals = ""
        if not equals or not name.strip():
            raise InputError("option --shares", f"expected name=share with commas between, got {entry!r}")
    return shares
