"""Commands `quorum learn`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from evaluation.cli.by_parts import evaluate_by_parts
from evaluation.cli.members import read_member, some_tables
from evaluation.cli.output import Output
from evaluation.cli.protocols import IouType, ProtocolName, protocol_of
from evaluation.cli.truth import NO_FILES, GroundTruthFile, OpenImagesFiles, prepared_truth
from fusion.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

    from evaluation.calibration import Target
    from evaluation.ground_truth import GroundTruth
    from evaluation.open_images import PreparedOpenImages
    from evaluation.prepared import Prepared
    from fusion.score_maps import ScoreMap
    from fusion.table import DetectionTable

__all__ = ["learn_calibration", "learn_weights"]


def learn_weights(
    *tables: Path,
    ground_truth: GroundTruthFile,
    output: Output,
    builder: str = "ap_ratio",
    images: Path | None = None,
    power: float = 1.0,
    floor: float = 0.0,
    t0: float = 0.5,
    r: int = 1,
    protocol: ProtocolName = "coco",
    iou_type: IouType = "bbox",
    open_images: OpenImagesFiles = NO_FILES,
) -> None:
    """Learn a weight per member and category from the members' AP.

    Args:
        tables: One table per member.
        ground_truth: Annotations of any format (docs/formats.md).
        output: A TOML file for `quorum fuse --weights`, or for a recipe's reweight step.
        builder: ap_ratio, ap_share, rank_linear, top_r or uniform.
        images: Learn only on these images: a text file with an id per line.
        power: ap_ratio, ap_share: sharpens above 1, flattens below.
        floor: ap_ratio, ap_share: smallest weight.
        t0: rank_linear: weight of the last rank.
        r: top_r: members kept per category.
        protocol: Whose AP counts.
        iou_type: Boxes or masks.
        open_images: What goes with a CSV file as ground truth.
    """
    from evaluation.learning import average_precisions, tuned_on
    from fusion.learned import write_learned
    from fusion.terminal import announcing_compilation, stderr
    from fusion.weights import build_weights

    with announcing_compilation():
        truth, prepared = prepared_truth(ground_truth, protocol_of(protocol, iou_type), images, open_images)
        figures = (_figures(path, truth, prepared, images) for path in some_tables(tables, "learn weights"))
        ap = average_precisions(figures, truth)
        weights = build_weights(ap, builder, power=power, floor=floor, t0=t0, r=r)
    write_learned(output, "weights", weights, tuned_on(truth, f"weights by {builder}"))
    stderr.print(f"{output}: weights of {len(weights)} members by {builder}", highlight=False)


def learn_calibration(
    *tables: Path,
    output: Output,
    ground_truth: Annotated[Path | None, Parameter(name=("--ground-truth", "-g"))] = None,
    kind: Literal["isotonic", "linear", "platt", "rank"] = "isotonic",
    target: str = "mean-precision",
    per_category: Annotated[bool, Parameter(negative="")] = False,
    least_matched: int | None = None,
    images: Path | None = None,
    protocol: ProtocolName | None = None,
    iou_type: IouType = "bbox",
    open_images: OpenImagesFiles = NO_FILES,
) -> None:
    """Learn maps that bring the members' scores onto one scale.

    Args:
        tables: One table per member.
        ground_truth: Annotations of any format (docs/formats.md); rank does without.
        output: A TOML file for `quorum fuse --calibration`, or for a recipe's calibrate step.
        kind: Shape of a map: isotonic (rises as it may), linear, platt (a sigmoid); or rank: a score becomes its share
            of the member's scores.
        target: What a score is to say. mean-precision: how often a box of this score is right, mean over the
            protocol's IoU thresholds, of which AP is made; an IoU such as 0.5: how often it is right there;
            expected-iou: how well it fits.
        per_category: Learn maps of their own for categories with enough data; the others share one.
        least_matched: With --per-category: how many detections of a category must find an object for that. Chosen by
            cross-validation when not given.
        images: Learn only on these images: a text file with an id per line.
        protocol: Whose thresholds and matching count; openimages for a CSV file, else coco, when not given.
        iou_type: Boxes or masks.
        open_images: What goes with a CSV file as ground truth.
    """
    from evaluation.calibration import learn_calibration as learn_map
    from evaluation.learning import tuned_on
    from fusion.agreement import check_agreement
    from fusion.learned import TunedOn, write_learned
    from fusion.parts import named
    from fusion.score_maps import CategoryMaps
    from fusion.storage import read_table
    from fusion.terminal import announcing_compilation, stderr

    if least_matched is not None and not per_category:
        raise InputError("option --least-matched", "is of use only with --per-category", "Give both or none")
    if ground_truth is None and (kind != "rank" or images is not None):
        raise InputError(
            "learn calibration", f"kind {kind} needs --ground-truth", "Give it, or use --kind rank without --images"
        )
    wanted = _target(target)
    truth = prepared = None
    if ground_truth is not None:
        if protocol is None:
            protocol = "openimages" if ground_truth.suffix == ".csv" else "coco"
        truth, prepared = prepared_truth(ground_truth, protocol_of(protocol, iou_type), images, open_images)
    maps: dict[str, ScoreMap | CategoryMaps] = {}
    described: list[DetectionTable] = []  # without their rows
    with announcing_compilation():
        for path in some_tables(tables, "learn calibration"):
            described.append(named(read_table(path, images=[]), path))
            check_agreement(described)
            name = str(described[-1].metadata.member)
            pieces = _pieces(path, truth, images, None if iou_type == "segm" else ())
            maps[name] = learned = learn_map(
                pieces, prepared, kind, target=wanted, per_category=per_category, least=least_matched
            )
            if isinstance(learned, CategoryMaps):
                stderr.print(f"{name}: {len(learned.category)} categories have a map of their own", highlight=False)
    if len(maps) < len(tables):
        raise InputError(
            "learn calibration", "two tables have the same member name", "Rename one with --member at import"
        )
    origin = (
        TunedOn(fingerprint="", images=0, note="ranks only", categories=described[0].metadata.categories or "")
        if truth is None
        else tuned_on(truth, f"{kind} calibration to {target}")
    )
    write_learned(output, "maps", maps, origin)
    stderr.print(f"{output}: {kind} maps of {len(maps)} members", highlight=False)


def _figures(
    path: Path, truth: "GroundTruth", prepared: "Prepared | PreparedOpenImages", images: Path | None
) -> "tuple[str | None, np.ndarray]":
    """Return a member's name and its AP of each category; a folder is measured part by part."""
    from fusion.parts import named
    from fusion.storage import read_table

    result = evaluate_by_parts(path, truth, prepared, images)
    if result is not None:
        return named(read_table(path, images=[]), path).metadata.member, result.average_precision_per_category
    table = read_member(path, truth, images, None if prepared.protocol.iou_type == "segm" else ())
    return table.metadata.member, prepared.evaluate(table).average_precision_per_category


def _pieces(
    path: Path, truth: "GroundTruth | None", images: Path | None, columns: tuple[str, ...] | None
) -> "Iterator[DetectionTable]":
    """Yield a member's table part by part, with those of the optional columns."""
    from evaluation.belonging import check_belongs
    from fusion.parts import named
    from fusion.storage import part_paths, read_metadata, read_table
    from fusion.terminal import notes

    parts = part_paths(path)
    if truth is not None and len(parts) == 1:
        yield read_member(path, truth, images, columns)
        return
    if truth is not None:
        notes(path, check_belongs(path, read_metadata(path)[0], truth))
    for part in parts:
        chosen = None if truth is None or images is None else truth.image_id
        table = read_table(part, images=chosen, columns=columns)
        yield named(table.with_metadata(part=None), path)


def _target(text: str) -> "Target":
    """Read what a calibrated score is to say, as typed."""
    if text == "mean-precision":
        return "mean_precision"
    if text == "expected-iou":
        return "expected_iou"
    try:
        return float(text)
    except ValueError:
        raise InputError(
            "option --target", f"expected mean-precision, expected-iou or an IoU such as 0.5, got {text!r}"
        ) from None
