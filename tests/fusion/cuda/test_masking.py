"""Twins of the steps on masks, on every backend, against the plain definitions and the CPU."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusion.cuda.resident import UnsuitableError
from fusion.errors import InputError
from fusion.masks import mask_array
from fusion.recipe import Node, Recipe
from fusion.run import apply
from fusion.soft_masks import soft_mask_array
from fusion.steps.mask_nms import MaskNms
from fusion.steps.nms import Nms
from fusion.steps.prob_fusion import ProbFusion
from fusion.steps.vote_masks import VoteMasks
from fusion.steps.wbf import Wbf
from fusion.table import DetectionTable
from tests.fusion.cuda.test_session import same
from tests.fusion.cuda.test_twins import SIMULATED, few
from tests.fusion.steps.test_vote_masks import (
    BOX,
    LEFT,
    NOTHING,
    RIGHT,
    SIZE,
    encoded,
    filled,
    mask_of,
    masks_of,
    random_table,
    rows_of,
    table,
)
from tests.oracles import masks as oracle

BROKEN = {"counts": b"\xff"}


@few
@given(
    seed=st.integers(0, 2**32), members=st.integers(0, 4), size=st.sampled_from([1, 4, 16]),
    iou=st.sampled_from([0.0, 0.5, 1.0]), threshold=st.sampled_from([0.5, 0.5, 1 / 3, 1.0, 1e-9]), equal=st.booleans(),
    soft=st.booleans(),
)  # fmt: skip
def test_vote_masks_equals_decode_mean_threshold_encode(backend, seed, members, size, iou, threshold, equal, soft):
    size, share = (min(size, 6), 0.4) if soft and SIMULATED else (size, 0.4 * soft)
    rng = np.random.default_rng(seed)
    weights = {str(m): [1.5, 2.0, 0.0, 0.3][m] for m in range(members)} if members and rng.random() < 0.5 else None
    tables = [
        random_table(rng, str(m), int(rng.integers(0, size + 1)), soft_share=share, equal=equal) for m in range(members)
    ]
    instances = random_table(rng, "fused", size, soft_share=share, equal=equal)
    voters = []
    for member, one in enumerate(tables):
        voters += rows_of(one, str(member), 1.0 if weights is None else weights[str(member)])
    step = VoteMasks(iou=iou, threshold=threshold, weights=weights, tighten=True)
    fused = apply(step, [instances, *tables], device=backend)
    expected = oracle.vote(rows_of(instances, "fused"), voters, SIZE, iou, threshold)
    assert masks_of(fused) == [mask for mask, _ in expected]
    same(fused, apply(step, [instances, *tables]))


@few
@given(
    seed=st.integers(0, 2**32), size=st.sampled_from([1, 8, 20]), iou=st.sampled_from([0.0, 0.25, 0.5, 1.0]),
    equal=st.booleans(),
)  # fmt: skip
def test_mask_nms_equals_the_plain_definition(backend, seed, size, iou, equal):
    rng = np.random.default_rng(seed)
    tables = [random_table(rng, name, size, soft_share=0, equal=equal) for name in "ab"]
    kept = apply(MaskNms(iou=iou), tables, device=backend)
    rows = [row for name, one in zip("ab", tables, strict=True) for row in rows_of(one, name)]
    expected = []
    for cell in sorted({(row["image"], row["category"]) for row in rows}):
        inside = [row for row in rows if (row["image"], row["category"]) == cell]
        groups = oracle.mask_nms(sorted(inside, key=lambda row: -row["score"]), iou)
        expected += [(*cell, group[0]["score"], group[0]["mask"]) for group in groups]
    assert list(zip(kept.image_id, kept.category_id, kept.score, masks_of(kept), strict=True)) == expected
    same(kept, apply(MaskNms(iou=iou), tables))


def test_ties_cover_and_masks_without_pixels_do_not_vote(backend, on_gpu):
    def voted(instances, voters, **options):
        return mask_of(apply(VoteMasks(**options), [instances, *voters], device=backend))

    fused = table("fused", BOX, [RIGHT])
    pair = [table("a", BOX, [LEFT], [0.1]), table("b", BOX, [RIGHT], [0.1])]
    assert voted(fused, pair) == filled(2, 2, 8, 8)
    assert voted(fused, pair, weights={"a": 2, "b": 1}) == LEFT
    nothing = [table("a", BOX, [NOTHING]), table("b", BOX, [None]), table("c", BOX, None)]
    assert voted(fused, [*nothing, table("d", BOX, [LEFT])]) == LEFT
    assert voted(table("fused", BOX, None), nothing) is None
    assert voted(table("fused", BOX, [NOTHING]), nothing) == NOTHING
    ends = [table(str(v), BOX, [filled(0, 0, 17 - v, 13)]) for v in range(2)]  # the whole image, and to a column's end
    assert voted(fused, ends) == filled(0, 0, 17, 13)


@pytest.mark.parametrize("score", [0.7, 5e-324])
def test_half_of_equal_weights_is_always_a_tie(backend, on_gpu, score):
    tables = [table(str(v), BOX, [LEFT if v % 2 else RIGHT], [score]) for v in range(6)]
    fused = apply(VoteMasks(), [table("fused", BOX, None), *tables], device=backend)
    assert mask_of(fused) == filled(2, 2, 8, 8)


def test_each_member_and_view_has_one_vote(backend, on_gpu):
    fused, boxes = table("fused", BOX, None), [[2, 2, 6, 5], [2, 2, 6, 6]]
    for view, expected in ((None, RIGHT), (["scale 1", "scale 2"], LEFT)):
        one = table("a", boxes, [LEFT, RIGHT], [0.9, 0.5], view=view)
        assert mask_of(apply(VoteMasks(), [fused, one], device=backend)) == expected


def test_equal_to_the_threshold_is_kept(backend, on_gpu):
    half = table("a", BOX * 2, [filled(0, 0, 2, 2), filled(0, 0, 2, 4)], [0.9, 0.8])
    assert len(apply(MaskNms(iou=0.5), half, device=backend)) == 2
    assert len(apply(MaskNms(iou=0.49), half, device=backend)) == 1
    apart = table("a", BOX * 2, [filled(0, 0, 2, 2), filled(2, 0, 4, 2)], [0.9, 0.8])
    assert len(apply(MaskNms(iou=0.0), apart, device=backend)) == 2
    assert len(apply(MaskNms(), table("a", BOX * 2, None), device=backend)) == 2


@pytest.mark.parametrize("step", [VoteMasks(iou=0.1), MaskNms()])
@pytest.mark.parametrize(
    ("masks", "size", "message"),
    [
        ([LEFT, BROKEN], SIZE, r"table b, row 1: expected a mask .* 13 x 17 pixels, got b'\\xff'"),
        ([encoded(np.ones((3, 3)))] * 2, (3, 3), "image 1: its masks differ in size: 13 x 17 pixels in table a, row 0"),
    ],
)
def test_masks_that_cannot_be_used_are_named(backend, step, masks, size, message):
    boxes = [[2, 2, 6, 7], *BOX]
    with pytest.raises(InputError, match=message):
        apply(step, [table("a", BOX, [LEFT]), table("b", boxes, masks, size=size)], device=backend)


def test_an_unreadable_mask_that_has_no_say(backend):
    """The CPU never looks at it."""
    tables = [table("a", BOX, [LEFT]), table("b", [[2, 2, 6, 6], [9, 9, 2, 2]], [LEFT, BROKEN])]
    same(apply(VoteMasks(), tables, device=backend), apply(VoteMasks(), tables))
    with pytest.raises(InputError, match="table a, row 0"):
        apply(VoteMasks(), table("a", BOX, [BROKEN]), device=backend)


def test_members_and_masks_that_are_missing(backend):
    instances, one = table("fused", BOX, None), table("a", BOX, [LEFT])
    with pytest.raises(InputError, match="option weights: there is none for 'a'"):
        apply(VoteMasks(weights={"b": 1}), [instances, one], device=backend)
    with pytest.raises(InputError, match="none of the tables has masks"):
        apply(VoteMasks(), [instances, table("a", BOX, None)], device=backend)
    nobody = table("fused", [], [])
    assert len(apply(VoteMasks(), [nobody, one], device=backend)) == 0


def members(names="abc", size=10, soft_share=0.0):
    rng = np.random.default_rng(7)
    return [random_table(rng, name, size, soft_share=soft_share, equal=False) for name in names]


def test_masks_in_a_recipe(backend, on_gpu):
    recipe = Recipe(
        {
            "boxes": Node(Wbf(iou=0.4), ("a", "b", "c")),
            "voted": Node(VoteMasks(iou=0.3, tighten=True), ("boxes", "a", "b", "c")),
            "apart": Node(MaskNms(iou=0.4), ("voted",)),
            "output": Node(Nms(), ("apart",)),
        }
    )
    tables = members(size=5)
    same(recipe.fuse(tables, device=backend), recipe.fuse(tables))


@pytest.mark.parametrize("step", [VoteMasks(iou=0.2, tighten=True), MaskNms(iou=0.2)])
def test_masks_in_parts(backend, on_gpu, step, monkeypatch):
    """The cuts are where masks need too much, whatever the number of rows."""
    batches, tables, parts = [members("ab", size=2) for _ in range(5)], [], []
    for own in zip(*batches, strict=True):
        arrows = [one.arrow.set_column(0, "image_id", pa.array(one.image_id + 2 * k)) for k, one in enumerate(own)]
        tables.append(DetectionTable.from_arrow(pa.concat_tables(arrows), own[0].metadata, "test"))
    if backend == "cuda":
        from fusion.cuda import session, stream

        opened = stream.TableStream.__init__
        monkeypatch.setattr(
            stream.TableStream, "__init__", lambda self, *given: parts.append(len(given[2])) or opened(self, *given)
        )
        need = sum(8 * len(mask["counts"]) for one in tables for mask in one.mask.to_pylist() if mask)
        monkeypatch.setattr(session, "_BYTES_PER_ROW", 1)
        monkeypatch.setattr(session, "_BYTES_PER_CELL", 0)
        monkeypatch.setattr(stream, "free_memory", lambda: 3 * 0.3 * need)
    same(apply(step, tables, device=backend), apply(step, tables))
    assert backend == "cpu" or 4 <= parts[0] <= 6


def test_boxes_in_shares_of_the_image(backend, on_gpu):
    arrow = table("a", [[0.1, 0.1, 0.5, 0.5]], [LEFT]).arrow
    one = DetectionTable.from_arrow(arrow, table("a", BOX, [LEFT]).with_metadata(unit="normalized").metadata, "test")
    same(apply(VoteMasks(tighten=True), one, device=backend), apply(VoteMasks(tighten=True), one))


def test_larger_masks(backend, on_gpu):
    """Masks of objects of some size, numbers of several bytes, and on a GPU many instances."""
    rng = np.random.default_rng(1)
    height, width = 90, 120
    y, x = np.mgrid[:height, :width]
    images = 1 if SIMULATED else 200
    places = rng.random((images, 3, 2)) * [70, 50] + 25

    def one(name):
        boxes, texts, image = [], [], []
        for number, (k, (cx, cy)) in ((n, pair) for n in range(images) for pair in enumerate(places[n])):
            rx, ry = np.array([20, 15]) + rng.normal(0, 2, 2)
            noise = rng.random(x.shape) * 0.2
            bitmap = ((x - cx - rng.normal()) / rx) ** 2 + ((y - cy) / ry) ** 2 + noise * (k > 0) < 1
            texts.append(encoded(bitmap)["counts"])
            boxes.append([cx - rx, cy - ry, 2 * rx, 2 * ry])
            image.append(number)
        return DetectionTable.from_arrays(
            image_id=image, category_id=[1] * len(image), score=rng.random(len(image)), xywh=boxes,
            mask=mask_array([height] * len(image), [width] * len(image), texts),
        ).with_metadata(member=name)  # fmt: skip

    tables = [one(name) for name in "abc"]
    for step in VoteMasks(tighten=True), MaskNms(iou=0.6):
        ours = apply(step, tables, device=backend)
        assert ours.arrow.equals(apply(step, tables).arrow)
        assert 0 < len(ours) < 3 * len(tables[0])


def test_bytes_before_each_image():
    from fusion.cuda.masking import mask_bytes

    [hard], [soft] = members("a"), members("a", soft_share=0.5)
    text = [0 if mask is None else 8 * len(mask["counts"]) for mask in hard.mask.to_pylist()]
    assert mask_bytes(hard).tolist() == [sum(text[:b]) for b in hard.image_start]
    half = DetectionTable(hard.arrow.slice(3), hard.metadata)
    assert mask_bytes(half)[-1] == sum(text[3:])
    assert mask_bytes(table("b", BOX, None)).tolist() == [0, 0]
    text = [0 if mask is None else 8 * len(mask["counts"]) for mask in soft.mask.to_pylist()]
    maps = [0 if mask is None else 2000 + 4 * len(mask["values"]) for mask in soft.soft_mask.to_pylist()]
    assert mask_bytes(soft).tolist() == [sum(text[:b]) + sum(maps[:b]) for b in soft.image_start]


def test_soft_masks_in_a_recipe(backend, on_gpu):
    """Fused boxes have no soft masks, also where those that gave the box had one."""
    recipe = Recipe(
        {
            "boxes": Node(Wbf(iou=0.4), ("a", "b")),
            "output": Node(VoteMasks(iou=0.9), ("boxes", "a")),
        }
    )
    tables = members("ab", size=5, soft_share=0.6)
    ours = recipe.fuse(tables, device=backend)
    same(ours, recipe.fuse(tables))
    assert 0 < ours.mask.null_count < len(ours)


def test_joined_boxes_have_no_soft_masks(backend, on_gpu):
    tables = members("ab", size=5, soft_share=0.6)
    fused, cpu = apply(ProbFusion(iou=0.2), tables, device=backend), apply(ProbFusion(iou=0.2), tables)
    assert fused.arrow.drop_columns("score").equals(cpu.arrow.drop_columns("score"))
    np.testing.assert_allclose(fused.score, cpu.score, rtol=1e-12, atol=0)


def test_soft_masks_stay_with_boxes_that_are_kept(backend):
    tables = members("abc", size=4, soft_share=0.6)
    recipe = Recipe(
        {
            "kept": Node(Nms(), ("a", "b")),
            "voted": Node(VoteMasks(iou=0.2), ("kept", "b")),
            "output": Node(Nms(iou=0.3), ("voted", "c")),
        }
    )
    same(recipe.fuse(tables, device=backend), recipe.fuse(tables))


def test_soft_masks_without_voters_are_pasted(backend, on_gpu):
    ramp = np.ones((1, 4), np.float32) * np.array([[0.9, 0.9, 0.2, 0.2]], np.float32).T
    boxes = [[4, 2, 8, 8], [0, 0, 17, 13], [-3, -3, 30, 30], [30, 30, 4, 4], [5, 5, 0, 4]]
    one = table("a", boxes, None, soft=[ramp, np.full((1, 1), 1.0), ramp, ramp, ramp], category=[1, 2, 3, 4, 5])
    for threshold in 0.45, 1e-9:
        step = VoteMasks(threshold=threshold, tighten=True)
        same(apply(step, one, device=backend), apply(step, one))
    assert masks_of(apply(VoteMasks(), one, device=backend))[3:] == [NOTHING, NOTHING]
    share = DetectionTable.from_arrays(
        image_id=[1], category_id=[1], score=[0.5], xywh=[[0.2, 0.1, 0.5, 0.6]],
        soft_mask=soft_mask_array(ramp[None], *SIZE), metadata=one.with_metadata(unit="normalized").metadata,
    )  # fmt: skip
    same(apply(VoteMasks(tighten=True), share, device=backend), apply(VoteMasks(tighten=True), share))


def test_soft_masks_of_another_size_are_named(backend):
    soft = [np.ones((2, 2), np.float32)]
    one, two = table("a", BOX, [LEFT]), table("b", BOX, None, soft=soft, size=(20, 30))
    with pytest.raises(InputError, match="table b, row 0"):
        apply(VoteMasks(), [one, two], device=backend)
    columns = two.arrow.append_column("mask", one.arrow["mask"])
    both = DetectionTable.from_arrow(columns, two.metadata, "test")
    with pytest.raises(InputError, match="its masks differ in size"):
        apply(VoteMasks(), both, device=backend)


@pytest.mark.parametrize("most", [5, 9])
def test_more_to_paint_than_can_be_counted(backend, monkeypatch, most):
    """A mask of 8 columns and 16 boundaries."""
    one = table("a", [[4, 2, 8, 8]], None, soft=[np.ones((2, 2), np.float32)])
    expected = apply(VoteMasks(threshold=0.9), one)
    if backend == "cuda":
        from fusion.cuda.kernels import mask_paint
        from fusion.cuda.session import Session
        from fusion.cuda.steps import TWINS

        monkeypatch.setattr(mask_paint, "_MOST", most)
        session = Session([one], [VoteMasks()])
        with pytest.raises(UnsuitableError):
            TWINS[VoteMasks](VoteMasks(threshold=0.9), session._pool([one], shared=True))
    same(apply(VoteMasks(threshold=0.9), one, device=backend), expected)


def test_soft_masks_of_an_image_with_too_many_pixels(backend):
    """Boundaries on the GPU are int32."""
    soft = soft_mask_array(np.ones((1, 1, 1)), 2**16, 2**16)
    one = DetectionTable.from_arrays(
        image_id=[1], category_id=[1], score=[0.5], xywh=[[2**16 - 9, 2**16 - 9, 4, 4]], soft_mask=soft
    )
    same(apply(VoteMasks(tighten=True), one, device=backend), apply(VoteMasks(tighten=True), one))
