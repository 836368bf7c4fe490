"""Tables become submissions that give the same AP and the same boxes when they are read back."""

import csv
import json
import zipfile

import numpy as np
import pyarrow.csv
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO

from evaluation import Coco, evaluate
from evaluation.files import table_pieces
from evaluation.submissions import (
    Submission,
    read_coco_submission,
    read_open_images_submission,
    write_submission,
)
from evaluation.submissions.mask_strings import decode_mask
from fusion.errors import InputError
from fusion.storage import write_table
from fusion.table import Metadata
from tests.evaluation.submissions.cases import (
    LABELS,
    NAME,
    found,
    mask_column,
    named,
    named_list,
    simulated,
    small_list,
    small_table,
    square_mask,
)


@pytest.mark.parametrize("form", ["coco", "lvis"])
def test_boxes_come_back_to_the_last_bit(tmp_path, form):
    truth, table = simulated()
    report = write_submission(table, tmp_path, form, images=truth, split="val", algorithm="x")
    assert report.ok
    assert report.detections == len(table)
    path = tmp_path / "detections_val_x_results.zip"
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == [NAME]
    back = read_coco_submission(path, images=truth)
    assert back.arrow.equals(table.arrow.drop_columns(["mask"]))
    assert evaluate(back, truth).stats == evaluate(table, truth).stats


def test_an_archive_without_results_is_not_read(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("readme.txt", "")
    with pytest.raises(InputError, match=r"no \.json"):
        read_coco_submission(tmp_path / "a.zip")
    with pytest.raises(InputError, match="no such file"):
        read_coco_submission(tmp_path / "b.zip")


def test_masks_come_back_and_areas_are_those_of_masks(tmp_path):
    truth, table = simulated()
    write_submission(table, tmp_path / "a.json", "coco", images=truth, split="val", algorithm="x", iou_type="segm")
    back = read_coco_submission(tmp_path / "a.json")
    assert back.mask.equals(table.mask)
    assert back.metadata.boxes == "from_masks"
    before, after = (evaluate(each, truth, Coco(iou_type="segm")) for each in (table, back))
    for name in ("AP", "AP50", "AP75", "AR100"):
        assert after.stats[name] == before.stats[name]


def test_pycocotools_reads_what_was_written(tmp_path, capsys):
    truth, table = simulated()
    write_submission(table, tmp_path / "a.json", "coco", images=truth, split="val", algorithm="x")
    coco = COCO()
    coco.dataset = {
        "images": [{"id": i} for i in truth.image_id.tolist()],
        "annotations": [],
        "categories": [{"id": i} for i in truth.category_id.tolist()],
    }
    coco.createIndex()
    loaded = coco.loadRes(str(tmp_path / "a.json")).dataset["annotations"]
    assert [entry["bbox"] for entry in loaded] == table.xywh.tolist()


@pytest.mark.parametrize("form", ["coco", "openimages-detection", "openimages-segmentation"])
def test_the_same_bytes_every_time(tmp_path, form):
    truth, table = simulated()
    table, images = (table, truth) if form == "coco" else (named(table), named_list())
    for name in ("a", "b"):
        write_submission(table, tmp_path / name, form, images=images, split="val", algorithm="x")
    [first], [second] = ((tmp_path / name).iterdir() for name in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()
    assert first.name == second.name


def test_tables_on_disk_give_the_same_file_as_in_memory(tmp_path, monkeypatch):
    truth, table = simulated()
    write_table(table, tmp_path / "one.parquet")
    write_table(table, tmp_path / "parts", parts=5)
    monkeypatch.setattr(table_pieces, "_ROWS", 23)  # images are of 15 rows
    texts = {}
    for name, source in (("memory", table), ("one", tmp_path / "one.parquet"), ("parts", tmp_path / "parts")):
        path = tmp_path / f"{name}.json"
        submission = Submission(source, "coco", images=truth, split="val", algorithm="x", max_per_image=9)
        assert submission.report.detections == sum(np.minimum(np.diff(table.image_start), 9))
        submission.write(path)
        texts[name] = path.read_bytes()
    assert texts["memory"] == texts["one"] == texts["parts"]


def test_kaggle_rows_do_not_depend_on_the_parts(tmp_path, monkeypatch):
    table, images = named(simulated()[1]), named_list()
    write_table(table, tmp_path / "parts", parts=4)
    write_submission(table, tmp_path / "a.csv", "openimages-detection", images=images)
    monkeypatch.setattr(table_pieces, "_ROWS", 23)
    write_submission(tmp_path / "parts", tmp_path / "b.csv", "openimages-detection", images=images)
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_a_file_that_is_not_sorted_by_image_is_refused(tmp_path, monkeypatch):
    truth, table = simulated()
    monkeypatch.setattr(table_pieces, "_ROWS", 23)
    for number in range(2):
        write_table(table, tmp_path / "parts" / f"part-0000{number}.parquet")
    with pytest.raises(InputError, match="image 1 is in two parts"):
        Submission(tmp_path / "parts", "coco", images=truth, split="val", algorithm="x")


rows = st.lists(
    st.tuples(st.integers(1, 3), st.integers(1, 3), st.sampled_from([0.1, 0.5, 0.5, 0.9, 1.0]), st.integers(0, 20)),
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(rows, st.integers(1, 6), st.integers(1, 7))
def test_the_best_of_each_image_are_kept_in_order(tmp_path_factory, rows, cap, piece):
    folder = tmp_path_factory.mktemp("cap")
    table = small_table([(image, category, score, x, 1.5, 3, 4) for image, category, score, x in rows])
    old, table_pieces._ROWS = table_pieces._ROWS, piece
    try:
        options = {"images": small_list(), "split": "val", "algorithm": "x", "max_per_image": cap}
        report = write_submission(table, folder / "a.json", "coco", **options)
    finally:
        table_pieces._ROWS = old
    expected = []
    for image in (1, 2, 3):
        own = [row for row in sorted(rows, key=lambda row: row[0]) if row[0] == image]
        best = sorted(range(len(own)), key=lambda row: (-own[row][2], row))[:cap]
        expected += [own[row] for row in sorted(best)]
    written = json.loads((folder / "a.json").read_text())
    assert [(r["image_id"], r["category_id"], r["score"], r["bbox"][0]) for r in written] == expected
    assert report.detections == len(expected)
    cut = [finding for finding in report.findings if "beyond" in finding.what]
    counts = [sum(row[0] == image for row in rows) for image in (1, 2, 3)]
    assert sum(finding.count for finding in cut) == sum(count > cap for count in counts)


def test_coco_takes_100_and_lvis_300(tmp_path):
    table = small_table([(1, 1, 0.5 + number / 1000, 1, 1, 2, 3) for number in range(350)])
    for form, cap in (("coco", 100), ("lvis", 300)):
        report = write_submission(
            table, tmp_path / "a.json", form, images=small_list(), split="val", algorithm="x", max_per_image=1000
        )
        assert report.detections == cap == len(json.loads((tmp_path / "a.json").read_text()))
        assert found(report, f"more than {cap} detections; {350 - cap} detections are beyond").count == 1
        assert found(report, "images of the list without any detection").count == 2


def test_digits(tmp_path):
    table = small_table([(1, 1, 0.123456789, 1.23456, 2.0, 30.005, 4.999)])
    options = {"images": small_list(), "split": "val", "algorithm": "x", "digits": 2, "score_digits": 5}
    write_submission(table, tmp_path / "a.json", "coco", **options)
    assert json.loads((tmp_path / "a.json").read_text()) == [
        {"image_id": 1, "category_id": 1, "bbox": [1.23, 2.0, 30.0, 5.0], "score": 0.12346}
    ]


def test_normalized_boxes_become_pixels(tmp_path):
    table = small_table([(2, 1, 0.5, 0.25, 0.5, 0.5, 0.125)], Metadata(unit="normalized"))
    write_submission(table, tmp_path / "a.json", "coco", images=small_list(), split="val", algorithm="x")
    assert json.loads((tmp_path / "a.json").read_text())[0]["bbox"] == [25.0, 40.0, 50.0, 10.0]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([(7, 1, 0.5, 1, 1, 2, 3)], "detections on images that the image list does not have"),
        ([(1, 12, 0.5, 1, 1, 2, 3)], "categories that the data set does not have"),
        ([(1, 0, 0.5, 1, 1, 2, 3)], "categories that the data set does not have"),
        ([(1, 1, 0.5, 0.1, 0.1, 0.5, 0.5)] * 20, "normalized"),
    ],
)
def test_errors_are_refused_and_nothing_is_written(tmp_path, rows, message):
    options = {"images": small_list(), "split": "val", "algorithm": "x"}
    with pytest.raises(InputError, match=message):
        write_submission(small_table(rows), tmp_path / "out", "coco", **options)
    assert not (tmp_path / "out").exists()


def test_boxes_are_not_taken_for_masks(tmp_path):
    options = {"images": small_list(), "split": "val", "algorithm": "x", "iou_type": "segm"}
    rows = [(1, 1, 0.5, 1, 1, 2, 3), (1, 2, 0.5, 1, 1, 2, 3)]
    for masks in (None, mask_column([(80, 100)] * 2, [square_mask((80, 100)), None])):
        submission = Submission(small_table(rows, masks=masks), "coco", **options)
        assert found(submission.report, "without a mask").count == (2 if masks is None else 1)
        with pytest.raises(InputError, match="without a mask"):
            submission.write(tmp_path / "a.json")
    masks = mask_column([(80, 100), (100, 80)], [square_mask((80, 100)), square_mask((100, 80))])
    report = Submission(small_table(rows, masks=masks), "coco", **options).report
    assert found(report, "mask of another size").examples == ("row 1 (image 1): [100, 80] for [80, 100]",)
    masks = mask_column([(80, 100), (80, 100)], [square_mask((80, 100)), b"0"])
    report = Submission(small_table(rows, masks=masks), "coco", **options).report
    assert found(report, "do not fill").count == 1
    # masks that are not submitted do not matter
    assert Submission(small_table(rows, masks=masks), "coco", **options | {"iou_type": "bbox"}).report.ok


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": None}, "option split"),
        ({"algorithm": "a/b"}, "option algorithm"),
        ({"max_per_image": 0}, "max_per_image"),
        ({"digits": -1}, "digits"),
        ({"iou_type": "keypoints"}, "iou_type"),
    ],
)
def test_options(options, message):
    with pytest.raises(InputError, match=message):
        Submission(small_table([]), "coco", **{"images": small_list(), "split": "val", "algorithm": "x"} | options)


def test_an_empty_table(tmp_path):
    report = write_submission(
        small_table([]), tmp_path / "a.json", "coco", images=small_list(), split="val", algorithm="x"
    )
    assert json.loads((tmp_path / "a.json").read_text()) == []
    assert found(report, "no detections").severity == "warning"
    write_submission(
        small_table([], Metadata(unit="normalized")), tmp_path / "a.csv", "openimages-detection", images=named_list(4)
    )
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 5


def test_kaggle_detection(tmp_path):
    table, images = named(simulated()[1]), named_list()
    path = tmp_path / "a.csv"
    report = write_submission(table, path, "openimages-detection", images=images)
    with path.open() as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["ImageId", "PredictionString"]
    assert [row[0] for row in rows[1:]] == images.image_id.tolist()  # the list's order, all of them
    assert abs(report.size - path.stat().st_size) < 0.2 * report.size
    words = next(row[1] for row in rows[1:] if row[0] == table.image_ids[0]).split(" ")
    own = table.select_images(table.image_ids[:1])
    size = np.array([images.width[0], images.height[0]] * 2)
    corners = np.concatenate([own.xywh[:, :2], own.xywh[:, :2] + own.xywh[:, 2:]], axis=1) / size
    assert words[0::6] == [LABELS[number - 1] for number in own.category_id]
    assert [float(word) for word in words[1::6]] == own.score.tolist()
    for side in range(4):
        assert [float(word) for word in words[2 + side :: 6]] == np.clip(corners[:, side], 0, 1).tolist()


def test_kaggle_detection_gives_the_same_ap(tmp_path):
    truth, table = simulated()
    images = named_list(shuffled=False)
    write_submission(named(table), tmp_path / "a.csv", "openimages-detection", images=images)
    back = read_open_images_submission(tmp_path / "a.csv", images=images, unit="pixel")
    assert np.allclose(back.xywh, table.xywh, rtol=0, atol=1e-9)
    assert evaluate(numbered(back), truth).stats == evaluate(table, truth).stats


def numbered(table):
    """Return a table with integer image ids again."""
    return type(table).from_arrays(
        image_id=np.array([int(name, 16) for name in table.image_id]),
        category_id=table.category_id,
        score=table.score,
        xywh=table.xywh,
        mask=table.mask,
        metadata=table.metadata,
    )


def test_normalized_tables_need_no_sizes_and_keep_their_corners(tmp_path):
    rng = np.random.default_rng(0)
    low, high = np.sort(rng.random((2, 50, 2)), axis=0)
    rows = [
        (f"{number % 7 + 1:016x}", 1 + number % 5, score, *corner, *side)
        for number, (score, corner, side) in enumerate(zip(rng.random(50), low, high - low, strict=True))
    ]
    table = small_table(rows, Metadata(unit="normalized"))
    images = named_list(8, sizes=False)
    for form in ("openimages-detection", "openimages-evaluator"):
        write_submission(table, tmp_path / "a.csv", form, images=images)
        back = read_open_images_submission(tmp_path / "a.csv", images=images)
        assert back.metadata.unit == "normalized"
        assert np.array_equal(back.xywh[:, :2], table.xywh[:, :2])
        assert np.allclose(back.xywh, table.xywh, rtol=0, atol=1e-15)
        assert np.array_equal(back.score, table.score)
        assert back.image_id.tolist() == table.image_id.tolist()
        assert np.array_equal(back.category_id, table.category_id)


@pytest.mark.parametrize("form", ["openimages-segmentation", "openimages-evaluator"])
def test_masks_of_open_images_come_back(tmp_path, form):
    truth, table = simulated()
    images, path = named_list(shuffled=False), tmp_path / "a.csv"
    report = write_submission(named(table), path, form, images=images, iou_type="segm")
    assert report.ok
    back = read_open_images_submission(path, images=images)
    assert back.metadata.boxes == "from_masks"
    assert back.mask.equals(table.mask)
    assert np.array_equal(back.score, table.score)
    after, before = (evaluate(each, truth, Coco(iou_type="segm")) for each in (numbered(back), table))
    assert after.stats["AP"] == before.stats["AP"]


def test_kaggle_segmentation_columns(tmp_path):
    table = small_table([("b", 2, 0.25, 2, 2, 7, 7)], masks=mask_column([(80, 100)], [square_mask((80, 100))]))
    images = (
        named_list(2)
        .__class__(np.array(["b", "a"], dtype=object), np.array([100, 50], np.int32), np.array([80, 40], np.int32))
        .with_classes(LABELS)
    )
    write_submission(table, tmp_path / "a.csv", "openimages-segmentation", images=images)
    with (tmp_path / "a.csv").open() as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["ImageID", "ImageWidth", "ImageHeight", "PredictionString"]
    assert rows[1][:3] == ["b", "100", "80"]
    assert rows[2] == ["a", "50", "40", ""]
    label, score, text = rows[1][3].split(" ")
    assert (label, score) == ("/m/02", "0.25")
    assert decode_mask(text) == square_mask((80, 100))


def test_coordinates_are_clipped_and_it_is_said(tmp_path):
    table = small_table([("1".zfill(16), 1, 0.5, -0.25, 0.5, 0.5, 0.75)], Metadata(unit="normalized"))
    report = write_submission(table, tmp_path / "a.csv", "openimages-detection", images=named_list(1))
    assert (tmp_path / "a.csv").read_text().splitlines()[1].endswith("/m/01 0.5 0 0.5 0.25 1")
    assert found(report, "beyond its image").remedy == "They are clipped to the image in the file"


@pytest.mark.parametrize(
    ("form", "metadata", "message"),
    [
        ("openimages-detection", Metadata(), "width and height"),
        ("openimages-segmentation", Metadata(unit="normalized"), "width and height"),
        ("coco", Metadata(unit="normalized"), "width and height"),
    ],
)
def test_sizes_are_asked_for_where_they_are_needed(form, metadata, message):
    with pytest.raises(InputError, match=message):
        Submission(small_table([], metadata), form, images=named_list(3, sizes=False), split="v", algorithm="x")


def test_labels_are_asked_for():
    with pytest.raises(InputError, match="--class-descriptions"):
        Submission(small_table([]), "openimages-detection", images=small_list())


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
def test_the_official_code_reads_the_evaluator_form(tmp_path, iou_type):
    official = pytest.importorskip("object_detection.metrics.oid_challenge_evaluation_utils")
    import pandas as pd
    from pycocotools import mask as rle

    table, images = named(simulated()[1]), named_list()
    write_submission(table, tmp_path / "a.csv", "openimages-evaluator", images=images, iou_type=iou_type)
    rows = pd.read_csv(tmp_path / "a.csv", dtype={"ImageID": str})
    assert len(rows) == len(table)
    numbers = {label: number for number, label in enumerate(LABELS, 1)}
    name = table.image_ids[5]
    own = table.select_images([name])
    read = official.build_predictions_dictionary(rows[rows.ImageID == name], numbers)
    assert read["detection_scores"].tolist() == own.score.tolist()
    assert read["detection_classes"].tolist() == own.category_id.tolist()
    if iou_type == "bbox":
        y1, x1, y2, x2 = read["detection_boxes"].T
        size = images.width[0], images.height[0]
        assert np.allclose(np.stack([x1 * size[0], y1 * size[1]], axis=1), own.xywh[:, :2], rtol=0, atol=1e-9)
        assert np.allclose(np.stack([(x2 - x1) * size[0], (y2 - y1) * size[1]], axis=1), own.xywh[:, 2:], atol=1e-9)
    else:
        masks = [{"size": [m["height"], m["width"]], "counts": m["counts"]} for m in own.mask.to_pylist()]
        assert np.array_equal(read["detection_masks"], np.moveaxis(rle.decode(masks), 2, 0))


def test_pyarrow_reads_the_csv_as_well(tmp_path):
    table = named(simulated()[1])
    write_submission(table, tmp_path / "a.csv", "openimages-evaluator", images=named_list())
    read = pyarrow.csv.read_csv(tmp_path / "a.csv")
    assert read.column_names == ["ImageID", "LabelName", "Score", "XMin", "XMax", "YMin", "YMax"]
    assert read.num_rows == len(table)
