"""Existing submissions are checked: whatever is wrong with a file is counted, with its first places."""

import gzip
import io
import json
import tempfile
import zipfile
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.submissions import ImageList, check_submission, coco_file, write_submission
from evaluation.submissions.mask_strings import encode_mask
from fusion.errors import InputError
from tests.evaluation.submissions.cases import (
    LABELS,
    NAME,
    found,
    named,
    named_list,
    record,
    simulated,
    small_list,
    square_mask,
    write_rows,
    write_zip,
)
from tests.fusion.test_appending import files_of_at_most


def checked(tmp_path, records, **options):
    """Check a list of COCO results in a proper archive."""
    return check_submission(write_zip(tmp_path / "a.zip", records), **{"images": small_list()} | options)


def test_a_good_file_has_no_findings(tmp_path):
    report = checked(tmp_path, [record(image, category=image, score=image / 10) for image in (1, 2, 3)])
    assert report.ok
    assert report.findings == ()
    assert (report.format, report.iou_type, report.detections, report.images, report.listed) == (
        "coco",
        "bbox",
        3,
        3,
        3,
    )
    assert report.size == (tmp_path / "a.zip").stat().st_size


@pytest.mark.parametrize(
    "form", ["coco", "lvis", "openimages-detection", "openimages-segmentation", "openimages-evaluator"]
)
@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
def test_what_is_written_is_found_in_order(tmp_path, form, iou_type):
    if (form, iou_type) in (("openimages-detection", "segm"), ("openimages-segmentation", "bbox")):
        return
    truth, table = simulated()
    table, images = (table, truth) if form in ("coco", "lvis") else (named(table), named_list())
    options = {"images": images, "split": "val", "algorithm": "x", "iou_type": iou_type}
    made = write_submission(table, tmp_path / "out", form, **options)
    [path] = (tmp_path / "out").iterdir()
    report = check_submission(path, images=images, split="val", format="lvis" if form == "lvis" else None)
    assert report.findings == made.findings
    assert report.ok
    assert (report.format, report.iou_type) == (form, iou_type)
    assert (report.detections, report.images) == (len(table), made.images)


good = record(1)
AT = "record 1 (image 1): "
ROW = "line 2, detection 1 (image a): "
HERE = "images that the image list does not have"
SMALL = {"size": [9, 9], "counts": square_mask((9, 9)).decode()}
RLE = {"size": [80, 100], "counts": square_mask((80, 100)).decode()}
NARROW = {**RLE, "size": [80, 99]}
mask = {"image_id": 1, "category_id": 1, "score": 0.5, "segmentation": RLE}


@pytest.mark.parametrize(
    ("records", "severity", "text", "count", "place"),
    [
        ([good, record(4), record(4), record(5)], "error", HERE, 3, "image 4: 2 detections"),
        ([good, record(category=12)], "error", "categories that the data set", 1, "category 12: 1 detections"),
        ([good, record(category=0)], "error", "categories that the data set", 1, "category 0: 1 detections"),
        ([good, record(score=float("nan"))], "error", "expected a finite number", 1, "record 1: NaN"),
        ([good, record(score="0.5")], "error", "score: expected", 1, 'record 1: "0.5"'),
        ([good, {"image_id": 1, "score": 1.0}], "error", "category_id", 1, "record 1: only image_id, score"),
        ([good, record(bbox=(1, 2, 3))], "error", "a list of 4 numbers", 1, "record 1: [1, 2, 3]"),
        ([good, record(bbox=(50, 40, -30, -20))], "error", "is negative", 1, AT + "[50, 40, -30, -20]"),
        ([good, record(bbox=(5, 4, 0, 20))], "warning", "without area", 1, AT + "[5, 4, 0, 20]"),
        ([good, record(bbox=(50, 40, 51, 20))], "warning", "beyond its image", 1, AT + "[50, 40, 51, 20]"),
        ([good, record(bbox=(-1, 4, 5, 20))], "warning", "beyond its image", 1, AT + "[-1, 4, 5, 20]"),
        ([good, record(score=1.5)], "warning", "outside [0, 1]", 1, AT + "1.5"),
        ([good, record(score=-0.5)], "warning", "outside [0, 1]", 1, AT + "-0.5"),
        ([record(2), good, good], "warning", "more than once", 1, "records 1, 2"),
        ([good], "warning", "without any detection", 2, "image 2"),
        ([], "warning", "there are no detections", 1, None),
        ([good, record(image="7")], "error", "ids are texts", 1, None),
        ([good, record(category="1")], "error", "ids are texts", 1, None),
        ([good, record(image=1.0)], "warning", "ids are written as floats", 1, None),
        ([mask, {**mask, "segmentation": NARROW}], "error", "do not fill", 1, AT + "size [80, 99]"),
        ([mask, {**mask, "segmentation": SMALL}], "error", "another size", 1, AT + "[9, 9] for [80, 100]"),
        ([mask, good], "error", "without a mask where others", 1, None),
        ([mask, {**mask, **good}], "error", "without a box where others", 1, None),
        ([{**mask, **good}], "note", "masks come with boxes", 1, None),
        ([{**mask, "segmentation": [[1, 1, 9, 1, 9, 9]]}], "warning", "polygons", 1, None),
        ([record(bbox=(0.1, 0.1, 0.5, 0.5))] * 20, "error", "normalized", 20, None),
    ],
)  # fmt: skip
def test_faults_of_records(tmp_path, records, severity, text, count, place):
    report = checked(tmp_path, records)
    finding = found(report, text)
    assert (finding.severity, finding.count) == (severity, count)
    assert place is None or finding.examples[0] == place
    assert report.ok == (severity != "error")


def test_over_the_cap(tmp_path):
    records = [record(score=number / 1000) for number in range(301)]
    finding = found(checked(tmp_path, records), "more than 100 detections; 201 detections are beyond")
    assert (finding.severity, finding.count, finding.examples) == ("warning", 1, ("image 1: 301",))
    assert found(checked(tmp_path, records, format="lvis"), "more than 300 detections; 1 detections").count == 1


def test_lvis_is_told_by_the_frequency_groups(tmp_path):
    path = tmp_path / "list.json"
    categories = [{"id": 1, "frequency": "r"}, {"id": 1203, "frequency": "f"}]
    path.write_text(json.dumps({"images": [{"id": 1, "width": 100, "height": 80}], "categories": categories}))
    (tmp_path / "plain.json").write_text(json.dumps([record(1, 1203)]))
    report = check_submission(tmp_path / "plain.json", images=path)
    assert report.format == "lvis"
    assert report.findings == ()  # a name of one's own and no archive are fine
    assert found(check_submission(tmp_path / "plain.json"), "categories").remedy.startswith("Results of LVIS")


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (lambda path: write_zip(path, [], f"results/{NAME}"), "the archive has folders"),
        (lambda path: write_zip(path, [], "results.json"), "is not named detections_"),
        (lambda path: write_zip(path, [], "detections_train_x_results.json"), "of another split than val"),
        (lambda path: write_zip(path, [], "readme.txt"), "no .json or .csv file"),
        (lambda path: write_zip(path, json.dumps([good] * 3)[:-20]), "cannot be read to its end"),
        (lambda path: write_zip(path, "{}"), "not a list of results"),
        (lambda path: write_zip(path, ""), "cannot be read to its end: the file is empty"),
        (lambda path: write_zip(path, json.dumps([{"id": 1, "image_id": 1, "category_id": 1}])), "ground truth"),
        (lambda path: path.write_bytes(write_zip(path, [good] * 50).read_bytes()[:-30]), "the archive is damaged"),
        (lambda path: path.write_bytes(gzip.compress(b"[]")), "is no submission"),
        (lambda path: path.write_bytes(b"\xff\xfe[\x00]\x00"), "is no submission"),
        (lambda path: path.write_bytes(b""), "cannot be read to its end: the file is empty"),
    ],
)
def test_files_that_servers_do_not_read(tmp_path, build, text):
    path = tmp_path / "a.zip"
    build(path)
    report = check_submission(path, split="val")
    assert found(report, text).severity == "error"


def test_an_archive_of_several_files(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(NAME, "[]")
        archive.writestr("__MACOSX/._x", "")
    report = check_submission(tmp_path / "a.zip")
    assert found(report, "the archive has 2 files").examples == (NAME, "__MACOSX/._x")
    assert found(report, "folders").examples == ("__MACOSX/._x",)


def test_a_damaged_archive_is_noticed_by_its_checksum(tmp_path):
    path = write_zip(tmp_path / "a.zip", [record(score=number / 100) for number in range(100)])
    data = bytearray(path.read_bytes())
    data[200] ^= 1
    path.write_bytes(data)
    assert found(check_submission(path), "damaged").severity == "error"


def packed(path, text):
    """Write an archive that is smaller than what is in it."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(NAME, text)
    return path


def test_any_damaged_byte_of_an_archive_is_reported(tmp_path):
    path = packed(tmp_path / "a.zip", json.dumps([record(score=number / 100) for number in range(20)]))
    good = path.read_bytes()
    damaged = 0
    for place in range(2, len(good)):
        for bit in (0, 5):
            data = bytearray(good)
            data[place] ^= 1 << bit
            path.write_bytes(data)
            report = check_submission(path)
            damaged += any("damaged" in finding.what for finding in report.findings)
    assert damaged > len(good)


def test_what_an_archive_may_unpack_to_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(coco_file, "_SMALL", 1000)
    path = packed(tmp_path / "a.zip", "[" + " " * 3_000_000 + json.dumps(record(1)) + "]")
    ratio = 3_000_000 // path.stat().st_size
    finding = found(check_submission(path), "times as large as the archive")
    assert finding.severity == "error"
    assert finding.examples == (f"3.0 MB in {path.stat().st_size / 1000:.1f} kB",)
    assert "max_ratio" in finding.remedy
    assert check_submission(path, max_ratio=ratio + 1).detections == 1
    with pytest.raises(InputError, match="option max_ratio: expected a number of at least 1"):
        check_submission(path, max_ratio=0)


def test_a_full_folder_for_temporary_files_is_named(tmp_path, monkeypatch):
    path = packed(tmp_path / "a.zip", json.dumps([record(score=number / 100) for number in range(2000)]))
    (tmp_path / "small").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "small"))
    with files_of_at_most(5000), pytest.raises(InputError) as caught:
        check_submission(path)
    assert caught.value.where.startswith(str(tmp_path / "small"))
    assert "could not be unpacked, which takes" in caught.value.problem
    assert "TMPDIR" in caught.value.remedy
    assert list((tmp_path / "small").iterdir()) == []
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    with pytest.raises(InputError, match=r"absent.* could not be made: No such file"):
        check_submission(path)


def test_json_without_an_archive(tmp_path):
    (tmp_path / NAME).write_text("[]")
    assert found(check_submission(tmp_path / NAME), "not in a zip archive").severity == "error"


def test_without_a_list(tmp_path):
    report = checked(tmp_path, [record(99), record(98)], images=None)
    assert report.ok
    assert report.listed is None
    assert found(report, "without --ground-truth").severity == "note"
    assert report.images == 2


def test_no_such_file(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        check_submission(tmp_path / "a.zip")


ids = st.sampled_from([1, 2, 3, 4, 9])
boxes = st.tuples(*[st.sampled_from([-1, 0, 1, 30, 70, 80, 100])] * 2, *[st.sampled_from([-2, 0, 1, 30, 50])] * 2)
random_records = st.lists(
    st.builds(record, ids, st.sampled_from([0, 1, 12, 90]), st.sampled_from([-1.0, 0.0, 0.5, 1.0, 2.0]), boxes),
    max_size=30,
)


@settings(max_examples=80, deadline=None)
@given(random_records, st.integers(80, 2000), st.booleans())
def test_counts_are_those_of_a_slow_count(tmp_path_factory, records, block, odd):
    folder = tmp_path_factory.mktemp("random")
    text = json.dumps(records)
    if odd and records:
        text = text[:-1] + ', {"image_id": 1.0, "category_id": 1, "bbox": [1, 1, 2, 2], "score": 0.25}]'
        records = [*records, record(1, 1, 0.25, (1, 1, 2, 2))]
    old, coco_file._BLOCK = coco_file._BLOCK, block  # so that records are cut between blocks
    try:
        report = check_submission(write_zip(folder / "a.zip", text), images=small_list())
    finally:
        coco_file._BLOCK = old
    got = {finding.what: finding.count for finding in report.findings}
    assert report.detections == len(records)

    def expect(text, count):
        assert sum(value for what, value in got.items() if text in what) == count, text

    expect("image list does not have", sum(r["image_id"] > 3 for r in records))
    expect("categories that", sum(r["category_id"] in (0, 12) for r in records))
    expect("outside [0, 1]", sum(not 0 <= r["score"] <= 1 for r in records))
    sound = [r for r in records if min(r["bbox"][2:]) >= 0]
    expect("is negative", len(records) - len(sound))
    expect("without area", sum(0 in r["bbox"][2:] for r in sound))
    listed = [(r["bbox"]) for r in sound if r["image_id"] <= 3]
    expect("beyond its image", sum(min(x, y) < 0 or x + w > 100 or y + h > 80 for x, y, w, h in listed))
    alike = Counter(json.dumps({**r, "image_id": int(r["image_id"]), "score": float(r["score"])}) for r in records)
    expect("more than once", sum(count - 1 for count in alike.values()))
    expect("without any detection", len({1, 2, 3} - {r["image_id"] for r in records}))
    expect("written as floats", int(odd and len(records) > 0))


BOX_HEADER = ["ImageId", "PredictionString"]
MASK_HEADER = ["ImageID", "ImageWidth", "ImageHeight", "PredictionString"]
OI = ImageList(np.array(["a", "b"], dtype=object), np.array([100, 100], np.int32), np.array([80, 80], np.int32))
TEXT = encode_mask(square_mask((80, 100)))


@pytest.mark.parametrize(
    ("rows", "severity", "text", "count", "place"),
    [
        ([["a", ""], ["b", "/m/02 0.5 0.1 0.1 0.3"]], "error", "is not a sequence of Label", 1, "line 3: 5 words"),
        ([["a", ""]], "error", "images without a row", 1, "image b"),
        ([["a", ""], ["b", ""], ["a", ""]], "error", "more than one row", 1, "image a"),
        ([["a", ""], ["b", ""], ["c", ""]], "error", "rows of images that the list does not have", 1, "image c"),
        ([["a", ""], ["b", ""], ["c", "/m/02 1 0 0 1 1"]], "error", "detections on", 1, "image c: 1 detections"),
        ([["a", "dog 0.5 0 0 1 1"], ["b", ""]], "error", "categories that", 1, "category dog: 1 detections"),
        ([["a", "/m/02 high 0 0 1 1"], ["b", ""]], "error", "expected numbers", 1, "line 2, detection 1: high 0 0 1 1"),
        ([["a", "/m/02 nan 0 0 1 1"], ["b", ""]], "error", "not a finite number", 1, ROW + "nan"),
        ([["a", "/m/02 1 0.5 0 0.2 1"], ["b", ""]], "error", "is negative", 1, ROW + "[0.5, 0, -0.3, 1]"),
        ([["a", "/m/02 .5 0 0 2 1"], ["b", ""]], "warning", "beyond", 1, ROW + "[0, 0, 2, 1]"),
        ([["a", "/m/02 1 0 0 1 1 /m/02 1 0 0 1 1"], ["b", ""]], "warning", "more than once", 1, None),
        ([["a", "", ""], ["b", ""]], "error", "row without 2 fields", 1, "line 2: 3 fields"),
        ([["a", ""], ["b", ""]], "warning", "there are no detections", 1, None),
    ],
)  # fmt: skip
def test_faults_of_kaggle_detections(tmp_path, rows, severity, text, count, place):
    path = write_rows(tmp_path / "a.csv", [BOX_HEADER, *rows])
    finding = found(check_submission(path, images=OI.with_classes(LABELS)), text)
    assert (finding.severity, finding.count) == (severity, count)
    assert place is None or finding.examples[0] == place


@pytest.mark.parametrize(
    ("row", "text"),
    [
        (["a", "100", "80", f"/m/02 0.5 b'{TEXT}'"], "is not base64; it is a Python bytes literal"),
        (["a", "100", "80", "/m/02 0.5 abcd"], "is not compressed by zlib"),
        (["a", "100", "80", f"/m/02 0.5 {encode_mask(b'x' * 3000)[:24]}"], "is cut off"),
        (["a", "100", "80", f"/m/02 0.5 {encode_mask(b'not runs')}"], "do not fill its size"),
        (["a", "80", "100", f"/m/02 0.5 {TEXT}"], "of another size"),
        (["a", "100", "81", f"/m/02 0.5 {TEXT}"], "do not fill its size"),
        (["a", "wide", "80", f"/m/02 0.5 {TEXT}"], "not positive whole numbers"),
        (["a", "100", "80", f"/m/02 0.5 {TEXT} /m/02"], "is not a sequence of Label Conf EncodedMask"),
    ],
)
def test_faults_of_kaggle_masks(tmp_path, row, text):
    path = write_rows(tmp_path / "a.csv", [MASK_HEADER, row, ["b", "100", "80", ""]])
    assert found(check_submission(path, images=OI), text).severity == "error"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("id,boxes\n1,2\n", "is no submission: expected columns ImageId,PredictionString"),
        ('ImageId,PredictionString\na,/m/02 1 0 0 1 1\nb,"/m/02', "cannot be read to its end"),
        ("ImageId,PredictionString\na,\xff\n", "is not UTF-8 text"),
    ],
)
def test_damaged_csv(tmp_path, content, text):
    (tmp_path / "a.csv").write_bytes(content.encode("latin-1"))
    assert found(check_submission(tmp_path / "a.csv"), text).severity == "error"


def test_sides_of_thousands_of_digits_and_of_other_digits(tmp_path):
    for side in ("7" * 5000, "\xb2", "\u0663", "0", "-1", "2147483648"):
        path = tmp_path / "a.csv"
        path.write_text(f"ImageID,ImageWidth,ImageHeight,LabelName,Score,Mask\na,{side},9,/m/a,0.5,eJw=\n", "utf-8")
        report = check_submission(path)
        assert found(report, "ImageWidth and ImageHeight are not positive whole numbers").count == 1


def test_other_columns_in_another_order_and_a_zipped_csv(tmp_path):
    rows = [["PredictionString", "extra", "ImageId"], ["/m/02 1 0 0 1 1", "", "a"], ["", "", "b"]]
    path = write_rows(tmp_path / "a.csv", rows)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(path, "a.csv")
    for file in ("a.csv", "a.zip"):
        report = check_submission(tmp_path / file, images=OI.with_classes(LABELS))
        assert report.ok
        assert (report.format, report.detections) == ("openimages-detection", 1)


def test_the_format_that_was_named_is_compared(tmp_path):
    path = write_rows(tmp_path / "a.csv", [BOX_HEADER, ["a", ""]])
    assert found(check_submission(path, format="openimages-segmentation"), "the columns are those of").count == 1
    report = check_submission(write_zip(tmp_path / "a.zip", []), format="openimages-detection")
    assert found(report, "is CSV").severity == "error"
    with pytest.raises(InputError, match="option format"):
        check_submission(path, format="voc")


def test_reports_for_people_and_programs(tmp_path):
    from rich.console import Console

    report = checked(tmp_path, [record(4, score=7.0)] * 9)
    plain = json.loads(json.dumps(report.to_dict()))
    assert plain["ok"] is False
    assert plain["findings"][0]["count"] == 9
    console = Console(width=150, record=True, file=io.StringIO())
    console.print(report.to_table().to_rich())
    text = console.export_text()
    assert "image 4: 9 detections" in text
    assert "record 0 (image 4): 7" in text
    assert report.summary().endswith("bytes")
