"""The simulated members that the search is measured with: families whose errors correlate, distorted scores.

A family is one simulated detector (its architecture, say); its members are trainings of it: each keeps most of the
family's boxes, moved and rescored a little, and has clutter of its own. Families share the hard objects and the
distractors of the scene, and differ in the categories they are good at. No two members' scores compare.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from evaluation import GroundTruth
from fusion.table import DetectionTable, Metadata
from zoo.synthetic.scenes import cut
from zoo.synthetic.simulated import Annotations, SimulatedDetections, simulate
from zoo.synthetic.skills import Scenario, Skill

__all__ = ["make_zoo"]

# recall, separation, localisation, temperature, shift and largest score of each family, in turn
_FAMILIES = (
    (0.84, 2.6, 0.060, 1.0, 0.0, 1.0),
    (0.80, 2.4, 0.050, 0.5, 1.0, 1.0),
    (0.88, 2.2, 0.085, 2.0, -1.0, 1.0),
    (0.76, 2.3, 0.070, 1.5, 2.0, 0.6),
)
_PER_FAMILY = 3


def make_zoo(
    seed: int, members: int = 12, images: int = 5000, categories: int = 80, detections: float = 100.0
) -> tuple[GroundTruth, list[DetectionTable]]:
    """Simulate ground truth and members.

    Args:
        seed: Everything follows from it and the sizes.
        members: Three of each family.
        images: Number of images.
        categories: Number of categories, of Zipf frequencies.
        detections: Mean number per image and member.

    Returns:
        Ground truth, and a table per member.
    """
    scenario = Scenario(images=images, categories=categories, objects=7.3, distractors=60.0, zipf=0.7)
    families = -(-members // _PER_FAMILY)
    rng = np.random.default_rng((seed, 1))
    skills = []
    for number in range(families):
        recall, separation, localisation, temperature, shift, high = _FAMILIES[number % len(_FAMILIES)]
        own = np.round(rng.normal(0, 0.35, categories), 3)
        skills.append(
            Skill(
                name=f"family{number}",
                recall=recall,
                separation=separation,
                localisation=localisation,
                clutter=max(0.75 * detections - 8, 1),
                correlation=0.6,
                temperature=temperature,
                shift=shift,
                high=high,
                category_skill={category + 1: float(skill) for category, skill in enumerate(own)},
            )
        )
    simulation = simulate(scenario, skills, seed)
    tables = []
    for number in range(members):
        family, place = divmod(number, _PER_FAMILY)
        stream = np.random.default_rng((seed, 2, number))
        tables.append(
            _training(simulation.members[family], scenario, f"net{family}-{place}", place, detections, stream)
        )
    return _truth(scenario, simulation.annotations), tables


def _training(
    base: SimulatedDetections, scenario: Scenario, name: str, place: int, detections: float, rng: np.random.Generator
) -> DetectionTable:
    """One training of a family: later ones are a little worse."""
    kept = np.flatnonzero(rng.random(len(base.score)) < 0.93 - 0.04 * place)
    spread = (0.025 + 0.012 * place) * np.tile(base.xywh[kept, 2:], 2)
    boxes = base.xywh[kept] + rng.normal(0, 1, (len(kept), 4)) * spread
    odds = base.log_odds[kept] + rng.normal(0, 0.6 + 0.2 * place, len(kept))
    extra = rng.poisson(max(detections - len(kept) / scenario.images, 0) * scenario.images)
    side = 75 * np.exp(rng.normal(0, 0.75, (extra, 2)))
    corner = rng.random((extra, 2)) * np.array([scenario.width, scenario.height]) - side / 2
    frequency = np.bincount(base.category_id, minlength=scenario.categories + 1)[1:] + 1.0
    image = np.concatenate([base.image_id[kept], rng.integers(1, scenario.images + 1, extra)])
    category = rng.choice(scenario.categories, extra, p=frequency / frequency.sum()) + 1
    low = odds[base.source[kept] < 0]
    odds = np.concatenate([odds, rng.choice(low, extra) if len(low) else np.full(extra, -3.0)])
    xywh = np.vstack([boxes, np.hstack([corner, side])])
    sides = np.maximum(xywh[:, 2:], 2.0)
    centered = np.hstack([xywh[:, :2] + sides / 2, sides])
    skill = replace(base.skill, temperature=base.skill.temperature * (1 + 0.3 * place), shift=base.skill.shift - place)
    score = skill.low + (skill.high - skill.low) / (1 + np.exp(-(odds / skill.temperature + skill.shift)))
    order = np.lexsort((-score, image))
    return DetectionTable.from_arrays(
        image_id=image[order],
        category_id=np.concatenate([base.category_id[kept], category]).astype(np.int32)[order],
        score=np.round(score, 12)[order],
        xywh=cut(centered, scenario)[order],
        metadata=Metadata(dataset="simulated", member=name),
    )


def _truth(scenario: Scenario, annotations: Annotations) -> GroundTruth:
    return GroundTruth.from_arrays(
        image_id=np.arange(1, scenario.images + 1),
        category_id=np.arange(1, scenario.categories + 1),
        annotation_image_id=annotations.image_id,
        annotation_category_id=annotations.category_id,
        xywh=annotations.xywh,
        area=annotations.area,
        crowd=annotations.crowd,
    )
