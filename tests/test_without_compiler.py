"""With NUMBA_DISABLE_JIT kernels run as they stand, in Python: the same answers, slowly."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion.kernels import vectors
from fusion.kernels.jit import jit
from fusion.storage import read_table, write_table
from fusion.table import DetectionTable, Metadata

ROOT = Path(__file__).parents[1]


@jit
def compiled_verdicts(rows, first, box):
    return vectors.verdicts(rows, first, box[0], box[1], box[2], box[3], box[4], box[5])


@jit
def compiled_bits(numbers, first, bits):
    most = vectors.highest(numbers, first)
    return vectors.first_bit(bits), most, vectors.first_equal(numbers, first, most)


SINGLES = st.floats(-4, 4, width=32) | st.sampled_from([np.nan, np.inf, -np.inf])


@settings(deadline=None)
@given(st.lists(st.lists(SINGLES, min_size=20, max_size=20), min_size=5, max_size=5), st.integers(0, 4), st.data())
def test_vectors_and_their_plain_definition(rows, first, data):
    rows = np.array(rows, dtype=np.float32)
    rows[:4][~np.isfinite(rows[:4])] = 0  # boxes are finite, shares may be anything
    box = np.array(data.draw(st.lists(st.floats(-4, 4, width=32), min_size=6, max_size=6)), dtype=np.float32)
    assert compiled_verdicts(rows, first, box) == vectors._plain_verdicts(rows, first, *box)


@settings(deadline=None)
@given(st.lists(st.integers(-3, 3), min_size=20, max_size=20), st.integers(0, 4), st.integers(1, 2**32 - 1))
def test_bits_and_their_plain_definition(numbers, first, bits):
    numbers = np.array(numbers, dtype=np.int64)
    most = vectors._plain_highest(numbers, first)
    plain = vectors._plain_first_bit(np.uint32(bits)), most, vectors._plain_first_equal(numbers, first, most)
    assert compiled_bits(numbers, first, np.uint32(bits)) == plain


@pytest.mark.parametrize("method", ["wbf --iou 0.5", "nms --iou 0.5", "soft_nms --decay linear", "vote --k 3"])
def test_commands_answer_alike(method, tmp_path):
    rng = np.random.default_rng(0)
    for name in "ab":
        corner = rng.integers(0, 4, (60, 2)) * 10 + rng.normal(0, 1, (60, 2))
        table = DetectionTable.from_arrays(
            image_id=np.repeat(np.arange(3), 20),
            category_id=np.ones(60, np.int32),
            score=rng.uniform(0.1, 1, 60),
            xywh=np.concatenate([corner, rng.uniform(18, 22, (60, 2))], axis=1),
            metadata=Metadata(member=name),
        )
        write_table(table, tmp_path / f"{name}.parquet")
    tables = []
    for off in ("0", "1"):
        output = tmp_path / f"{off}.parquet"
        command = ["fuse", *(str(tmp_path / f"{name}.parquet") for name in "ab"), "--method", *method.split()]
        done = subprocess.run(
            [sys.executable, "-m", "quorum", *command, "-o", str(output)],
            cwd=ROOT, env={**os.environ, "NUMBA_DISABLE_JIT": off}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "Warning" not in done.stderr
        tables.append(read_table(output))
    plain, other = tables
    assert 0 < len(plain) < 120 or method.startswith("soft")
    assert np.array_equal(plain.score, other.score)
    assert all(np.array_equal(plain.column(name), other.column(name)) for name in "xywh")
