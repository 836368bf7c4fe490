"""Recipes on the GPU: what stays there, what is carried on, and which device is chosen."""

import re
import warnings
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from numba import config

from fusion import run as running
from fusion.cuda.kernels import device
from fusion.errors import InputError
from fusion.recipe import Node, Recipe
from fusion.run import apply
from fusion.steps.concat import Concat
from fusion.steps.nms import Nms
from fusion.steps.nmw import Nmw
from fusion.steps.reweight import Reweight
from fusion.steps.soft_nms import SoftNms
from fusion.steps.wbf import Wbf
from fusion.table import DetectionTable
from fusion.table_columns import MASK_TYPE

SIMULATED = bool(config.ENABLE_CUDASIM)
LINEAR = SoftNms(method="linear")


@dataclass(frozen=True)
class OnTheCpu:
    """A step without a twin."""

    def fuse(self, pool, sources=False):
        return Nmw().fuse(pool, sources)


def member(name, seed, size=24, *, kind=np.float64, ids=lambda image: image * 3, **columns):
    rng = np.random.default_rng(seed)
    low, side = (rng.random((size, 2)) * 0.3).round(1), (0.1 + rng.random((size, 2)) * 0.3).round(1)
    return DetectionTable.from_arrays(
        image_id=ids(rng.integers(3, size=size)), category_id=rng.integers(3, size=size) * 7,
        score=rng.random(size).round(1).astype(kind), xywh=np.hstack([low, side]).astype(kind), **columns,
    ).with_metadata(member=name, dataset="d", split=name)  # fmt: skip


def masks(size):
    return pa.array(
        [None if k % 5 == 0 else {"height": 4, "width": 4, "counts": b"%d" % k} for k in range(size)], MASK_TYPE
    )


def same(ours, theirs):
    assert ours.metadata == theirs.metadata
    assert ours.arrow.schema.equals(theirs.arrow.schema)
    for name in ours.arrow.column_names:
        assert ours.arrow[name].to_pylist() == theirs.arrow[name].to_pylist(), name


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe.chain([Reweight(weights={"a": 0.5, "b": 2.0, "c": 1.0}), Wbf(), LINEAR, Concat(max_per_image=5)]),
        Recipe.chain([Concat(max_per_image=9), Nms()]),
        Recipe.chain([Nms(), OnTheCpu(), LINEAR]),
        Recipe(
            {
                "weighed": Node(Reweight(weights={"a": 0.5, "b": {0: 1.0, 7: 0.0, 14: 0.9}}), ("a", "b")),
                "boxes": Node(Wbf(), ("weighed",)),
                "kept": Node(Nms(), ("a", "b")),
                "mixed": Node(LINEAR, ("boxes", "c")),
                "output": Node(Wbf(conf_type="max", iou=0.3), ("mixed", "kept")),
            }
        ),
    ],
    ids=["chain", "kept scores", "a step without a twin", "tree"],
)
@pytest.mark.parametrize("kind", [np.float64, np.float32])
@pytest.mark.filterwarnings("ignore:OnTheCpu runs on the CPU")
def test_recipes(backend, recipe, kind):
    tables = [
        member("a", 1, mask=masks(24), view=["left", "right"] * 12),
        member("b", 2, kind=kind),
        member("c", 3, kind=kind, view=["left"] * 24),
    ]
    same(recipe.fuse(tables, device=backend), recipe.fuse(tables))


@pytest.mark.parametrize("step", [Nms(), Wbf(), Concat()])
def test_votes_and_names_are_carried(backend, step):
    tables = [
        member("a", 1, votes=np.arange(24), member=["x", "y", "z"] * 8, ids=lambda image: np.array(list("qpr"))[image]),
        member("b", 2, votes=np.arange(24), ids=lambda image: np.array(list("srp"))[image]),
    ]
    same(apply(step, tables, device=backend), apply(step, tables))
    same(apply(step, tables[0], device=backend), apply(step, tables[0]))


def test_votes_that_only_some_have_are_dropped(backend):
    tables = [member("a", 1, votes=np.arange(24)), member("b", 2)]
    same(apply(Nms(), tables, device=backend), apply(Nms(), tables))


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"member": "a"}, "both bring a member called 'a'"),
        ({"member": "b", "unit": "normalized"}, "differ in unit"),
        ({"member": "b", "categories": "f"}, None),
    ],
)
def test_tables_that_do_not_go_together(backend, second, message):
    tables = [member("a", 1), member("b", 2).with_metadata(**second)]
    if message is None:
        same(apply(Nms(), tables, device=backend), apply(Nms(), tables))
    else:
        with pytest.raises(InputError, match=message):
            apply(Nms(), tables, device=backend)


def test_kinds_of_image_ids_do_not_mix(backend):
    tables = [member("a", 1), member("b", 2, ids=lambda image: np.array(list("qpr"))[image])]
    with pytest.raises(InputError, match="some have integer image ids and some have strings"):
        apply(Nms(), tables, device=backend)


def test_rows_stay_on_the_gpu_between_steps(backend, monkeypatch):
    if backend == "cpu":
        pytest.skip("there is nothing to copy")
    from fusion.cuda import resident, session

    up, down = [], []
    to_device, to_host = session.to_device, resident.to_host
    monkeypatch.setattr(session, "to_device", lambda array: up.append(len(array)) or to_device(array))
    monkeypatch.setattr(resident, "to_host", lambda array: down.append(len(array)) or to_host(array))
    tables = [member("a", 1), member("b", 2)]
    fused = Recipe.chain([Nms(), Wbf(), LINEAR]).fuse(tables, device=backend)
    assert sum(length == 24 for length in up) == 2 * 11  # every column of each table but the votes, once
    assert len(down) == 12
    assert set(down) == {len(fused)}


def test_too_little_memory(backend, monkeypatch):
    if backend == "cpu":
        pytest.skip("the memory of the GPU")
    from fusion.cuda import stream

    monkeypatch.setattr(stream, "free_memory", lambda: 1000.0)
    monkeypatch.setattr(running, "_said", set())
    tables = [member("a", 1), member("b", 2)]
    with pytest.raises(InputError, match=r"need about .* GiB on the GPU, and 0.0 GiB are free. Keep the tables as fol"):
        apply(Nms(), tables, device="cuda")
    with pytest.warns(UserWarning, match="Fusing on the CPU: the tables need about"):
        same(apply(Nms(), tables, device="auto"), apply(Nms(), tables))


def test_memory_that_runs_out(backend, monkeypatch):
    if backend == "cpu":
        pytest.skip("the memory of the GPU")
    from fusion.cuda import steps

    def fail(step, pool):
        raise RuntimeError("[2] Call to cuMemAlloc results in CUDA_ERROR_OUT_OF_MEMORY")

    monkeypatch.setitem(steps.TWINS, Nms, fail)
    with pytest.raises(InputError, match=r"device cuda: its memory was used up by Nms\. Keep the tables as"):
        apply(Nms(), member("a", 1), device=backend)


@pytest.fixture
def no_simulator(monkeypatch):
    monkeypatch.setattr(config, "ENABLE_CUDASIM", 0)
    monkeypatch.setattr(running, "_said", set())


def test_without_the_extra(no_simulator, monkeypatch):
    monkeypatch.setattr(running, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"numba-cuda is not installed. Install the extra: pip install .*\[gpu\]"):
        apply(Nms(), member("a", 1), device="cuda")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            "Error at driver init: libcuda.so not found",
            r"no GPU can be used \(Error at driver init: libcuda.so not found\)",
        ),
        ("Call to cuInit results in CUDA_ERROR_NO_DEVICE", "no GPU can be used"),
        ("[2] Call to cuDevicePrimaryCtxRetain results in CUDA_ERROR_OUT_OF_MEMORY", "the GPU has no memory left"),
        ("CUDA_ERROR_SYSTEM_INSUFFICIENT_DRIVER: 803", "the NVIDIA driver is too old for CUDA 13"),
    ],
)
def test_without_a_driver(no_simulator, monkeypatch, error, message):
    def fail():
        raise RuntimeError(error)

    monkeypatch.setattr(running, "find_spec", lambda name: SimpleNamespace())
    monkeypatch.setattr(device.cuda, "current_context", fail)
    with pytest.raises(InputError, match=message):
        running.settle("cuda")
    assert running.settle("cpu") == ("cpu", ())
    device_name, [note] = running.settle("auto")
    assert device_name == "cpu"
    assert re.search(message, note)


def test_auto_says_once_that_it_takes_the_cpu(no_simulator, monkeypatch):
    monkeypatch.setattr(running, "find_spec", lambda name: None)
    table = member("a", 1)
    with pytest.warns(UserWarning, match="Fusing on the CPU: the package numba-cuda is not installed"):
        same(apply(Nms(), table, device="auto"), apply(Nms(), table))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same(Recipe.chain([Nms()]).fuse([table], device="auto"), Recipe.chain([Nms()]).fuse([table]))


def test_no_table(backend):
    with pytest.raises(InputError, match="no table was given"):
        apply(Nms(), [], device=backend)


def test_an_unknown_device_is_refused():
    with pytest.raises(InputError, match="option device: expected one of auto, cpu, cuda"):
        apply(Nms(), member("a", 1), device="tpu")
