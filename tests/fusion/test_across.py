"""One object under several labels, against the definitions applied to whole images."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fusion
from fusion import run as running
from fusion.recipe import Recipe
from fusion.run import apply, trace
from fusion.steps.mask_nms import MaskNms
from fusion.steps.nms import Nms
from fusion.steps.soft_nms import SoftNms
from fusion.steps.vote import Vote
from fusion.steps.vote_masks import VoteMasks
from fusion.steps.wbf import Wbf
from fusion.table import DetectionTable
from tests.fusion.steps.test_vote_masks import SIZE, random_table, rows_of
from tests.oracles import clustering, masks, suppression
from tests.oracles.arithmetic import one_by_one

WEIGHTS = {"a": 1.0, "b": 0.5, "c": 0.0}


def boxes_of(tables):
    """The boxes of each image, as the oracles want them, and the category of each row."""
    keyed, categories = [], []
    for member, table in enumerate(tables):
        low, side = table.xywh[:, :2], table.xywh[:, 2:]
        corners = np.hstack([low, low + side]).tolist()
        for image, box, score in zip(table.image_id.tolist(), corners, table.score.tolist(), strict=True):
            keyed.append((image, (*box, score, member, len(keyed))))
        categories += table.category_id.tolist()
    images = sorted({image for image, _ in keyed})
    return dict(zip(images, suppression.in_cells(keyed), strict=True)), categories


def elected(entries, boxes, categories, weights, mean):
    """Give each entry of an oracle, (score, row, corners, votes, rows), its category by summed scores."""
    by_row = {box[6]: box for box in boxes}
    answers = []
    for score, row, corners, votes, rows in entries:
        keys = {r: by_row[r][4] * weights[by_row[r][5]] for r in rows}
        own = {kind: [r for r in rows if categories[r] == kind] for kind in {categories[r] for r in rows}}
        total = {kind: one_by_one(keys[r] for r in of_kind) for kind, of_kind in own.items()}
        best = {kind: min(of_kind, key=lambda r: (-keys[r], r)) for kind, of_kind in own.items()}
        kind = min(own, key=lambda kind: (-total[kind], -keys[best[kind]], best[kind]))
        everything = one_by_one(keys[r] for r in rows)
        lead = row if categories[row] == kind else best[kind]
        if corners is None:
            score = score if lead == row else by_row[lead][4]
        elif mean and len(own) > 1 and everything > 0:
            score *= total[kind] / everything
        answers.append((kind, score, lead, corners, votes, rows))
    return sorted(answers, key=lambda entry: (entry[0], -entry[1], entry[2]))


def check(step, tables, definition, weights=(1, 1, 1), *, mean=False):
    fused, sources = trace(step, tables)
    images, categories = boxes_of(tables)
    expected = [
        (image, *entry)
        for image, boxes in images.items()
        for entry in elected(definition(boxes), boxes, categories, weights, mean)
    ]
    rows = [sources.row[a:b].tolist() for a, b in zip(sources.start, sources.start[1:], strict=False)]
    assert rows == [entry[-1] for entry in expected]
    assert fused.image_id.tolist() == [entry[0] for entry in expected]
    assert fused.category_id.tolist() == [entry[1] for entry in expected]
    assert fused.score.tolist() == [entry[2] for entry in expected]
    given_boxes = np.concatenate([table.xywh for table in tables])
    for box, (*_, row, corners, _, _) in zip(fused.xywh.tolist(), expected, strict=True):
        if corners is None:
            assert box == given_boxes[row].tolist()
        else:
            x1, y1, x2, y2 = corners
            assert box == [x1, y1, x2 - x1, y2 - y1]
    if expected and expected[0][5] is not None:
        assert fused.column("votes").tolist() == [entry[5] for entry in expected]
    assert apply(step, tables).arrow.equals(fused.arrow)


def scene(seed, size, *, ties, images=3):
    rng = np.random.default_rng(seed)
    tables = []
    for name in "abc":
        low, side = rng.normal(0, 0.6, (size, 2)) + rng.integers(0, 2, (size, 1)) * 8, rng.random((size, 2)) * 2 + 6
        score = rng.random(size)
        if ties:
            low, side, score = low.round(), side.round(), rng.choice([0.25, 0.5, 0.75], size)
        tables.append(
            DetectionTable.from_arrays(
                image_id=np.sort(rng.integers(0, images, size)),
                category_id=rng.choice([2, 5, 9], size),
                score=score,
                xywh=np.hstack([low, side]),
            ).with_metadata(member=name)
        )
    return tables


SCENES = st.tuples(st.integers(0, 2**32), st.sampled_from([1, 4, 20]), st.booleans())


@settings(max_examples=60, deadline=None)
@given(SCENES, st.sampled_from([0.2, 0.5, 0.8]))
def test_suppression_equals_the_plain_definition(drawn, iou):
    seed, size, ties = drawn
    tables = scene(seed, size, ties=ties)
    check(Nms(iou=iou, across_categories=True), tables, lambda boxes: suppression.nms(boxes, iou))
    for method in ("gaussian", "linear"):
        step = SoftNms(method=method, iou=iou, floor=0.01, across_categories=True)
        check(step, tables, lambda boxes, how=method: suppression.soft_nms(boxes, how, threshold=iou, floor=0.01))


@settings(max_examples=60, deadline=None)
@given(SCENES, st.sampled_from([0.2, 0.5, 0.8]), st.sampled_from(["avg", "max", "absent_model_aware_avg"]))
def test_new_boxes_equal_the_plain_definition(drawn, iou, conf_type):
    seed, size, ties = drawn
    tables = scene(seed, size, ties=ties)
    check(Vote(iou=iou, across_categories=True), tables, lambda boxes: suppression.vote(boxes, threshold=iou))
    for weights in (None, WEIGHTS):
        used = list(WEIGHTS.values()) if weights else [1.0, 1.0, 1.0]
        step = Wbf(iou=iou, conf_type=conf_type, weights=weights, across_categories=True)
        check(
            step,
            tables,
            lambda boxes, used=used: clustering.wbf(boxes, used, iou, conf_type),
            used,
            mean=conf_type != "max",
        )


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([1, 8, 30]), st.sampled_from([0.0, 0.25, 0.5]), st.booleans())
def test_masks_equal_the_plain_definition(seed, size, iou, equal):
    rng = np.random.default_rng(seed)
    tables = [random_table(rng, name, size, soft_share=0, equal=equal) for name in "ab"]
    rows = [row for name, one in zip("ab", tables, strict=True) for row in rows_of(one, name)]

    def definition(boxes):
        groups = masks.mask_nms([rows[box[6]] | {"number": box[6]} for box in boxes], iou)
        numbers = [[row["number"] for row in group] for group in groups]
        return [(rows[group[0]]["score"], group[0], None, None, group) for group in numbers]

    check(MaskNms(iou=iou, across_categories=True), tables, definition)
    fused = apply(VoteMasks(across_categories=True), tables)
    instances, voters = rows[: len(tables[0])], rows[len(tables[0]) :]
    for row in rows:
        row["category"] = 1
    expected = [mask for mask, _ in masks.vote(instances, voters, SIZE)]
    assert [mask and mask["counts"] for mask in fused.mask.to_pylist()] == [
        mask and mask["counts"] for mask in expected
    ]
    assert fused.category_id.tolist() == tables[0].category_id.tolist()


def labelled(*rows):
    score, category = zip(*rows, strict=True)
    return [
        DetectionTable.from_arrays(
            image_id=[1], category_id=[kind], score=[value], xywh=np.array([[0.0, 0, 10, 10]])
        ).with_metadata(member=f"m{number}")
        for number, (value, kind) in enumerate(zip(score, category, strict=True))
    ]


def test_by_hand():
    tables = labelled((0.9, 1), (0.5, 7), (0.6, 7))
    assert len(fusion.nms(tables)) == 2
    kept = fusion.nms(tables, across_categories=True)
    assert (kept.category_id.tolist(), kept.score.tolist(), kept.member.to_pylist()) == ([7], [0.6], ["m2"])
    joined = fusion.wbf(tables, across_categories=True)
    assert joined.category_id.tolist() == [7]
    assert joined.score.tolist() == pytest.approx([(0.5 + 0.6) / 3])
    # as if the third had voted for the second's category with nothing
    assert fusion.wbf(tables).score.tolist() == pytest.approx([0.9 / 3, (0.5 + 0.6) / 3])


def test_ties_go_to_the_best_box_then_the_first():
    assert fusion.nms(labelled((0.5, 3), (0.25, 2), (0.25, 2)), across_categories=True).category_id.tolist() == [3]
    assert fusion.nms(labelled((0.5, 3), (0.5, 2)), across_categories=True).category_id.tolist() == [3]
    assert fusion.wbf(labelled((0.5, 3), (0.5, 2)), across_categories=True).category_id.tolist() == [3]


@pytest.mark.parametrize("step", [Nms, SoftNms, Wbf, Vote, MaskNms])
def test_one_category_is_as_before(step):
    rng = np.random.default_rng(0)
    tables = [random_table(rng, name, 30, soft_share=0, equal=False).select_categories([1]) for name in "ab"]
    assert apply(step(across_categories=True), tables).arrow.equals(apply(step(), tables).arrow)


@pytest.mark.parametrize("step", [Nms, SoftNms, Wbf, Vote, MaskNms, VoteMasks])
def test_without_detections(step):
    tables = [table.select_images([]) for table in labelled((0.5, 3), (0.5, 2))]
    if step is not VoteMasks:
        fused, sources = trace(step(across_categories=True), tables)
        assert (len(fused), sources.start.tolist()) == (0, [0])
    assert len(apply(step(across_categories=True), tables)) == 0


def test_the_command_line(run, tmp_path):
    from fusion.storage import read_table, write_table

    paths = []
    for table in labelled((0.9, 1), (0.5, 7), (0.6, 7)):
        paths.append(tmp_path / f"{table.metadata.member}.parquet")
        write_table(table, paths[-1])
    code, _, err = run("fuse", *paths, "--method", "nms", "--across-categories", "-o", tmp_path / "out.parquet")
    assert code == 0, err
    assert read_table(tmp_path / "out.parquet").category_id.tolist() == [7]


def test_it_runs_on_the_cpu_and_says_so(backend, monkeypatch):
    if backend == "cpu":
        pytest.skip("there is nothing to say on the CPU")
    monkeypatch.setattr(running, "_said", set())
    tables = labelled((0.9, 1), (0.5, 7), (0.6, 7))
    with pytest.warns(UserWarning, match="nms across categories runs on the CPU: it has no twin on the GPU"):
        fused = Recipe.chain([Nms(across_categories=True)]).fuse(tables, device="cuda")
    assert fused.category_id.tolist() == [7]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Recipe.chain([Nms()]).fuse(tables, device="cuda")
