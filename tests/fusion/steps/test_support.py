import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion import support
from fusion.errors import InputError
from fusion.table import DetectionTable, Metadata


def make(name, seed, count):
    rng = np.random.default_rng(seed)
    corner = rng.integers(0, 6, (count, 2))
    return DetectionTable.from_arrays(
        image_id=rng.integers(0, 2, count),
        category_id=rng.integers(0, 2, count),
        score=rng.choice([0.5, 0.25, rng.random(), -1.0], count) if count else [],
        xywh=np.hstack([corner, rng.integers(0, 5, (count, 2))]).astype(float).reshape(-1, 4),
        metadata=Metadata(member=name),
    )


def overlap(a, b):
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    union = a[2] * a[3] + b[2] * b[3] - shared
    return shared / union if union > 0 else 0.0


def plain(tables, factor, iou):
    """Rows (image, category, box, score) as the definition says, one by one."""
    rows = [
        (number, *row)
        for number, t in enumerate(tables)
        for row in zip(t.image_id, t.category_id, t.xywh.tolist(), t.score, strict=True)
    ]
    out = []
    for number, image, category, box, score in rows:
        found = any(
            other[0] != number and other[1:3] == (image, category) and overlap(box, other[3]) >= iou for other in rows
        )
        if found or factor > 0:
            out.append((image, category, *box, score if found else score * factor))
    return sorted(out)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32),
    st.lists(st.integers(0, 25), min_size=1, max_size=3),
    st.sampled_from([0.0, 0.5, 1.0]),
    st.sampled_from([0.0, 0.25, 0.5, 1.0]),
)
def test_equals_the_plain_definition(seed, sizes, factor, iou):
    tables = [make(f"m{k}", seed + k, size) for k, size in enumerate(sizes)]
    got = support(tables, factor=factor, iou=iou)
    rows = zip(got.image_id, got.category_id, *got.xywh.T.tolist(), got.score, strict=True)
    assert sorted(rows) == plain(tables, factor, iou)


def test_factor_1_changes_nothing():
    tables = [make("a", 1, 20), make("b", 2, 20)]
    assert np.array_equal(np.sort(support(tables, factor=1.0).score), np.sort([*tables[0].score, *tables[1].score]))


def test_options_out_of_range():
    with pytest.raises(InputError, match="factor"):
        support(make("a", 0, 3), factor=1.5)
    with pytest.raises(InputError, match="iou"):
        support(make("a", 0, 3), iou=-1)
