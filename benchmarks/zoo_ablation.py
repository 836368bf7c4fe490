"""MegDetV2's Table 1 on rendered pictures: a row per component, each in its tiny form, trained alike.

    QUORUM_THREADS=1 python -m benchmarks.zoo_ablation [--steps 400] [-o .cache/zoo-ablation]

Every row has the same data, schedule and seed. After the rows the first one is trained with other seeds: what these
differ by is what no single row can be told from. Intervals are those of the bootstrap over the validation images,
differences are paired; neither knows of the seed. Finished rows are kept, an interrupted one goes on where it was.
Prints a table in Markdown; the report's own figures, on COCO at full size, are for the order of rows only.
"""

import argparse
import time
from pathlib import Path
from typing import NamedTuple

import msgspec
import torch

from evaluation import Coco, Prepared, prepare
from evaluation.comparison import Difference, compare
from evaluation.statistics import Replicates, bootstrap
from fusion.printed_table import Cell, PrintedTable
from fusion.storage import read_table
from zoo.cli.common import use_threads
from zoo.config import Model, with_field
from zoo.data import Data, open_data
from zoo.predict import predict
from zoo.registry import Variant, find, variants
from zoo.runs import write_json
from zoo.train import train

_SCENERY = "96,{seed},categories=6,clutter=1,noise=.5"
_SIZES = {"data.short": [96], "data.long": 128}


class Row(NamedTuple):
    """A training and what it reached."""

    label: str
    variant: Variant
    seconds: float  # of CPU time, with prediction
    figures: Replicates


def main() -> None:
    """Train what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=Path(".cache/zoo-ablation"), help="where runs are kept")
    parser.add_argument("--steps", type=int, default=400, help="of each training; the batch is 4 images")
    parser.add_argument("--images", type=int, default=1000, help="to train on")
    parser.add_argument("--val", type=int, default=600, help="images to measure on")
    parser.add_argument("--seed", type=int, default=0, help="of the rows' trainings")
    parser.add_argument("--again", type=int, default=2, help="further seeds of the first row")
    options = parser.parse_args()
    use_threads()
    folder = options.output / f"{options.steps}-steps-{options.images}-images"
    data = open_data(f"scenes:{options.images}," + _SCENERY.format(seed=100))
    val = open_data(f"scenes:{options.val}," + _SCENERY.format(seed=101))
    prepared = prepare(val.truth, Coco())
    table = [one for one in variants().values() if (one.report, one.table) == ("megdetv2-coco2019", "1")]
    rows = [
        _row(one, f"{one.row}", options.steps, options.seed, data, val, prepared, folder)
        for one in sorted(table, key=lambda one: one.row)
    ]
    first = rows[0].variant
    again = [
        _row(first, f"1, seed {seed}", options.steps, seed, data, val, prepared, folder)
        for seed in range(options.seed + 1, options.seed + 1 + options.again)
    ]
    print(f"\n{_budget(options, [*rows, *again])}\n\n{_markdown(rows, again)}")


def _row(
    variant: Variant, label: str, steps: int, seed: int, data: Data, val: Data, prepared: Prepared, folder: Path
) -> Row:
    """Train and measure, or read what an earlier call has left."""
    own = folder / f"{variant.name}-seed{seed}-val{len(val)}"
    table, spent = own / "tables" / "val.parquet", own / "cpu-seconds.json"
    before = msgspec.json.decode(spent.read_bytes()) if spent.exists() else 0.0
    if not table.exists():
        begin = time.process_time()
        try:
            train(_config(variant, steps, seed), data, own, variant=f"{variant.name}:tiny", resume=True)
            predict(own, val, table)
        finally:  # an interrupted training has cost something as well
            before += time.process_time() - begin
            if own.exists():
                write_json(before, spent)
    figures = bootstrap(prepared.evaluate(read_table(table)), drawn=("AP",))
    ap = figures.intervals["AP"]
    print(f"row {label}: {variant.name} AP {100 * ap.value:.2f}, {before:.0f} CPU s", flush=True)
    return Row(label, variant, before, figures)


def _config(variant: Variant, steps: int, seed: int) -> Model:
    config = variant.make("tiny")
    schedule = {"train.segments": [], "train.milestones": [0.75 * steps, 0.92 * steps], "train.steps": steps}
    for field, value in {**_SIZES, **schedule, "train.seed": seed}.items():
        config = with_field(config, field, value)
    return config


def _budget(options: argparse.Namespace, rows: list[Row]) -> str:
    return (
        f"{options.steps} steps of 4 images out of {options.images} for each row, measured on {options.val} images of "
        f"96 pixels in 6 categories; {sum(row.seconds for row in rows) / 60:.0f} minutes of one processor in all, "
        f"{torch.get_num_threads()} thread(s)."
    )


def _markdown(rows: list[Row], again: list[Row]) -> str:
    heads = ("row", "what it adds", "AP", "95 % interval", "to the row before", "to row 1", "CPU s", "AP50", "reported")
    table = PrintedTable.of(heads, ())
    for place, row in enumerate([*rows, *again]):
        ap = row.figures.intervals["AP"]
        before = rows[place - 1].figures if 0 < place < len(rows) else None
        cells: list[Cell] = [
            row.label,
            _added(row.variant) if place < len(rows) else "another seed",
            f"{100 * ap.value:.2f}",
            f"{100 * ap.low:.2f} to {100 * ap.high:.2f}",
            _shown(before, row.figures),
            _shown(rows[0].figures if place else None, row.figures),
            f"{row.seconds:.0f}",
            f"{100 * row.figures.observed['AP50']:.2f}",
            f"{row.variant.reported['box AP']:g}" if place < len(rows) else "",
        ]
        table.rows.append(cells)
    return table.to_markdown()


def _added(variant: Variant) -> str:
    """What the docstring of a row says that it adds."""
    said = (find(variant.name).full.__doc__ or variant.name).strip()
    return said.partition("\n")[0].rstrip(".")


def _shown(a: Replicates | None, b: Replicates) -> str:
    if a is None:
        return ""
    difference: Difference = compare(a, b).figures["AP"]
    return f"{100 * difference.value:+.2f} ({100 * difference.low:+.2f} to {100 * difference.high:+.2f})"


if __name__ == "__main__":
    main()
