"""Every operator on 5 members x 5000 images (2.4 M detections), as `benchmarks/gpu.py` times it."""

import numpy as np
import pytest
from numba import config

from benchmarks.gpu import steps, tables_of
from benchmarks.load import make_load
from fusion.run import apply
from fusion.steps.dropout import Dropout
from fusion.steps.select_views import SelectViews
from fusion.steps.wbf import Wbf
from tests import one_thread

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(config.ENABLE_CUDASIM), reason="the simulator would take days"),
    pytest.mark.parametrize("backend", ["gpu"], indirect=True),
]
MEMBERS = 5
# these take an exp, which on a GPU is another one
EXPONENTIAL = {"soft_nms gaussian", "adj_nms", "nms_then_soft", "merge_scales", "surround", "prob_fusion"}


@pytest.fixture(scope="module")
def tables():
    return tables_of(make_load(5000, MEMBERS))


@pytest.mark.parametrize("name", steps(MEMBERS))
def test_operators(backend, tables, name):
    step = steps(MEMBERS)[name]
    given = tables[:2] if isinstance(step, Dropout) else tables
    fused, expected = apply(step, given, device=backend), apply(step, given)
    if name in EXPONENTIAL and not one_thread.INSTALLED:
        np.testing.assert_allclose(np.sort(fused.score), np.sort(expected.score), rtol=1e-12, atol=0)
    else:
        assert fused.arrow.equals(expected.arrow)


def test_select_views(backend, tables):
    levels = [[f"m{m}" for m in range(MEMBERS) if m % 2 == half] for half in (0, 1)]
    step, given = SelectViews(views=levels), [apply(Wbf(), tables), *tables]
    assert apply(step, given, device=backend).arrow.equals(apply(step, given).arrow)
