"""Every kernel, compiled for the GPU without one."""

import re
from importlib.util import find_spec

import numpy as np
import pytest
from numba import config, cuda, typeof

from fusion.cuda.kernels.agree import joint, log_odds
from fusion.cuda.kernels.products import rounded
from fusion.cuda.kernels.soft import gaussian
from tests import one_thread
from tests.fusion.cuda.launches import F4, F8, I8, KERNELS, LAUNCHES

pytestmark = [
    pytest.mark.skipif(
        bool(config.ENABLE_CUDASIM) or one_thread.INSTALLED, reason="nothing is compiled for a GPU that is none"
    ),
    pytest.mark.skipif(find_spec("numba_cuda") is None, reason="needs no GPU, but the extra: pip install .[gpu]"),
]
# Kernels that only move and count whole numbers.
WHOLE = {
    "begin_cells",
    "bound_runs",
    "bucket_boxes",
    "classify",
    "count_copies",
    "count_keys",
    "count_votes",
    "decode_masks",
    "describe_cells",
    "find_faults",
    "find_states",
    "find_views",
    "first_bounds",
    "first_masks",
    "flag_best",
    "flag_categories",
    "flag_kept",
    "flag_votes",
    "least_behind",
    "lower_bits",
    "number_inputs",
    "occupied",
    "scan_tiles",
    "settle_pairs",
    "sum_tiles",
    "vote_runs",
}


def ptx(function, arguments):
    text, _ = cuda.compile_ptx(function, tuple(map(typeof, arguments)), cc=(9, 0))
    assert ".target sm_90" in text
    return text


def joined(text):
    """How many sums take a product that is not rounded: those joined by now, and products that may be joined later.

    Those of libdevice's exp have a literal among their operands, and do not count; its logarithms have others as well.
    """
    literals = set(re.findall(r"mov\.f\d\d\s+(%\w+), 0[df]", text))
    operands = re.findall(r"\bfma\.[a-z.]*f(?:32|64)\s+%\w+, (%\w+), (%\w+), (%\w+)", text)
    return sum(not literals & set(three) for three in operands), len(re.findall(r"\bmul\.f(?:32|64)", text))


def exponential(values):
    values[0] = gaussian(values[0], values[1])


def logarithmic(values):
    values[0] = joint(values[1], 0)
    values[1] = log_odds(values[0])


def product_and_sum(values):
    values[0] = values[1] * values[2] + values[3]


# Kernels that take an exp or a logarithm, and a function that does that alone; libdevice's exp looks at its argument as
# a float32.
INEXACT = {
    "join_votes": logarithmic,
    "map_scores": exponential,
    "soften_cells": exponential,
    "weigh_boxes": exponential,
}
# Clusters' sums and soft masks are float32.
SINGLE = {"cluster_cells", "finish_clusters", "paint_columns"} | INEXACT.keys()


def test_every_kernel_has_its_types():
    assert KERNELS.keys() == LAUNCHES.keys()


@pytest.mark.parametrize("name", sorted(LAUNCHES))
def test_kernels_compile_for_sm_90(name):
    for arguments in LAUNCHES[name]:
        text = ptx(KERNELS[name].function, arguments)
        assert joined(text) == (joined(ptx(INEXACT[name], (F8,))) if name in INEXACT else (0, 0))
        assert name not in WHOLE or ".f64" not in text
        assert name in SINGLE or ".f32" not in text


def test_a_plain_product_would_be_joined():
    assert joined(ptx(product_and_sum, (np.zeros(4),))) == (1, 0)


def products_and_sums(values, singles, numbers):
    values[0] = values[1] * (values[2] * 2 + values[3])
    values[1] *= singles[1]
    values[1] += numbers[0] * values[3]
    singles[0] += singles[1] * singles[2]
    numbers[0] = numbers[1] * 3 + numbers[2]


def test_kernels_keep_products_apart():
    text = ptx(rounded(products_and_sums), (F8, F4, I8))
    assert joined(text) == (0, 0)
    assert len(re.findall(r"\bmul\.rn\.f64", text)) == 4
    assert len(re.findall(r"\bmul\.rn\.f32", text)) == 1
    assert joined(ptx(products_and_sums, (F8, F4, I8)))[0] > 0
