"""Tables 1 and 2 of mmfruit-openimages2019 on drawn pictures: class-aware sampling, and the decoupling head.

    QUORUM_THREADS=1 python -m benchmarks.mmfruit_tables [-o .cache/mmfruit-tables] [--steps 400] [--seeds 0 1 2]

Table 1 trains `mm_x50_plain` and `mm_x50_classaware` on pictures with a long tail, and measures on pictures that are
drawn more evenly. Table 2 trains `mm_r50_plain` and `mm_r50_dh` and looks at the validation pictures at one size and at
several (what the report means by "MT"; views are merged by `merge_scales`); beside that, both are trained at several
sizes. All in their tiny form from scratch, a training of its own for each seed, the same steps for all rows.

Figures are the Open Images protocol's mAP at IoU 0.5, the mean of the seeds. Intervals are those of the bootstrap over
the validation pictures, of the seeds' mean, differences paired; since they do not know of the seeds, the differences of
the single seeds are printed beside them. Finished trainings and predictions are kept; an interrupted call goes on where
it was. Prints tables in Markdown.
"""

import argparse
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import torch

from evaluation import OpenImages, PreparedOpenImages, prepare, read_open_images
from evaluation.comparison import difference_of
from evaluation.statistics import Replicates, bootstrap, interval_of
from fusion import merge_scales
from fusion.printed_table import Cell, PrintedTable
from fusion.storage import read_table
from zoo.cli.common import use_threads
from zoo.config import Model, with_field
from zoo.data import Data, open_data
from zoo.predict import predict
from zoo.registry import find
from zoo.runs import write_json
from zoo.synthetic.rendered import PictureVocabulary, Rendered, Scenery
from zoo.train import train

_TAIL = {"categories": 12, "tail": 2.0}
_SETS: dict[str, tuple[int, int, dict[str, Any]]] = {
    "even-train": (1000, 300, {"categories": 6}),
    "even-val": (600, 301, {"categories": 6}),
    "tail-train": (1000, 302, _TAIL),
    "tail-val": (600, 303, _TAIL | {"drawn_tail": 0.5}),
}
_SIZES = {"data.short": [96], "data.long": 128}
_MANY = {"data.short": [64, 80, 96, 112, 128], "data.long": 170}
_VIEWS = {"infer.short": [64, 96, 128], "infer.long": 170}
_ONE = {"infer.short": [96], "infer.long": 128}


class Row(NamedTuple):
    """What is trained and how it is looked at.

    Attributes:
        label: What it is called.
        variant: That is trained in its tiny form.
        training: Fields that are set for the training.
        test: Fields that are set for the prediction.
        reported: Of the report.
    """

    label: str
    variant: str
    training: Mapping[str, Any]
    test: Mapping[str, Any]
    reported: str = ""


class Measured(NamedTuple):
    """A row's figures, an entry for each seed.

    Attributes:
        row: What was measured.
        figures: On the validation pictures.
        seconds: Of CPU time, training and prediction of all seeds.
    """

    row: Row
    figures: list[Replicates]
    seconds: float


_TABLE_1 = (
    Row("every picture once", "mm_x50_plain", _SIZES, _ONE, "58.88"),
    Row("class-aware sampling", "mm_x50_classaware", _SIZES, _ONE, "64.64"),
)
_TABLE_2 = (
    Row("plain head", "mm_r50_plain", _SIZES, _ONE, "49.79"),
    Row("decoupling head", "mm_r50_dh", _SIZES, _ONE, "52.55"),
    Row("plain head, several sizes at test", "mm_r50_plain", _SIZES, _VIEWS),
    Row("decoupling head, several sizes at test", "mm_r50_dh", _SIZES, _VIEWS, "55.88"),
    Row("plain head, several sizes in training", "mm_r50_plain", _MANY, _ONE),
    Row("decoupling head, several sizes in training", "mm_r50_dh", _MANY, _ONE),
)
# which row each is compared with, by place
_TO_FIRST = {1: 0}
_TO_PLAIN = {1: 0, 3: 2, 5: 4}
_TO_ONE = {2: 0, 3: 1, 4: 0, 5: 1}


def main() -> None:
    """Train and predict what is missing, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=Path(".cache/mmfruit-tables"), help="where runs are kept")
    parser.add_argument("--steps", type=int, default=400, help="of each training; the batch is 4 images")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of the trainings")
    options = parser.parse_args()
    use_threads()
    for name, (images, seed, words) in _SETS.items():
        _draw(options.output / name, images, seed, words)
    runs = options.output / f"{options.steps}-steps"
    found: dict[str, list[Measured]] = {}
    for name, rows in (("tail", _TABLE_1), ("even", _TABLE_2)):
        data, val = (_open(options.output / f"{name}-{part}") for part in ("train", "val"))
        prepared = _prepared(options.output / f"{name}-val")
        measured = {
            (row.label, seed): _measure(row, seed, options.steps, data, val, prepared, runs / name)
            for row in rows
            for seed in options.seeds
        }
        found[name] = []
        for row in rows:
            own = [measured[row.label, seed] for seed in options.seeds]
            found[name].append(Measured(row, [figures for figures, _ in own], sum(seconds for _, seconds in own)))
    seconds = sum(msgspec.json.decode(path.read_bytes(), type=float) for path in runs.rglob("*-seconds.json"))
    tables = (_markdown(found["tail"], _TO_FIRST), *(_markdown(found["even"], to) for to in (_TO_PLAIN, _TO_ONE)))
    print(
        f"\n{options.steps} steps of 4 images for each training, seeds {options.seeds}; {seconds / 60:.0f} minutes of "
        f"one processor in all, {torch.get_num_threads()} thread(s).\n\n" + "\n\n".join(tables)
    )


def _draw(folder: Path, images: int, seed: int, words: dict[str, Any]) -> None:
    if not folder.exists():
        scenery = Scenery(size=96, vocabulary=PictureVocabulary(**words), clutter=1, noise=0.5)
        Rendered(images=images, seed=seed, scenery=scenery).write(folder)


def _open(folder: Path) -> Data:
    files = folder / "openimages"
    return open_data(
        f"openimages:{files / 'boxes.csv'},{folder / 'images'},classes={files / 'classes.csv'},name={folder.name}"
    )


def _prepared(folder: Path) -> PreparedOpenImages:
    files = folder / "openimages"
    truth = read_open_images(
        boxes=files / "boxes.csv", image_labels=files / "labels.csv", class_descriptions=files / "classes.csv"
    )
    return prepare(truth, OpenImages())


def _measure(
    row: Row, seed: int, steps: int, data: Data, val: Data, prepared: PreparedOpenImages, folder: Path
) -> tuple[Replicates, float]:
    """Train, predict and measure, or read what an earlier call has left; with the CPU seconds of this row alone."""
    several = {id(_SIZES): "one", id(_MANY): "several"}[id(row.training)]
    own = folder / f"{row.variant}-{several}-seed{seed}"
    table = own / "tables" / ("views.parquet" if len(row.test["infer.short"]) > 1 else "val.parquet")
    if not (own / "run.json").exists() or not table.exists():
        with _Spent(own / "training-seconds.json"):
            train(_config(row, steps, seed), data, own, variant=f"{row.variant}:tiny", resume=True)
        with _Spent(table.with_name(f"{table.stem}-seconds.json")):
            predict(own, val, table, batch=8, settings=row.test)
    detections = read_table(table)
    if len(row.test["infer.short"]) > 1:
        detections = merge_scales([detections])
    figures = bootstrap(prepared.evaluate(detections), drawn=())
    spent = [own / "training-seconds.json", table.with_name(f"{table.stem}-seconds.json")]
    seconds = sum(msgspec.json.decode(path.read_bytes(), type=float) for path in spent)
    print(f"{row.label}, seed {seed}: {100 * figures.observed['AP']:.2f}, {seconds:.0f} CPU s", flush=True)
    return figures, seconds


class _Spent:
    """Adds the CPU seconds of a block to those in a file; an interrupted one has cost something as well."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        self._begin = time.process_time()

    def __exit__(self, *_: object) -> None:
        before = msgspec.json.decode(self._path.read_bytes(), type=float) if self._path.exists() else 0.0
        if self._path.parent.exists():
            write_json(before + time.process_time() - self._begin, self._path)


def _config(row: Row, steps: int, seed: int) -> Model:
    config = find(row.variant).make("tiny")
    assert isinstance(config, Model)
    schedule = {"train.segments": [], "train.milestones": [0.75 * steps, 0.92 * steps], "train.steps": steps}
    for field, value in {**row.training, **schedule, "train.seed": seed}.items():
        config = with_field(config, field, value)
    return config


def _markdown(rows: list[Measured], beside: Mapping[int, int]) -> str:
    """Return a table; `beside` says which row each is compared with, where it is with one."""
    heads = ("row", "", "mAP", "95 % interval", "to row", "difference", "of each seed", "CPU s", "reported")
    table = PrintedTable.of(heads, ())
    for place, one in enumerate(rows):
        whole, replicates = _mean(one)
        units = one.figures[0].units
        interval = interval_of(whole, replicates, units)
        compared = ("", "", "")
        if place in beside:
            other = rows[beside[place]]
            first, before = _mean(other)
            change = difference_of(first, whole, before, replicates, units)
            pairs = zip(other.figures, one.figures, strict=True)
            each = [100 * (b.observed["AP"] - a.observed["AP"]) for a, b in pairs]
            compared = (
                str(beside[place] + 1),
                f"{100 * change.value:+.2f} ({100 * change.low:+.2f} to {100 * change.high:+.2f})",
                ", ".join(f"{value:+.2f}" for value in each),
            )
        cells: list[Cell] = [
            str(place + 1),
            one.row.label,
            f"{100 * whole:.2f}",
            f"{100 * interval.low:.2f} to {100 * interval.high:.2f}",
            *compared,
            f"{one.seconds:.0f}",
            one.row.reported,
        ]
        table.rows.append(cells)
    return table.to_markdown()


def _mean(one: Measured) -> tuple[float, np.ndarray]:
    """Return the mean of the seeds, as observed and of each replicate."""
    observed = [figures.observed["AP"] for figures in one.figures]
    return float(np.mean(observed)), np.mean([figures.values["AP"] for figures in one.figures], axis=0)


if __name__ == "__main__":
    main()
