"""The twelve COCO numbers side by side with the fastest peers: CPU seconds, ratios, growth, memory, threads.

Run from the repository root:

    python benchmarks/coco_evaluation.py                      # boxes and masks, peers hotcoco and ultrafast-pycocotools
    python benchmarks/coco_evaluation.py --with-pycocotools   # also pycocotools: about two minutes more

Every system gets its ground truth object for nothing; results -> figures is timed, from arrays for
boxes and from the RLE texts for masks. Ours is timed twice: with the preparation of the ground truth,
and without (it is kept when many tables are evaluated). CPU time, best of several turns, in turn.
"""

import argparse
import contextlib
import ctypes
import gc
import io
import os
import resource
import sys
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from benchmarks.load import EvaluationLoad, evaluation_load
from evaluation import Coco, GroundTruth, prepare
from fusion.masks import mask_array

System = Callable[[], Callable[[], Any]]  # makes one turn ready; what it returns is timed


def ground_truth(load: EvaluationLoad) -> GroundTruth:
    """The load's ground truth as ours."""
    sizes = [load.height] * len(load.truth_image), [load.width] * len(load.truth_image)
    return GroundTruth.from_arrays(
        image_id=np.arange(1, load.images + 1),
        category_id=np.arange(1, load.categories + 1),
        annotation_image_id=load.truth_image,
        annotation_category_id=load.truth_category,
        xywh=load.truth_box,
        area=load.truth_area,
        crowd=load.truth_crowd,
        segmentation=None if load.truth_mask is None else mask_array(*sizes, load.truth_mask),
        width=np.full(load.images, load.width),
        height=np.full(load.images, load.height),
    )


def dataset(load: EvaluationLoad) -> dict[str, Any]:
    """The load's ground truth as the object of a COCO file."""
    columns = (load.truth_image, load.truth_category, load.truth_box, load.truth_area, load.truth_crowd)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    names = ("image_id", "category_id", "bbox", "area")
    annotations: list[dict[str, Any]] = [
        {"id": n, **dict(zip(names, row, strict=False)), "iscrowd": int(row[4])} for n, row in enumerate(rows, 1)
    ]
    for row, text in zip(annotations, load.truth_mask or [], strict=False):
        row["segmentation"] = {"size": [load.height, load.width], "counts": text.decode()}
    return {
        "images": [{"id": i, "height": load.height, "width": load.width} for i in range(1, load.images + 1)],
        "categories": [{"id": k, "name": str(k)} for k in range(1, load.categories + 1)],
        "annotations": annotations,
    }


def results(load: EvaluationLoad) -> list[dict[str, Any]]:
    """The load's detections as COCO results with masks alone."""
    columns = zip(load.image.tolist(), load.category.tolist(), load.score.tolist(), strict=True)
    texts = load.mask or []
    return [
        {
            "image_id": image,
            "category_id": category,
            "score": score,
            "segmentation": {"size": [load.height, load.width], "counts": text.decode()},
        }
        for (image, category, score), text in zip(columns, texts, strict=True)
    ]


def ours(load: EvaluationLoad, *, prepared: bool) -> System:
    """Our evaluation, with the ground truth prepared in every turn or beforehand."""
    protocol = Coco(iou_type="bbox" if load.mask is None else "segm")
    truth = ground_truth(load)
    ready = prepare(truth, protocol) if prepared else None

    def call() -> list[float]:
        mask = None
        if load.mask is not None:
            mask = mask_array(np.full(len(load.mask), load.height), np.full(len(load.mask), load.width), load.mask)
        result = (ready or prepare(truth, protocol)).evaluate_arrays(
            image_id=load.image,
            category_id=load.category,
            score=load.score,
            xywh=load.box,
            mask=mask,
            mask_areas=mask is not None,
        )
        return list(result.stats.values())

    return lambda: call


def peer(load: EvaluationLoad, module: Any, given: Any) -> System:
    """Hotcoco, ultrafast-pycocotools or pycocotools: all have the same classes."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = module.COCO()
        truth.dataset = dataset(load)
        truth.createIndex()

    def call(found: Any) -> list[float]:
        found = truth.loadRes(found)
        run = module.COCOeval(truth, found, "bbox" if load.mask is None else "segm")
        run.evaluate()
        run.accumulate()
        run.summarize()
        return list(run.stats)

    def turn() -> Callable[[], list[float]]:
        # loading writes boxes and areas into the dictionaries, which would change the next turn
        fresh = given if isinstance(given, np.ndarray) else [dict(row) for row in given]
        return lambda: call(fresh)

    return turn


def peers(load: EvaluationLoad, *, slow: bool) -> dict[str, System]:
    """The peers by name; pycocotools only when `slow`."""
    import hotcoco
    import ultrafast_pycocotools

    columns = (load.image[:, None], load.box, load.score[:, None], load.category[:, None])
    given = np.hstack(columns).astype(np.float64) if load.mask is None else results(load)
    systems = {"hotcoco": peer(load, hotcoco, given), "ultrafast-pycocotools": peer(load, ultrafast_pycocotools, given)}
    if slow:
        import pycocotools.coco
        import pycocotools.cocoeval

        class Official:
            COCO = pycocotools.coco.COCO
            COCOeval = pycocotools.cocoeval.COCOeval

        systems["pycocotools"] = peer(load, Official, given)
    return systems


def timed(systems: dict[str, System], turns: int) -> dict[str, tuple[float, float, Any]]:
    """Least CPU and wall seconds of each over several turns, taken in turn; and what it returned."""
    best: dict[str, tuple[float, float, Any]] = {}
    for turn in range(turns + 1):  # the first turn warms up
        for name, system in systems.items():
            if name == "pycocotools" and turn:
                continue
            call = system()
            gc.collect()
            with contextlib.redirect_stdout(io.StringIO()):
                cpu, wall = time.process_time(), time.perf_counter()
                answer = call()
                cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
            if turn or name == "pycocotools":
                least = best.get(name, (cpu, wall, answer))
                best[name] = (min(cpu, least[0]), min(wall, least[1]), answer)
    return best


def side_by_side(load: EvaluationLoad, turns: int, *, slow: bool) -> None:
    """Print one load's times of all systems."""
    kind = "bbox" if load.mask is None else "segm"
    head = f"{kind}: {load.images} images, {load.categories} categories"
    print(f"\n{head}, {len(load.truth_image):,} ground truth, {len(load.score):,} detections")
    systems = {"ours": ours(load, prepared=False), "ours, prepared": ours(load, prepared=True)}
    best = timed(systems | peers(load, slow=slow), turns)
    mine = best["ours"]
    fastest = min(best[name][0] for name in ("hotcoco", "ultrafast-pycocotools"))
    for name, (cpu, wall, stats) in best.items():
        off = max(abs(a - b) for a, b in zip(stats, mine[2], strict=True))
        ratio = cpu / mine[0]
        print(f"  {name:24} CPU {cpu:8.3f} s  wall {wall:8.3f} s  CPU / ours {ratio:6.2f}  difference {off:.1e}")
    goal = "<= 0.333" if kind == "bbox" else "<= 1"
    print(f"  AP {mine[2][0]:.4f}; ours / faster peer: {mine[0] / fastest:.3f} (goal {goal})")


def growth(images: int, detections: int, masks: bool) -> None:
    """Print time and memory for loads of 1, 2, 4 and 8 times the size."""
    kind = "segm" if masks else "bbox"
    print(f"\ngrowth, {kind}, one thread: detections, CPU s, per detection against the first, extra MiB")
    first = 0.0
    for factor in (1, 2, 4, 8):
        cpu, extra = in_child(images * factor, detections * factor, masks)
        first = first or cpu
        print(f"  x{factor}  {detections * factor:9,}  {cpu:7.3f}  {cpu / first / factor:5.2f}  {extra:6.0f}")


def in_child(images: int, detections: int, masks: bool) -> tuple[float, float]:
    """Call `measure` in a process of its own."""
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, (images, detections, masks))


def measure(images: int, detections: int, masks: bool) -> tuple[float, float]:
    """CPU seconds on one thread and extra peak memory in MiB of one load."""
    os.environ["QUORUM_THREADS"] = "1"
    small = evaluation_load(20, 500, masks=masks)
    ours(small, prepared=False)()()
    load = evaluation_load(images, detections, masks=masks)
    call = ours(load, prepared=False)()
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)  # what was freed must not be had for nothing
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts from here
    before = peak()
    cpu = time.process_time()
    call()
    cpu = time.process_time() - cpu
    extra = peak() - before
    for _ in range(2):
        start = time.process_time()
        call()
        cpu = min(cpu, time.process_time() - start)
    return cpu, extra


def peak() -> float:
    """Peak resident memory of this process in MiB."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def thread_ratio(load: EvaluationLoad) -> None:
    """Print the wall time with two threads against one."""
    call = ours(load, prepared=False)
    walls = {}
    for count in (1, 2):
        os.environ["QUORUM_THREADS"] = str(count)
        walls[count] = min(wall for _ in range(4) for _, wall, _ in timed({"ours": call}, 1).values())
    del os.environ["QUORUM_THREADS"]
    kind = "bbox" if load.mask is None else "segm"
    print(f"\nthreads, {kind}: wall {walls[1]:.3f} s with 1, {walls[2]:.3f} s with 2: {walls[1] / walls[2]:.2f} x")


def main() -> None:
    """Run what the options ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--with-pycocotools", action="store_true", help="also time pycocotools, once")
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--detections", type=int, default=500_000)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--only", choices=("bbox", "segm"), help="one kind only")
    parser.add_argument("--no-growth", action="store_true", help="leave out growth, memory and threads")
    options = parser.parse_args()
    for masks in (False, True):
        if options.only == ("bbox" if masks else "segm"):
            continue
        load = evaluation_load(options.images, options.detections, masks=masks)
        side_by_side(load, 2 if masks else options.turns, slow=options.with_pycocotools)
        if not options.no_growth:
            thread_ratio(load)
            del load
            growth(options.images // 5, options.detections // 5, masks)


if __name__ == "__main__":
    main()
