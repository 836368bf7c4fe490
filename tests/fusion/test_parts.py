import multiprocessing
import shutil
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from fusion import one_part, parts, reparting
from fusion.errors import InputError
from fusion.parts import fuse_files
from fusion.recipe import Recipe
from fusion.shards import Shard
from fusion.steps.nms import Nms
from fusion.steps.wbf import Wbf
from fusion.storage import read_metadata, read_pieces, read_table, write_table
from fusion.table import DetectionTable, Part

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


def test_what_comes_out_may_be_a_member_of_its_own(tmp_path):
    tables = [member(name, seed) for seed, name in enumerate("ab")]
    for name, table in zip("ab", tables, strict=True):
        write_table(table, tmp_path / name, parts=2)
    inputs = [tmp_path / "a", tmp_path / "b"]
    fuse_files(RECIPE, inputs, tmp_path / "plain")
    fuse_files(RECIPE, inputs, tmp_path / "group", member="group")
    fuse_files(RECIPE, inputs, tmp_path / "group.parquet", member="group")
    plain, group, whole = (read_table(tmp_path / name) for name in ("plain", "group", "group.parquet"))
    assert set(plain.member.to_pylist()) == {"a", "b"}
    assert group.member is whole.member is None
    assert group.metadata.member == whole.metadata.member == "group"
    assert group.arrow.equals(whole.arrow)
    assert group.arrow.equals(plain.arrow.drop_columns(["member"]))
    again = fuse_files(Recipe.chain([Wbf()]), [tmp_path / "group", tmp_path / "a"], tmp_path / "again")  # no two a's
    assert again.detections_out > 0


def test_interrupted_run_is_taken_up_again(tmp_path, monkeypatch):
    for seed, name in enumerate("ab"):
        write_table(member(name, seed), tmp_path / name, parts=4)
    inputs = [tmp_path / "a", tmp_path / "b"]
    written = []
    real = one_part.write_table

    def failing(table, path, **options):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(path)
        real(table, path, **options)

    monkeypatch.setattr(one_part, "write_table", failing)
    with pytest.raises(KeyboardInterrupt):
        fuse_files(RECIPE, inputs, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr(one_part, "write_table", real)
    report = fuse_files(RECIPE, inputs, tmp_path / "out")
    assert "2 of 4 parts were there already" in report.notes[-1]
    assert report.detections_in == 600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "out"]
    assert len(list((tmp_path / "out").iterdir())) == 4
    fuse_files(RECIPE, inputs, tmp_path / "fresh")
    assert read_table(tmp_path / "out").arrow.equals(read_table(tmp_path / "fresh").arrow)


def test_parts_of_another_recipe_are_neither_taken_up_nor_deleted(tmp_path, monkeypatch):
    for seed, name in enumerate("ab"):
        write_table(member(name, seed), tmp_path / name, parts=2)
    inputs = [tmp_path / "a", tmp_path / "b"]
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            fuse_files(RECIPE, inputs, tmp_path / "out")
    (work,) = tmp_path.glob("out.*.unfinished")
    finished = {path.name: path.read_bytes() for path in work.iterdir()}
    report = fuse_files(Recipe.chain([Nms(iou=0.9)]), inputs, tmp_path / "out")
    assert any(str(work) in note for note in report.notes)
    assert {path.name: path.read_bytes() for path in work.iterdir()} == finished
    shutil.rmtree(tmp_path / "out")
    report = fuse_files(RECIPE, inputs, tmp_path / "out")
    assert "2 of 2 parts were there already" in report.notes[-1]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["part-00000.parquet", "part-00001.parquet"]


def test_only_parts_whose_inputs_have_changed_are_made_again(tmp_path, monkeypatch):
    for seed, name in enumerate("ab"):
        write_table(member(name, seed), tmp_path / name, parts=3)
    inputs = [tmp_path / "a", tmp_path / "b"]
    with monkeypatch.context() as patch:
        patch.setattr(parts, "put_in_place", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            fuse_files(RECIPE, inputs, tmp_path / "out")
    copied = (tmp_path / "a" / "part-00000.parquet").read_bytes()
    (tmp_path / "a" / "part-00000.parquet").write_bytes(copied)  # another time, the same content
    changed = tmp_path / "b" / "part-00001.parquet"
    table = read_table(changed)
    write_table(table.with_scores(table.score / 2), changed, part=table.metadata.part)
    report = fuse_files(RECIPE, inputs, tmp_path / "out")
    assert "2 of 3 parts were there already" in report.notes[-1]
    whole = RECIPE.fuse([read_table(path) for path in inputs])
    assert read_table(tmp_path / "out").arrow.equals(whole.arrow)
    for _ in range(2):  # what is there already, of the same recipe and inputs, is done
        assert fuse_files(RECIPE, inputs, tmp_path / "out").detections_out == len(whole)
    with pytest.raises(InputError, match="exists already"):
        fuse_files(Recipe.chain([Nms(iou=0.9)]), inputs, tmp_path / "out")


def test_several_at_one_output_make_each_part_once(tmp_path, monkeypatch):
    for seed, name in enumerate("ab"):
        write_table(member(name, seed), tmp_path / name, parts=8)
    inputs, written, real = [tmp_path / "a", tmp_path / "b"], [], one_part.write_table
    together = threading.Barrier(3)

    def slow(table, path, **options):
        written.append(path.name)
        if len(written) <= 3:
            together.wait(20)  # all three are at a part of their own at the same time
        real(table, path, **options)

    monkeypatch.setattr(one_part, "write_table", slow)
    monkeypatch.setattr(one_part, "PAUSE", 0.01)
    with ThreadPoolExecutor(3) as pool:
        runs = [pool.submit(fuse_files, RECIPE, inputs, tmp_path / "out") for _ in range(3)]
        reports = [run.result() for run in runs]
    assert sorted(written) == [f"part-{number:05d}.parquet" for number in range(8)]
    whole = RECIPE.fuse([read_table(path) for path in inputs])
    assert read_table(tmp_path / "out").arrow.equals(whole.arrow)
    assert {(report.detections_in, report.detections_out) for report in reports} == {(600, len(whole))}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "out"]
    assert len(list((tmp_path / "out").iterdir())) == 8


@pytest.mark.slow
def test_processes_killed_at_any_moment_lose_and_change_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("QUORUM_THREADS", "1")  # no threads, which a fork does not have
    for seed, name in enumerate("ab"):
        write_table(member(name, seed), tmp_path / name, parts=12)
    inputs, context = [tmp_path / "a", tmp_path / "b"], multiprocessing.get_context("fork")
    begun = time.perf_counter()
    fuse_files(RECIPE, inputs, tmp_path / "serial")
    took = time.perf_counter() - begun
    expected = {path.name: path.read_bytes() for path in (tmp_path / "serial").iterdir()}
    rng, killed = np.random.default_rng(0), 0
    for turn in range(12):
        out = tmp_path / f"out{turn}"
        for _ in range(2):
            workers = [context.Process(target=fuse_files, args=(RECIPE, inputs, out)) for _ in range(2)]
            for worker in workers:
                worker.start()
            time.sleep(rng.random() * took)
            for worker in workers:
                worker.kill()
                worker.join()
                killed += worker.exitcode == -signal.SIGKILL
        fuse_files(RECIPE, inputs, out)
        assert {path.name: path.read_bytes() for path in out.iterdir() if path.suffix == ".parquet"} == expected
        left = [path for path in tmp_path.iterdir() if path.name.startswith((f"out{turn}.", f".out{turn}."))]
        assert left == []
    assert killed  # others were done before


def test_shares_make_the_output_together(tmp_path):
    for seed, name in enumerate("ab"):
        write_table(member(name, seed), tmp_path / name, parts=5)
    inputs, out = [tmp_path / "a", tmp_path / "b"], tmp_path / "out"
    done = []
    for text in ("3/3", "1/3", "2/3"):
        assert not out.exists()
        done.append(fuse_files(RECIPE, inputs, out, shard=Shard.parse(text)))
    assert "1 of 5 parts are done" in done[0].notes[-1]
    assert "2 of 5 parts are done" in done[1].notes[-1]
    whole = RECIPE.fuse([read_table(path) for path in inputs])
    assert read_table(out).arrow.equals(whole.arrow)
    assert (done[2].detections_in, done[2].detections_out) == (600, len(whole))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "out"]
    assert fuse_files(RECIPE, inputs, out, shard=Shard(0, 3)).detections_out == len(whole)
    write_table(member("c", 2), tmp_path / "c.parquet")
    with pytest.raises(InputError, match="folders that are cut alike"):
        fuse_files(RECIPE, [tmp_path / "a", tmp_path / "c.parquet"], tmp_path / "more", shard=Shard(0, 2))


def test_shares_are_read_from_the_option_or_the_environment():
    assert Shard.parse("2/7") == Shard(1, 7)
    assert [Shard(k, 3).of(7) for k in range(3)] == [[0, 3, 6], [1, 4], [2, 5]]
    slurm = {"SLURM_PROCID": "1", "SLURM_NTASKS": "4"}
    array = slurm | {"SLURM_ARRAY_TASK_ID": "6", "SLURM_ARRAY_TASK_COUNT": "3", "SLURM_ARRAY_TASK_MIN": "5"}
    torchrun = slurm | {"RANK": "3", "WORLD_SIZE": "8"}
    assert [Shard.parse("auto", said) for said in (slurm, array, torchrun)] == [Shard(1, 4), Shard(1, 3), Shard(3, 8)]
    pod = {"JOB_COMPLETION_INDEX": "2"}
    assert [Shard.parse("auto/5", said) for said in (pod, slurm, torchrun)] == [Shard(2, 5), Shard(1, 5), Shard(3, 5)]
    stepped = array | {"SLURM_ARRAY_TASK_STEP": "4", "SLURM_ARRAY_TASK_ID": "13"}  # --array=5-13:4
    assert Shard.parse("auto", stepped) == Shard(2, 3)
    for wrong in ("0/3", "4/3", "1", "a/b", "auto", "auto/3"):
        with pytest.raises(InputError, match="option shard"):
            Shard.parse(wrong, {})
    for text, said, why in (
        ("auto", pod, "Give auto/N, where N is the number of completions"),
        ("auto/2", pod, "JOB_COMPLETION_INDEX is 2, and there are 2"),
        ("auto", {"RANK": "x", "WORLD_SIZE": "2"}, "are no numbers: x, 2"),
        ("auto", array | {"SLURM_ARRAY_TASK_ID": "9"}, "SLURM_ARRAY_TASK_ID is 9, and there are 3"),
    ):
        with pytest.raises(InputError, match=why):
            Shard.parse(text, said)


@pytest.mark.parametrize("ids", [int, str])
def test_pieces_of_a_part_give_what_the_part_gives(monkeypatch, ids):
    tables = [member(name, seed, ids) for seed, name in enumerate("abc")]
    for recipe in (RECIPE, Recipe.chain([Wbf()])):
        whole = recipe.fuse(tables)
        for rows in (1, 50, 333):
            monkeypatch.setattr(one_part, "_PIECE", rows)
            assert one_part.fuse_in_pieces(recipe, tables, "cpu").arrow.equals(whole.arrow)


@pytest.mark.parametrize("ids", [int, str])
def test_tables_of_unequal_numbers_of_parts_are_cut_alike(tmp_path, ids):
    tables = [member(name, seed, ids) for seed, name in enumerate("abc")]
    inputs = [tmp_path / "a", tmp_path / "b", tmp_path / "c.parquet"]
    write_table(tables[0], inputs[0], parts=4)
    write_table(tables[1], inputs[1], parts=3)
    write_table(tables[2], inputs[2])
    report = fuse_files(RECIPE, inputs, tmp_path / "out")
    assert any(note.startswith("b, c: cut into 4 parts first") for note in report.notes)
    assert len(list((tmp_path / "out").iterdir())) == 4
    assert read_table(tmp_path / "out").arrow.equals(RECIPE.fuse(tables).arrow)
    report = fuse_files(RECIPE, inputs, tmp_path / "out.parquet")
    assert any(note.startswith("all of the tables are in memory at once") for note in report.notes)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c.parquet", "out", "out.parquet"]


@pytest.mark.parametrize("ids", [int, str])
@pytest.mark.parametrize("source", ["file", "folder", "as given"])
def test_a_table_is_cut_anew(tmp_path, monkeypatch, ids, source):
    monkeypatch.setattr(reparting, "_ROWS", 70)
    table, path = member("a", 0, ids), tmp_path / "a"
    if source == "as given":
        shuffled(table, path, 1)
    else:
        write_table(table, path, parts=4 if source == "folder" else None)
    assert reparting.repart(path, tmp_path / "new", 3) == 300
    write_table(table, tmp_path / "straight", parts=3)
    for number in range(3):
        name = f"part-{number:05d}.parquet"
        new, straight = (read_table(tmp_path / folder / name) for folder in ("new", "straight"))
        assert new.arrow.equals(straight.arrow)
        assert new.metadata == straight.metadata
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "new", "straight"]
    write_table(table.select_images([]), tmp_path / "none.parquet")
    assert reparting.repart(tmp_path / "none.parquet", tmp_path / "nothing", 2) == 0
    assert len(read_table(tmp_path / "nothing")) == 0


def shuffled(table, path, seed, count=4, part=None):
    """Write a table in parts to which images are dealt at random."""
    rng = np.random.default_rng(seed)
    number = rng.integers(0, count, len(table.image_ids))
    for k in range(count):
        told = None if part is None else Part(rule=part, count=count, number=k)
        write_table(table.select_images(table.image_ids[number == k]), path / f"part-{k:05d}.parquet", part=told)


def test_folders_cut_in_different_ways_are_refused(tmp_path):
    a, b = member("a", 0), member("b", 1)
    write_table(a, tmp_path / "a", parts=4)
    shuffled(b, tmp_path / "b", 2, part="shuffled")
    shuffled(b, tmp_path / "old", 2)
    for other in ("b", "old"):
        with pytest.raises(InputError, match=r"are cut into parts in different ways: image .* is in part-0000"):
            fuse_files(RECIPE, [tmp_path / "a", tmp_path / other], tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "old"]


def test_folders_cut_alike_are_fused_whatever_the_rule(tmp_path):
    a, b = member("a", 0), member("b", 1)
    images = np.union1d(a.image_ids, b.image_ids)
    number = np.random.default_rng(5).integers(0, 3, len(images))
    for name, table in (("a", a), ("b", b)):
        for k in range(3):
            write_table(table.select_images(images[number == k]), tmp_path / name / f"part-{k:05d}.parquet")
    fuse_files(RECIPE, [tmp_path / "a", tmp_path / "b"], tmp_path / "out")
    assert read_table(tmp_path / "out").arrow.equals(RECIPE.fuse([a, b]).arrow)


@pytest.mark.parametrize("lost", [0, 2, 3])
def test_a_lost_part_is_missed(tmp_path, lost):
    for seed, name in enumerate("ab"):
        write_table(member(name, seed), tmp_path / name, parts=4)
        (tmp_path / name / f"part-{lost:05d}.parquet").unlink()
    for act in (read_table, read_metadata, lambda path: list(read_pieces(path))):
        with pytest.raises(InputError, match=f"part-0000{lost}.parquet is missing"):
            act(tmp_path / "a")
    with pytest.raises(InputError, match=f"part-0000{lost}.parquet is missing"):
        fuse_files(RECIPE, [tmp_path / "a", tmp_path / "b"], tmp_path / "out")


def test_renamed_and_copied_parts_are_noticed(tmp_path):
    write_table(member("a", 0), tmp_path / "a", parts=3)
    first, second = (tmp_path / "a" / f"part-0000{k}.parquet" for k in (0, 1))
    kept = first.read_bytes()
    first.write_bytes(second.read_bytes())
    with pytest.raises(InputError, match=r"part-00000\.parquet: is part number 1 of its table, not 0"):
        read_table(tmp_path / "a")
    first.write_bytes(kept)
    (tmp_path / "a" / "part-00003.parquet").write_bytes(kept)
    with pytest.raises(InputError, match="is a table in 3 parts, but has 4"):
        read_metadata(tmp_path / "a")


def test_an_image_in_two_parts_or_in_a_wrong_one_is_refused(tmp_path):
    table = member("a", 0)
    for number in range(2):
        write_table(table, tmp_path / "a" / f"part-0000{number}.parquet")
        write_table(table, tmp_path / "b" / f"part-0000{number}.parquet", part=Part(rule="id", count=2, number=number))
    with pytest.raises(InputError, match=r"image 1 is in part-00000\.parquet, too"):
        read_table(tmp_path / "a")
    with pytest.raises(InputError, match="belongs in another part than number 0 of 2"):
        read_table(tmp_path / "b")


def test_fused_parts_say_which_they_are(tmp_path):
    for seed, name in enumerate("ab"):
        write_table(member(name, seed), tmp_path / name, parts=3)
    fuse_files(RECIPE, [tmp_path / "a", tmp_path / "b"], tmp_path / "out")
    assert read_table(tmp_path / "out").metadata.part is None
    alone = read_table(tmp_path / "out" / "part-00002.parquet")
    assert alone.metadata.part == Part(rule="id", count=3, number=2)
    write_table(alone, tmp_path / "alone.parquet")
    assert read_table(tmp_path / "alone.parquet").metadata.part is None


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
    assert report.notes[1:] == ("the recipe does not use b",)
    assert "a, b say nothing of the images behind" in report.notes[0]
