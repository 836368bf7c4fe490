"""WBF, NMW, probabilistic fusion and consensus beside `ensemble_boxes`, in one run: `python benchmarks/clustering.py`.

Times are process CPU time on one thread, arrays in, arrays out, sorting included; the peer gets its lists
ready-made. Only the ratio of two threads to one is of wall time.
"""

import argparse
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.load import Load, make_load
from benchmarks.measure import (
    MEMBERS,
    Cells,
    Image,
    columns_of,
    cpu,
    extra_memory,
    first_images,
    fuse,
    images_of,
    sorted_rows,
    wall,
)
from fusion import per_image
from fusion.columns import Columns, Fused, sort_columns
from fusion.formulas.clusters import CONFIDENCES
from fusion.steps.consensus import Consensus
from fusion.steps.nmw import Nmw
from fusion.steps.prob_fusion import ProbFusion
from fusion.steps.wbf import Wbf

WEIGHTS = (2.0, 1.0, 0.7, 1.3, 0.5)


def per_image_of(fused: Fused, columns: Columns, images: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Rows (label, score, corners) of each of the first images, sorted."""
    rows = np.column_stack((columns.category[fused.cell], fused.score, fused.corners))
    image = columns.image[fused.cell]
    return [sorted_rows(rows[image == i]) for i in range(images)]


def difference(ours: list[np.ndarray], theirs: list[np.ndarray]) -> str:
    """Say how far two lists of rows are apart."""
    if any(one.shape != two.shape for one, two in zip(ours, theirs, strict=True)):
        return "DIFFERENT NUMBERS OF BOXES"
    return f"max difference {max(np.abs(one - two).max(initial=0) for one, two in zip(ours, theirs, strict=True)):g}"


def check_equality(package: Any, load: Load, lists: list[Image]) -> None:
    """Print how far each method is from the peer, with all weights 1 and with unequal ones."""
    columns = columns_of(first_images(load, len(lists)))
    for weights in None, WEIGHTS:
        named = None if weights is None else dict(zip(MEMBERS, weights, strict=True))
        variants: list[dict[str, Any]] = [{"conf_type": name} for name in CONFIDENCES] + [{"allows_overflow": True}]
        steps: list[tuple[str, Any, dict[str, Any]]] = [
            ("weighted_boxes_fusion", Wbf(weights=named, **options), options) for options in variants
        ]
        steps.append(("non_maximum_weighted", Nmw(weights=named), {}))
        for function, step, options in steps:
            ours = per_image_of(step.fuse(Cells(columns)), columns, len(lists))
            theirs = []
            for image in lists:
                boxes, score, label = getattr(package, function)(*image, weights=weights, **options)
                theirs.append(sorted_rows(np.column_stack((label, score, boxes)).astype(np.float64)))
            print(f"{function} {options or ''} weights {weights or 1}: {difference(ours, theirs)}")


def compare_speed(package: Any, load: Load, lists: list[Image]) -> None:
    """Print the rates of whole loads beside the peer."""
    n = len(load.score)
    peer_n = sum(len(part) for image in lists for part in image[1])
    sorting = cpu(lambda: columns_of(load))
    print(f"\n{n:,} detections, peers on {peer_n:,}; sort_columns alone {sorting / n * 1e9:.0f} ns per detection")
    rows: list[tuple[str, Any, str | None]] = [
        ("wbf", Wbf(), "weighted_boxes_fusion"),
        ("wbf, weights", Wbf(weights=dict(zip(MEMBERS, WEIGHTS, strict=True))), None),
        ("nmw", Nmw(), "non_maximum_weighted"),
        ("prob_fusion", ProbFusion(), None),
        ("consensus", Consensus(min_members=2), None),
    ]
    for name, step, function in rows:
        seconds = cpu(lambda step=step: fuse(step, load))
        line = f"{name:14} {n / seconds / 1e6:6.2f} M detections/s"
        if package is not None and function:
            peer = cpu(lambda function=function: [getattr(package, function)(*image) for image in lists], runs=2)
            line += f"; ensemble_boxes {peer_n / peer:,.0f} per s: {n / seconds / (peer_n / peer):.0f} x"
        print(line)


def compare_per_image(package: Any, lists: list[Image]) -> None:
    """Print the per-image functions' times beside the peer's."""
    print(f"\nper-image API, {len(lists)} images of {sum(map(len, lists[0][1]))} boxes and the like, CPU us per image")
    nested = [tuple([model.tolist() for model in part] for part in image) for image in lists]
    for name in ("weighted_boxes_fusion", "non_maximum_weighted", "nms", "soft_nms"):
        function = getattr(per_image, name)
        arrays = cpu(lambda function=function: [function(*image) for image in lists])
        nests = cpu(lambda function=function: [function(*image) for image in nested])
        line = f"{name:24} {arrays / len(lists) * 1e6:6.0f} from arrays, {nests / len(lists) * 1e6:6.0f} from lists"
        if package is not None:
            theirs, some = getattr(package, name), lists[:100]
            ours = cpu(lambda function=function, some=some: [function(*image) for image in some])
            peer = cpu(lambda theirs=theirs, some=some: [theirs(*image) for image in some], runs=1)
            line += f"; ensemble_boxes {peer / len(some) * 1e6:8.0f}: {peer / ours:.0f} x"
        print(line)


def compare_sizes(load: Load, images: int) -> None:
    """Print the gain of a second thread, peak memory, growth, and the time of one huge cell."""
    columns = columns_of(load)
    print()
    for step in Wbf(), Nmw():
        times = []
        for threads in "1", "2":
            os.environ["QUORUM_THREADS"] = threads
            times.append(wall(lambda step=step: fuse(step, load)))
        os.environ["QUORUM_THREADS"] = "1"
        print(f"{type(step).__name__}: two threads {times[0] / times[1]:.2f} x one (wall)")
        print(f"{type(step).__name__}: {extra_memory(columns, step)}")
    sizes = [first_images(load, images * part // 8) for part in (1, 2, 4, 8)]
    rates = [cpu(lambda size=size: fuse(Wbf(), size)) / len(size.score) * 1e9 for size in sizes]
    print("Wbf, ns per detection on 1/8, 1/4, 1/2 and all of the images: " + ", ".join(f"{rate:.0f}" for rate in rates))
    rng = np.random.default_rng(0)
    n = 10_000
    low, zero = rng.random((2, n)), np.zeros(n, np.int32)
    huge = sort_columns(zero, zero, rng.random(n), *low, *(low + 0.02), rng.integers(5, size=n).astype(np.int16))
    fused = Wbf().fuse(Cells(huge))
    seconds = cpu(lambda: Wbf().fuse(Cells(huge)))
    print(f"Wbf, one cell of {n:,} boxes, {len(fused.row):,} clusters: {seconds * 1e3:.0f} ms")


def main() -> None:
    """Run all comparisons."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--peer-images", type=int, default=500)
    arguments = parser.parse_args()
    os.environ["QUORUM_THREADS"] = "1"
    warnings.simplefilter("ignore")
    try:
        import ensemble_boxes as package
    except ImportError:
        package = None
        print("ensemble_boxes is not installed: no comparison")
    load = make_load(arguments.images)
    lists = images_of(load, min(arguments.peer_images, arguments.images))
    warm = first_images(load, 20)
    for step in Wbf(), Nmw(), ProbFusion(), Consensus():
        fuse(step, warm)
    for name in per_image.__all__:
        getattr(per_image, name)(*lists[0])
        if package is not None:
            getattr(package, name)(*lists[0])
    if package is not None:
        check_equality(package, load, lists[:60])
    compare_speed(package, load, lists)
    compare_sizes(load, arguments.images)
    compare_per_image(package, lists)


if __name__ == "__main__":
    main()
