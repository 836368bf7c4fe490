import math

import numpy as np
import pytest
from pycocotools import mask as rle

from fusion import select_views
from fusion.errors import InputError
from fusion.masks import mask_array
from fusion.recipe_toml import parse_recipe
from fusion.steps.select_views import SelectViews
from fusion.table import DetectionTable
from tests.oracles.suppression import iou

LEVELS = [["1600"], ["800", "1600"], ["400"]]


def drawn(box, fill):
    """A mask of the left part of a box, in an image of 200 x 200."""
    x, y, w, h = (int(number) for number in box)
    image = np.zeros((200, 200), np.uint8, order="F")
    image[y : y + h, x : x + round(w * fill)] = 1
    return rle.encode(image)["counts"]


def table(member, rows, masks=None, views=None):
    return DetectionTable.from_arrays(
        image_id=[row[0] for row in rows],
        category_id=[row[1] for row in rows],
        score=[row[2] for row in rows],
        xywh=np.array([row[3:7] for row in rows], float).reshape(-1, 4),
        mask=None if masks is None else mask_array([200] * len(rows), [200] * len(rows), masks),
        view=views,
    ).with_metadata(member=member)


def level(box, mask_area, side, ratio, levels, rule):
    of_box = math.floor(box[2] * box[3] / side**2)
    if rule == "log2":  # floor(log2(sqrt(area) / side)) = floor(log4(area / side ** 2))
        of_box = max(math.floor(math.log2(box[2] * box[3] / side**2) / 2), 0) if box[2] * box[3] else 0
    of_mask = levels if mask_area is None else math.floor(mask_area / (ratio * box[2] * box[3]))
    return min(of_box, of_mask, levels - 1)


def voting(boxes, areas, rows, views, rule="area"):
    """Scores and views of the rows that vote, by the plain definition; `areas` are of the boxes' masks, or None."""
    left = []
    for row, view in zip(rows, views, strict=True):
        near = []
        for k, box in enumerate(boxes):
            a, b = ((r[3], r[4], r[3] + r[5], r[4] + r[6]) for r in (row, box))
            if box[0] == row[0] and iou(a, b) > 0:
                near.append((iou(a, b), box[2], -k))
        if near:
            k = -max(near)[2]
            if view in LEVELS[level(boxes[k][3:], areas[k], 40, 0.25, 3, rule)]:
                left.append((row[2], view))
    return left


@pytest.mark.parametrize("rule", ["area", "log2"])
@pytest.mark.parametrize("seed", range(12))
def test_equals_the_plain_definition(seed, rule):
    rng = np.random.default_rng(seed)
    boxes = [
        (int(rng.integers(1, 3)), 1, rng.random(), *rng.integers(0, 60, 2), *rng.integers(10, 130, 2)) for _ in range(8)
    ]
    boxes.sort(key=lambda row: row[0])
    fills = rng.choice([0.1, 0.3, 0.6, 1.0], 8)
    masks = [None if rng.random() < 0.3 else drawn(row[3:], fill) for row, fill in zip(boxes, fills, strict=True)]
    rows, views = [], []
    for view in ("400", "800", "1600"):
        for row in boxes:
            rows.append((row[0], 1, rng.random(), *(row[3:] + rng.integers(0, 5, 4))))
            views.append(view)
    order = sorted(range(len(rows)), key=lambda k: rows[k][0])
    rows, views = [rows[k] for k in order], [views[k] for k in order]
    areas = [None if mask is None else int(rle.area({"size": [200, 200], "counts": mask})) for mask in masks]
    expected = voting(boxes, areas, rows, views, rule)
    left = select_views(table("boxes", boxes, masks), [table("m", rows, views=views)], views=LEVELS, side=40, rule=rule)
    got = list(zip(left.score.tolist(), left.arrow["view"].to_pylist(), strict=True))
    assert got == expected


def test_small_and_thin_things_ask_for_high_resolution():
    small, large = (1, 1, 0.9, 0, 0, 20, 20), (1, 1, 0.8, 60, 60, 120, 120)
    views = ["400", "1600"]
    voters = [table(view, [small, large], views=[view] * 2) for view in views]

    def left(masks):
        kept = select_views(table("b", [small, large], masks), voters, views=[["1600"], ["400"]])
        return sorted(zip(kept.score.tolist(), kept.arrow["view"].to_pylist(), strict=True))

    assert left(None) == [(0.8, "400"), (0.9, "1600")]
    assert left([None, drawn(large[3:], 0.5)]) == [(0.8, "400"), (0.9, "1600")]
    assert left([None, drawn(large[3:], 0.2)]) == [(0.8, "1600"), (0.9, "1600")]


def test_doubled_sides_make_levels_of_boxes():
    sides = [55, 56, 111, 112, 113]
    boxes = [(1, 1, side / 1000, 0, 0, side, side) for side in sides]
    voters = [table(view, boxes, views=[view] * 5) for view in ("0", "1")]
    kept = select_views(table("b", boxes), voters, views=[["0"], ["1"]], rule="log2")
    assert sorted(zip(kept.score.tolist(), kept.arrow["view"].to_pylist(), strict=True)) == [
        (side / 1000, "0" if side < 112 else "1") for side in sides
    ]


def test_works_with_vote_masks_in_a_recipe():
    box = (1, 1, 0.9, 0, 0, 20, 20)
    voters = [table(view, [box], [drawn(box[3:], fill)]) for view, fill in (("400", 0.5), ("1600", 1.0))]
    recipe = parse_recipe(
        """
        recipe = 1
        [nodes.boxes]
        step = "merge_scales"
        inputs = ["*"]
        [nodes.voters]
        step = "select_views"
        inputs = ["boxes", "*"]
        views = [["1600"], ["400"]]
        [nodes.output]
        step = "vote_masks"
        inputs = ["boxes", "voters"]
        """
    )
    fused = recipe.fuse(voters)
    assert [one["counts"] for one in fused.mask.to_pylist()] == [drawn(box[3:], 1.0)]
    assert parse_recipe(recipe.to_toml()).to_toml() == recipe.to_toml()


def test_empty_and_bad_input():
    none, one = table("b", []), table("m", [(1, 1, 0.5, 0, 0, 9, 9)])
    assert len(select_views(none, [one], views=[["m"]])) == 0
    assert len(select_views(one, [none], views=[["x"]])) == 0
    with pytest.raises(InputError, match=r"view 'm2' is in no level; there are 'x'"):
        select_views(one, [table("m2", [(1, 1, 0.5, 0, 0, 9, 9)])], views=[["x"]])
    for views in ([], "400", ["400"], [[400]]):
        with pytest.raises(InputError, match="option views: expected a list of"):
            SelectViews(views=views)
    with pytest.raises(InputError, match="option ratio"):
        SelectViews(views=[["x"]], ratio=0)
    with pytest.raises(InputError, match="normalized"):
        select_views(one.with_metadata(unit="normalized"), [], views=[["x"]])
    broken = table("b", [(1, 1, 0.5, 0, 0, 9, 9)], [b"zz"])
    with pytest.raises(InputError, match="table b, row 0: its mask is no compressed COCO RLE"):
        select_views(broken, [one], views=[["m"]])
