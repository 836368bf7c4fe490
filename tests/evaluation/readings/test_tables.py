"""A table that agrees with the ground truth in hardly any box is measured with a word about it."""

from pathlib import Path

import numpy as np
import pytest

from evaluation import read_coco
from evaluation.readings import check_table
from fusion.coco_results import read_coco_results
from tests.evaluation.readings.cases import BOXES, box, data_set, results, write

DATA = Path(__file__).parents[4] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the real files are not beside the checkout (../shared/data)")


def table_of(tmp_path, truth, records):
    gt, path = write(tmp_path, truth, records)
    return read_coco_results(path), read_coco(gt)


def turned(truth):
    ids = [category["id"] for category in truth["categories"]]
    other = dict(zip(ids, ids[1:] + ids[:1], strict=True))
    return results(truth, category_id=lambda a, i, r: other[r["category_id"]])


@pytest.mark.parametrize("seed", range(1, 6))
def test_what_is_said_of_tables(tmp_path, seed):
    truth = data_set(seed)
    assert check_table(*table_of(tmp_path, truth, results(truth))) == []
    assert check_table(*table_of(tmp_path, truth, [])) == ["it has no detections on these images"]
    assert check_table(*table_of(tmp_path, truth, results(truth)[:19])) == []
    (note,) = check_table(*table_of(tmp_path, truth, results(truth, **box(BOXES["cxcywh"]))))
    assert "meet an object of any category" in note
    (note,) = check_table(*table_of(tmp_path, truth, turned(truth)))
    assert "of its category" in note


@needs_data
def test_detectors_of_mvor():
    truth = read_coco(DATA / "mvor/annotations/camma_mvor_2018.json")
    for path in sorted((DATA / "mvor/detections_results").glob("*.json")):
        table = read_coco_results(path)
        assert check_table(table, truth) == []
        half = truth.subset(truth.image_id[::2])
        assert check_table(table, half) == []
        assert check_table(table.select_images(np.array([-1])), truth) == ["it has no detections on these images"]


def test_commands_say_it(tmp_path, run):
    truth = data_set(1)
    gt, path = write(tmp_path, truth, results(truth, **box(BOXES["yxyx"])))
    table = tmp_path / "t.parquet"
    assert run("import", path, "-o", table)[0] == 0  # without a ground truth nothing can be told
    for command in (["evaluate"], ["leaderboard"]):
        code, _, err = run(*command, table, "-g", gt)
        assert code == 0
        assert "meet an object of any category" in err
        assert "`quorum import ... -g` looks for what is wrong" in err
