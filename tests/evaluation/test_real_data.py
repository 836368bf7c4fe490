"""Published and recorded figures on real files; needs the test data beside the checkout."""

import json
from pathlib import Path

import numpy as np
import pytest

from evaluation import Coco, GroundTruth, prepare, read_coco
from tests.evaluation.cases import arrays, official

DATA = Path(__file__).parents[3] / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the test data is not at ../shared/data")

FAKE_BOXES = (
    0.5045806987249628,
    0.6969727247299577,
    0.5729816669904824,
    0.5856257209410443,
    0.5193996948036719,
    0.5013978986347466,
    0.38681277964578054,
    0.5936795762842003,
    0.595352982877607,
    0.6398109626113442,
    0.5664205978994309,
    0.5642905982905982,
)
FAKE_MASKS = (
    0.3195452758576433,
    0.5622883972521636,
    0.29892653412086784,
    0.3873740315997837,
    0.31018272403369485,
    0.3269339071005138,
    0.2682297225711534,
    0.41544868114906375,
    0.4168394992198818,
    0.4694498622754236,
    0.37675922666197265,
    0.3814715099715099,
)
# AP, AP50, AP75, AR1, AR10, AR100 as the annotation ids are, and with ids from 1
MVOR = {
    "faster_rcnn_bbox": (
        (0.504208, 0.755957, 0.573792, 0.299596, 0.598085, 0.600724),
        (0.504836, 0.756619, 0.574590, 0.299787, 0.598276, 0.600915),
    ),
    "dfcnet_rfcn_bbox": (
        (0.403813, 0.620494, 0.466230, 0.271249, 0.450649, 0.450649),
        (0.404976, 0.620996, 0.474310, 0.271441, 0.450841, 0.450841),
    ),
    "alphapose_bbox": (
        (0.123046, 0.512188, 0.004580, 0.108832, 0.210279, 0.210279),
        (0.123077, 0.512252, 0.004580, 0.108832, 0.210364, 0.210364),
    ),
    "rtpose_bbox": (
        (0.076315, 0.370692, 0.000945, 0.075591, 0.132369, 0.132369),
        (0.076321, 0.370721, 0.000945, 0.075591, 0.132432, 0.132432),
    ),
    "openpose_bbox": (
        (0.060539, 0.278240, 0.001933, 0.087316, 0.119025, 0.119025),
        (0.060539, 0.278240, 0.001933, 0.087316, 0.119025, 0.119025),
    ),
    "openpose_bbox_multiscale": (
        (0.055677, 0.267438, 0.001239, 0.083528, 0.113088, 0.113088),
        (0.055677, 0.267438, 0.001239, 0.083528, 0.113088, 0.113088),
    ),
}
PUBLISHED = {
    "faster_rcnn_bbox": (0.504, 0.756, 0.574, 0.300, 0.598, 0.601),
    "dfcnet_rfcn_bbox": (0.404, 0.620, 0.466, 0.271, 0.451, 0.451),
}
VOC = (
    0.346958,
    0.610030,
    0.353714,
    0.075181,
    0.339482,
    0.497881,
    0.373505,
    0.520647,
    0.522570,
    0.158333,
    0.446662,
    0.580923,
)
PERSONS = {
    "yolact_im700": (0.368764, 0.605513, 0.387524, 0.477828),
    "yolact_base": (0.352098, 0.610749, 0.334486, 0.475566),
    "yolact_darknet53": (0.332613, 0.589165, 0.322473, 0.451584),
    "yolact_resnet50": (0.325373, 0.599593, 0.315989, 0.443439),
}


def load(path):
    return json.loads((DATA / path).read_text())


def six(*values):
    return tuple(round(value, 6) for value in values)


@pytest.mark.parametrize(("kind", "expected"), [("bbox", FAKE_BOXES), ("segm", FAKE_MASKS)])
def test_coco_fake_results_to_all_digits(kind, expected):
    truth = read_coco(DATA / "coco_fake100" / "instances_val2014_100.json")
    assert truth.notes == ()
    results = load(f"coco_fake100/instances_val2014_fake{kind}100_results.json")
    result = prepare(truth, Coco(iou_type=kind)).evaluate_arrays(**arrays(results), mask_areas=kind == "segm")
    assert tuple(result.stats.values()) == expected
    run = official(load("coco_fake100/instances_val2014_100.json"), results, iou_type=kind)
    np.testing.assert_array_equal(result.precision, run.eval["precision"])
    np.testing.assert_array_equal(result.recall, run.eval["recall"])
    np.testing.assert_array_equal(result.scores, run.eval["scores"])


@pytest.fixture(scope="module")
def mvor():
    truth = read_coco(DATA / "mvor" / "annotations" / "camma_mvor_2018.json")
    assert len(truth.image_id) == 2196
    assert len(truth) == 4699
    assert truth.image_id.dtype == np.int64
    assert {note.split()[0] for note in truth.notes} == {"category", "area", "iscrowd", "segmentation", "an"}
    return prepare(truth), prepare(truth, Coco(match_id_zero=True))


@pytest.mark.parametrize("name", MVOR)
def test_mvor(mvor, name):
    results = load(f"mvor/detections_results/{name}.json")
    for row in results:
        row["category_id"] = int(row["category_id"])
    for prepared, expected in zip(mvor, MVOR[name], strict=True):
        result = prepared.evaluate_arrays(**arrays(results))
        assert six(result.AP, result.AP50, result.AP75, result.AR1, result.AR10, result.AR100) == expected
        assert any("id 0" in note for note in result.notes) == (prepared is mvor[0])
        if name in PUBLISHED and prepared is mvor[0]:
            figures = (result.AP, result.AP50, result.AP75, result.AR1, result.AR10, result.AR100)
            assert tuple(round(figure, 3) for figure in figures) == PUBLISHED[name]


def test_mvor_full_digits(mvor):
    results = load("mvor/detections_results/faster_rcnn_bbox.json")
    for row in results:
        row["category_id"] = int(row["category_id"])
    assert mvor[0].evaluate_arrays(**arrays(results)).AP == 0.5042077260648741
    assert mvor[1].evaluate_arrays(**arrays(results)).AP == 0.5048356575177384


@pytest.mark.parametrize("version", ["coco_format_v1/instances_default.json", "coco_format_v2/instances_v2.json"])
def test_voc_boxes_joined_by_name(version):
    truth = read_coco(DATA / "voc100" / "gts" / version)
    found = load("voc100/dets/coco_format/coco_dets.json")
    images = {image["id"]: image["file_name"] for image in found["images"]}
    names = {category["id"]: category["name"] for category in found["categories"]}
    image_of = dict(zip(truth.file_name.tolist(), truth.image_id.tolist(), strict=True))
    category_of = dict(zip(truth.category_name, truth.category_id.tolist(), strict=True))
    rows = [
        {**row, "image_id": image_of[images[row["image_id"]]], "category_id": category_of[names[row["category_id"]]]}
        for row in found["annotations"]
    ]
    for row in rows:
        row.pop("segmentation", None)
    result = prepare(truth).evaluate_arrays(**arrays(rows))
    assert six(*result.stats.values()) == VOC


@pytest.mark.parametrize("name", PERSONS)
def test_yolact_persons(name):
    truth = read_coco(DATA / "yolact" / "gt_person_boxes_groupA.json")
    results = load(f"yolact/group_a/coco_format/{name}.segm.json")
    result = prepare(truth).evaluate_arrays(**arrays(results))
    assert six(result.AP, result.AP50, result.AP75, result.AR100) == PERSONS[name]
    others = sum(row["category_id"] != 1 for row in results)
    assert (len(truth.category_id) > 1) or any(f"{others} detections are of categories" in n for n in result.notes)


def test_empty_masks_match_nothing():
    """Real masks, a tenth of them empty, against the same masks as ground truth."""
    results = load("yolact/group_a/coco_format/yolact_im700.segm.json")
    rows = [{**row, "id": n, "iscrowd": 0, "area": row["bbox"][2] * row["bbox"][3]} for n, row in enumerate(results, 1)]
    sizes = {row["image_id"]: row["segmentation"]["size"] for row in rows}
    dataset = {
        "images": [{"id": i, "height": height, "width": width} for i, (height, width) in sizes.items()],
        "categories": [{"id": k} for k in sorted({row["category_id"] for row in rows})],
        "annotations": rows,
    }
    truth = GroundTruth.from_arrays(
        image_id=list(sizes),
        category_id=[category["id"] for category in dataset["categories"]],
        annotation_image_id=[row["image_id"] for row in rows],
        annotation_category_id=[row["category_id"] for row in rows],
        xywh=[row["bbox"] for row in rows],
        segmentation=[row["segmentation"] for row in rows],
    )
    other = load("yolact/group_a/coco_format/yolact_base.segm.json")
    result = prepare(truth, Coco(iou_type="segm")).evaluate_arrays(**arrays(other))
    run = official(dataset, other, iou_type="segm")
    np.testing.assert_array_equal(result.precision, run.eval["precision"])
    assert list(result.stats.values()) == list(run.stats)


def test_lvis_fields():
    truth = read_coco(DATA / "lvis100" / "lvis_val_100.json")
    assert len(truth.category_id) == 1230
    assert truth.frequency is not None
    assert set(truth.frequency) == {"r", "c", "f"}
    given = {image["id"]: image for image in load("lvis100/lvis_val_100.json")["images"]}
    for labels, field in ((truth.negative, "neg_category_ids"), (truth.not_exhaustive, "not_exhaustive_category_ids")):
        assert labels is not None
        for i, image_id in enumerate(truth.image_id.tolist()):
            mine = truth.category_id[labels.category[labels.start[i] : labels.start[i + 1]]].tolist()
            assert mine == sorted(given[image_id][field])
    half = truth.subset(truth.image_id[::2])
    assert half.negative is not None
    assert len(half.negative.start) == len(half.image_id) + 1
    np.testing.assert_array_equal(
        half.negative.category[half.negative.start[1] : half.negative.start[2]],
        truth.negative.category[truth.negative.start[2] : truth.negative.start[3]],
    )
