"""The backends that the twins' tests run on: the CPU, and a GPU, real or (with NUMBA_ENABLE_CUDASIM=1) simulated."""

import sys

import pytest
from numba import config

from fusion.cuda.choice import settle
from fusion.errors import InputError


@pytest.fixture(params=["simulator"] if config.ENABLE_CUDASIM else ["cpu", "gpu"], scope="module")
def backend(request):
    """The device that a test gives to what it calls."""
    if request.param == "cpu":
        yield "cpu"
        return
    try:
        settle("cuda")
    except InputError as error:
        pytest.skip(f"NUMBA_ENABLE_CUDASIM=1 simulates a GPU; here {error.problem}")
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)  # the simulator polls its threads: ten times faster than with Python's own 5 ms
    yield "cuda"
    sys.setswitchinterval(before)
