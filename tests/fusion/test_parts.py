import numpy as np
import pytest

from fusion import parts
from fusion.errors import InputError
from fusion.nms import Nms
from fusion.parts import fuse_files
from fusion.recipe import Recipe
from fusion.storage import read_table, write_table
from fusion.table import DetectionTable

RECIPE = Recipe.chain([Nms()])


def member(name, seed, ids=int):
    rng = np.random.default_rng(seed)
    n = 300
    image = rng.integers(1, 40, n)
    return DetectionTable.from_arrays(
        image_id=image if ids is int else image.astype(str),
        category_id=rng.integers(1, 4, n),
        score=rng.random(n),
        xywh=np.concatenate([rng.random((n, 2)) * 50, 20 + rng.random((n, 2)) * 30], axis=1),
    ).with_metadata(member=name)


@pytest.mark.parametrize("ids", [int, str])
def test_parts_give_what_whole_tables_give(tmp_path, ids):
    tables = [member(name, seed, ids) for seed, name in enumerate("ab")]
    for name, table in zip("ab", tables, strict=True):
        write_table(table, tmp_path / name, parts=4)
        write_table(table, tmp_path / f"{name}.parquet")
    one = fuse_files(RECIPE, [tmp_path / "a", tmp_path / "b"], tmp_path / "out")
    two = fuse_files(RECIPE, [tmp_path / "a.parquet", tmp_path / "b.parquet"], tmp_path / "out.parquet")
    assert read_table(tmp_path / "out").arrow.equals(read_table(tmp_path / "out.parquet").arrow)
    assert one.detections_in == two.detections_in == 600
    assert one.detections_out == two.detections_out
    assert "recipe = 1" in read_table(tmp_path / "out").metadata.made_by["recipe"]
    mixed = fuse_files(RECIPE, [tmp_path / "a", tmp_path / "b.parquet"], tmp_path / "mixed.parquet")
    assert mixed.detections_out == one.detections_out


def test_interrupted_run_is_taken_up_again(tmp_path, monkeypatch):
    for seed, name in enumerate("ab"):
        write_table(member(name, seed), tmp_path / name, parts=4)
    inputs = [tmp_path / "a", tmp_path / "b"]
    written = []
    real = parts.write_table

    def failing(table, path, **options):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(path)
        real(table, path, **options)

    monkeypatch.setattr(parts, "write_table", failing)
    with pytest.raises(KeyboardInterrupt):
        fuse_files(RECIPE, inputs, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr(parts, "write_table", real)
    report = fuse_files(RECIPE, inputs, tmp_path / "out")
    assert "2 parts were taken from an interrupted run" in report.notes[0]
    assert not (tmp_path / "out.unfinished").exists()
    fuse_files(RECIPE, inputs, tmp_path / "fresh")
    assert read_table(tmp_path / "out").arrow.equals(read_table(tmp_path / "fresh").arrow)


def test_another_recipe_does_not_take_up_old_parts(tmp_path, monkeypatch):
    for seed, name in enumerate("ab"):
        write_table(member(name, seed), tmp_path / name, parts=2)
    inputs = [tmp_path / "a", tmp_path / "b"]
    monkeypatch.setattr(parts.Path, "rename", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        fuse_files(RECIPE, inputs, tmp_path / "out")
    monkeypatch.undo()
    report = fuse_files(Recipe.chain([Nms(iou=0.9)]), inputs, tmp_path / "out")
    assert report.notes == ()


def test_existing_folder_is_not_overwritten(tmp_path):
    write_table(member("a", 0), tmp_path / "a", parts=2)
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match="exists already"):
        fuse_files(RECIPE, [tmp_path / "a"], tmp_path / "out")


def test_unused_tables_are_named(tmp_path):
    for seed, name in enumerate("ab"):
        write_table(member(name, seed), tmp_path / f"{name}.parquet")
    from fusion.recipe_toml import parse_recipe

    recipe = parse_recipe('recipe = 1\n[nodes.output]\nstep = "nms"\ninputs = ["a"]\n')
    report = fuse_files(recipe, [tmp_path / "a.parquet", tmp_path / "b.parquet"], tmp_path / "out.parquet")
    assert report.notes == ("the recipe does not use b",)
