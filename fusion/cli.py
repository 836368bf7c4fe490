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

__all__ = ["MethodOptions", "fuse", "read_for_ready"]

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
        method: One of the methods below.
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


def _plan(method: str, given: Mapping[str, Any], weights: Path | None, calibration: Path | None) -> "Recipe":
    """Make the recipe of a method with its options."""
    from fusion.learned import agreed_origin, read_learned
    from fusion.method_options import step_of
    from fusion.named_steps import step_from_options
    from fusion.recipe import ALL, OUTPUT, Node, Recipe

    values = dict(given)
    cap = values.pop("max_per_image", None) if method != "concat" else None
    masks: dict[str, Any] | None = None
    if values.pop("vote_masks", False):
        masks = {name: values.pop(name) for name in ("threshold", "tighten") if name in values}
    steps: list[Step] = []
    origins: dict[str, TunedOn | None] = {}
    for name, key, file in (("calibrate", "maps", calibration), ("reweight", "weights", weights)):
        if file is not None:
            table, origins[str(file)] = read_learned(file, key)
            steps.append(step_from_options(name, {key: table}, file))
    scored = f"step{len(steps)}" if steps else ALL
    step, learned = step_of(method, values)
    steps.append(step)
    origins |= learned
    if cap is not None:
        steps.append(step_from_options("concat", {"max_per_image": cap}, "--max-per-image"))
    tuned_on = agreed_origin(origins)
    plan = Recipe.chain(steps, tuned_on)
    if masks is None:
        return plan
    nodes = {f"step{len(steps)}" if name == OUTPUT else name: node for name, node in plan.nodes.items()}
    voting = Node(step_from_options("vote_masks", masks, "--vote-masks"), (f"step{len(steps)}", scored))
    return Recipe({**nodes, OUTPUT: voting}, tuned_on)
