"""Tables that do not fit in the GPU's memory at once."""

import threading

import numpy as np
import pytest

from fusion import run as running
from fusion.errors import InputError
from fusion.recipe import Node, Recipe
from fusion.run import apply
from fusion.scales import Scales
from fusion.steps.calibrate import Calibrate
from fusion.steps.concat import Concat
from fusion.steps.consensus import Consensus
from fusion.steps.dropout import Dropout
from fusion.steps.expand_hierarchy import ExpandHierarchy
from fusion.steps.merge_scales import MergeScales
from fusion.steps.nms import Nms
from fusion.steps.reweight import Reweight
from fusion.steps.select_experts import SelectExperts
from fusion.steps.select_views import SelectViews
from fusion.steps.soft_nms import SoftNms
from fusion.steps.wbf import Wbf
from tests.fusion.cuda.test_rescoring import MAPS
from tests.fusion.cuda.test_session import OnTheCpu, masks, member, same
from tests.fusion.cuda.test_twins import scene

LINEAR = SoftNms(method="linear")
NAMES = np.array(list("hgfedcba"))


@pytest.fixture(autouse=True)
def little_memory(backend, monkeypatch):
    """Room for a few images at a time; tells how many parts there were."""
    parts = []
    if backend == "cuda":
        from fusion.cuda import stream

        opened = stream.TableStream.__init__

        def note(self, tables, steps, cuts):
            parts.append(len(cuts))
            opened(self, tables, steps, cuts)

        monkeypatch.setattr(stream.TableStream, "__init__", note)
        monkeypatch.setattr(stream, "free_memory", lambda: 3 * 23 * 400.0)
    return parts


def tables_of(ids):
    """Members that do not all have all images, nor the same types and columns."""
    size = 24
    return [
        member("a", 1, size, ids=lambda image: ids(image), mask=masks(size), view=["left", "right"] * 12),
        member("b", 2, size, ids=lambda image: ids(image + 2), kind=np.float32),
        member("c", 3, size, ids=lambda image: ids(image + 4)),
    ]


@pytest.mark.parametrize(
    ("recipe", "ids"),
    [
        (
            Recipe.chain([Reweight(weights={"a": 0.5, "b": 2.0, "c": 1.0}), Wbf(), Concat(max_per_image=5)]),
            lambda image: image * 3,
        ),
        (
            Recipe(
                {
                    "left": Node(Nms(), ("a", "b")),
                    "right": Node(LINEAR, ("b", "c")),
                    "output": Node(Dropout(iou=0.1), ("left", "right")),
                }
            ),
            lambda image: NAMES[image],
        ),
        (Recipe.chain([Wbf(skip_box_threshold=2)]), lambda image: NAMES[image]),
    ],
    ids=["chain", "tree", "nothing is left"],
)
def test_recipes_in_parts(backend, little_memory, recipe, ids):
    same(recipe.fuse(tables_of(ids), device=backend), recipe.fuse(tables_of(ids)))
    assert backend == "cpu" or little_memory[0] > 2


def test_steps_in_parts(backend, little_memory):
    nothing = member("d", 4).select_images([-1])
    tables = [*tables_of(lambda image: NAMES[image]), nothing]
    same(apply(Nms(), tables, device=backend), apply(Nms(), tables))
    tables = tables_of(lambda image: image)
    same(apply(Nms(), tables, device=backend), apply(Nms(), tables))
    same(apply(Concat(), tables, device=backend), apply(Concat(), tables))
    step = ExpandHierarchy(parents={0: [], 7: [21], 14: []})
    same(apply(step, tables[::2], device=backend), apply(step, tables[::2]))
    assert backend == "cpu" or len(little_memory) == 4


@pytest.mark.parametrize(
    "step",
    [
        Consensus(iou=0.2),
        MergeScales(
            scales=Scales(limits={"left": [0, 9], "right": [0.2, 9], "b": [0, 0.3], "c": [0, 9]}), method="linear"
        ),
        SelectExperts(categories={"a": [7], "c": [0]}, gate=True),
        SelectViews(views=[["left"], ["right", "c"]], side=1.0),
    ],
    ids=lambda step: type(step).__name__,
)
def test_views_and_experts_in_parts(backend, on_gpu, little_memory, step):
    a, b, c = tables_of(lambda image: image)
    same(apply(step, [b, a, c], device=backend), apply(step, [b, a, c]))
    assert backend == "cpu" or little_memory[0] > 2


def test_an_image_too_large_for_a_part(backend):
    tables = scene(1, 90, images=1)
    if backend == "cuda":
        with pytest.raises(InputError, match=r"the tables need about 0\.0 GiB on the GPU"):
            apply(Nms(), tables, device="cuda")


@pytest.mark.parametrize("step", [Calibrate(maps=MAPS), OnTheCpu()])
def test_steps_that_have_to_see_whole_tables_are_not_cut(backend, monkeypatch, step):
    if backend == "cpu":
        pytest.skip("the memory of the GPU")
    tables = scene(1, 90, images=9)
    with pytest.raises(InputError, match="Keep the tables as folders of parts"):
        Recipe.chain([step, Nms()]).fuse(tables, device="cuda")
    monkeypatch.setattr(running, "_said", set())
    with pytest.warns(UserWarning, match="Fusing on the CPU: the tables need about"):
        same(apply(step, tables, device="auto"), apply(step, tables))


def test_the_next_part_comes_while_one_is_fused(backend, monkeypatch):
    if backend == "cpu":
        pytest.skip("nothing is copied")
    from fusion.cuda.session import Session
    from fusion.cuda.stream import open_on_gpu

    loaded = [threading.Event() for _ in range(3)]
    seen = iter(loaded)
    upload = Session.upload

    def note(session):
        assert threading.current_thread() is not threading.main_thread()
        upload(session)
        next(seen, threading.Event()).set()

    monkeypatch.setattr(Session, "upload", note)
    tables = tables_of(lambda image: image)
    waiting = iter(loaded[1:])

    def work(run, inputs):
        assert next(waiting, loaded[0]).wait(60)  # the part behind this one
        return run(Nms(), inputs)

    same(open_on_gpu(tables, [Nms()]).fuse(work), apply(Nms(), tables))


def test_a_refusal_ends_the_work(backend):
    tables = [member("a", 1), member("a", 2)]
    with pytest.raises(InputError, match="both bring a member called 'a'"):
        apply(Nms(), tables, device=backend)
    mixed = [member("a", 1), member("b", 2, ids=lambda image: NAMES[image])]
    with pytest.raises(InputError, match="some have integer image ids and some have strings"):
        apply(Nms(), mixed, device=backend)
