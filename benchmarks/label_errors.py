"""Precision of the list of likely label errors, beside hotcoco's, on ground truth with errors put in on purpose.

    python benchmarks/label_errors.py [--images 1000] [--share 0.02] [--seeds 5]

Of each kind a share of the annotations is spoiled: removed, made up (a box of another object at a place where nothing
is), given another category, or made larger by 1.3 to 1.7 times a side. Of each kind, the precision among as many
suspects as errors were put in is given, mean over some seeds. The first data are simulated: four members of different
skills, 20 categories. The second are real: MVOR's published results (two detectors, and all six with the pose
estimators'), one category.

hotcoco lists what is missing and wrongly labelled, from one set of results: that of the best member, and that of the
members' fusion (WBF), without a threshold of its own, by falling score. Its suspects that fit are counted alike.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from evaluation import GroundTruth, prepare, read_coco
from evaluation.label_errors import find_label_errors
from evaluation.loading import load
from evaluation.suspects import KINDS_OF_ERRORS
from fusion import wbf
from fusion.table import DetectionTable
from zoo.synthetic.simulated import Scenario, Skill, simulate

MVOR = Path(__file__).resolve().parents[2] / "shared" / "data" / "mvor"
Listed = dict[str, list[tuple[int, int, int, np.ndarray]]]  # kind -> image, annotation, category, box, in order


def spoiled(truth: GroundTruth, share: float, seed: int) -> tuple[GroundTruth, dict[str, list]]:
    """Return ground truth with errors, and for each kind what was put in: (image, category, box) or annotation ids."""
    rng = np.random.default_rng(seed)
    plain = np.flatnonzero(~truth.crowd & (truth.xywh[:, 2:].min(axis=1) > 0))
    count = int(share * len(plain))
    kinds = [kind for kind in KINDS_OF_ERRORS if kind != "wrong_category" or len(truth.category_id) > 1]
    rows = dict(zip(kinds, np.split(rng.permutation(plain)[: count * len(kinds)], len(kinds)), strict=True))
    boxes, category, image = truth.xywh.copy(), truth.category.copy(), truth.image.copy()
    put: dict[str, list] = {
        "missing_label": [(int(image[row]), int(category[row]), boxes[row]) for row in rows["missing_label"]]
    }
    if "wrong_category" in rows:
        own = rows["wrong_category"]
        category[own] = (category[own] + rng.integers(1, len(truth.category_id), len(own))) % len(truth.category_id)
    own = rows["loose_box"]
    sides = boxes[own, 2:] * rng.uniform(1.3, 1.7, (len(own), 2))
    boxes[own] = np.hstack((boxes[own, :2] - (sides - boxes[own, 2:]) * rng.random((len(own), 2)), sides))
    places = []
    for row in rows["spurious_label"]:  # what is there stays, and a copy is put elsewhere
        w, h = boxes[row, 2:]
        for _ in range(100):
            where = int(rng.integers(len(truth.image_id)))
            x = rng.uniform(0, max(truth.width[where] - w, 1))
            y = rng.uniform(0, max(truth.height[where] - h, 1))
            if overlap(np.array([x, y, w, h]), truth.xywh[truth.image == where]).max(initial=0) < 0.1:
                places.append((row, where, [x, y, w, h]))
                break
    keep = np.setdiff1d(np.arange(len(truth)), rows["missing_label"])
    ids = np.concatenate((truth.annotation_id[keep], truth.annotation_id.max() + 1 + np.arange(len(places))))
    for kind in ("wrong_category", "loose_box"):
        if kind in rows:
            put[kind] = truth.annotation_id[rows[kind]].tolist()
    put["spurious_label"] = ids[len(keep) :].tolist()
    images = np.concatenate((image[keep], np.array([where for _, where, _ in places], np.int64)))
    categories = np.concatenate((category[keep], np.array([category[row] for row, _, _ in places], np.int64)))
    made = GroundTruth.from_arrays(
        image_id=truth.image_id,
        width=truth.width,
        height=truth.height,
        category_id=truth.category_id,
        category_name=truth.category_name,
        annotation_image_id=truth.image_id[images],
        annotation_category_id=truth.category_id[categories],
        annotation_id=ids,
        crowd=np.concatenate((truth.crowd[keep], np.zeros(len(places), bool))),
        xywh=np.vstack((boxes[keep], np.array([box for *_, box in places]).reshape(-1, 4))),
    )
    return made, put


def overlap(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """IoU of one box xywh with others."""
    low = np.maximum(box[:2], others[:, :2])
    high = np.minimum(box[:2] + box[2:], others[:, :2] + others[:, 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=1)
    return shared / (box[2] * box[3] + others[:, 2] * others[:, 3] - shared)


def ours(tables: Sequence[DetectionTable], truth: GroundTruth) -> Listed:
    """Suspects by kind, in order."""
    found = find_label_errors(tables, truth)
    listed: Listed = {}
    for kind in KINDS_OF_ERRORS:
        own = found.only(kind)
        ids = np.append(truth.annotation_id, -1)[own.annotation]
        listed[kind] = list(zip(own.image.tolist(), ids.tolist(), own.category.tolist(), own.xywh, strict=True))
    return listed


def hotcocos(table: DetectionTable, truth: GroundTruth) -> Listed:
    """The same of hotcoco, of the kinds that it knows."""
    from hotcoco import COCO, COCOeval

    images = {key: place for place, key in enumerate(truth.image_id.tolist())}
    categories = {key: place for place, key in enumerate(truth.category_id.tolist())}
    rows = zip(
        truth.annotation_id.tolist(),
        truth.image_id[truth.image].tolist(),
        truth.category_id[truth.category].tolist(),
        truth.xywh.tolist(),
        truth.crowd.astype(int).tolist(),
        strict=True,
    )
    content = {
        "images": [
            {"id": key, "width": int(w), "height": int(h)}
            for key, w, h in zip(truth.image_id.tolist(), truth.width, truth.height, strict=True)
        ],
        "categories": [{"id": key, "name": name} for key, name in zip(categories, truth.category_name, strict=True)],
        "annotations": [
            {"id": n, "image_id": i, "category_id": c, "bbox": b, "area": b[2] * b[3], "iscrowd": crowd}
            for n, i, c, b, crowd in rows
        ],
    }
    results = [
        {"image_id": i, "category_id": c, "bbox": b, "score": s}
        for i, c, b, s in zip(
            table.image_id.tolist(), table.category_id.tolist(), table.xywh.tolist(), table.score.tolist(), strict=True
        )
    ]
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "gt.json").write_text(json.dumps(content))
        (Path(name) / "dt.json").write_text(json.dumps(results))
        whole = COCO(str(Path(name) / "gt.json"))
        found = whole.load_res(str(Path(name) / "dt.json"))
        run = COCOeval(whole, found, "bbox")
        run.evaluate()
        errors = run.image_diagnostics(score_thr=0.0)["label_errors"]
    boxes = {one["id"]: one["bbox"] for one in found.dataset["annotations"]}
    listed: Listed = {"missing_label": [], "wrong_category": []}
    for one in sorted(errors, key=lambda one: -one["dt_score"]):
        kind = "missing_label" if one["type"] == "missing_annotation" else "wrong_category"
        place, category = images[one["image_id"]], categories[one["dt_category_id"]]
        listed[kind].append((place, one["gt_id"] or -1, category, np.array(boxes[one["dt_id"]])))
    return listed


def precision(listed: Listed, put: dict[str, list], kind: str) -> float:
    """Share of the first suspects, as many as were put in, that were put in; NaN where a list has no such kind."""
    if kind not in listed:
        return np.nan
    most = len(put[kind])
    first = listed[kind][:most]
    if kind != "missing_label":
        return len({one[1] for one in first} & set(put[kind])) / most
    hits: set[int] = set()
    for image, _, category, box in first:
        for number, (where, what, there) in enumerate(put[kind]):
            if number not in hits and (where, what) == (image, category) and overlap(box, there[None])[0] >= 0.5:
                hits.add(number)
                break
    return len(hits) / most


def compared(title: str, tables: Sequence[DetectionTable], truth: GroundTruth, share: float, seeds: int) -> None:
    """Print the precisions on one set of data, mean over the seeds."""
    answers: dict[str, list[list[float]]] = {}
    for seed in range(seeds):
        wrong, put = spoiled(truth, share, seed)
        best = max(tables, key=prepare(wrong).average_precision)
        ways: dict[str, Callable[[], Listed]] = {
            f"ours, {len(tables)} members": lambda wrong=wrong: ours(tables, wrong),
            "ours, best member": lambda wrong=wrong, best=best: ours([best], wrong),
            "hotcoco, best member": lambda wrong=wrong, best=best: hotcocos(best, wrong),
            "hotcoco, fusion": lambda wrong=wrong: hotcocos(wbf(tables, iou=0.55), wrong),
        }
        for name, way in ways.items():
            listed = way()
            answers.setdefault(name, []).append([precision(listed, put, kind) for kind in put])
    print(f"{title}: {len(truth.image_id):,} images, {len(truth):,} annotations")
    print(f"{'':24s}" + "".join(f"{kind:>18s}" for kind in put))
    print(f"{'put in':24s}" + "".join(f"{len(rows):18,}" for rows in put.values()))
    for name, values in answers.items():
        print(f"{name:24s}" + "".join(f"{value:18.3f}" for value in np.mean(values, axis=0)), flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--share", type=float, default=0.02)
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    skills = [
        Skill(name="a"),
        Skill(name="b", recall=0.8, separation=2.0),
        Skill(name="c", recall=0.75, separation=1.7, temperature=0.5),
        Skill(name="d", recall=0.7, localisation=0.12, low=0.2),
    ]
    simulation = simulate(Scenario(images=options.images), skills)
    with tempfile.TemporaryDirectory() as name:
        truth = read_coco(simulation.write(Path(name))[0])
    compared("simulated", [member.table() for member in simulation.members], truth, options.share, options.seeds)
    if MVOR.is_dir():
        truth = read_coco(MVOR / "annotations" / "camma_mvor_2018.json")
        truth = replace(truth, notes=())
        files = sorted((MVOR / "detections_results").glob("*.json"))
        tables = [load(path, truth) for path in files]
        two = [table for path, table in zip(files, tables, strict=True) if "rcnn" in path.name or "rfcn" in path.name]
        compared("MVOR, two detectors", two, truth, options.share, options.seeds)
        compared("MVOR, six members", tables, truth, options.share, options.seeds)


if __name__ == "__main__":
    main()
