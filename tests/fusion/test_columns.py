import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion.columns import sort_columns


def columns_of(image, category, score):
    n = len(image)
    box = np.arange(n, dtype=np.float64)
    return sort_columns(
        np.asarray(image, np.int32), np.asarray(category, np.int32), np.asarray(score, np.float64),
        box, box + 1, box + 2, box + 3, (np.arange(n) % 7).astype(np.int16),
    )  # fmt: skip


def check(image, category, score):
    columns = columns_of(image, category, score)
    order = np.lexsort((np.arange(len(image)), -np.asarray(score), category, image))
    np.testing.assert_array_equal(columns.row, order)
    np.testing.assert_array_equal(columns.score, np.asarray(score, np.float64)[order])
    np.testing.assert_array_equal(columns.x1, order.astype(float))
    np.testing.assert_array_equal(columns.y2, order + 3.0)
    np.testing.assert_array_equal(columns.member, order % 7)
    cell = np.repeat(np.arange(len(columns.image)), np.diff(columns.start))
    np.testing.assert_array_equal(columns.image[cell], np.asarray(image)[order])
    np.testing.assert_array_equal(columns.category[cell], np.asarray(category)[order])
    assert np.all(np.diff(columns.start) > 0)
    key = columns.image.astype(np.int64) * 10_000 + columns.category
    assert np.all(np.diff(key) > 0)


rows = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 3), st.sampled_from([0.0, 0.25, 0.5, -1.0, 1e300])), max_size=80
)


@settings(max_examples=150, deadline=None)
@given(rows)
def test_sorts_like_lexsort_with_ties(cells):
    image, category, score = (list(column) for column in zip(*cells, strict=True)) if cells else ([], [], [])
    check(np.array(image, int), np.array(category, int), np.array(score, float))


@pytest.mark.parametrize("size", [1, 2, 17, 255, 256, 257, 511, 513, 1000, 4097])
def test_one_large_cell(size):
    rng = np.random.default_rng(size)
    check(np.zeros(size, int), np.zeros(size, int), rng.integers(0, size // 2 + 1, size) / 7)


def test_answer_does_not_depend_on_threads(monkeypatch):
    rng = np.random.default_rng(0)
    n = 300_000
    arrays = rng.integers(0, 900, n), rng.integers(0, 40, n), rng.integers(0, 50, n) / 50
    monkeypatch.setenv("QUORUM_THREADS", "1")
    one = columns_of(*arrays)
    monkeypatch.setenv("QUORUM_THREADS", "5")
    for a, b in zip(one, columns_of(*arrays), strict=True):
        np.testing.assert_array_equal(a, b)
    check(*arrays)


@pytest.mark.parametrize("count", [40, 300])
def test_scores_that_differ_beyond_float32(count):
    rng = np.random.default_rng(1)
    score = 0.5 + rng.permutation(count) * 1e-12
    score[::7] *= -1
    score[3], score[10] = 0.0, -0.0
    check(rng.integers(0, 2, count), rng.integers(0, 2, count), score)


@pytest.mark.parametrize("scores", [[1.7e308, -1.7e308, 0.0], [5e-324, 0.0, 1e-323], [1e300, 1.0, 1e-300], [0.5]])
@pytest.mark.parametrize("count", [3, 40, 700])
def test_extreme_and_equal_scores(scores, count):
    rng = np.random.default_rng(2)
    score = rng.choice(scores, count)
    check(rng.integers(0, 2, count), rng.integers(0, 2, count), score)


def test_a_home_that_cannot_be_written_to_does_not_stop_the_import(monkeypatch, tmp_path):
    from fusion.kernels import jit

    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(jit, "kept_elsewhere", [])
    monkeypatch.setattr(jit.tempfile, "tempdir", str(tmp_path / "temporary"))
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    folder = jit._cache_folder.__wrapped__("fusion")
    assert folder == jit._cache_folder.__wrapped__("fusion")  # one place, for every call
    (own,) = (tmp_path / "temporary").iterdir()
    assert folder.startswith(f"{own}/")
    assert own.stat().st_mode & 0o777 == 0o700
    assert jit.kept_elsewhere[0] == f"{blocked / 'quorum'} cannot be written to, so they are kept in {own}"
    own.chmod(0o777)  # code that others may have written is not run
    assert not jit._cache_folder.__wrapped__("fusion").startswith(f"{own}/")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert jit._cache_folder.__wrapped__("fusion").startswith(str(tmp_path / "quorum"))
