import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion.errors import InputError
from fusion.pool import trace
from fusion.table import DetectionTable
from fusion.vote import Vote, vote
from tests.oracles import vote as oracle

BOX = st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(0, 8), st.integers(0, 8))
ROW = st.tuples(st.integers(0, 2), st.integers(0, 1), st.integers(0, 1), st.sampled_from([0.125, 0.25, 0.5, 0.75]), BOX)


def tables(rows):
    made = []
    for member in range(3):
        own = [row for row in rows if row[0] == member]
        made.append(
            DetectionTable.from_arrays(
                image_id=[row[1] for row in own],
                category_id=[row[2] for row in own],
                score=[row[3] for row in own],
                xywh=np.array([row[4] for row in own], float).reshape(-1, 4),
            ).with_metadata(member=f"m{member}")
        )
    return made


@settings(max_examples=200, deadline=None)
@given(
    st.lists(ROW, max_size=24), st.integers(1, 5), st.sampled_from([0.0, 0.05, 1.0]), st.sampled_from([0.0, 0.3, 1.0]),
    st.sampled_from([0.0, 0.3, 0.5, 1.0]),
)  # fmt: skip
def test_equals_the_oracle(rows, k, score, box, iou):
    inputs = tables(rows)
    fused, sources = trace(Vote(k=k, score=score, box=box, iou=iou), inputs)
    flat = [
        (number, image, category, s, (x, y, x + w, y + h))
        for number, table in enumerate(inputs)
        for image, category, s, (x, y, w, h) in zip(
            table.image_id.tolist(), table.category_id.tolist(), table.score.tolist(), table.xywh.tolist(), strict=True
        )
    ]
    expected = []
    for image, category in sorted({(row[1], row[2]) for row in flat}):
        index = [i for i, row in enumerate(flat) if row[1:3] == (image, category)]
        cell = oracle.vote([flat[i][4] for i in index], [flat[i][3] for i in index], [flat[i][0] for i in index], k, score, box, iou)
        expected += [(image, category, s, b, v, [index[i] for i in members]) for s, b, v, members in cell]
    assert fused.image_id.tolist() == [row[0] for row in expected]
    assert fused.category_id.tolist() == [row[1] for row in expected]
    np.testing.assert_allclose(fused.score, [row[2] for row in expected], rtol=1e-14)
    corners = np.array([row[3] for row in expected]).reshape(-1, 4)
    xywh = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
    np.testing.assert_allclose(fused.xywh, xywh, rtol=1e-13, atol=1e-13)
    assert fused.arrow["votes"].to_pylist() == [row[4] for row in expected]
    assert [sources.row[a:b].tolist() for a, b in zip(sources.start[:-1], sources.start[1:], strict=True)] == [
        row[5] for row in expected
    ]


def test_the_reports_numbers():
    # mmfruit-openimages2019, Eq. 8 and 9: k = 4, 0.05, 0.7 and 0.3 / k
    boxes = [[0, 0, 10, 10], [0, 0, 10, 11], [0, 0, 10, 12], [0, 0, 10, 13], [0, 0, 10, 14], [0, 0, 10, 19]]
    made = [
        DetectionTable.from_arrays(image_id=[1], category_id=[1], score=[0.9 - 0.1 * i], xywh=[box]).with_metadata(member=f"m{i}")
        for i, box in enumerate(boxes)
    ]
    fused = vote(made)
    assert len(fused) == 1
    assert fused.score[0] == pytest.approx(0.9 + 0.05 * (0.8 + 0.7 + 0.6 + 0.5))
    assert fused.xywh[0].tolist() == pytest.approx([0, 0, 10, 0.7 * 10 + 0.3 / 4 * (11 + 12 + 13 + 14)])
    assert fused.arrow["votes"].to_pylist() == [5]


def test_other_members_vote_first():
    near = DetectionTable.from_arrays(image_id=[1, 1], category_id=[1, 1], score=[0.9, 0.5], xywh=[[0, 0, 10, 10], [0, 0, 10, 10]])
    far = DetectionTable.from_arrays(image_id=[1], category_id=[1], score=[0.4], xywh=[[0, 0, 10, 16]])
    fused = vote([near.with_metadata(member="a"), far.with_metadata(member="b")], k=1, box=1.0)
    assert fused.xywh[0].tolist() == [0, 0, 10, 16]


def test_threads_do_not_matter(monkeypatch):
    rng = np.random.default_rng(0)
    n = 120_000
    xywh = np.concatenate([rng.random((n, 2)) * 100, 20 + rng.random((n, 2)) * 30], axis=1)
    table = DetectionTable.from_arrays(
        image_id=rng.integers(0, 3000, n), category_id=rng.integers(0, 3, n), score=rng.random(n), xywh=xywh
    )
    monkeypatch.setenv("QUORUM_THREADS", "1")
    one = vote(table)
    monkeypatch.setenv("QUORUM_THREADS", "3")
    assert vote(table).arrow.equals(one.arrow)


@pytest.mark.parametrize("options", [{"k": 0}, {"k": 1.5}, {"score": -1}, {"box": 1.2}, {"iou": "x"}])
def test_bad_options(options):
    with pytest.raises(InputError, match=f"option {next(iter(options))}: expected"):
        Vote(**options)
