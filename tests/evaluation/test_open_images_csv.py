"""Open Images' CSV files: both kinds, raw and expanded, and what the official code reads from the same files."""

import base64
import gzip
import importlib
import importlib.util
import json
import random
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as rle

from evaluation.ground_truth import GroundTruth
from evaluation.kernels.open_images import TRUE
from evaluation.open_images import prepare_open_images
from evaluation.open_images_csv import read_open_images
from evaluation.protocol import OpenImages
from evaluation.submissions import read_open_images_submission, write_submission
from fusion.errors import InputError
from fusion.hierarchy import Hierarchy
from fusion.storage import read_table
from tests.evaluation.open_images_cases import (
    HEIGHT,
    WIDTH,
    Official,
    names,
    random_images,
    silenced,
    table,
)
from tests.fusion.test_text import FORMS
from tests.oracles import open_images as oracle

DATA = Path(__file__).parents[3] / "shared" / "data" / "openimages"
real = pytest.mark.skipif(not DATA.is_dir(), reason="the real files are not beside the checkout (../shared/data)")


def node(label, *children):
    return {"LabelName": label, "Subcategory": list(children)}


# d has three parents, as in the published tests
TREE = node("/m/a", node("/m/b"), node("/m/c", node("/m/d"), node("/m/e"), node("/m/f", node("/m/d"))))
CLASSES = "/m/f,Fish\n/m/b,Bee\n/m/c,Cat\n/m/d,Dog\n/m/e,Elk\n"
CHALLENGE = """ImageID,LabelName,XMin,XMax,YMin,YMax,IsGroupOf
two,/m/d,0.1,0.4,0.2,0.3,0
two,/m/b,0,1,0,1,1
one,/m/d,0.25,0.5,0.25,0.5,0
"""
V4 = """ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside
two,xclick,/m/d,1,0.1,0.4,0.2,0.3,0,0,0,0,0
two,xclick,/m/b,1,0,1,0,1,1,0,1,0,0
one,activemil,/m/d,1,0.25,0.5,0.25,0.5,0,1,0,0,0
"""
LABELS = "ImageID,LabelName,Confidence\none,/m/d,1\nthree,/m/c,0\ntwo,/m/b,1\n"
LABELS_V4 = (
    "ImageID,Source,LabelName,Confidence\none,verification,/m/d,1\nthree,x,/m/c,0\ntwo,x,/m/b,1\ntwo,x,/m/zz,1\n"
)


@pytest.fixture
def write(tmp_path):
    def call(name, text):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return call


def named(labels, truth, image):
    """Labels of one image by their names."""
    i = truth.image_id.tolist().index(image)
    return [truth.category_label[k] for k in labels.category[labels.start[i] : labels.start[i + 1]]]


@pytest.mark.parametrize(("boxes", "labels"), [(CHALLENGE, LABELS), (V4, LABELS_V4)])
def test_both_kinds_of_files(write, boxes, labels):
    truth = read_open_images(
        boxes=write("boxes.csv", boxes),
        image_labels=write("labels.csv", labels),
        class_descriptions=write("classes.csv", CLASSES),
    )
    assert truth.image_id.tolist() == ["one", "three", "two"]
    assert truth.category_id.tolist() == [1, 2, 3, 4, 5]
    assert truth.category_name == ("Fish", "Bee", "Cat", "Dog", "Elk")
    assert truth.category_label == ("/m/f", "/m/b", "/m/c", "/m/d", "/m/e")
    assert truth.image.tolist() == [2, 2, 0]
    assert (truth.category + 1).tolist() == [4, 2, 4]
    np.testing.assert_allclose(truth.xywh, [[0.1, 0.2, 0.3, 0.1], [0, 0, 1, 1], [0.25, 0.25, 0.25, 0.25]])
    assert truth.crowd.tolist() == [False, True, False]
    assert truth.unit == "normalized"
    assert named(truth.positive, truth, "two") == ["/m/b"]
    assert named(truth.positive, truth, "one") == ["/m/d"]
    assert named(truth.negative, truth, "three") == ["/m/c"]
    assert truth.notes == (
        () if labels is LABELS else ("1 image labels are of classes without a description; they were dropped",)
    )
    for column in (truth.image, truth.category, truth.width):
        assert column.dtype == np.int32


def test_raw_files_are_expanded(write):
    truth = read_open_images(
        boxes=write("boxes.csv", CHALLENGE),
        image_labels=write("labels.csv", LABELS),
        class_descriptions=write("classes.csv", "LabelName,DisplayName\n" + CLASSES),
        hierarchy=write("tree.json", json.dumps(TREE)),
    )
    rows = zip(truth.image_id[truth.image], [truth.category_label[k] for k in truth.category], strict=True)
    assert list(rows) == [
        *(("two", label) for label in ("/m/d", "/m/c", "/m/f")), ("two", "/m/b"),
        *(("one", label) for label in ("/m/d", "/m/c", "/m/f")),
    ]  # fmt: skip
    assert truth.xywh[:3].tolist() == [truth.xywh[0].tolist()] * 3
    assert sorted(named(truth.positive, truth, "one")) == ["/m/c", "/m/d", "/m/f"]
    assert sorted(named(truth.negative, truth, "three")) == ["/m/c", "/m/d", "/m/e", "/m/f"]


def official_module(name):
    if importlib.util.find_spec("object_detection") is None:
        pytest.skip("the official code is not installed: pip install --no-deps tf_models_research_object_detection")
    pytest.importorskip("absl", reason="the official code needs absl")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return sys.modules.get(name) or importlib.import_module(name)


def expand_officially(text, annotation_columns):
    """The lines of a file as the official tool expands them, in a fixed order of parents."""
    tool = official_module("object_detection.dataset_tools.oid_hierarchical_labels_expansion")
    expansion = tool.OIDHierarchicalLabelsExpansion(TREE)
    header, *lines = text.splitlines()
    call = (
        expansion.expand_labels_from_csv if len(annotation_columns) > 1 else expansion.expand_boxes_or_segments_from_csv
    )
    return "\n".join([header, *(row for line in lines for row in call(line, *annotation_columns))]) + "\n"


def test_expansion_equals_the_official_tool(write):
    options = {"class_descriptions": write("classes.csv", CLASSES)}
    raw = read_open_images(
        boxes=write("boxes.csv", CHALLENGE),
        image_labels=write("labels.csv", LABELS),
        hierarchy=Hierarchy.from_tree(TREE),
        **options,
    )
    expanded = read_open_images(
        boxes=write("more-boxes.csv", expand_officially(CHALLENGE, (1,))),
        image_labels=write("more-labels.csv", expand_officially(LABELS, (1, 2))),
        **options,
    )
    for labels, others in ((raw.positive, expanded.positive), (raw.negative, expanded.negative)):
        np.testing.assert_array_equal(labels.start, others.start)
        np.testing.assert_array_equal(labels.category, others.category)
    key = [np.lexsort((*truth.xywh.T, truth.category, truth.image)) for truth in (raw, expanded)]
    for name in ("image", "category", "xywh", "crowd"):
        np.testing.assert_array_equal(getattr(raw, name)[key[0]], getattr(expanded, name)[key[1]])


BITMAPS = [np.zeros((12, 10), np.uint8) for _ in range(3)]
BITMAPS[0][2:5, 3:9] = 1
BITMAPS[1][0:12, 0:4] = 1


def encoded(bitmap):
    text = rle.encode(np.asfortranarray(bitmap, dtype=np.uint8))["counts"]
    return base64.b64encode(zlib.compress(text)).decode()


SEGMENTS = "ImageID,LabelName,ImageWidth,ImageHeight,XMin,YMin,XMax,YMax,IsGroupOf,Mask\n" + "\n".join(
    f"{image},{label},10,12,{x1},{y1},{x2},{y2},{group},{encoded(bitmap)}"
    for (image, label, x1, x2, y1, y2, group), bitmap in zip(
        [
            ("two", "/m/d", 0.1, 0.4, 0.2, 0.3, 0),
            ("two", "/m/b", 0.5, 1, 0, 1, 0),
            ("one", "/m/d", 0.25, 0.5, 0.25, 0.5, 0),
        ],
        BITMAPS,
        strict=True,
    )
)


def box_lines(truths):
    lines = [f"{i},{t['category']},{corner_text(t)},{t['group'] * 1}" for i, t in truths]
    return "\n".join(["ImageID,LabelName,XMin,XMax,YMin,YMax,IsGroupOf", *lines]) + "\n"


def corner_text(row):
    x1, y1, x2, y2 = row["box"]
    return f"{x1},{x2},{y1},{y2}"


def label_lines(lines):
    return "\n".join(["ImageID,LabelName,Confidence", *lines]) + "\n"


def mask_lines(truths):
    lines = [
        f"{i},{t['category']},{corner_text(t)},{t['group'] * 1},{WIDTH},{HEIGHT},{encoded(t['mask'])}"
        for i, t in truths
    ]
    header = "ImageID,LabelName,XMin,XMax,YMin,YMax,IsGroupOf,ImageWidth,ImageHeight,Mask"
    return "\n".join([header, *lines]) + "\n"


def official_columns(masks):
    columns = ["LabelName", "Score", "XMin", "XMax", "YMin", "YMax"]
    return [*columns, "ImageWidth", "ImageHeight", "Mask"] if masks else columns


def official_row(image, found, masks):
    x1, y1, x2, y2 = found["box"]
    row = (found["category"], found["score"], x1, x2, y1, y2)
    return (*row, WIDTH, HEIGHT, encoded(found["mask"])) if masks else row


def decoded(truth):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pycocotools' own, on NumPy 2
        return [
            mask and rle.decode({"size": [mask["height"], mask["width"]], **mask}) for mask in truth.masks.to_pylist()
        ]


def test_masks_of_a_column_are_joined_to_their_boxes(write):
    truth = read_open_images(
        boxes=write("boxes.csv", CHALLENGE),
        masks=write("masks.csv", SEGMENTS),
        class_descriptions=write("classes.csv", CLASSES),
    )
    # one more: the mask of /m/b has corners that no box has
    assert len(truth) == 4
    assert any("1 masks belong to no box" in note for note in truth.notes)
    assert truth.width.tolist() == [10, 10]
    assert truth.height.tolist() == [12, 12]
    found = {
        (truth.image_id[i], truth.category_label[k], round(float(x), 6)): bitmap
        for i, k, x, bitmap in zip(truth.image, truth.category, truth.xywh[:, 0], decoded(truth), strict=True)
    }
    np.testing.assert_array_equal(found["two", "/m/d", 0.1], BITMAPS[0])
    np.testing.assert_array_equal(found["two", "/m/b", 0.5], BITMAPS[1])
    np.testing.assert_array_equal(found["one", "/m/d", 0.25], BITMAPS[2])
    assert found["two", "/m/b", 0.0] is None


@pytest.mark.parametrize("masks", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_figures_from_files_equal_the_official_program(write, seed, masks):
    """The steps of the official program, on the same files."""
    import pandas as pd

    images = random_images(500 + seed, images=8, masks=masks, ties=False)
    table_of = table(images, masks=masks)
    ids = names(images)
    labels = [
        f"{i},{k},{(i == k) * 1}" for i, image in zip(ids, images, strict=True) for k in sorted(image["verified"])
    ]
    truths = [(i, t) for i, image in zip(ids, images, strict=True) for t in image["truths"]]
    found = [(i, d) for i, image in zip(ids, images, strict=True) for d in image["found"]]
    paths = {"boxes": write("boxes.csv", box_lines(truths)), "image_labels": write("labels.csv", label_lines(labels))}
    if masks:
        paths["masks"] = write("masks.csv", mask_lines([(i, t) for i, t in truths if t["mask"] is not None]))
    truth = read_open_images(**paths, class_descriptions=write("classes.csv", "0,a\n1,b\n2,c\n3,d\n"))
    ours = prepare_open_images(truth, OpenImages(iou_type="segm" if masks else "bbox")).evaluate(table_of)

    utils = official_module("object_detection.metrics.oid_challenge_evaluation_utils")
    boxes = pd.read_csv(paths["boxes"])
    if masks:
        boxes = utils.merge_boxes_and_masks(boxes, pd.read_csv(paths["masks"]))
    every = pd.concat(
        [boxes, pd.read_csv(paths["image_labels"]).rename(columns={"Confidence": "ConfidenceImageLabel"})]
    )
    numbers = {k: k + 1 for k in range(4)}
    official = Official()
    official.evaluator([str(k) for k in range(4)], masks=masks)
    for image, rows in every.groupby("ImageID"):
        mine = pd.DataFrame(
            [official_row(i, d, masks) for i, d in found if i == image], columns=official_columns(masks)
        )
        with silenced():
            truth_row = utils.build_groundtruth_dictionary(rows, numbers)
            found_row = utils.build_predictions_dictionary(mine, numbers)
        # it subtracts 1 from labels in place, which pandas does not allow any more
        official.add(image, {name: np.array(column) for name, column in truth_row.items()}, found_row)
    figures, mean = official.figures()
    np.testing.assert_array_equal(ours.average_precision_per_category, figures)
    assert mean == ours.AP


def files_of(write, images):
    """Write images as files of boxes, labels, classes and results."""
    ids = names(images)
    labels = [f"{i},{k},1" for i, image in zip(ids, images, strict=True) for k in sorted(image["verified"])]
    truths = [(i, t) for i, image in zip(ids, images, strict=True) for t in image["truths"]]
    found = [(i, d) for i, image in zip(ids, images, strict=True) for d in image["found"]]
    lines = [f"{i},{d['category']},{d['score']},{corner_text(d)}" for i, d in found]
    return (
        {"boxes": write("boxes.csv", box_lines(truths)), "image_labels": write("labels.csv", label_lines(labels))},
        write("classes.csv", "0,a\n1,b\n2,c\n3,d\n"),
        write("found.csv", "\n".join(["ImageID,LabelName,Score,XMin,XMax,YMin,YMax", *lines]) + "\n"),
    )


def from_files(paths, classes, found, **options):
    truth = read_open_images(**paths, class_descriptions=classes)
    return prepare_open_images(truth, OpenImages(**options)).evaluate(read_open_images_submission(found, images=truth))


def test_an_overlap_of_exactly_the_threshold(write):
    """.45 as .1 + .35 would be one unit too small, and the overlap below one half."""
    images = [{
        "truths": [{"category": 0, "box": (0.2, 0.2, 0.45, 0.45), "group": False}],
        "found": [{"category": 0, "score": 0.25, "box": (0.25, 0.1, 0.5, 0.45)}],
        "verified": {0},
    }]  # fmt: skip
    assert from_files(*files_of(write, images)).AP == 1.0
    figures, _ = Official().run(images, 4)
    assert figures[0] == 1.0


def pairs_at_one_half(seed, count):
    """Random pairs of boxes with corners on a grid of twentieths, whose exact IoU is one half."""
    rng = random.Random(seed)
    pairs = []
    while len(pairs) < count:
        (x1, x2), (y1, y2), (u1, u2), (v1, v2) = (sorted(rng.sample(range(21), 2)) for _ in range(4))
        shared = max(min(x2, u2) - max(x1, u1), 0) * max(min(y2, v2) - max(y1, v1), 0)
        if 3 * shared == (x2 - x1) * (y2 - y1) + (u2 - u1) * (v2 - v1):
            pairs.append([tuple(side / 20 for side in box) for box in ((x1, y1, x2, y2), (u1, v1, u2, v2))])
    return pairs


def rebuilt(row):
    """The box of widths: x + (x2 - x) for x2."""
    x1, y1, x2, y2 = row["box"]
    return {"box": (x1, y1, x1 + (x2 - x1), y1 + (y2 - y1))}


@pytest.mark.parametrize("seed", range(3))
def test_overlaps_of_exactly_the_threshold_on_a_grid(write, seed):
    images = [
        {
            "truths": [{"category": 0, "box": truth, "group": False}],
            "found": [{"category": 0, "score": 1 - number / 10_000, "box": box}],
            "verified": {0},
        }
        for number, (truth, box) in enumerate(pairs_at_one_half(seed, 400))
    ]
    truths, found = ([image[name][0] for image in images] for name in ("truths", "found"))
    hits = [oracle.box_iou(d, t) >= 0.5 for d, t in zip(found, truths, strict=True)]
    assert hits != [oracle.box_iou(rebuilt(d), rebuilt(t)) >= 0.5 for d, t in zip(found, truths, strict=True)]
    result = from_files(*files_of(write, images))
    assert (result.outcomes.outcome == TRUE).tolist() == hits
    figures, _ = Official().run(images, 4)
    np.testing.assert_array_equal(result.average_precision_per_category, figures)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["boxes.csv", "labels.csv", "classes.csv", "found.csv"])
def test_every_file_may_be_compressed_or_utf_16(write, tmp_path, name, form):
    paths, classes, found = files_of(write, random_images(3, ties=False))
    expected = from_files(paths, classes, found)
    (tmp_path / name).write_bytes(FORMS[form]((tmp_path / name).read_text()))
    assert from_files(paths, classes, found).to_dict() == expected.to_dict()


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (gzip.compress(CHALLENGE.encode(), mtime=0)[:-9], ["compressed by gzip and damaged or cut off"]),
        (CHALLENGE.replace("one", "\xfcne").encode("latin-1"), ["line 4, column ImageID", "is not UTF-8 text"]),
        (CHALLENGE.replace("IsGroupOf", "Gr\xf6\xdfe").encode("latin-1"), ["is not UTF-8 text"]),
        (CHALLENGE.encode("utf-16")[:-1], ["is not UTF-16 text, although it begins so"]),
        (b"PK\x03\x04" + bytes(range(256)), ["boxes.csv"]),
        (bytes(range(128, 256)), ["boxes.csv"]),
    ],
)
def test_files_that_are_no_text(tmp_path, content, parts):
    (tmp_path / "boxes.csv").write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_open_images(boxes=tmp_path / "boxes.csv")
    for part in parts:
        assert part in str(caught.value)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_a_damaged_file_is_read_or_refused_in_words(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("damaged")
    files = {"boxes": CHALLENGE, "image_labels": LABELS, "class_descriptions": CLASSES, "hierarchy": json.dumps(TREE)}
    form = FORMS[data.draw(st.sampled_from([*["plain"] * 5, *FORMS]))]
    damaged = data.draw(st.sampled_from(list(files)))
    paths = {}
    for name, text in files.items():
        content = bytearray(text.encode() if name == "hierarchy" else form(text))
        for _ in range(data.draw(st.integers(1, 3)) if name == damaged else 0):
            at = data.draw(st.integers(0, len(content) - 1))
            content[at : at + data.draw(st.integers(0, 3))] = bytes(
                data.draw(st.lists(st.integers(0, 255), max_size=3))
            )
        paths[name] = folder / f"{name}.csv"
        paths[name].write_bytes(bytes(content))
    message = str(folder)
    try:
        read_open_images(**paths)
    except InputError as error:
        message = str(error)
    assert str(folder) in message
    assert len(message) < 1000


@pytest.mark.parametrize("seed", range(60))
def test_figures_from_files_equal_those_of_who_reads_the_files_himself(write, seed):
    """Corners on a grid; some boxes end before they begin, and what the official code gets went through no table."""
    images = random_images(900 + seed, images=12, found=20, ties=False)
    rng = np.random.default_rng(seed)
    for image in images:
        for row in image["found"]:
            if rng.random() < 0.1:
                x1, y1, x2, y2 = row["box"]
                row["box"] = (x2, y1, x1, y2) if rng.random() < 0.5 else (x1, y2, x2, y1)
    paths, classes, found = files_of(write, images)
    rules = {"iou_threshold": (0.5, 0.25)[seed % 2], "group_of_weight": (1.0, 0.5, 0.0)[seed % 3]}
    result = from_files(paths, classes, found, **rules)
    read = list(oracle.read(*paths.values(), found).values())
    expected = oracle.evaluate(read, "0123", threshold=rules["iou_threshold"], weight=rules["group_of_weight"])
    np.testing.assert_array_equal(result.average_precision_per_category, expected)
    figures, mean = Official().run(images, 4, threshold=rules["iou_threshold"], weight=rules["group_of_weight"])
    np.testing.assert_array_equal(result.average_precision_per_category, figures)
    assert mean == result.AP


def test_boxes_of_negative_size_are_left_out_with_a_note(write, tmp_path, run):
    images = random_images(3, ties=False)
    images[0]["found"] = [{"category": 0, "score": 0.5, "box": box} for box in
                          [(0.5, 0.1, 0.2, 0.3), (0.1, 0.3, 0.4, 0.2), (0.1, 0.2, 0.3, 0.4)]]  # fmt: skip
    paths, classes, found = files_of(write, images)
    rows = read_open_images_submission(found, images=read_open_images(**paths, class_descriptions=classes))
    count = sum(len(image["found"]) for image in images)
    assert rows.metadata.made_by["notes"] == [
        f"2 of {count} boxes have a negative width or height; left out, as officially"
    ]
    assert len(rows) == count - 2
    table = tmp_path / "found.parquet"
    code, _, err = run("import", found, "-g", paths["boxes"], "--class-descriptions", classes, "-o", table)
    assert code == 0, err
    assert f"2 of {count} boxes have a negative width or height; left out, as officially" in " ".join(err.split())
    assert read_table(table).arrow.equals(rows.arrow)


@pytest.mark.parametrize("seed", range(4))
def test_what_is_written_as_a_submission_is_what_was_read(write, tmp_path, seed):
    images = random_images(40 + seed, ties=False)
    for row in (row for image in images for row in image["found"]):
        row["box"] = tuple(min(max(side, 0.0), 1.0) for side in row["box"])
    for image in images:
        image["verified"].add(0)  # so that the files name it
    paths, classes, found = files_of(write, images)
    truth = read_open_images(**paths, class_descriptions=classes)
    rows = read_open_images_submission(found, images=truth)
    write_submission(rows, tmp_path / "again.csv", "openimages-evaluator", images=truth)
    one, two = (oracle.read(*paths.values(), path) for path in (found, tmp_path / "again.csv"))
    assert one == two


@pytest.mark.parametrize("seed", range(5))
def test_joining_equals_the_official_join(write, seed):
    """Many boxes and masks with equal corners: the official join pairs every one with every one."""
    import pandas as pd

    utils = official_module("object_detection.metrics.oid_challenge_evaluation_utils")
    rng = random.Random(seed)
    corners = [(0.1, 0.3, 0.2, 0.4), (0.1, 0.3, 0.25, 0.4), (0.0, 1.0, 0.0, 1.0)]

    def rows(count):
        return [
            (rng.choice("xyz"), rng.choice(["/m/b", "/m/c"]), *rng.choice(corners), rng.randrange(2))
            for _ in range(count)
        ]

    boxes = [",".join(map(str, row)) for row in rows(12)]
    segments = [(row, rng.randrange(3)) for row in rows(9)]
    box_path = write("boxes.csv", "\n".join([CHALLENGE.splitlines()[0], *boxes]) + "\n")
    lines = [
        f"{image},{label},10,12,{x1},{y1},{x2},{y2},{group},{encoded(BITMAPS[b])}"
        for (image, label, x1, x2, y1, y2, group), b in segments
    ]
    mask_path = write("masks.csv", "\n".join([SEGMENTS.splitlines()[0], *lines]) + "\n")
    truth = read_open_images(boxes=box_path, masks=mask_path)
    joined = utils.merge_boxes_and_masks(pd.read_csv(box_path), pd.read_csv(mask_path))
    assert len(truth) == len(joined)
    place = truth.image_id[truth.image]
    for (image, label), group in joined.groupby(["ImageID", "LabelName"], sort=False):
        mine = np.flatnonzero((place == image) & (np.array(truth.category_label)[truth.category] == label))
        np.testing.assert_allclose(truth.xywh[mine, 0], group["XMin"])
        np.testing.assert_allclose(truth.xywh[mine, 1], group["YMin"])
        assert truth.crowd[mine].tolist() == group["IsGroupOf"].astype(bool).tolist()
        theirs = [None if pd.isnull(text) else zlib.decompress(base64.b64decode(text)) for text in group["Mask"]]
        masks = truth.masks.take(mine).to_pylist()
        assert [None if mask is None else mask["counts"] for mask in masks] == theirs


def test_masks_of_png_files(write, tmp_path):
    for number, bitmap in enumerate(BITMAPS[:2]):
        Image.fromarray(bitmap * 255).convert("1" if number else "L").save(tmp_path / f"m{number}.png")
    text = "MaskPath,ImageID,LabelName,BoxID,BoxXMin,BoxXMax,BoxYMin,BoxYMax,PredictedIoU,Clicks\n"
    text += "m0.png,two,/m/d,77,0.1,0.4,0.2,0.3,0.9,1 2 3\nm1.png,two,/m/b,78,0,1,0,1,0.8,\n"
    options = {"boxes": write("boxes.csv", CHALLENGE), "masks": write("masks.csv", text)}
    truth = read_open_images(**options, mask_folder=tmp_path, hierarchy=Hierarchy.from_tree(TREE))
    columns = zip(truth.image, truth.category, decoded(truth), strict=True)
    masks = {(truth.image_id[i], truth.category_label[k]): mask for i, k, mask in columns}
    for label in ("/m/d", "/m/c", "/m/f"):
        np.testing.assert_array_equal(masks["two", label], BITMAPS[0])
        assert masks["one", label] is None
    np.testing.assert_array_equal(masks["two", "/m/b"], BITMAPS[1])
    assert truth.crowd[truth.category == truth.category_label.index("/m/b")].tolist() == [True]
    with pytest.raises(InputError, match="mask_folder"):
        read_open_images(**options)
    (tmp_path / "m1.png").unlink()
    with pytest.raises(InputError, match=r"m1\.png: there is no such file; .*line 3 names it"):
        read_open_images(**options, mask_folder=tmp_path)


def test_an_image_without_boxes_and_files_without_group_of(write):
    text = "ImageID,LabelName,XMin,XMax,YMin,YMax\nb,Tin can,0,0.5,0,0.5\na,,,,,\n"
    truth = read_open_images(boxes=write("boxes.csv", text))
    assert truth.image_id.tolist() == ["a", "b"]
    assert truth.image.tolist() == [1]
    assert truth.category_name == ("Tin can",)
    assert truth.notes == ("there is no column IsGroupOf; no box counts as group-of",)
    assert truth.positive is None


def test_unknown_group_of_counts_as_group_of(write):
    truth = read_open_images(boxes=write("boxes.csv", CHALLENGE.replace("0.3,0\n", "0.3,-1\n")))
    assert truth.crowd.tolist() == [True, True, False]
    assert "IsGroupOf is below 0 (unknown) in 1 rows" in truth.notes[0]


@real
def test_real_boxes():
    truth = read_open_images(boxes=DATA / "annotations.csv")
    assert (len(truth), len(truth.image_id), len(truth.category_id)) == (36191, 3520, 497)
    assert truth.image_id[truth.image[0]] == "i0.jpg"
    assert truth.category_name[truth.category[0]] == "Shellfish"
    np.testing.assert_allclose(truth.xywh[0], [0.0875, 0.35625, 0.7296875, 0.5395833])


@pytest.mark.parametrize(
    ("boxes", "parts"),
    [
        (CHALLENGE.replace("XMax", "Xmax"), ["column XMax is missing", "Xmax"]),
        (CHALLENGE.replace("0.4", "x"), ["line 2, column XMax", "expected a number", "'x'"]),
        (CHALLENGE.replace("0.4", "nan"), ["line 2, column XMax", "[0, 1]", "nan"]),
        (CHALLENGE.replace("0.4", "40"), ["line 2, column XMax", "[0, 1]", "40.0", "Divide pixels"]),
        (CHALLENGE.replace("0.4", "0.05"), ["line 2, column XMax", "at least XMin", "0.05"]),
        (CHALLENGE.replace("0.4", ""), ["line 2, column XMax", "a value", "nothing"]),
        (CHALLENGE.replace("one,/m/d", ",/m/d"), ["line 4, column ImageID", "nothing"]),
        (CHALLENGE.replace("0.5,0\n", "0.5,maybe\n"), ["line 4, column IsGroupOf", "a whole number", "'maybe'"]),
        (CHALLENGE.replace("/m/b", "/m/q"), ["line 3, column LabelName", "class descriptions", "'/m/q'"]),
        (CHALLENGE.replace("0.5,0\n", "0.5,0,9\n"), ["line 4", "expected 7 columns, got 8"]),
        (CHALLENGE.replace("XMin", "XMax"), ["column XMin is missing"]),
        ("", ["expected a CSV file"]),
    ],
)
def test_errors_name_file_line_and_column(write, boxes, parts):
    with pytest.raises(InputError) as caught:
        read_open_images(boxes=write("boxes.csv", boxes), class_descriptions=write("classes.csv", CLASSES))
    for part in ("boxes.csv", *parts):
        assert part in str(caught.value)


def test_lines_are_those_of_the_file_after_rows_were_left_out(write):
    text = CHALLENGE.replace("two,/m/d,0.1,0.4,0.2,0.3,0", "four,,,,,,").replace("/m/d", "/m/q")
    with pytest.raises(InputError, match="line 4, column LabelName"):
        read_open_images(boxes=write("boxes.csv", text), class_descriptions=write("classes.csv", CLASSES))


@pytest.mark.parametrize(
    ("name", "text", "parts"),
    [
        ("image_labels", LABELS.replace("c,0", "c,0.7"), ["line 3, column Confidence", "1 for a class", "0.7"]),
        ("image_labels", LABELS.replace("Confidence", "Score"), ["column Confidence is missing"]),
        ("class_descriptions", CLASSES + "/m/b,Bee again\n", ["'/m/b' twice"]),
        (
            "hierarchy",
            json.dumps(node("r", node("/m/b"))),
            ["boxes.csv, line 2, column LabelName", "hierarchy", "/m/d"],
        ),
        ("masks", "ImageID,LabelName\n", ["neither a column Mask nor MaskPath"]),
        ("masks", SEGMENTS.replace(encoded(BITMAPS[1]), "****"), ["line 3, column Mask", "base64", "'****'"]),
        ("masks", SEGMENTS.replace("/m/b,10", "/m/b,"), ["line 3, column ImageWidth", "nothing"]),
    ],
)
def test_errors_of_the_other_files(write, name, text, parts):
    with pytest.raises(InputError) as caught:
        read_open_images(boxes=write("boxes.csv", CHALLENGE), **{name: write(name, text)})
    for part in parts:
        assert part in str(caught.value)


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_open_images(boxes=tmp_path / "absent.csv")


def test_subset_and_fingerprint_keep_what_open_images_has(write):
    options = {"image_labels": write("labels.csv", LABELS), "class_descriptions": write("classes.csv", CLASSES)}
    truth = read_open_images(boxes=write("boxes.csv", CHALLENGE), **options)
    part = truth.subset(["one", "three"])
    assert named(part.positive, part, "one") == ["/m/d"]
    assert named(part.negative, part, "three") == ["/m/c"]
    assert part.unit == "normalized"
    assert part.category_label == truth.category_label
    other = read_open_images(boxes=write("boxes.csv", CHALLENGE.replace("1,1\n", "1,0\n")), **options)
    fewer = read_open_images(boxes=write("boxes.csv", CHALLENGE), image_labels=write("l.csv", LABELS[:-12]),
                             class_descriptions=options["class_descriptions"])  # fmt: skip
    assert len({truth.fingerprint, part.fingerprint, other.fingerprint, fewer.fingerprint}) == 4


def test_ignore_and_unit_are_checked():
    columns = {"image_id": [1, 2], "category_id": [1], "annotation_image_id": [2, 1], "annotation_category_id": [1, 1]}
    truth = GroundTruth.from_arrays(**columns, xywh=[[0, 0, 1, 1]] * 2, ignore=[0, 1])
    assert truth.ignore.tolist() == [False, True]
    assert truth.subset([1]).ignore.tolist() == [True]
    with pytest.raises(InputError, match="column ignore has 1 rows"):
        GroundTruth.from_arrays(**columns, xywh=[[0, 0, 1, 1]] * 2, ignore=[0])
    with pytest.raises(InputError, match="option unit"):
        GroundTruth.from_arrays(**columns, xywh=[[0, 0, 1, 1]] * 2, unit="share")
