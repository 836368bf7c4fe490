"""Submissions of real result files keep their official figures."""

from pathlib import Path

import pytest

from evaluation import Coco, evaluate, read_coco
from evaluation.submissions import check_submission, read_coco_submission, write_submission
from fusion.coco_results import read_coco_results
from tests.evaluation.submissions.cases import found

DATA = Path(__file__).parents[4] / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the real files are not beside the checkout (../shared/data)")
FAKE = DATA / "coco_fake100"
# published to 16 digits, see the data's README
AP = {"bbox": 0.5045806987249628, "segm": 0.3195452758576433}


@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
def test_official_ap_to_the_last_digit_after_the_way_through_a_submission(tmp_path, iou_type):
    truth_file = FAKE / "instances_val2014_100.json"
    truth = read_coco(truth_file)
    table = read_coco_results(FAKE / f"instances_val2014_fake{iou_type}100_results.json", vocabulary=truth.vocabulary)
    options = {"split": "val2014", "algorithm": "fake", "iou_type": iou_type}
    made = write_submission(table, tmp_path, "coco", images=truth_file, **options)
    path = tmp_path / "detections_val2014_fake_results.zip"
    assert (
        evaluate(read_coco_submission(path, images=truth), truth, Coco(iou_type=iou_type)).stats["AP"] == AP[iou_type]
    )
    report = check_submission(path, images=truth_file, split="val2014")
    assert report.findings == made.findings
    assert found(report, "without any detection").examples == ("image 1063",)


def test_texts_as_category_ids_and_ids_beyond_32_bits():
    report = check_submission(
        DATA / "mvor" / "detections_results" / "faster_rcnn_bbox.json",
        images=DATA / "mvor" / "annotations" / "camma_mvor_2018.json",
        format="lvis",  # an archive is not asked for
    )
    assert report.listed == 2196
    assert report.detections > 10_000
    assert found(report, "ids are texts").count == report.detections  # "1" is not 1 for pycocotools
    assert len(report.errors) == 1


@pytest.mark.parametrize("path", sorted(DATA.glob("yolact/group_a/coco_format/*.json")), ids=lambda path: path.stem)
def test_masks_of_real_models_decode(path):
    report = check_submission(path)
    assert not [finding for finding in report.findings if "fill" in finding.what or "read" in finding.what]
