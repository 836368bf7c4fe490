"""Annotations of rendered pictures as COCO, LVIS and Open Images files."""

import base64
import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from pyarrow import csv

from evaluation.ground_truth import GroundTruth
from zoo.synthetic.rendering.layout import stream
from zoo.synthetic.rendering.vocabulary import PictureVocabulary

__all__ = ["write_coco", "write_lvis", "write_open_images"]

_UNLABELLED = 0.15  # share of the common categories of an image that LVIS's annotators were not asked about
_ABSENT = 0.25  # share of the absent categories that they were asked about


def write_coco(truth: GroundTruth, names: Sequence[str], path: Path) -> None:
    """Write `instances_*.json`; masks are compressed run lengths.

    Args:
        truth: Rendered ground truth.
        names: File name of each image.
        path: Where to.
    """
    categories = [
        {"id": i, "name": name, "supercategory": name.split()[-1]}
        for i, name in zip(truth.category_id.tolist(), truth.category_name, strict=True)
    ]
    document = {
        "info": {"description": f"Rendered pictures, {truth.source}"},
        "images": _images(truth, names),
        "annotations": _annotations(truth, np.arange(len(truth))),
        "categories": categories,
    }
    path.write_bytes(msgspec.json.encode(document))


def write_lvis(truth: GroundTruth, names: Sequence[str], words: PictureVocabulary, seed: int, path: Path) -> None:
    """Write an LVIS file: categories are verified in some images only, and groups are not annotated.

    Of the frequent categories in an image some were not asked about: their objects are there, but neither annotated nor
    listed. Categories with a group are not exhaustive.

    Args:
        truth: Rendered ground truth.
        names: File name of each image.
        words: Its categories.
        seed: Of what was asked about.
        path: Where to.
    """
    images, rows = _images(truth, names), []
    common = np.array([group == "f" for group in words.frequency])
    for index, image in enumerate(images):
        rng = stream(seed, index, "lvis")
        mine = truth.rows_of(index)
        there = np.zeros(words.categories, bool)
        there[truth.category[mine]] = True
        asked = ~(common & (rng.random(words.categories) < _UNLABELLED))
        partial = np.zeros(words.categories, bool)
        partial[truth.category[mine[truth.crowd[mine]]]] = True
        rows.append(mine[~truth.crowd[mine] & asked[truth.category[mine]]])
        annotated = np.zeros(words.categories, bool)
        annotated[truth.category[rows[-1]]] = True
        absent = ~there & (rng.random(words.categories) < _ABSENT)
        image["neg_category_ids"] = truth.category_id[absent].tolist()
        image["not_exhaustive_category_ids"] = truth.category_id[partial & annotated].tolist()
    kept = np.concatenate(rows)
    has = np.zeros((words.categories, len(images)), bool)
    has[truth.category[kept], truth.image[kept]] = True
    instances = np.bincount(truth.category[kept], minlength=words.categories)
    categories = [
        {
            "id": k + 1,
            "name": kind.name.replace(" ", "_"),
            "frequency": words.frequency[k],
            "image_count": int(has[k].sum()),
            "instance_count": int(instances[k]),
        }
        for k, kind in enumerate(words.kinds)
    ]
    annotations = _annotations(truth, kept)
    for annotation in annotations:
        del annotation["iscrowd"]
    path.write_bytes(msgspec.json.encode({"images": images, "annotations": annotations, "categories": categories}))


def write_open_images(
    truth: GroundTruth, words: PictureVocabulary, seed: int, folder: Path, *, labels_only: float = 0.0
) -> None:
    """Write Open Images files, not expanded by the class tree.

    `boxes.csv` and `images.csv` (with the sizes of the images), `labels.csv` (verified image labels, present and
    absent), `classes.csv` (the categories in the order of their ids, then shapes and families), masks of single objects
    as the challenge has them for validation (`masks.csv`) and for training (`segmentation.csv` and the PNG files in
    `segmentation/`), and `hierarchy.json`.

    Args:
        truth: Rendered ground truth.
        words: Its categories.
        seed: Of which absent classes were verified, and which images have labels only.
        folder: Where to; it must exist.
        labels_only: Share of the images that are in `labels.csv` alone.
    """
    ids = np.array([Path(name).stem for name in truth.file_name], dtype=object)
    labels = np.array([kind.label for kind in words.kinds], dtype=object)
    boxed = np.array([stream(seed, index, "labels only").random() >= labels_only for index in range(len(ids))])
    rows = np.flatnonzero(boxed[truth.image])
    image = truth.image[rows]
    width, height = truth.width[image].astype(float), truth.height[image].astype(float)
    x, y, w, h = truth.xywh[rows].T
    boxes: dict[str, Any] = {
        "ImageID": ids[image],
        "LabelName": labels[truth.category[rows]],
        "XMin": x / width,
        "XMax": (x + w) / width,
        "YMin": y / height,
        "YMax": (y + h) / height,
        "IsGroupOf": truth.crowd[rows].astype(np.int8),
        "ImageWidth": truth.width[image],
        "ImageHeight": truth.height[image],
    }
    bare = np.setdiff1d(np.flatnonzero(boxed), image)
    known = {"ImageID": ids[bare], "ImageWidth": truth.width[bare], "ImageHeight": truth.height[bare]}
    tables = [pa.table(boxes), pa.table({name: pa.nulls(len(bare)) for name in boxes} | known)]
    csv.write_csv(pa.concat_tables(tables, promote_options="permissive"), folder / "boxes.csv")
    images = pa.table({"ImageID": ids, "ImageWidth": truth.width, "ImageHeight": truth.height})
    csv.write_csv(images, folder / "images.csv")
    _write_labels(truth, ids, labels, seed, folder / "labels.csv")
    kinds = [(kind.label, kind.name) for kind in words.kinds]
    classes = pa.table(dict(zip(("label", "name"), zip(*kinds, *words.parents, strict=True), strict=True)))
    csv.write_csv(classes, folder / "classes.csv", csv.WriteOptions(include_header=False))
    (folder / "hierarchy.json").write_bytes(msgspec.json.encode(words.tree()))
    _write_masks(truth, rows, boxes, folder)


def _write_masks(truth: GroundTruth, rows: np.ndarray, boxes: dict[str, Any], folder: Path) -> None:
    """Write the masks of the objects in these rows, whose columns `boxes` are, encoded and as PNG files."""
    from PIL import Image
    from pycocotools import mask as rle

    single = np.flatnonzero(~truth.crowd[rows])
    assert truth.masks is not None
    masks = truth.masks.take(pa.array(rows[single])).to_pylist()
    columns = {name: column[single] for name, column in boxes.items()}
    encoded = [base64.b64encode(zlib.compress(mask["counts"])).decode() for mask in masks]
    csv.write_csv(pa.table(columns | {"Mask": encoded}), folder / "masks.csv")
    names = [f"{image}_{row:08x}.png" for image, row in zip(columns["ImageID"], rows[single].tolist(), strict=True)]
    drawn = {name: columns[name] for name in ("ImageID", "LabelName")} | {
        f"Box{name}": columns[name] for name in ("XMin", "XMax", "YMin", "YMax")
    }
    csv.write_csv(pa.table({"MaskPath": names} | drawn), folder / "segmentation.csv")
    (folder / "segmentation").mkdir()
    for name, mask in zip(names, masks, strict=True):
        with warnings.catch_warnings():  # pycocotools 2.0.11 does not know NumPy 2.4
            warnings.simplefilter("ignore", DeprecationWarning)
            pixels = rle.decode({"size": [mask["height"], mask["width"]], "counts": mask["counts"]})
        Image.fromarray(pixels.astype(bool)).save(folder / "segmentation" / name)


def _write_labels(truth: GroundTruth, ids: np.ndarray, labels: np.ndarray, seed: int, path: Path) -> None:
    there = np.zeros((len(ids), len(labels)), bool)
    there[truth.image, truth.category] = True
    verified = there.copy()
    for index in range(len(ids)):
        verified[index] |= stream(seed, index, "open images").random(len(labels)) < _ABSENT
    image, category = np.nonzero(verified)
    columns = {
        "ImageID": ids[image],
        "LabelName": labels[category],
        "Confidence": there[image, category].astype(np.int8),
    }
    csv.write_csv(pa.table(columns), path)


def _images(truth: GroundTruth, names: Sequence[str]) -> list[dict[str, Any]]:
    columns = zip(truth.image_id.tolist(), truth.width.tolist(), truth.height.tolist(), names, strict=True)
    return [{"id": i, "width": w, "height": h, "file_name": name} for i, w, h, name in columns]


def _annotations(truth: GroundTruth, rows: np.ndarray) -> list[dict[str, Any]]:
    assert truth.masks is not None
    columns = zip(
        truth.annotation_id[rows].tolist(),
        truth.image_id[truth.image[rows]].tolist(),
        truth.category_id[truth.category[rows]].tolist(),
        truth.xywh[rows].tolist(),
        truth.area[rows].tolist(),
        truth.crowd[rows].tolist(),
        truth.masks.take(pa.array(rows)).to_pylist(),
        strict=True,
    )
    return [
        {
            "id": i,
            "image_id": image,
            "category_id": category,
            "bbox": box,
            "area": area,
            "iscrowd": int(crowd),
            "segmentation": {"size": [mask["height"], mask["width"]], "counts": mask["counts"].decode()},
        }
        for i, image, category, box, area, crowd, mask in columns
    ]
