"""Data sets and detectors that are harder to tell: many false boxes, frames of a video, names that are no words."""

import json
import random

import pytest

from tests.evaluation.readings.cases import BOXES, _normalized, box, data_set, results, write
from tests.evaluation.readings.test_files_as_people_have_them import as_meant, options_of, precision


def imported(run, folder, truth, records, *options):
    gt, path = write(folder, truth, records)
    code, _, err = run("import", path, "-g", gt, "-o", folder / "a.parquet", *options)
    return code, err, (lambda: precision(run, folder / "a.parquet", gt))


def with_false_boxes(truth, records, seed):
    """Six wrong boxes for each right one, less confident, as a detector without a threshold writes them."""
    rng = random.Random(seed)
    false = []
    for _ in range(6 * len(records)):
        image = rng.choice(truth["images"])
        w, h = rng.uniform(8, image["width"] / 4), rng.uniform(8, image["height"] / 4)
        place = [rng.uniform(0, image["width"] - w), rng.uniform(0, image["height"] - h), w, h]
        category = rng.choice(truth["categories"])["id"]
        false.append({"image_id": image["id"], "category_id": category, "bbox": place, "score": rng.uniform(0.01, 0.6)})
    return records + false


@pytest.mark.parametrize("seed", range(1, 4))
@pytest.mark.parametrize("change", [BOXES["xyxy"], _normalized(BOXES["cxcywh"])], ids=["corners", "shares"])
def test_false_boxes_do_not_hide_what_boxes_mean(tmp_path, run, seed, change):
    truth = data_set(seed)
    sizes = {image["id"]: (image["width"], image["height"]) for image in truth["images"]}
    records = with_false_boxes(truth, results(truth), seed)
    code, err, found = imported(run, tmp_path, truth, records)
    assert code == 0, err
    meant = found()
    turned = [record | {"bbox": change(*record["bbox"], *sizes[record["image_id"]])} for record in records]
    code, err, _ = imported(run, tmp_path, truth, turned)
    assert code == 2
    code, err, found = imported(run, tmp_path, truth, turned, *options_of(err))
    assert code == 0, err
    assert found() == pytest.approx(meant)


def video(seed, frames=30):
    """A data set whose objects move a few pixels from one image to the next."""
    rng = random.Random(seed)
    truth = data_set(seed, gaps=False, sizes="one")
    width, height = truth["images"][0]["width"], truth["images"][0]["height"]
    truth["info"]["noise"] = False
    truth["images"] = [
        {"id": n, "file_name": f"{n:06d}.jpg", "width": width, "height": height} for n in range(1, frames + 1)
    ]
    truth["annotations"] = []
    for _ in range(4):
        w, h = rng.randint(width // 8, width // 4), rng.randint(height // 8, height // 4)
        x, category = rng.uniform(0, width / 4), rng.choice(truth["categories"])["id"]
        y = rng.uniform(0, height - h)
        for n in range(frames):
            number = len(truth["annotations"]) + 1
            place = {"id": number, "image_id": n + 1, "category_id": category, "bbox": [x + 0.015 * width * n, y, w, h]}
            truth["annotations"].append(place | {"area": w * h, "iscrowd": 0})
    return truth


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("by", [1, -1])
def test_frames_of_a_video_off_by_one(tmp_path, run, seed, by):
    """Most boxes meet an object in the next frame as well."""
    truth = video(seed)
    records = results(truth)
    code, err, found = imported(run, tmp_path, truth, records)
    assert code == 0, err
    assert found() == 1
    moved = [record | {"image_id": record["image_id"] + by} for record in records]
    code, err, _ = imported(run, tmp_path, truth, [r for r in moved if 1 <= r["image_id"] <= 30])
    assert code == 2
    assert options_of(err) == ["--image-offset", str(-by)]
    code, err, _ = imported(run, tmp_path, truth, moved)
    assert code == 2
    assert f"--image-offset {-by}" in err


@pytest.mark.parametrize("change", [str.upper, lambda s: f"the {s}", lambda s: s + ", or so", lambda s: s + "='$x'"])
def test_a_label_map_can_be_typed_as_it_is_said(tmp_path, run, change):
    truth = data_set(1)
    names = {category["id"]: change(f"n{category['id']} of it") for category in truth["categories"]}
    records = results(truth, category_id=lambda a, i, r: names[r["category_id"]])
    # ids beside one of the names, so that the others are asked for
    truth["categories"][0]["name"] = names[truth["categories"][0]["id"]]
    code, err, _ = imported(run, tmp_path, truth, records)
    assert code == 2
    assert "--label-map" in err
    code, err, found = imported(run, tmp_path, truth, records, *options_of(err))
    assert code == 0, err
    assert found() == as_meant(run, tmp_path / "gt.json", tmp_path / "a.parquet")


@pytest.mark.parametrize("names", [["dog", "dog"], ["dog", "Dog"], ["cell phone", "cell_phone"], ["", ""]])
def test_categories_of_one_name_are_told_apart_by_their_ids(tmp_path, run, names):
    truth = data_set(2)
    for category, name in zip(truth["categories"], names, strict=False):
        category["name"] = name
    words = {category["id"]: category["name"] for category in truth["categories"]}
    records = results(truth)
    meant = as_meant(run, write(tmp_path, truth, records)[0], tmp_path / "a.parquet")
    dictionary = {"images": truth["images"], "categories": truth["categories"], "annotations": records}
    beside = results(truth, category_name=lambda a, i, r: words[r["category_id"]])
    for content in (dictionary, beside):
        code, err, found = imported(run, tmp_path, truth, content)
        assert code == 0, err
        assert found() == meant
    ids = [category["id"] for category in truth["categories"]]
    turned = dict(zip(ids, ids[1:] + ids[:1], strict=True))
    mixed = results(
        truth,
        category_name=lambda a, i, r: words[r["category_id"]],
        category_id=lambda a, i, r: turned[r["category_id"]],
    )
    assert imported(run, tmp_path, truth, mixed)[0] == (2 if names[0] == names[1] else 0)


def test_names_of_files_in_another_case(tmp_path, run):
    truth = data_set(3, names="folders")
    names = {image["id"]: image["file_name"] for image in truth["images"]}
    records = results(truth, image_id=lambda a, i, r: None, file_name=lambda a, i, r: names[i["id"]].upper())
    code, err, found = imported(run, tmp_path, truth, records)
    assert code == 0, err
    assert "regardless of case" in err
    assert found() == as_meant(run, tmp_path / "gt.json", tmp_path / "a.parquet")
    renamed = results(truth, image_id=lambda a, i, r: "x" + names[i["id"]].replace("/", "_"))
    code, err, _ = imported(run, tmp_path, truth, renamed)
    assert code == 2
    assert "expected file names such as val/" in err
    assert "--image" not in err


def test_categories_that_nothing_can_be_told_of(tmp_path, run):
    """Of 60 categories with one or two objects each the right numbering is not found; it is said that it is wrong."""
    truth = data_set(4)
    rng = random.Random(0)
    truth["categories"] = [{"id": i, "name": f"category {i}"} for i in range(1, 61)]
    for annotation in truth["annotations"]:
        annotation["category_id"] = rng.randint(1, 60)
    other = rng.sample(range(1, 61), 60)
    code, err, _ = imported(run, tmp_path, truth, results(truth))
    assert code == 0
    assert "of its category" not in err
    code, err, found = imported(
        run, tmp_path, truth, results(truth, category_id=lambda a, i, r: other[r["category_id"] - 1])
    )
    assert code == 0
    assert "are of its category" in err
    assert found() < 0.1


@pytest.mark.parametrize("seed", range(1, 5))
def test_shares_of_mirrored_pictures(tmp_path, run, seed):
    truth = data_set(seed)
    change = _normalized(lambda x, y, w, h, *_: [1 - x - w, y, w, h])
    gt, path = write(tmp_path, truth, results(truth, **box(change)))
    code, _, err = run("import", path, "-g", gt, "-o", tmp_path / "a.parquet")
    assert code == 2
    assert options_of(err) == ["--box-format", "xywh_normalized", "--picture", "mirrored"]


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\n", "a Git LFS pointer"),
        (b"\x1f\x8b\x08\0", "compressed twice"),
        (b"PK\x03\x04" + 26 * b"\0" + b"archive/data.pkl", "a PyTorch file"),
        (b"PK\x03\x04" + 26 * b"\0" + b"boxes.npy", "an NPZ file"),
        (b"PK\x03\x04" + 26 * b"\0" + b"boxes.json", "a zip archive"),
        ('[{"image_id"'.encode("utf-16-le"), "UTF-16 text"),
        (b'\x04"M\x18@', "compressed by lz4"),
        (b"ImageId,PredictionString\na,1", "CSV"),
        (b"image_id;score;x\n1;2;3", "CSV"),
        (b"person 0.9 10 20 30 40\n", "a box per line"),
        (b"SQLite format 3\0", "no JSON: it begins with"),
        (b"true", None),
        (b"12", None),
        (b'"a"', None),
        (b"-Infinity", None),
    ],
)
def test_kinds_of_file(content, part):
    from fusion.source import kind_of

    for wanted in ("results", "ground truth"):
        kind = kind_of(content, wanted)
        assert kind is None if part is None else part in kind[0] and kind[1]


def test_results_given_as_ground_truth(tmp_path, run):
    truth = data_set(1)
    gt, path = write(tmp_path, truth, results(truth))
    code, _, err = run("import", path, "-g", path, "-o", tmp_path / "a.parquet")
    assert code == 2
    assert "got JSON list. Is it a results file?" in err
    path.write_text(json.dumps(json.loads(gt.read_text()))[:-9])
    code, _, err = run("evaluate", tmp_path / "a.parquet", "-g", path)
    assert "is not complete JSON (Expecting" in err


def test_few_boxes_prove_nothing_but_it_is_said_what_they_may_mean(tmp_path, run):
    truth = data_set(2)
    truth["info"]["noise"] = False
    code, err, _ = imported(run, tmp_path, truth, results(truth, **box(BOXES["xyxy"]))[:4])
    assert code == 0
    assert "100 % would with --box-format xyxy, which so few boxes do not prove" in err
    assert imported(run, tmp_path, truth, results(truth)[:4])[1].count("would with") == 0


@pytest.mark.parametrize("few", [3, 1000])
def test_shares_are_no_pixels_though_sizes_are_not_known(tmp_path, run, few):
    truth = data_set(1)
    records = results(truth, **box(_normalized(lambda x, y, w, h, *_: [x, y, w, h])))[:few]
    for image in truth["images"]:
        del image["width"], image["height"]
    code, err, _ = imported(run, tmp_path, truth, records)
    assert code == 2
    assert "lie between 0 and 1" in err
    code, err, _ = imported(run, tmp_path, truth, records, "--box-format", "xywh_normalized")
    assert code == 2
    assert "width and height of the images" in err


def test_objects_that_are_all_crowds_say_nothing_of_a_detector(tmp_path, run):
    truth = data_set(1)
    records = results(truth)
    for annotation in truth["annotations"]:
        annotation["iscrowd"] = 1
    code, err, _ = imported(run, tmp_path, truth, records)
    assert code == 0
    assert "poor detector" not in err
    assert "poor detector" not in run("evaluate", tmp_path / "a.parquet", "-g", tmp_path / "gt.json")[2]


@pytest.mark.parametrize("boxes", [True, False])
def test_polygons_have_the_size_of_the_image_that_is_named(tmp_path, run, boxes):
    """Its id is another image's, of another size."""
    truth = data_set(1)
    ids = [image["id"] for image in truth["images"]]
    other = dict(zip(ids, ids[1:] + ids[:1], strict=True))

    def polygon(annotation, image, record):
        x, y, w, h = record["bbox"]
        return [[x, y, x + w, y, x + w, y + h, x, y + h]]

    changes = {"segmentation": polygon, "file_name": lambda a, i, r: i["file_name"]}
    if not boxes:
        changes["bbox"] = lambda a, i, r: None
    code, err, found = imported(run, tmp_path, truth, results(truth, **changes))
    assert code == 0, err
    meant = found()
    code, err, found = imported(
        run, tmp_path, truth, results(truth, image_id=lambda a, i, r: other[i["id"]], **changes)
    )
    assert code == 0, err
    assert found() == meant


def test_corners_in_the_ground_truth_are_noted(tmp_path, run):
    truth = data_set(1)
    for annotation in truth["annotations"]:
        x, y, w, h = annotation["bbox"]
        annotation["bbox"] = [x, y, x + w, y + h]
    code, err, _ = imported(run, tmp_path, truth, results(truth))
    assert code == 0
    assert "objects end beyond their image" in err
    assert "beyond their image" not in imported(run, tmp_path, data_set(1), results(data_set(1)))[1]


def test_a_ground_truth_without_file_names(tmp_path, run):
    truth = data_set(1)
    records = results(truth, image_id=lambda a, i, r: None, file_name=lambda a, i, r: i["file_name"])
    for image in truth["images"]:
        del image["file_name"]
    code, err, _ = imported(run, tmp_path, truth, records)
    assert code == 2
    assert "lacks the file_name of its images" in err


def test_a_label_map_may_be_longer_than_the_name_of_a_file(tmp_path, run):
    truth = data_set(2)
    truth["categories"] = [{"id": i, "name": f"category {i}"} for i in range(1, 61)]
    for number, annotation in enumerate(truth["annotations"]):
        annotation["category_id"] = number % 60 + 1
    other = random.Random(0).sample(range(1, 61), 60)
    label_map = ",".join(f"{other[i]}={i + 1}" for i in range(60))
    assert len(label_map) > 255
    records = results(truth, category_id=lambda a, i, r: other[r["category_id"] - 1])
    code, err, found = imported(run, tmp_path, truth, records, "--label-map", label_map)
    assert code == 0, err
    assert found() == as_meant(run, tmp_path / "gt.json", tmp_path / "a.parquet")


@pytest.mark.parametrize("seed", range(3))
def test_a_map_that_leaves_categories_out_says_what_becomes_of_them(tmp_path, run, seed):
    truth = data_set(seed, categories=5)
    ids = [category["id"] for category in truth["categories"]]
    truth["categories"] += [{"id": 100 + n, "name": f"rare {n}"} for n in range(4)]
    rare = iter(range(100, 104))
    turned = dict(zip(ids, ids[1:] + ids[:1], strict=True))
    records = results(truth, category_id=lambda a, i, r: turned[r["category_id"]])
    # boxes of nothing, and of categories that no object has
    records += [records[0] | {"category_id": next(rare), "bbox": [1, 1, 5, 5], "score": 0.9} for _ in range(4)]
    for record in records[-4:-2]:
        record["category_id"] += 50
    gt, path = write(tmp_path, truth, records)
    code, _, err = run("import", path, "-g", gt, "-o", tmp_path / "a.parquet")
    assert code == 2
    options = options_of(err)
    assert "--unknown-categories" in options
    assert "cannot be told" in err
    code, err, _ = imported(run, tmp_path, truth, records, *options)
    assert code == 0, err


@pytest.mark.parametrize("seed", range(4))
def test_half_of_a_common_category_taken_for_a_rare_one(tmp_path, run, seed):
    """Most boxes of the rare category lie on objects of the common one, as most of the common one's own do."""
    rng = random.Random(seed)
    truth = data_set(seed, categories=3)
    ids = [category["id"] for category in truth["categories"]][:2]
    truth["categories"] = truth["categories"][:2]
    for number, annotation in enumerate(truth["annotations"]):
        annotation["category_id"] = ids[number % 8 == 0]
    found = results(truth, category_id=lambda a, i, r: ids[rng.random() < 0.55 if r["category_id"] == ids[0] else 0])
    code, err, _ = imported(run, tmp_path, truth, found)
    assert code == 0, err


@pytest.mark.parametrize("seed", range(1, 5))
def test_a_file_of_two_kinds_of_boxes_is_noted(tmp_path, run, seed):
    truth = data_set(seed)
    plain, corners = results(truth), results(truth, **box(BOXES["xyxy"]))
    mixed = [one if number % 2 else other for number, (one, other) in enumerate(zip(plain, corners, strict=True))]
    code, err, _ = imported(run, tmp_path, truth, mixed)
    assert code == 0
    assert "--box-format xyxy: the file seems to be of two kinds" in err
