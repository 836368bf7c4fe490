"""Commands of package `fusion`: fuse, export."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from fusion.coco_json import write_coco_results
from fusion.errors import InputError, in_command_line
from fusion.parents import read_parents
from fusion.parts import fuse_files
from fusion.ready import Learned, find_ready
from fusion.recipe import ALL, OUTPUT, Node, Recipe, TunedOn, agreed_origin
from fusion.recipe_toml import read_learned, read_recipe, saving, step_from_options
from fusion.steps.base import Step
from fusion.storage import read_metadata, read_table
from fusion.terminal import announcing_compilation, notes, progress_bar, stderr

__all__ = ["MethodOptions", "export_coco", "fuse", "read_for_ready"]

Output = Annotated[Path, Parameter(name=("--output", "-o"))]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class MethodOptions:
    """Parameters of the method; each method takes some of them and has its own defaults.

    Attributes:
        iou: IoU above which boxes belong together.
        decay: soft_nms, nms_then_soft: gaussian or linear.
        soft_iou: nms_then_soft: threshold of the linear decay.
        sigma: soft-NMS, adj-NMS: width of the Gaussian.
        floor: soft-NMS, adj-NMS: a score below this drops the box.
        conf_type: WBF: avg, max, box_and_model_avg or absent_model_aware_avg.
        allows_overflow: WBF: scores may exceed 1.
        skip_box_threshold: WBF, NMW: boxes with a lower score are left out.
        member_weights: WBF, NMW: name=number for each member.
        k: vote: number of voters.
        score: vote: share of the voters' scores.
        box: vote: share of the voters' boxes.
        min_members: consensus: members that must agree.
        relations: cooccurrence, surround: what `quorum learn relations` wrote.
        probability: cooccurrence: conditional or printed.
        up: surround: strength of evidence that is there.
        down: surround: strength of evidence that is missing.
        scales: merge_scales: what `quorum learn scales` wrote.
        part: dropout: scores or boxes, what is used of the first table.
        experts: select_experts: what `quorum learn experts` wrote.
        mode: select_experts: take, add or weigh.
        gate: select_experts: leave out the experts' background regions.
        hierarchy: expand_hierarchy: the class tree, a JSON file.
        class_descriptions: expand_hierarchy: the class descriptions; the first class has id 1.
        keep_all: expand_hierarchy: keep several copies of a box in a category.
        max_per_image: Keep this many detections of each image, the best by score.
        vote_masks: After the method, give each box the mask that the tables' masks vote for.
        threshold: vote_masks: share of the votes that a pixel needs.
        tighten: vote_masks: boxes become the bounds of their masks.
    """

    iou: float | None = None
    decay: str | None = None
    soft_iou: float | None = None
    sigma: float | None = None
    floor: float | None = None
    conf_type: str | None = None
    allows_overflow: Annotated[bool | None, Parameter(negative="")] = None
    skip_box_threshold: float | None = None
    member_weights: Annotated[tuple[str, ...] | None, Parameter(negative="")] = None
    k: int | None = None
    score: float | None = None
    box: float | None = None
    min_members: int | None = None
    relations: Path | None = None
    probability: str | None = None
    up: float | None = None
    down: float | None = None
    scales: Path | None = None
    part: str | None = None
    experts: Path | None = None
    mode: str | None = None
    gate: Annotated[bool | None, Parameter(negative="")] = None
    hierarchy: Path | None = None
    class_descriptions: Path | None = None
    keep_all: Annotated[bool | None, Parameter(negative="")] = None
    max_per_image: int | None = None
    vote_masks: Annotated[bool | None, Parameter(negative="")] = None
    threshold: float | None = None
    tighten: Annotated[bool | None, Parameter(negative="")] = None


def fuse(
    *tables: Path,
    output: Output,
    method: str | None = None,
    recipe: str | None = None,
    options: MethodOptions = MethodOptions(),
    weights: Path | None = None,
    calibration: Path | None = None,
    save_recipe: Path | None = None,
    threads: int | None = None,
    device: str = "cpu",
) -> None:
    """Fuse tables into one, by a method or by a recipe.

    Args:
        tables: The members' tables: Parquet files or folders of parts.
        output: Where the fused table goes.
        method: adj_nms, concat, consensus, cooccurrence, dropout, expand_hierarchy, mask_nms, merge_scales, nms,
            nms_then_soft, nmw, or, prob_fusion, select_experts, soft_nms, surround, vote,
            vote_masks (the first table's boxes keep their scores) or wbf.
        recipe: Instead of a method a TOML file with a tree of steps, or a report's recipe by name: mmfruit-naive,
            lvistraveler-tta, alibaba-tta, megdetv2-ensemble; --calibration, --weights, --scales, --hierarchy and
            --vote-masks go with these.
        weights: Before the method, multiply scores by these weights (`quorum learn weights`).
        calibration: Before the weights, calibrate scores by these maps (`quorum learn calibration`).
        options: Parameters of the method.
        save_recipe: Also write what is done here as a recipe.
        threads: Number of threads; all processors when not given. The result is the same.
        device: cpu, cuda (an NVIDIA GPU), or auto: the GPU if there is one.
    """
    if threads is not None:
        os.environ["QUORUM_THREADS"] = str(threads)
    given = _given(options)
    if (method is None) == (recipe is None):
        raise InputError("fuse", "expected either --method or --recipe", "For a first try: --method wbf --iou 0.55")
    if recipe is not None:
        ready = find_ready(recipe)
        used = ("scales", "hierarchy", "class_descriptions", "vote_masks") if ready is not None else ()
        unused = [f"--{name.replace('_', '-')}" for name in given if name not in used]
        unused += ["--weights"] if weights is not None and ready is None else []
        unused += ["--calibration"] if calibration is not None and ready is None else []
        if unused:
            raise InputError("fuse", f"{', '.join(unused)} and --recipe were both given", "Write them into the recipe")
        plan = (
            read_recipe(recipe)
            if ready is None
            else ready.recipe(read_for_ready(tables, options, weights, calibration))
        )
    else:
        plan = _plan(str(method), given, weights, calibration)
    with saving(plan, save_recipe), announcing_compilation(), progress_bar() as bar:
        task = bar.add_task("fusing", total=None)
        report = fuse_files(
            plan,
            tables,
            output,
            lambda what, done, total: bar.update(task, description=what, completed=done, total=total),
            device=device,
            note=lambda line: notes(output, [line]),
        )
    stderr.print(
        f"{output}: {report.detections_out:,} detections from {report.detections_in:,} of {len(tables)} tables",
        highlight=False,
    )


def read_for_ready(
    tables: Sequence[Path], options: MethodOptions, weights: Path | None, calibration: Path | None
) -> Learned:
    """Read what a ready recipe takes besides the tables, and the names of their members."""
    names = [read_metadata(path)[0].member or path.stem for path in tables]
    values: dict[str, Any] = {"members": names, "vote_masks": bool(options.vote_masks)}
    origins: dict[str, TunedOn | None] = {}
    if calibration is not None:
        table, origins[str(calibration)] = read_learned(calibration, "maps")
        values["maps"] = step_from_options("calibrate", {"maps": table}, calibration).maps  # type: ignore[attr-defined]
    if weights is not None:
        table, origins[str(weights)] = read_learned(weights, "weights")
        values["weights"] = step_from_options("reweight", {"weights": table}, weights).weights  # type: ignore[attr-defined]
    if options.scales is not None:
        table, origins[str(options.scales)] = read_learned(options.scales, "scales")
        values["scales"] = step_from_options("merge_scales", {"scales": table}, options.scales).scales  # type: ignore[attr-defined]
    if (options.hierarchy is None) != (options.class_descriptions is None):
        raise InputError("the recipe's class tree", "it goes with class descriptions and these with it", "Give both")
    if options.hierarchy is not None and options.class_descriptions is not None:
        values["parents"] = read_parents(options.hierarchy, options.class_descriptions)
    return Learned(**values, tuned_on=agreed_origin(origins))


def export_coco(table: Path, /, *, output: Output) -> None:
    """Write a table as a COCO results JSON file.

    Args:
        table: A Parquet file or a folder of parts.
        output: The JSON file.
    """
    detections = read_table(table)
    write_coco_results(detections, output)
    stderr.print(f"{output}: {len(detections):,} detections", highlight=False)


def _given(options: MethodOptions) -> dict[str, Any]:
    values = {field.name: getattr(options, field.name) for field in fields(options)}
    return {name: value for name, value in values.items() if value is not None}


def _plan(method: str, given: Mapping[str, Any], weights: Path | None, calibration: Path | None) -> Recipe:
    """Make the recipe of a method with its options."""
    values = dict(given)
    cap = values.pop("max_per_image", None) if method != "concat" else None
    masks: dict[str, Any] | None = None
    if values.pop("vote_masks", False):
        masks = {name: values.pop(name) for name in ("threshold", "tighten") if name in values}
    if "decay" in values:
        values["method"] = values.pop("decay")  # the steps' own name for it is taken by --method
    if "member_weights" in values:
        values["weights"] = _member_weights(values.pop("member_weights"))
    steps: list[Step] = []
    origins: dict[str, TunedOn | None] = {}
    if "scales" in values:
        path = values["scales"]
        values["scales"], origins[str(path)] = read_learned(path, "scales")
    if "experts" in values:
        path = values.pop("experts")
        values["categories"], origins[str(path)] = read_learned(path, "categories")
        if values.get("mode") == "weigh":
            values["weights"], _ = read_learned(path, "weights")
    if method == "expand_hierarchy" or "hierarchy" in values or "class_descriptions" in values:
        if "hierarchy" not in values or "class_descriptions" not in values:
            raise InputError(f"--method {method}", "expected --hierarchy and --class-descriptions", "Give both")
        values["parents"] = read_parents(values.pop("hierarchy"), values.pop("class_descriptions"))
    for name, key, file in (("calibrate", "maps", calibration), ("reweight", "weights", weights)):
        if file is not None:
            table, origins[str(file)] = read_learned(file, key)
            steps.append(step_from_options(name, {key: table}, file))
    scored = f"step{len(steps)}" if steps else ALL
    if "relations" in values:
        path = values["relations"]
        values["relations"], origins[str(path)] = read_learned(path, "relations")
    with in_command_line(method="decay", weights="member_weights"):
        steps.append(step_from_options(method, values, f"--method {method}"))
    if cap is not None:
        steps.append(step_from_options("concat", {"max_per_image": cap}, "--max-per-image"))
    tuned_on = agreed_origin(origins)
    plan = Recipe.chain(steps, tuned_on)
    if masks is None:
        return plan
    nodes = {f"step{len(steps)}" if name == OUTPUT else name: node for name, node in plan.nodes.items()}
    voting = Node(step_from_options("vote_masks", masks, "--vote-masks"), (f"step{len(steps)}", scored))
    return Recipe({**nodes, OUTPUT: voting}, tuned_on)


def _member_weights(pairs: tuple[str, ...]) -> dict[str, float]:
    weights = {}
    for pair in pairs:
        name, _, number = pair.rpartition("=")
        try:
            weights[name] = float(number)
        except ValueError:
            name = ""
        if not name:
            raise InputError("option --member-weights", f"expected name=number, got {pair!r}")
    return weights
