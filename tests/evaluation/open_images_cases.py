"""Random small Open Images data sets with every awkward feature at once, and the official code run on them."""

import contextlib
import importlib
import importlib.util
import logging
import sys
import types
import warnings
from dataclasses import replace

import numpy as np
import pytest
from pycocotools import mask as rle

from evaluation.ground_truth import GroundTruth, Labels
from fusion.masks import mask_array
from fusion.table import DetectionTable, Metadata

HEIGHT, WIDTH = 12, 15


def random_images(seed, *, images=5, categories=4, truths=6, found=14, masks=False, ties=True, grid=True):
    """Images as the oracle takes them.

    On the grid corners are multiples of 1/16, so that overlaps tie, or of 1/20, which no float is: overlaps then meet
    thresholds exactly, or miss them by a last bit.
    """
    rng = np.random.default_rng(seed)
    grid = (16, 20)[seed % 2] if grid else None
    result = []
    for _ in range(images):
        image = {
            "truths": [],
            "found": [],
            "verified": set(rng.choice(categories, rng.integers(0, categories)).tolist()),
        }
        for _ in range(rng.integers(0, truths + 1)):
            near = image["truths"][-1] if image["truths"] and rng.random() < 0.3 else None
            box = near["box"] if near and rng.random() < 0.6 else random_box(rng, grid)
            mask = near["mask"] if near and rng.random() < 0.5 else random_mask(rng, 0.3)
            group = bool(rng.random() < 0.3)
            category = near["category"] if near else int(rng.integers(categories))
            image["truths"].append({"category": category, "box": box, "group": group, "mask": mask if masks else None})
        for _ in range(rng.integers(0, found + 1)):
            near = (
                image["truths"][rng.integers(len(image["truths"]))] if image["truths"] and rng.random() < 0.7 else None
            )
            box = shaken(rng, near["box"], grid) if near else random_box(rng, grid)
            score = float(rng.choice([0.25, 0.5, 0.75, 0.0, -1.0, -10.0, rng.random()]) if ties else rng.random())
            row = {"category": near["category"] if near else int(rng.integers(categories)), "score": score, "box": box}
            if masks:
                row["score"] = max(score, -9.0)  # the official code fails on lower ones
                row["mask"] = shaken_mask(rng, near["mask"] if near else None)
                row["box"] = tight(row["mask"])
            image["found"].append(row)
        result.append(image)
    return result


def random_box(rng, grid):
    x, y = rng.integers(0, 12, 2) if grid else rng.random(2) * 0.8
    w, h = rng.integers(0 if rng.random() < 0.1 else 1, 5, 2) if grid else rng.random(2) * 0.2
    return tuple(float(side / (grid or 1)) for side in (x, y, x + w, y + h))


def shaken(rng, box, grid):
    x1, y1, x2, y2 = (round(side * grid) for side in box) if grid else box
    if grid and rng.random() < 0.3:  # twice the box: an IoU of one half
        return tuple(
            side / grid for side in ((x1, y1, 2 * x2 - x1, y2) if rng.random() < 0.5 else (x1, y1, x2, 2 * y2 - y1))
        )
    step = rng.choice([0, 0, 0, -1, 1], 4) if grid else rng.normal(0, 0.02, 4)
    x, y = x1 + step[0], y1 + step[1]
    w, h = max(x2 - x1 + step[2], 0.0), max(y2 - y1 + step[3], 0.0)
    return tuple(float(side / (grid or 1)) for side in (x, y, x + w, y + h))


def random_mask(rng, absent):
    kind = rng.random()
    if kind < absent:
        return None
    bitmap = np.zeros((HEIGHT, WIDTH), dtype=bool)
    if kind < 0.95:
        y, x = rng.integers(0, 8, 2)
        h, w = rng.integers(1, 6, 2)
        bitmap[y : y + h, x : x + w] = True
    return bitmap


def shaken_mask(rng, near):
    bitmap = near.copy() if near is not None else random_mask(rng, 0)
    for _ in range(rng.integers(0, 4)):
        y, x = rng.integers(0, (HEIGHT, WIDTH))
        bitmap[y, x : x + 3] ^= True
    return bitmap if rng.random() < 0.95 else np.zeros_like(bitmap)


def tight(bitmap):
    """The normalized box of a mask; zeros for an empty one."""
    rows, columns = np.nonzero(bitmap)
    if not len(rows):
        return (0.0, 0.0, 0.0, 0.0)
    x1, x2 = float(columns.min()) / WIDTH, float(columns.max() + 1) / WIDTH
    return (x1, float(rows.min()) / HEIGHT, x2, float(rows.max() + 1) / HEIGHT)


def encoded(bitmaps):
    texts = [None if b is None else rle.encode(np.asfortranarray(b.astype(np.uint8)))["counts"] for b in bitmaps]
    sizes = [(0, 0) if b is None else b.shape for b in bitmaps]
    return mask_array([s[0] for s in sizes], [s[1] for s in sizes], texts)


def names(images):
    """Ids that sort as the images stand."""
    return [f"image-{i:04d}" for i in range(len(images))]


def ground_truth(images, categories, *, masks=False, unit="normalized"):
    rows = [(name, t) for name, image in zip(names(images), images, strict=True) for t in image["truths"]]
    truth = GroundTruth.from_arrays(
        image_id=names(images),
        category_id=np.arange(1, categories + 1),
        annotation_image_id=[name for name, _ in rows],
        annotation_category_id=[t["category"] + 1 for _, t in rows],
        xyxy=np.array([t["box"] for _, t in rows], dtype=np.float64).reshape(-1, 4),
        crowd=[t["group"] for _, t in rows],
        segmentation=encoded([t["mask"] for _, t in rows]) if masks else None,
        width=[WIDTH] * len(images),
        height=[HEIGHT] * len(images),
        unit=unit,
    )
    # half of the verified categories are negative: it makes no difference
    lists = [sorted(image["verified"]) for image in images]
    return replace(truth, positive=labels([v[::2] for v in lists]), negative=labels([v[1::2] for v in lists]))


def labels(lists):
    start = np.concatenate(([0], np.cumsum([len(v) for v in lists]))).astype(np.int64)
    return Labels(start, np.array([c for v in lists for c in v], dtype=np.int32))


def table(images, *, masks=False, unit="normalized"):
    rows = [(name, d) for name, image in zip(names(images), images, strict=True) for d in image["found"]]
    return DetectionTable.from_arrays(
        image_id=np.array([name for name, _ in rows], dtype=object),
        category_id=[d["category"] + 1 for _, d in rows],
        score=np.array([d["score"] for _, d in rows], dtype=np.float64),
        xyxy=np.array([d["box"] for _, d in rows], dtype=np.float64).reshape(-1, 4),
        mask=encoded([d["mask"] for _, d in rows]) if masks else None,
        metadata=Metadata(unit=unit),
    )


@contextlib.contextmanager
def silenced():
    """The official code logs and warns much, and pytest takes warnings for errors."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


class Official:
    """The official evaluator, imported without TensorFlow; nothing of it stays in `sys.modules`."""

    def __init__(self):
        if importlib.util.find_spec("object_detection") is None:
            pytest.skip("the official code is not installed: pip install --no-deps tf_models_research_object_detection")
        pytest.importorskip("six", reason="the official code needs six")
        label_map = types.ModuleType("object_detection.utils.label_map_util")
        label_map.create_category_index = lambda categories: {row["id"]: row for row in categories}
        stubs = {name: types.ModuleType(name) for name in ("tensorflow", "tensorflow.compat", "tensorflow.compat.v1")}
        stubs["tensorflow"].compat = stubs["tensorflow.compat"]
        stubs["tensorflow.compat"].v1 = stubs["tensorflow.compat.v1"]
        stubs["object_detection.utils.label_map_util"] = label_map
        before = dict(sys.modules)
        try:
            sys.modules.update(stubs)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self.evaluation = importlib.import_module("object_detection.utils.object_detection_evaluation")
                self.per_image = importlib.import_module("object_detection.utils.per_image_evaluation")
                metrics = importlib.import_module("object_detection.utils.metrics")
        finally:
            for name in [name for name in sys.modules if name.split(".")[0] in ("object_detection", "tensorflow")]:
                if name in before:
                    sys.modules[name] = before[name]
                else:
                    del sys.modules[name]
        # names that NumPy 2 does not have any more
        metrics.np = types.SimpleNamespace(**vars(np), float=float, NAN=np.nan)

    def run(self, images, categories, *, masks=False, weight=1.0, threshold=0.5):
        """Return the average precision of each category and their mean."""
        self.evaluator([str(k) for k in range(categories)], masks=masks, weight=weight, threshold=threshold)
        for name, image in zip(names(images), images, strict=True):
            self.add(name, self._truth(image, masks), self._found(image, masks))
        return self.figures()

    def evaluator(self, category_names, *, masks=False, weight=1.0, threshold=0.5):
        """Start anew."""
        self.now = self.evaluation.OpenImagesChallengeEvaluator(
            [{"id": k, "name": name} for k, name in enumerate(category_names, 1)],
            evaluate_masks=masks,
            matching_iou_threshold=threshold,
            group_of_weight=weight,
        )

    def add(self, name, truth, found):
        with silenced():
            self.now.add_single_ground_truth_image_info(name, truth)
            self.now.add_single_detected_image_info(name, found)

    def figures(self):
        with silenced():
            figures = list(self.now.evaluate().values())
        return np.array(figures[1:]), figures[0]

    @staticmethod
    def _boxes(rows):
        boxes = np.array([row["box"] for row in rows], dtype=np.float64).reshape(-1, 4)
        return boxes[:, [1, 0, 3, 2]]

    @staticmethod
    def _bitmaps(rows):
        empty = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
        bitmaps = [empty if row["mask"] is None else row["mask"].astype(np.uint8) for row in rows]
        return np.stack(bitmaps) if bitmaps else np.zeros((0, HEIGHT, WIDTH), dtype=np.uint8)

    def _truth(self, image, masks):
        rows = image["truths"]
        truth = {
            "groundtruth_boxes": self._boxes(rows),
            "groundtruth_classes": np.array([t["category"] + 1 for t in rows], dtype=int),
            "groundtruth_group_of": np.array([t["group"] for t in rows], dtype=bool),
            "groundtruth_image_classes": np.array(sorted(image["verified"]), dtype=int) + 1,
        }
        return truth | ({"groundtruth_instance_masks": self._bitmaps(rows)} if masks else {})

    def _found(self, image, masks):
        rows = image["found"]
        found = {
            "detection_boxes": self._boxes(rows),
            "detection_scores": np.array([d["score"] for d in rows], dtype=float),
            "detection_classes": np.array([d["category"] + 1 for d in rows], dtype=int),
        }
        return found | ({"detection_masks": self._bitmaps(rows)} if masks else {})
