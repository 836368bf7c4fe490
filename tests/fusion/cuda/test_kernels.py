"""The parts that the twins are built of, on a GPU or in the simulator."""

from itertools import pairwise

import numpy as np
import pytest
from numba import config

from fusion.cuda.kernels import cells
from fusion.cuda.kernels.device import filled, to_device
from fusion.cuda.kernels.scan import _TILE, offsets
from fusion.run import apply
from fusion.steps.adj_nms import AdjNms
from fusion.steps.calibrate import Calibrate
from fusion.steps.concat import Concat
from fusion.steps.consensus import Consensus
from fusion.steps.cooccurrence import Cooccurrence
from fusion.steps.dropout import Dropout
from fusion.steps.expand_hierarchy import ExpandHierarchy
from fusion.steps.mask_nms import MaskNms
from fusion.steps.merge_scales import MergeScales
from fusion.steps.nms import Nms
from fusion.steps.nmw import Nmw
from fusion.steps.prob_fusion import ProbFusion
from fusion.steps.reweight import Reweight
from fusion.steps.select_experts import SelectExperts
from fusion.steps.select_views import SelectViews
from fusion.steps.support import Support
from fusion.steps.surround import Surround
from fusion.steps.vote import Vote
from fusion.steps.vote_masks import VoteMasks
from fusion.steps.wbf import Wbf
from tests import one_thread
from tests.fusion.cuda.launches import KERNELS, LAUNCHES, recorded, types_of
from tests.fusion.cuda.test_rescoring import MAPS
from tests.fusion.cuda.test_twins import scene
from tests.fusion.relation_cases import relations_of, tables_of
from tests.fusion.steps.test_vote_masks import BOX, LEFT, table

SIMULATED = bool(config.ENABLE_CUDASIM)
SIZES = (0, 1, 2, _TILE - 1, _TILE, _TILE + 1, 3 * _TILE + 5)


# the CPU has none of these
pytestmark = [
    pytest.mark.usefixtures("backend"),
    pytest.mark.parametrize("backend", ["simulator" if SIMULATED else "gpu"], indirect=True),
]


@pytest.mark.parametrize("size", [*SIZES, _TILE * _TILE + 1] if SIMULATED else [*SIZES, 10_000_001])
@pytest.mark.parametrize("kind", [np.int8, np.int32])
def test_offsets(size, kind):
    values = np.random.default_rng(size).integers(0, 2 if kind == np.int8 else 50, size=size).astype(kind)
    before = offsets(to_device(values)).copy_to_host()
    np.testing.assert_array_equal(before, np.concatenate(([0], np.cumsum(values, dtype=np.int64))))


@pytest.mark.parametrize("categories", [1, 3])
@pytest.mark.parametrize("part", [0.0, 0.6, 1.0])
def test_sort_rows(categories, part):
    rng = np.random.default_rng(1)
    size = 90 if SIMULATED else 100_000
    image = rng.integers(size // 9, size=size).astype(np.int32)
    category = rng.integers(categories, size=size).astype(np.int32)
    score = rng.random(size).round(1)
    x, y, w, h = rng.random((4, size))
    member, used = rng.integers(5, size=size).astype(np.int16), (rng.random(size) < part).astype(np.int8)
    none = np.zeros(0, np.int16)
    numbers = image, category, np.zeros(size), x, y, w, h, x + w, y + h, member, np.arange(size, dtype=np.int32), none
    rows = cells.Rows(*map(to_device, numbers))
    columns = cells.sort_rows(rows, to_device(score), to_device(used), size // 9, categories)
    row = columns.row.copy_to_host() if part else np.zeros(0, int)
    order = np.lexsort((np.arange(size), -score, category, image))
    order = order[used[order] > 0]
    np.testing.assert_array_equal(row, order)
    start = columns.start.copy_to_host()
    cuts = np.flatnonzero(np.diff(image[order] * 3 + category[order])) + 1 if part else []
    np.testing.assert_array_equal(start, np.concatenate(([0], cuts, [len(order)] if part else [])))
    if part:
        np.testing.assert_array_equal(columns.cell.copy_to_host(), np.repeat(np.arange(len(start) - 1), np.diff(start)))
        np.testing.assert_array_equal(columns.score.copy_to_host(), score[order])
        np.testing.assert_array_equal(columns.member.copy_to_host(), member[order])
        np.testing.assert_array_equal(columns.y1.copy_to_host(), y[order])
        np.testing.assert_array_equal(columns.x2.copy_to_host(), (x + w)[order])


def test_by_size_deals_each_cell_once():
    sizes = np.array([1, 400, 2, 5, 33, 32, 4, 7, 21, 20, 6, 257, 256, 1])
    classes = cells.by_size(to_device(np.concatenate(([0], np.cumsum(sizes))).astype(np.int32)))
    dealt = [(chosen.copy_to_host()[:count], width) for chosen, count, width in classes]
    assert sorted(np.concatenate([chosen for chosen, _ in dealt]).tolist()) == list(range(len(sizes)))
    assert all(a[0].size and sizes[a[0]].max() < sizes[b[0]].min() and a[1] <= b[1] for a, b in pairwise(dealt))


def test_launches_have_the_types_that_are_compiled(monkeypatch):
    """So that `test_ptx` compiles what is launched."""
    seen = recorded(monkeypatch)
    tables = scene(1, 12)
    for step in (
        Nms(),
        AdjNms(),
        Wbf(),
        Nmw(),
        Vote(),
        Reweight(weights=dict.fromkeys("abc", 0.5)),
        Concat(max_per_image=3),
        Calibrate(maps=MAPS),
        Support(),
        ExpandHierarchy(parents={0: [5], 5: []}),
        Consensus(),
        ProbFusion(),
        MergeScales(),
        SelectExperts(categories={"b": [0], "c": []}, gate=True),
        SelectViews(views=[["b", "c"]]),
    ):
        apply(step, tables, device="cuda")
    apply(MaskNms(), table("a", BOX * 2, [LEFT] * 2), device="cuda")
    apply(VoteMasks(), table("a", BOX, [LEFT], soft=[np.ones((2, 2), np.float32)]), device="cuda")
    apply(Dropout(), tables[:2], device="cuda")
    for kind in Cooccurrence, Surround:
        apply(kind(relations=relations_of(0)), tables_of([(1, 2, 0.9, 0, 0, 1, 1)] * 2), device="cuda")
    offsets(filled(3, np.int32))
    assert seen.keys() == KERNELS.keys()
    assert seen == {name: {types_of(one) for one in launches} for name, launches in LAUNCHES.items()}
    if not SIMULATED and not one_thread.INSTALLED:
        # none is left to Numba's own way of launching
        assert all(launch._kernel for kernel in KERNELS.values() for launch in kernel._launches.values())
