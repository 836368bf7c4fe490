"""Command `quorum fuse`."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from evaluation.cli.output import Output
from evaluation.cli.protocols import IouType, ProtocolName, protocol_of
from fusion.errors import InputError
from fusion.method_plan import MethodOptions, given_options, method_plan, read_for_ready

if TYPE_CHECKING:
    from evaluation.ground_truth import GroundTruth
    from evaluation.open_images import PreparedOpenImages
    from evaluation.prepared import Prepared

__all__ = ["fuse"]

_NONE = MethodOptions()


def fuse(
    *tables: Path,
    output: Output,
    method: str | None = None,
    recipe: str | None = None,
    options: MethodOptions = _NONE,
    boxes: Path | None = None,
    calibration: Path | None = None,
    weights: Path | None = None,
    scores: Path | None = None,
    save_recipe: Path | None = None,
    ground_truth: Annotated[Path | None, Parameter(name=("--ground-truth", "-g"), allow_leading_hyphen=True)] = None,
    images: Path | None = None,
    protocol: ProtocolName = "coco",
    iou_type: IouType = "bbox",
    threads: int | None = None,
    device: str = "cpu",
    shard: str | None = None,
    member: str | None = None,
    workers: int | None = None,
    executor: str | None = None,
) -> None:
    """Fuse tables into one, by a method or by a recipe.

    With a ground truth, one sentence says whether the fused table is better than the best of the tables, how surely.

    Args:
        tables: The members' tables: Parquet files, folders of parts, or result files of any format.
        output: Where the fused table goes.
        method: One of the methods below.
        recipe: Instead of a method a TOML file with a tree of steps, or a report's recipe by name: mmfruit-naive,
            lvistraveler-tta, alibaba-tta, megdetv2-ensemble; --calibration, --weights, --scales, --hierarchy and
            --vote-masks go with these.
        boxes: First, correct each member's boxes (`quorum learn boxes`); --masks shift moves their masks too.
        calibration: Before the method, calibrate scores by these maps (`quorum learn calibration`).
        weights: Then multiply scores by these weights (`quorum learn weights`).
        scores: After the method, score the boxes by this model (`quorum learn scores`, with the same options).
        options: Parameters of the method.
        save_recipe: Also write what is done here as a recipe.
        ground_truth: Annotations of any format (docs/formats.md), to say whether fusing helps.
        images: Say it of these images only: a text file with an id per line, as `quorum split` writes; of images that
            nothing was learned on.
        protocol: By which official evaluation it is said.
        iou_type: Boxes or masks.
        threads: Number of threads; all processors when not given. The result is the same.
        device: cpu, cuda (an NVIDIA GPU), or auto: the GPU if there is one.
        member: What comes out is one member of this name, such as a naive ensemble among the members of a search.
        shard: Of folders of parts, make only a share, such as 1/4; auto is what torchrun or SLURM say of this process,
            and auto/4 of four pods of an indexed job of Kubernetes.
        workers: Processes on this machine that make parts; one that dies is replaced.
        executor: Let a cluster make the parts: dask://HOST:PORT of a scheduler, or ray://HOST:PORT of a cluster.
    """
    from fusion.parts import fuse_files
    from fusion.places import place_of
    from fusion.ready import find_ready
    from fusion.recipe_file import read_recipe, saving
    from fusion.shards import Shard
    from fusion.terminal import announcing_compilation, notes, progress_bar, stderr
    from fusion.unfinished import stands

    if threads is not None:
        os.environ["QUORUM_THREADS"] = str(threads)
    given = given_options(options)
    if (method is None) == (recipe is None):
        raise InputError("fuse", "expected either --method or --recipe", "For a first try: --method wbf --iou 0.55")
    if recipe is not None:
        ready = find_ready(recipe)
        used = ("scales", "hierarchy", "class_descriptions", "vote_masks") if ready is not None else ()
        unused = [f"--{name.replace('_', '-')}" for name in given if name not in used]
        unused += ["--weights"] if weights is not None and ready is None else []
        unused += ["--calibration"] if calibration is not None and ready is None else []
        unused += [f"--{name}" for name, file in (("boxes", boxes), ("scores", scores)) if file is not None]
        if unused:
            raise InputError("fuse", f"{', '.join(unused)} and --recipe were both given", "Write them into the recipe")
        plan = (
            read_recipe(recipe)
            if ready is None
            else ready.recipe(read_for_ready(tables, options, weights, calibration))
        )
    else:
        plan = method_plan(str(method), options, boxes=boxes, calibration=calibration, weights=weights, scores=scores)
    measured = None
    if ground_truth is not None:  # what cannot be read is said before work begins
        from evaluation.cli.truth import prepared_truth

        measured = prepared_truth(ground_truth, protocol_of(protocol, iou_type), images)
    elif images is not None:
        raise InputError("option --images", "says which images of a ground truth count", "Give --ground-truth as well")
    with saving(plan, save_recipe), announcing_compilation(), progress_bar() as bar:
        task = bar.add_task("fusing", total=None)
        report = fuse_files(
            plan,
            tables,
            output,
            lambda what, done, total: bar.update(task, description=what, completed=done, total=total),
            device=device,
            note=lambda line: notes(output, [line]),
            shard=None if shard is None else Shard.parse(shard),
            member=member,
            workers=workers,
            executor=executor,
        )
    stderr.print(
        f"{output}: {report.detections_out:,} detections from {report.detections_in:,} of {len(tables)} tables",
        highlight=False,
    )
    if measured is not None and stands(place_of(output)):
        notes(output, [_verdict(tables, output, *measured, images)])


def _verdict(
    tables: Sequence[Path],
    output: Path,
    truth: "GroundTruth",
    prepared: "Prepared | PreparedOpenImages",
    images: Path | None,
) -> str:
    """Measure the tables and what was made of them; say whether it is better than the best of them."""
    from evaluation.cli.against_best import against_best
    from evaluation.cli.compare import replicated
    from evaluation.leaderboard import Entry

    entries = []
    for path in (*tables, output):
        drawn = replicated(
            path, truth, prepared, images,
            replicates=1000, seed=0, groups=None, figures=(), drawn=("AP",),
        )  # fmt: skip
        entries.append(Entry.of(path.stem, path, drawn.detections, drawn.entry))
    return against_best(entries[-1], entries[:-1], len(truth.image_id))
