"""The device of a fusion of files."""

import pytest

from fusion import run as running
from fusion.errors import InputError
from fusion.parts import fuse_files
from fusion.recipe import Recipe
from fusion.steps.nms import Nms
from fusion.storage import read_table, write_table
from tests.fusion.cuda.test_twins import scene


def test_fuse_files(backend, tmp_path):
    paths = [tmp_path / f"{table.metadata.member}.parquet" for table in scene(1, 12)]
    for path, table in zip(paths, scene(1, 12), strict=True):
        write_table(table, path)
    recipe = Recipe.chain([Nms()])
    for name, device in (("there", backend), ("here", "cpu")):
        fuse_files(recipe, paths, tmp_path / f"{name}.parquet", device=device)
    assert read_table(tmp_path / "there.parquet").arrow.equals(read_table(tmp_path / "here.parquet").arrow)


def test_a_note_says_where_auto_went(monkeypatch, tmp_path):
    def refuse():
        raise InputError("device cuda", "no GPU can be used")

    monkeypatch.setattr(running, "_require_gpu", refuse)
    [table, *_] = scene(1, 12)
    write_table(table, tmp_path / "a.parquet")
    report = fuse_files(Recipe.chain([Nms()]), [tmp_path / "a.parquet"], tmp_path / "out.parquet", device="auto")
    assert report.notes == ("fused on the CPU: no GPU can be used",)
    with pytest.raises(InputError, match="no GPU can be used"):
        fuse_files(Recipe.chain([Nms()]), [tmp_path / "a.parquet"], tmp_path / "out.parquet", device="cuda")


def test_a_step_without_a_twin_says_so(backend, monkeypatch, tmp_path):
    if backend == "cpu":
        pytest.skip("there is nothing to say on the CPU")
    from fusion.cuda import steps

    monkeypatch.delitem(steps.TWINS, Nms)
    monkeypatch.setattr(running, "_said", set())
    [table, *_] = scene(1, 12)
    with pytest.warns(UserWarning, match="nms runs on the CPU: it has no twin on the GPU"):
        fused = Recipe.chain([Nms()]).fuse([table], device="cuda")
    assert fused.arrow.equals(Recipe.chain([Nms()]).fuse([table]).arrow)
    write_table(table, tmp_path / "a.parquet")
    report = fuse_files(Recipe.chain([Nms()]), [tmp_path / "a.parquet"], tmp_path / "out.parquet", device="cuda")
    assert "nms runs on the CPU: it has no twin on the GPU" in report.notes
