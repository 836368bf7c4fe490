"""The Open Images protocol against the official code, its published values and the plain oracle."""

import contextlib
import copy
import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from evaluation import open_images_stored, runs
from evaluation.figures import figure_named
from evaluation.ground_truth import GroundTruth
from evaluation.open_images import prepare_open_images
from evaluation.protocol import OpenImages
from fusion.errors import InputError
from fusion.storage import write_table
from fusion.table import DetectionTable, Metadata
from fusion.table_columns import MASK_TYPE
from tests.evaluation.open_images_cases import (
    HEIGHT,
    WIDTH,
    Official,
    encoded,
    ground_truth,
    labels,
    random_images,
    table,
)
from tests.oracles import open_images as oracle

CATEGORIES = 4


@pytest.fixture(scope="module")
def official():
    return Official()


def ours(images, *, masks=False, **options):
    protocol = OpenImages(iou_type="segm" if masks else "bbox", **options)
    truth, found = ground_truth(images, CATEGORIES, masks=masks), table(images, masks=masks)
    return prepare_open_images(truth, protocol).evaluate(found)


def same(result, expected):
    np.testing.assert_array_equal(result.average_precision_per_category, expected)


def unstable(scores):
    """The order of the official code: it depends on NumPy and on the processor where scores tie."""
    return np.argsort(np.array(scores))[::-1].tolist()


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    masks=st.booleans(),
    grid=st.booleans(),
    weight=st.sampled_from([1.0, 0.5, 0.3, 0.0]),
    threshold=st.sampled_from([0.5, 0.25, 0.7, 1.0]),
    cap=st.sampled_from([10_000, 2]),
)
@example(seed=1159, masks=True, grid=False, weight=1.0, threshold=1.0, cap=10_000)  # a group of one pixel
def test_equals_the_oracle(seed, masks, grid, weight, threshold, cap):
    images = random_images(seed, masks=masks, grid=grid)
    result = ours(images, masks=masks, group_of_weight=weight, iou_threshold=threshold, max_dets=cap)
    rules = {"masks": masks, "weight": weight, "threshold": threshold, "cap": cap}
    same(result, oracle.evaluate(images, range(CATEGORIES), **rules))


@pytest.mark.parametrize("masks", [False, True])
@pytest.mark.parametrize("seed", range(20))
def test_equals_the_official_code_to_the_last_bit(official, seed, masks):
    rules = {"weight": (1.0, 0.5, 0.3, 0.0)[seed % 4], "threshold": (0.5, 0.25)[seed % 2]}
    images = random_images(seed, masks=masks, ties=False, grid=seed % 3 > 0, images=12)
    result = ours(images, masks=masks, group_of_weight=rules["weight"], iou_threshold=rules["threshold"])
    figures, mean = official.run(images, CATEGORIES, masks=masks, **rules)
    same(result, figures)
    assert mean == result.AP
    assert not any("equal score" in note for note in result.notes)


@pytest.mark.parametrize("masks", [False, True])
@pytest.mark.parametrize("seed", range(20))
def test_ties_differ_from_the_official_code_by_its_sort_alone(official, seed, masks):
    images = random_images(seed, masks=masks, images=12, found=30)
    result = ours(images, masks=masks)
    figures, _ = official.run(images, CATEGORIES, masks=masks)
    np.testing.assert_array_equal(figures, oracle.evaluate(images, range(CATEGORIES), masks=masks, order=unstable))
    same(result, oracle.evaluate(images, range(CATEGORIES), masks=masks))
    assert any("equal score" in note for note in result.notes)


def found_all(category=0):
    """Two images whose objects and regions are all found."""
    box = [(0.1 * i, 0.1, 0.1 * i + 0.05, 0.2) for i in range(4)]

    def image(rows):
        return {
            "truths": [{"category": category, "box": box[i], "group": group} for i, group, _ in rows],
            "found": [{"category": category, "box": box[i], "score": score} for i, _, score in rows],
            "verified": {category},
        }

    return [image([(0, True, 0.75)]), image([(1, False, 0.5), (2, True, 0.4), (3, False, 0.1)])]


@pytest.mark.parametrize(("weight", "figure"), [(0.3, 0.6153846153846155), (0.8, 0.7222222222222223), (0.5, 1.0)])
def test_recall_above_one_is_left_out_as_officially(official, weight, figure):
    """Weights add up to more than the ground truth by a last bit, and the official code drops what comes there."""
    images = found_all()
    result = ours(images, group_of_weight=weight)
    assert figure == result.AP
    assert official.run(images, CATEGORIES, weight=weight)[1] == figure
    assert any("recall above 1" in note for note in result.notes) == (figure < 1)


@pytest.mark.parametrize("seed", range(36))
def test_any_group_of_weight_equals_the_official_code(official, seed):
    """Detections that find nearly everything, so that recall comes close to 1."""
    weight = (0.3, 0.8, 0.1, 0.7, 1 / 3, 0.9)[seed % 6]
    images = random_images(700 + seed, images=5, categories=3, truths=5, found=1, ties=False)
    rng = np.random.default_rng(seed)
    for image in images:
        image["found"] += [
            {"category": t["category"], "score": float(rng.random()), "box": t["box"]}
            for t in image["truths"]
            if t["box"][0] < t["box"][2] and t["box"][1] < t["box"][3]
        ]
    result = ours(images, group_of_weight=weight)
    same(result, oracle.evaluate(images, range(CATEGORIES), weight=weight))
    assert not result.AP > 1
    with contextlib.suppress(ValueError):  # it stops where its sum of all labels is above the ground truth
        same(result, official.run(images, CATEGORIES, weight=weight)[0])


def pixel_truth(rows, images, categories, *, verified=None, masks=None):
    truth = GroundTruth.from_arrays(
        image_id=images,
        category_id=np.arange(1, categories + 1),
        annotation_image_id=[row[0] for row in rows],
        annotation_category_id=[row[1] for row in rows],
        xywh=[row[2] for row in rows],
        crowd=[row[3] for row in rows],
        segmentation=masks,
    )
    lists = [[k - 1 for k in (verified or {}).get(image, ())] for image in truth.image_id.tolist()]
    return replace(truth, positive=labels(lists))


def pixel_table(rows, masks=None):
    return DetectionTable.from_arrays(
        image_id=np.array([row[0] for row in rows], dtype=object),
        category_id=[row[1] for row in rows],
        score=[row[2] for row in rows],
        xywh=[row[3] for row in rows],
        mask=masks,
    )


def test_published_detection_values():
    rows = [
        ("img1", 1, [0, 0, 1, 1], 0), ("img1", 3, [0, 0, 2, 2], 0), ("img1", 1, [0, 0, 3, 3], 1),
        ("img2", 1, [10, 10, 1, 1], 0), ("img2", 1, [500, 500, 10, 10], 0), ("img2", 3, [10, 10, 2, 2], 1),
        ("img3", 2, [0, 0, 1, 1], 0),
    ]  # fmt: skip
    found = [
        ("img1", 2, 0.7, [10, 10, 1, 1]), ("img1", 2, 0.8, [100, 100, 20, 20]),
        ("img2", 1, 0.7, [10, 10, 1, 1]), ("img2", 1, 0.8, [100, 100, 20, 20]),
        ("img2", 2, 0.5, [100, 100, 120, 120]), ("img2", 3, 0.9, [10, 10, 1, 1]),
        ("img3", 2, 0.5, [0, 0, 1, 1]),
    ]  # fmt: skip
    truth = pixel_truth(rows, ["img1", "img2", "img3"], 3, verified={"img1": (1, 2, 3)})
    result = prepare_open_images(truth, OpenImages(group_of_weight=0.5)).evaluate(pixel_table(found))
    np.testing.assert_allclose(result.average_precision_per_category, [0.142857142857, 1 / 3, 1 / 3])
    assert pytest.approx(0.269841269) == result.AP
    assert result.truths.tolist() == [3, 1, 1]
    assert result.groups.tolist() == [1, 0, 1]


def bitmap(*rows):
    return np.array([[cell == "#" for cell in row] for row in rows])


DOT, NONE = bitmap("#...", "....", "...."), bitmap("....", "....", "....")
SQUARE, CORNER = bitmap("##..", "##..", "...."), bitmap("#...", "##..", "....")
HOOK, LOW_HOOK = bitmap(".##.", "..#.", "...."), bitmap("....", ".##.", ".#..")
COLUMNS = [bitmap(*["." * i + "#" + "." * (3 - i)] * 3) for i in range(4)]


def test_published_segmentation_values():
    rows = [
        ("img1", 1, [0, 0, 1, 1], 0), ("img1", 2, [0, 0, 2, 2], 0), ("img1", 1, [0, 0, 3, 3], 1),
        ("img3", 2, [0, 0, 1, 1], 0),
    ]  # fmt: skip
    truth = pixel_truth(rows, ["img1", "img3"], 2, verified={"img1": (1, 2)}, masks=encoded([DOT, NONE, NONE, DOT]))
    found = [("img1", 2, 0.7, [0] * 4), ("img1", 1, 0.8, [0] * 4), ("img3", 2, 0.5, [0] * 4)]
    prepared = prepare_open_images(truth, OpenImages(iou_type="segm"))
    result = prepared.evaluate(pixel_table(found, encoded([SQUARE, NONE, DOT])))
    assert result.average_precision_per_category.tolist() == [0.0, 1.0]
    assert result.AP == 0.5
    assert any("2 of 4 annotations have no mask" in note for note in result.notes)


# ground truth (box xywh, group-of, mask), detections (score, box, mask), weight, the entries of the published tests
ONE_CELL = [
    ([([0, 0, 1, 1], 0, None), ([0, 0, 5, 5], 1, None), ([10, 10, 10, 10], 1, None)], "boxes", 0.0, [(0.8, 1)]),
    ([([0, 0, 1, 1], 1, None), ([0, 0, 5, 5], 0, None), ([10, 10, 10, 10], 1, None)], "boxes", 0.0, [(0.5, 0)]),
    ([([0, 0, 1, 1], 0, None), ([0, 0, 5, 5], 1, None), ([10, 10, 10, 10], 1, None)], "boxes", 0.5,
     [(0.8, 1), (0.6, 0.5)]),
    ([([0, 0, 1, 1], 1, None), ([0, 0, 5, 5], 0, None), ([10, 10, 10, 10], 1, None)], "boxes", 0.5,
     [(0.8, 0.5), (0.5, 0)]),
    ([([0, 0, 1, 1], 0, COLUMNS[0]), ([0, 0, 5, 5], 1, COLUMNS[2]), ([10, 10, 10, 10], 1, COLUMNS[1])], "masks", 0.0,
     [(0.6, 1)]),
    ([([0, 0, 1, 1], 1, COLUMNS[0]), ([0, 0, 5, 5], 0, COLUMNS[2]), ([10, 10, 10, 10], 1, COLUMNS[1])], "masks", 0.0,
     [(0.8, 1)]),
    ([([0, 0, 1, 1], 0, COLUMNS[0]), ([0, 0, 5, 5], 1, COLUMNS[2]), ([10, 10, 10, 10], 1, COLUMNS[1])], "masks", 0.5,
     [(0.8, 0.5), (0.6, 1), (0.5, 0.5)]),
    ([([0, 0, 1, 1], 1, COLUMNS[0]), ([0, 0, 5, 5], 0, COLUMNS[2]), ([10, 10, 10, 10], 1, COLUMNS[1])], "masks", 0.5,
     [(0.8, 1), (0.6, 0.5), (0.5, 0.5)]),
    ([([0, 0, 3, 2], 0, HOOK), ([0, 0, 2, 2], 0, NONE)], [(0.6, HOOK), (0.8, CORNER)], 0.0, [(0.6, 1)]),
    ([([0, 0, 3, 2], 0, HOOK), ([2, 2, 2, 2], 0, None)], [(0.6, HOOK), (0.8, CORNER)], 0.0, [(0.8, 0), (0.6, 1)]),
    ([([0, 0, 3, 2], 0, HOOK), ([0, 0, 3, 2], 0, NONE)], [(0.6, HOOK), (0.8, HOOK)], 0.0, [(0.8, 1)]),
    ([([0, 0, 3, 2], 0, HOOK), ([3, 2, 3, 2], 0, NONE)], [(0.6, HOOK), (0.8, HOOK)], 0.0, [(0.8, 1), (0.6, 0)]),
]  # fmt: skip
FOUND = {
    "boxes": [(0.8, [0, 0, 1, 1], None), (0.6, [0, 0, 1, 2], None), (0.5, [0, 0, 1, 3], None)],
    "masks": [(0.8, [0] * 4, HOOK), (0.6, [0] * 4, CORNER), (0.5, [0] * 4, LOW_HOOK)],
}


@pytest.mark.parametrize(("truths", "found", "weight", "entries"), ONE_CELL)
def test_published_matches_of_one_cell(truths, found, weight, entries):
    """Of per_image_evaluation_test.py: which scores are left, and what they count."""
    found = FOUND[found] if isinstance(found, str) else [(score, [0] * 4, mask) for score, mask in found]
    masks = found[0][2] is not None
    truth = pixel_truth(
        [("a", 1, box, group) for box, group, _ in truths],
        ["a"],
        1,
        masks=encoded([mask for *_, mask in truths]) if masks else None,
    )
    rows = pixel_table(
        [("a", 1, score, box) for score, box, _ in found], encoded([f[2] for f in found]) if masks else None
    )
    protocol = OpenImages(iou_type="segm" if masks else "bbox", group_of_weight=weight)
    result = prepare_open_images(truth, protocol).evaluate(rows)
    left = list(zip(result.trues.score.tolist(), result.trues.label.tolist(), strict=True))
    left += [(score, 0.0) for score in result.outcomes.score[result.outcomes.outcome == 1].tolist()]
    assert sorted(left, reverse=True) == [(score, float(label)) for score, label in entries]


def copied(images, counts):
    return [copy.deepcopy(image) for image, count in zip(images, counts, strict=True) for _ in range(count)]


@pytest.mark.parametrize("masks", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_resample_equals_really_copying_the_images(seed, masks):
    images = random_images(300 + seed, images=9, found=20, masks=masks)
    result = ours(images, masks=masks, group_of_weight=(1.0, 0.5, 0.3)[seed % 3])
    weights = np.random.default_rng(seed).poisson(1, (70, len(images)))
    weights[0], weights[1] = 1, 0
    figures = result.resample(weights)["AP"]
    assert figures.shape == (70, CATEGORIES)
    np.testing.assert_allclose(figures[0], result.average_precision_per_category, rtol=1e-14)
    assert np.isnan(figures[1]).all()
    for counts, row in list(zip(weights.tolist(), figures, strict=True))[2:12]:
        more = copied(images, counts)
        expected = oracle.evaluate(more, range(CATEGORIES), masks=masks, weight=result.protocol.group_of_weight)
        np.testing.assert_allclose(row, expected, rtol=1e-13)


def test_resample_checks_the_weights():
    result = ours(random_images(1))
    for wrong in (np.ones((2, 4), int), np.full((2, 5), -1), np.ones((2, 5)), np.ones(5, int)):
        with pytest.raises(InputError, match="whole numbers"):
            result.resample(wrong)


@pytest.mark.parametrize("masks", [False, True])
@pytest.mark.parametrize("parts", [1, 3, 7])
def test_parts_equal_the_whole(tmp_path, monkeypatch, parts, masks):
    images = random_images(40 + parts, images=30, masks=masks)
    rows = table(images, masks=masks)
    prepared = prepare_open_images(
        ground_truth(images, CATEGORIES, masks=masks),
        OpenImages(iou_type="segm" if masks else "bbox", group_of_weight={1: 1.0, 3: 0.3, 7: 0.5}[parts]),
    )
    write_table(rows, tmp_path / "parts", parts=parts)
    monkeypatch.setattr(open_images_stored, "_MERGED", 40)
    monkeypatch.setattr(runs, "_ROWS", 50)
    steps = []
    result = prepared.evaluate_parts(tmp_path / "parts", lambda *step: steps.append(step))
    assert steps == [("matching", number, parts) for number in range(parts)]
    whole = prepared.evaluate(rows)
    some = np.arange(30)[::2]
    check_stored(result, whole)
    check_stored(result.on(some), whole.on(some))
    check_stored(result.on(some).on(np.arange(1, 9)), whole.on(some).on(np.arange(1, 9)))
    assert result.rows == len(rows)
    ids = prepared.ground_truth.image_id[some]
    half = prepare_open_images(prepared.ground_truth.subset(ids), prepared.protocol)
    found = half.evaluate_parts(tmp_path / "parts", images=ids)
    assert found.to_dict() == half.evaluate(rows.select_images(ids)).to_dict()
    assert found.rows == result.on(some).rows == len(rows.select_images(ids))


def check_stored(found, whole):
    """Figures, judgements, replicates and notes of a table in parts are those of the whole, to the last bit."""
    names = ["AP", "AR", "F1", "P", "R", "threshold", "P@0.3"]
    names = [name for name in names if figure_named(name, whole.protocol) is not None]
    assert found.to_dict() == whole.to_dict()
    assert repr(found.to_dict(names)) == repr(whole.to_dict(names))
    for one, other in zip(found.judged, whole.judged, strict=True):
        assert np.array_equal(one, other)
    weights = np.random.default_rng(1).integers(0, 4, (3, whole.images))
    drawn, expected = found.resample(weights, names), whole.resample(weights, names)
    assert list(drawn) == list(expected)
    for name, values in expected.items():
        assert np.array_equal(drawn[name], values, equal_nan=True), name


def test_an_image_in_two_parts_is_refused(tmp_path):
    images = random_images(3)
    prepared = prepare_open_images(ground_truth(images, CATEGORIES))
    for number in range(2):
        write_table(table(images), tmp_path / "t" / f"part-{number:05d}.parquet")
    with pytest.raises(InputError, match="in another part, too"):
        prepared.evaluate_parts(tmp_path / "t")


def test_pixels_are_brought_to_the_sides_of_the_image():
    images = random_images(4, ties=False, grid=True)  # sixteenths, which survive the way there and back
    truth = ground_truth(images, CATEGORIES)
    scaled = copy.deepcopy(images)
    for image in scaled:
        for row in image["found"]:
            x1, y1, x2, y2 = row["box"]
            row["box"] = (x1 * WIDTH, y1 * HEIGHT, x2 * WIDTH, y2 * HEIGHT)
    expected = prepare_open_images(truth).evaluate(table(images))
    result = prepare_open_images(truth).evaluate(table(scaled, unit="pixel"))
    np.testing.assert_allclose(result.average_precision_per_category, expected.average_precision_per_category)
    unknown = replace(truth, width=np.zeros_like(truth.width))
    with pytest.raises(InputError, match="the size of image 'image-0000' is not known"):
        prepare_open_images(unknown).evaluate(table(scaled, unit="pixel"))


def test_detections_that_do_not_belong_are_left_out_with_a_note():
    images = random_images(6, ties=False)
    truth, rows = ground_truth(images, CATEGORIES), table(images)
    expected = prepare_open_images(truth).evaluate(rows)
    more = DetectionTable.from_arrays(
        image_id=np.concatenate((rows.image_id, ["image-0000", "strange"])),
        category_id=np.concatenate((rows.category_id, [99, 1])),
        score=np.concatenate((rows.score, [0.5, 0.5])),
        xywh=np.concatenate((rows.xywh, np.ones((2, 4)))),
        metadata=Metadata(unit="normalized"),
    )
    result = prepare_open_images(truth).evaluate(more)
    same(result, expected.average_precision_per_category)
    assert [note.split(" ", 1)[0] for note in result.notes] == ["1", "1"]
    with pytest.raises(InputError, match="another data set"):
        prepare_open_images(truth).evaluate(more.select_images(["strange"]))


def test_masks_of_other_sizes_missing_and_unreadable():
    images = random_images(8, masks=True, ties=False)
    truth = ground_truth(images, CATEGORIES, masks=True)
    prepared = prepare_open_images(truth, OpenImages(iou_type="segm"))
    with pytest.raises(InputError, match="no masks"):
        prepared.evaluate(table(images))
    broken = copy.deepcopy(images)
    for image in broken:
        for row in image["found"]:
            row["mask"] = np.ones((HEIGHT + 1, WIDTH), dtype=bool)
    result = prepared.evaluate(table(broken, masks=True))
    assert any("of another size" in note for note in result.notes)
    row = pixel_table([("image-0000", 1, 0.5, [0] * 4)], encoded([None]))
    result = prepared.evaluate(row)
    assert any("1 detections have no mask" in note for note in result.notes)
    wrong = [{"height": 2, "width": 2, "counts": b"zzzz"}]
    everywhere = replace(truth, positive=labels([[0, 1, 2, 3]] * 5))
    with pytest.raises(InputError, match="row 0, field 'mask'"):
        prepare_open_images(everywhere, OpenImages(iou_type="segm")).evaluate(
            pixel_table([("image-0000", 1, 0.5, [0] * 4)], pa.array(wrong, MASK_TYPE))
        )


def test_nothing_at_all():
    images = random_images(9)
    truth = ground_truth(images, CATEGORIES)
    empty = table([{**image, "found": []} for image in images])
    result = prepare_open_images(truth).evaluate(empty)
    counted = ~np.isnan(result.average_precision_per_category)
    assert (result.average_precision_per_category[counted] == 0).all()
    none = prepare_open_images(truth.subset([])).evaluate(empty)
    assert np.isnan(none.AP)
    assert none.to_dict()["AP"] is None


def test_result_as_dictionary_frame_and_table():
    images = random_images(11)
    result = ours(images)
    document = json.loads(json.dumps(result.to_dict()))
    assert document["AP"] == result.AP == result.stats["AP"]
    assert [row["category_id"] for row in document["per_category"]] == [1, 2, 3, 4]
    frame = result.to_frame()
    np.testing.assert_array_equal(frame["AP"], result.average_precision_per_category)
    assert len(result.to_table().rows) == 1
    assert len(result.to_table(per_category=True).rows) == CATEGORIES


@pytest.mark.parametrize(
    "options",
    [{"iou_type": "keypoints"}, {"iou_threshold": 0}, {"iou_threshold": 1.5}, {"group_of_weight": 2}, {"max_dets": 0}],
)
def test_options_are_checked(options):
    with pytest.raises(InputError, match="option"):
        OpenImages(**options)
