"""Masks that move with corrected boxes: against pixels, and what is said where they stay."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as codec

from fusion.box_corrections import BoxCorrection
from fusion.errors import InputError
from fusion.learned import TunedOn, write_learned
from fusion.masks import mask_array
from fusion.method_plan import MethodOptions, method_plan
from fusion.moved_masks import moved_masks
from fusion.parts import fuse_files
from fusion.pool import pool_tables
from fusion.recipe import Recipe
from fusion.run import apply
from fusion.steps.correct_boxes import CorrectBoxes
from fusion.storage import write_table
from fusion.table import DetectionTable, Metadata
from tests.oracles.masks import decoded


def table_of(pixels, xywh, unit="pixel"):
    """Detections with masks, in images of their own; pixels: bool [height, width] each, or None."""
    shapes = [(0, 0) if one is None else one.shape for one in pixels]
    texts = [None if one is None else codec.encode(np.asfortranarray(one, np.uint8))["counts"] for one in pixels]
    return DetectionTable.from_arrays(
        image_id=np.arange(len(pixels)),
        category_id=[1] * len(pixels),
        score=np.linspace(0.9, 0.1, len(pixels)),
        xywh=np.asarray(xywh, float).reshape(-1, 4),
        mask=mask_array(*zip(*shapes, strict=True), texts),
        metadata=Metadata(member="a", unit=unit),
    )


def moved_pixels(pixels, before, after):
    """Each pixel's centre taken back from the new box to the old one: the pixel there decides."""
    height, width = pixels.shape
    found = np.zeros_like(pixels)
    for y in range(height):
        line = math.floor(before[1] + (y + 0.5 - after[1]) * ((before[3] - before[1]) / (after[3] - after[1])))
        for x in range(width):
            column = math.floor(before[0] + (x + 0.5 - after[0]) * ((before[2] - before[0]) / (after[2] - after[0])))
            if 0 <= line < height and 0 <= column < width:
                found[y, x] = pixels[line, column]
    return found


def pixels_of(masks):
    return [
        None if row is None else decoded({"size": [row["height"], row["width"]], "counts": row["counts"]}).astype(bool)
        for row in masks.to_pylist()
    ]


@st.composite
def scenes(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    pixels, rows = [], []
    for _ in range(draw(st.integers(1, 6))):
        shape = rng.integers(1, 24, 2)
        share = rng.choice([0.0, 0.3, 0.9, 1.0])
        pixels.append(None if rng.random() < 0.1 else rng.random(shape) < share)
        low, side = rng.uniform(-6, 20, 2), rng.uniform(0.5, 20, 2)
        if draw(st.booleans()):
            low, side = low.round(), side.round() + 1
        rows.append([*low, *(low + side)])
    before = np.array(rows)
    size = np.hstack([before[:, 2:] - before[:, :2]] * 2)
    share = rng.choice([0.0, 0.1, 0.45], len(rows))[:, None] * rng.uniform(-1, 1, before.shape)
    return pixels, before, before + share * size, rng.random(len(rows)) < 0.2


@settings(max_examples=150, deadline=None)
@given(scenes(), st.booleans())
def test_masks_are_those_of_moved_pixels(scene, normalized):
    pixels, before, after, still = scene
    unit = np.ones((len(pixels), 4))
    if normalized:  # by powers of two, so that boxes in pixels are the same
        pixels = [None if one is None else np.resize(one, (16, 8)) for one in pixels]
        unit = np.tile([8.0, 16.0], (len(pixels), 2))
    table = table_of(
        pixels,
        np.hstack([before[:, :2], before[:, 2:] - before[:, :2]]) / unit,
        "normalized" if normalized else "pixel",
    )
    given = np.where(still[:, None], np.nan, after / unit)
    found = moved_masks(pool_tables([table]), before / unit, given)
    for row, (one, new) in enumerate(zip(pixels, pixels_of(found), strict=True)):
        if one is None:
            assert new is None
        elif still[row]:
            assert found[row].as_py() == table.mask[row].as_py()
        else:
            expected = moved_pixels(one, before[row], after[row])
            assert new.tolist() == expected.tolist()
            # the text is the codec's own
            text = codec.encode(np.asfortranarray(expected, np.uint8))["counts"]
            assert found[row].as_py()["counts"] == text


def test_the_step_moves_masks_where_asked():
    square = np.zeros((30, 40), bool)
    square[10:20, 10:20] = True
    table = table_of([square, None, square], [[10, 10, 10, 10], [0, 0, 5, 5], [10, 10, 0, 10]])
    # a fifth of a box to the right, and twice as high
    correction = BoxCorrection(side=[[0.2], [-0.4], [0.2], [0.4]])
    kept = apply(CorrectBoxes(corrections={"a": correction}), table)
    assert kept.mask.to_pylist() == table.mask.to_pylist()
    shifted = apply(CorrectBoxes(corrections={"a": correction}, masks="shift"), table)
    assert shifted.xywh.tolist() == kept.xywh.tolist()
    moved = np.zeros((30, 40), bool)
    moved[6:24, 12:22] = True
    first, second, third = pixels_of(shifted.mask)
    assert first.tolist() == moved.tolist()
    assert second is None
    assert third.tolist() == square.tolist()  # a box without area stays
    plain = table_of([square], [[10, 10, 10, 10]])
    assert (
        apply(CorrectBoxes(corrections={"a": BoxCorrection()}, masks="shift"), plain).mask.to_pylist()
        == plain.mask.to_pylist()
    )


def test_tables_without_masks_have_none_afterwards():
    table = DetectionTable.from_arrays(image_id=[1], category_id=[1], score=[0.5], xywh=[[1, 1, 4, 4]]).with_metadata(
        member="a"
    )
    step = CorrectBoxes(corrections={"a": BoxCorrection(side=[[0.1]] * 4)}, masks="shift")
    assert apply(step, table).mask is None


def test_a_mask_that_cannot_be_read_is_named():
    table = DetectionTable.from_arrays(
        image_id=[1], category_id=[1], score=[0.5], xywh=[[1, 1, 4, 4]], mask=mask_array([3], [3], [b"99"])
    ).with_metadata(member="a")
    step = CorrectBoxes(corrections={"a": BoxCorrection(side=[[0.1]] * 4)}, masks="shift")
    with pytest.raises(InputError, match="table a, row 0: expected a mask in compressed COCO RLE of 3 x 3 pixels"):
        apply(step, table)


def test_other_words_are_refused():
    with pytest.raises(InputError, match="option masks: expected one of keep, shift, got 'move'"):
        CorrectBoxes(corrections={}, masks="move")


def test_a_note_says_that_masks_stay(tmp_path):
    square = np.ones((30, 40), bool)
    write_table(table_of([square], [[10, 10, 10, 10]]), tmp_path / "a.parquet")
    plain = DetectionTable.from_arrays(image_id=[1], category_id=[1], score=[0.5], xywh=[[1, 1, 4, 4]])
    write_table(plain.with_metadata(member="a"), tmp_path / "plain.parquet")
    moving, still = BoxCorrection(side=[[0.1]] * 4), BoxCorrection()

    def notes(path, **how):
        recipe = Recipe.chain([CorrectBoxes(**how)])
        return [line for line in fuse_files(recipe, [path], tmp_path / "out.parquet").notes if "masks" in line]

    assert notes(tmp_path / "a.parquet", corrections={"a": moving}) == [
        "boxes are corrected, masks stay where they are; masks='shift' moves them with their boxes"
    ]
    assert notes(tmp_path / "a.parquet", corrections={"a": moving}, masks="shift") == []
    assert notes(tmp_path / "a.parquet", corrections={"a": still}) == []
    assert notes(tmp_path / "plain.parquet", corrections={"a": moving}) == []


def test_the_command_line_moves_masks_before_any_method(tmp_path):
    path = tmp_path / "boxes.toml"
    write_learned(path, "corrections", {"a": BoxCorrection(side=[[0.1]] * 4)}, TunedOn(fingerprint="f", images=1))
    plan = method_plan("wbf", MethodOptions(masks="shift"), boxes=path)
    assert [getattr(node.step, "masks", None) for node in plan.nodes.values()] == ["shift", None]
    plan = method_plan("correct_boxes", MethodOptions(masks="shift", corrections=path))
    assert plan.nodes["output"].step.masks == "shift"
