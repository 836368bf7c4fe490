"""Every step with a twin, on every backend, against the plain definitions."""

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from numba import config

from fusion.errors import InputError
from fusion.run import apply
from fusion.steps.adj_nms import AdjNms
from fusion.steps.concat import Concat
from fusion.steps.consensus import Consensus
from fusion.steps.nms import Nms
from fusion.steps.nms_then_soft import NmsThenSoft
from fusion.steps.nmw import Nmw
from fusion.steps.prob_fusion import ProbFusion
from fusion.steps.reweight import Reweight
from fusion.steps.soft_nms import SoftNms
from fusion.steps.vote import Vote
from fusion.steps.wbf import Wbf
from fusion.table import DetectionTable
from tests.fusion.steps.test_prob_fusion import CERTAIN, stacked
from tests.oracles import clustering, suppression

SIMULATED = bool(config.ENABLE_CUDASIM)
NAMES = ("a", "b", "c")
WEIGHTS = {"a": 2.0, "b": 0.7, "c": 1.3}
ZERO = {"a": 1.0, "b": 0.0, "c": 0.5}


def weights_of(step):
    return np.array([step.weights[name] for name in NAMES]) if step.weights else np.ones(len(NAMES))


def wbf(boxes, step):
    return clustering.wbf(
        boxes, weights_of(step), step.iou, step.conf_type, step.skip_box_threshold, step.allows_overflow
    )


def soft_nms(boxes, step):
    return suppression.soft_nms(boxes, step.method, step.sigma, step.iou, step.floor)


def nms_then_soft(boxes, step):
    return suppression.nms_then_soft(boxes, step.iou, step.method, step.sigma, step.soft_iou, step.floor)


CASES = {
    "nms": (Nms(iou=0.5), lambda boxes, step: suppression.nms(boxes, step.iou)),
    "nms, touching is enough": (Nms(iou=0.0), lambda boxes, step: suppression.nms(boxes, step.iou)),
    "soft_nms gaussian": (SoftNms(sigma=0.3), soft_nms),
    "soft_nms linear": (SoftNms(method="linear", iou=0.3, floor=0.1), soft_nms),
    "soft_nms without floor": (SoftNms(method="linear", iou=0.0, floor=0.0), soft_nms),
    "adj_nms": (
        AdjNms(iou=0.6),
        lambda boxes, step: suppression.nms_then_soft(boxes, step.iou, "gaussian", step.sigma, 0, step.floor),
    ),
    "nms_then_soft": (NmsThenSoft(iou=0.8, method="linear", soft_iou=0.2), nms_then_soft),
    "consensus": (
        Consensus(min_members=2, iou=0.3),
        lambda boxes, step: clustering.consensus(boxes, step.min_members, step.iou),
    ),
    "consensus of one": (Consensus(min_members=1), lambda boxes, step: clustering.consensus(boxes, 1, step.iou)),
    "vote": (
        Vote(k=3, score=0.1, box=0.4, iou=0.3),
        lambda boxes, step: suppression.vote(boxes, step.k, step.score, step.box, step.iou),
    ),
    "wbf": (Wbf(), wbf),
    "wbf max": (Wbf(conf_type="max", weights=WEIGHTS, iou=0.3), wbf),
    "wbf box_and_model_avg": (Wbf(conf_type="box_and_model_avg", weights=WEIGHTS), wbf),
    "wbf absent_model_aware_avg": (Wbf(conf_type="absent_model_aware_avg", weights=ZERO, skip_box_threshold=0.2), wbf),
    "wbf overflow": (Wbf(allows_overflow=True, weights=ZERO, iou=0.2), wbf),
    "nmw": (Nmw(), lambda boxes, step: clustering.nmw(boxes, weights_of(step), step.iou, step.skip_box_threshold)),
    "nmw weights": (
        Nmw(weights=WEIGHTS, skip_box_threshold=0.3, iou=0.3),
        lambda boxes, step: clustering.nmw(boxes, weights_of(step), step.iou, step.skip_box_threshold),
    ),
}
SCENES = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 2**32),
        "size": st.integers(1, 50),
        "images": st.sampled_from([1, 3]),
        "categories": st.sampled_from([1, 2, 20]),
        "scale": st.sampled_from([1.0, 640.0]),
        "ties": st.booleans(),
        "flat": st.booleans(),
        "kind": st.sampled_from([np.float64, np.float32]),
    }
)
few = settings(
    max_examples=3 if SIMULATED else 40,
    deadline=None,
    # the fixture gives the same string each time
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def scene(
    seed, size, images=2, categories=2, scale=1.0, ties=False, flat=False, kind=np.float64, names=NAMES, spread=0.3
):
    """Tables of overlapping boxes, one per name."""
    rng = np.random.default_rng(seed)
    low = rng.random((size, 2)) * spread
    side = 0.2 * np.exp(rng.normal(0, 0.4, (size, 2)))
    score = rng.random(size)
    if ties:
        low, side, score = low.round(1), side.round(1), score.round(1)
    if flat:
        side[rng.random((size, 2)) < 0.1] = 0
    xywh = (np.hstack([low, side]) * scale).astype(kind)
    image, category = rng.integers(images, size=size) * 3, rng.integers(categories, size=size) * 5
    owner = rng.integers(len(names), size=size)
    return [
        DetectionTable.from_arrays(
            image_id=image[owner == m], category_id=category[owner == m], score=score[owner == m].astype(kind),
            xywh=xywh[owner == m],
        ).with_metadata(member=name)
        for m, name in enumerate(names)
    ]  # fmt: skip


def listed(table):
    """Rows of a table: (image, category, score, x, y, w, h, member, votes)."""
    columns = [table.arrow[name].to_pylist() for name in ("image_id", "category_id", "score", "x", "y", "w", "h")]
    columns += [
        table.arrow[name].to_pylist() if name in table.arrow.column_names else [None] * len(table)
        for name in ("member", "votes")
    ]
    return list(zip(*columns, strict=True))


def expected(step, definition, tables):
    """The same by the plain definition of a cell, from the columns of the tables."""
    given = [
        (*row, member)
        for member, table in enumerate(tables)
        for row in zip(
            *(table.arrow[name].to_pylist() for name in ("image_id", "category_id", "score", *"xywh")), strict=True
        )
    ]
    keyed = [
        ((image, category), (x, y, x + w, y + h, score, member, row))
        for row, (image, category, score, x, y, w, h, member) in enumerate(given)
    ]
    rows = []
    for ids, boxes in zip(sorted({key for key, _ in keyed}), suppression.in_cells(keyed), strict=True):
        for score, row, corners, votes, _ in definition(boxes, step):
            if corners is None:
                rows.append((*ids, score, *given[row][3:7], NAMES[given[row][7]], votes))
            else:
                x1, y1, x2, y2 = corners
                rows.append((*ids, score, x1, y1, x2 - x1, y2 - y1, None, votes))
    return rows


@pytest.mark.parametrize("case", CASES)
@few
@given(scene_options=SCENES)
def test_equals_the_plain_definition(backend, on_gpu, case, scene_options):
    step, definition = CASES[case]
    tables = scene(**scene_options)
    with np.errstate(all="ignore"):
        ours, theirs = listed(apply(step, tables, device=backend)), expected(step, definition, tables)
    if backend == "cuda" and not SIMULATED and case in ("soft_nms gaussian", "adj_nms"):
        # the GPU's exp is another one than the CPU's; each is within an ulp or two of the true value
        ours, theirs = (sorted(rows, key=lambda row: (row[:2], row[3:7])) for rows in (ours, theirs))
        assert [(*row[:2], *row[3:]) for row in ours] == [(*row[:2], *row[3:]) for row in theirs]
        np.testing.assert_allclose([row[2] for row in ours], [row[2] for row in theirs], rtol=1e-15)
    else:
        assert repr(ours) == repr(theirs)


@few
@given(scene_options=SCENES, iou=st.sampled_from([0.0, 0.5]))
@example(scene_options={"seed": 1, "size": 40, "images": 1, "ties": True, "scale": 1.0}, iou=0.2)  # scores of 0 and 1
def test_prob_fusion(backend, on_gpu, scene_options, iou):
    step, tables = ProbFusion(iou=iou), scene(**scene_options)
    fused, cpu = apply(step, tables, device=backend), apply(step, tables)
    plain = expected(step, lambda boxes, step: clustering.prob_fusion(boxes, step.iou), tables)
    # boxes whose scores are that close may come in another order
    ours, theirs, plain = (
        sorted(rows, key=lambda row: (*row[:2], *np.round(row[3:7], 6))) for rows in (listed(fused), listed(cpu), plain)
    )
    # the plain definition is exact, and adds up the boxes in another order
    assert [(*row[:2], row[8]) for row in ours] == [(*row[:2], row[8]) for row in plain]
    np.testing.assert_allclose([row[2:7] for row in ours], [row[2:7] for row in plain], rtol=1e-12, atol=0)
    np.testing.assert_allclose([row[2] for row in ours], [row[2] for row in theirs], rtol=1e-12, atol=0)
    assert [(*row[:2], *row[3:]) for row in ours] == [(*row[:2], *row[3:]) for row in theirs]
    if backend == "cpu" or SIMULATED:
        assert fused.arrow.equals(cpu.arrow)


@pytest.mark.parametrize(
    ("scores", "score"),
    [
        *CERTAIN,
        ((1e-200, 1e-108), 1e-308),
        ((5e-324,) * 3, 0.0),
        ((1 - 2**-53,) * 9, 1.0),
        ((0.1 + 0.2,), 0.1 + 0.2),
        ((0.5,) * 90, 0.5),
    ],
)
def test_prob_fusion_of_certain_and_small_scores(backend, scores, score):
    """The odds of the smallest overflow."""
    fused = apply(ProbFusion(), stacked(*scores), device=backend)
    logarithms = sum(abs(math.log(p)) + abs(math.log1p(-p)) for p in scores if 0 < p < 1)
    bound = (len(scores) + 5) * 2**-52 * (1 + logarithms)  # see `fusion.cuda.kernels.agree.joined`
    np.testing.assert_allclose(fused.score, [score], rtol=bound, atol=0)
    assert fused.column("votes").tolist() == [len(scores)]
    if backend == "cpu" or SIMULATED:
        assert fused.score[0] == apply(ProbFusion(), stacked(*scores)).score[0]


def test_a_member_votes_once_with_its_best_box(backend):
    a = stacked(0.8)[0]
    again = DetectionTable.from_arrays(image_id=[1, 1], category_id=[1, 1], score=[0.6, 0.7], xywh=[[0, 0, 4, 5]] * 2)
    fused = apply(ProbFusion(), [a, again], device=backend)
    assert fused.score[0] == pytest.approx(0.56 / (0.56 + 0.06))
    assert fused.column("h").tolist() == [pytest.approx((0.8 * 4 + 0.7 * 5) / 1.5)]
    assert fused.column("votes").tolist() == [2]
    assert len(apply(Consensus(min_members=3), [a, again], device=backend)) == 0


def test_scores_that_are_no_probabilities_are_counted(backend):
    with pytest.raises(InputError, match=r"2 of 3 scores are outside \[0, 1\].*Calibrate first"):
        apply(ProbFusion(), stacked(1.5, 0.5, -0.1), device=backend)
    assert apply(Consensus(), stacked(1.5, 0.5, -0.1), device=backend).score.tolist() == [1.5]


@few
@given(scene_options=SCENES, most=st.sampled_from([None, 1, 4]))
def test_concat(backend, scene_options, most):
    tables = scene(**scene_options)
    best = []
    rows = [row for table in tables for row in listed(table)]
    rows = [(*row[:7], name, None) for row, name in zip(rows, np.repeat(NAMES, list(map(len, tables))), strict=True)]
    for image in sorted({row[0] for row in rows}):
        of_image = [k for k, row in enumerate(rows) if row[0] == image]
        best += sorted(sorted(of_image, key=lambda k: -rows[k][2])[:most])
    fused = apply(Concat(max_per_image=most), tables, device=backend)
    assert [(*row[:7], row[7]) for row in listed(fused)] == [(*rows[k][:7], str(rows[k][7])) for k in best]
    assert fused.score.dtype == scene_options["kind"]


@few
@given(scene_options=SCENES)
def test_reweight(backend, scene_options):
    tables = scene(**scene_options)
    weights = {"a": 0.3, "b": {5 * c: c / 7 for c in range(20)}, "c": 0.0}
    rows = []
    for table, (name, own) in zip(tables, weights.items(), strict=True):
        for row in listed(table):
            weight = own if isinstance(own, float) else own[row[1]]
            if weight > 0:
                rows.append((*row[:2], row[2] * weight, *row[3:7], name, None))
    rows.sort(key=lambda row: row[0])
    assert listed(apply(Reweight(weights=weights), tables, device=backend)) == rows


def test_a_missing_weight_is_named(backend):
    tables = scene(1, 20)
    with pytest.raises(InputError, match=r"weights of member b: there is none for category 5"):
        apply(Reweight(weights={"a": 1.0, "b": {0: 1.0}, "c": 1.0}), tables, device=backend)


@pytest.mark.parametrize("case", CASES)
def test_a_huge_cell_among_small_ones(backend, case):
    step, _ = CASES[case]
    size = 60 if SIMULATED else 10_000
    tables = scene(3, size, images=1, categories=1, spread=0.03 * size**0.5)
    others = scene(4, size, images=size // 3, categories=3)
    tables = [
        DetectionTable.from_arrays(
            image_id=np.concatenate([one.image_id, two.image_id + 1]),
            category_id=np.concatenate([one.category_id, two.category_id]),
            score=np.concatenate([one.score, two.score]),
            xywh=np.concatenate([one.xywh, two.xywh]),
        ).with_metadata(member=one.metadata.member)
        for one, two in zip(tables, others, strict=True)
    ]
    ours, cpu = apply(step, tables, device=backend), apply(step, tables)
    if backend == "cuda" and not SIMULATED and case in ("soft_nms gaussian", "adj_nms"):
        np.testing.assert_allclose(np.sort(ours.score), np.sort(cpu.score), rtol=1e-15)
    else:
        assert ours.arrow.equals(cpu.arrow)


@pytest.mark.parametrize(
    "step",
    [Nms(), SoftNms(), Wbf(), Nmw(), Vote(), Reweight(weights={"a": 1.0}), Concat(), Consensus(), ProbFusion()],
)
def test_empty_input(backend, step):
    [table] = scene(1, 1, names=("a",))
    table = table.select_images([-1])
    assert len(apply(step, table, device=backend)) == 0


@pytest.mark.parametrize(
    "step", [Wbf(skip_box_threshold=2), Nmw(skip_box_threshold=2), SoftNms(floor=2), Consensus(min_members=9)]
)
def test_nothing_is_left(backend, step):
    fused = apply(step, scene(1, 20), device=backend)
    assert len(fused) == 0
    assert fused.arrow.schema.equals(apply(step, scene(1, 20)).arrow.schema)


@pytest.mark.parametrize("far", [0, 1, 2])
def test_equal_overlaps_go_to_the_better_box(backend, far):
    """C covers A and B equally; boxes far off put A and B on the same thread, or not."""
    lefts, scores = [0.0, *[100.0 + 50 * k for k in range(far)], 2.0, 1.0], [0.9, *[0.85] * far, 0.8, 0.7]
    xywh = [[left, 0.0, 4.0, 4.0] for left in lefts]

    def table(scores):
        return DetectionTable.from_arrays(
            image_id=[1] * len(xywh), category_id=[1] * len(xywh), score=scores, xywh=xywh
        )

    fused = apply(Nmw(iou=0.5), table(scores), device=backend)
    assert fused.column("x")[[0, -1]].tolist() == [np.float32((0.7 * 0.6) / (0.9 + 0.7 * 0.6)), 2.0]
    best = apply(Vote(k=1, iou=0.5, score=1.0, box=0.0), table([*scores[:-1], 0.95]), device=backend)
    assert best.score[0] == 0.95 + 0.9


def test_members_without_a_weight_are_named(backend):
    with pytest.raises(InputError, match=r"option weights: there is none for 'c'"):
        apply(Wbf(weights={"a": 1.0, "b": 1.0}), scene(1, 20), device=backend)


def test_a_huge_cell_of_independent_evidence(backend):
    """Clusters of many boxes, several of each member."""
    tables = scene(3, 60 if SIMULATED else 10_000, images=1, categories=1)
    for step in Consensus(min_members=3, iou=0.2), ProbFusion(iou=0.2):
        fused, cpu = apply(step, tables, device=backend), apply(step, tables)
        if isinstance(step, Consensus) or backend == "cpu" or SIMULATED:
            assert fused.arrow.equals(cpu.arrow)
        else:
            np.testing.assert_allclose(np.sort(fused.score), np.sort(cpu.score), rtol=1e-12, atol=0)


@pytest.mark.parametrize("conf_type", ["box_and_model_avg", "absent_model_aware_avg"])
def test_many_members(backend, conf_type):
    names = tuple(f"m{number}" for number in range(70))
    tables = scene(5, 90, images=1, categories=1, names=names)
    weights = dict(zip(names, np.random.default_rng(0).random(70).tolist(), strict=True))
    step = Wbf(conf_type=conf_type, weights=weights, iou=0.2)
    assert apply(step, tables, device=backend).arrow.equals(apply(step, tables).arrow)


@pytest.mark.parametrize("step", [Nms(iou=0.3), SoftNms(method="linear"), Concat(), Consensus(min_members=2), Wbf()])
def test_corners_of_the_source_are_those_of_the_answer(backend, on_gpu, step):
    """Decimal corners, of which many have no width that gives the far one back."""
    rng = np.random.default_rng(5)
    given_corners, tables = set(), []
    for name in NAMES:
        near, far = np.sort(rng.integers(0, 101, (2, 40, 2)) / 100, axis=0)
        corners = np.hstack((near, far))
        given_corners |= set(map(tuple, corners.tolist()))
        tables.append(
            DetectionTable.from_arrays(
                image_id=rng.integers(3, size=40), category_id=rng.integers(2, size=40), score=rng.random(40),
                xyxy=corners,
            ).with_metadata(member=name)
        )  # fmt: skip
    fused, cpu = apply(step, tables, device=backend), apply(step, tables)
    assert fused.arrow.equals(cpu.arrow)
    if isinstance(step, Wbf):
        assert "x2" not in fused.arrow.column_names
        return
    sides = (fused.column("x"), fused.column("y"), fused.far("x"), fused.far("y"))
    assert sum(fused.arrow[name].null_count for name in ("x2", "y2")) < 2 * len(fused)
    assert set(zip(*(side.tolist() for side in sides), strict=True)) <= given_corners
