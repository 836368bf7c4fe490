"""Random detections and relations for the tests of the relation steps."""

import numpy as np
from hypothesis import strategies as st

from fusion.relations import Relations, Surrounding, Together
from fusion.table import DetectionTable

IDS = (2, 5, 9)

rows = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.sampled_from(IDS),
        st.sampled_from([0.0, 0.05, 0.25, 0.25, 0.5, 0.8, 1.0]),
        st.integers(0, 4),
        st.integers(0, 4),
        st.sampled_from([0, 1, 2, 6]),
        st.sampled_from([1, 2, 6]),
    ),
    max_size=25,
)


def relations_of(seed, ioa=0.9):
    """Random counts for all pairs of IDS, some of them on few images."""
    rng = np.random.default_rng(seed)
    images = rng.integers(10, 60, 3)
    objects = images + rng.integers(0, 30, 3)
    first, second = (np.array(part, np.int32) for part in ((0, 0, 1), (1, 2, 2)))
    most = np.minimum(images[first], images[second])
    together = Together(
        first,
        second,
        rng.integers(1, most + 1),
        rng.integers(1, objects[first] + 1),
        rng.integers(1, objects[second] + 1),
    )
    inner, outer = (np.array(part, np.int32) for part in ((0, 0, 1, 1, 2), (1, 2, 0, 2, 0)))
    surrounding = Surrounding(inner, outer, rng.integers(1, objects[inner] + 1), rng.integers(1, objects[outer] + 1))
    return Relations(
        ioa=ioa,
        images=100,
        categories="",
        category_id=np.array(IDS, np.int32),
        category_name=("a", "b", "c"),
        category_images=images,
        category_objects=objects,
        together=together,
        surrounding=surrounding,
    )


def tables_of(rows):
    """Two members that take turns."""
    return [table_of(rows[number::2], name) for number, name in enumerate("ab")]


def table_of(rows, member="a"):
    return DetectionTable.from_arrays(
        image_id=np.array([row[0] for row in rows], np.int64),
        category_id=np.array([row[1] for row in rows], np.int32),
        score=np.array([row[2] for row in rows], float),
        xywh=np.array([row[3:] for row in rows], float).reshape(-1, 4),
    ).with_metadata(member=member)


def listed(tables):
    """Rows of tables as (image, category, score, (x1, y1, x2, y2)), one table behind the other."""
    result = []
    for table in tables:
        x, y, w, h = table.xywh.T
        corners = zip(x.tolist(), y.tolist(), (x + w).tolist(), (y + h).tolist(), strict=True)
        result += zip(table.image_id.tolist(), table.category_id.tolist(), table.score.tolist(), corners, strict=True)
    return result
