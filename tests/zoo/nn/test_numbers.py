"""Every network, built from a seed and trained two steps: weights' names, losses and scores as they were recorded.

`numbers.json` was written before heads owned their losses; `python -m tests.zoo.nn.test_numbers` adds the networks that
are not in it. To record one anew, which only a change of its mathematics may need, take its line out.
"""

# ruff: noqa: E402

import json
import zlib
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the extra zoo (torch) is not installed")
pytest.importorskip("timm", reason="the extra zoo (timm) is not installed")

from tests.zoo.nn.cases import CLASSES, batch
from tests.zoo.nn.test_variants import VARIANTS, networks, networks_to_run
from zoo.config import replace
from zoo.models import build
from zoo.nn.detections import Detections

RECORDED = Path(__file__).with_name("numbers.json")


def numbers(name):
    """Names and shapes of the weights, the losses of three passes with a step after each of two, and what is found."""
    config = VARIANTS[name].make("tiny")
    torch.manual_seed(0)
    net = build(replace(config, infer=replace(config.infer, score=0.0)), CLASSES, pretrained=False).train()
    state = "\n".join(f"{key} {tuple(value.shape)} {value.dtype}" for key, value in net.state_dict().items())
    found = {"weights": zlib.crc32(state.encode()), "start": sum(p.double().sum().item() for p in net.parameters())}
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)
    passes = []
    for _ in range(3):
        losses = net(*batch(1, 2))
        passes.append({key: loss.item() for key, loss in losses.items()})
        assert all(loss.isfinite() for loss in losses.values())
        optimizer.zero_grad()
        sum(losses.values()).backward()
        for key, parameter in net.named_parameters():
            assert (parameter.grad is not None) == parameter.requires_grad, key
            assert parameter.grad is None or parameter.grad.isfinite().all(), key
        optimizer.step()
    images, targets = batch(3)
    given = None
    if net.boxes_given == "always":
        given = [Detections(own.boxes, torch.ones(len(own.boxes)), own.labels) for own in targets]
    with torch.no_grad():
        answers = net.eval()(images, targets, given)
    assert all((own.masks is None) != config.makes_masks for own in answers)
    if given is not None:  # scores are those given
        moved = sum(own.boxes.double().sum().item() for own in answers)
        return found | {"losses": passes, "scores": moved, "boxes": sum(map(len, answers))}
    scores = [own.mask_scores if own.mask_scores is not None else own.scores for own in answers]
    return found | {"losses": passes, "scores": float(torch.cat(scores).sum()), "boxes": sum(map(len, answers))}


def test_every_network_is_recorded():
    assert set(networks()) == set(json.loads(RECORDED.read_text()))


@pytest.mark.parametrize("name", networks_to_run())
def test_numbers_are_those_recorded(name):
    recorded, found = json.loads(RECORDED.read_text())[name], numbers(name)
    assert found["weights"] == recorded["weights"]
    assert found["start"] == pytest.approx(recorded["start"], rel=1e-6)
    for step, (one, other) in enumerate(zip(found["losses"], recorded["losses"], strict=True)):
        assert one == pytest.approx(other, rel=(1e-4, 3e-3, 2e-2)[step], abs=1e-6), f"pass {step}"
    assert found["boxes"] == pytest.approx(recorded["boxes"], abs=2)
    assert found["scores"] == pytest.approx(recorded["scores"], rel=1e-2)


if __name__ == "__main__":
    before = json.loads(RECORDED.read_text())
    lines = [f"{json.dumps(name)}: {json.dumps(before.get(name) or numbers(name))}" for name in networks()]
    RECORDED.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
