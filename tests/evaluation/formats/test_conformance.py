"""Every format that can be written, read back: the same AP to the last digit through the whole command line.

What each reader reads is compared with what plain code finds in the same files.
"""

import csv
import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

from evaluation.formats import format_names, format_of, formats_that, recognised
from fusion.storage import read_table

DATA = Path(__file__).parents[4] / "shared" / "data"
real = pytest.mark.skipif(not DATA.is_dir(), reason="the real files are not beside the checkout (../shared/data)")

SUFFIX = {"coco": ".json", "csv": ".csv", "kitti": "", "mot": ".txt", "openimages": ".csv", "voc": "", "yolo": ""}
SETS = {
    "mvor": ("mvor/annotations/camma_mvor_2018.json", "mvor/detections_results/faster_rcnn_bbox.json", "bbox"),
    "coco": (
        "coco_fake100/instances_val2014_100.json",
        "coco_fake100/instances_val2014_fakebbox100_results.json",
        "bbox",
    ),
    "masks": (
        "coco_fake100/instances_val2014_100.json",
        "coco_fake100/instances_val2014_fakesegm100_results.json",
        "segm",
    ),
    "voc": ("voc100/gts/coco_format_v1/instances_default.json", "voc100/dets/coco_format/coco_dets.json", "bbox"),
}


@pytest.fixture
def run(run):
    def call(*arguments):
        code, out, err = run(*arguments)
        assert code == 0, err
        return out

    return call


def figures(run, table, truth, *more):
    [result] = json.loads(run("evaluate", table, "-g", truth, "--format", "json", *more))
    return {name: value for name, value in result.items() if isinstance(value, float)}


def test_every_format_is_described_and_can_do_something():
    for name in format_names():
        can = [what for what in ("results", "truth", "write", "take", "give") if name in formats_that(what)]
        assert can, name
        assert format_of(name, can[0]).title
    assert set(SUFFIX) == set(formats_that("write"))


def test_the_documents_have_a_row_for_every_format():
    page = (Path(__file__).parents[3] / "docs" / "formats.md").read_text()
    table = page[page.index("| format |") : page.index("\n\n", page.index("| format |"))]
    rows = dict(re.findall(r"^\| `(\w+)` \|(.*)\|$", table, re.MULTILINE))
    assert set(rows) == set(format_names())
    for name, row in rows.items():
        what, come_in, truth, out, lost = row.split("|")
        assert what.strip()
        assert bool(come_in.strip()) == (name in formats_that("results") + formats_that("take")), name
        assert name in formats_that("take") or bool(truth.strip()) == (name in formats_that("truth")), name
        assert bool(out.strip()) == bool(lost.strip()) == (name in formats_that("write") + formats_that("give")), name


# -- round trips


@real
@pytest.mark.parametrize(
    ("data", "name"),
    # Open Images' files go by labels, see below; masks have a place in COCO's alone
    [
        (data, name)
        for data in SETS
        for name in sorted(set(SUFFIX) - {"openimages"})
        if data != "masks" or name == "coco"
    ],
)
def test_ap_is_equal_through_every_format_that_can_carry_it(run, tmp_path, data, name):
    truth, results, iou_type = SETS[data]
    truth, table, again = DATA / truth, tmp_path / "a.parquet", tmp_path / "b.parquet"
    run("import", DATA / results, "-g", truth, "-o", table)
    written = tmp_path / f"written{SUFFIX[name]}"
    run("export", name, table, "-g", truth, "-o", written)
    assert recognised(written, "results").name == name
    run("import", written, "-g", truth, "-o", again)
    before, after = (figures(run, path, truth, "--iou-type", iou_type) for path in (table, again))
    assert before["AP"] > 0
    assert after == before
    assert read_table(again).metadata.made_by["format"] == name


def boxes_of_everything(table):
    """Image, category, score and the four numbers of each row, in the order of the rows."""
    columns = [table.image_id.tolist(), table.category_id.tolist(), table.score.tolist(), table.xywh.tolist()]
    return [(i, c, s, *b) for i, c, s, b in zip(*columns, strict=True)]


TRUTH = {
    "images": [
        {"id": 1, "file_name": "straße 1.jpg", "width": 640, "height": 480},
        {"id": 7, "file_name": "val/b.png", "width": 333, "height": 500},
        {"id": 9, "file_name": "nothing.jpg", "width": 10, "height": 10},
    ],
    "categories": [{"id": 3, "name": "stop sign"}, {"id": 5, "name": "Zebra & co <x>"}, {"id": 90, "name": "ü"}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 3, "bbox": [10, 20, 30, 40], "area": 1200, "iscrowd": 0},
        {"id": 2, "image_id": 7, "category_id": 90, "bbox": [10, 20, 30, 40], "area": 1200, "iscrowd": 0},
    ],
}


@pytest.fixture
def truth(tmp_path):
    path = tmp_path / "gt.json"
    path.write_text(json.dumps(TRUTH))
    return path


@pytest.fixture
def results(tmp_path):
    rng = np.random.default_rng(5)
    records = [
        {
            "image_id": int(rng.choice([1, 7])),
            "category_id": int(rng.choice([3, 5, 90])),
            "bbox": [round(float(side), 3) for side in rng.uniform(1, 150, 4)],
            "score": round(float(rng.uniform()), 4),
        }
        for _ in range(60)
    ]
    path = tmp_path / "results.json"
    path.write_text(json.dumps(records))
    return path


@pytest.mark.parametrize("name", sorted(set(SUFFIX) - {"openimages"}))
def test_every_box_comes_back(run, tmp_path, truth, results, name):
    """Names with spaces, folders, umlauts and marks of XML; several categories; x + w that is not the corner."""
    table, again, written = tmp_path / "a.parquet", tmp_path / "b.parquet", tmp_path / f"out{SUFFIX[name]}"
    run("import", results, "-g", truth, "-o", table)
    run("export", name, table, "-g", truth, "-o", written)
    run("import", written, "-g", truth, "-o", again)
    one, two = (boxes_of_everything(read_table(path)) for path in (table, again))
    assert [row[:3] for row in two] == [row[:3] for row in one]
    exact = name in ("coco", "csv", "mot", "yolo")
    np.testing.assert_allclose([r[3:] for r in two], [r[3:] for r in one], rtol=0, atol=0 if exact else 1e-12)
    if not exact:  # corners, to the last bit
        corners = [[read_table(path).far(side) for side in "xy"] for path in (table, again)]
        np.testing.assert_array_equal(*corners)


@pytest.mark.parametrize("name", sorted(set(SUFFIX) - {"openimages"}))
@pytest.mark.parametrize("packed", ["gzip", "zstd"])
def test_packed_files_are_read(run, tmp_path, truth, results, name, packed):
    import pyarrow as pa

    table, again, written = tmp_path / "a.parquet", tmp_path / "b.parquet", tmp_path / f"out{SUFFIX[name]}"
    run("import", results, "-g", truth, "-o", table)
    run("export", name, table, "-g", truth, "-o", written)
    suffix = {"gzip": ".gz", "zstd": ".zst"}[packed]
    files = [path for path in written.rglob("*") if path.suffix in (".txt", ".xml")] if written.is_dir() else [written]
    for file in files:
        with pa.CompressedOutputStream(str(file) + suffix, packed) as stream:
            stream.write(file.read_bytes())
        file.unlink()
    given = written if written.is_dir() else Path(str(written) + suffix)
    run("import", given, "-g", truth, "-o", again)
    one, two = (boxes_of_everything(read_table(path)) for path in (table, again))
    assert [row[:3] for row in two] == [row[:3] for row in one]
    np.testing.assert_allclose([r[3:] for r in two], [r[3:] for r in one], rtol=0, atol=1e-12)


# -- readers against plain code


def plain_yolo(folder, truth):
    sizes = {Path(i["file_name"]).stem: (i["id"], i["width"], i["height"]) for i in truth["images"]}
    ids = [category["id"] for category in truth["categories"]]
    for path in sorted(folder.rglob("*.txt")):
        image, width, height = sizes[path.stem]
        for line in path.read_text().splitlines():
            label, x, y, w, h, score = line.split()
            x, y, w, h = float(x) * width, float(y) * height, float(w) * width, float(h) * height
            yield image, ids[int(label)], float(score), x - w / 2, y - h / 2, w, h


def plain_voc(folder, truth):
    images = {Path(i["file_name"]).stem: i["id"] for i in truth["images"]}
    names = {category["name"]: category["id"] for category in truth["categories"]}
    for path in sorted(folder.rglob("*.xml")):
        for entry in ElementTree.parse(path).getroot().iter("object"):
            x1, y1, x2, y2 = (float(entry.findtext(f"bndbox/{side}")) for side in ("xmin", "ymin", "xmax", "ymax"))
            yield (
                images[path.stem],
                names[entry.findtext("name")],
                float(entry.findtext("score")),
                x1,
                y1,
                x2 - x1,
                y2 - y1,
            )


def plain_kitti(folder, truth):
    images = {Path(i["file_name"]).stem: i["id"] for i in truth["images"]}
    names = {category["name"].replace(" ", "_"): category["id"] for category in truth["categories"]}
    for path in sorted(folder.rglob("*.txt")):
        for line in path.read_text().splitlines():
            words = line.split()
            x1, y1, x2, y2 = map(float, words[4:8])
            yield images[path.stem], names[words[0]], float(words[15]), x1, y1, x2 - x1, y2 - y1


def plain_mot(file, truth):
    for line in file.read_text().splitlines():
        frame, _, x, y, w, h, score, label, *_ = map(float, line.split(","))
        yield int(frame), int(label), score, x, y, w, h


def plain_csv(file, truth):
    with file.open(newline="") as stream:
        for row in csv.DictReader(stream):
            yield int(row["image_id"]), int(row["category_id"]), *(float(row[name]) for name in ("score", *"xywh"))


def plain_coco(file, truth):
    for record in json.loads(file.read_text()):
        yield record["image_id"], record["category_id"], record["score"], *record["bbox"]


PLAIN = {
    "yolo": plain_yolo,
    "voc": plain_voc,
    "kitti": plain_kitti,
    "mot": plain_mot,
    "csv": plain_csv,
    "coco": plain_coco,
}


@pytest.mark.parametrize("name", PLAIN)
def test_plain_code_reads_the_same(run, tmp_path, truth, results, name):
    table, again, written = tmp_path / "a.parquet", tmp_path / "b.parquet", tmp_path / f"out{SUFFIX[name]}"
    run("import", results, "-g", truth, "-o", table)
    run("export", name, table, "-g", truth, "-o", written)
    run("import", written, "-g", truth, "-o", again)
    expected = sorted(PLAIN[name](written, TRUTH), key=lambda row: row[0])
    found = boxes_of_everything(read_table(again))
    assert [row[:3] for row in found] == [row[:3] for row in expected]
    np.testing.assert_allclose([row[3:] for row in found], [row[3:] for row in expected], rtol=0, atol=1e-9)


def test_objects_parsed_together_are_those_parsed_one_by_one(tmp_path):
    """VOC files that look alike are read at once; one comment makes all be parsed by the standard library."""
    rng = np.random.default_rng(1)
    for number in range(7):
        objects = "".join(
            f"  <object>\n    <name> cat {rng.integers(3)}</name>\n    <pose>x</pose>\n"
            f"    <score>{rng.uniform()}</score>\n"
            f"    <bndbox><xmin>{rng.uniform()}</xmin><ymin>{rng.integers(9)}</ymin><xmax>{rng.uniform(9, 20)}</xmax>"
            f"<ymax>19.5</ymax></bndbox>\n  </object>\r\n"
            for _ in range(int(rng.integers(0, 5)))
        )
        text = f"<annotation><filename>{number}.jpg</filename>{objects}</annotation>\n"
        text = f'<?xml version="1.0" encoding="utf-8"?>\n{text}'
        (tmp_path / f"{number}.xml").write_text(text)
    fast = read_raw("voc", tmp_path)
    (tmp_path / "0.xml").write_text((tmp_path / "0.xml").read_text() + "<!-- -->\n")
    slow = read_raw("voc", tmp_path)
    assert fast.images == slow.images
    for one, two in zip(named(fast), named(slow), strict=True):
        assert one == two


def read_raw(name, path):
    from fusion.coco_results import AS_FOUND

    return format_of(name, "results").results(path, None, AS_FOUND, None).columns


def named(columns):
    for image, label, score, box in zip(columns.image, columns.category, columns.score, columns.box, strict=True):
        yield columns.images[image], columns.categories[label], score, box.tolist()


# -- ground truth


@real
@pytest.mark.parametrize("folder", ["voc100/gts/pascalvoc_format", "bccd/Annotations", "bccd"])
def test_voc_annotations_as_plain_code_reads_them(folder):
    truth = recognised(DATA / folder, "truth").truth(DATA / folder, {})
    expected = []
    for path in sorted((DATA / folder).rglob("*.xml")):
        for entry in ElementTree.parse(path).getroot().iter("object"):
            corners = tuple(float(entry.findtext(f"bndbox/{side}")) for side in ("xmin", "ymin", "xmax", "ymax"))
            expected.append((path.stem, entry.findtext("name"), corners))
    names = dict(zip(truth.category_id.tolist(), truth.category_name, strict=True))
    found = [
        (truth.image_id[image], names[truth.category_id[category]], tuple(corners))
        for image, category, corners in zip(truth.image, truth.category, truth.corners.tolist(), strict=True)
    ]
    assert found == expected
    assert (truth.width > 0).all()


@pytest.fixture
def voc_100(tmp_path):
    """The ground truths of VOC-100, in every format; pictures without content tell YOLO the sizes."""
    from PIL import Image

    source = DATA / "voc100" / "gts"
    coco = json.loads((source / "coco_format_v1/instances_default.json").read_text())
    yolo = tmp_path / "yolo"
    (yolo / "labels").mkdir(parents=True)
    (yolo / "images").mkdir()
    for image in coco["images"]:
        stem = Path(image["file_name"]).stem
        Image.new("1", (image["width"], image["height"])).save(yolo / "images" / f"{stem}.png")
        (yolo / "labels" / f"{stem}.txt").write_bytes((source / f"yolo_format/obj_train_data/{stem}.txt").read_bytes())
    (yolo / "classes.txt").write_bytes((source / "yolo_format/obj.names").read_bytes())
    names = {category["id"]: category["name"] for category in coco["categories"]}
    boxes = {image["id"]: [] for image in coco["images"]}
    for annotation in coco["annotations"]:
        x, y, w, h = annotation["bbox"]
        boxes[annotation["image_id"]].append((names[annotation["category_id"]], x, y, x + w, y + h))
    labelme, kitti, cvat = tmp_path / "labelme", tmp_path / "kitti" / "label_2", ["<annotations>"]
    labelme.mkdir()
    kitti.mkdir(parents=True)
    for image in coco["images"]:
        name, found = image["file_name"], boxes[image["id"]]
        shapes = [
            {"label": label, "points": [[x2, y1], [x1, y2]], "shape_type": "rectangle"}
            for label, x1, y1, x2, y2 in found
        ]
        file = {"shapes": shapes, "imagePath": name, "imageWidth": image["width"], "imageHeight": image["height"]}
        (labelme / name).with_suffix(".json").write_text(json.dumps(file))
        lines = [f"{label} 0 0 0 {x1} {y1} {x2} {y2}{' 0' * 7}\n" for label, x1, y1, x2, y2 in found]
        (kitti / name).with_suffix(".txt").write_text("".join(lines))
        (kitti.parent / "image_2").mkdir(exist_ok=True)
        Image.new("1", (image["width"], image["height"])).save((kitti.parent / "image_2" / name).with_suffix(".png"))
        cvat.append(f'<image id="0" name="{name}" width="{image["width"]}" height="{image["height"]}">')
        cvat += [f'<box label="{o[0]}" xtl="{o[1]}" ytl="{o[2]}" xbr="{o[3]}" ybr="{o[4]}"/>' for o in found]
        cvat.append("</image>")
    (tmp_path / "cvat.xml").write_text("\n".join([*cvat, "</annotations>"]))
    return {
        "coco": source / "coco_format_v1/instances_default.json",
        "coco v2": source / "coco_format_v2/instances_v2.json",
        "voc": source / "pascalvoc_format",
        "yolo": yolo,
        "cvat": tmp_path / "cvat.xml",
        "labelme": labelme,
        "kitti": kitti,
    }


WORDS = """aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person pottedplant
sheep sofa train tvmonitor"""
VOC_LABELS = dict(enumerate(WORDS.split()))
VOC_100 = {"AP": 0.346958, "AP50": 0.610030, "AP75": 0.353714, "AR100": 0.522570}


@real
@pytest.mark.parametrize("found", ["coco_format/coco_dets.json", "abs_xyx2y2", "rel_xywh"])
def test_voc_100_in_all_its_formats(run, tmp_path, voc_100, found):
    renamed = [] if found.endswith("json") else ["--label-map", json.dumps(VOC_LABELS)]
    for name, truth in voc_100.items():
        table = tmp_path / f"{name}.parquet"
        run("import", DATA / "voc100/dets" / found, "-g", truth, "-o", table, *renamed)
        measured = figures(run, table, truth)
        # YOLO's files have six decimals: 0.0003 pixels, by which boxes at an IoU of exactly .5, .55 ... fall below
        bound = 4e-4 if name == "yolo" else 5.1e-7
        for figure, value in VOC_100.items():
            assert measured[figure] == pytest.approx(value, abs=bound), (name, figure)


@real
@pytest.mark.parametrize("truth", ["yolo_format", "openimages_format/all_bounding_boxes.csv"])
def test_voc_100_without_sizes_stays_in_shares(run, tmp_path, truth):
    """Decimal commas, names in the place of labels, images with their suffix, no pictures."""
    table = tmp_path / "rel.parquet"
    labels = json.dumps(VOC_LABELS)
    run("import", DATA / "voc100/dets/rel_xywh", "-g", DATA / "voc100/gts" / truth, "-o", table, "--label-map", labels)
    assert read_table(table).metadata.unit == "normalized"
    measured = figures(run, table, DATA / "voc100/gts" / truth, "--protocol", "openimages")
    assert measured["AP"] == pytest.approx(0.7262639632812624, abs=1e-12)


# -- Open Images, whose files go by labels


def test_open_images_results_come_back(run, tmp_path):
    (tmp_path / "boxes.csv").write_text(
        "ImageID,LabelName,XMin,XMax,YMin,YMax,IsGroupOf\n0007,/m/b,0.1,0.4,0.2,0.3,0\nx,/m/a,0,1,0,1,0\n"
    )
    (tmp_path / "found.csv").write_text(
        "ImageID,LabelName,Score,XMin,XMax,YMin,YMax\n0007,/m/b,0.9,0.1,0.30000000000000004,0.2,0.3\n"
        "x,/m/a,0.25,0.5,0.7,0.1,0.2\nunseen,/m/a,0.2,0.5,0.7,0.1,0.2\n"
    )
    truth = tmp_path / "boxes.csv"
    run("import", tmp_path / "found.csv", "-g", truth, "-o", tmp_path / "a.parquet")
    table = read_table(tmp_path / "a.parquet")
    assert table.image_ids.tolist() == ["0007", "unseen", "x"]
    assert table.category_id.tolist() == [2, 1, 1]
    assert table.far("x").tolist() == [0.30000000000000004, 0.7, 0.7]
    run("export", "openimages", tmp_path / "a.parquet", "-g", truth, "-o", tmp_path / "again.csv")
    run("import", tmp_path / "again.csv", "-g", truth, "-o", tmp_path / "b.parquet")
    one, two = table, read_table(tmp_path / "b.parquet")
    assert boxes_of_everything(two) == [row for row in boxes_of_everything(one) if row[0] != "unseen"]


# -- files as frameworks write them


@real
@pytest.mark.parametrize("data", ["coco", "voc"])
def test_a_folder_of_ultralytics(run, tmp_path, data):
    """predictions.json with stems as ids, text beside it, classes in data.yaml; ids of COCO's own, or names from 1."""
    truth, results, _ = SETS[data]
    coco, given = (json.loads((DATA / path).read_text()) for path in (truth, results))
    records = given if isinstance(given, list) else given["annotations"]
    files = {i["id"]: i for i in (coco if data == "coco" else given)["images"]}
    names = [category["name"] for category in coco["categories"]] if data == "coco" else WORDS.split()
    own = {c["id"]: c["name"] for c in (coco if data == "coco" else given)["categories"]}
    folder = tmp_path / "runs/detect/val"
    (folder / "labels").mkdir(parents=True)
    written = []
    for r in records:
        image, number = files[r["image_id"]], names.index(own[r["category_id"]])
        stem, (x, y, w, h) = Path(image["file_name"]).stem, r["bbox"]
        written.append(
            {
                "image_id": int(stem) if stem.isnumeric() else stem,
                "file_name": stem + ".jpg",
                "category_id": r["category_id"] if data == "coco" else number + 1,
                "bbox": r["bbox"],
                "score": r["score"],
            }
        )
        width, height = image["width"], image["height"]
        line = (number, (x + w / 2) / width, (y + h / 2) / height, w / width, h / height, r["score"])
        with (folder / "labels" / f"{stem}.txt").open("a") as file:
            file.write(" ".join(map(str, line)) + "\n")
    listed = "\n".join(f"  {number}: {json.dumps(name)}" for number, name in enumerate(names))
    (tmp_path / "data.yaml").write_text(f"path: .\nval: images/val\nnames:\n{listed}\n")
    (folder / "args.yaml").write_text(f"task: detect\ndata: {tmp_path / 'data.yaml'}\n")
    run("import", DATA / results, "-g", DATA / truth, "-o", tmp_path / "plain.parquet")
    expected = figures(run, tmp_path / "plain.parquet", DATA / truth)
    run("import", folder / "labels", "-g", DATA / truth, "-o", tmp_path / "text.parquet")
    assert figures(run, tmp_path / "text.parquet", DATA / truth) == expected
    (folder / "predictions.json").write_text(json.dumps(written))
    run("import", folder, "-g", DATA / truth, "-o", tmp_path / "json.parquet")
    assert read_table(tmp_path / "json.parquet").metadata.made_by["format"] == "coco"
    assert figures(run, tmp_path / "json.parquet", DATA / truth) == expected


@real
def test_a_folder_of_detectron2(run, tmp_path):
    """coco_instances_results.json beside a pickle, which is not opened."""
    truth, results, _ = SETS["coco"]
    folder = tmp_path / "inference"
    folder.mkdir()
    (folder / "coco_instances_results.json").write_bytes((DATA / results).read_bytes())
    (folder / "instances_predictions.pth").write_bytes(b"PK\x03\x04 not to be opened")
    run("import", folder, "-g", DATA / truth, "-o", tmp_path / "a.parquet")
    assert figures(run, tmp_path / "a.parquet", DATA / truth)["AP"] == 0.5045806987249628


@real
@pytest.mark.parametrize("form", ["wheat", "vinbigdata"])
def test_a_folder_of_kaggle(run, tmp_path, form):
    """submission.csv beside the sample: strings of `score x y w h`, or `class score x1 y1 x2 y2`."""
    truth, results, _ = SETS["mvor" if form == "wheat" else "coco"]
    coco, records = json.loads((DATA / truth).read_text()), json.loads((DATA / results).read_text())
    strings = {image["id"]: [] for image in coco["images"]}
    for r in records:
        x, y, w, h = r["bbox"]
        words = (r["score"], x, y, w, h) if form == "wheat" else (r["category_id"], r["score"], x, y, x + w, y + h)
        strings[r["image_id"]].append(" ".join(map(str, words)))
    if form == "vinbigdata":
        strings = {image: found or ["14 1 0 0 1 1"] for image, found in strings.items()}
    (tmp_path / "sample_submission.csv").write_text("image_id,PredictionString\n1,\n")
    rows = [f"{image},{' '.join(found)}\n" for image, found in strings.items()]
    (tmp_path / "submission.csv").write_text("image_id,PredictionString\n" + "".join(rows))
    run("import", DATA / results, "-g", DATA / truth, "-o", tmp_path / "a.parquet")
    run("import", tmp_path, "-g", DATA / truth, "-o", tmp_path / "b.parquet")
    assert read_table(tmp_path / "b.parquet").metadata.made_by["format"] == "kaggle"
    one, two = (figures(run, tmp_path / f"{name}.parquet", DATA / truth) for name in "ab")
    assert one == two
    assert one["AP"] > 0.5


@real
def test_comp4_of_voc(run, tmp_path):
    """One file per category; read as they stand, or counted from 1 with both ends inside."""
    coco = json.loads((DATA / "voc100/gts/coco_format_v1/instances_default.json").read_text())
    found = json.loads((DATA / "voc100/dets/coco_format/coco_dets.json").read_text())
    images = {i["id"]: Path(i["file_name"]).stem for i in found["images"]}
    names = {c["id"]: c["name"] for c in found["categories"]}
    plain, counted = tmp_path / "plain", tmp_path / "counted"
    for folder, first in ((plain, 0), (counted, 1)):
        folder.mkdir()
        for r in found["annotations"]:
            x, y, w, h = r["bbox"]
            line = f"{images[r['image_id']]} {r['score']} {x + first} {y + first} {x + w} {y + h}\n"
            with (folder / f"comp4_det_test_{names[r['category_id']]}.txt").open("a") as file:
                file.write(line)
    truth = DATA / "voc100/gts/coco_format_v1/instances_default.json"
    assert len(coco["images"]) == 100
    for folder, more in ((plain, []), (counted, ["--box-format", "xyxy_inclusive"])):
        table = tmp_path / f"{folder.name}.parquet"
        run("import", folder, "-g", truth, "-o", table, *more)
        measured = figures(run, table, truth)
        for figure, value in VOC_100.items():
            assert round(measured[figure], 6) == pytest.approx(value, abs=1.1e-6), figure


def test_mot_of_several_sequences(run, tmp_path):
    truth = {
        "images": [
            {"id": n + 1, "file_name": f"MOT-0{s}/img1/{f:06d}.jpg", "width": 100, "height": 80}
            for n, (s, f) in enumerate([(1, 1), (1, 2), (2, 1)])
        ],
        "categories": [{"id": 4, "name": "pedestrian"}],
        "annotations": [],
    }
    (tmp_path / "gt.json").write_text(json.dumps(truth))
    for sequence, lines in (
        (1, "1,-1,5,6,7,8,0.5,-1,-1,-1\n2,-1,1,2,3,4,9.5,-1,-1,-1\n"),
        (2, "1,-1,9,9,9,9,0.25,-1,-1,-1"),
    ):
        (tmp_path / f"MOT-0{sequence}/det").mkdir(parents=True)
        (tmp_path / f"MOT-0{sequence}/det/det.txt").write_text(lines)
    run("import", tmp_path, "--format", "mot", "-g", tmp_path / "gt.json", "-o", tmp_path / "a.parquet", "--as-is")
    assert boxes_of_everything(read_table(tmp_path / "a.parquet")) == [
        (1, 4, 0.5, 5, 6, 7, 8), (2, 4, 9.5, 1, 2, 3, 4), (3, 4, 0.25, 9, 9, 9, 9),
    ]  # fmt: skip


def test_labelme_with_scores(run, tmp_path, truth):
    folder = tmp_path / "found"
    folder.mkdir()
    shapes = [
        {"label": "ü", "points": [[1, 2], [11, 22]], "shape_type": "rectangle", "score": 0.5},
        {"label": "stop sign", "points": [[1, 2], [3, 9], [8, 4]], "shape_type": "polygon", "score": 0.25},
        {"label": "stop sign", "points": [[1, 2]], "shape_type": "point", "score": 0.25},
    ]
    (folder / "straße 1.json").write_text(json.dumps({"shapes": shapes, "imagePath": "..\\straße 1.jpg"}))
    run("import", folder, "-g", truth, "-o", tmp_path / "a.parquet")
    table = read_table(tmp_path / "a.parquet")
    assert boxes_of_everything(table) == [(1, 90, 0.5, 1, 2, 10, 20), (1, 3, 0.25, 1, 2, 7, 7)]
    assert any("1 shapes of type point" in note for note in table.metadata.made_by["notes"])


def test_a_csv_as_pandas_writes_detections_of_yolov5(tmp_path):
    path = tmp_path / "found.csv"
    path.write_text(",image,xmin,ymin,xmax,ymax,confidence,class,name\n0,12.jpg,1,2,4.5,6,0.5,0,person\n")
    raw = read_raw("csv", path)
    assert raw.categories == [(0, "person")]
    assert raw.box.tolist() == [[1, 2, 4.5, 6]]


def test_names_of_formats_stand_in_the_help():
    import evaluation.cli.exporting as exporting
    import evaluation.cli.importing as importing

    for function, can in ((importing.import_results, "results"), (exporting.export, "write")):
        [line] = re.findall(r"^ +format: ((?:.|\n {10,})*)", function.__doc__, re.MULTILINE)
        assert set(formats_that(can)) - set(re.findall(r"[a-z0-9]+", line)) == set(), can


@pytest.mark.parametrize("form", ["evaluator", "kaggle"])
def test_open_images_files_read_at_once_are_those_read_row_by_row(run, tmp_path, form):
    """A blank in the header makes a file be read row by row."""
    rng = np.random.default_rng(3)
    (tmp_path / "boxes.csv").write_text(
        "ImageID,LabelName,XMin,XMax,YMin,YMax,IsGroupOf\n" + "".join(f"i{n},/m/{n % 3},0,1,0,1,0\n" for n in range(6))
    )
    rows = [(f"i{rng.integers(6)}", f"/m/{rng.integers(3)}", *rng.uniform(size=5).tolist()) for _ in range(80)]
    if form == "evaluator":
        header = "ImageID,LabelName,Score,XMin,XMax,YMin,YMax"
        lines = [",".join(map(str, row)) for row in rows]
    else:
        header = "ImageId,PredictionString"
        strings = {}
        for image, *words in rows:
            strings.setdefault(image, []).append(" ".join(map(str, words)))
        lines = [f"{image},{' '.join(words)}" for image, words in strings.items()]
    for name, first in (("plain", header), ("careful", header.replace(",", " ,", 1))):
        (tmp_path / f"{name}.csv").write_text("\n".join([first, *lines]) + "\n")
        more = ["--format", "openimages"]
        run("import", tmp_path / f"{name}.csv", "-g", tmp_path / "boxes.csv", "-o", tmp_path / f"{name}.parquet", *more)
    plain, careful = (read_table(tmp_path / f"{name}.parquet") for name in ("plain", "careful"))
    assert plain.arrow.equals(careful.arrow)
    assert plain.metadata.made_by["notes"] == careful.metadata.made_by["notes"]
    assert 0 < len(plain) < 80  # some end before they begin
