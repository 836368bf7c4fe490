"""Ground truth of some of its categories, beside what is picked from the raw rows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation import GroundTruth
from evaluation.ground_truth import Labels
from evaluation.known_categories import of_categories
from fusion.errors import InputError

IDS = (3, 5, 8, 9)


def labels(listed):
    start = np.cumsum([0, *map(len, listed)]).astype(np.int64)
    return Labels(start, np.array([IDS.index(c) for own in listed for c in own], np.int32))


def as_ids(truth, labels):
    ids = truth.category_id[labels.category].tolist()
    return [ids[low:high] for low, high in zip(labels.start[:-1], labels.start[1:], strict=True)]


@given(
    rows=st.lists(st.tuples(st.integers(0, 2), st.sampled_from(IDS), st.booleans()), max_size=8),
    listed=st.lists(st.lists(st.sampled_from(IDS), unique=True).map(sorted), min_size=3, max_size=3),
    chosen=st.lists(st.sampled_from(IDS), min_size=1, unique=True),
)
@settings(max_examples=60, deadline=None)
def test_what_is_left_are_the_rows_of_these_categories(rows, listed, chosen):
    truth = GroundTruth.from_arrays(
        image_id=[0, 1, 2],
        category_id=IDS,
        category_name=[f"c{c}" for c in IDS],
        category_label=[f"/m/{c}" for c in IDS],
        frequency=["r", "c", "f", "f"],
        annotation_id=range(10, 10 + len(rows)),
        annotation_image_id=np.array([image for image, _, _ in rows], np.int64),
        annotation_category_id=np.array([category for _, category, _ in rows], np.int64),
        crowd=np.array([crowd for _, _, crowd in rows], bool),
        xywh=np.array([[n, 0, 1, 1] for n in range(len(rows))], float).reshape(-1, 4),
    )
    object.__setattr__(truth, "negative", labels(listed))
    some = of_categories(truth, chosen)
    kept = [(10 + n, *row, float(n)) for n, row in enumerate(rows) if row[1] in chosen]
    category = some.category_id[some.category].tolist()
    columns = (some.annotation_id, some.image, np.array(category, int), some.crowd, some.xywh[:, 0])
    assert list(zip(*(column.tolist() for column in columns), strict=True)) == kept
    assert some.image_id.tolist() == [0, 1, 2]
    assert some.category_id.tolist() == sorted(chosen)
    assert some.category_name == tuple(f"c{c}" for c in sorted(chosen))
    assert some.category_label == tuple(f"/m/{c}" for c in sorted(chosen))
    assert some.frequency == tuple("rcff"[IDS.index(c)] for c in sorted(chosen))
    assert as_ids(some, some.negative) == [[c for c in own if c in chosen] for own in listed]
    assert some.positive is None


def test_other_categories_are_refused():
    truth = GroundTruth.from_arrays(
        image_id=[1], category_id=IDS, annotation_image_id=[], annotation_category_id=[], xywh=np.zeros((0, 4))
    )
    for wrong, problem in (([3, 4], "has no category 4"), ([], "no category was named")):
        with pytest.raises(InputError, match=problem):
            of_categories(truth, wrong)
