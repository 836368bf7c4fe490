"""Pseudo labels: which detections are taken, their counts, and what trainings do with them."""

import json

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch", reason="the extra zoo (torch) is not installed")

import torch

from evaluation import read_coco
from fusion.errors import InputError
from fusion.masks import mask_array
from fusion.storage import write_table
from fusion.table import DetectionTable
from quorum import main
from zoo.config import Sampling
from zoo.data import AnnotatedImages, Target, open_data
from zoo.nn.draws import Draws
from zoo.nn.matching import match_proposals
from zoo.nn.sampling import draw_regions
from zoo.pseudo_labels import pseudo_labels

CATEGORIES = [{"id": 3, "name": "cat", "frequency": "f"}, {"id": 5, "name": "owl", "frequency": "r"}]


def image(number, **given):
    return {"id": number, "width": 100, "height": 80, "file_name": f"{number}.png", **given}


def lists(*numbers):
    own = {"neg_category_ids": [], "not_exhaustive_category_ids": []}
    return [image(number, **own) for number in numbers]


def annotation(number, picture, category, box):
    segmentation = [[box[0], box[1], box[0] + box[2], box[1], box[0] + box[2], box[1] + box[3]]]
    own = {"bbox": box, "area": box[2] * box[3] / 2, "segmentation": segmentation}
    return {"id": number, "image_id": picture, "category_id": category, **own}


@pytest.fixture
def files(tmp_path):
    train = {"images": lists(1, 2), "annotations": [annotation(1, 1, 3, [0, 0, 20, 20])], "categories": CATEGORIES}
    others = {"images": [image(number) for number in (7, 8, 9)], "annotations": [], "categories": []}
    for name, document in (("train", train), ("others", others)):
        (tmp_path / f"{name}.json").write_text(json.dumps(document))
    for number in (1, 7):  # the first of each, which opening the data looks for
        Image.new("RGB", (100, 80)).save(tmp_path / f"{number}.png")
    return tmp_path


def table(rows, **given):
    images, categories, scores, boxes = zip(*rows, strict=True)
    return DetectionTable.from_arrays(
        image_id=images, category_id=categories, score=scores, xywh=np.array(boxes, float), **given
    )


ON_OTHERS = [
    (7, 3, 0.9, (0, 0, 10, 10)),
    (7, 5, 0.8, (20, 0, 10, 10)),
    (7, 3, 0.7, (0, 0, 10, 10)),
    (8, 3, 0.95, (0, 0, 10, 20)),
    (8, 5, 0.79, (0, 0, 10, 10)),
]


def test_labels_of_images_with_a_rare_category(files, capsys):
    """The filter on a toy set: 8 has no rare label left, so its common one goes too."""
    write_table(table(ON_OTHERS), files / "table.parquet")
    command = ["zoo", "pseudo-label", str(files / "table.parquet"), "-g", str(files / "train.json")]
    main([*command, "--images", str(files / "others.json"), "--having-rare", "-o", str(files / "pseudo.json")])
    found = json.loads((files / "pseudo.json").read_text())
    assert found["images"] == [image(7)]
    assert [(a["image_id"], a["category_id"], a["score"], a["bbox"], a["area"]) for a in found["annotations"]] == [
        (7, 3, 0.9, [0, 0, 10, 10], 100),
        (7, 5, 0.8, [20, 0, 10, 10], 100),
    ]
    assert found["categories"] == [own | {"instance_count": 1, "image_count": 1} for own in CATEGORIES]
    printed = [line.replace("│", " ").split() for line in capsys.readouterr().out.splitlines()]
    assert ["rare", "1", "1", "1", "1"] in printed
    assert ["all", "2", "2", "2", "1"] in printed
    assert ["5", "owl", "r", "1", "1"] in printed
    main([*command, "--images", str(files / "others.json"), "-o", str(files / "all.json")])
    truth = read_coco(files / "all.json")
    assert truth.image_id.tolist() == [7, 8]
    assert truth.frequency == ("f", "r")


def test_labels_without_an_annotated_object(files):
    rows = [
        (1, 5, 0.9, (0, 0, 20, 10)),
        (1, 3, 0.9, (12, 0, 20, 20)),
        (2, 3, 0.9, (0, 0, 20, 20)),
        (2, 3, 0.4, (50, 0, 9, 9)),
    ]
    truth = read_coco(files / "train.json")
    kept = pseudo_labels(table(rows), truth, score=0.5).table  # IoU with the object: 0.5, then 160 / 640
    assert [(one, box) for one, box in zip(kept.image_id.tolist(), kept.xywh[:, 0].tolist(), strict=True)] == [
        (1, 12),
        (2, 0),
    ]
    assert len(pseudo_labels(table(rows), truth, score=0.5, iou=0.6).table) == 3
    assert len(pseudo_labels(table(rows), truth, score=0.5, iou=0.2).table) == 1


def test_masks_are_kept(files):
    from zoo.data.masks import mask_pixels, pack

    pixels = np.zeros((80, 100), np.uint8)
    pixels[:5, :5] = 1
    mask = mask_array([80], [100], [pack(pixels)["counts"]])
    pseudo_labels(
        table(ON_OTHERS[:1], mask=mask), read_coco(files / "train.json"), read_coco(files / "others.json")
    ).write(files / "pseudo.json")
    data = open_data(f"coco:{files}/pseudo.json,{files}")
    assert data.has_masks
    assert data.truth.area.tolist() == [25]
    assert mask_pixels(data.load(0)[1].masks[0], (80, 100)).tolist() == pixels.tolist()


def test_what_cannot_be_is_said(files):
    truth = read_coco(files / "train.json")
    with pytest.raises(InputError, match=r"has no image 7 of the table. Give its images"):
        pseudo_labels(table(ON_OTHERS), truth)
    with pytest.raises(InputError, match="has no category 4"):
        pseudo_labels(table([(1, 4, 0.9, (0, 0, 9, 9))]), truth)
    with pytest.raises(InputError, match="score"):
        pseudo_labels(table(ON_OTHERS), truth, score=2)
    with pytest.raises(InputError, match=r"no detection has a score of 0\.96.*Lower .*score.*; the highest is 0\.95"):
        pseudo_labels(table(ON_OTHERS), truth, read_coco(files / "others.json"), score=0.96)
    plain = json.loads((files / "train.json").read_text())
    plain["categories"] = [{"id": 3, "name": "cat"}, {"id": 5, "name": "owl"}]
    (files / "plain.json").write_text(json.dumps(plain))
    with pytest.raises(InputError, match="no frequency"):
        pseudo_labels(table([(1, 3, 0.9, (0, 0, 9, 9))]), read_coco(files / "plain.json"), rare=True)


def test_what_annotations_lack_is_ignored(files):
    """Pseudo labels of the training images: neither objects nor background."""
    rows = [(1, 5, 0.9, (60, 40, 20, 20)), (2, 3, 0.9, (0, 0, 20, 20))]
    pseudo_labels(table(rows), read_coco(files / "train.json")).write(files / "pseudo.json")
    plain = open_data(f"lvis:{files}/train.json,{files}")
    data = open_data(f"lvis:{files}/train.json,{files},missing={files}/pseudo.json")
    assert isinstance(data, AnnotatedImages)
    assert data.fingerprint != plain.fingerprint
    target = data.load(0)[1]
    assert target.boxes.tolist() == [[0, 0, 20, 20]]
    assert target.ignore_boxes.tolist() == [[60, 40, 80, 60]]
    assert target.ignore_labels.tolist() == [2]
    target.check()
    near, inside = [62.0, 42.0, 82.0, 62.0], [64.0, 44.0, 72.0, 52.0]
    boxes = torch.tensor([near, inside, [0.0, 40.0, 20.0, 60.0], [1.0, 0.0, 20.0, 20.0]])
    for by, labels in (("iof", [-1, -1, 0, 1]), ("iou", [-1, 0, 0, 1])):
        assert match_proposals(boxes, target, 0.5, 0.5, ignore_by=by).labels.tolist() == labels
        drawn = draw_regions([boxes], [target], Sampling(rois=16, ignore_by=by), 0.5, 0.5, [Draws(0, 0, 1)])
        background = {tuple(box) for box in drawn.rois[drawn.labels == 0, 1:].tolist()}
        assert tuple(near) not in background
        assert (tuple(inside) in background) == (by == "iou")
    other = json.loads((files / "pseudo.json").read_text())
    for change, problem in (
        ({"categories": CATEGORIES[:1], "annotations": []}, "1 categories are not the 2"),
        ({"images": [image(4)], "annotations": []}, "has image 4, which"),
    ):
        (files / "other.json").write_text(json.dumps(other | change))
        with pytest.raises(InputError, match=problem):
            open_data(f"lvis:{files}/train.json,{files},missing={files}/other.json")


def test_the_weight_of_an_image_scales_its_losses_exactly():
    """Half the weight, half of each loss that the image alone gives."""
    from tests.zoo.nn.cases import CLASSES, scene
    from zoo.config import GroupSoftmax, Model, replace
    from zoo.models import build
    from zoo.scale import tiny

    torch.manual_seed(0)
    net = build(replace(tiny(Model()), classifier=GroupSoftmax(bounds=(1,))), CLASSES, pretrained=False).train()
    image, target = scene(1)
    whole = net([image], [target])
    net.passes.zero_()
    target.loss_weight = 0.5
    half = net([image], [target])
    assert isinstance(target, Target)
    assert all(half[name].item() == pytest.approx(whole[name].item() / 2, rel=1e-5) for name in whole)
