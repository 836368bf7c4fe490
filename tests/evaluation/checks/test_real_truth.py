"""What the check finds in the shared ground truths."""

from pathlib import Path

import pytest

from evaluation import Coco, Lvis, OpenImages
from evaluation.mended_reading import read_mended
from evaluation.truth_check import PERFECT, check_truth

DATA = Path(__file__).parents[4] / "shared" / "data"


@pytest.mark.parametrize(
    ("file", "protocol", "changing"),
    [
        ("mvor/annotations/camma_mvor_2018.json", Coco(), {"annotation_id_zero": (1, 0.9899)}),
        ("coco_fake100/instances_val2014_100.json", Coco(), {"masks_and_boxes": (2, 0.9995)}),
        ("lvis100/lvis_val_100.json", Lvis(), {"masks_and_boxes": (15, 0.9786)}),
        ("yolact/gt_person_boxes_groupA.json", Coco(), {}),
        ("voc100/gts/coco_format_v1/instances_default.json", Coco(), {}),
        ("voc100/gts/coco_format_v2/instances_v2.json", Coco(), {}),
        ("voc100/gts/pascalvoc_format", Coco(), {}),
        ("bccd/Annotations", Coco(), {"empty_boxes": (2, 0.9967)}),
        ("openimages/annotations.csv", OpenImages(), {"duplicate_boxes": (230, 0.9986)}),
    ],
)
def test_what_changes_figures(file, protocol, changing):
    if not (DATA / file).exists():
        pytest.skip(f"{DATA / file} is not there")
    truth, refused = read_mended(DATA / file)
    found = [finding for finding in check_truth(truth, protocol=protocol, refused=refused).findings if finding.changes]
    assert {
        finding.check: (finding.count, round(finding.measured[PERFECT]["AP"][0], 4)) for finding in found
    } == changing
    assert all(finding.measured[PERFECT]["AP"][1] == 1 for finding in found)
