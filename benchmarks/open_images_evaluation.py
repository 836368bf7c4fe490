"""Open Images Challenge detection side by side with the official code: CPU seconds, ratios; streaming; replicates.

Run from the repository root:

    python benchmarks/open_images_evaluation.py

The official code (pip install --no-deps tf_models_research_object_detection; no TensorFlow needed) takes
some 20 ms an image, so that it is given the first images of the load only and its time is extrapolated
per image. Both start from arrays: ours from a table and ground truth, the official code from the arrays
of each image. CPU time, best of several turns for ours, one turn for the official code.
"""

import argparse
import os
import sys
import tempfile
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from benchmarks.measure import cpu, memory_kilobytes, reset_peak
from evaluation.ground_truth import GroundTruth, Labels
from evaluation.open_images import prepare_open_images
from fusion.storage import write_table
from fusion.table import DetectionTable, Metadata

CATEGORIES = 500


def make_load(images: int, per_image: int, seed: int = 0) -> tuple[GroundTruth, DetectionTable]:
    """Make ground truth and detections by a formula; not real detector output.

    An image has about 12 boxes, ancestors included, in some five categories, 6 % of them group-of, and
    about 10 verified labels; half of its detections are of its categories, near its boxes or elsewhere.
    """
    rng = np.random.default_rng(seed)
    kinds = (CATEGORIES * rng.random((images, 14)) ** 2).astype(np.int32)
    owner = np.repeat(np.arange(images), rng.poisson(12, images))
    kind = kinds[owner, rng.integers(0, 5, len(owner))]
    size = np.clip(np.exp(rng.normal(-1.5, 0.7, (len(owner), 2))), 0.02, 0.95)
    corner = rng.random((len(owner), 2)) * (1 - size)
    listed = np.unique(np.arange(images)[:, None] * CATEGORIES + kinds)
    start = np.searchsorted(listed, np.arange(images + 1) * CATEGORIES).astype(np.int64)
    truth = GroundTruth.from_arrays(
        image_id=np.array([f"{i:016x}" for i in range(images)], dtype=object),
        category_id=np.arange(1, CATEGORIES + 1),
        annotation_image_id=np.array([f"{i:016x}" for i in owner], dtype=object),
        annotation_category_id=kind + 1,
        xywh=np.hstack((corner, size)),
        crowd=rng.random(len(owner)) < 0.06,
        unit="normalized",
    )
    truth = replace(truth, positive=Labels(start, (listed % CATEGORIES).astype(np.int32)))

    near = np.repeat(np.arange(len(owner)), rng.poisson(1.5, len(owner)))
    clutter = max(images * per_image - len(near), 0)
    place = rng.integers(0, images, clutter)
    local = np.where(
        rng.random(clutter) < 0.45, kinds[place, rng.integers(0, 14, clutter)], rng.integers(0, CATEGORIES, clutter)
    )
    image = np.concatenate((owner[near], place))
    category = np.concatenate((kind[near], local))
    wide = np.concatenate(
        (size[near] * np.exp(rng.normal(0, 0.1, (len(near), 2))), rng.random((clutter, 2)) * 0.5 + 0.01)
    )
    low = np.concatenate(
        (corner[near] + rng.normal(0, 0.06, (len(near), 2)) * size[near], rng.random((clutter, 2)) * 0.5)
    )
    score = 1 / (1 + np.exp(-np.concatenate((rng.normal(0, 1.5, len(near)), rng.normal(-3, 1.2, clutter)))))
    order = np.argsort(image, kind="stable")
    found = DetectionTable.from_arrays(
        image_id=truth.image_id[image[order]],
        category_id=(category[order] + 1).astype(np.int32),
        score=score[order],
        xywh=np.hstack((low, wide))[order],
        metadata=Metadata(unit="normalized"),
    )
    return truth, found


def as_images(truth: GroundTruth, found: DetectionTable, images: int) -> list[dict[str, np.ndarray]]:
    """Arrays of the first images as the official code takes them: boxes [ymin, xmin, ymax, xmax]."""

    def corners(xywh: np.ndarray) -> np.ndarray:
        x, y, w, h = xywh.T
        return np.stack([y, x, y + h, x + w], axis=1)

    result = []
    place = np.searchsorted(found.image_ids, truth.image_id[:images])
    xywh = found.xywh
    for i in range(images):
        mine = truth.image == i
        rows = slice(found.image_start[place[i]], found.image_start[place[i] + 1])
        result.append(
            {
                "groundtruth_boxes": corners(truth.xywh[mine]),
                "groundtruth_classes": truth.category[mine].astype(int) + 1,
                "groundtruth_group_of": truth.crowd[mine],
                "groundtruth_image_classes": truth.positive.category[
                    truth.positive.start[i] : truth.positive.start[i + 1]
                ].astype(int)
                + 1,
                "detection_boxes": corners(xywh[rows]),
                "detection_scores": found.score[rows],
                "detection_classes": found.category_id[rows].astype(int),
            }
        )
    return result


def side_by_side(images: int, per_image: int, official_images: int) -> None:
    """Print ours, the official code and their ratio."""
    truth, found = make_load(images, per_image)
    print(f"{images} images, {CATEGORIES} categories, {len(truth):,} boxes, {len(found):,} detections")
    prepared = prepare_open_images(truth)
    fresh, kept = cpu(lambda: prepare_open_images(truth).evaluate(found)), cpu(lambda: prepared.evaluate(found))
    result = prepared.evaluate(found)
    evaluated = int(result.detections.sum())
    print(f"  ours             CPU {fresh:.4f} s, with the ground truth prepared {kept:.4f} s; AP {result.AP:.4f}")
    print(f"  detections evaluated after the rule of verified labels: {evaluated:,}")
    try:
        from tests.evaluation.open_images_cases import Official

        official = Official().evaluation.OpenImagesChallengeEvaluator
    except BaseException as error:  # pytest's skip is no Exception
        print(f"  official code: {error}")
        return
    rows = [{"id": k, "name": str(k)} for k in range(1, CATEGORIES + 1)]
    given = as_images(truth, found, official_images)
    figures: list[float] = []

    def run() -> None:
        evaluator = official(rows)
        for number, image in enumerate(given):
            # it changes the array of labels it is given
            image = image | {"groundtruth_image_classes": image["groundtruth_image_classes"].copy()}
            evaluator.add_single_ground_truth_image_info(number, image)
            evaluator.add_single_detected_image_info(number, image)
        figures[:] = evaluator.evaluate().values()

    import logging
    import warnings

    logging.disable(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        seconds = cpu(run, 1)
    some = prepare_open_images(truth.subset(truth.image_id[:official_images]))
    same = some.evaluate(found.select_images(truth.image_id[:official_images]))
    whole = seconds / official_images * images
    off = np.nanmax(np.abs(np.array(figures[1:]) - same.average_precision_per_category))
    print(f"  official code    CPU {seconds:.2f} s for {official_images} images, {whole:.0f} s extrapolated to all")
    print(f"  official / ours  {whole / fresh:.0f} x, {whole / kept:.0f} x with the ground truth prepared")
    print(f"  largest difference of an AP on the {official_images} images: {off:.1e}")


def replicates(images: int, per_image: int, count: int) -> None:
    """Print the time of a bootstrap."""
    truth, found = make_load(images, per_image)
    result = prepare_open_images(truth).evaluate(found)
    weights = np.random.default_rng(0).multinomial(images, np.full(images, 1 / images), count).astype(np.int32)
    first = cpu(lambda: result.resample(weights[:64]), 1)
    every = cpu(lambda: result.resample(weights), 1)
    print(
        f"  {count} replicates: CPU {every:.2f} s, {every / count * 1000:.2f} ms each (first call of 64: {first:.2f} s)"
    )


def streaming(per_image: int) -> None:
    """Print memory beyond the ground truth for tables of growing length in parts of equal size."""
    print("streaming: images, detections, parts; CPU s; extra MiB; equal to the whole")
    for factor in (1, 2, 4):
        with tempfile.TemporaryDirectory() as folder, get_context("spawn").Pool(1) as pool:
            images, parts = 4000 * factor, 4 * factor
            truth, found = make_load(images, per_image)
            write_table(found, Path(folder) / "parts", parts=parts)
            whole = prepare_open_images(truth).evaluate(found).AP
            count = len(found)
            del found
            seconds, extra, figure = pool.apply(stream, (truth, Path(folder) / "parts"))
            print(f"  {images:6}  {count:9,}  {parts:3}  {seconds:6.2f}  {extra:6.0f}  {figure == whole}")


def stream(truth: GroundTruth, folder: Path) -> tuple[float, float, float]:
    """CPU seconds and extra peak memory in MiB of one evaluation in parts, and its figure."""
    os.environ["QUORUM_THREADS"] = "1"
    prepared = prepare_open_images(truth)
    prepared.evaluate_parts(sorted(folder.iterdir())[0])  # compiles
    figures: list[float] = []
    reset_peak()
    before = memory_kilobytes("VmRSS")
    seconds = cpu(lambda: figures.append(prepared.evaluate_parts(folder).AP), 1)
    return seconds, (memory_kilobytes("VmHWM") - before) / 1024, figures[0]


def main() -> None:
    """Run what the options ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--per-image", type=int, default=188)
    parser.add_argument("--official-images", type=int, default=100)
    parser.add_argument("--replicates", type=int, default=1000)
    parser.add_argument("--no-streaming", action="store_true")
    options = parser.parse_args()
    side_by_side(options.images, options.per_image, options.official_images)
    replicates(options.images, options.per_image, options.replicates)
    if not options.no_streaming:
        streaming(options.per_image)


if __name__ == "__main__":
    main()
