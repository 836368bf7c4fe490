"""Where the candidates of a search are run, and that its answer does not depend on it."""

import pandas as pd
import pytest

from evaluation.protocol import Coco
from fusion import run as running
from fusion.errors import InputError
from fusion.steps.nms import Nms
from fusion.storage import write_table
from search.baselines import flat
from search.device import open_evaluator, settle_device
from search.evaluators import Serial
from search.genome import Operator
from search.on_cpu import CpuFuser
from search.problem import pose
from tests.search.members import SIMULATED, make_members, make_truth
from zoo.synthetic.simulated import simulate
from zoo.synthetic.skills import Scenario, demo_members

pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_constants':DeprecationWarning")

on_gpu = pytest.mark.parametrize("backend", ["simulator" if SIMULATED else "gpu"], indirect=True)


@pytest.fixture(scope="module")
def problem():
    truth = make_truth(1, images=6, objects=30)
    splits = {"search": truth.image_id[::2], "verify": truth.image_id[1::2]}
    return pose(make_members(1, 2, truth), truth, splits, Coco())


@pytest.fixture
def no_gpu(monkeypatch):
    def refuse():
        raise InputError("device cuda", "no GPU can be used")

    monkeypatch.setattr(running, "_require_gpu", refuse)


def fusers(evaluator):
    return evaluator.engine._fusers


def test_auto_says_why_it_went_to_the_cpu(no_gpu):
    assert settle_device("cpu", 4) == ("cpu", ())
    assert settle_device("auto", 1) == ("cpu", ("fused on the CPU: no GPU can be used",))
    assert settle_device("auto", 4) == ("cpu", ("fused on the CPU: no GPU can be used",))
    with pytest.raises(InputError, match="no GPU can be used"):
        settle_device("cuda", 1)
    with pytest.raises(InputError, match="expected one of auto, cpu, cuda, got 'gpu'"):
        settle_device("gpu", 1)


def test_workers_are_the_cpus(monkeypatch):
    monkeypatch.setattr(running, "_require_gpu", lambda: None)
    assert settle_device("auto", 1) == ("auto", ())
    assert settle_device("cuda", 1) == ("cuda", ())
    assert settle_device("auto", 2) == (
        "cpu",
        ("fused on the CPU: a GPU runs trials one at a time, and --workers is 2",),
    )
    with pytest.raises(InputError, match=r"--workers is 2\. Leave out --workers, or use --device cpu"):
        settle_device("cuda", 2)


@on_gpu
def test_members_that_do_not_fit(backend, problem, monkeypatch, tmp_path):
    from search import on_gpu as module

    def opened(device, free, memory=1000):
        monkeypatch.setattr(module, "free_memory", lambda: free)
        return open_evaluator(problem, tmp_path, device=device, workers=1, memory=memory)

    evaluator, said = opened("cuda", 1e9)
    assert isinstance(fusers(evaluator)[0], module.GpuFuser)
    assert not said
    evaluator, said = opened("auto", 1e4)
    assert isinstance(evaluator, Serial)
    assert isinstance(fusers(evaluator)[0], CpuFuser)
    assert said == ("fused on the CPU: the members need about 0.0 GiB on the GPU, and 0.0 GiB are free",)
    with pytest.raises(InputError, match="the members need about"):
        opened("cuda", 1e4)
    # what the members leave free bounds the results kept
    room = fusers(opened("cuda", 1e6)[0])[0].room
    assert 0 < room < 1e6
    evaluator, _ = opened("cuda", 1e6, memory=1 << 30)
    assert evaluator.engine._memory == room


@on_gpu
def test_memory_used_up_in_mid_search(backend, problem, monkeypatch, tmp_path):
    from fusion.cuda import steps

    evaluator, _ = open_evaluator(problem, tmp_path, device="cuda", workers=1, memory=0)
    (fuser,) = fusers(evaluator)
    genome = flat([1.0, 1.0], Operator(kind="nms"))

    def used_up(*_):
        raise RuntimeError("CUDA_ERROR_OUT_OF_MEMORY: there is none left")

    with monkeypatch.context() as patch:
        patch.setitem(steps.TWINS, Nms, used_up)
        with pytest.raises(InputError, match=r"used up by Nms\. The trials so far are kept: go on with --resume"):
            evaluator.engine.evaluate(genome)
    monkeypatch.setattr(fuser, "_ap", used_up)
    with pytest.raises(InputError, match=r"used up by the evaluation\. .*--resume"):
        evaluator.engine.evaluate(genome)


@on_gpu
@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
def test_a_search_gives_the_same_answer(backend, iou_type, run, tmp_path, monkeypatch):
    scenario = Scenario(images=6, categories=6, objects=4, masks=iou_type == "segm")
    simulation = simulate(scenario, demo_members(6)[:3], 0)
    simulation.write(tmp_path)
    tables = []
    for member in simulation.members:
        tables.append(tmp_path / f"{member.skill.name}.parquet")
        write_table(member.table(), tables[-1])
    from fusion.cuda.resident import Resident

    def refuse(_):
        raise AssertionError("a trial left the GPU")

    monkeypatch.setattr(Resident, "to_table", refuse)
    # sides are weighted on the CPU alone, so that trials can only be compared without
    monkeypatch.setattr("search.problem.pose", lambda *a, **k: pose(*a, **{**k, "weigh": False}))
    trials = {}
    for device in ("cpu", backend):
        output = tmp_path / device
        options = ("-g", tmp_path / "ground_truth.json", "--iou-type", iou_type, "--budget", 10)
        code, _, err = run("search", *tables, *options, "--device", device, "-o", output)
        assert code == 0, err
        trials[device] = pd.read_parquet(output / "trials.parquet").drop(columns="seconds")
    pd.testing.assert_frame_equal(trials["cpu"], trials[backend])
    assert (tmp_path / "cpu/best.toml").read_text() == (tmp_path / backend / "best.toml").read_text()
