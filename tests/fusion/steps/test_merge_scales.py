import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion import merge_scales, nms_then_soft
from fusion.errors import InputError
from fusion.pool import pool_tables
from fusion.run import trace
from fusion.scales import Scales
from fusion.steps.merge_scales import MergeScales
from fusion.table import DetectionTable, Metadata
from fusion.views import split_views, views_of
from tests.oracles import scales as oracle

SIDES = (32, 96)
WEIGHTS = {"400": [0.2, 0.9, 1.0], "800": [0.7, 1.0, 0.8], "1600": [1.0, 0.6, 0.0]}
LIMITS = {"400": [60, 1e9], "800": [0, 1e9], "1600": [0, 60]}


def table(rows, member="m", view=True, **metadata):
    columns = list(zip(*rows, strict=True)) or [()] * 8
    return DetectionTable.from_arrays(
        image_id=columns[0],
        category_id=columns[1],
        score=columns[2],
        xywh=np.array([row[3:7] for row in rows], float).reshape(-1, 4),
        view=list(columns[7]) if view else None,
        metadata=Metadata(member=member, **metadata),
    )


def random_rows(rng, n, ties=False):
    side = np.exp(rng.uniform(np.log(10), np.log(200), n))
    score = rng.random(n)
    where = rng.random((n, 2)) * 40
    if ties:
        side, score, where = 2 ** rng.integers(3, 8, n) * 1.0, score.round(1), where.round(-1)
    rows = zip(
        np.sort(rng.integers(1, 4, n)).tolist(),
        rng.integers(1, 3, n).tolist(),
        score.tolist(),
        *where.T.tolist(),
        side.tolist(),
        side.tolist(),
        rng.choice(list(WEIGHTS), n).tolist(),
        strict=True,
    )
    return list(rows)


@settings(max_examples=120, deadline=None)
@given(
    st.integers(0, 2**32),
    st.integers(0, 60),
    st.booleans(),
    st.sampled_from([{}, {"sides": SIDES, "weights": WEIGHTS}]),
    st.sampled_from([{}, {"limits": LIMITS}]),
    st.sampled_from([{}, {"boost": {2: 1.5}}, {"boost": {1: 0.0, 9: 2.0}}]),
    st.sampled_from([{}, {"method": "linear"}]),
)
def test_equals_the_plain_definition(seed, size, ties, weights, limits, boost, method):
    rows = random_rows(np.random.default_rng(seed), size, ties)
    scales = {**weights, **limits, **boost}
    expected = oracle.merge([(*row, k) for k, row in enumerate(rows)], **scales, **method)
    fused, sources = trace(MergeScales(scales=Scales(**scales), **method), table(rows))
    row = sources.row.tolist()
    behind = [row[a:b] for a, b in zip(sources.start[:-1], sources.start[1:], strict=True)]
    columns = (fused.image_id, fused.category_id, fused.score)
    got = list(zip(*(column.tolist() for column in columns), [group[0] for group in behind], behind, strict=True))
    assert got == expected


def test_without_scales_it_is_the_suppression():
    detections = table(random_rows(np.random.default_rng(0), 200))
    assert merge_scales(detections).arrow == nms_then_soft(detections).arrow


def test_by_hand():
    small, large = (0, 0, 20, 20), (100, 100, 150, 150)
    rows = [
        (1, 1, 0.9, *small, "400"),
        (1, 1, 0.8, *large, "400"),
        (1, 1, 0.7, *small, "1600"),
        (1, 1, 0.9, *large, "1600"),
    ]
    fused = merge_scales(table(rows), scales=Scales(sides=SIDES, weights=WEIGHTS, boost={1: 1.1}))
    assert fused.score.tolist() == [0.8 * (1.0 * 1.1), 0.7 * (1.0 * 1.1)]
    assert fused.arrow["view"].to_pylist() == ["400", "1600"]


def test_a_size_on_a_bound_belongs_above():
    rows = [(1, 1, 0.5, 0, 0, 32, 32, "400"), (2, 1, 0.5, 0, 0, 60, 60, "400"), (3, 1, 0.5, 0, 0, 60, 60, "1600")]
    assert merge_scales(table(rows), scales=Scales(sides=SIDES, weights=WEIGHTS)).score.tolist() == [0.45, 0.45, 0.3]
    assert merge_scales(table(rows), scales=Scales(limits=LIMITS)).image_id.tolist() == [2]


def test_tables_without_a_view_column_are_views():
    rows = [(1, 1, 0.5, 0, 0, 10, 10, "x"), (1, 1, 0.4, 50, 0, 10, 10, "x")]
    tables = [table(rows[:1], "400", view=False), table(rows[1:], "1600", view=False)]
    assert views_of(pool_tables(tables))[0] == ("400", "1600")
    fused = merge_scales(tables, scales=Scales(sides=SIDES, weights=WEIGHTS))
    assert sorted(fused.score.tolist()) == [0.1, 0.4]


def test_splits_views():
    rows = random_rows(np.random.default_rng(1), 50)
    views = split_views([table(rows)])
    assert sum(map(len, views.values())) == 50
    for name, part in views.items():
        assert set(part.arrow["view"].to_pylist()) == {name}
    with pytest.raises(InputError, match="as another table has"):
        split_views([table(rows, "a"), table(rows, "b")])


def test_empty():
    assert len(merge_scales(table([]), scales=Scales(sides=SIDES, weights=WEIGHTS))) == 0
    assert len(merge_scales(table([], view=False), scales=Scales())) == 0
    all_left_out = table([(1, 1, 0.5, 0, 0, 500, 500, "1600")])
    assert len(merge_scales(all_left_out, scales=Scales(limits=LIMITS))) == 0


def test_bad_input():
    rows = [(1, 1, 0.5, 0, 0, 10, 10, "2000")]
    with pytest.raises(InputError, match=r"none for view '2000'; they are for '400', '800', '1600'"):
        merge_scales(table(rows), scales=Scales(sides=SIDES, weights=WEIGHTS))
    with pytest.raises(InputError, match=r"limits: there are none for view '2000'; they"):
        merge_scales(table(rows), scales=Scales(limits=LIMITS))
    with pytest.raises(InputError, match="boxes are normalized"):
        merge_scales(table(rows, unit="normalized"), scales=Scales(limits={"2000": [0, 5]}))
    with pytest.raises(InputError, match=r"table m, column view: row 1 has none"):
        merge_scales(table([rows[0], (*rows[0][:7], None)]))
    with pytest.raises(InputError, match=r"weights.400: expected a number for each of 3 size ranges, got \[1\]"):
        Scales(sides=SIDES, weights={"400": [1]})
    with pytest.raises(InputError, match=r"sides: expected ascending"):
        Scales(sides=(96, 32))
    with pytest.raises(InputError, match=r"limits.400: expected \[least, most\]"):
        Scales(limits={"400": [1]})
    with pytest.raises(InputError, match=r"boost.3: expected a number of at least 0"):
        Scales(boost={3: -1})
    with pytest.raises(InputError, match=r"option iou"):
        MergeScales(iou=2)


def test_threads_change_nothing(monkeypatch):
    detections = table(random_rows(np.random.default_rng(3), 5000))
    answers = []
    for threads in "1", "2":
        monkeypatch.setenv("QUORUM_THREADS", threads)
        answers.append(merge_scales(detections, scales=Scales(sides=SIDES, weights=WEIGHTS)).arrow)
    assert answers[0] == answers[1]
