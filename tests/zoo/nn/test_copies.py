"""Objects with a box for each class that they are of: a region is learned as one of them, drawn evenly."""

# ruff: noqa: E402

import pytest

torch = pytest.importorskip("torch", reason="the extra zoo (torch) is not installed")
pytest.importorskip("torchvision", reason="the extra zoo (torchvision) is not installed")

from zoo.config import Sampling
from zoo.data.record import Target
from zoo.nn.draws import Draws
from zoo.nn.sampling import draw_regions, one_of_copies

A, B = [0.0, 0.0, 20.0, 20.0], [30.0, 30.0, 60.0, 60.0]
NEAR = [1.0, 0.0, 20.0, 20.0]


def target_of(*objects):
    boxes, labels = zip(*objects, strict=True)
    return Target.empty(7, (64, 64), boxes=torch.tensor(boxes), labels=torch.tensor(labels))


def regions(target, step):
    proposals = torch.tensor([NEAR, [31.0, 30.0, 60.0, 60.0], [0.0, 40.0, 20.0, 60.0]])
    return draw_regions([proposals], [target], Sampling(rois=16, positives=0.5), 0.5, 0.5, [Draws(0, step, 7)])


def test_every_copy_gets_its_share_and_nothing_else_changes():
    target = target_of((A, 5), (B, 2), (A, 3), (NEAR, 4), (A, 1))
    seen = {5: 0, 3: 0, 1: 0}
    for step in range(200):
        found = regions(target, step)
        for (_, *box), label, index, goal in zip(
            found.rois.tolist(), found.labels.tolist(), found.matched_idx.tolist(), found.goal, strict=True
        ):
            if label == 0:
                assert box == [0.0, 40.0, 20.0, 60.0]
                continue
            assert target.labels[index] == label
            assert torch.equal(target.boxes[index], goal)
            assert {tuple(A): (5, 3, 1), tuple(NEAR): (4,)}.get(tuple(box), (2,)).count(label) == 1
            if box == A:
                seen[label] += 1
    total = sum(seen.values())
    assert total == 600, "the object itself is a region three times"
    assert all(abs(count / total - 1 / 3) < 0.08 for count in seen.values())
    assert torch.equal(regions(target, 3).labels, regions(target, 3).labels)


def test_without_copies_nothing_is_drawn():
    class NoDraws:
        def normal(self, shape, purpose):
            raise AssertionError

    index = torch.tensor([1, 0, 1])
    assert torch.equal(one_of_copies(index, target_of((A, 1), (B, 2)), NoDraws(), ""), index)
    empty = Target.empty(1, (9, 9))
    assert len(one_of_copies(index[:0], empty, NoDraws(), "")) == 0
