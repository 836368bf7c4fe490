"""AP of answers on a GPU, real or simulated, against that of their tables on the CPU: to the last bit."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import config

from evaluation import Coco, Lvis, OpenImages, prepare
from evaluation.cuda.prepared import prepare_on_gpu
from fusion.cuda.session import Session
from fusion.steps.concat import Concat
from fusion.steps.nms import Nms
from fusion.steps.wbf import Wbf
from fusion.table import DetectionTable, Metadata
from tests.evaluation import open_images_cases
from tests.evaluation.cases import arrays, ground_truth, random_case
from tests.evaluation.cuda.launches import KERNELS, LAUNCHES
from tests.evaluation.test_lvis import federated_case, lvis_truth
from tests.fusion.cuda.launches import LAUNCHES as FUSION
from tests.fusion.cuda.launches import recorded, types_of

SIMULATED = bool(config.ENABLE_CUDASIM)

# the CPU's figures are what it is compared with
pytestmark = [
    pytest.mark.usefixtures("backend"),
    pytest.mark.parametrize("backend", ["simulator" if SIMULATED else "gpu"], indirect=True),
]


def members(results, **metadata):
    """Deal detections to three members; the second has none."""
    names = iter("abc")
    parts = [results[::2], [], results[1::2]]
    kept = [part for part in parts if part]
    tables = [
        DetectionTable.from_arrays(**arrays(part), metadata=Metadata(member=next(names), **metadata)) for part in kept
    ]
    return tables or [DetectionTable.from_arrays(**arrays([]), metadata=Metadata(member="a", **metadata))]


def check(truth, protocol, tables, *more):
    prepared = prepare(truth, protocol)
    steps = Concat(), *more
    session = Session(tables, steps)
    session.upload()
    on_gpu = prepare_on_gpu(prepared, session.origins)
    for step in steps:
        answer = session.apply(step, session.tables)
        figures = on_gpu.average_precision_per_category(answer)
        table = answer.to_table()
        if isinstance(protocol, OpenImages):
            expected = prepared.evaluate(table).average_precision_per_category
        else:
            expected = prepared.average_precision_per_category(table)
        np.testing.assert_array_equal(figures, expected)
    return figures


def check_open_images(seed, *, masks=False, unit="normalized", more=(), categories=4, **options):
    """Check answers of two members, which share the detections of random images."""
    images = open_images_cases.random_images(seed, categories=categories, masks=masks, images=3)
    images[0]["found"] += open_images_cases.random_images(0, categories=categories, masks=masks)[1]["found"][:1]
    truth = open_images_cases.ground_truth(images, categories, masks=masks)
    whole = open_images_cases.table(images, masks=masks)
    tables = []
    for number in range(2):
        rows = np.arange(number, len(whole), 2)
        sides = np.array([open_images_cases.WIDTH, open_images_cases.HEIGHT] * 2)
        tables.append(
            DetectionTable.from_arrays(
                image_id=whole.image_id[rows],
                category_id=whole.category_id[rows],
                score=whole.score[rows],
                xywh=whole.xywh[rows] * (sides if unit == "pixel" else 1),
                mask=whole.mask.take(rows) if masks else None,
                metadata=Metadata(member=f"member{number}", unit=unit),
            )
        )
    protocol = OpenImages(iou_type="segm" if masks else "bbox", **options)
    return check(truth, protocol, [table for table in tables if len(table)], *more)


@pytest.mark.parametrize("seed", range(3 if SIMULATED else 60))
def test_boxes(seed):
    dataset, results = random_case(seed, results=80, scale=(1.0, 3.0, 9.7)[seed % 3], first_id=seed % 2)
    check(ground_truth(dataset), Coco(), members(results), Wbf(), Nms())


@settings(max_examples=12 if SIMULATED else 200, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    images=st.integers(1, 3),
    categories=st.integers(1, 4),
    truths=st.integers(0, 30),
    results=st.integers(1, 60),
    cap=st.integers(1, 5),
    match_id_zero=st.booleans(),
)
def test_random(backend, seed, images, categories, truths, results, cap, match_id_zero):
    dataset, found = random_case(seed, images=images, categories=categories, truths=truths, results=results, first_id=0)
    check(ground_truth(dataset), Coco(max_dets=(cap,), match_id_zero=match_id_zero), members(found))


@pytest.mark.parametrize("from_masks", [False, True])
@pytest.mark.parametrize("protocol", [Coco(iou_type="segm"), Lvis(iou_type="segm", max_dets=30)])
def test_masks(from_masks, protocol):
    metadata = {"boxes": "from_masks"} if from_masks else {}
    if isinstance(protocol, Lvis):
        dataset, results = federated_case(7, results=60, masks=True)
        truth = lvis_truth(dataset)
    else:
        dataset, results = random_case(101, results=60, masks=True)
        truth = ground_truth(dataset)
    check(truth, protocol, members(results, **metadata), Wbf(), Nms())


@pytest.mark.parametrize("seed", range(3 if SIMULATED else 40))
def test_lvis(seed):
    dataset, results = federated_case(seed, results=90)
    check(lvis_truth(dataset), Lvis(max_dets=(300, 20, 3)[seed % 3]), members(results), Wbf())


@pytest.mark.parametrize("thresholds", [(0.3,), (0.5, 1.0), tuple(np.linspace(0.05, 0.95, 62))])
def test_other_thresholds(thresholds):
    dataset, results = random_case(41, results=60)
    check(ground_truth(dataset), Coco(iou_thresholds=thresholds), members(results))


@settings(max_examples=15 if SIMULATED else 300, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    masks=st.booleans(),
    unit=st.sampled_from(["normalized", "pixel"]),
    weight=st.sampled_from([0.0, 0.5, 1.0]),
    threshold=st.sampled_from([0.25, 0.5, 1.0]),
    cap=st.sampled_from([1, 2, 10_000]),
)
def test_open_images(backend, seed, masks, unit, weight, threshold, cap):
    check_open_images(
        seed, masks=masks, unit=unit, group_of_weight=weight, iou_threshold=threshold, max_dets=cap, more=(Nms(),)
    )


def test_pixels_of_ground_truth_in_pixels():
    images = open_images_cases.random_images(4, grid=False)
    truth = open_images_cases.ground_truth(images, 4, unit="pixel")
    table = open_images_cases.table(images).with_metadata(member="a")
    check(truth, OpenImages(), [table], Wbf())


def test_of_equal_overlaps_the_later_object_is_matched():
    """The earlier one has id 0, with which a match is not counted."""
    dataset, _ = random_case(0, truths=2)
    first, second = dataset["annotations"]
    objects = [first | {"id": 0, "iscrowd": 0, "area": 25.0, "bbox": [1.0, 1.0, 5.0, 5.0]}]
    objects.append(objects[0] | {"id": second["id"] + 7})
    found = {name: first[name] for name in ("image_id", "category_id")} | {"score": 0.5, "bbox": [1.0, 1.0, 5.0, 5.0]}
    figures = check(ground_truth(dataset | {"annotations": objects}), Coco(), members([found]))
    assert np.nanmax(figures) > 0.5


def test_of_equal_overlaps_the_first_object_of_open_images_is_looked_at():
    """The better detection takes the object that the other one is on, where it could have taken the next."""

    def box(left):
        return {"category": 0, "box": (left / 16, 0.0, (left + 4) / 16, 0.25)}

    truths = [box(left) | {"group": False, "mask": None} for left in (0, 2)]
    found = [box(left) | {"score": score} for left, score in ((1, 0.9), (0, 0.8))]
    images = [{"truths": truths, "found": found, "verified": set()}]
    truth = open_images_cases.ground_truth(images, 1)
    assert check(truth, OpenImages(), [open_images_cases.table(images).with_metadata(member="a")]) == 0.5


def test_objects_without_a_mask_only_leave_detections_out():
    left, right = np.zeros((2, open_images_cases.HEIGHT, open_images_cases.WIDTH), bool)
    left[2:6, 1:5], right[2:6, 8:12] = True, True
    kinds = ((left, left), (right, None))
    truths = [{"category": 0, "box": open_images_cases.tight(m), "group": False, "mask": kept} for m, kept in kinds]
    found = [
        {"category": 0, "score": score, "box": open_images_cases.tight(mask), "mask": mask}
        for mask, score in ((right, 0.9), (right, 0.8), (left, 0.7))
    ]
    images = [{"truths": truths, "found": found, "verified": set()}]
    truth = open_images_cases.ground_truth(images, 1, masks=True)
    table = open_images_cases.table(images, masks=True).with_metadata(member="a")
    assert check(truth, OpenImages(iou_type="segm"), [table]) == 0.5


def test_many_detections():
    size = 240 if SIMULATED else 40_000
    dataset, results = random_case(9, images=size // 40, categories=3, truths=size // 4, results=size)
    figures = check(ground_truth(dataset), Coco(max_dets=(20,)), members(results))
    assert np.nanmax(figures) > 0


def test_nothing_right_nothing_found_and_nothing_to_find():
    dataset, results = random_case(3, truths=10, results=30)
    away = [entry | {"bbox": [500.0, 500.0, 1.0, 1.0]} for entry in results]
    assert np.nanmax(check(ground_truth(dataset), Coco(), members(away))) == 0
    session = Session(members(results))
    found = session.apply(Concat(), session.tables)
    none = replace(found, rows=found.rows._make(column[:0] for column in found.rows))
    prepared = prepare(ground_truth(dataset), Coco())
    assert np.nanmax(prepare_on_gpu(prepared, none.origins).average_precision_per_category(none)) == 0
    nothing = prepare(ground_truth(random_case(3, truths=0)[0]), Coco())
    assert np.isnan(prepare_on_gpu(nothing, none.origins).average_precision_per_category(none)).all()


def test_what_is_left_to_the_cpu():
    dataset, results = random_case(5, masks=True)
    truth, tables = ground_truth(dataset), members(results)
    without = [DetectionTable.from_arrays(**arrays(results) | {"mask": None})]
    origins, bare = Session(tables), Session(without)
    for session in origins, bare:
        session.upload()
    assert prepare_on_gpu(prepare(truth, Coco(use_cats=False)), origins.origins) is None
    assert (
        prepare_on_gpu(prepare(truth, Coco(iou_thresholds=tuple(np.linspace(0.1, 0.9, 63)))), origins.origins) is None
    )
    assert prepare_on_gpu(prepare(truth, Coco(iou_type="segm")), bare.origins) is None
    assert prepare_on_gpu(prepare(truth.subset(truth.image_id[:1]), Coco()), origins.origins) is None
    normalized = Session(members(results, unit="normalized"))
    normalized.upload()
    assert prepare_on_gpu(prepare(truth, Coco()), normalized.origins) is None
    federated = lvis_truth(federated_case(5)[0])
    assert prepare_on_gpu(prepare(federated, Lvis(fixed_ap=True)), origins.origins) is None


def test_launches_have_the_types_that_are_compiled(monkeypatch):
    """So that `test_ptx` compiles what is launched."""
    seen = recorded(monkeypatch)
    dataset, results = random_case(5, results=40, masks=True)
    for protocol in Coco(), Coco(iou_type="segm"):
        check(ground_truth(dataset), protocol, members(results))
    for masks in False, True:
        check_open_images(1, masks=masks)
    assert seen.keys() >= KERNELS.keys()
    for name, types in seen.items():
        assert not types - {types_of(one) for one in (FUSION | LAUNCHES)[name]}, name
