"""Results that go into parts piece by piece, by way of the disk, against the same ones read as a whole."""

import json

import numpy as np
import pytest

from evaluation import results as reading_results
from evaluation.results import deal_results, read_results, write_results
from fusion import reparting
from fusion.coco_results import raw, writer
from fusion.errors import InputError
from fusion.storage import read_table, write_table
from fusion.table import Metadata
from tests.evaluation.cases import ground_truth, random_case


@pytest.fixture
def little_memory(monkeypatch):
    monkeypatch.setattr(raw, "_IN_MEMORY", 50)
    monkeypatch.setattr(reading_results, "_ROWS", 70)
    monkeypatch.setattr(reparting, "_ROWS", 40)


def written(path, *, masks, boxless=False):
    dataset, found = random_case(5, images=12, masks=masks, results=300)
    for number, row in enumerate(found):
        if row.pop("bitmap", None) is not None:
            row["segmentation"]["size"] = [40, 50]
            row["segmentation"]["counts"] = [1000, 4, 996] if number % 3 else [2000]
        if boxless or (masks and number % 5 == 0):
            del row["bbox"]
        elif masks and number % 7 == 0:
            del row["segmentation"]
    path.write_text(json.dumps(found))
    return ground_truth(dataset), found


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("masks", [False, True])
@pytest.mark.parametrize("joined", [False, True])
def test_parts_hold_what_the_whole_is(tmp_path, masks, joined):
    truth, _ = written(tmp_path / "r.json", masks=masks, boxless=masks and joined)
    options = {
        "truth": truth if joined else None,
        "unknown_categories": "drop" if joined else "error",
        "metadata": Metadata(member="m"),
        "as_is": True,
    }
    whole = read_results(tmp_path / "r.json", **options)
    metadata, rows, images = deal_results(tmp_path / "r.json", **options, output=tmp_path / "t", parts=3)
    table = read_table(tmp_path / "t")
    assert table.arrow.equals(whole.arrow)
    assert metadata == table.metadata == whole.metadata
    assert metadata.boxes == ("from_masks" if masks and joined else "given")
    assert (rows, images) == (len(whole), len(whole.image_ids))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.json", "t"]


@pytest.mark.usefixtures("little_memory")
def test_faults_are_said_as_of_the_whole(tmp_path):
    truth, found = written(tmp_path / "r.json", masks=False)
    found[7]["bbox"][2] = -1.0
    found[250]["bbox"][3] = -2.0
    found[120]["image_id"] = 1
    (tmp_path / "r.json").write_text(json.dumps(found))
    said = []
    for read, options in ((read_results, {}), (deal_results, {"output": tmp_path / "t", "parts": 3})):
        with pytest.raises(InputError) as error:
            read(tmp_path / "r.json", truth, as_is=True, **options)
        said.append(str(error.value))
    assert said[0] == said[1]
    assert "record 7" in said[0]
    assert [path.name for path in tmp_path.iterdir()] == ["r.json"]


def test_columns_on_disk_are_those_in_memory(tmp_path, monkeypatch):
    _, found = written(tmp_path / "r.json", masks=True)
    codes = [raw.counted(np.array([row["category_id"] for row in found]), 1000)]
    monkeypatch.setattr(raw, "_IN_MEMORY", 7)
    codes.append(raw.counted(np.array([row["category_id"] for row in found]), 1000))
    assert np.array_equal(*codes)
    assert codes[0].sum() == 300


@pytest.mark.parametrize("boxless", [False, True])
def test_exports_of_files_and_folders_are_those_of_the_table(tmp_path, monkeypatch, boxless):
    monkeypatch.setattr(writer, "_ROWS", 23)
    written(tmp_path / "r.json", masks=True, boxless=boxless)
    table = read_results(tmp_path / "r.json", None)
    write_table(table, tmp_path / "t.parquet")
    write_table(table, tmp_path / "t", parts=3)
    for name, given in (("a", table), ("b", tmp_path / "t.parquet"), ("c", tmp_path / "t")):
        write_results(given, tmp_path / f"{name}.json", "coco")
    a, b, c = ((tmp_path / f"{name}.json").read_bytes() for name in "abc")
    assert a == b == c
    assert ("bbox" in json.loads((tmp_path / "a.json").read_text())[0]) != boxless
