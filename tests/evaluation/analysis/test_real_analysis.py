"""The analysis of real result files: equal to tidecv, and the figures that docs/analyze.md prints."""

import contextlib
import io
import json
import warnings
from pathlib import Path

import pytest
from pycocotools.coco import COCO

from evaluation import Coco, prepare, read_coco
from evaluation.analysis.ensemble_analysis import analyze_ensemble
from evaluation.analysis.errors import analyze_errors
from evaluation.analysis.table_analysis import analyze_table
from fusion.coco_results import read_coco_results
from fusion.table import Metadata
from tests.oracles.tide import tidecv_errors

DATA = Path(__file__).parents[4] / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the test data is not at ../shared/data")
MVOR = DATA / "mvor"
MEMBERS = ("faster_rcnn_bbox", "dfcnet_rfcn_bbox", "alphapose_bbox", "rtpose_bbox", "openpose_bbox")


def table(path, truth):
    return read_coco_results(path, vocabulary=truth.vocabulary, metadata=Metadata(member=path.stem))


@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
def test_coco_100_equal_to_tidecv(iou_type):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("tidecv", reason="the package tidecv is not installed")
    folder = DATA / "coco_fake100"
    truth_file, results = (
        folder / "instances_val2014_100.json",
        folder / f"instances_val2014_fake{iou_type}100_results.json",
    )
    truth = read_coco(truth_file)
    errors = analyze_errors(table(results, truth), prepare(truth, Coco(iou_type=iou_type)))
    dataset = json.loads(truth_file.read_text())
    with contextlib.redirect_stdout(io.StringIO()):
        official = COCO(truth_file)
    for row in dataset["annotations"]:
        row["segmentation"] = official.annToRLE(row)
    rows = [row | {"bbox": row.get("bbox")} for row in json.loads(results.read_text())]
    ap, counts, costs = tidecv_errors(dataset, rows, iou_type)
    assert errors.counts == counts
    assert pytest.approx(ap / 100, abs=1e-12) == errors.AP
    assert errors.costs == pytest.approx({name: cost / 100 for name, cost in costs.items()}, abs=1e-12)


def test_mvor_one_detector():
    truth = read_coco(MVOR / "annotations" / "camma_mvor_2018.json")
    path = MVOR / "detections_results" / "faster_rcnn_bbox.json"
    analysis = analyze_table(table(path, truth), prepare(truth))
    assert analysis.errors.counts == {"Cls": 0, "Loc": 2373, "Both": 0, "Dupe": 4370, "Bkg": 2196, "Miss": 575}
    costs = {name: round(100 * cost, 2) for name, cost in analysis.errors.costs.items()}
    assert costs == {
        "Cls": 0, "Loc": 6.79, "Both": 0, "Dupe": 0.74, "Bkg": 1.36, "Miss": 10.64, "FalsePos": 5.53, "FalseNeg": 17.08,
    }  # fmt: skip
    assert (round(analysis.best.score, 3), round(analysis.best.f1, 3)) == (0.75, 0.784)
    assert round(analysis.calibration.ECE, 3) == 0.162
    assert "The most expensive error is Miss" in "\n".join(analysis.sentences())


def test_mvor_members():
    truth = read_coco(MVOR / "annotations" / "camma_mvor_2018.json")
    tables = [table(MVOR / "detections_results" / f"{name}.json", truth) for name in MEMBERS]
    analysis = analyze_ensemble(tables, prepare(truth))
    frame = analysis.members.to_frame().set_index("member")
    assert frame.index[0] == "faster_rcnn_bbox"
    assert round(analysis.members.oracle_AP, 3) == 0.622
    text = "\n".join(analysis.sentences())
    assert "Drop rtpose_bbox first" in text
    assert "The most complementary member is faster_rcnn_bbox" in text
