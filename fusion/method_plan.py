"""The recipe that `quorum fuse --method` stands for, and what a report's recipe takes besides the tables."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fusion.errors import InputError
from fusion.method_options import method_options

if TYPE_CHECKING:
    from fusion.learned import TunedOn
    from fusion.ready import Learned
    from fusion.recipe import Recipe
    from fusion.steps.base import Step

__all__ = ["MethodOptions", "given_options", "method_plan", "read_for_ready"]


if TYPE_CHECKING:
    MethodOptions = Any
else:
    MethodOptions = method_options()


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


def given_options(options: MethodOptions) -> dict[str, Any]:
    """Return the options that were given, by name."""
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

    values = given_options(options)
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
