"""The simulated members do what the module's text says they do."""

import json
import math
import re
import subprocess
import sys
import warnings
from dataclasses import replace
from itertools import pairwise
from statistics import NormalDist

import numpy as np
import pytest
from pycocotools import mask as rle

from fusion.errors import InputError
from zoo.synthetic.simulated import Scenario, SimulatedDetections, Simulation, Skill, demo_members, simulate

NORMAL = NormalDist()
SCENARIO = Scenario(images=2000, crowd=0.0)
COLUMNS = ("image_id", "category_id", "score", "xywh", "source", "log_odds")


def one(skill: Skill, scenario: Scenario = SCENARIO, seed: int = 3) -> tuple[Simulation, SimulatedDetections]:
    simulation = simulate(scenario, [skill], seed)
    return simulation, simulation.members[0]


def close(share: float, expected: float, n: int) -> bool:
    """Within 4 standard deviations of a share of n trials."""
    return abs(share - expected) < 4 * math.sqrt(expected * (1 - expected) / n)


def found(simulation: Simulation, member: SimulatedDetections) -> np.ndarray:
    return np.isin(np.arange(len(simulation.annotations.area)), member.source)


def firsts(member: SimulatedDetections) -> np.ndarray:
    """Rows of the boxes that stand for an object."""
    return np.flatnonzero(member.source >= 0)


def same(a: SimulatedDetections, b: SimulatedDetections, rows: int | None = None) -> bool:
    equal = all(getattr(a, name)[:rows].tobytes() == getattr(b, name)[:rows].tobytes() for name in COLUMNS)
    return equal and (a.mask or [])[:rows] == (b.mask or [])[:rows]


def decoded(counts: bytes, height: int, width: int) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # pycocotools under NumPy 2
        return rle.decode({"size": [height, width], "counts": counts})


# -------------------------------------------------------------------------------------------------- seeds


def test_same_seed_same_bytes(tmp_path):
    scenario = Scenario(images=40, masks=True)
    for name in ("a", "b"):
        simulate(scenario, demo_members(), 5).write(tmp_path / name)
    other = simulate(scenario, demo_members(), 6).write(tmp_path / "c")
    for path in other:
        text = (tmp_path / "a" / path.name).read_bytes()
        assert text == (tmp_path / "b" / path.name).read_bytes()
        assert text != path.read_bytes()


@pytest.mark.parametrize("images", [0, 1, 255, 256, 257, 300])
def test_first_images_do_not_depend_on_how_many_there_are(images):
    more, fewer = (simulate(Scenario(images=n), demo_members(), 1) for n in (600, images))
    truth = fewer.annotations
    rows = int((more.annotations.image_id <= images).sum())
    assert len(truth.area) == rows
    for name in ("image_id", "category_id", "xywh", "area", "crowd"):
        assert getattr(truth, name).tobytes() == getattr(more.annotations, name)[:rows].tobytes()
    for short, long in zip(fewer.members, more.members, strict=True):
        rows = int((long.image_id <= images).sum())
        assert len(short.score) == rows
        assert same(short, long, rows)


def test_a_member_does_not_depend_on_the_others():
    alone = simulate(Scenario(images=300), demo_members()[3:4], 1).members[0]
    assert same(alone, simulate(Scenario(images=300), demo_members()[::-1], 1).members[2])


def test_masks_change_nothing_else():
    plain, masked = (simulate(Scenario(images=20, masks=masks), demo_members(), 1) for masks in (False, True))
    for a, b in zip(plain.members, masked.members, strict=True):
        assert a.mask is None
        assert same(a, replace(b, mask=None))


# ------------------------------------------------------------------------------------------------- scenes


def test_scenes_have_the_stated_objects_tail_and_crowds():
    scenario = Scenario(images=4000, objects=5, categories=12, zipf=1.2, crowd=0.05)
    truth = simulate(scenario, [], 2).annotations
    n = len(truth.area)
    assert abs(n / 4000 - 5) < 4 * math.sqrt(5 / 4000)
    assert close(truth.crowd.mean(), 0.05, n)
    expected = np.arange(1, 13) ** -1.2
    expected /= expected.sum()
    counts = np.bincount(truth.category_id, minlength=13)
    assert counts[0] == 0
    assert all(close(count / n, share, n) for count, share in zip(counts[1:], expected, strict=True))
    big, small = (np.median(truth.xywh[truth.crowd == crowd, 2]) for crowd in (True, False))
    assert 2 < big / small < 2.7
    assert abs(small - 75) < 3


def test_no_tail_means_equal_categories():
    truth = simulate(Scenario(images=2000, zipf=0, categories=4), [], 2).annotations
    assert all(close((truth.category_id == c).mean(), 0.25, len(truth.area)) for c in range(1, 5))


@pytest.mark.parametrize("masks", [False, True])
def test_ids_categories_and_boxes_are_valid(masks):
    simulation = simulate(
        Scenario(images=60, categories=7, width=320, height=200, crowd=0.1, masks=masks), demo_members(7)
    )
    truth = simulation.ground_truth()
    assert [image["id"] for image in truth["images"]] == list(range(1, 61))
    assert [category["id"] for category in truth["categories"]] == list(range(1, 8))
    assert [annotation["id"] for annotation in truth["annotations"]] == list(range(1, len(truth["annotations"]) + 1))
    rows = [*truth["annotations"], *(row for member in simulation.members for row in member.results())]
    assert ("segmentation" in rows[0]) == masks
    for row in rows:
        x, y, w, h = row["bbox"]
        assert 1 <= row["image_id"] <= 60
        assert 1 <= row["category_id"] <= 7
        assert min(x, y) >= 0
        assert min(w, h) >= 2
        assert x + w <= 320 + 1e-9
        assert y + h <= 200 + 1e-9
    for member in simulation.members:
        assert (np.diff(member.image_id) >= 0).all()
        own = member.source >= 0
        assert (simulation.annotations.image_id[member.source[own]] == member.image_id[own]).all()


# ------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize("recall", [0.3, 0.7, 0.95])
@pytest.mark.parametrize("correlation", [0.0, 0.5, 1.0])
def test_recall(recall, correlation):
    simulation, member = one(Skill(name="a", recall=recall, correlation=correlation))
    assert close(found(simulation, member).mean(), recall, len(simulation.annotations.area))


def test_category_skill_shifts_recall_and_confidence():
    simulation, member = one(Skill(name="a", recall=0.7, category_skill={1: 1.0, 2: -1.0}))
    for category, shift in ((1, 1.0), (2, -1.0), (3, 0.0)):
        own = simulation.annotations.category_id == category
        expected = NORMAL.cdf(NORMAL.inv_cdf(0.7) + shift)
        assert close(found(simulation, member)[own].mean(), expected, int(own.sum()))
    right = {c: np.median(member.log_odds[(member.source >= 0) & (member.category_id == c)]) for c in (1, 2, 3)}
    assert right[1] > right[3] > right[2]


def test_sizes_far_from_the_best_are_found_less_and_told_apart_less():
    skill = Skill(name="a", recall=0.8, best_side=40, size_slope=0.7, duplicates=0, confusion=0)
    simulation, member = one(skill)
    side = np.sqrt(simulation.annotations.area)
    hit = found(simulation, member)
    rows = firsts(member)
    level = [
        member.log_odds[rows[np.isin(member.source[rows], np.flatnonzero(part))]].mean()
        for part in ((side > 20) & (side < 80), (side > 150) & (side < 170))
    ]
    near, far = (side > 20) & (side < 80), (side > 150) & (side < 170)
    assert close(hit[near].mean(), 0.8, near.sum())
    assert close(hit[far].mean(), NORMAL.cdf(NORMAL.inv_cdf(0.8) - 0.7), far.sum())
    assert level[0] > level[1] + 1


@pytest.mark.parametrize("localisation", [0.02, 0.1])
def test_localisation_noise(localisation):
    simulation, member = one(Skill(name="a", localisation=localisation, duplicates=0, confusion=0))
    truth, box = simulation.annotations.xywh[member.source[firsts(member)]], member.xywh[firsts(member)]
    inside = (truth[:, :2] > 0.5 * truth[:, 2:]) & (truth[:, :2] + 1.5 * truth[:, 2:] < [640, 480])
    rows = inside.all(axis=1) & (truth[:, 2:].min(axis=1) > 20)
    assert rows.sum() > 1000
    truth, box = truth[rows], box[rows]
    shift = (box[:, :2] + box[:, 2:] / 2 - truth[:, :2] - truth[:, 2:] / 2) / truth[:, 2:]
    scale = np.log(box[:, 2:] / truth[:, 2:])
    for noise in (*shift.T, *scale.T):
        assert abs(noise.std() / localisation - 1) < 4 / math.sqrt(2 * rows.sum()) + 0.01
        assert abs(noise.mean()) < 4 * localisation / math.sqrt(rows.sum()) + 0.001


def test_no_localisation_noise_gives_the_box_itself():
    simulation, member = one(Skill(name="a", localisation=0, duplicates=0), Scenario(images=100, crowd=0))
    rows = firsts(member)
    assert np.abs(member.xywh[rows] - simulation.annotations.xywh[member.source[rows]]).max() < 0.011


@pytest.mark.parametrize(("clutter", "correlation"), [(0.0, 0.5), (3.0, 0.0), (10.0, 0.5), (12.0, 1.0)])
def test_clutter_per_image(clutter, correlation):
    _, member = one(Skill(name="a", clutter=clutter, correlation=correlation))
    assert abs((member.source < 0).sum() / 2000 - clutter) <= 4 * math.sqrt(clutter / 2000)


@pytest.mark.parametrize("duplicates", [0.0, 0.5])
def test_duplicates_per_found_object(duplicates):
    simulation, member = one(Skill(name="a", duplicates=duplicates))
    n = int(found(simulation, member).sum())
    assert abs(len(firsts(member)) / n - 1 - duplicates) <= 4 * math.sqrt(duplicates / n)


def test_confusion_is_between_neighbours():
    scenario = replace(SCENARIO, categories=5)
    simulation, member = one(Skill(name="a", confusion=0.2), scenario)
    rows = firsts(member)
    said, true = member.category_id[rows], simulation.annotations.category_id[member.source[rows]]
    assert close((said != true).mean(), 0.2, len(rows))
    assert set(zip(true[said != true].tolist(), said[said != true].tolist(), strict=True)) == {
        (1, 2), (2, 1), (3, 4), (4, 3), (5, 4)
    }  # fmt: skip


def test_one_category_cannot_be_confused():
    _, member = one(Skill(name="a", confusion=1.0), Scenario(images=50, categories=1))
    assert set(member.category_id.tolist()) == {1}


@pytest.mark.parametrize(("r1", "r2"), [(0.0, 0.0), (0.5, 0.5), (0.9, 0.4), (1.0, 1.0), (1.0, 0.0)])
def test_correlation_between_members(r1, r2):
    # two latents that are both below 0 with probability 1/4 + asin(correlation) / 2 pi
    skills = [
        Skill(name=name, recall=0.5, correlation=r, clutter=5, duplicates=0, localisation=0.05)
        for name, r in (("a", r1), ("b", r2))
    ]
    simulation = simulate(SCENARIO, skills, 4)
    first, second = simulation.members
    both = found(simulation, first) & found(simulation, second)
    expected = 0.25 + math.asin(math.sqrt(r1 * r2)) / (2 * math.pi)
    assert close(both.mean(), expected, len(both))
    # displacements
    truth = simulation.annotations.xywh
    shared = np.flatnonzero(both & (truth[:, 0] > 60) & (truth[:, 0] + truth[:, 2] < 580))
    columns = []
    for member in simulation.members:
        row = np.full(len(truth), -1)
        row[member.source[firsts(member)]] = firsts(member)
        box, own = member.xywh[row[shared]], truth[shared]
        columns.append((box[:, 0] + box[:, 2] / 2 - own[:, 0] - own[:, 2] / 2) / own[:, 2])
    assert abs(np.corrcoef(*columns)[0, 1] - math.sqrt(r1 * r2)) < 4 / math.sqrt(len(shared)) + 0.01


def test_shared_clutter_is_at_the_same_places():
    def rate(correlation: float) -> float:
        skills = [Skill(name=n, correlation=correlation, clutter=10, localisation=0) for n in "ab"]
        a, b = (
            {(i, *box) for i, box in zip(m.image_id[m.source < 0].tolist(), m.xywh[m.source < 0].tolist(), strict=True)}
            for m in simulate(replace(SCENARIO, distractors=10), skills, 8).members
        )
        return len(a & b) / len(a)

    assert rate(0.0) < 0.001
    # of a member's clutter the share r is at distractors, and the other is fooled by r of them
    assert abs(rate(0.5) - 0.25) < 0.02
    assert rate(1.0) == 1.0


def test_crowds_get_boxes_inside():
    scenario = Scenario(images=1500, crowd=1.0)
    simulation, member = one(Skill(name="a", recall=0.9), scenario)
    rows = firsts(member)
    truth, box = simulation.annotations.xywh[member.source[rows]], member.xywh[rows]
    n = len(simulation.annotations.area)
    assert simulation.annotations.crowd.all()
    assert abs(len(rows) / n - 2.7) < 4 * math.sqrt(2.7 / n)
    assert (box[:, :2] >= truth[:, :2] - 0.02).all()
    wide = truth[:, 2] > 20
    assert (box[wide, 0] + box[wide, 2] <= truth[wide, 0] + truth[wide, 2] + 0.02).all()
    assert (box[wide, 2] / truth[wide, 2]).min() > 0.195
    assert (box[wide, 2] / truth[wide, 2]).max() < 0.505


# ------------------------------------------------------------------------------------------------- scores


def test_distortions_are_the_stated_function_and_keep_the_ranking():
    plain = Skill(name="a")
    distorted = replace(plain, temperature=0.7, shift=1.5, low=-2.0, high=495.7)
    (_, before), (_, after) = one(plain), one(distorted)
    assert same(replace(before, score=before.log_odds), replace(after, score=after.log_odds))
    assert np.abs(before.score - 1 / (1 + np.exp(-before.log_odds))).max() < 1e-9
    assert np.abs(after.score - (-2 + 497.7 / (1 + np.exp(-before.log_odds / 0.7 - 1.5)))).max() < 1e-8
    order = np.argsort(before.log_odds)
    assert (np.diff(before.score[order]) >= 0).all()
    assert (np.diff(after.score[order]) >= 0).all()
    assert before.score.min() > 0
    assert before.score.max() <= 1


def test_undistorted_scores_are_close_to_probabilities():
    _, member = one(Skill(name="a", duplicates=0, confusion=0), replace(SCENARIO, images=4000))
    right = member.source >= 0
    edges = np.linspace(0, 1, 6)
    gaps = []
    for low, high in pairwise(edges):
        rows = (member.score >= low) & (member.score < high)
        gaps.append(abs(right[rows].mean() - member.score[rows].mean()))
    assert max(gaps) < 0.15
    _, other = one(replace(member.skill, shift=2.0), replace(SCENARIO, images=4000))
    assert other.score.mean() - right.mean() > 0.1


def test_evidence_has_the_stated_means():
    skill = Skill(name="a", separation=3.0, duplicates=0, confusion=0)
    _, member = one(skill)
    right = member.source >= 0
    prior = math.log(skill.recall * SCENARIO.objects / skill.clutter)
    z = (member.log_odds - prior) / 3 + 1.5
    assert abs(z[~right].mean()) < 4 / math.sqrt((~right).sum())
    assert abs(z[~right].std() - 1) < 0.03
    assert abs(z[right].mean() - 3) < 4 / math.sqrt(right.sum())
    assert 0.8 < z[right].std() < 1.2


def test_badly_placed_boxes_score_less():
    simulation, member = one(Skill(name="a", duplicates=0, localisation=0.1))
    rows = firsts(member)
    truth = simulation.annotations.xywh[member.source[rows]]
    off = np.abs(member.xywh[rows] - truth).sum(axis=1) / truth[:, 2:].sum(axis=1)
    assert np.corrcoef(off, member.log_odds[rows])[0, 1] < -0.15


# -------------------------------------------------------------------------------------------------- masks


def test_masks_decode_fill_their_boxes_and_follow_the_object():
    skill = Skill(name="a", localisation=0, mask_noise=0.0, duplicates=0)
    simulation, member = one(skill, Scenario(images=30, masks=True, crowd=0, width=320, height=240))
    truth = simulation.annotations
    for counts, box, area in zip(truth.mask, truth.xywh, truth.area, strict=True):
        mask = decoded(counts, 240, 320)
        assert mask.shape == (240, 320)
        assert mask.sum() == area
        assert area > 0
        assert 0.5 < area / (box[2] * box[3]) < 1.1
        assert np.abs(rle.toBbox({"size": [240, 320], "counts": counts}) - box).max() <= 1.5
    objects = [{"size": [240, 320], "counts": truth.mask[source]} for source in member.source[firsts(member)]]
    masks = [{"size": [240, 320], "counts": member.mask[row]} for row in firsts(member)]
    ious = [rle.iou([a], [b], [0])[0, 0] for a, b in zip(masks, objects, strict=True)]
    assert min(ious) > 0.85
    assert all(rle.area({"size": [240, 320], "counts": counts}) > 0 for counts in member.mask)


def test_mask_noise_lowers_overlap():
    def overlap(noise: float) -> float:
        skill = Skill(name="a", localisation=0, mask_noise=noise, duplicates=0)
        simulation, member = one(skill, Scenario(images=30, masks=True, crowd=0))
        pairs = [(member.mask[row], simulation.annotations.mask[member.source[row]]) for row in firsts(member)]
        size = [480, 640]
        return float(
            np.mean([rle.iou([{"size": size, "counts": a}], [{"size": size, "counts": b}], [0]) for a, b in pairs])
        )

    assert overlap(0.0) > 0.98 > overlap(0.05) > overlap(0.15)


# ----------------------------------------------------------------------------------------- files and edges


def test_written_files_are_what_the_arrays_say(tmp_path):
    simulation = simulate(Scenario(images=25, masks=True), demo_members(), 9)
    paths = simulation.write(tmp_path / "new" / "folder")
    assert [path.name for path in paths] == ["ground_truth.json", *(f"{s.name}.json" for s in demo_members())]
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == sorted(path.name for path in paths)
    assert json.loads(paths[0].read_bytes()) == simulation.ground_truth()
    for path, member in zip(paths[1:], simulation.members, strict=True):
        rows = json.loads(path.read_bytes())
        assert rows == member.results()
        assert [row["score"] for row in rows] == member.score.tolist()
        assert [row["bbox"] for row in rows] == member.xywh.tolist()


def test_tables_hold_the_same_columns():
    member = simulate(Scenario(images=25, masks=True), demo_members(), 9).members[1]
    table = member.table()
    assert table.metadata.member == "generalist"
    assert table.image_id.tolist() == member.image_id.tolist()
    assert table.score.tobytes() == member.score.tobytes()
    assert table.xywh.tobytes() == member.xywh.tobytes()
    assert table.mask[3].as_py() == {"height": 480, "width": 640, "counts": member.mask[3]}
    assert replace(member, mask=None).table().mask is None


@pytest.mark.parametrize("masks", [False, True])
@pytest.mark.parametrize("scenario", [Scenario(images=0), Scenario(images=1), Scenario(images=3, objects=0)])
def test_hardly_anything_there(scenario, masks, tmp_path):
    simulation = simulate(replace(scenario, masks=masks), demo_members())
    if scenario.images == 0 or scenario.objects == 0:
        assert simulation.ground_truth()["annotations"] == []
        assert all((member.source == -1).all() for member in simulation.members)
    assert len(simulation.ground_truth()["images"]) == scenario.images
    assert all(len(member.table()) == len(member.score) for member in simulation.members)
    assert len(simulation.write(tmp_path)) == 7


def test_nothing_found_and_nothing_to_find():
    simulation, member = one(Skill(name="a", clutter=0), Scenario(images=20, objects=0, distractors=0))
    assert len(member.score) == 0
    assert member.results() == []
    assert simulation.annotations.xywh.shape == (0, 4)
    assert member.xywh.shape == (0, 4)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Scenario(images=-1), "option images: expected a whole number of at least 0, got -1"),
        (lambda: Scenario(images=2.5), "option images"),
        (lambda: Scenario(categories=0), "option categories"),
        (lambda: Scenario(crowd=1.5), "option crowd"),
        (lambda: Scenario(objects=math.nan), "option objects"),
        (lambda: Scenario(width=4), "option width"),
        (lambda: Skill(name=""), "option name"),
        (lambda: Skill(name="a/b"), "option name"),
        (lambda: Skill(name="a", recall=0), "option recall"),
        (lambda: Skill(name="a", recall=1), "option recall"),
        (lambda: Skill(name="a", separation=-1), "option separation"),
        (lambda: Skill(name="a", localisation=2), "option localisation"),
        (lambda: Skill(name="a", correlation=-0.1), "option correlation"),
        (lambda: Skill(name="a", temperature=0), "option temperature"),
        (lambda: Skill(name="a", low=1, high=1), "option high: expected a number above low (1), got 1"),
        (lambda: Skill(name="a", category_skill={3: 99}), "option category_skill[3]"),
        (lambda: simulate(Scenario(), [], -1), "option seed"),
        (lambda: simulate(Scenario(), [Skill(name="a"), Skill(name="a")]), "member a: the name is taken"),
        (lambda: simulate(Scenario(), [Skill(name="ground_truth")]), "the name is taken"),
        (lambda: simulate(Scenario(categories=3), [Skill(name="a", category_skill={4: 1})]), "no category 4"),
        (lambda: simulate(Scenario(distractors=1), [Skill(name="a", clutter=9)]), "Raise the scenario's distractors"),
    ],
)
def test_bad_parameters_are_named(make, message):
    with pytest.raises(InputError, match=re.escape(message)):
        make()


def test_torch_is_not_needed():
    code = "import sys, zoo.synthetic.simulated; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_demo_members_differ_and_are_distorted():
    simulation = simulate(Scenario(), demo_members())
    assert len(simulation.members) == 6
    honest = [float(member.score.mean() - (member.source >= 0).mean()) for member in simulation.members]
    assert abs(honest[0]) < 0.1
    assert sum(abs(gap) > 0.1 for gap in honest) >= 3
    assert simulation.members[5].score.max() > 400
