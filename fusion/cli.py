"""Command `quorum fuse`."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from fusion.errors import InputError
from fusion.method_options import method_options

if TYPE_CHECKING:
    from fusion.learned import TunedOn
    from fusion.ready import Learned
    from fusion.recipe import Recipe
    from fusion.steps.base import Step

__all__ = ["MethodOptions", "fuse", "method_plan", "read_for_ready"]

Output = Annotated[Path, Parameter(name=("--output", "-o"))]


if TYPE_CHECKING:
    MethodOptions = Any
else:
    MethodOptions = method_options()
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
    threads: int | None = None,
    device: str = "cpu",
) -> None:
    """Fuse tables into one, by a method or by a recipe.

    Args:
        tables: The members' tables: Parquet files or folders of parts.
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
        threads: Number of threads; all processors when not given. The result is the same.
        device: cpu, cuda (an NVIDIA GPU), or auto: the GPU if there is one.
    """
    from fusion.parts import fuse_files
    from fusion.ready import find_ready
    from fusion.recipe_file import read_recipe, saving
    from fusion.terminal import announcing_compilation, notes, progress_bar, stderr

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
) -> "Learned":
    """Read what a ready recipe takes besides the tables, and the names of their members."""
    from fusion.learned import agreed_origin, read_learned
    from fusion.named_steps import step_from_options
    from fusion.parents import read_parents
    from fusion.ready import Learned
    from fusion.storage import read_metadata

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


def _given(options: MethodOptions) -> dict[str, Any]:
    values = {field.name: getattr(options, field.name) for field in fields(options)}
    return {name: value for name, value in values.items() if value is not None}


def method_plan(
    method: str,
    options: MethodOptions,
    *,
    boxes: Path | None = None,
    calibration: Path | None = None,
    weights: Path | None = None,
    scores: Path | None = None,
) -> "Recipe":
    """Make the recipe of a method with its options, as `quorum fuse` runs it.

    Args:
        method: Its name.
        options: Its parameters.
        boxes: Corrections of boxes, before all else.
        calibration: Maps of scores.
        weights: Weights per member, after these.
        scores: The model that scores what comes out.
    """
    from fusion.learned import agreed_origin, read_learned
    from fusion.method_options import step_of
    from fusion.named_steps import step_from_options
    from fusion.recipe import ALL, OUTPUT, Node, Recipe

    values = _given(options)
    cap = values.pop("max_per_image", None) if method != "concat" else None
    masks: dict[str, Any] | None = None
    if values.pop("vote_masks", False):
        masks = {name: values.pop(name) for name in ("threshold", "tighten") if name in values}
    origins: dict[str, TunedOn | None] = {}
    nodes: list[Node] = []

    def add(step: "Step", *inputs: str) -> str:
        nodes.append(Node(step, inputs))
        return f"step{len(nodes)}"

    def learned(name: str, key: str, file: Path, more: Mapping[str, Any]) -> "Step":
        table, origins[str(file)] = read_learned(file, key)
        return step_from_options(name, {key: table, **more}, file)

    last = ALL
    moving = {"masks": values.pop("masks")} if boxes is not None and "masks" in values else {}
    before: tuple[tuple[str, str, Path | None, dict[str, Any]], ...] = (
        ("correct_boxes", "corrections", boxes, moving),
        ("calibrate", "maps", calibration, {}),
        ("reweight", "weights", weights, {}),
    )
    for name, key, file, more in before:
        if file is not None:
            last = add(learned(name, key, file, more), last)
    members = last
    step, found = step_of(method, values)
    last = add(step, last)
    origins |= found
    if scores is not None:
        last = add(learned("rescore", "model", scores, {}), last, members)
    if cap is not None:
        last = add(step_from_options("concat", {"max_per_image": cap}, "--max-per-image"), last)
    if masks is not None:
        last = add(step_from_options("vote_masks", masks, "--vote-masks"), last, members)
    names = [f"step{number}" for number in range(1, len(nodes))] + [OUTPUT]
    return Recipe(dict(zip(names, nodes, strict=True)), agreed_origin(origins))
