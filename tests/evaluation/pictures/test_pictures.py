"""Pictures: what they show is what was counted, pixel by pixel where it matters, whatever the images are."""

import io
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as rle

import fusion
from evaluation import Coco, GroundTruth, Lvis, prepare, read_coco
from evaluation.pictures import jpeg_bytes, show
from evaluation.pictures.marks import Mark, MarkKind, Piece, draw_marks, drawable, mask_piece, shortened_to
from evaluation.pictures.sheet import draw_sheet
from evaluation.pictures.verdicts import HIDDEN, NEITHER, RIGHT, WRONG
from fusion.errors import InputError
from fusion.masks import mask_array
from fusion.table import DetectionTable, Metadata
from tests.evaluation.analysis.samples import case
from tests.oracles.coco import match_cell

SIDE = 640  # of the pictures below, so that a pixel of a panel is a pixel of the picture


def truth_of(boxes, *, images=1, names=("cat", "dog"), files=None, sides=(SIDE, 480), **more):
    boxes = [(1, 1, *box) if len(box) == 4 else box for box in boxes]  # image, category, x, y, w, h
    return GroundTruth.from_arrays(
        image_id=list(range(1, images + 1)),
        width=[sides[0]] * images,
        height=[sides[1]] * images,
        file_name=files,
        category_id=list(range(1, len(names) + 1)),
        category_name=names,
        annotation_image_id=[box[0] for box in boxes],
        annotation_category_id=[box[1] for box in boxes],
        xywh=np.array([box[2:] for box in boxes], float).reshape(-1, 4),
        **more,
    )


def table_of(rows, name="a", **more):
    rows = [(1, 1, *row) if len(row) == 5 else row for row in rows]  # image, category, score, x, y, w, h
    return DetectionTable.from_arrays(
        image_id=np.array([row[0] for row in rows], np.int64),
        category_id=np.array([row[1] for row in rows], np.int32),
        score=np.array([row[2] for row in rows], float),
        xywh=np.array([row[3:] for row in rows], float).reshape(-1, 4),
        metadata=Metadata(member=name),
        **more,
    )


def panels(sheet, size=(SIDE, 480), count=2):
    """The pictures of a sheet's panels: where the gaps between them are white all the way."""
    pixels = np.asarray(sheet)
    across = round((sheet.width - 12) / (size[0] + 12))
    found = []
    for number in range(count):
        x = 12 + number % across * (size[0] + 12)
        y = 12 + 16 + 10 + 13 + 12 + 12 + number // across * (size[1] + 13 + 12 + 12 + 12)
        found.append(pixels[y : y + size[1], x : x + size[0]])
    return found


def test_each_verdict_has_its_colour_at_the_edge_of_its_box():
    truth = truth_of([(100, 100, 80, 60), (300, 300, 50, 50)])
    found = table_of([(0.9, 100, 100, 80, 60), (0.8, 400, 50, 90, 70)])
    gallery = show([found], truth, score=0.5)
    annotated, drawn = panels(gallery.worst(1)[0].draw())
    assert tuple(drawn[100, 120]) == tuple(drawn[101, 100]) == tuple(drawn[159, 179]) == MarkKind.RIGHT.colour
    assert tuple(drawn[119, 489]) == tuple(drawn[80, 400]) == MarkKind.WRONG.colour
    edge = {tuple(pixel) for pixel in drawn[300, 300:350]}
    assert edge == {MarkKind.MISSED.colour, (20, 20, 20)}  # a broken line between dark ones
    assert tuple(annotated[100, 120]) == tuple(annotated[349, 349]) == MarkKind.OBJECT.colour
    assert tuple(drawn[250, 250]) == (205, 205, 205)


def test_a_picture_without_detections_and_one_without_anything_are_drawn():
    truth = truth_of([(100, 100, 80, 60)], images=2)
    gallery = show([table_of([])], truth)
    first, second = gallery.all()
    drawn = panels(first.draw())[1]
    assert {tuple(pixel) for pixel in drawn[100, 100:180]} == {MarkKind.MISSED.colour, (20, 20, 20)}
    assert {tuple(pixel) for pixel in panels(second.draw())[1].reshape(-1, 3)} == {(205, 205, 205)}
    assert gallery.worst(5)[0].image_id == 1
    assert len(gallery.worst(5)) == 1
    assert "no picture file" not in first.title


@pytest.mark.parametrize("masks", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_what_is_right_wrong_and_missed_is_what_the_slow_evaluation_says(seed, masks):
    dataset, results, prepared, table, iou_of = case(seed, masks=masks)
    gallery = show([table], prepared, score=0.3)
    own = gallery.verdicts[0]
    thresholds = prepared.protocol.thresholds.tolist()
    for place, image in enumerate(prepared.ground_truth.image_id.tolist()):
        counts = {threshold: [0, 0, 0] for threshold in thresholds}
        for kind in (category["id"] for category in dataset["categories"]):
            mine = [r for r in dataset["annotations"] if (r["image_id"], r["category_id"]) == (image, kind)]
            theirs = [r for r in results if (r["image_id"], r["category_id"]) == (image, kind)]
            theirs = sorted(theirs, key=lambda row: -row["score"])[:100]
            objects = sum(not g["iscrowd"] and 0 <= g["area"] <= 1e10 for g in mine)
            for threshold, count in counts.items():
                outcomes = match_cell(theirs, mine, iou_of, threshold, (0, 1e10), True)
                shown = [o for o, row in zip(outcomes, theirs, strict=True) if row["score"] >= 0.3]
                count[0] += shown.count("true")
                count[1] += shown.count("false")
                count[2] += objects - shown.count("true")
        assert gallery.counts(place) == [tuple(counts[0.5])]
        assert own.errors[place] == pytest.approx(np.mean([count[1] + count[2] for count in counts.values()]))
    assert set(own.verdict.tolist()) <= {HIDDEN, RIGHT, WRONG, NEITHER}


def three_images():
    """Image 1: both members miss one object. 2: b finds what a does not. 3: b has one wrong detection."""
    truth = truth_of([(1, 1, 10, 10, 50, 50), (2, 1, 10, 10, 50, 50), (3, 2, 10, 10, 50, 50)], images=3)
    a = table_of([(3, 2, 0.9, 10, 10, 50, 50)])
    b = table_of([(2, 1, 0.9, 10, 10, 50, 50), (3, 2, 0.9, 10, 10, 50, 50), (3, 1, 0.8, 300, 300, 40, 40)], "b")
    return truth, a, b


def chosen(entries):
    return [(shown.image_id, shown.value) for shown in entries]


def test_images_are_chosen_by_what_is_counted_and_equals_by_their_ids():
    truth, a, b = three_images()
    gallery = show([a, b], truth, score=0.5)
    assert chosen(gallery.worst(9)) == [(1, 1), (3, 1)]
    assert chosen(gallery.most_improved(9)) == [(2, 1)]
    assert chosen(gallery.false_positives(9)) == [(3, 1)]
    assert chosen(gallery.missed(9)) == [(1, 1)]
    assert chosen(gallery.worst(1)) == [(1, 1)]
    assert chosen(show([b, a], truth, score=0.5).most_improved(9)) == [(3, 1)]
    dogs = show([a, b], truth, score=0.5, category="dog")
    assert chosen(dogs.worst(9)) == []
    assert dogs.counts(2) == [(1, 0, 0), (1, 0, 0)]
    assert chosen(show([a, b], truth, score=0.5, category=1).worst(9)) == [(1, 1), (3, 1)]
    assert chosen(gallery.named(["3", 1])) == [(3, 0), (1, 0)]


def test_equal_errors_go_by_all_thresholds_first():
    truth = truth_of([(1, 1, 0, 0, 100, 100), (2, 1, 0, 0, 100, 100)], images=2)
    gallery = show([table_of([(1, 1, 0.9, 0, 0, 100, 40), (2, 1, 0.9, 0, 0, 100, 45)])], truth, iou=0.5, score=0)
    assert chosen(gallery.worst(2)) == [(1, 2), (2, 2)]
    loose = table_of(
        [(1, 1, 0.9, 0, 0, 100, 90), (1, 2, 0.9, 0, 0, 9, 9), (2, 1, 0.9, 0, 0, 100, 60), (2, 2, 0.9, 0, 0, 9, 9)]
    )
    assert chosen(show([loose], truth, score=0).worst(2)) == [(2, 1), (1, 1)]


def test_a_fused_table_is_compared_with_its_best_input_wherever_it_stands():
    truth, a, b = three_images()
    fused = a.with_metadata(member="fused", made_by={"recipe": "recipe = 1"})
    gallery = show([a, fused, b], truth, score=0.5)
    assert (gallery.subject, gallery.rival) == (1, 2)
    assert gallery.most_improved(1)[0].reason == "fewer errors than b"


def test_by_default_the_score_of_highest_f1_is_the_least_that_is_shown():
    truth = truth_of([(10, 10, 50, 50), (200, 200, 50, 50)])
    found = table_of([(0.9, 10, 10, 50, 50), (0.7, 200, 200, 50, 50), (0.2, 400, 300, 50, 50)])
    gallery = show([found], truth)
    assert gallery.verdicts[0].least_score == 0.7
    assert gallery.counts(0) == [(2, 0, 0)]
    assert show([found], truth, score=0.1).counts(0) == [(2, 1, 0)]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"iou": 0.3}, r"option iou: expected a number in \[0.5, 1\]"),
        ({"size": 10}, "option size: expected 64 to 4096 pixels"),
        ({"category": "bird"}, "has no category 'bird'; it has such as 'cat', 'dog'"),
        ({"images_folder": "nowhere"}, "nowhere: expected a folder"),
    ],
)
def test_options_out_of_range_are_errors(options, words):
    truth, a, b = three_images()
    with pytest.raises(InputError, match=words):
        show([a, b], truth, **options)


def test_what_cannot_be_chosen_is_an_error():
    truth, a, _ = three_images()
    with pytest.raises(InputError, match="one has nothing to be better than"):
        show([a], truth).most_improved(3)
    with pytest.raises(InputError, match="no image '7'; it has such as 1, 2, 3"):
        show([a], truth).named(["7"])
    with pytest.raises(InputError, match="none was given"):
        show([], truth)


def test_pictures_are_found_by_name_by_stem_and_by_id(tmp_path):
    names = ["in/Füße 猫.png", "b.jpg", "c.jpg"]
    colours = [(200, 10, 10), (10, 200, 10), (10, 10, 200)]
    for name, colour in zip(["Füße 猫.png", "b.png", "c.jpg"], colours, strict=True):
        Image.new("RGB", (SIDE, 480), colour).save(tmp_path / name)
    gallery = show([table_of([])], truth_of([], images=3, files=names), images_folder=tmp_path)
    for shown, colour in zip(gallery.all(), colours, strict=True):
        sheet, said = draw_sheet(shown)
        assert said == []
        assert np.abs(panels(sheet)[0][200, 300].astype(int) - colour).max() <= 2
    (tmp_path / "000000000001.png").write_bytes((tmp_path / "b.png").read_bytes())
    found = show([table_of([])], truth_of([]), images_folder=tmp_path).folder.find(0)
    assert found == tmp_path / "000000000001.png"


def test_missing_and_damaged_pictures_are_empty_frames_and_said(tmp_path):
    (tmp_path / "b.jpg").write_bytes(b"no picture")
    truth = truth_of([(1, 1, 10, 10, 50, 50)], images=2, files=["a.jpg", "b.jpg"])
    first, second = show([table_of([])], truth, images_folder=tmp_path).all()
    sheet, said = draw_sheet(first)
    assert said == [f"image 1 has no picture in {tmp_path}"]
    assert tuple(panels(sheet)[0][300, 300]) == (205, 205, 205)
    sheet, said = draw_sheet(second)
    assert "b.jpg: cannot be read as an image" in said[0]
    assert tuple(panels(sheet)[0][300, 300]) == (205, 205, 205)


def test_pictures_of_other_kinds_and_extents(tmp_path):
    """16 bits, a palette with transparency, and one that is stored lying on its side."""
    Image.fromarray(np.full((480, SIDE), 150 * 256, np.uint16)).save(tmp_path / "a.png")
    palette = Image.new("P", (SIDE, 480), 0)
    palette.putpalette([90, 80, 70])
    palette.save(tmp_path / "b.png", transparency=0)
    turned = Image.new("RGB", (480, SIDE), (0, 0, 0))
    turned.paste((250, 250, 250), (0, 0, 480, SIDE // 2))
    mark = Image.Exif()
    mark[0x0112] = 6  # to be turned to the right
    turned.save(tmp_path / "c.jpg", exif=mark)
    truth = truth_of([], images=3, files=["a.png", "b.png", "c.jpg"])
    grey, brown, right = [
        panels(shown.draw())[0] for shown in show([table_of([])], truth, images_folder=tmp_path).all()
    ]
    assert tuple(grey[100, 100]) == (150, 150, 150)
    assert tuple(brown[100, 100]) == (90, 80, 70)
    assert right[240, 100].max() < 5
    assert right[240, 500].min() > 245


def test_a_huge_picture_is_shown_small(tmp_path):
    Image.new("L", (12_000, 9_000), 77).save(tmp_path / "a.jpg")  # more than Pillow takes without a warning
    truth = truth_of([(3000, 3000, 3000, 3000)], files=["a.jpg"], sides=(12_000, 9_000))
    sheet = show([table_of([(0.9, 3000, 3000, 3000, 3000)])], truth, images_folder=tmp_path).named([1])[0].draw()
    assert max(sheet.size) < 1400
    drawn = panels(sheet)[1]
    assert tuple(drawn[160, 200]) == MarkKind.RIGHT.colour
    assert abs(int(drawn[20, 20, 0]) - 77) <= 2


def test_images_without_a_size_take_that_of_the_picture_or_of_the_boxes(tmp_path):
    Image.new("RGB", (300, 200)).save(tmp_path / "a.png")
    truth = truth_of([(100, 100, 100, 50)], files=["a.png"], sides=(0, 0))
    found = table_of([(0.9, 100, 100, 100, 50)])
    by_picture = show([found], truth, images_folder=tmp_path, size=600).named([1])[0].draw()
    assert tuple(panels(by_picture, (600, 400))[1][200, 250]) == MarkKind.RIGHT.colour
    by_boxes = show([found], truth, size=400).named([1])[0].draw()
    assert tuple(panels(by_boxes, (400, 300))[1][200, 250]) == MarkKind.RIGHT.colour


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 40))
def test_the_pixels_of_a_mask_are_those_of_the_official_codec(seed, height, width):
    rng = np.random.default_rng(seed)
    bitmap = (rng.random((height, width)) < rng.choice([0.05, 0.5, 1.0])).astype(np.uint8)
    text = rle.encode(np.asfortranarray(bitmap))
    truth = truth_of([(0, 0, 5, 5)], segmentation=[text], sides=(width, height))
    piece = mask_piece(prepare(truth, Coco(iou_type="segm")).masks, 0)
    again = np.zeros((height, width), bool)
    if piece is not None:
        assert (piece.height, piece.width) == (height, width)
        assert piece.pixels.any(axis=0)[[0, -1]].all()
        h, w = piece.pixels.shape
        again[piece.y : piece.y + h, piece.x : piece.x + w] = piece.pixels
    assert np.array_equal(again, bitmap.astype(bool))


def test_masks_are_drawn_over_the_picture_with_an_edge():
    bitmap = np.zeros((480, SIDE), np.uint8)
    bitmap[100:200, 300:400] = 1
    text = rle.encode(np.asfortranarray(bitmap))
    found = table_of([(0.9, 300, 100, 100, 100)], mask=mask_array([480], [SIDE], [text["counts"]]))
    truth = truth_of([(280, 80, 140, 140)], segmentation=[{"size": [480, SIDE], "counts": text["counts"].decode()}])
    shown = show([found], truth, protocol=Coco(iou_type="segm")).named([1])[0]
    annotated, drawn = panels(shown.draw())
    blend = [round((165 * 205 + 90 * c) / 255) for c in MarkKind.RIGHT.colour]
    assert np.abs(drawn[150, 350].astype(int) - blend).max() <= 1
    assert tuple(annotated[100, 350]) == MarkKind.OBJECT.colour
    assert tuple(annotated[90, 350]) == (205, 205, 205)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(*[st.floats(-1e12, 1e12) | st.floats(-1, 2) for _ in range(4)]), max_size=6))
def test_any_box_can_be_drawn(boxes):
    picture = Image.new("RGB", (60, 40))
    for kind in MarkKind:
        draw_marks(picture, [Mark(kind, box, "name .5", Piece(np.ones((2, 3), bool), 0, 0, 3, 2)) for box in boxes])
    assert picture.size == (60, 40)


def test_labels_cover_neither_one_another_nor_small_boxes():
    picture = Image.new("RGB", (200, 100), (205, 205, 205))
    small = (0.5, 0.2, 0.55, 0.3)
    draw_marks(picture, [Mark(MarkKind.RIGHT, small), *[Mark(MarkKind.WRONG, (0.4, 0.3, 0.6, 0.5), "one .9")] * 9])
    pixels = np.asarray(picture)
    assert tuple(pixels[20, 105]) == MarkKind.RIGHT.colour


def test_names_that_the_font_lacks_are_said_by_number_and_long_ones_are_cut():
    assert drawable("Füße кошка γάτα ✗ ≥")
    assert not drawable("猫")
    assert shortened_to("a" * 500, 100, 12).count("…") == 1
    gallery = show([table_of([(0.9, 10, 10, 50, 50)])], truth_of([(10, 10, 50, 50)], names=("猫", "犬")))
    plain = show([table_of([(0.9, 10, 10, 50, 50)])], truth_of([(10, 10, 50, 50)], names=("category 1", "b")))
    assert np.array_equal(gallery.named([1])[0].draw(), plain.named([1])[0].draw())


def test_the_words_of_a_picture_say_what_it_shows():
    truth, a, b = three_images()
    shown = show([a, b], truth, score=0.5).worst(2)[1]
    assert shown.alt == (
        "image 3 · errors: 1; annotated objects: 1; a: 1 right, 0 wrong, 0 missed; b: 1 right, 1 wrong, 0 missed"
    )


def test_a_jpeg_fits_its_bytes():
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 256, (300, 400, 3), dtype=np.uint8))
    assert len(jpeg_bytes(noise)) > 100_000
    small = jpeg_bytes(noise, 20_000)
    assert len(small) <= 20_000
    assert Image.open(io.BytesIO(small)).format == "JPEG"


def test_the_same_picture_is_drawn_twice():
    truth, a, b = three_images()
    fused = fusion.wbf([a, b], iou=0.55)
    first, second = (show([a, b, fused], truth).worst(1)[0].draw() for _ in range(2))
    assert first.tobytes() == second.tobytes()


def test_what_lvis_does_not_judge_is_hidden_or_counts_neither_way(tmp_path):
    """Category 1 is annotated, 2 is known to be absent, 3 not exhaustively annotated, of 4 nothing is known."""
    dataset = {
        "images": [
            {"id": 1, "width": SIDE, "height": 480, "neg_category_ids": [2], "not_exhaustive_category_ids": [3]}
        ],
        "categories": [{"id": i, "name": str(i), "frequency": "f"} for i in (1, 2, 3, 4)],
        "annotations": [
            {"id": i, "image_id": 1, "category_id": i, "bbox": [9 + 99 * i, 9, 50, 50], "area": 2500, "iscrowd": 0}
            for i in (1, 3)
        ],
    }
    (tmp_path / "gt.json").write_text(json.dumps(dataset))
    rows = [(1, kind, 0.9, 100 * kind, 200, 60, 60) for kind in (1, 2, 3, 4)]
    gallery = show([table_of(rows)], read_coco(tmp_path / "gt.json"), protocol=Lvis(), score=0.1)
    assert gallery.verdicts[0].verdict.tolist() == [WRONG, WRONG, NEITHER, HIDDEN]
    assert gallery.counts(0) == [(0, 2, 2)]
    drawn = panels(gallery.named([1])[0].draw())[1]
    assert tuple(drawn[200, 120]) == MarkKind.WRONG.colour
    assert {tuple(pixel) for pixel in drawn[200, 300:360]} == {MarkKind.NEITHER.colour, (20, 20, 20)}
    assert tuple(drawn[200, 420]) == (205, 205, 205)
