"""An evaluation part by part against that of the whole table: every entry of every array, and replicates, are equal."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import quorum
from evaluation import Coco, Lvis, prepare, stored
from evaluation.stored import evaluate_stored
from fusion.errors import InputError
from fusion.masks import mask_array
from fusion.storage import write_table
from fusion.table import DetectionTable
from tests.evaluation.cases import arrays, ground_truth, random_case
from tests.evaluation.test_lvis import federated_case, lvis_truth


def table_of(results):
    columns = arrays(results)
    if any("segmentation" in row for row in results):
        found = [row["segmentation"] for row in results]
        height, width = zip(*(one["size"] for one in found), strict=True)
        columns["mask"] = mask_array(height, width, [one["counts"] for one in found])
    return DetectionTable.from_arrays(**columns).with_metadata(member="m")


def check_equal(found, whole, images):
    for name in ("precision", "recall", "scores", "best_precision", "detections", "truths"):
        assert np.array_equal(getattr(found, name), getattr(whole, name)), name
    assert found.stats == whole.stats
    assert found.notes == whole.notes
    weights = np.random.default_rng(0).integers(0, 4, (3, images))
    names = ("AP", "AP50", "APs", "AR100") if isinstance(whole.protocol, Coco) else ("AP", "APr", "AR300")
    drawn, expected = (result.resample(weights, names) for result in (found, whole))
    for name in names:
        assert np.array_equal(drawn[name], expected[name], equal_nan=True), name


@pytest.fixture
def small_pieces(monkeypatch):
    """Pieces of about 25 rows, and a category or two at a time."""
    monkeypatch.setattr(stored, "_ROWS", 25)
    monkeypatch.setattr(stored, "_MERGED", 60)


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize(
    ("seed", "protocol"),
    [
        (0, Coco()),
        (1, Coco(use_cats=False)),
        (2, Coco(max_dets=(2, 5, 9))),
        (3, Coco(iou_thresholds=tuple(np.linspace(0.05, 1, 20)))),
        (4, Coco(iou_type="segm")),
    ],
)
def test_coco_by_parts_is_coco(tmp_path, seed, protocol):
    dataset, results = random_case(seed, images=8, categories=4, results=300, masks=protocol.iou_type == "segm")
    prepared, table = prepare(ground_truth(dataset), protocol), table_of(results)
    write_table(table, tmp_path / "parts", parts=3)
    steps = []
    found = evaluate_stored(prepared, tmp_path / "parts", lambda *step: steps.append(step))
    assert steps == [("matching", number, 3) for number in range(3)]
    if protocol.max_dets == (1, 10, 100):
        check_equal(found, prepared.evaluate(table), 8)
    else:
        assert np.array_equal(found.scores, prepared.evaluate(table).scores)
    some = prepared.ground_truth.image_id[::2]
    half = prepare(prepared.ground_truth.subset(some), protocol)
    whole = half.evaluate(table.select_images(some))
    assert np.array_equal(evaluate_stored(half, tmp_path / "parts", images=some).scores, whole.scores)


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("seed", range(2))
def test_lvis_by_parts_is_lvis(tmp_path, seed):
    dataset, results = federated_case(seed, images=6, categories=5, truths=60, results=400)
    prepared, table = prepare(lvis_truth(dataset), replace(Lvis(), max_dets=30)), table_of(results)
    write_table(table, tmp_path / "parts", parts=3)
    found, whole = evaluate_stored(prepared, tmp_path / "parts"), prepared.evaluate(table)
    for name in ("precision", "recall", "scores", "detections"):
        assert np.array_equal(getattr(found, name), getattr(whole, name)), name
    assert found.stats == whole.stats
    fixed = prepare(lvis_truth(dataset), Lvis(fixed_ap=True))
    with pytest.raises(InputError, match="fixed AP"):
        evaluate_stored(fixed, tmp_path / "parts")


def test_what_is_not_there_is_said(tmp_path):
    dataset, results = random_case(3)
    prepared = prepare(ground_truth(dataset))
    write_table(table_of(results), tmp_path / "parts", parts=2)
    found = evaluate_stored(prepared, tmp_path / "parts")
    for ask in (lambda: found.judged, lambda: found.on(np.arange(2)), lambda: found.APtall):
        with pytest.raises(InputError, match="of a table in parts not all are in memory"):
            ask()
    write_table(table_of([]), tmp_path / "none", parts=2)
    assert evaluate_stored(prepared, tmp_path / "none").stats == prepared.evaluate(table_of([])).stats
    for number in range(2):
        write_table(table_of(results), tmp_path / "twice" / f"part-{number:05d}.parquet")
    with pytest.raises(InputError, match="is in another part, too"):
        evaluate_stored(prepared, tmp_path / "twice")


def test_the_command_measures_parts_as_it_measures_the_whole(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    dataset, results = random_case(7, images=8, results=200)
    Path("truth.json").write_text(json.dumps(dataset))
    table = table_of(results)
    write_table(table, "m.parquet")
    write_table(table, "m", parts=4)
    called, said = [], []
    real = stored.evaluate_stored
    monkeypatch.setattr(stored, "evaluate_stored", lambda *a, **o: called.append(a[1]) or real(*a, **o))
    for options in ([], ["--format", "json", "--per-category"], ["--figures", "AP,F1"]):
        for name in ("m", "m.parquet"):
            quorum.main(["evaluate", name, "-g", "truth.json", *options])
            said.append(capsys.readouterr().out.replace("m.parquet", "m").split())
        assert said[-1] == said[-2]
    assert called == [Path("m")] * 2  # F1 needs all detections


def test_replicates_of_parts_are_those_of_the_whole(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    dataset, results = random_case(8, images=8, results=200)
    Path("truth.json").write_text(json.dumps(dataset))
    for kind, parts in (("whole", None), ("cut", 3)):
        for name, rows in (("a", results), ("b", results[::2])):
            write_table(table_of(rows), Path(kind) / f"{name}.parquet", parts=parts)
    called = []
    real = stored.evaluate_stored
    monkeypatch.setattr(stored, "evaluate_stored", lambda *a, **o: called.append(a[1]) or real(*a, **o))
    for command in ("compare", "leaderboard"):
        said = []
        for kind in ("whole", "cut"):
            tables = [f"{kind}/{name}.parquet" for name in "ab"]
            quorum.main([command, *tables, "-g", "truth.json", "--replicates", "20", "--format", "json"])
            said.append(json.loads(capsys.readouterr().out))
        if command == "leaderboard":
            for board in said:
                for line in board["entries"]:
                    del line["bytes"]
        assert said[0] == said[1]
    assert called == [Path("cut/a.parquet"), Path("cut/b.parquet")] * 2
