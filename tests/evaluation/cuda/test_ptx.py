"""Every kernel of the evaluation, compiled for the GPU without one."""

import pytest

from tests.evaluation.cuda.launches import KERNELS, LAUNCHES
from tests.fusion.cuda.test_ptx import joined, ptx, pytestmark  # noqa: F401

# Kernels that only move and count whole numbers.
WHOLE = {
    "copy_looks",
    "count_regions",
    "find_winners",
    "flag_events",
    "gather_flags",
    "look_up_cells",
    "look_up_pairs",
    "settle_rows",
    "spread_bits",
}


def test_every_kernel_has_its_types():
    assert KERNELS.keys() == LAUNCHES.keys()


@pytest.mark.parametrize("name", sorted(LAUNCHES))
def test_kernels_compile_for_sm_90(name):
    for arguments in LAUNCHES[name]:
        text = ptx(KERNELS[name].function, arguments)
        assert joined(text) == (0, 0)
        assert ".f32" not in text
        assert name not in WHOLE or ".f64" not in text
