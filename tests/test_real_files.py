"""The whole way on real result files: import, evaluate, learn, fuse, rank, export."""

import json
from pathlib import Path

import pytest

DATA = Path(__file__).parents[2] / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the real files are not beside the checkout (../shared/data)")

MVOR = DATA / "mvor"
# AP, AP50, AP75, AR100 as measured with pycocotools; the first two lines are published to three decimals
MVOR_FIGURES = {
    "faster_rcnn_bbox": (0.504208, 0.755957, 0.573792, 0.600724),
    "dfcnet_rfcn_bbox": (0.403813, 0.620494, 0.466230, 0.450649),
    "alphapose_bbox": (0.123046, 0.512188, 0.004580, 0.210279),
    "rtpose_bbox": (0.076315, 0.370692, 0.000945, 0.132369),
    "openpose_bbox": (0.060539, 0.278240, 0.001933, 0.119025),
    "openpose_bbox_multiscale": (0.055677, 0.267438, 0.001239, 0.113088),
}
NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
COCO_100 = {
    "bbox": (
        0.5045806987249628, 0.6969727247299577, 0.5729816669904824, 0.5856257209410443, 0.5193996948036719,
        0.5013978986347466, 0.38681277964578054, 0.5936795762842003, 0.595352982877607, 0.6398109626113442,
        0.5664205978994309, 0.5642905982905982,
    ),
    "segm": (
        0.3195452758576433, 0.5622883972521636, 0.29892653412086784, 0.3873740315997837, 0.31018272403369485,
        0.3269339071005138, 0.2682297225711534, 0.41544868114906375, 0.4168394992198818, 0.4694498622754236,
        0.37675922666197265, 0.3814715099715099,
    ),
}  # fmt: skip
VOC_100 = (
    0.346958, 0.610030, 0.353714, 0.075181, 0.339482, 0.497881,
    0.373505, 0.520647, 0.522570, 0.158333, 0.446662, 0.580923,
)  # fmt: skip

# docs/fuse-real-detectors.md prints this recipe
RECIPE = """
recipe = 1

[nodes.calibrated]
step = "calibrate"
inputs = ["faster_rcnn_bbox", "dfcnet_rfcn_bbox"]
maps = "calibration.toml"

[nodes.voted]
step = "vote"
inputs = ["calibrated"]
iou = 0.8
score = 0.2
box = 0.5

[nodes.output]
step = "soft_nms"
inputs = ["voted"]
method = "linear"
iou = 0.3
"""


@pytest.fixture
def run(run):
    def call(*arguments):
        code, out, err = run(*arguments)
        assert code == 0, err
        return out

    return call


def test_mvor_from_six_files_to_a_better_one(run, tmp_path):
    truth = MVOR / "annotations" / "camma_mvor_2018.json"
    tables = [tmp_path / "tables" / f"{name}.parquet" for name in MVOR_FIGURES]
    for name, table in zip(MVOR_FIGURES, tables, strict=True):
        run("import", MVOR / "detections_results" / f"{name}.json", "--ground-truth", truth, "-o", table)
    results = json.loads(run("evaluate", *tables, "--ground-truth", truth, "--format", "json"))
    for (name, figures), result in zip(MVOR_FIGURES.items(), results, strict=True):
        measured = [round(result[figure], 6) for figure in ("AP", "AP50", "AP75", "AR100")]
        assert measured == list(figures), name

    run("split", truth, "-o", tmp_path / "halves")
    learn, verify = tmp_path / "halves" / "part-0.txt", tmp_path / "halves" / "part-1.txt"
    run("learn", "calibration", *tables, "-g", truth, "--images", learn, "-o", tmp_path / "calibration.toml")
    (tmp_path / "recipe.toml").write_text(RECIPE)
    fused = tmp_path / "fused.parquet"
    run("fuse", *tables, "--recipe", tmp_path / "recipe.toml", "-o", fused)
    results = json.loads(run("evaluate", tables[0], fused, "-g", truth, "--images", verify, "--format", "json"))
    single, better = (result["AP"] for result in results)
    assert round(single, 4) == 0.5084
    assert round(better, 4) == 0.5189
    board = run("leaderboard", *tables, fused, "-g", truth, "--images", verify)
    assert board.index(" fused ") < board.index(" faster_rcnn_bbox ") < board.index(" dfcnet_rfcn_bbox ")
    run("export", "coco", fused, "-o", tmp_path / "results.json")
    assert len(json.loads((tmp_path / "results.json").read_text())) > 9_000


@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
def test_coco_100_to_the_last_digit(run, tmp_path, iou_type):
    folder, table = DATA / "coco_fake100", tmp_path / "fake.parquet"
    truth = folder / "instances_val2014_100.json"
    run("import", folder / f"instances_val2014_fake{iou_type}100_results.json", "-g", truth, "-o", table)
    [result] = json.loads(run("evaluate", table, "-g", truth, "--iou-type", iou_type, "--format", "json"))
    assert tuple(result[name] for name in NAMES) == COCO_100[iou_type]


@pytest.mark.parametrize("truth", ["coco_format_v1/instances_default.json", "coco_format_v2/instances_v2.json"])
def test_voc_100_joined_by_names(run, tmp_path, truth):
    table, truth = tmp_path / "voc.parquet", DATA / "voc100" / "gts" / truth
    results = DATA / "voc100" / "dets" / "coco_format" / "coco_dets.json"
    run("import", results, "-g", truth, "--images", "file_name", "--categories", "name", "-o", table)
    [result] = json.loads(run("evaluate", table, "-g", truth, "--format", "json"))
    assert tuple(round(result[name], 6) for name in NAMES) == VOC_100
