import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion import mask_nms
from fusion.errors import InputError
from fusion.recipe import Recipe
from fusion.run import trace
from fusion.steps.mask_nms import MaskNms
from tests.fusion.steps.test_vote_masks import BOX, LEFT, NOTHING, RIGHT, encoded, filled, random_table, rows_of, table
from tests.oracles import masks as oracle


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([1, 8, 40]), st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.booleans())
def test_equals_the_plain_definition(seed, size, iou, equal):
    rng = np.random.default_rng(seed)
    tables = [random_table(rng, name, size, soft_share=0, equal=equal) for name in "ab"]
    kept, sources = trace(MaskNms(iou=iou), tables)
    rows = [row for name, one in zip("ab", tables, strict=True) for row in rows_of(one, name)]
    for number, row in enumerate(rows):
        row["row"] = number
    expected = []
    for cell in sorted({(row["image"], row["category"]) for row in rows}):
        inside = [row for row in rows if (row["image"], row["category"]) == cell]
        groups = oracle.mask_nms(sorted(inside, key=lambda row: -row["score"]), iou)
        expected += [[row["row"] for row in group] for group in groups]
    assert [sources.row[a:b].tolist() for a, b in zip(sources.start, sources.start[1:], strict=False)] == expected
    assert kept.score.tolist() == [rows[group[0]]["score"] for group in expected]


def test_equal_to_the_threshold_is_kept():
    half = [filled(0, 0, 2, 2), filled(0, 0, 2, 4)]
    assert len(mask_nms(table("a", BOX * 2, half, [0.9, 0.8]), iou=0.5)) == 2
    assert len(mask_nms(table("a", BOX * 2, half, [0.9, 0.8]), iou=0.49)) == 1


def test_without_pixels_nothing_is_suppressed():
    one = table("a", BOX * 5, [NOTHING, NOTHING, None, LEFT, RIGHT], [0.9, 0.8, 0.7, 0.6, 0.5])
    assert mask_nms(one, iou=0.3).score.tolist() == [0.9, 0.8, 0.7, 0.6]
    assert len(mask_nms(table("a", BOX, None))) == 1
    assert len(mask_nms(table("a", [], []))) == 0


def test_faults_are_named():
    with pytest.raises(InputError, match="option iou"):
        MaskNms(iou=2)
    with pytest.raises(InputError, match="table a, row 1: expected a mask"):
        mask_nms(table("a", BOX * 2, [LEFT, {"counts": b"\xff"}]))
    with pytest.raises(InputError, match="differ in size"):
        mask_nms([table("a", BOX, [LEFT]), table("b", BOX, [encoded(np.ones((3, 3)))], size=(3, 3))])


def test_as_a_step_of_a_recipe():
    fused = Recipe.chain([MaskNms(iou=0.3)]).fuse([table("a", BOX, [LEFT], [0.6]), table("b", BOX, [RIGHT], [0.5])])
    assert fused.score.tolist() == [0.6]
