"""What runs the parts of a fusion elsewhere, one of its processes being killed: each part once, to the last byte."""

import os
import signal
import sys
from contextlib import contextmanager

import pytest

from benchmarks.clusters import dask_cluster, ray_cluster
from fusion import parts
from fusion.engines import engine_of
from fusion.errors import InputError
from fusion.one_part import make_part
from fusion.parts import fuse_files
from fusion.recipe import Recipe
from fusion.row_groups import rows_of
from fusion.shards import Shard
from fusion.steps.wbf import Wbf
from fusion.storage import write_table
from tests.fusion.test_parts import member

RECIPE = Recipe.chain([Wbf()])


def deadly(task):
    """Make a part; a process that finds a flag of it takes that away and is killed, before it or after."""
    moment = None
    for name in ("before", "after"):
        flag = task.work.parent / f"{name}-{task.part.number}"
        if flag.exists():
            flag.unlink()
            moment = name
    if moment == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    make_part(task)
    if moment == "after":
        os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def on_workers():
    yield {"workers": 2}


@contextmanager
def on_dask():
    pytest.importorskip("distributed")
    with dask_cluster(2) as address:
        yield {"executor": address}


@contextmanager
def on_ray():
    pytest.importorskip("ray")
    with ray_cluster(2) as address:
        yield {"executor": address}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of these packages
@pytest.mark.parametrize("cluster", [on_workers, on_dask, on_ray])
def test_a_killed_worker_is_replaced_and_its_part_is_the_serial_runs(tmp_path, monkeypatch, cluster):
    for seed, name in enumerate("ab"):
        write_table(member(name, seed), tmp_path / name, parts=5)
    inputs = [tmp_path / "a", tmp_path / "b"]
    fuse_files(RECIPE, inputs, tmp_path / "serial")
    expected = {path.name: path.read_bytes() for path in (tmp_path / "serial").iterdir()}
    monkeypatch.setattr(parts, "make_part", deadly)
    with cluster() as given:
        for flag in ("before-1", "after-3"):
            (tmp_path / flag).touch()
        report = fuse_files(RECIPE, inputs, tmp_path / "out", **given)
        assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == expected
        assert report.detections_in == 600
        assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "out", "serial"]
        spoiled = min((tmp_path / "b").iterdir(), key=rows_of)  # this process looks at the largest
        content = bytearray(spoiled.read_bytes())
        content[100] ^= 1
        spoiled.write_bytes(content)
        with pytest.raises(InputError, match=f"{spoiled.name}: is damaged"):
            fuse_files(RECIPE, inputs, tmp_path / "more", **given)


def test_engines_are_chosen_by_what_is_given(tmp_path):
    assert engine_of(None, None) is None
    assert engine_of(1, None) is None
    for workers, executor, why in (
        (2, "dask://there:1", "were both given"),
        (0, None, "workers"),
        (None, "spark://there:1", "expected dask://HOST:PORT or ray://HOST:PORT"),
        (None, "dask://", "expected dask://HOST:PORT or ray://HOST:PORT"),
    ):
        with pytest.raises(InputError, match=why):
            engine_of(workers, executor)
    write_table(member("a", 0), tmp_path / "a.parquet")
    with pytest.raises(InputError, match="makes a folder part by part"):
        fuse_files(RECIPE, [tmp_path / "a.parquet"], tmp_path / "out.parquet", workers=2)


def test_what_an_engine_lacks_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(InputError, match=r'pip install "quorum-detection\[dask\]"'):
        engine_of(None, "dask://there:1")


def test_shares_go_by_an_engine_too(tmp_path, monkeypatch):
    def backwards(task, items):
        for number in reversed(range(len(items))):
            task(items[number])
            yield number

    monkeypatch.setattr(parts, "engine_of", lambda *_: backwards)
    for seed, name in enumerate("ab"):
        write_table(member(name, seed), tmp_path / name, parts=3)
    inputs = [tmp_path / "a", tmp_path / "b"]
    fuse_files(RECIPE, inputs, tmp_path / "out", shard=Shard(1, 2))
    fuse_files(RECIPE, inputs, tmp_path / "out", shard=Shard(0, 2))
    monkeypatch.undo()
    fuse_files(RECIPE, inputs, tmp_path / "serial")
    for path in (tmp_path / "serial").iterdir():
        assert path.read_bytes() == (tmp_path / "out" / path.name).read_bytes()
