import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from evaluation import evaluate
from evaluation.calibration import choose_least, learn_calibration
from evaluation.cli.learn import learn_calibration as command
from evaluation.cli.learn import learn_weights
from evaluation.cli.truth import OpenImagesFiles
from evaluation.coco_ground_truth import read_coco
from evaluation.ground_truth import GroundTruth, Labels
from evaluation.prepared import prepare
from evaluation.protocol import Coco, Lvis
from evaluation.worth import Worth, mean_precision
from fusion import Nms, Recipe, Wbf, calibrate, read_coco_results, write_table
from fusion.errors import InputError
from fusion.learned import read_learned
from fusion.score_maps import CategoryMaps, ScoreMap
from fusion.steps.calibrate import Calibrate
from fusion.table import DetectionTable, Metadata
from zoo.synthetic.simulated import Scenario, demo_members, simulate

MVOR = Path(__file__).parents[3] / "shared" / "data" / "mvor"
KINDS = ("isotonic", "linear", "platt", "rank")


@pytest.fixture(scope="module")
def simulation():
    simulated = simulate(Scenario(images=400, categories=8), demo_members(8), 0)
    truth, n = simulated.annotations, 400
    ground_truth = GroundTruth.from_arrays(
        image_id=np.arange(1, n + 1),
        category_id=np.arange(1, 9),
        annotation_image_id=truth.image_id,
        annotation_category_id=truth.category_id,
        xywh=truth.xywh,
        crowd=truth.crowd,
    )
    halves = [ground_truth.subset(ground_truth.image_id[part::2]) for part in (0, 1)]
    tables = [member.table() for member in simulated.members]
    return halves, tables


def made(score, right):
    """One detection per image; the right ones lie on an object."""
    n = len(score)
    ground_truth = GroundTruth.from_arrays(
        image_id=np.arange(n),
        category_id=[1],
        annotation_image_id=np.arange(n),
        annotation_category_id=[1] * n,
        xywh=np.where(np.asarray(right)[:, None], [0.0, 0, 10, 10], [500.0, 0, 10, 10]),
    )
    table = DetectionTable.from_arrays(
        image_id=np.arange(n), category_id=[1] * n, score=score, xywh=np.tile([0.0, 0, 10, 10], (n, 1))
    )
    return table, ground_truth


def test_platt_finds_the_sigmoid_that_made_the_data():
    rng = np.random.default_rng(0)
    score = rng.normal(100, 50, 20_000)
    chance = 1 / (1 + np.exp(-(score - 120) / 30))
    learned = learn_calibration(*made(score, rng.random(len(score)) < chance), "platt")
    np.testing.assert_allclose(learned(np.array([60.0, 120, 180])), [0.119, 0.5, 0.881], atol=0.02)


def test_linear_finds_the_line_that_made_the_data():
    rng = np.random.default_rng(0)
    score = rng.random(20_000) * 400
    learned = learn_calibration(*made(score, rng.random(len(score)) < 0.2 + 0.001 * score), "linear")
    np.testing.assert_allclose(learned(np.array([0.1, 200, 399])), [0.2, 0.4, 0.6], atol=0.02)


def test_what_a_score_is_to_say():
    """Boxes that cover seven tenths of their objects are right at five of the ten thresholds."""
    rng = np.random.default_rng(1)
    table, truth = made(rng.random(2000), np.ones(2000, bool))
    loose = DetectionTable.from_arrays(
        image_id=table.image_id,
        category_id=table.category_id,
        score=table.score,
        xywh=np.tile([0.0, 0, 10, 7.2], (2000, 1)),
    )
    wanted = {"mean_precision": 0.5, "expected_iou": 0.72, 0.5: 1.0, 0.7: 1.0, 0.75: 0.0}
    for kind in ("isotonic", "linear", "platt"):
        for target, value in wanted.items():
            learned = learn_calibration(loose, truth, kind, target=target)
            np.testing.assert_allclose(learned(np.array([0.2, 0.8])), value, atol=0.005)
    prepared = prepare(truth, Coco(iou_thresholds=(0.5, 0.6)))
    np.testing.assert_allclose(learn_calibration(loose, prepared)(np.array([0.5])), 1.0, atol=0.001)
    with pytest.raises(InputError, match=r"threshold of the protocol \(0.5, 0.6\), got 0.75"):
        learn_calibration(loose, prepared, target=0.75)
    with pytest.raises(InputError, match="one of mean_precision, expected_iou"):
        learn_calibration(loose, prepared, target="iou")


@pytest.mark.parametrize("kind", KINDS)
def test_scores_that_say_nothing_or_the_wrong_thing(kind):
    learned = learn_calibration(*made([0.1, 0.2, 0.3, 0.4], [True, True, False, False]), kind)
    assert np.all(np.diff(learned(np.array([-1.0, 0.1, 0.25, 0.4, 9.0]))) > 0), "still rising"
    for right in ([True] * 3, [False] * 3):
        one = learn_calibration(*made([0.5] * 3, right), kind)
        assert 0 < one(np.array([0.5]))[0] < 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("per_category", [False, True])
def test_a_members_own_ap_does_not_change_in_any_bit(simulation, kind, per_category):
    (learn, verify), tables = simulation
    if kind == "rank" and per_category:
        with pytest.raises(InputError, match="rank has no maps per category"):
            learn_calibration(tables[0], learn, kind, per_category=True)
        return
    prepared = prepare(verify, Coco())
    for table in tables[::2]:
        maps = learn_calibration(table, learn, kind, per_category=per_category, least=20 if per_category else None)
        if per_category:
            assert isinstance(maps, CategoryMaps)
            assert maps.category
        shown = table.select_images(verify.image_id)
        before, after = (
            prepared.evaluate(one) for one in (shown, calibrate(shown, maps={str(table.metadata.member): maps}))
        )
        assert before.stats == after.stats
        assert np.array_equal(before.average_precision_per_category, after.average_precision_per_category)


def test_calibrated_fusion_beats_uncalibrated_on_images_not_learned_on(simulation):
    (learn, verify), tables = simulation
    shown = [table.select_images(verify.image_id) for table in tables]
    raw = evaluate(Recipe.chain([Wbf(iou=0.6)]).fuse(shown), verify).AP
    for kind, gain in (("isotonic", 0.1), ("linear", 0.1), ("platt", 0.1), ("rank", 0.05)):
        maps = {str(table.metadata.member): learn_calibration(table, learn, kind) for table in tables}
        calibrated = evaluate(Recipe.chain([Calibrate(maps=maps), Wbf(iou=0.6)]).fuse(shown), verify).AP
        assert calibrated > raw + gain


def test_cross_validation_gives_own_maps_only_where_they_help():
    rng = np.random.default_rng(0)
    n = 8000
    category = rng.choice([1, 2, 3], n, p=[0.499, 0.499, 0.002])
    score = rng.random(n)
    same = np.where(rng.random(n) < score, 0.8, 0.0)
    matched = Worth(score, same, np.arange(n), category.astype(np.int32))
    least = choose_least(matched, "isotonic")
    assert least is None or least >= 500, "categories alike"
    chance = np.where(category == 1, score, score**4)
    matched = matched._replace(worth=np.where(rng.random(n) < chance, 0.8, 0.0))
    least = choose_least(matched, "isotonic")
    counts = [np.count_nonzero((matched.worth > 0) & (category == k)) for k in (1, 2, 3)]
    assert least is not None
    assert counts[2] < least <= counts[1], "two that differ, and one that is too rare"


def test_given_number_of_matches(simulation):
    (learn, _), tables = simulation
    matched = mean_precision(tables[0].select_images(learn.image_id), prepare(learn))
    counts = {k: np.count_nonzero(matched.worth[matched.category_id == k] > 0) for k in range(1, 9)}
    least = int(sorted(counts.values())[3])
    maps = learn_calibration(tables[0], learn, per_category=True, least=least)
    assert sorted(maps.category) == [k for k, count in counts.items() if count >= least]
    assert maps.pooled == learn_calibration(tables[0], learn)


def test_one_category_or_few_images_have_the_pooled_map_only():
    rng = np.random.default_rng(0)
    score = rng.random(500)
    table, truth = made(score, rng.random(500) < score)
    assert learn_calibration(table, truth, per_category=True).category == {}


def test_command_and_errors(simulation, tmp_path, capsys):
    data = simulate(Scenario(images=60, categories=3), demo_members(3)[:2], 1).write(tmp_path)
    truth = read_coco(data[0])
    paths = []
    for path in data[1:]:
        table = read_coco_results(path, vocabulary=truth.vocabulary, metadata=Metadata(member=path.stem))
        paths.append(tmp_path / f"{path.stem}.parquet")
        write_table(table, paths[-1])
    output = tmp_path / "maps.toml"
    command(*paths, ground_truth=data[0], output=output, kind="linear", per_category=True, least_matched=20)
    maps, origin = read_learned(output, "maps")
    assert origin.fingerprint == truth.fingerprint
    assert set(maps["all-rounder"]) == {"pooled", "category"}
    assert "all-rounder: 3 categories have a map of their own" in capsys.readouterr().err
    with pytest.raises(InputError, match="only with --per-category"):
        command(*paths, ground_truth=data[0], output=output, least_matched=20)
    with pytest.raises(InputError, match="least"):
        learn_calibration(table, truth, per_category=True, least=0)
    with pytest.raises(InputError, match="needs ground truth"):
        learn_calibration(table, None, "platt")
    with pytest.raises(InputError, match="no detection"):
        learn_calibration(table.select_images([]), truth)
    normalized = table.with_metadata(unit="normalized")
    unknown = replace(truth, width=np.zeros_like(truth.width))
    with pytest.raises(InputError, match=r"boxes are pixel where normalized ones are needed, and the size of image"):
        learn_calibration(normalized, unknown, target="expected_iou")
    with pytest.raises(InputError, match="its boxes are normalized, and COCO measures areas in pixels"):
        learn_calibration(normalized, truth)


def test_command_numbers_open_images_classes_as_the_table_does(tmp_path):
    # without the class descriptions, the ids would be those of the sorted labels
    (tmp_path / "boxes.csv").write_text(
        "ImageID,LabelName,XMin,XMax,YMin,YMax\n" + "".join(f"i{i},/m/{'ab'[i % 2]},0,.5,0,.5\n" for i in range(20))
    )
    (tmp_path / "classes.csv").write_text("/m/b,B\n/m/a,A\n")
    table = DetectionTable.from_arrays(
        image_id=np.array([f"i{i}" for i in range(20)], dtype=object),
        category_id=np.array([2 - i % 2 for i in range(20)]),
        score=np.linspace(0.1, 0.9, 20),
        xywh=np.tile([0, 0, 0.5, 0.5], (20, 1)),
        metadata=Metadata(unit="normalized"),
    )
    write_table(table, tmp_path / "t.parquet")
    files = OpenImagesFiles(class_descriptions=tmp_path / "classes.csv")
    command(tmp_path / "t.parquet", ground_truth=tmp_path / "boxes.csv", output=tmp_path / "m.toml", open_images=files)
    (values,) = (entry["value"] for entry in read_learned(tmp_path / "m.toml", "maps")[0].values())
    assert min(values) > 0.99  # every detection finds its object


@pytest.mark.parametrize("given", [{"kind": "linear"}, {"per_category": True}, {"kind": "rank"}, {"target": 0.5}])
def test_pieces_of_a_table_give_the_map_of_the_whole(simulation, given):
    (truth, _), tables = simulation
    ids = tables[1].image_ids
    pieces = [tables[1].select_images(some) for some in (ids[:150], ids[150:150], ids[150:])]
    prepared = prepare(truth)
    assert learn_calibration(iter(pieces), prepared, **given) == learn_calibration(tables[1], prepared, **given)


def test_folders_are_learned_from_part_by_part(simulation, tmp_path, monkeypatch):
    (truth, _), tables = simulation
    monkeypatch.setattr("evaluation.cli.learn.prepared_truth", lambda *_: (truth, prepare(truth)))
    ids = np.intersect1d(tables[0].image_ids, truth.image_id)
    said = {}
    for name, parts in (("file.parquet", None), ("folder", 3)):
        for number in range(2):
            write_table(tables[number].select_images(ids), tmp_path / str(number) / name, parts=parts)
        members = [tmp_path / str(number) / name for number in range(2)]
        if parts:
            monkeypatch.setattr("evaluation.cli.learn.read_member", None)  # which reads the whole
        for what, learn in (("maps", command), ("weights", learn_weights)):
            learn(*members, ground_truth=tmp_path / "truth.json", output=tmp_path / "learned.toml")
            said.setdefault(what, []).append((tmp_path / "learned.toml").read_text())
    assert len(set(said["weights"])) == 1
    first, second = (tomllib.loads(text)["maps"] for text in said["maps"])
    for name, found in first.items():  # scores of a folder come in another order, and sums of them
        for column in ("score", "value"):
            assert second[name][column] == pytest.approx(found[column], abs=1e-12)


def test_the_best_of_all_detections_are_not_known_from_pieces(simulation):
    (truth, _), tables = simulation
    images = len(truth.image_id)
    none = Labels(np.zeros(images + 1, np.int64), np.zeros(0, np.int32))
    labels = {"negative": none, "not_exhaustive": none, "frequency": ("f",) * 8}
    prepared = prepare(replace(truth, **labels), Lvis(fixed_ap=True))
    with pytest.raises(InputError, match="all detections at once"):
        learn_calibration([tables[0]], prepared)


@pytest.mark.skipif(not MVOR.is_dir(), reason="the MVOR files are not beside the checkout (../shared/data)")
def test_mvor_scores_that_differ_by_five_hundred():
    truth = read_coco(MVOR / "annotations" / "camma_mvor_2018.json")
    learn, verify = (truth.subset(truth.image_id[part::2]) for part in (0, 1))
    names = ("faster_rcnn_bbox", "dfcnet_rfcn_bbox", "rtpose_bbox")
    tables = [
        read_coco_results(
            MVOR / "detections_results" / f"{name}.json", vocabulary=truth.vocabulary, metadata=Metadata(member=name)
        )
        for name in names
    ]
    maps = {name: learn_calibration(table, learn) for name, table in zip(names, tables, strict=True)}
    assert all(isinstance(one, ScoreMap) for one in maps.values())
    shown = [table.select_images(verify.image_id) for table in tables]
    raw = evaluate(Recipe.chain([Nms(iou=0.6)]).fuse(shown), verify).AP
    calibrated = evaluate(Recipe.chain([Calibrate(maps=maps), Nms(iou=0.6)]).fuse(shown), verify).AP
    assert calibrated > raw + 0.1
    for name, table in zip(names, shown, strict=True):
        assert evaluate(calibrate(table, maps={name: maps[name]}), verify).stats == evaluate(table, verify).stats
