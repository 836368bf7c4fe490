"""A small simulated data set as table, ground truth and image list; submissions built by hand."""

import csv
import json
import zipfile
from functools import cache

import numpy as np
import pyarrow as pa
from pycocotools import mask as rle

from evaluation import GroundTruth
from evaluation.submissions import ImageList
from fusion.masks import mask_array
from fusion.table import DetectionTable, Metadata
from zoo.synthetic.simulated import Scenario, demo_members, simulate

NAME = "detections_val_x_results.json"
LABELS = tuple(f"/m/0{number:x}" for number in range(1, 13))


@cache
def simulated(images=60, seed=3):
    """Return (ground truth, table) with masks, integer ids."""
    found = simulate(Scenario(images=images, categories=11, masks=True, crowd=0.0), demo_members()[:1], seed=seed)
    truth, size = found.annotations, (found.scenario.height, found.scenario.width)
    count = len(truth.image_id)
    masks = mask_array([size[0]] * count, [size[1]] * count, truth.mask)
    ground_truth = GroundTruth.from_arrays(
        image_id=np.arange(1, images + 1),
        category_id=np.arange(1, 12),  # 12 is not of COCO
        annotation_image_id=truth.image_id,
        annotation_category_id=truth.category_id,
        xywh=truth.xywh,
        area=truth.area,
        segmentation=masks,
        width=[size[1]] * images,
        height=[size[0]] * images,
    )
    return ground_truth, found.members[0].table()


def named(table, metadata=None):
    """Return a table with image ids as Open Images has them."""
    names = np.array([f"{number:016x}" for number in table.image_id.tolist()], dtype=object)
    return DetectionTable.from_arrays(
        image_id=names,
        category_id=table.category_id,
        score=table.score,
        xywh=table.xywh,
        mask=table.mask,
        metadata=metadata or table.metadata,
    )


def named_list(images=60, shuffled=True, sizes=True):
    """Return the image list of `named` tables, in no particular order."""
    order = np.random.default_rng(5).permutation(images) if shuffled else np.arange(images)
    ids = np.array([f"{number + 1:016x}" for number in order.tolist()], dtype=object)
    truth = simulated(images)[0]
    width = truth.width if sizes else np.zeros(images, np.int32)
    height = truth.height if sizes else np.zeros(images, np.int32)
    return ImageList(ids, width, height).with_classes(LABELS)


def small_table(rows, metadata=None, masks=None):
    """Return a table of (image, category, score, x, y, w, h) rows."""
    columns = list(zip(*rows, strict=True)) if rows else [[]] * 7
    return DetectionTable.from_arrays(
        image_id=np.array(columns[0], dtype=object if rows and isinstance(rows[0][0], str) else np.int64),
        category_id=np.array(columns[1], dtype=np.int32),
        score=np.array(columns[2], dtype=np.float64),
        xywh=np.array(columns[3:], dtype=np.float64).T.reshape(-1, 4),
        mask=masks,
        metadata=metadata or Metadata(),
    )


def small_list(count=3, width=100, height=80):
    """Return images 1 .. count of one size, with COCO's categories."""
    return ImageList(np.arange(1, count + 1), np.full(count, width, np.int32), np.full(count, height, np.int32))


def record(image=1, category=1, score=0.5, bbox=(1, 2, 30, 40), **others):
    """Return a COCO result."""
    return {"image_id": image, "category_id": category, "bbox": list(bbox), "score": score, **others}


def write_zip(path, text, name=NAME):
    """Write an archive with one file."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, text if isinstance(text, (str, bytes)) else json.dumps(text))
    return path


def write_rows(path, rows):
    """Write a CSV file."""
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def square_mask(size, low=2, high=9):
    """Return compressed RLE text of a square."""
    pixels = np.zeros(size, np.uint8, order="F")
    pixels[low:high, low:high] = 1
    return rle.encode(pixels)["counts"]


def mask_column(sizes, texts):
    """Return a mask column; None has no mask."""
    return pa.array(
        [
            None if text is None else {"height": h, "width": w, "counts": text}
            for (h, w), text in zip(sizes, texts, strict=True)
        ],
        pa.struct([("height", pa.int32()), ("width", pa.int32()), ("counts", pa.binary())]),
    )


def found(report, text):
    """Return the finding whose text contains `text`; there has to be exactly one."""
    hits = [finding for finding in report.findings if text in finding.what]
    assert len(hits) == 1, (text, [finding.what for finding in report.findings])
    return hits[0]
