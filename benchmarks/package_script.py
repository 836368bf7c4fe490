"""Fusion as people script it today: `ensemble_boxes` image by image, tuned by Optuna with `pycocotools`."""

from __future__ import annotations

import contextlib
import io
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from ensemble_boxes import weighted_boxes_fusion
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from evaluation.ground_truth import GroundTruth
from fusion.table import DetectionTable, Metadata

__all__ = ["tuned_script"]

_SIDE = 4096.0  # boxes are divided by it: the package wants them in [0, 1]


def tuned_script(
    seen: Sequence[DetectionTable], shown: Sequence[DetectionTable], truth: GroundTruth, seconds: float
) -> DetectionTable:
    """Tune WBF's threshold, its least score and the members' weights on some images, and fuse others.

    Scores are divided by each member's largest, since the package multiplies them.

    Args:
        seen: Members on the images to tune on.
        shown: Members on the images to fuse.
        truth: Ground truth of the images to tune on.
        seconds: CPU time to spend.
    """
    logging.getLogger("optuna").setLevel(logging.ERROR)
    largest = [max(float(table.score.max(initial=0)), 1e-9) for table in seen]
    learn, apply = (_inputs(tables, largest) for tables in (seen, shown))
    with contextlib.redirect_stdout(io.StringIO()):
        official = COCO()
        official.dataset = _dataset(truth)
        official.createIndex()

    def objective(trial: optuna.Trial) -> float:
        rows = _fused(learn, _options(trial, len(seen)))
        with contextlib.redirect_stdout(io.StringIO()):
            run = COCOeval(official, official.loadRes(rows), "bbox")
            run.evaluate()
            run.accumulate()
            run.summarize()
        return float(run.stats[0])

    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=0))
    begin = time.process_time()
    while time.process_time() - begin < seconds:
        study.optimize(objective, n_trials=1)
    print(f"<!-- {len(study.trials)} trials of the script -->")
    rows = _fused(apply, study.best_params)
    return DetectionTable.from_arrays(
        image_id=[row["image_id"] for row in rows],
        category_id=[row["category_id"] for row in rows],
        score=[row["score"] for row in rows],
        xywh=[row["bbox"] for row in rows],
        metadata=Metadata(member="script"),
    )


def _options(trial: optuna.Trial, members: int) -> dict[str, float]:
    return {
        "iou": trial.suggest_float("iou", 0.3, 0.9),
        "skip": trial.suggest_float("skip", 0.0, 0.3),
        **{f"weight{number}": trial.suggest_float(f"weight{number}", 0.0, 1.0) for number in range(members)},
    }


def _fused(images: Mapping[int, Any], options: Mapping[str, float]) -> list[dict[str, Any]]:
    rows = []
    for image, (boxes, scores, labels) in images.items():
        weights = [max(options[f"weight{number}"], 1e-3) for number in range(len(boxes))]
        fused = weighted_boxes_fusion(
            boxes, scores, labels, weights=weights, iou_thr=options["iou"], skip_box_thr=options["skip"]
        )
        for (x1, y1, x2, y2), score, label in zip(*fused, strict=True):
            box = [float(side) * _SIDE for side in (x1, y1, x2 - x1, y2 - y1)]
            rows.append({"image_id": image, "category_id": int(label), "bbox": box, "score": float(score)})
    return rows


def _inputs(tables: Sequence[DetectionTable], largest: Sequence[float]) -> dict[int, Any]:
    images: dict[int, Any] = {}
    for number, (table, most) in enumerate(zip(tables, largest, strict=True)):
        x, y, w, h = table.xywh.T
        corners = np.clip(np.stack([x, y, x + w, y + h], 1) / _SIDE, 0, 1)
        for place, image in enumerate(table.image_ids.tolist()):
            part = slice(table.image_start[place], table.image_start[place + 1])
            boxes, scores, labels = images.setdefault(
                image, ([[] for _ in tables], [[] for _ in tables], [[] for _ in tables])
            )
            boxes[number], labels[number] = corners[part].tolist(), table.category_id[part].tolist()
            scores[number] = (table.score[part] / most).tolist()
    return images


def _dataset(truth: GroundTruth) -> dict[str, Any]:
    columns = zip(truth.image.tolist(), truth.category.tolist(), truth.xywh.tolist(), truth.area.tolist(), strict=True)
    return {
        "info": {},
        "images": [{"id": image} for image in truth.image_id.tolist()],
        "categories": [{"id": category} for category in truth.category_id.tolist()],
        "annotations": [
            {
                "id": number,
                "image_id": int(truth.image_id[image]),
                "category_id": int(truth.category_id[category]),
                "bbox": box,
                "area": area,
                "iscrowd": int(truth.crowd[number - 1]),
            }
            for number, (image, category, box, area) in enumerate(columns, 1)
        ],
    }
