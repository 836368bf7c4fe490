"""A member's file is read as what it is, beside a ground truth or a file of one."""

import msgspec
import pytest

import quorum
from evaluation import read_coco
from fusion.errors import InputError
from fusion.storage import write_table
from zoo.synthetic.simulated import Scenario, Skill, simulate


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("loading")
    simulate(Scenario(images=40, categories=3), [Skill(name="a")], 1).write(place)
    return place


def test_results_and_tables_are_read_alike(folder, tmp_path):
    truth = read_coco(folder / "ground_truth.json")
    table = quorum.load(folder / "a.json", truth)
    assert table.metadata.member == "a"
    assert table.metadata.images == truth.image_sketch
    write_table(table, tmp_path / "b.parquet")
    for again in (
        quorum.load(str(folder / "a.json"), folder / "ground_truth.json"),
        quorum.load(tmp_path / "b.parquet", truth),
        quorum.load(tmp_path / "b.parquet"),
        quorum.load(folder / "a.json"),
    ):
        assert again.arrow.equals(table.arrow)


def test_names_become_ids_and_other_boxes_are_found_out(folder, tmp_path):
    truth = read_coco(folder / "ground_truth.json")
    records = msgspec.json.decode((folder / "a.json").read_bytes())
    names = dict(zip(truth.category_id.tolist(), truth.category_name, strict=True))
    named = [{**record, "category_id": names[record["category_id"]]} for record in records]
    (tmp_path / "named.json").write_bytes(msgspec.json.encode(named))
    assert quorum.load(tmp_path / "named.json", truth).arrow.equals(quorum.load(folder / "a.json").arrow)
    for record in records:
        x, y, w, h = record["bbox"]
        record["bbox"] = [x, y, x + w, y + h]
    (tmp_path / "corners.json").write_bytes(msgspec.json.encode(records))
    with pytest.raises(InputError, match="xyxy"):
        quorum.load(tmp_path / "corners.json", truth)


def test_a_folder_of_parts_is_a_table(folder, tmp_path):
    table = quorum.load(folder / "a.json")
    write_table(table, tmp_path / "parts", parts=2)
    again = quorum.load(tmp_path / "parts", folder / "ground_truth.json")
    assert again.metadata.member == "a"
    assert again.score.tobytes() == table.score.tobytes()
