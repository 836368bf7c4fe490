"""Twins that go by views, on every backend, against the plain definitions and the CPU."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fusion.errors import InputError
from fusion.recipe import Node, Recipe
from fusion.run import apply, open_session
from fusion.scales import Scales
from fusion.steps.merge_scales import MergeScales
from fusion.steps.select_views import SelectViews
from fusion.steps.vote_masks import VoteMasks
from fusion.steps.wbf import Wbf
from fusion.table import DetectionTable
from tests.fusion.cuda.test_rescoring import carried
from tests.fusion.cuda.test_session import member, same
from tests.fusion.cuda.test_twins import SIMULATED, few
from tests.fusion.steps.test_merge_scales import LIMITS, SIDES, WEIGHTS, random_rows
from tests.fusion.steps.test_merge_scales import table as view_table
from tests.fusion.steps.test_select_views import LEVELS, drawn, voting
from tests.fusion.steps.test_select_views import table as mask_table
from tests.oracles import scales as oracle

ON_BOUNDS = [(side, k, 0.5, 0, 0, side, side, view) for side in (32, 60, 96) for k, view in enumerate(WEIGHTS)]


def alike(ours, cpu, backend, *, exact):
    """The same; but for the GPU's exp, where a step takes one."""
    if exact or backend == "cpu" or SIMULATED:
        same(ours, cpu)
    else:
        np.testing.assert_allclose(np.sort(ours.score), np.sort(cpu.score), rtol=1e-15, atol=0)


@few
@example(0, 0, {"sides": SIDES, "weights": WEIGHTS}, {"limits": LIMITS}, {"boost": {1: 1.5, 9: 0.0}}, "linear")
@given(
    st.integers(0, 2**32),
    st.integers(1, 50),
    st.sampled_from([{}, {"sides": SIDES, "weights": WEIGHTS}]),
    st.sampled_from([{}, {"limits": LIMITS}]),
    st.sampled_from([{}, {"boost": {2: 1.5}}, {"boost": {1: 0.0, 9: 2.0}}]),
    st.sampled_from(["gaussian", "linear"]),
)
def test_merge_scales(backend, on_gpu, seed, size, weights, limits, boost, method):
    rows = random_rows(np.random.default_rng(seed), size, ties=True) if size else ON_BOUNDS
    scales = {**weights, **limits, **boost}
    expected = oracle.merge([(*row, k) for k, row in enumerate(rows)], **scales, method=method)
    step = MergeScales(scales=Scales(**scales), method=method)
    fused = apply(step, view_table(rows), device=backend)
    if method == "linear" or backend == "cpu" or SIMULATED:
        listed = list(zip(fused.image_id, fused.category_id, fused.score, fused.arrow["view"].to_pylist(), strict=True))
        assert listed == [(*entry[:3], rows[entry[3]][7]) for entry in expected]
    alike(fused, apply(step, view_table(rows)), backend, exact=method == "linear")


def parts(rows):
    """A table per view: with the column, named after it, and with a member column besides."""
    own = {view: [row for row in rows if row[7] == view] for view in WEIGHTS}
    tables = [view_table(own["400"], "m"), view_table(own["800"], "800", view=False)]
    fused = apply(Wbf(), view_table(own["1600"], "other"))  # of several members, so without a name of its own
    return [*tables, fused.with_metadata(member="1600")]


def test_views_are_named_by_row_or_by_table(backend, on_gpu):
    step = MergeScales(scales=Scales(sides=SIDES, weights=WEIGHTS, limits=LIMITS), method="linear")
    tables = parts(random_rows(np.random.default_rng(3), 40))
    same(apply(step, tables, device=backend), apply(step, tables))
    names = Recipe.chain([step, MergeScales(scales=Scales(limits=LIMITS), method="linear")])
    tables = [view_table(random_rows(np.random.default_rng(k), 24), name) for k, name in enumerate("ab")]
    same(names.fuse(tables, device=backend), names.fuse(tables))


def test_views_of_fused_boxes_and_of_tables_that_come_later(backend, on_gpu):
    """A new box has the view of its best; tables may be added to a session."""
    scales = Scales(sides=SIDES, weights=WEIGHTS)
    recipe = Recipe(
        {
            "boxes": Node(Wbf(iou=0.3), ("a", "b")),
            "output": Node(MergeScales(scales=scales, method="linear"), ("boxes", "c")),
        }
    )
    tables = [view_table(random_rows(np.random.default_rng(k), 24), name) for k, name in enumerate("abc")]
    same(recipe.fuse(tables, device=backend), recipe.fuse(tables))
    if backend == "cuda":
        session, step = open_session("cuda", tables, []), MergeScales(scales=scales, method="linear")
        first = session.apply(step, tables[:1])
        later = session.apply(step, [first, tables[1]])
        cpu = apply(step, [apply(step, tables[:1]), tables[1]])
        same(later.to_table(), cpu)


def test_other_columns_are_carried(backend, on_gpu):
    tables = [carried(3)[0], member("c", 5, view=["right"] * 24, votes=np.arange(24), kind=np.float32)]
    step = MergeScales(scales=Scales(boost={7: 0.5, 14: 0.0}), method="linear")
    same(apply(step, tables, device=backend), apply(step, tables))
    step = SelectViews(views=[["left"], ["right", "left"]], side=1.0)
    same(apply(step, [*tables, tables[0]], device=backend), apply(step, [*tables, tables[0]]))


def test_nothing_is_left(backend, on_gpu):
    rows = [(1, 1, 0.5, 0, 0, 500, 500, "1600")]
    for tables in view_table(rows), [view_table([], "a"), view_table(rows, "b"), view_table([], "c", view=False)]:
        step = MergeScales(scales=Scales(limits=LIMITS), floor=0.0)
        fused = apply(step, tables, device=backend)
        assert len(fused) == 0
        same(fused, apply(step, tables))


def test_factors_of_0_leave_rows_out(backend, on_gpu):
    """Rather than give them a score of 0, which this floor would let stay."""
    rows = [(1, k, 0.5, 0, 0, 120, 120, view) for k, view in enumerate(WEIGHTS)]
    step = MergeScales(scales=Scales(sides=SIDES, weights=WEIGHTS, boost={0: 0.0}), method="linear", floor=0.0)
    assert apply(step, view_table(rows), device=backend).arrow["view"].to_pylist() == ["800"]


@pytest.mark.parametrize(
    ("scales", "message"),
    [
        ({"sides": SIDES, "weights": WEIGHTS}, r"none for view '2000'; they are for '400', '800', '1600'"),
        ({"limits": LIMITS}, r"limits: there are none for view '2000'"),
    ],
)
def test_views_that_are_not_known_are_named(backend, scales, message):
    rows = [(1, 1, 0.5, 0, 0, 10, 10, "2000")]
    for table in view_table(rows), view_table(rows, "2000", view=False):
        with pytest.raises(InputError, match=message):
            apply(MergeScales(scales=Scales(**scales)), table, device=backend)
    known = view_table([(*rows[0][:7], "400")], unit="normalized")
    with pytest.raises(InputError, match="boxes are normalized"):
        apply(MergeScales(scales=Scales(**scales)), known, device=backend)


@pytest.mark.parametrize("step", [MergeScales(), SelectViews(views=[["2000"]])])
def test_every_row_needs_its_view(backend, step):
    rows = [(1, 1, 0.5, 0, 0, 10, 10, "2000"), (1, 1, 0.5, 0, 0, 10, 10, None)]
    with pytest.raises(InputError, match=r"table m, column view: row 1 has none"):
        apply(step, view_table(rows), device=backend)
    # where only one input has the column, the rows of the other one have no view behind it
    mixed = Recipe(
        {
            "boxes": Node(Wbf(weights={"a": 0.0, "b": 1.0}), ("a", "b")),
            "output": Node(step, ("boxes", "a")),
        }
    )
    with pytest.raises(InputError, match=r"table boxes, column view: row 0 has none"):
        mixed.fuse([view_table(rows[:1], "a"), view_table(rows[:1], "b", view=False)], device=backend)


def instances_and_voters(seed, size):
    """Boxes with masks that fill more or less of them, and three views of them; scores and overlaps tie."""
    rng = np.random.default_rng(seed)
    boxes = [
        (int(rng.integers(1, 3)), 1, round(rng.random(), 1), *rng.integers(0, 5, 2) * 10, *rng.integers(1, 6, 2) * 20)
        for _ in range(size)
    ]
    boxes.sort(key=lambda row: row[0])
    fills = rng.choice([0.0, 0.125, 0.25, 0.5, 1.0], size)
    masks = [None if rng.random() < 0.3 else drawn(row[3:], fill) for row, fill in zip(boxes, fills, strict=True)]
    fills = [None if mask is None else fill for mask, fill in zip(masks, fills, strict=True)]
    moved = [(*row[:2], rng.random(), *(row[3:] + rng.integers(0, 2, 4) * 10)) for row in boxes for _ in LEVELS]
    views = ["400", "800", "1600"] * size
    return boxes, masks, fills, moved, views


@few
@given(st.integers(0, 2**32), st.sampled_from([1, 4, 9]), st.booleans(), st.sampled_from(["area", "log2"]))
def test_select_views(backend, on_gpu, seed, size, masked, rule):
    boxes, masks, fills, rows, views = instances_and_voters(seed, size)
    areas = [
        round(box[5] * fill) * box[6] if masked and fill is not None else None
        for box, fill in zip(boxes, fills, strict=True)
    ]
    expected = voting(boxes, areas, rows, views, rule)
    tables = [mask_table("boxes", boxes, masks if masked else None), mask_table("m", rows, views=views)]
    step = SelectViews(views=LEVELS, side=40, rule=rule)
    left = apply(step, tables, device=backend)
    assert list(zip(left.score.tolist(), left.arrow["view"].to_pylist(), strict=True)) == expected
    same(left, apply(step, tables))


@pytest.mark.parametrize(("scores", "thick"), [((0.5, 0.9), 1), ((0.9, 0.5), 0), ((0.5, 0.5), 0)])
def test_a_row_is_of_the_better_of_equal_instances(backend, on_gpu, scores, thick):
    box = (0, 0, 100, 100)
    fills = [0.1, 0.1]
    fills[thick] = 1.0
    boxes = [(1, 1, score, *box) for score in scores]
    voter = mask_table("fine", [(1, 1, 0.7, 10, 0, 100, 100)])
    instances = mask_table("boxes", boxes, [drawn(box, fill) for fill in fills])
    for names, left in (["fine"], 0), (["coarse"], 1):
        levels = SelectViews(views=[names, ["fine"] if left else ["coarse"]])
        assert len(apply(levels, [instances, voter], device=backend)) == left


def test_views_are_selected_in_a_recipe(backend, on_gpu):
    boxes, masks, _, rows, views = instances_and_voters(11, 5)
    texts = [drawn(row[3:], 0.5) for row in rows]
    members = [
        mask_table("m", rows, texts, views=views),
        mask_table("n", boxes, masks, views=["400"] * len(boxes)),
    ]
    recipe = Recipe(
        {
            "boxes": Node(MergeScales(method="linear"), ("*",)),
            "voters": Node(SelectViews(views=LEVELS, side=30), ("boxes", "*")),
            "output": Node(VoteMasks(), ("boxes", "voters")),
        }
    )
    same(recipe.fuse(members, device=backend), recipe.fuse(members))


def test_what_views_cannot_be_selected_from(backend):
    one = mask_table("m", [(1, 1, 0.5, 0, 0, 9, 9)])
    with pytest.raises(InputError, match=r"view 'm2' is in no level; there are 'x'"):
        apply(SelectViews(views=[["x"]]), [one, one.with_metadata(member="m2")], device=backend)
    normalized = [one.with_metadata(unit="normalized"), one.with_metadata(member="n", unit="normalized")]
    with pytest.raises(InputError, match="select_views: sizes are in pixels"):
        apply(SelectViews(views=[["n"]]), normalized, device=backend)
    broken = mask_table("b", [(1, 1, 0.5, 0, 0, 9, 9)], [b"zz"])
    with pytest.raises(InputError, match="table b, row 0: its mask is no compressed COCO RLE"):
        apply(SelectViews(views=[["m"]]), [broken, one], device=backend)
    # one that nobody needs the area of
    left = apply(SelectViews(views=[["b"]]), [one, broken], device=backend)
    assert len(left) == 1
    assert left.mask.to_pylist()[0]["counts"] == b"zz"


def test_views_without_instances_or_voters(backend, on_gpu):
    one, none = mask_table("m", [(1, 1, 0.5, 0, 0, 9, 9)]), mask_table("b", [])
    step = SelectViews(views=[["m"]])
    for tables in [one], [none, one], [one, none], [none, one, none]:
        left = apply(step, tables, device=backend)
        assert len(left) == 0
        same(left, apply(step, tables))
    # far from any instance, a view may be in no level
    far = mask_table("z", [(1, 1, 0.5, 100, 100, 9, 9)])
    assert len(apply(step, [one, far], device=backend)) == 0


def test_views_of_an_empty_table_with_the_column(backend, on_gpu):
    empty = view_table([(1, 1, 0.5, 0, 0, 9, 9, "400")], "a").select_images([-1])
    full = view_table([(1, 1, 0.5, 0, 0, 9, 9, "800")], "b")
    same(apply(MergeScales(), [empty, full], device=backend), apply(MergeScales(), [empty, full]))
    sliced = view_table(random_rows(np.random.default_rng(0), 9), "c")
    sliced = DetectionTable(sliced.arrow.slice(3), sliced.metadata)
    same(apply(MergeScales(), sliced, device=backend), apply(MergeScales(), sliced))
    twice = pa.DictionaryArray.from_arrays(pa.array([0, 1], pa.int32()), pa.array(["400", "400"]))
    table = DetectionTable.from_arrow(
        view_table([(1, 1, 0.5, 0, 0, 9, 9, "400"), (1, 2, 0.5, 0, 0, 9, 9, "800")]).arrow.set_column(7, "view", twice),
        full.metadata, "test",
    )  # fmt: skip
    step = MergeScales(scales=Scales(limits={"400": [0, 5]}))
    assert len(apply(step, table, device=backend)) == 0
