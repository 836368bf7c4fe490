"""An evaluation part by part against that of the whole table: every entry of every array, and replicates, are equal."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import quorum
from evaluation import Coco, Lvis, federated, fixed_ap, prepare, runs, stored, stored_matches
from evaluation.figures import figure_named
from evaluation.stored import evaluate_stored
from fusion.errors import InputError
from fusion.masks import mask_array
from fusion.storage import part_name, read_table, write_table
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


def check_equal(found, whole, *, figures=None):
    """Arrays, figures, replicates and notes are equal to the last bit."""
    for name in ("precision", "recall", "scores", "best_precision", "detections", "truths"):
        assert np.array_equal(getattr(found, name), getattr(whole, name)), name
    assert found.stats == whole.stats
    assert found.notes == whole.notes
    coco = isinstance(whole.protocol, Coco)
    names = figures or ("AP", "APtall", "F1", "P@0.4", *(("AP50", "APs", "AR100") if coco else ("APr", "AR300")))
    names = [name for name in names if figure_named(name, whole.protocol) is not None]
    assert found.to_dict(names) == whole.to_dict(names)
    for one, other in zip(found.judged, whole.judged, strict=True):
        assert np.array_equal(one, other)
    weights = np.random.default_rng(0).integers(0, 4, (3, whole.images))
    drawn, expected = (result.resample(weights, names) for result in (found, whole))
    assert list(drawn) == list(expected)
    for name, values in expected.items():
        assert np.array_equal(drawn[name], values, equal_nan=True), name


@pytest.fixture
def small_pieces(monkeypatch):
    """Pieces of about 25 rows, and a category or two at a time."""
    monkeypatch.setattr(runs, "_ROWS", 25)
    monkeypatch.setattr(stored_matches, "_MERGED", 60)


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize(
    "protocol",
    [
        Coco(),
        Coco(use_cats=False),
        Coco(max_dets=(2, 5, 9)),
        Coco(iou_thresholds=tuple(np.linspace(0.05, 1, 20))),
        Coco(iou_type="segm"),
    ],
)
@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**16), parts=st.integers(2, 5), rows=st.integers(0, 300))
def test_coco_by_parts_is_coco(protocol, seed, parts, rows):
    dataset, results = random_case(seed, images=8, categories=4, results=rows, masks=protocol.iou_type == "segm")
    prepared, table = prepare(ground_truth(dataset), protocol), table_of(results)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "parts"
        write_table(table, path, parts=parts)
        whole = prepared.evaluate(table)
        found = evaluate_stored(prepared, path)
        check_equal(found, whole)
        assert found.rows == rows
        some = np.flatnonzero(np.random.default_rng(seed).random(8) < 0.6)
        check_equal(found.on(some), whole.on(some))
        check_equal(found.on(some).on(np.arange(len(some))[1:]), whole.on(some).on(np.arange(len(some))[1:]))
        ids = prepared.ground_truth.image_id[some]
        alone = evaluate_stored(prepare(prepared.ground_truth.subset(ids), protocol), path, images=ids)
        assert np.array_equal(alone.scores, whole.on(some).scores)
        assert alone.rows == len(table.select_images(ids))


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("protocol", [replace(Lvis(), max_dets=30), Lvis(fixed_ap=True)])
@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**16), parts=st.integers(2, 4))
def test_lvis_by_parts_is_lvis(monkeypatch, protocol, seed, parts):
    for module in (federated, fixed_ap):
        monkeypatch.setattr(module, "FIXED_AP_DETECTIONS", 25)
    monkeypatch.setattr(fixed_ap, "_PENDING", 60)
    dataset, results = federated_case(seed, images=6, categories=5, truths=60, results=400)
    prepared, table = prepare(lvis_truth(dataset), protocol), table_of(results)
    with TemporaryDirectory() as folder:
        write_table(table, Path(folder) / "parts", parts=parts)
        found, whole = evaluate_stored(prepared, Path(folder) / "parts"), prepared.evaluate(table)
        check_equal(found, whole)
        check_equal(found.on(np.array([0, 2, 3])), whole.on(np.array([0, 2, 3])))


def test_tables_without_rows_and_images_that_are_twice(tmp_path):
    dataset, results = random_case(3)
    prepared = prepare(ground_truth(dataset))
    write_table(table_of([]), tmp_path / "none", parts=2)
    assert evaluate_stored(prepared, tmp_path / "none").stats == prepared.evaluate(table_of([])).stats
    for number in range(2):
        write_table(table_of(results), tmp_path / "twice" / f"part-{number:05d}.parquet")
    with pytest.raises(InputError, match="is in another part, too"):
        evaluate_stored(prepared, tmp_path / "twice")


def test_each_part_is_matched_once_and_anew_where_it_has_changed(tmp_path, monkeypatch):
    dataset, results = random_case(5, images=8, results=200)
    prepared, table = prepare(ground_truth(dataset)), table_of(results)
    path = tmp_path / "parts"
    write_table(table, path, parts=3)
    read = []
    real = stored.read_table
    monkeypatch.setattr(stored, "read_table", lambda part, **options: read.append(part.name) or real(part, **options))
    first = evaluate_stored(prepared, path)
    assert sorted(read) == [part_name(number) for number in range(3)]
    again = evaluate_stored(prepare(ground_truth(dataset)), path)
    assert len(read) == 3
    check_equal(again, first, figures=["AP", "AP50"])
    # other options, other ground truth and other images are matched by themselves
    moved = ground_truth(dataset)
    moved = replace(moved, xywh=moved.xywh + 1)
    few = prepared.ground_truth.image_id[:3]
    for other, images in (
        (prepare(ground_truth(dataset), Coco(max_dets=(1, 2, 3))), None),
        (prepare(moved), None),
        (prepare(prepared.ground_truth.subset(few)), few),
    ):
        read.clear()
        evaluate_stored(other, path, images=images)
        assert len(read) == 3
    changed = read_table(path / part_name(2))
    half = changed.arrow.set_column(2, "score", pa.compute.multiply(changed.arrow["score"], 0.5))
    write_table(replace(changed, arrow=half), path / part_name(2), part=changed.metadata.part)
    read.clear()
    found = evaluate_stored(prepared, path)
    assert read == [part_name(2)]
    check_equal(found, prepared.evaluate(read_table(path)))


def test_runs_that_are_damaged_are_found_anew_or_refused(tmp_path):
    dataset, results = random_case(6, results=200)
    prepared, path = prepare(ground_truth(dataset)), tmp_path / "parts"
    write_table(table_of(results), path, parts=2)
    expected = evaluate_stored(prepared, path).stats
    [run] = path.glob(f".quorum/*/{part_name(0)}.run")
    whole = run.read_bytes()
    for broken in (b"", whole[:-5], whole[: len(whole) // 2] + whole[len(whole) // 2 + 1 :], whole[:-1] + b"?"):
        run.write_bytes(broken)
        assert evaluate_stored(prepared, path).stats == expected
        assert run.read_bytes() == whole
    run.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
    with pytest.raises(InputError, match=r"is damaged.*Remove the folder .quorum"):
        _ = evaluate_stored(prepared, path).stats
    shutil.rmtree(path / ".quorum")
    (path / ".quorum").touch()  # no folder can be made here
    assert evaluate_stored(prepared, path).stats == expected


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
    assert called == [Path("m")] * 3


def test_replicates_of_parts_are_those_of_the_whole(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    dataset, results = random_case(8, images=8, results=200)
    Path("truth.json").write_text(json.dumps(dataset))
    for kind, parts in (("whole", None), ("cut", 3)):
        for name, rows in (("a", results), ("b", results[::2])):
            write_table(table_of(rows), Path(kind) / f"{name}.parquet", parts=parts)
    ids = [image["id"] for image in dataset["images"]]
    Path("slices.csv").write_text("image,name\n" + "".join(f"{i},{'day' if i % 2 else 'night'}\n" for i in ids))
    options = ["--replicates", "20", "--format", "json", "--slices", "slices.csv", "--html", "page.html"]
    called, pages = [], []
    real = stored.evaluate_stored
    monkeypatch.setattr(stored, "evaluate_stored", lambda *a, **o: called.append(a[1]) or real(*a, **o))
    for command, protocol in (("compare", "coco"), ("leaderboard", "coco"), ("compare", "openimages")):
        said = []
        for kind in ("whole", "cut"):
            tables = [f"{kind}/{name}.parquet" for name in "ab"]
            quorum.main([command, *tables, "-g", "truth.json", "--protocol", protocol, *options])
            pages.append(Path("page.html").read_text())
            said.append(json.loads(capsys.readouterr().out))
        if command == "leaderboard":
            for board in said:
                for one in (board, *board["slices"].values()):
                    for line in one["entries"]:
                        del line["bytes"]
        assert said[0] == said[1]
        assert pages[-1] == pages[-2] or command == "leaderboard"  # which shows the size of files
    assert called == [Path("cut/a.parquet"), Path("cut/b.parquet")] * 2
