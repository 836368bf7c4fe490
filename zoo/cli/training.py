"""Commands `quorum train` and `quorum predict`."""

import os
from collections.abc import Callable, Collection, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from cyclopts import Parameter

from fusion.errors import InputError, in_command_line
from fusion.terminal import notes, progress_bar, stderr
from zoo.cli.common import Output, Scale, need_torch, split_of, tell_figures, use_threads
from zoo.config import AnyModel, CropSegmenter, Model, read_model, with_field
from zoo.registry import find

if TYPE_CHECKING:
    import torch

    from fusion.shards import Shard
    from zoo.checkpoint import Which
    from zoo.data import Data, View
    from zoo.finder import Finder
    from zoo.members.joined import Joining

__all__ = ["predict", "train"]


def train(
    name: str,
    /,
    *,
    data: Annotated[tuple[str, ...], Parameter(negative="")],
    output: Output,
    val: str | None = None,
    settings: Annotated[tuple[str, ...], Parameter(name="--set", negative="")] = (),
    scale: Scale = "full",
    resume: Annotated[bool, Parameter(negative="")] = False,
    workers: int | None = None,
    skip_broken: Annotated[bool, Parameter(negative="")] = False,
    tensorboard: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Train a variant; also in several processes: torchrun --nproc-per-node N -m quorum train ...

    Ctrl-C writes a checkpoint first; the same call with --resume goes on from there.

    Args:
        name: A variant (`quorum zoo list`), or a JSON file as `quorum zoo show NAME --format json` prints.
        data: What to train on, for example coco:annotations.json,images/; several are joined.
        output: Folder for weights, log and card; its name is the member's.
        val: Data to predict and measure when the training is over.
        settings: Fields to change, for example --set train.batch=8 --set train.steps=9000.
        scale: tiny builds the variant small enough for tests on a CPU.
        resume: Go on from the checkpoint in the folder; without one, begin.
        workers: Processes that load images; 4 with a graphics card, none without, when not given.
        skip_broken: In place of an image that cannot be read take the next that can, and say which.
        tensorboard: Also write TensorBoard's files.
    """
    need_torch("train")
    import torch

    from zoo import train as training
    from zoo.data import open_data
    from zoo.distributed import joined

    use_threads()
    config = _configured(name, scale, settings)
    if val is not None and not isinstance(config, Model):
        problem = f"{name} finds no boxes by itself, so it cannot be measured alone"
        raise InputError("option --val", problem, "Leave it out, and run quorum predict with --boxes afterwards")
    first = os.environ.get("RANK", "0") == "0"
    loaders = (4 if torch.cuda.is_available() else 0) if workers is None else workers
    sources = open_data(*data)
    if first:
        notes(sources.name, sources.notes)
    held_out = None if val is None else open_data(val)  # now, since a typing error must not show up after a day
    variant = Path(name).stem if name.endswith(".json") else name
    if scale != "full":
        variant = f"{variant}:{scale}"
    with joined() as ranks:
        run = training.train(
            config,
            sources,
            output,
            variant=variant,
            resume=resume,
            workers=loaders,
            skip_broken=skip_broken,
            tensorboard=tensorboard,
        )
        if ranks.first:
            losses = f", loss {run.losses['loss']:.3f}" if run.losses else ""
            spent = timedelta(seconds=round(run.seconds))
            stderr.print(f"{output}: {run.step:,} steps in {spent}{losses}", highlight=False)
        if held_out is not None:
            _predict(output, held_out, output / "tables" / f"{split_of(held_out)}.parquet", workers=loaders)


def predict(
    run: Path,
    /,
    *,
    data: str,
    output: Annotated[Path | None, Parameter(name=("--output", "-o"))] = None,
    views: str | None = None,
    flip: Annotated[bool, Parameter(negative="")] = False,
    boxes: Path | None = None,
    scores: Literal["box", "mask"] = "box",
    parts: int | None = None,
    batch: int = 1,
    workers: int | None = None,
    settings: Annotated[tuple[str, ...], Parameter(name="--set", negative="")] = (),
    weights: str | None = None,
    label_map: str | None = None,
    unknown_categories: Literal["error", "drop"] = "error",
    member: Path | None = None,
    shard: str | None = None,
) -> None:
    """Run a trained model, also one of another framework, over a data set and write a detection table.

    An interrupted run is taken up by the same call, and a finished one is not run again. Where the data have
    annotations and there is one view, AP is measured too and goes to the model's card.

    Args:
        run: Folder of the training; or FRAMEWORK:MODEL, such as torchvision:maskrcnn_resnet50_fpn_v2.
        data: The images, for example coco:annotations.json,images/.
        output: The table; RUN/tables/SPLIT.parquet when not given. With --parts a folder.
        views: Short sides in pixels, for example 600,800,1000x1600, which after an x has the longest side. When not
            given those of infer.short, or where that is not set the size of the training.
        flip: See every view flipped as well; a crop segmenter takes the mean of both.
        boxes: A table whose boxes get masks from this model, or are moved by it if it is a box refiner; scores stay.
        scores: mask: scores are multiplied by the IoU that a mask-rescoring head predicts.
        parts: Cut the table into this many files, for data sets whose table does not fit in memory.
        batch: Images that go through the model together.
        workers: Processes that load images; 4 with a graphics card, none without, when not given.
        settings: Settings of test to change, for example --set infer.detections=300; or options of another framework,
            for example --set box_score_thresh=0.001.
        weights: ema: the averaged weights; last: those of the last step. The averaged where there are such, when not
            given. Of another framework's model the file: .pth, .pt or .safetensors.
        label_map: Which category of a model of another framework, or of a training on other data, is which of the data,
            by numbers or names, as in `quorum import`: 1=3,3=10,dog=18, JSON, or a file of it.
        unknown_categories: Whether what such a model finds of categories that the data do not have is dropped.
        member: Of a model of another framework, its folder in the store, such as runs/theirs, made where it is not
            there: it gets a card, AP, and MEMBER/tables/SPLIT.parquet when --output is not given.
        shard: With --parts, make only a share of them, such as 1/4 or auto (see `quorum fuse`), without joining the
            processes of torchrun; whoever makes the last part puts the table in place and measures it.
    """
    need_torch("predict")
    import torch

    from evaluation.results import read_label_map
    from fusion.shards import Shard
    from fusion.storage import read_metadata
    from zoo.data import open_data
    from zoo.members import foreign, framework_names, is_foreign
    from zoo.members.base import Wanted
    from zoo.members.joined import Joining
    from zoo.runs import Origin
    from zoo.store import check_origin, keep_origin, write_card
    from zoo.views import views_of_foreign

    use_threads()
    share = None if shard is None else Shard.parse(shard)
    source = open_data(data)
    if os.environ.get("RANK", "0") == "0":
        notes(source.name, source.notes)
    loaders = (4 if torch.cuda.is_available() else 0) if workers is None else workers
    joining = Joining(
        label_map=None if label_map is None else read_label_map(label_map), drop=unknown_categories == "drop"
    )
    if is_foreign(str(run)):
        if member is not None:
            check_origin(member, str(run))
            table = output or _table_of(member, source, parts)
        elif output is not None:
            table = output
        else:
            remedy = "For example -o tables/theirs.parquet, or --member runs/theirs"
            raise InputError("predict", f"{run} needs --output or --member", remedy)
        wanted = Wanted(weights=None if weights is None else Path(weights), settings=_values(settings))
        with in_command_line(settings="set"):
            model = foreign(str(run), wanted, joining, source, table.stem if member is None else member.name)
            chosen = views_of_foreign(views, flip)
            there = _run(model, source, table, chosen, boxes, scores, parts, share, batch, loaders)
        if member is not None and there:
            made_by = read_metadata(table)[0].made_by
            told = ", ".join(f"{name} {value}" for name, value in made_by["settings"].items())
            origin = Origin(
                source=str(run), sha256=",".join(made_by["checkpoint"]), about=f"Settings: {told}." if told else ""
            )
            keep_origin(member, origin)
            write_card(member)
            if len(chosen) == 1:
                _measure(member, source, table)
        return
    known = ", ".join(f"{framework}:MODEL" for framework in framework_names())
    if weights not in (None, "ema", "last"):
        problem = f"expected ema or last, got {weights!r}; files are for models of other frameworks"
        raise InputError("option --weights", problem, f"As {known}")
    if member is not None:
        raise InputError("option --member", f"is for models of other frameworks, and {run} is none", f"As {known}")
    which: Which | None = weights  # type: ignore[assignment]
    if output is None:
        if boxes is not None:
            raise InputError("predict", "--boxes needs --output", "For example -o tables/with-masks.parquet")
        output = _table_of(run, source, parts)
    other = joining if joining != Joining() else None
    given = dict(_pairs(settings))
    _predict(run, source, output, views, flip, boxes, scores, parts, share, batch, loaders, given, which, other)


def _predict(
    run: Path,
    data: "Data",
    output: Path,
    views: str | None = None,
    flip: bool = False,
    boxes: Path | None = None,
    scores: Literal["box", "mask"] = "box",
    parts: int | None = None,
    shard: "Shard | None" = None,
    batch: int = 1,
    workers: int = 0,
    settings: Mapping[str, str] | None = None,
    weights: "Which | None" = None,
    joining: "Joining | None" = None,
) -> None:
    """Run a model of the zoo, measure what it finds and renew its card."""
    from functools import partial

    from zoo.at_test import set_at_test, with_categories_of, with_mapped_categories
    from zoo.runs import Identity, read_json
    from zoo.trained import TrainedFinder
    from zoo.views import views_of

    trained = read_json(run / "config.json", Identity)
    if flip and isinstance(read_model(trained.model), CropSegmenter):
        settings = {"infer.flip": "true", **(settings or {})}
    chosen = views_of(read_model(set_at_test(trained, settings or {}).model), views, flip)
    load = partial(TrainedFinder.load, run, data, settings=settings, which=weights, joining=joining)
    model = run if joining is None else load
    there = _run(model, data, output, chosen, boxes, scores, parts, shard, batch, workers, settings, weights)
    if there and boxes is None and len(chosen) == 1:
        found = (
            with_categories_of(trained, data, run)
            if joining is None
            else with_mapped_categories(trained, data, joining, run)
        )
        _measure(run, data, output, found[0].category_ids)


def _table_of(member: Path, data: "Data", parts: int | None) -> Path:
    return member / "tables" / (split_of(data) + ("" if parts else ".parquet"))


def _measure(member: Path, data: "Data", table: Path, known: Collection[int] | None = None) -> None:
    """Measure what a member found, of the categories that it knows, if the data have annotations; renew its card."""
    from evaluation.known_categories import of_categories
    from fusion.storage import read_table
    from zoo.store import add_figures

    truth = data.truth if known is None else of_categories(data.truth, known)
    if truth.unit == "pixel" and len(truth.annotation_id):
        protocol = "lvis" if truth.frequency is not None and truth.negative is not None else "coco"
        add_figures(member, split_of(data), read_table(table), truth, protocol)
        tell_figures(member, split_of(data))


def _run(
    model: "Path | Callable[[torch.device], Finder]",
    data: "Data",
    output: Path,
    views: "tuple[View, ...]",
    boxes: Path | None,
    scores: Literal["box", "mask"],
    parts: int | None,
    shard: "Shard | None",
    batch: int,
    workers: int,
    settings: Mapping[str, str] | None = None,
    weights: "Which | None" = None,
) -> bool:
    """Run a model, and say what came of it; return whether the table is there and this process speaks of it."""
    from zoo import predict as prediction

    with progress_bar() as bar:
        task = bar.add_task("predicting", total=None)
        report = prediction.predict(
            model,
            data,
            output,
            views=views,
            boxes=boxes,
            scores=scores,
            parts=parts,
            shard=shard,
            batch=batch,
            workers=workers,
            settings=settings,
            weights=weights,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    if shard is None and os.environ.get("RANK", "0") != "0":
        return False
    rate = f"{report.images * len(views) / max(report.seconds, 1e-9):.1f} images a second"
    if report.complete:
        rate = "complete since an earlier call; remove it to run again"
    stderr.print(
        f"{output}: {report.detections:,} detections on {report.images:,} images, {len(views)} views, {rate}",
        highlight=False,
    )
    if report.resumed:
        notes(output, [f"{report.resumed} parts were taken from an interrupted run"])
    if not report.whole:
        notes(output, ["this share's parts are done; whoever makes the last of the others puts the table in place"])
    return report.whole


def _values(settings: tuple[str, ...]) -> dict[str, object]:
    """Return options of another framework by name: numbers, lists and so on where they are such, else texts."""
    values: dict[str, object] = {}
    for name, text in _pairs(settings):
        try:
            values[name] = msgspec.json.decode(text)
        except msgspec.DecodeError:
            values[name] = text
    return values


def _configured(name: str, scale: Scale, settings: tuple[str, ...]) -> AnyModel:
    if name.endswith(".json"):
        try:
            config = read_model(msgspec.json.decode(Path(name).read_bytes(), type=dict))
        except (OSError, msgspec.MsgspecError) as error:
            raise InputError(name, f"cannot be read as a configuration ({error})") from error
    else:
        config = find(name).make(scale)
    pairs = _pairs(settings)
    fields = {field for field, _ in pairs}
    if fields & {"train.steps", "train.epochs"} and "train.segments" not in fields:
        config = with_field(config, "train.segments", [])  # one length of the training takes the place of the other
    for field, other in (("train.steps", "train.epochs"), ("train.epochs", "train.steps")):
        if field in fields and other not in fields:
            config = with_field(config, other, None)
    for field, value in pairs:
        config = with_field(config, field, value)
    return config


def _pairs(settings: tuple[str, ...]) -> list[tuple[str, str]]:
    """Return the fields and values of `--set`."""
    pairs = []
    for setting in settings:
        field, equals, value = setting.partition("=")
        if not equals:
            raise InputError("option --set", f"expected field=value, got {setting!r}", "For example train.batch=8")
        pairs.append((field.strip(), value.strip()))
    return pairs
