"""Every operator's function takes a device."""

import inspect

import pytest

import fusion
from fusion import nms, wbf
from fusion import run as running
from fusion.errors import InputError
from tests.fusion.cuda.test_session import member, same
from tests.fusion.steps.cases import STEPS, needed


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
    assert operator(table, *([[]] if hasattr(STEPS[name], "inputs") else []), **needed(name), device="cuda") is answer
    assert ran == [(STEPS[name], [table])]


def test_operators_answer_alike_on_all_devices(backend):
    tables = [member("a", 1), member("b", 2)]
    same(nms(tables, iou=0.3, device=backend), nms(tables, iou=0.3))
    same(wbf(tables, device=backend), wbf(tables))
    with pytest.raises(InputError, match="option device: expected one of auto, cpu, cuda"):
        nms(tables, device="tpu")
