import json
from importlib import import_module
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as rle

import quorum
from fusion import concat, nms, vote_masks, wbf
from fusion.coco_results import read_coco_results
from fusion.errors import InputError
from fusion.kernels.jit import chunks
from fusion.masks import mask_array
from fusion.recipe_toml import parse_recipe
from fusion.run import trace
from fusion.soft_masks import SOFT_MASK_TYPE, soft_mask_array
from fusion.steps.vote_masks import VoteMasks
from fusion.storage import read_table, write_table
from fusion.table import DetectionTable
from tests.oracles import masks as oracle

YOLACT = Path(__file__).parents[4] / "shared" / "data" / "yolact"
HEIGHT, WIDTH = SIZE = (13, 17)


def encoded(bitmap):
    return rle.encode(np.asfortranarray(bitmap, dtype=np.uint8))


def table(member, boxes, masks, score=None, soft=None, view=None, image=None, category=None, size=SIZE):
    n = len(boxes)
    columns = {}
    if masks is not None:
        columns["mask"] = mask_array([size[0]] * n, [size[1]] * n, [m if m is None else m["counts"] for m in masks])
    if soft is not None:
        maps = [m if m is None else soft_mask_array(m[None], *size).to_pylist()[0] for m in soft]
        columns["soft_mask"] = pa.array(maps, SOFT_MASK_TYPE)
    return DetectionTable.from_arrays(
        image_id=image or [1] * n, category_id=category or [1] * n, score=score or [0.5] * n,
        xywh=np.array(boxes, float).reshape(n, 4), view=view, **columns,
    ).with_metadata(member=member)  # fmt: skip


def rows_of(table, member, weight=1.0):
    rows = table.arrow.to_pylist()
    for number, row in enumerate(rows):
        mask, soft = row.get("mask"), row.get("soft_mask")
        rows[number] = {
            "image": row["image_id"], "category": row["category_id"], "score": row["score"],
            "box": (row["x"], row["y"], row["x"] + row["w"], row["y"] + row["h"]),
            "who": (row.get("member", member), row.get("view")), "weight": row["score"] * weight,
            "mask": mask and {"size": [mask["height"], mask["width"]], "counts": mask["counts"]},
            "soft": soft and np.reshape(soft["values"], (int(len(soft["values"]) ** 0.5),) * 2),
            "row": (member, number),
        }  # fmt: skip
    return rows


def rows_of_file(path, images):
    """The same of a file of results, read by the standard library."""
    return [
        {
            "image": row["image_id"], "category": row["category_id"], "score": row["score"],
            "box": (row["bbox"][0], row["bbox"][1], row["bbox"][0] + row["bbox"][2], row["bbox"][1] + row["bbox"][3]),
            "who": (path.stem, None), "weight": row["score"],
            "mask": {"size": row["segmentation"]["size"], "counts": row["segmentation"]["counts"].encode()},
            "soft": None, "row": (path.stem, number),
        }
        for number, row in enumerate(json.loads(path.read_text()))
        if row["image_id"] in images
    ]  # fmt: skip


def random_table(rng, member, n, *, soft_share, equal):
    """Boxes around few places, masks with noise, some empty, full or missing; some rows with soft masks."""
    near = rng.integers(0, 3, n)
    x, y = near * 3 + rng.normal(0, 0.5, n), near * 2 + rng.normal(0, 0.5, n)
    w, h = 6 + rng.normal(0, 1, n), 6 + rng.normal(0, 1, n)
    if equal:
        x, y, w, h = (values.round() for values in (x, y, w, h))
    boxes = np.stack([x, y, np.maximum(w, 0), np.maximum(h, 0)], axis=1)
    boxes[rng.random(n) < 0.05, 2] = 0
    masks, soft = [], []
    for kind in rng.random(n):
        bitmap = rng.random(SIZE) < rng.choice([0.05, 0.5, 0.95])
        masks.append(None if kind < 0.1 else encoded(bitmap if 0.3 < kind < 0.95 else bitmap * 0 + (kind >= 0.95)))
        side = int(rng.choice([1, 2, 5]))
        values = rng.random((side, side)).astype(np.float32)
        soft.append(values if rng.random() < soft_share else None)
    score = rng.choice([0.7, 0.3, 0.3, 0.0], n) if equal else rng.normal(0.5, 0.3, n)
    order = np.sort(rng.integers(1, 3, n)).tolist()
    return table(
        member, boxes, masks, score.tolist(), soft if soft_share else None,
        view=rng.choice(["0", "1"], n).tolist() if rng.random() < 0.5 else None,
        image=order, category=rng.integers(1, 3, n).tolist(),
    )  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 2**32), st.integers(0, 5), st.sampled_from([1, 4, 25]), st.sampled_from([0.0, 0.3, 0.5, 1.0]),
    st.sampled_from([0.5, 0.5, 1 / 3, 0.7, 1.0, 1e-9]), st.sampled_from([0.0, 0.0, 0.3]), st.booleans(), st.booleans(),
)  # fmt: skip
def test_equals_decode_mean_threshold_encode(seed, members, size, iou, threshold, soft_share, equal, own):
    rng = np.random.default_rng(seed)
    weights = {str(m): [1.0, 2.0, 0.0, 0.3, 1.0][m] for m in range(members)} if rng.random() < 0.5 else None
    if weights is not None and members:
        weights["0"] = 1.5
    tables = [
        random_table(rng, str(m), int(rng.integers(0, size + 1)), soft_share=soft_share, equal=equal)
        for m in range(members)
    ]
    instances = random_table(rng, "fused", size, soft_share=soft_share if own else 0, equal=equal)
    step = VoteMasks(iou=iou, threshold=threshold, weights=weights)
    fused, sources = trace(step, [instances, *tables])
    voters = []
    for member, one in enumerate(tables):
        voters += rows_of(one, str(member), 1.0 if weights is None else weights[str(member)])
    for row, one in enumerate(voters):
        one["row"] = len(instances) + row
    expected = oracle.vote(rows_of(instances, "fused"), voters, SIZE, iou, threshold)
    got = masks_of(fused)
    assert got == [mask for mask, _ in expected]
    listed = [sources.row[a:b].tolist() for a, b in zip(sources.start, sources.start[1:], strict=False)]
    assert listed == [[row, *(one["row"] for one in rows)] for row, (_, rows) in enumerate(expected)]
    for name in fused.arrow.column_names:
        if name != "mask":
            assert fused.arrow[name].equals(instances.arrow[name])
    assert "soft_mask" not in fused.arrow.column_names
    plain = vote_masks(instances, tables, iou=iou, threshold=threshold, weights=weights, tighten=True)
    assert plain.mask.equals(fused.mask)
    for mask, box, old in zip(got, plain.xywh.tolist(), instances.xywh.tolist(), strict=True):
        ys, xs = np.nonzero(oracle.decoded(mask)) if mask else ([], [])
        bounds = [xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1] if len(xs) else old
        assert box == bounds


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([2, 5, 12, 28, 70]))
def test_equals_the_plain_float_mean_where_nothing_ties(seed, voters):
    """On masks of objects, larger than the random ones, with a weighted mean as one would write it."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:120, :160]
    bitmaps = []
    for _ in range(voters):
        cx, cy, rx, ry = np.array([80, 60, 40, 30]) + rng.normal(0, 6, 4)
        bitmaps.append(((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 + rng.random(x.shape) * 0.1 < 1)
    score = rng.random(voters) + 0.01
    tables = [
        table(str(v), [[40, 30, 80, 60]], [encoded(bitmap)], [float(score[v])], size=(120, 160))
        for v, bitmap in enumerate(bitmaps)
    ]
    fused = vote_masks(wbf(tables), tables)
    mean = np.average(bitmaps, axis=0, weights=score)
    assert fused.mask.to_pylist()[0]["counts"] == encoded(mean >= 0.5)["counts"]


def test_pasting_equals_bilinear_grid_sampling():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    for box in ([2.3, 1.7, 9.1, 8.2], [-3.5, 4, 30, 5.5], [5, 5, 1e-3, 2]):
        soft = rng.random((7, 7)).astype(np.float32)
        ours = oracle.pasted(soft, (box[0], box[1], box[0] + box[2], box[1] + box[3]), SIZE)
        x = ((np.arange(WIDTH) + 0.5 - box[0]) / box[2] * 2 - 1)[None].repeat(HEIGHT, 0)
        y = ((np.arange(HEIGHT) + 0.5 - box[1]) / box[3] * 2 - 1)[:, None].repeat(WIDTH, 1)
        grid = torch.from_numpy(np.stack([x, y], axis=-1))[None]
        theirs = torch.nn.functional.grid_sample(torch.from_numpy(soft)[None, None].double(), grid, align_corners=False)
        np.testing.assert_allclose(ours, theirs[0, 0].numpy(), atol=1e-12)


BOX = [[2, 2, 6, 6]]


def filled(x1, y1, x2, y2, size=SIZE):
    bitmap = np.zeros(size)
    bitmap[y1:y2, x1:x2] = 1
    return encoded(bitmap)


LEFT, RIGHT, NOTHING = filled(2, 2, 6, 8), filled(4, 2, 8, 8), filled(0, 0, 0, 0)


def masks_of(table):
    return [
        mask and {"size": [mask["height"], mask["width"]], "counts": mask["counts"]} for mask in table.mask.to_pylist()
    ]


def mask_of(table):
    return masks_of(table)[0]


def test_a_tie_covers_and_the_heavier_voter_decides():
    fused = table("fused", BOX, None)
    pair = [table("a", BOX, [LEFT], [0.1]), table("b", BOX, [RIGHT], [0.1])]
    assert mask_of(vote_masks(fused, pair)) == filled(2, 2, 8, 8)
    assert mask_of(vote_masks(fused, pair, threshold=0.6)) == filled(4, 2, 6, 8)
    assert mask_of(vote_masks(fused, pair, weights={"a": 2, "b": 1})) == LEFT
    assert mask_of(vote_masks(fused, pair, weights={"a": 0, "b": 1})) == RIGHT


@pytest.mark.parametrize("score", [0.1, 0.7, 1 / 3, 5e-324, 1e300])
@pytest.mark.parametrize("n", [6, 10, 28])
def test_half_of_equal_weights_is_always_a_tie(score, n):
    """In floating point 3 x 0.7 is less than half of 6 x 0.7."""
    tables = [table(str(v), BOX, [LEFT if v % 2 else RIGHT], [score]) for v in range(n)]
    assert mask_of(vote_masks(table("fused", BOX, None), tables)) == filled(2, 2, 8, 8)


def test_empty_and_missing_masks_do_not_vote():
    fused = table("fused", BOX, [RIGHT])
    nothing = [table("a", BOX, [NOTHING]), table("b", BOX, [None]), table("c", BOX, None)]
    assert mask_of(vote_masks(fused, [*nothing, table("d", BOX, [LEFT])])) == LEFT
    assert mask_of(vote_masks(fused, nothing)) == RIGHT
    assert mask_of(vote_masks(table("fused", BOX, None), nothing)) is None
    assert mask_of(vote_masks(table("fused", BOX, [NOTHING]), nothing)) == NOTHING


def test_masks_apart_leave_no_pixel_and_the_box():
    tables = [table(str(v), BOX, [filled(v, 2, v + 1, 4)]) for v in range(5)]
    fused = vote_masks(table("fused", BOX, None), tables, tighten=True)
    assert mask_of(fused) == NOTHING
    assert fused.xywh.tolist() == BOX


def test_each_member_and_view_has_one_vote():
    """The row of the best box votes, not that of the best score."""
    boxes = [[2, 2, 6, 5], [2, 2, 6, 6]]
    a = table("a", boxes, [LEFT, RIGHT], [0.9, 0.5])
    assert mask_of(vote_masks(table("fused", BOX, None), [a])) == RIGHT
    a = table("a", boxes, [LEFT, RIGHT], [0.9, 0.5], view=["scale 1", "scale 2"])
    assert mask_of(vote_masks(table("fused", BOX, None), [a])) == LEFT
    ab = concat([table("a", BOX, [LEFT], [0.4]), table("b", BOX, [RIGHT], [0.5])])
    assert mask_of(vote_masks(table("fused", BOX, None), [ab])) == RIGHT


@pytest.mark.parametrize("method", [nms, wbf])
def test_boxes_that_keep_their_members(method):
    tables = [table("a", BOX, [LEFT], [0.6]), table("b", BOX, [RIGHT], [0.5])]
    assert mask_of(vote_masks(method(tables), tables)) == LEFT


def test_soft_masks_are_pasted_without_voters():
    soft = np.ones((1, 1, 4), np.float32) * np.array([[[0.9], [0.9], [0.2], [0.2]]], np.float32)
    one = table("a", [[4, 2, 8, 8]], None, soft=list(soft))
    # the map falls to 0 around its outermost cells, which are two pixels wide
    assert mask_of(vote_masks(one, [], threshold=0.45)) == filled(4, 2, 12, 6)


def test_boxes_in_shares_of_the_image():
    soft = [np.full((4, 4), 0.9, np.float32)]
    pixels = [table("a", [[4, 2, 8, 8]], None, soft=soft), table("b", [[4, 2, 8, 8]], [filled(3, 2, 9, 8)], [0.3])]
    shares = []
    for one in pixels:
        xywh = one.xywh / [WIDTH, HEIGHT, WIDTH, HEIGHT]
        arrow = one.arrow
        for name, values in zip("xywh", xywh.T, strict=True):
            arrow = arrow.set_column(arrow.column_names.index(name), name, pa.array(values.copy()))
        normalized = one.with_metadata(unit="normalized").metadata
        shares.append(DetectionTable.from_arrow(arrow, normalized, "test"))
    tight = vote_masks(shares[0], shares, tighten=True)
    assert mask_of(tight) == mask_of(vote_masks(pixels[0], pixels))
    box = rle.toBbox(mask_of(tight)) / [WIDTH, HEIGHT, WIDTH, HEIGHT]
    np.testing.assert_allclose(tight.xywh[0], box, rtol=1e-15)


def test_soft_masks_go_through_files_and_fusion(tmp_path):
    one = table("a", [[4, 2, 8, 8], [0, 0, 3, 3]], None, soft=[np.eye(4, dtype=np.float32), None], image=[2, 1])
    write_table(one, tmp_path / "a.parquet")
    again = read_table(tmp_path / "a.parquet")
    assert again.arrow["soft_mask"].type == SOFT_MASK_TYPE
    assert again.arrow.equals(one.arrow)
    assert [soft and len(soft["values"]) for soft in again.soft_mask.to_pylist()] == [None, 16]
    assert nms([again, table("b", BOX, None)]).arrow["soft_mask"].null_count == 2
    assert "soft_mask" not in wbf(again).arrow.column_names  # a new box


@pytest.mark.parametrize(
    ("values", "problem"),
    [([0.5] * 3, "not square"), ([], "not square"), ([1.5], "outside"), ([-0.1], "outside"), ([None], "outside")],
)
def test_soft_masks_that_are_none(values, problem):
    column = pa.array([None, {"height": 5, "width": 5, "values": values}], SOFT_MASK_TYPE)
    with pytest.raises(InputError, match=f"row 1 .*{problem}"):
        DetectionTable.from_arrays(
            image_id=[1, 1], category_id=[1, 1], score=[1, 1], xywh=np.ones((2, 4)), soft_mask=column
        )
    with pytest.raises(InputError, match="shape"):
        soft_mask_array(np.zeros((2, 3, 4)), 5, 5)
    with pytest.raises(InputError, match="without pixels"):
        DetectionTable.from_arrays(
            image_id=[1], category_id=[1], score=[1], xywh=np.ones((1, 4)),
            soft_mask=soft_mask_array(np.zeros((1, 3, 3)), 0, 5),
        )  # fmt: skip


def test_masks_of_another_image_size_are_named():
    one, two = table("a", BOX, [LEFT]), table("b", BOX, [filled(0, 0, 2, 2, (20, 30))], size=(20, 30))
    with pytest.raises(
        InputError, match="image 1: its masks differ in size: 13 x 17 pixels in table a, row 0, 20 x 30"
    ):
        vote_masks(table("fused", BOX, None), [one, two])
    soft = table("c", BOX, None, soft=[np.ones((2, 2), np.float32)], size=(20, 30))
    with pytest.raises(InputError, match="table c, row 0"):
        vote_masks(table("fused", BOX, None), [one, soft])


def test_unreadable_masks_are_named():
    broken = table("b", [*BOX, [2, 2, 6, 7]], [LEFT, {"counts": b"\xff"}])
    with pytest.raises(InputError, match=r"table b, row 1: expected a mask .* 13 x 17 pixels, got b'\\xff'"):
        vote_masks(table("fused", [[2, 2, 6, 6.5]], None), [broken], iou=0.1)
    with pytest.raises(InputError, match="table fused, row 0"):
        vote_masks(table("fused", BOX, [{"counts": b"\xff"}]), [])


@pytest.mark.parametrize(
    ("options", "where"),
    [({"iou": 1.1}, "iou"), ({"threshold": 0}, "threshold"), ({"threshold": 2}, "threshold"),
     ({"weights": {"a": -1}}, "weights.a"), ({"weights": {"b": 1}}, "weights"),
     ({"weights": {"a": 0}}, "weights")],
)  # fmt: skip
def test_options_out_of_range(options, where):
    with pytest.raises(InputError, match=f"option {where}"):
        vote_masks(table("fused", BOX, None), [table("a", BOX, [LEFT])], **options)


def test_empty_tables():
    none = table("fused", [], [])
    assert len(vote_masks(none, [])) == 0
    assert len(vote_masks(none, [table("a", BOX, [LEFT])])) == 0
    assert mask_of(vote_masks(table("fused", BOX, None), [table("a", [], [])])) is None


def test_threads_and_pieces_change_nothing(monkeypatch):
    rng = np.random.default_rng(1)
    tables = [random_table(rng, str(m), 60, soft_share=0.2, equal=False) for m in range(3)]
    answers = []
    for threads, size in (("1", 8192), ("2", 8192), ("2", 7)):
        monkeypatch.setenv("QUORUM_THREADS", threads)
        monkeypatch.setattr(
            import_module("fusion.steps.vote_masks"), "chunks", lambda start, _, size=size: chunks(start, size)
        )
        answers.append(vote_masks(wbf(tables), tables).arrow)
    assert answers[0].equals(answers[1])
    assert answers[0].equals(answers[2])


def test_as_a_step_of_a_recipe():
    recipe = parse_recipe("""
recipe = 1
[nodes.boxes]
step = "nms"
inputs = ["*"]
[nodes.output]
step = "vote_masks"
inputs = ["boxes", "*"]
tighten = true
""")
    tables = [table("a", BOX, [LEFT], [0.6]), table("b", BOX, [RIGHT], [0.5])]
    fused = recipe.fuse(tables)
    assert mask_of(fused) == LEFT
    assert fused.xywh.tolist() == [[2, 2, 4, 6]]
    assert parse_recipe(recipe.to_toml()) == recipe


def test_as_an_option_of_the_command(tmp_path):
    tables = [table("a", BOX, [LEFT], [0.6]), table("b", BOX, [RIGHT], [0.5])]
    paths = [str(tmp_path / f"{one.metadata.member}.parquet") for one in tables]
    for one, path in zip(tables, paths, strict=True):
        write_table(one, path)
    weights = tmp_path / "weights.toml"
    weights.write_text("[weights]\na = 1.0\nb = 3.0\n")
    for options, mask in (
        (["--method", "wbf", "--vote-masks", "--tighten"], LEFT),
        (["--method", "wbf", "--vote-masks", "--threshold", "0.2"], filled(2, 2, 8, 8)),
        (["--method", "wbf", "--vote-masks", "--weights", str(weights)], RIGHT),
        (["--method", "concat", "--max-per-image", "1", "--vote-masks"], LEFT),
    ):
        quorum.main(["fuse", *paths, *options, "-o", str(tmp_path / "fused.parquet")])
        fused = read_table(tmp_path / "fused.parquet")
        assert mask_of(fused) == mask
        assert fused.column("w")[0] == (4 if "--tighten" in options else pytest.approx(6, rel=1e-6))


@pytest.mark.skipif(not YOLACT.is_dir(), reason="the real files are not beside the checkout (../shared/data)")
def test_real_masks():
    """Four models with 10 to 16 % empty masks: bit for bit the oracle's answer, and what the how-to says."""
    names = ("im700", "base", "darknet53", "resnet50")
    files = [YOLACT / "group_a" / "coco_format" / f"yolact_{name}.segm.json" for name in names]
    tables = [read_coco_results(file).with_metadata(member=file.stem) for file in files]
    boxes = wbf(tables)
    fused = vote_masks(boxes, tables)
    empty = [sum(rle.area(mask) == 0 for mask in masks_of(one)) for one in (boxes, fused)]
    assert [len(fused), *empty] == [8068, 1453, 1251]
    images = boxes.image_ids[:3]
    instances = boxes.select_images(images)
    voters = [row for file in files for row in rows_of_file(file, set(images.tolist()))]
    answers = [
        answer
        for image in images
        for answer in oracle.vote(
            [row for row in rows_of(instances, "fused") if row["image"] == image],
            [row for row in voters if row["image"] == image],
            next(row["mask"]["size"] for row in voters if row["image"] == image),
        )
    ]
    assert masks_of(fused)[: len(answers)] == [mask for mask, _ in answers]


def test_tables_without_masks_are_refused():
    bare = table("a", [(0, 0, 5, 5)], None)
    with pytest.raises(InputError, match="none of the tables has masks"):
        vote_masks(bare, [bare.with_metadata(member="b")])
    empty = bare.select_images(np.zeros(0, np.int64))
    assert len(vote_masks(empty, [empty])) == 0
