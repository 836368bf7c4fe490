"""Command `quorum ablate`."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from evaluation.cli.figure_options import USUAL, FigureOptions
from evaluation.cli.members import read_member, some_tables
from evaluation.cli.output import Form
from evaluation.cli.protocols import IouType, ProtocolName, protocol_of
from evaluation.cli.truth import NO_FILES, GroundTruthFile, OpenImagesFiles, prepared_truth
from fusion.errors import InputError
from fusion.method_plan import MethodOptions, read_for_ready

__all__ = ["ablate"]


def ablate(
    *tables: Path,
    ground_truth: GroundTruthFile,
    recipe: Annotated[tuple[str, ...], Parameter(negative="", consume_multiple=True)],
    calibration: Path | None = None,
    weights: Path | None = None,
    scales: Path | None = None,
    recipe_hierarchy: Path | None = None,
    recipe_class_descriptions: Path | None = None,
    vote_masks: Annotated[bool, Parameter(negative="")] = False,
    images: Path | None = None,
    protocol: ProtocolName = "coco",
    iou_type: IouType = "bbox",
    replicates: int = 1000,
    seed: int = 0,
    open_images: OpenImagesFiles = NO_FILES,
    figures: FigureOptions = USUAL,
    as_format: Form = "text",
    output: Annotated[Path | None, Parameter(name=("--output", "-o"))] = None,
) -> None:
    """Print a road map: a row for each added step, its AP and what it gains, with the paired interval.

    Args:
        tables: The members' tables.
        ground_truth: Annotations.
        recipe: A report's recipe by name (mmfruit-naive, lvistraveler-tta, alibaba-tta, megdetv2-ensemble), a TOML file
            whose nodes form a chain, or several TOML files, a row each in this order.
        calibration: For a report's recipe: maps of scores (`quorum learn calibration`).
        weights: For a report's recipe: weights per member and category (`quorum learn weights`).
        scales: For a report's recipe: weights of views (`quorum learn scales`).
        recipe_hierarchy: For a report's recipe: JSON class tree by which predictions are expanded; the ground truth's
            own when not given.
        recipe_class_descriptions: For a report's recipe: class descriptions that belong to the tree; the ground
            truth's own when not given.
        vote_masks: For a report's recipe: let masks vote.
        images: Measure only these images: a text file with an id per line.
        protocol: Which official evaluation.
        iou_type: Boxes or masks.
        replicates: Draws of the bootstrap.
        seed: Of the draws.
        open_images: What goes with a CSV file as ground truth.
        figures: Figures to show beside AP; what a row gains in those that are named has an interval as well.
        as_format: text for people, a Markdown or HTML table, or a JSON list.
        output: Also write the table to this Markdown file.
    """
    from evaluation.ablation import road_map, stages_of
    from fusion.atomic import replacing
    from fusion.printed_table import print_json, print_table
    from fusion.ready import Milestone, find_ready
    from fusion.recipe_file import read_recipe
    from fusion.terminal import announcing_compilation, progress_bar, stderr

    options = MethodOptions(
        scales=scales,
        hierarchy=recipe_hierarchy,
        class_descriptions=recipe_class_descriptions,
        vote_masks=vote_masks or None,
    )
    paths = some_tables(tables, "ablate")
    ready = find_ready(recipe[0]) if len(recipe) == 1 else None
    if ready is not None:
        if recipe_hierarchy is None and recipe_class_descriptions is None:
            own = {"hierarchy": open_images.hierarchy, "class_descriptions": open_images.class_descriptions}
            options = replace(options, **(own if open_images.hierarchy is not None else {}))
        stages = ready.stages(read_for_ready(paths, options, weights, calibration))
    elif options != MethodOptions() or weights is not None or calibration is not None:
        raise InputError("ablate", "options of a report's recipe go with its name", "Write them into the TOML file")
    elif len(recipe) == 1:
        stages = stages_of(read_recipe(recipe[0]), recipe[0])
    else:
        stages = [Milestone(Path(path).stem, read_recipe(path)) for path in recipe]
    measure = protocol_of(protocol, iou_type)
    wanted = figures.names(measure, "steps")
    with announcing_compilation(), progress_bar() as bar:
        truth, prepared = prepared_truth(ground_truth, measure, images, open_images)
        members = [read_member(path, truth, images) for path in paths]
        task = bar.add_task("", total=None)
        rows = road_map(
            stages,
            members,
            prepared,
            replicates=replicates,
            seed=seed,
            figures=wanted,
            progress=lambda what: bar.update(task, description=what),
        )
    table = rows.to_table()
    if as_format == "json":
        print_json(rows.to_dict())
    else:
        print_table(table, as_format)
    if output is not None:
        with replacing(output) as temporary:
            temporary.write_text(table.to_markdown(), encoding="utf-8")
        stderr.print(f"{output}: {len(rows.rows)} rows", highlight=False)
