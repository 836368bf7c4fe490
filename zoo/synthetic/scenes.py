"""How simulated scenes and a member's boxes in them are drawn, a block of images at a time."""

import math
import zlib
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from pycocotools import mask as rle

from zoo.synthetic.skills import Scenario, Skill

__all__ = ["BLOCK", "FoundBoxes", "Scene", "cut", "draw_boxes", "draw_masks", "draw_scene"]

BLOCK = 256  # images that share a stream of random numbers
_CORNERS = 24  # of an outline
_NORMAL = NormalDist()


class Things(NamedTuple):
    """Objects or distractors of a block of images; all arrays have one row per thing."""

    image: np.ndarray  # int64, index in the block
    category: np.ndarray  # int64, index
    box: np.ndarray  # [n, 4]: center x, center y, width, height
    difficulty: np.ndarray  # g; strength for a distractor
    shift: np.ndarray  # [n, 4]: e0
    outline: np.ndarray  # [n, 4]


class FoundBoxes(NamedTuple):
    """Boxes of one member in a block of images; all arrays have one row per box."""

    image: np.ndarray  # int64, index in the block
    category: np.ndarray  # int64, index: what the member says
    box: np.ndarray  # [n, 4]: center x, center y, width, height
    outline: np.ndarray  # [n, 4]
    separation: np.ndarray  # s of the true category
    evidence: np.ndarray  # z
    source: np.ndarray  # int64, object in the block, or -1


class Scene(NamedTuple):
    """What there is to see in a block of images."""

    objects: Things
    crowd: np.ndarray  # bool, one per object
    distractors: Things


def _stream(seed: int, block: int, name: str) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, block, zlib.crc32(name.encode())))))


def _things(rng: np.random.Generator, scenario: Scenario, image: np.ndarray) -> Things:
    """One thing for each entry of `image`."""
    n = len(image)
    weight = np.arange(1, scenario.categories + 1) ** -float(scenario.zipf)
    category = np.searchsorted(np.cumsum(weight)[:-1] / weight.sum(), rng.random(n), side="right")
    canvas = np.array([scenario.width, scenario.height])
    side = np.exp(math.log(75) + rng.normal(0, 0.75, (n, 1)) + rng.normal(0, 0.3, (n, 2)))
    side = np.clip(side, 8, 0.9 * canvas)
    center = side / 2 + rng.random((n, 2)) * (canvas - side)
    outline = rng.normal(0, 0.08, (n, 4))
    return Things(image, category, np.hstack((center, side)), rng.normal(0, 1, n), rng.normal(0, 1, (n, 4)), outline)


def draw_scene(scenario: Scenario, seed: int, block: int) -> Scene:
    """Draw a block of `BLOCK` images, also where the scenario ends inside it."""
    rng = _stream(seed, block, "scene")
    images = np.arange(BLOCK)
    objects = _things(rng, scenario, np.repeat(images, rng.poisson(scenario.objects, BLOCK)))
    crowd = rng.random(len(objects.image)) < scenario.crowd
    objects.box[crowd] = _to_center(cut(objects.box[crowd] * [1, 1, 2.5, 2.5], scenario))
    distractors = _things(rng, scenario, np.repeat(images, rng.poisson(scenario.distractors, BLOCK)))
    return Scene(objects, crowd, distractors)


def draw_boxes(scenario: Scenario, skill: Skill, scene: Scene, seed: int, block: int) -> tuple[FoundBoxes, np.ndarray]:
    """Draw what a member finds in a block, and its log odds [n] of being right."""
    rng = _stream(seed, block, "member " + skill.name)
    bonus = np.array([skill.category_skill.get(c, 0.0) for c in range(1, scenario.categories + 1)])
    separation = skill.separation + bonus
    parts = (
        _found(rng, scenario, skill, scene, _NORMAL.inv_cdf(skill.recall) + bonus, separation),
        _crowds(rng, skill, scene, separation),
        _clutter(rng, scenario, skill, scene.distractors, separation),
    )
    boxes = FoundBoxes(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
    return boxes, boxes.separation * (boxes.evidence - boxes.separation / 2) + _prior(scenario, skill)


def _found(
    rng: np.random.Generator,
    scenario: Scenario,
    skill: Skill,
    scene: Scene,
    threshold: np.ndarray,
    separation: np.ndarray,
) -> FoundBoxes:
    """Boxes of objects that are not crowds: recall, duplicates, confusion, localisation, evidence."""
    objects = scene.objects
    shared, own = math.sqrt(skill.correlation), math.sqrt(1 - skill.correlation)
    latent = shared * objects.difficulty + own * rng.normal(0, 1, len(objects.image))
    noise = shared * objects.shift + own * rng.normal(0, 1, objects.shift.shape)
    limit = threshold[objects.category] - _loss(skill, objects.box)
    found = np.flatnonzero((latent < limit) & ~scene.crowd)
    copies = 1 + rng.poisson(skill.duplicates, len(found))
    source = np.repeat(found, copies)
    extra = np.arange(len(source)) - np.repeat(np.cumsum(copies) - copies, copies) > 0
    e = noise[source] + extra[:, None] * rng.normal(0, 1, (len(source), 4))
    kind = objects.category[source]
    wrong = (rng.random(len(source)) < skill.confusion) & (scenario.categories > 1)
    twin = np.where(kind % 2 == 0, np.where(kind + 1 < scenario.categories, kind + 1, kind - 1), kind - 1)
    means = {t: -_NORMAL.pdf(t) / _NORMAL.cdf(t) for t in set(limit[found].tolist())}  # of u below t
    mean = np.array([means[t] for t in limit[source].tolist()])
    s = _strength(skill, separation[kind], objects.box[source])
    evidence = s + mean - latent[source] + (1 - (e**2).mean(axis=1)) / 2
    evidence += rng.normal(0, 0.3, len(source)) - extra - wrong
    return FoundBoxes(
        objects.image[source],
        np.where(wrong, twin, kind),
        _moved(objects.box[source], e * skill.localisation),
        objects.outline[source] + rng.normal(0, skill.mask_noise, (len(source), 4)),
        s,
        evidence,
        source,
    )


def _crowds(rng: np.random.Generator, skill: Skill, scene: Scene, separation: np.ndarray) -> FoundBoxes:
    """Boxes inside crowd annotations."""
    objects, crowd = scene.objects, np.flatnonzero(scene.crowd)
    source = np.repeat(crowd, rng.poisson(3 * skill.recall, len(crowd)))
    n, kind = len(source), objects.category[source]
    center, side = objects.box[source, :2], objects.box[source, 2:]
    small = side * rng.uniform(0.2, 0.5, (n, 2))
    s = _strength(skill, separation[kind], np.hstack((center, small)))
    return FoundBoxes(
        objects.image[source],
        kind,
        np.hstack((center + (rng.random((n, 2)) - 0.5) * (side - small), small)),
        rng.normal(0, 0.08, (n, 4)),
        s,
        rng.normal(s, 1),
        source,
    )


def _clutter(
    rng: np.random.Generator, scenario: Scenario, skill: Skill, distractors: Things, separation: np.ndarray
) -> FoundBoxes:
    """Boxes of no object: distractors that fool this member, and its own inventions."""
    shared, own = math.sqrt(skill.correlation), math.sqrt(1 - skill.correlation)
    chance = skill.correlation * skill.clutter / max(scenario.distractors, 1e-9)
    fooled = np.flatnonzero(rng.random(len(distractors.image)) < chance)
    e = shared * distractors.shift[fooled] + own * rng.normal(0, 1, (len(fooled), 4))
    strength = shared * distractors.difficulty[fooled] + own * rng.normal(0, 1, len(fooled))
    outline = distractors.outline[fooled] + rng.normal(0, skill.mask_noise, (len(fooled), 4))
    rate = (1 - skill.correlation) * skill.clutter
    things = _things(rng, scenario, np.repeat(np.arange(BLOCK), rng.poisson(rate, BLOCK)))
    kind = np.concatenate((distractors.category[fooled], things.category))
    return FoundBoxes(
        np.concatenate((distractors.image[fooled], things.image)),
        kind,
        np.concatenate((_moved(distractors.box[fooled], e * skill.localisation), things.box)),
        np.concatenate((outline, things.outline)),
        _strength(skill, separation[kind], np.concatenate((distractors.box[fooled], things.box))),
        np.concatenate((strength, things.difficulty)),
        np.full(len(kind), -1),
    )


def _loss(skill: Skill, box: np.ndarray) -> np.ndarray:
    """Return by how much a member is worse at boxes of these sizes, [n]."""
    if skill.best_side == 0:
        return np.zeros(len(box))
    doublings = np.abs(np.log2(np.sqrt(box[:, 2] * box[:, 3]) / skill.best_side))
    return np.asarray(skill.size_slope * np.maximum(doublings - 1, 0))


def _strength(skill: Skill, separation: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Return the separation s of right and wrong boxes of these sizes, [n]."""
    return np.asarray(np.maximum(separation - _loss(skill, box), 0.1))


def _prior(scenario: Scenario, skill: Skill) -> float:
    """Log of the expected right over the expected wrong boxes, each at least 0.01 per image."""
    found = skill.recall * scenario.objects
    right = found * (1 - skill.confusion)
    wrong = found * (skill.confusion + skill.duplicates) + skill.clutter
    return math.log(max(right, 0.01) / max(wrong, 0.01))


def _moved(box: np.ndarray, by: np.ndarray) -> np.ndarray:
    return np.hstack((box[:, :2] + by[:, :2] * box[:, 2:], box[:, 2:] * np.exp(by[:, 2:])))


def cut(box: np.ndarray, scenario: Scenario) -> np.ndarray:
    """Center boxes to xywh inside the image, at least 2 pixels wide and high, in 0.01 pixels."""
    canvas = np.array([scenario.width, scenario.height])
    low = np.round(np.clip(box[:, :2] - box[:, 2:] / 2, 0, canvas - 2), 2)
    high = np.round(np.clip(box[:, :2] + box[:, 2:] / 2, low + 2, canvas), 2)
    return np.hstack((low, np.round(high - low, 2)))


def _to_center(xywh: np.ndarray) -> np.ndarray:
    return np.hstack((xywh[:, :2] + xywh[:, 2:] / 2, xywh[:, 2:]))


def draw_masks(xywh: np.ndarray, outline: np.ndarray, scenario: Scenario) -> list[bytes]:
    """Masks that fill their boxes: circles whose radius has waves of two and three periods."""
    angle = np.arange(_CORNERS) * (2 * np.pi / _CORNERS)
    waves = np.stack([f(k * angle) for k in (2, 3) for f in (np.cos, np.sin)])
    radius = np.maximum(1 + outline @ waves, 0.2)[:, :, None]
    points = radius * np.stack((np.cos(angle), np.sin(angle)), axis=1)
    low, high = points.min(axis=1, keepdims=True), points.max(axis=1, keepdims=True)
    points = xywh[:, None, :2] + (points - low) / (high - low) * xywh[:, None, 2:]
    polygons = np.round(points.reshape(len(xywh), 2 * _CORNERS), 2).tolist()
    encoded = rle.frPyObjects(polygons, scenario.height, scenario.width) if polygons else []
    return [one["counts"] for one in encoded]
