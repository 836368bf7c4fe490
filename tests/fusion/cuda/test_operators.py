"""Every operator's function takes a device."""

import inspect

import pytest

import fusion
from fusion import run as running
from fusion.errors import InputError
from fusion.recipe import STEPS
from fusion.score_maps import ScoreMap
from fusion.steps.nms import nms
from fusion.steps.wbf import wbf
from tests.fusion.cuda.test_session import member, same
from tests.fusion.relation_cases import relations_of

NEEDED = {
    "calibrate": {"maps": {"a": ScoreMap(kind="rank", score=[0.5], value=[0.5])}},
    "cooccurrence": {"relations": relations_of(1)},
    "expand_hierarchy": {"parents": {0: []}},
    "reweight": {"weights": {"a": 1.0}},
    "select_experts": {"categories": {"b": [1]}},
    "select_views": {"voters": [], "views": [["left"]]},
    "surround": {"relations": relations_of(1)},
    "vote_masks": {"voters": []},
}


@pytest.mark.parametrize("name", STEPS)
def test_operators_run_where_they_are_told(monkeypatch, name):
    table, answer, ran = member("a", 1), member("b", 2), []

    class Session:
        def __init__(self, tables):
            self.tables = tables

        def fuse(self, work):
            return work(lambda step, tables: ran.append((type(step), list(tables))) or answer, self.tables)

    def open_session(device, tables, steps):
        assert device == "cuda"
        assert list(map(type, steps)) == [STEPS[name]]
        return Session(tables)

    monkeypatch.setattr(running, "open_session", open_session)
    operator = getattr(fusion, name)
    assert inspect.signature(operator).parameters["device"].default == "cpu"
    assert operator(table, **NEEDED.get(name, {}), device="cuda") is answer
    assert ran == [(STEPS[name], [table])]


def test_every_step_of_a_recipe_has_a_twin(backend):
    if backend == "cpu":
        pytest.skip("the twins are imported where there is a GPU")
    from fusion.cuda.steps import TWINS

    assert TWINS.keys() == set(STEPS.values())


def test_operators_answer_alike_on_all_devices(backend):
    tables = [member("a", 1), member("b", 2)]
    same(nms(tables, iou=0.3, device=backend), nms(tables, iou=0.3))
    same(wbf(tables, device=backend), wbf(tables))
    with pytest.raises(InputError, match="option device: expected one of auto, cpu, cuda"):
        nms(tables, device="tpu")
