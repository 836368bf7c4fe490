"""Files that are odd, or wrong: read with a note, or one error that names the file, the line and what to do."""

import json

import pytest

from evaluation import read_ground_truth, read_results
from evaluation.files.plain_xml import plain_objects
from fusion.coco_results import Reading
from fusion.errors import InputError
from fusion.storage import read_table

TRUTH = {
    "images": [
        {"id": 1, "file_name": "a b.jpg", "width": 100, "height": 50},
        {"id": 2, "file_name": "ü.jpg", "width": 40, "height": 80},
        {"id": 3, "file_name": "frame_000007.jpg", "width": 40, "height": 80},
    ],
    "categories": [{"id": 1, "name": "dog"}, {"id": 4, "name": "big cat"}],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 10, 20, 20], "area": 400, "iscrowd": 0}],
}
BOX = "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>11</xmax><ymax>22</ymax></bndbox>"
OBJECT = f"<object><name>dog</name><score>0.5</score>{BOX}</object>"
KITTI = "dog -1 -1 -10 1 2 11 22 -1 -1 -1 -1000 -1000 -1000 -10 0.5\n"


@pytest.fixture
def call(run, tmp_path):
    (tmp_path / "gt.json").write_text(json.dumps(TRUTH))

    def imported(files, *more, given="found"):
        folder = tmp_path / "found"
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        table = tmp_path / "t.parquet"
        code, _, err = run("import", tmp_path / given, "-g", tmp_path / "gt.json", "-o", table, "--as-is", *more)
        assert (code == 0) == table.exists()
        err = " ".join(err.split())
        if code:
            assert code == 2, err
            assert err.count("quorum: ") == 1
            return err
        table = read_table(table)
        columns = (table.image_id.tolist(), table.category_id.tolist(), table.score.tolist(), table.xywh.tolist())
        return list(zip(*columns, strict=True)), err

    return imported


ONE = [(1, 1, 0.5, [1, 2, 10, 20])]
YOLO_ONE = [(1, 1, 0.5, [10, 10, 20, 20])]
YAML = {"data.yaml": "names: [dog, big cat]\n"}
YOLO = "0 0.2 0.4 0.2 0.4 0.5"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        # blanks, tabs, CRLF, BOM, no line end, upper case, empty files, images without detections
        (YAML | {"labels/a b.txt": f"{YOLO}\n"}, YOLO_ONE),
        (YAML | {"labels/a b.txt": YOLO, "labels/ü.txt": ""}, YOLO_ONE),
        (YAML | {"labels/a b.txt": f"\ufeff{YOLO}\r\n\r\n"}, YOLO_ONE),
        (YAML | {"labels/a b.txt": f"\n\n  {YOLO.replace(' ', chr(9))}  \n"}, YOLO_ONE),
        (YAML | {"labels/a b.txt": YOLO.replace(" ", "   ") + "\n", "labels/ü.txt": "\r\n"}, YOLO_ONE),
        (YAML | {"labels/u\u0308.txt": "1.0 0.5 0.5 1 1 1e-3"}, [(2, 4, 0.001, [0, 0, 40, 80])]),
        ({"classes.txt": "dog\r\nbig cat\r\n", "labels/a b.txt": YOLO}, YOLO_ONE),
        ({"obj.names": "dog\nbig cat", "obj_train_data/a b.txt": YOLO, "train.txt": "data/a b.jpg\n"}, YOLO_ONE),
        (YAML | {"labels/a b.txt": "0 0.1 0.2 0.3 0.2 0.3 0.6 0.1 0.6 0.5"}, YOLO_ONE),
        ({"a b.xml": f"<annotation>{OBJECT}</annotation>"}, ONE),
        ({"a b.xml": f"\ufeff<?xml version='1.0'?>\r\n<annotation>\r\n{OBJECT}\r\n</annotation>\r\n"}, ONE),
        ({"a b.xml": f"<annotation>{OBJECT.replace('score', 'confidence')}</annotation>"}, ONE),
        ({"a b.xml": f"<annotation><!-- x -->{OBJECT}</annotation>", "ü.xml": "<annotation/>"}, ONE),
        ({"a b.xml": f"<annotation>{OBJECT.replace(BOX, '<part>' + BOX + '</part>' + BOX)}</annotation>"}, ONE),
        (
            {"ü.xml": f'<?xml version="1.0" encoding="latin-1"?><annotation>{OBJECT}</annotation>'},
            [(2, 1, 0.5, [1, 2, 10, 20])],
        ),
        ({"Annotations/a b.xml": f"<annotation>{OBJECT}</annotation>", "ImageSets/x.txt": "a b"}, ONE),
        ({"a b.txt": KITTI}, ONE),
        ({"a b.txt": KITTI, "ü.txt": ""}, ONE),
        ({"comp4_det_test_dog.txt": "frame_000007 0.5 1 2 11 22\n"}, [(3, 1, 0.5, [1, 2, 10, 20])]),
        ({"a b.txt": "dog 0.5 1 2 11 22\n"}, ONE),
    ],
)
def test_what_is_odd_is_read(call, files, expected):
    rows, _ = call(files)
    assert rows == expected


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("a.csv", "image_id,category_id,score,x,y,w,h\n1,1,0.5,1,2,10,20\n"),
        ("a.csv", "\ufeffImage,Label,Confidence,X_Min,Y_Min,X_Max,Y_Max\r\na b.jpg,dog,0.5,1,2,11,22\r\n"),
        ("a.csv", 'file_name;class;score;bbox\n"a b.jpg";dog;0.5;"[1, 2, 10, 20]"\n'),
        ("a.csv", "file_name;class;score;xmin;ymin;xmax;ymax\nx/a b.jpg;dog;0,5;1,0;2;11;22\n"),
        ("a.tsv", "filename\tlabel_name\tprob\tleft\ttop\twidth\theight\na b.jpg\tdog\t0.5\t1\t2\t10\t20\n"),
        ("a.csv", "image_id,PredictionString\n1,1 0.5 1 2 11 22\n2,14 1 0 0 1 1\n3,\n"),
        ("a.txt", "1,-1,1,2,10,20,0.5,-1,-1,-1\r\n"),
        ("a.txt", "1, -1, 1, 2, 10, 20, 0.5, 1, -1, -1"),
    ],
)
def test_odd_tables_are_read(call, file, text):
    more = ["--label-map", "1=1"] if file.endswith(".txt") else []
    rows, _ = call({file: text}, *more, given=f"found/{file}")
    assert rows == ONE


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (YAML | {"labels/a b.txt": "0 0.2 0.4 0.2 0.4\n"}, ["a b.txt, line 1", "no confidence", "save_conf"]),
        (YAML | {"labels/a b.txt": f"\n{YOLO}\n\n0 0.2 x 0.2 0.4 0.5\n"}, ["a b.txt, line 4", "'x'"]),
        (
            YAML | {"labels/a b.txt": f"{YOLO}\n0.5 0.2 0.4 0.2 0.4 0.5\n"},
            ["a b.txt, line 2", "number of a class", "0.5"],
        ),
        (YAML | {"labels/a b.txt": f"{YOLO}\n0 0.2 0.4 -0.2 0.4 0.5\n"}, ["a b.txt, line 2", "width"]),
        (
            YAML | {"labels/nowhere.txt": YOLO, "labels/a b.txt": YOLO},
            ["1 image that", "nowhere", "--unknown-images drop"],
        ),
        (
            {"data.yaml": "names: [dog, cow]", "labels/a b.txt": f"{YOLO}\n1{YOLO[1:]}"},
            ["not in", "--unknown-categories"],
        ),
        (YAML | {"labels/a b.txt": YOLO.encode() + b" \xff\n"}, ["a b.txt", "UTF-8"]),
        ({"a b.xml": f"<annotation>{OBJECT}"}, ["a b.xml", "is not XML"]),
        (
            {"a b.xml": f"<annotation>{OBJECT.replace('<score>0.5</score>', '')}</annotation>"},
            ["object 1", "no <score>"],
        ),
        ({"a b.xml": f"<annotation>{OBJECT}{OBJECT.replace('<xmax>11', '<xmax>x')}</annotation>"}, ["object 2", "'x'"]),
        (
            {"a b.xml": f"<annotation>{OBJECT}{OBJECT.replace('<xmax>11', '<xmax>0')}</annotation>"},
            ["object 2", "width"],
        ),
        ({"a b.xml": f"<annotation>{OBJECT.replace('<name>dog</name>', '')}</annotation>"}, ["object 1", "no <name>"]),
        ({"a b.txt": KITTI + KITTI.replace(" 0.5", "")}, ["a b.txt, line 2", "16 words"]),
        ({"a b.txt": KITTI.replace(" 0.5", "")}, ["a b.txt, line 1", "ground truth"]),
        ({"comp4_det_test_cow.txt": "x 0.5 1 2 3 4\n"}, ["no image in common"]),
        ({"comp4_det_test_dog.txt": "frame_000007 0.5 1 2 3\n"}, ["comp4_det_test_dog.txt, line 1", "5 words"]),
        ({"results.pkl": b"\x80\x04\x95"}, ["pickle", "JSON"]),
        ({"notes.md": "# hello"}, ["known format", "1 .md", "--format"]),
        ({"results.json": "[]", "predictions.json": "[]"}, ["several files", "predictions.json", "results.json"]),
    ],
)
def test_what_is_wrong_is_named(call, files, words):
    said = call(files)
    assert isinstance(said, str)
    assert [word for word in words if word not in said] == [], said


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("a.csv", "image_id,category_id,x,y,w,h,score\n1,1,1,2,10,20,\n", ["line 2, column score", "nothing"]),
        ("a.csv", "image_id,category_id,x,y,w,h,score\n1,1,1,2,10,big,0.5\n", ["line 2, column h", "'big'"]),
        ("a.csv", "image_id,category_id,x,y,w,h,score\n1,1,1,2,-1,20,0.5\n", ["line 2", "width -1"]),
        ("a.csv", "image_id,category_id,x,y,w,h,score\n1,1,1,2\n", ["line 2"]),
        ("a.csv", 'image_id,score,bbox\n1,0.5,"[1, 2, 3]"\n', ["line 2", "four numbers"]),
        ("a.csv", "image_id,PredictionString\n1,0.5 1 2 3\n", ["line 2", "4 words"]),
        ("a.csv", "image_id,PredictionString\n1,1 0.5 1 2 3 x\n", ["line 2", "'x'"]),
        ("a.txt", "1,-1,1,2,10,20,0.5,-1,-1,-1\n1,-1,1,2,10\n", ["line 2", "10 numbers"]),
        ("results.pkl", b"\x80\x04\x95", ["a pickle", "run any code", "JSON"]),
        ("results.json", "", ["empty"]),
    ],
)
def test_wrong_tables_are_named(call, file, text, words):
    said = call({file: text}, *(("--format", "csv") if "score,bbox" in str(text) else ()), given=f"found/{file}")
    assert isinstance(said, str)
    assert [word for word in words if word not in said] == [], said


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"labels/a.txt": "0 0.5 0.5 0.5 0.5 0.9\n"}, ["a.txt, line 1", "give them as results"]),
        (
            {"a.xml": f"<annotation>{OBJECT.replace('<xmax>11', '<xmax>0')}</annotation>"},
            ["a.xml, object 1", "before it begins"],
        ),
        (
            {"annotations.xml": '<annotations><image name="a" width="x" height="1"/></annotations>'},
            ["image 'a'", "'x'"],
        ),
        ({"a.json": '{"shapes": [{"label": 5, "points": []}]}'}, ["a.json", "LabelMe"]),
        ({"a.txt": KITTI}, ["a.txt, line 1", "as results"]),
    ],
)
def test_annotations_that_are_wrong_are_named(run, tmp_path, files, words):
    for name, content in files.items():
        (tmp_path / "gt" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "gt" / name).write_text(content)
    code, _, err = run("evaluate", "t.parquet", "-g", tmp_path / "gt")
    assert code == 2
    assert [word for word in words if word not in " ".join(err.split())] == [], err


def test_objects_that_differ_are_left_to_the_parser():
    tags = ("name", "score", "xmin", "ymin", "xmax", "ymax")
    whole = f"<annotation>{OBJECT}</annotation>".encode()
    count, columns = plain_objects([whole, b"<annotation></annotation>"], tags)
    assert count == [1, 0]
    assert [column.to_pylist() for column in columns] == [["dog"], [0.5], [1], [2], [11], [22]]
    for other in (
        whole[:-5],
        whole.replace(b"<object>", b"<object id='1'>"),
        whole.replace(b"dog", b"a &amp; b"),
        whole.replace(b"<score>0.5</score>", b""),
        whole.replace(b"<score>0.5</score>", b"<score>0.5</score><score>0.5</score>"),
        whole.replace(b"<name>dog</name><score>0.5</score>", b"<score>0.5</score><name>dog</name>"),
        whole.replace(b"0.5", b"half"),
    ):
        assert plain_objects([whole, other], tags) is None, other


def test_standard_input(run, tmp_path, monkeypatch):
    import gzip
    import io
    import sys

    (tmp_path / "gt.json").write_text(json.dumps(TRUTH))
    text = b"image_id,category_id,score,x,y,w,h\n1,1,0.5,1,2,10,20\n"
    for number, data in enumerate((text, gzip.compress(text), b"1,-1,1,2,10,20,0.5,1,-1,-1\n")):
        stream = io.TextIOWrapper(io.BufferedReader(io.BytesIO(data)))
        monkeypatch.setattr(sys, "stdin", stream)
        table = tmp_path / f"{number}.parquet"
        code, _, err = run("import", "-", "-g", tmp_path / "gt.json", "-o", table)
        assert code == 0, err
        assert read_table(table).xywh.tolist() == [[1, 2, 10, 20]]


def test_images_without_ground_truth_have_its_categories(tmp_path):
    """Test images of a data set, whose categories are named as in its annotations of other images."""
    (tmp_path / "gt.json").write_text(json.dumps(TRUTH))
    (tmp_path / "found.csv").write_text("file_name,label,score,x,y,w,h\nnew.jpg,big cat,0.5,1,2,3,4\n")
    truth = read_ground_truth(tmp_path / "gt.json")
    with pytest.raises(InputError, match="expected a category id, got a name"):
        read_results(tmp_path / "found.csv", None)
    table = read_results(tmp_path / "found.csv", None, categories_of=truth)
    assert table.image_ids.tolist() == ["new.jpg"]
    assert table.category_id.tolist() == [4]
    with pytest.raises(InputError, match="is not a category of"):
        read_results(tmp_path / "found.csv", None, Reading(label_map={"big cat": 5}), categories_of=truth)


def test_results_beside_annotations_are_not_taken_for_them(run, tmp_path):
    """A data set's folder in which a detector's results were left; and annotations of COCO by their usual name."""
    (tmp_path / "set/labels").mkdir(parents=True)
    (tmp_path / "set/labels/a.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    (tmp_path / "set/predictions.json").write_text("[]")
    assert read_ground_truth(tmp_path / "set").image_id.tolist() == ["a"]
    (tmp_path / "coco").mkdir()
    (tmp_path / "coco/_annotations.coco.json").write_text(json.dumps(TRUTH))
    (tmp_path / "coco/predictions.json").write_text("[]")
    assert read_ground_truth(tmp_path / "coco").image_id.tolist() == [1, 2, 3]
    assert len(read_results(tmp_path / "coco", read_ground_truth(tmp_path / "coco"))) == 0
