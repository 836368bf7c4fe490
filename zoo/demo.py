"""The main job on made data: simulate members, import, evaluate, learn, fuse, rank, export."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from rich.console import Console

from evaluation.belonging import origin_of
from evaluation.calibration import learn_calibration
from evaluation.coco_ground_truth import read_coco
from evaluation.leaderboard import Entry, Leaderboard, Split
from evaluation.learning import learn_weights, tuned_on
from evaluation.prepared import evaluate, prepare
from evaluation.statistics import bootstrap
from fusion.coco_results import read_coco_results, write_coco_results
from fusion.printed_table import print_table
from fusion.recipe import Recipe
from fusion.recipe_file import write_recipe
from fusion.steps.adj_nms import AdjNms
from fusion.steps.base import Step
from fusion.steps.calibrate import Calibrate
from fusion.steps.nms import Nms
from fusion.steps.nmw import Nmw
from fusion.steps.reweight import Reweight
from fusion.steps.wbf import Wbf
from fusion.storage import write_table
from fusion.table import Metadata
from fusion.terminal import announcing_compilation, stdout
from zoo.synthetic.simulated import Scenario, demo_members, simulate

__all__ = ["demo"]

_IMAGES = 600


def demo(folder: Path = Path("demo"), /, *, seed: int = 0) -> None:
    """Show the main job on a small data set with simulated members.

    Args:
        folder: Where the data set, tables, recipes and results go; what is there is written anew.
        seed: Of the simulation.
    """
    console = stdout()
    with announcing_compilation():
        _run(folder, seed, console)


def _run(folder: Path, seed: int, console: Console) -> None:
    files = simulate(Scenario(images=_IMAGES), demo_members(), seed).write(folder / "data")
    console.print(
        f"1. Made {_IMAGES} images with {len(files) - 1} simulated members in {folder / 'data'}.", highlight=False
    )

    truth = read_coco(files[0])
    members = []
    for path in files[1:]:
        members.append(
            read_coco_results(
                path, vocabulary=truth.vocabulary, metadata=Metadata(member=path.stem, **origin_of(truth))
            )
        )
        write_table(members[-1], folder / "tables" / f"{path.stem}.parquet")
    console.print(f"2. Imported {sum(map(len, members)):,} detections into {folder / 'tables'}.", highlight=False)

    learn, verify = truth.subset(truth.image_id[0::2]), truth.subset(truth.image_id[1::2])
    on_learn = [member.select_images(learn.image_id) for member in members]
    on_verify = [member.select_images(verify.image_id) for member in members]
    names = [str(member.metadata.member) for member in members]
    maps = {name: learn_calibration(table, learn) for name, table in zip(names, on_learn, strict=True)}
    weights = learn_weights(on_learn, learn)
    console.print("3. Learned score calibration and weights per category on every other image.", highlight=False)

    origin = tuned_on(learn, "every other image")
    calibrated: list[Step] = [Calibrate(maps=maps), Reweight(weights=weights, builder="ap_ratio")]
    recipes: Mapping[str, Recipe] = {
        "nms": Recipe.chain([*calibrated, Nms(iou=0.5)], origin),
        "adj-nms": Recipe.chain([*calibrated, AdjNms(iou=0.5)], origin),
        "nmw": Recipe.chain([*calibrated, Nmw(iou=0.6)], origin),
        "wbf": Recipe.chain([*calibrated, Wbf(iou=0.6)], origin),
    }
    entries = {str(member.metadata.member): member for member in on_verify}
    for name, recipe in recipes.items():
        write_recipe(recipe, folder / "recipes" / f"{name}.toml")
        entries[f"fused-{name}"] = recipe.fuse(on_verify)
    board, ready = Leaderboard(Split.of(verify)), prepare(verify)
    for name, table in entries.items():
        path = folder / "verify" / f"{name}.parquet"
        write_table(table, path)
        measured = bootstrap(ready.evaluate(table), drawn=("AP",))
        board = board.with_entry(Entry.of(name, path, len(table), measured))
    raw = evaluate(Recipe.chain([Nms(iou=0.5)]).fuse(on_verify), verify)
    console.print(f"4. Fused the members by {len(recipes)} recipes, all in {folder / 'recipes'}, and ranked everything")
    console.print("   on the other half of the images:\n", highlight=False)
    print_table(board.to_table())
    console.print(
        f"   For contrast, NMS of the scores as they are, without calibration: AP {raw.AP:.4f}.", highlight=False
    )

    ap = {entry.name: entry.figures["AP"] for entry in board.entries}
    best = max((entry for entry in board.entries if entry.name not in names), key=lambda entry: ap[entry.name])
    name = best.name.removeprefix("fused-")
    results = folder / "results.json"
    fused_all = recipes[name].fuse(members)
    write_coco_results(fused_all, results)
    gain = ap[best.name] - max(ap[member] for member in names)
    console.print(
        f"\n5. The best recipe, {name}, is {100 * gain:+.1f} AP points above the best member.", highlight=False
    )
    console.print(
        f"   Its detections on all {len(np.unique(fused_all.image_ids))} images are in {results}.", highlight=False
    )
