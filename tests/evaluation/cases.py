"""Random small data sets with every awkward feature at once, and the official code run on them."""

import contextlib
import copy
import io

import numpy as np
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from evaluation import GroundTruth
from fusion.masks import mask_array

HEIGHT, WIDTH = 40, 50


def random_case(seed, *, images=4, categories=3, truths=40, results=150, masks=False, first_id=1, scale=1.0):
    """Return (dataset, results): ties in score and IoU, crowd, areas on the bounds, cells of any size."""
    rng = np.random.default_rng(seed)
    image_ids = rng.permutation(np.arange(10, 10 + images) * 1_000_003).tolist()
    category_ids = rng.permutation(np.arange(1, categories + 1) * 2).tolist()
    dataset = {
        "images": [{"id": i, "height": HEIGHT, "width": WIDTH, "file_name": f"{i}.jpg"} for i in image_ids],
        "categories": [{"id": k, "name": f"category {k}"} for k in category_ids],
        "annotations": [],
    }
    for number in rng.permutation(truths).tolist():
        box = random_box(rng, scale)
        area = float(rng.choice([box[2] * box[3], 1024.0, 9216.0, 2e10, 0.0, 500.0, 5000.0]))
        entry = {
            "id": number + first_id,
            "image_id": int(rng.choice(image_ids)),
            "category_id": int(rng.choice(category_ids[:-1] or category_ids)),
            "bbox": box,
            "area": area,
            "iscrowd": int(rng.random() < 0.15),
        }
        dataset["annotations"].append(entry | (random_segmentation(rng, box) if masks else {}))
    found = []
    for _ in range(results):
        near = dataset["annotations"][rng.integers(truths)] if truths and rng.random() < 0.7 else None
        box = random_box(rng, scale)
        if near is not None:
            box = (np.array(near["bbox"]) + rng.choice([0, 0, 1, -1, 2], 4) * scale).clip(0).tolist()
        entry = {
            "image_id": near["image_id"] if near else int(rng.choice(image_ids)),
            "category_id": near["category_id"] if near else int(rng.choice([*category_ids, 999])),
            "score": float(rng.choice([rng.random(), *np.linspace(-1, 2, 7), 0.0, -0.0])),
            "bbox": box,
        }
        found.append(entry | (random_segmentation(rng, box, near) if masks else {}))
    return dataset, found


def random_box(rng, scale):
    x, y = rng.integers(0, 30, 2)
    w, h = rng.integers(0, 12, 2) if rng.random() < 0.9 else (0, 5)
    return [float(value * scale) for value in (x, y, w, h)]


def random_segmentation(rng, box, near=None):
    """A bitmap and its compressed text; often that of another annotation with some pixels changed."""
    x, y, w, h = (int(value) for value in box)
    bitmap = np.zeros((HEIGHT, WIDTH), np.uint8)
    kind = rng.random()
    if near is not None and kind < 0.6 and near["bitmap"].shape == bitmap.shape:
        bitmap |= near["bitmap"]
        bitmap[rng.integers(0, HEIGHT, 8), rng.integers(0, WIDTH, 8)] ^= 1
    elif kind < 0.9:
        bitmap[y : y + h, x : x + w] = 1
        bitmap[rng.integers(0, HEIGHT, 3)] ^= 1
    elif kind < 0.95:
        bitmap[:] = rng.random(bitmap.shape) < 0.5
    if near is not None and rng.random() < 0.03:
        bitmap = bitmap[:-1]  # a mask of another size
    text = rle.encode(np.asfortranarray(bitmap))
    return {"segmentation": {"size": text["size"], "counts": text["counts"]}, "bitmap": bitmap.astype(bool)}


def official(dataset, results, *, iou_type="bbox", caps=(1, 10, 100), use_cats=True, thresholds=None):
    """Run pycocotools on copies and return its COCOeval."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = copy.deepcopy(dataset)
        truth.createIndex()
        run = COCOeval(truth, truth.loadRes(copy.deepcopy(results)), iou_type)
        run.params.maxDets = list(caps)
        run.params.useCats = int(use_cats)
        if thresholds is not None:
            run.params.iouThrs = np.array(thresholds)
        run.evaluate()
        run.accumulate()
        if len(caps) == 3:
            run.summarize()
    return run


def ground_truth(dataset):
    """The same data set in columns."""
    rows = dataset["annotations"]
    return GroundTruth.from_arrays(
        image_id=[image["id"] for image in dataset["images"]],
        height=[image["height"] for image in dataset["images"]],
        width=[image["width"] for image in dataset["images"]],
        category_id=[category["id"] for category in dataset["categories"]],
        category_name=[category.get("name", "") for category in dataset["categories"]],
        annotation_id=[row["id"] for row in rows],
        annotation_image_id=[row["image_id"] for row in rows],
        annotation_category_id=[row["category_id"] for row in rows],
        xywh=[row["bbox"] for row in rows],
        area=[row["area"] for row in rows],
        crowd=[row["iscrowd"] for row in rows],
        segmentation=[row["segmentation"] for row in rows] if any("segmentation" in row for row in rows) else None,
    )


def arrays(results):
    """Keyword arguments of `evaluate_arrays` for a list of results."""
    columns = {
        "image_id": np.array([row["image_id"] for row in results], dtype=np.int64),
        "category_id": np.array([row["category_id"] for row in results], dtype=np.int32),
        "score": np.array([row["score"] for row in results], dtype=np.float64),
        "xywh": np.array([row.get("bbox", [0] * 4) for row in results], dtype=np.float64).reshape(-1, 4),
    }
    texts = [row.get("segmentation") for row in results]
    if any(text is not None for text in texts):
        sizes = [text["size"] if text else (0, 0) for text in texts]
        columns["mask"] = mask_array(
            [size[0] for size in sizes],
            [size[1] for size in sizes],
            [text["counts"] if text else None for text in texts],
        )
    return columns
