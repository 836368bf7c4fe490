import json
import multiprocessing
import os

import numpy as np
import pytest

from evaluation.coco_ground_truth import read_coco
from fusion.errors import InputError
from fusion.storage import read_table, write_table
from fusion.table import DetectionTable, Metadata
from zoo.cards import member_card
from zoo.config import Model
from zoo.registry import find
from zoo.runs import Figures, Identity, Run, read_json, write_json
from zoo.store import Member, add_figures, find_member, hash_of, list_members, register, write_card

BOX = [10.0, 20.0, 30.0, 40.0]


@pytest.fixture
def truth(tmp_path):
    document = {
        "images": [{"id": image, "width": 100, "height": 100} for image in (1, 2)],
        "categories": [{"id": 3, "name": "cat"}, {"id": 5, "name": "dog"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 3, "bbox": BOX, "area": 1200, "iscrowd": 0},
            {"id": 2, "image_id": 2, "category_id": 3, "bbox": BOX, "area": 1200, "iscrowd": 0},
        ],
    }
    (tmp_path / "truth.json").write_text(json.dumps(document))
    return read_coco(tmp_path / "truth.json")


@pytest.fixture
def results(tmp_path):
    found = [{"image_id": 1, "category_id": 3, "bbox": BOX, "score": 0.9}]
    (tmp_path / "results.json").write_text(json.dumps(found))
    return tmp_path / "results.json"


def trained(folder, variant="md19_r50_cascade", **changes):
    """A folder as a training leaves it, without the weights."""
    config = find(variant).make("tiny") if variant.startswith("md") else Model()
    identity = Identity(variant=variant, model=config.to_dict(), category_ids=(3, 5), category_names=("cat", "dog"))
    run = Run(
        dataset="pets",
        split="train",
        data="f" * 64,
        images=10,
        seed=0,
        processes=1,
        device="cpu",
        parameters=1234,
        step=4,
        steps=8,
        epochs=1.5,
        seconds=61.0,
        losses={"loss": 1.5},
        notes=("a note",),
        versions={"torch": "2"},
        source="abc",
    )
    write_json(identity, folder / "config.json")
    write_json(run, folder / "run.json")
    return folder


def test_a_member_trained_elsewhere(tmp_path, truth, results):
    member = register(tmp_path / "runs", "other", results, truth=truth, split="val", about="From another framework.")
    assert member.name == "other"
    table = read_table(member.tables["val"])
    assert (table.metadata.member, table.metadata.split, len(table)) == ("other", "val", 1)
    assert table.score.tolist() == [0.9]
    figures = member.figures["val", "bbox"]
    assert figures.stats["AP"] == pytest.approx(51 / 101)  # one of two found: precision 1 to recall .5
    assert [(row.name, row.AP) for row in figures.categories] == [("cat", pytest.approx(51 / 101)), ("dog", None)]
    assert member.origin.sha256 == hash_of(results)
    card = (member.folder / "card.md").read_text()
    assert "trained elsewhere. From another framework." in card
    assert "| other | val | bbox | 2 | 50.50 |" in card
    assert "| other | val | bbox | 2 | 66.67 | 100.00 | 0.9 |" in member_card(member, ("F1", "P", "threshold"))
    assert "eported" not in card


def test_a_table_can_be_registered_too_and_without_ground_truth(tmp_path):
    table = DetectionTable.from_arrays(
        image_id=["a"], category_id=[3], score=[0.5], xywh=[BOX], metadata=Metadata(member="x", dataset="pets")
    )
    write_table(table, tmp_path / "test.parquet")
    member = register(tmp_path / "runs", "other", tmp_path / "test.parquet")
    assert member.figures == {}
    assert read_table(member.tables["test"]).metadata.dataset == "pets"


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", ".hidden"])
def test_names_are_names_of_folders(tmp_path, results, name):
    with pytest.raises(InputError, match="--name"):
        register(tmp_path / "runs", name, results)


def test_a_name_is_given_once_and_a_failure_leaves_nothing(tmp_path, results):
    store = tmp_path / "runs"
    register(store, "one", results)
    with pytest.raises(InputError, match="exists already"):
        register(store, "one", results)
    with pytest.raises(InputError):
        register(store, "two", tmp_path / "missing.json")
    assert [path.name for path in store.iterdir()] == ["one"]


def test_figures_of_a_member_trained_here(tmp_path, truth):
    folder = trained(tmp_path / "runs" / "pets-cascade")
    table = DetectionTable.from_arrays(image_id=[1, 2], category_id=[3, 3], score=[0.9, 0.8], xywh=[BOX, BOX])
    write_table(table, folder / "tables" / "val.parquet")
    add_figures(folder, "val", table, truth, "coco")
    figures = read_json(folder / "figures" / "val.bbox.json", Figures)
    assert figures.stats["AP"] == pytest.approx(1.0)
    assert figures.ground_truth == truth.fingerprint
    card = (folder / "card.md").read_text()
    assert "| pets-cascade | val | bbox | 2 | 100.00 |" in card
    assert "so far 4 of 8 steps" in card
    assert "- note: a note" in card
    assert "`tables/val.parquet`" in card
    assert "`backbone.name` = `'test_resnet'`" in card
    # what the authors report stands under a heading of its own, in a table of its own
    measured, _, reported = card.partition("## Reported by the authors of megdetv2-coco2019, not reproduced")
    assert "| 40.2 |" in reported
    assert "100.00" in measured
    assert "40.2" not in measured
    assert "100.00" not in reported


def test_the_store_lists_its_members(tmp_path, results):
    assert list_members(tmp_path / "runs") == []
    trained(tmp_path / "runs" / "b")
    register(tmp_path / "runs", "a", results)
    (tmp_path / "runs" / "no-member").mkdir()
    assert [member.name for member in list_members(tmp_path / "runs")] == ["a", "b"]
    assert find_member(tmp_path / "runs", "b").identity.variant == "md19_r50_cascade"
    with pytest.raises(InputError, match=r"has no member 'c'.*It has a, b"):
        find_member(tmp_path / "runs", "c")
    with pytest.raises(InputError, match="is no member"):
        Member.read(tmp_path / "runs" / "no-member")


def test_a_variant_of_ones_own_has_a_card(tmp_path):
    folder = trained(tmp_path / "mine", variant="my-model")
    write_card(folder)
    assert "Variant `my-model`, which is not in the registry." in (folder / "card.md").read_text()


def _race(store, results, number, ready):
    ready.wait()
    try:
        register(store, "same", results, split=f"split-{number}")
    except InputError:
        os._exit(3)
    os._exit(0)


def _measure(folder, truth, number, ready):
    ready.wait()
    table = DetectionTable.from_arrays(image_id=[1], category_id=[3], score=[0.9], xywh=[np.array(BOX)])
    add_figures(folder, f"split-{number}", table, truth, "coco")
    os._exit(0)


def _together(target, *arguments):
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(4)
    processes = [context.Process(target=target, args=(*arguments, number, ready)) for number in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    return sorted(process.exitcode for process in processes)


def test_of_several_writers_of_one_name_one_wins(tmp_path, results):
    assert _together(_race, tmp_path / "runs", results) == [0, 3, 3, 3]
    member = find_member(tmp_path / "runs", "same")
    assert len(member.tables) == 1
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["same"]


def test_the_last_card_has_what_all_writers_measured(tmp_path, truth):
    folder = trained(tmp_path / "runs" / "m")
    assert _together(_measure, folder, truth) == [0, 0, 0, 0]
    card = (folder / "card.md").read_text()
    assert all(f"| m | split-{number} | bbox |" in card for number in range(4))
    assert sorted(path.name for path in folder.iterdir()) == [".lock", "card.md", "config.json", "figures", "run.json"]
