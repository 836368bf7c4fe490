"""Relations between categories: speed beside plain NumPy and Python, and what rescoring by them gains.

Gains are measured on the scenes of the Open Images sample, where it is beside the checkout: real boxes that really
occur together, found by simulated members, since no real detections belong to them. Statistics and calibration are
learned on the images of even rank, gains measured on the others. The members' clutter is drawn by the
categories' overall frequency and put anywhere, so it does not fit the scene as real mistakes often do.

Run from the project's folder: python benchmarks/relations.py
"""

import argparse
import itertools
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.load import EvaluationLoad, evaluation_load
from benchmarks.measure import cpu
from evaluation.calibration import learn_calibration
from evaluation.comparison import compare
from evaluation.ground_truth import GroundTruth
from evaluation.prepared import Prepared, prepare
from evaluation.protocol import Coco
from evaluation.relations import learn_relations
from evaluation.statistics import Replicates, bootstrap
from fusion import Cooccurrence, DetectionTable, Metadata, Surround, apply, calibrate
from fusion.relations import Relations
from fusion.steps.base import Step
from zoo.synthetic.scenes import BLOCK, Scene, Things, cut, draw_boxes
from zoo.synthetic.skills import Scenario, Skill

OPEN_IMAGES = Path(__file__).parents[2] / "shared" / "data" / "openimages" / "annotations.csv"
CANVAS = np.array([640, 480])
SKILLS = {
    "a good detector": Skill(name="good", clutter=12, correlation=0.95),
    "a weak detector": Skill(name="weak", recall=0.85, separation=1.5, clutter=15, correlation=0.95),
}


def truth_of(load: EvaluationLoad) -> GroundTruth:
    """Turn a load into ground truth."""
    return GroundTruth.from_arrays(
        image_id=np.arange(1, load.images + 1),
        category_id=np.arange(1, load.categories + 1),
        annotation_image_id=load.truth_image,
        annotation_category_id=load.truth_category,
        xywh=load.truth_box,
        crowd=load.truth_crowd,
    )


def table_of(load: EvaluationLoad) -> DetectionTable:
    """Turn a load into a table."""
    return DetectionTable.from_arrays(
        image_id=load.image, category_id=load.category.astype(np.int32), score=load.score, xywh=load.box
    )


def plain_cooccurrence(table: DetectionTable, relations: Relations, given: float, least: float) -> np.ndarray:
    """Do what `Cooccurrence` does with dense NumPy arrays, image by image."""
    ids = relations.category_id
    p = np.zeros((len(ids), len(ids)))
    first, second = relations.conditional()
    pairs = relations.together
    p[pairs.first, pairs.second], p[pairs.second, pairs.first] = first, second
    p[:, relations.category_images < 20] = 0
    score, category = table.score.copy(), np.searchsorted(ids, table.category_id)
    for low, high in zip(table.image_start[:-1], table.image_start[1:], strict=True):
        part, kind = table.score[low:high], category[low:high]
        order = np.argsort(-part, kind="stable")
        present, at = np.unique(kind[order], return_index=True)
        row = order[at]
        top = part[row]
        floor = (p[np.ix_(present, present)] * np.where(top >= given, top, 0)).max(axis=1)
        score[low + row] = np.where(top >= least, np.maximum(top, floor), top)
    return score


def plain_surround(table: DetectionTable, relations: Relations, rate: float, strength: float) -> np.ndarray:
    """Do what `Surround` does with NumPy, image by image and relation by relation."""
    pairs, objects = relations.surrounding, relations.category_objects
    q, r = relations.surround_rates(), relations.chance_rates()
    used: dict[int, list[tuple[int, bool, float, float]]] = {}
    for around, own, partner in ((False, pairs.inner, pairs.outer), (True, pairs.outer, pairs.inner)):
        by_chance = r[around][partner]
        keep = (q[around] >= rate) & (q[around] > by_chance) & (objects[own] >= 20)
        for i, j, true, chance in zip(own[keep], partner[keep], q[around][keep], by_chance[keep], strict=True):
            true, chance = np.clip((true, chance), 1e-3, 1 - 1e-3)
            logs = strength * math.log(true / chance), strength * math.log((1 - true) / (1 - chance))
            used.setdefault(int(i), []).append((int(j), around, *logs))
    score, category = table.score.copy(), np.searchsorted(relations.category_id, table.category_id)
    low, high = table.xywh[:, :2], table.xywh[:, :2] + table.xywh[:, 2:]
    area = (high - low).prod(axis=1)
    for first, last in zip(table.image_start[:-1], table.image_start[1:], strict=True):
        kinds = category[first:last]
        for i in np.intersect1d(kinds, list(used)).tolist():
            mine, best = first + np.flatnonzero(kinds == i), -np.inf
            for j, around, present, absent in used[i]:
                others = first + np.flatnonzero(kinds == j)
                side = np.minimum(high[mine, None], high[others]) - np.maximum(low[mine, None], low[others])
                shared, small, large = np.maximum(side, 0).prod(axis=2), area[mine, None], area[None, others]
                small, large = (large, small) if around else (small, large)
                fits = (shared >= relations.ioa * small) & (small < large) & (small > 0)
                seen = np.where(fits, table.score[others], 0).max(axis=1, initial=0)
                best = np.maximum(best, seen * present + (1 - seen) * absent)
            odds = table.score[mine] * np.exp(best)
            score[mine] = odds / (odds + 1 - table.score[mine])
    return score


def plain_surrounding(truth: GroundTruth, ioa: float) -> dict[tuple[int, int], int]:
    """Count objects inside others with NumPy, image by image."""
    rows = np.flatnonzero(~truth.crowd)
    rows = rows[np.argsort(truth.image[rows], kind="stable")]
    start = np.searchsorted(truth.image[rows], np.arange(len(truth.image_id) + 1))
    low, high = truth.xywh[rows, :2], truth.xywh[rows, :2] + truth.xywh[rows, 2:]
    category, counts = truth.category[rows], {}
    for a, b in itertools.pairwise(start):
        side = np.minimum(high[a:b, None], high[None, a:b]) - np.maximum(low[a:b, None], low[None, a:b])
        area = (high[a:b] - low[a:b]).prod(axis=1)
        shared = np.maximum(side, 0).prod(axis=2)
        fits = (shared >= ioa * area[:, None]) & (area[:, None] < area) & (area[:, None] > 0)
        inner, outer = np.nonzero(fits & (category[a:b, None] != category[a:b]))
        for _, i, j in {(one, category[a + one], category[a + two]) for one, two in zip(inner, outer, strict=True)}:
            counts[i, j] = counts.get((i, j), 0) + 1
    return counts


def show_speed(images: int, detections: int, categories: int) -> None:
    """Print rates, and ratios to the plain versions on a part of the load."""
    load = evaluation_load(images, detections, categories)
    truth, table = truth_of(load), table_of(load)
    relations = learn_relations(truth)
    print(f"\n{categories} categories, {images:,} images, {len(truth):,} objects, {len(table):,} detections, 1 thread")
    seconds = cpu(lambda: learn_relations(truth), 3)
    theirs = cpu(lambda: plain_surrounding(truth, 0.9), 1)
    pairs = relations.surrounding
    ours = dict(zip(zip(pairs.inner.tolist(), pairs.outer.tolist(), strict=True), pairs.inside.tolist(), strict=True))
    same = ours == {(int(i), int(j)): n for (i, j), n in plain_surrounding(truth, 0.9).items()}
    print(
        f"learn: {seconds:.3f} s, {len(truth) / seconds / 1e6:.2f} M objects/s; NumPy image by image for the surround "
        f"counts alone {theirs / seconds:.0f} x slower, equal: {same}"
    )
    steps: dict[str, Any] = {
        "cooccurrence": Cooccurrence(relations=relations),
        # the load's boxes are placed at random: relations at any rate, so that there is work to do
        "surround": Surround(relations=relations, rate=0.02),
    }
    plain = {"cooccurrence": (plain_cooccurrence, (0.5, 0.1)), "surround": (plain_surround, (0.02, 0.5))}
    few = table.select_images(np.arange(1, 501))
    for name, step in steps.items():
        apply(step, few)
        seconds = cpu(lambda step=step: apply(step, table), 3)
        line = f"{name}: {seconds:.2f} s, {len(table) / seconds / 1e6:.2f} M detections/s, table to table"
        part = cpu(lambda step=step: apply(step, few), 3)
        function, options = plain[name]
        theirs = cpu(lambda function=function, options=options: function(few, relations, *options), 1)
        apart = np.abs(apply(step, few).score - function(few, relations, *options)).max()
        print(f"{line}; NumPy image by image {theirs / part:.0f} x slower, largest difference {apart:.1g}")


def open_images() -> GroundTruth:
    """Read the Open Images sample; of a box's copies for parent categories the rarest category stays."""
    rows = pd.read_csv(OPEN_IMAGES).dropna().drop_duplicates()
    rows["count"] = rows.groupby("LabelName")["ImageID"].transform("size")
    rows = rows.sort_values("count", kind="stable")
    rows = rows.drop_duplicates(["ImageID", "XMin", "XMax", "YMin", "YMax"]).sort_index()
    names = rows["LabelName"].value_counts().index.tolist()
    images = pd.unique(rows["ImageID"])
    low, high = (rows[[f"X{end}", f"Y{end}"]].to_numpy() * CANVAS for end in ("Min", "Max"))
    return GroundTruth.from_arrays(
        image_id=np.arange(len(images)),
        category_id=np.arange(1, len(names) + 1),
        category_name=names,
        annotation_image_id=rows["ImageID"].map(dict(zip(images, range(len(images)), strict=True))).to_numpy(),
        annotation_category_id=1 + rows["LabelName"].map({name: k for k, name in enumerate(names)}).to_numpy(),
        xywh=np.hstack((low, high - low)),
        width=np.full(len(images), CANVAS[0]),
        height=np.full(len(images), CANVAS[1]),
    )


def scene_of(truth: GroundTruth, first: int, last: int, seed: int) -> Scene:
    """Make a scene of real boxes; what members find hard, and what fools them, is drawn."""
    rng = np.random.default_rng((seed, first))
    rows = np.flatnonzero((truth.image >= first) & (truth.image < last))
    rows = rows[np.argsort(truth.image[rows], kind="stable")]
    n, xywh = len(rows), truth.xywh[rows]
    box = np.hstack((xywh[:, :2] + xywh[:, 2:] / 2, xywh[:, 2:]))
    image = truth.image[rows].astype(np.int64) - first
    noise = rng.normal(0, 1, n), rng.normal(0, 1, (n, 4)), rng.normal(0, 0.08, (n, 4))
    objects = Things(image, truth.category[rows].astype(np.int64), box, *noise)
    place = np.repeat(np.arange(BLOCK), rng.poisson(15, BLOCK))
    n, share = len(place), np.bincount(truth.category) / len(truth)
    side = np.exp(math.log(75) + rng.normal(0, 0.75, (n, 1)) + rng.normal(0, 0.3, (n, 2)))
    side = np.clip(side, 8, 0.9 * CANVAS)
    box = np.hstack((side / 2 + rng.random((n, 2)) * (CANVAS - side), side))
    noise = rng.normal(0, 1, n), rng.normal(0, 1, (n, 4)), rng.normal(0, 0.08, (n, 4))
    distractors = Things(place, rng.choice(len(share), n, p=share), box, *noise)
    return Scene(objects, np.zeros(len(objects.image), bool), distractors)


def member_of(truth: GroundTruth, skill: Skill, seed: int = 0) -> DetectionTable:
    """Return what a simulated member finds in real scenes."""
    images = len(truth.image_id)
    scenario = Scenario(images=images, categories=len(truth.category_id), objects=len(truth) / images)
    columns = []
    for block, first in enumerate(range(0, images, BLOCK)):
        last = min(first + BLOCK, images)
        boxes, log_odds = draw_boxes(scenario, skill, scene_of(truth, first, last, seed), seed, block)
        keep = np.flatnonzero(boxes.image < last - first)
        score = 1 / (1 + np.exp(-log_odds[keep]))
        columns.append((boxes.image[keep] + first, boxes.category[keep] + 1, score, cut(boxes.box[keep], scenario)))
    image, category, score, xywh = (np.concatenate(column) for column in zip(*columns, strict=True))
    return DetectionTable.from_arrays(
        image_id=image,
        category_id=category.astype(np.int32),
        score=score,
        xywh=xywh,
        metadata=Metadata(member=skill.name),
    )


def measured(prepared: Prepared, table: DetectionTable, replicates: int) -> Replicates:
    """Evaluate with replicates."""
    return bootstrap(prepared.evaluate(table), replicates=replicates, drawn=("AP",))


def show_gains(replicates: int) -> None:
    """Print gains with their paired intervals."""
    truth = open_images()
    learn, verify = (truth.subset(truth.image_id[part::2]) for part in (0, 1))
    relations, prepared = learn_relations(learn), prepare(verify, Coco())
    print(f"\nOpen Images sample: {len(truth.category_id)} categories, relations of {relations.images} images")
    steps: dict[str, Step] = {
        "cooccurrence": Cooccurrence(relations=relations),
        "cooccurrence, printed": Cooccurrence(relations=relations, probability="printed"),
        "cooccurrence, printed, least 0": Cooccurrence(relations=relations, probability="printed", least=0.0),
        "surround": Surround(relations=relations),
        "surround, only up": Surround(relations=relations, down=0.0),
        "surround, only down": Surround(relations=relations, up=0.0),
        "surround, rate 0.5": Surround(relations=relations, rate=0.5),
        "surround, up 1": Surround(relations=relations, up=1.0),
    }
    for name, skill in SKILLS.items():
        table = member_of(truth, skill)
        maps = {skill.name: learn_calibration(table, learn)}
        table = calibrate(table.select_images(verify.image_id), maps=maps)
        before = measured(prepared, table, replicates)
        print(f"{name}: AP {before.observed['AP']:.4f} on {len(verify.image_id)} images not learned on")
        for step_name, step in steps.items():
            found = compare(before, measured(prepared, apply(step, table), replicates))
            ap, change = found.figures["AP"], [row.difference.value for row in found.per_category]
            better, worse = (int(np.sum(np.sign(change) == sign)) for sign in (1, -1))
            interval = f"95 % {100 * ap.low:+.2f} to {100 * ap.high:+.2f}"
            gain = f"gain {100 * ap.value:+.2f} points, {interval}"
            print(f"  {step_name:32} {gain}; {better} categories up, {worse} down")


def main() -> None:
    """Run both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--detections", type=int, default=2_000_000)
    parser.add_argument("--replicates", type=int, default=500)
    arguments = parser.parse_args()
    os.environ["QUORUM_THREADS"] = "1"
    for categories in (80, 1203):
        show_speed(arguments.images, arguments.detections, categories)
    if OPEN_IMAGES.exists():
        show_gains(arguments.replicates)
    else:
        print("\nthe Open Images sample is not beside the checkout: no gains measured")


if __name__ == "__main__":
    main()
