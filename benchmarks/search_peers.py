"""A search as people script it today: `ensemble_boxes` image by image, then `pycocotools`; against ours.

A few candidates are run by the script, on a part of the images, and extrapolated to all: both of its halves are linear
in images. Its candidates are the simplest it can do, one WBF over all members; ours are those of a running search,
with trees, kept sub-trees and giving up. Times are CPU seconds.

    python -m benchmarks.search_peers
"""

from __future__ import annotations

import argparse
import contextlib
import io
import time

import numpy as np
from ensemble_boxes import weighted_boxes_fusion
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from benchmarks.search_throughput import fusers_of, problem_of, proposed, rate_of
from evaluation.ground_truth import GroundTruth
from fusion.table import DetectionTable

_SIZE = np.array([640.0, 480.0, 640.0, 480.0])


def main() -> None:
    """Measure and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--members", type=int, default=12)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--part", type=int, default=50, help="images that the script is run on")
    options = parser.parse_args()
    problem = problem_of(options.members, options.images)
    truth, tables = problem.search.truth, problem.preparation.tables
    ids = truth.image_id[: options.part]
    fusing, measuring = _script(truth.subset(ids), [table.select_images(ids) for table in tables])
    scale = len(truth.image_id) / len(ids)
    theirs = (fusing + measuring) * scale
    print(
        f"script: {fusing:.1f} s of WBF and {measuring:.1f} s of pycocotools on {len(ids)} images, "
        f"{theirs:.0f} s per candidate on {len(truth.image_id)}"
    )
    fusers = fusers_of(problem, "cpu")
    memory = 2 << 30
    for fixed_tree in (True, False):
        stage = proposed(problem, fusers, options.trials, memory, fixed_tree=fixed_tree)
        ours = 1 / rate_of(fusers, stage, memory)
        print(f"quorum, {stage.name}: {ours:.2f} s per candidate; ratio {theirs / ours:.0f}")


def _script(truth: GroundTruth, tables: list[DetectionTable]) -> tuple[float, float]:
    """Return CPU seconds of fusing and of measuring one candidate."""
    inputs = [_inputs(tables, image) for image in truth.image_id.tolist()]
    begin = time.process_time()
    rows = []
    for image, boxes, scores, labels in inputs:
        fused, score, label = weighted_boxes_fusion(boxes, scores, labels, weights=None, iou_thr=0.55)
        fused = fused * _SIZE
        for box, s, c in zip(fused, score, label, strict=True):
            x1, y1, x2, y2 = box.tolist()
            bbox = [x1, y1, x2 - x1, y2 - y1]
            rows.append({"image_id": image, "category_id": int(c), "bbox": bbox, "score": float(s)})
    fusing = time.process_time() - begin
    with contextlib.redirect_stdout(io.StringIO()):
        official = COCO()
        official.dataset = _document(truth)
        official.createIndex()
        begin = time.process_time()
        run = COCOeval(official, official.loadRes(rows), "bbox")
        run.evaluate()
        run.accumulate()
        run.summarize()
        measuring = time.process_time() - begin
    return fusing, measuring


def _inputs(
    tables: list[DetectionTable], image: int
) -> tuple[int, list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
    boxes, scores, labels = [], [], []
    for table in tables:
        rows = np.flatnonzero(table.image_id == image)
        xywh = table.xywh[rows]
        boxes.append(np.hstack([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]]) / _SIZE)
        scores.append(table.score[rows])
        labels.append(table.category_id[rows])
    return image, boxes, scores, labels


def _document(truth: GroundTruth) -> dict[str, object]:
    annotations = [
        {
            "id": i + 1,
            "image_id": int(image),
            "category_id": int(category),
            "bbox": box,
            "area": float(area),
            "iscrowd": int(crowd),
        }
        for i, (image, category, box, area, crowd) in enumerate(
            zip(
                truth.image_id[truth.image],
                truth.category_id[truth.category],
                truth.xywh.tolist(),
                truth.area,
                truth.crowd,
                strict=True,
            )
        )
    ]
    return {
        "images": [{"id": int(i), "width": 640, "height": 480} for i in truth.image_id],
        "categories": [{"id": int(c), "name": str(c)} for c in truth.category_id],
        "annotations": annotations,
    }


if __name__ == "__main__":
    main()
