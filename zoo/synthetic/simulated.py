"""Simulated members: ground truth and several detectors whose skills are known exactly.

For demonstrations, tests and benchmarks, where the truth about a member has to be known. Gains seen
here rank methods; they do not predict gains on real detectors.

**Scenes.** An image has Poisson(`objects`) objects. Category k (1 is the most common) has probability
proportional to k ** -`zipf`. Places are uniform; sides are 75 pixels * exp(N(0, 0.75) for the object + N(0, 0.3)
for the side), within 8 pixels and 0.9 of the image. A share `crowd` of the objects are crowd annotations
of 2.5 times the side, cut at the border. Every object has a difficulty g ~ N(0, 1), a displacement
e0 ~ N(0, 1)^4 and an outline (a circle with waves of two and three periods, coefficients
N(0, 0.08)^4, stretched to fill the box), which all members share. An image also has
Poisson(`distractors`) distractors: places that look like an object of some category, with a strength
g ~ N(0, 1), an e0 and an outline as well.

**Errors of one member**, with r its `correlation`:

- *Recall.* An object's latent is u = sqrt(r) g + sqrt(1 - r) N(0, 1). It is found when u < t, with t the
  normal quantile of `recall` plus the category's entry in `category_skill`: exactly the
  share `recall` where that is 0. Latents of two members correlate by sqrt(r1 r2).
- *Sizes.* With a `best_side`, recall's t and the scores' s are lower by `size_slope` * max(0, |log2(side /
  `best_side`)| - 1), with the square root of the box's area as its side. So views of one member at several scales are
  members with one `correlation` near 1 and different `best_side`; where that is not 0, recall is not exact.
- *Localisation.* With e = sqrt(r) e0 + sqrt(1 - r) N(0, 1)^4 the center moves by `localisation` * (e1 w, e2 h)
  and the sides are multiplied by exp(`localisation` * (e3, e4)). Boxes are then cut at the image's
  border, kept at least 2 pixels wide and high and rounded to 0.01 pixels.
- *Duplicates.* A found object gets Poisson(`duplicates`) boxes more, with N(0, 1)^4 added to e.
- *Confusion.* With probability `confusion` a box of an object carries the category of similar
  frequency instead (1 and 2 are taken for each other, 3 and 4, ...); its source is still the object.
- *Clutter.* A distractor is reported with probability r * `clutter` / `distractors`, moved as objects
  are; Poisson((1 - r) `clutter`) boxes more are the member's own. In all `clutter` per image.
- *Crowds.* Poisson(3 `recall`) boxes of 0.2 to 0.5 of the side, uniform inside; no duplicates.
- *Masks.* A box carries the object's outline with N(0, `mask_noise`) added to its four coefficients.

**Scores.** The evidence z of a found object is s + E[u | u < t] - u + (1 - mean(e^2)) / 2 + N(0, 0.3), where s is
`separation` plus the category's entry in `category_skill` (at least 0.1): hard or badly placed objects score
less. A duplicate's and a confused box's evidence is 1 less, a crowd's N(s, 1). A clutter box's is N(0, 1), for
distractors sqrt(r) g + sqrt(1 - r) N(0, 1). The log odds are L = s (z - s / 2) + log(right / wrong),
with the expected numbers of right and wrong boxes, as if evidence were normal with unit variance.
The score is `low` + (`high` - `low`) * sigmoid(L / `temperature` + `shift`), rounded to 12 decimals.
With temperature 1, shift 0, low 0 and high 1 it is close to a probability and members can be pooled
as they are. Any other setting is a monotone distortion: it leaves the member's own ranking, hence
its AP, as it was (but for scores that rounding makes equal), and spoils the comparison with other members.

**Seeds.** Images come in blocks of 256, and each (seed, block) and each (seed, block, member name) has its own
PCG64 stream. So the first N images do not depend on how many are asked for, nor a member on
which others are there, nor anything but the masks on `masks`. Another version of NumPy may draw other numbers.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from pycocotools import mask as rle

from fusion.atomic import replacing
from fusion.checks import at_least
from fusion.errors import InputError
from fusion.table import DetectionTable, Metadata
from fusion.table_columns import MASK_TYPE
from zoo.synthetic.scenes import BLOCK, Scene, cut, draw_boxes, draw_masks, draw_scene
from zoo.synthetic.skills import Scenario, Skill, demo_members

__all__ = ["Annotations", "Scenario", "SimulatedDetections", "Simulation", "Skill", "demo_members", "simulate"]


@dataclass(frozen=True, slots=True)
class Annotations:
    """Ground truth in columns, sorted by image; annotation i has the COCO id i + 1.

    Attributes:
        image_id: int64 [n].
        category_id: int32 [n].
        xywh: float64 [n, 4], pixels.
        area: float64 [n]: of the mask if there are masks, else of the box.
        crowd: bool [n].
        mask: n compressed COCO RLE `counts`, or None.
    """

    image_id: np.ndarray
    category_id: np.ndarray
    xywh: np.ndarray
    area: np.ndarray
    crowd: np.ndarray
    mask: list[bytes] | None


@dataclass(frozen=True, slots=True)
class SimulatedDetections:
    """What one member found, in columns, sorted by image, then by falling score.

    Attributes:
        skill: The member.
        size: (height, width) of the images.
        image_id: int64 [n].
        category_id: int32 [n].
        score: float64 [n].
        xywh: float64 [n, 4], pixels.
        mask: n compressed COCO RLE `counts`, or None.
        source: int64 [n], row of the annotation that the box comes from, -1 for clutter.
        log_odds: float64 [n], what the member would say without distortion.
    """

    skill: Skill
    size: tuple[int, int]
    image_id: np.ndarray
    category_id: np.ndarray
    score: np.ndarray
    xywh: np.ndarray
    mask: list[bytes] | None
    source: np.ndarray
    log_odds: np.ndarray

    def results(self) -> list[dict[str, Any]]:
        """Return the detections in COCO's results form."""
        columns = zip(
            self.image_id.tolist(), self.category_id.tolist(), self.xywh.tolist(), self.score.tolist(), strict=True
        )
        rows: list[dict[str, Any]] = [
            {"image_id": image, "category_id": category, "bbox": box, "score": score}
            for image, category, box, score in columns
        ]
        for row, counts in zip(rows, self.mask or (), strict=False):
            row["segmentation"] = {"size": list(self.size), "counts": counts.decode()}
        return rows

    def table(self) -> DetectionTable:
        """Return the detections as a detection table."""
        mask = None
        if self.mask is not None:
            height, width = (pa.array(np.full(len(self.mask), side, np.int32)) for side in self.size)
            mask = pa.StructArray.from_arrays(
                [height, width, pa.array(self.mask, pa.large_binary())], fields=list(MASK_TYPE)
            )
        return DetectionTable.from_arrays(
            image_id=self.image_id,
            category_id=self.category_id,
            score=self.score,
            xywh=self.xywh,
            mask=mask,
            metadata=Metadata(dataset="simulated", member=self.skill.name),
        )


@dataclass(frozen=True, slots=True)
class Simulation:
    """A simulated data set and its members.

    Attributes:
        scenario: What was asked for.
        annotations: The ground truth.
        members: The members' detections, in the order of the skills.
    """

    scenario: Scenario
    annotations: Annotations
    members: tuple[SimulatedDetections, ...]

    def ground_truth(self) -> dict[str, Any]:
        """Return the ground truth in COCO's form."""
        wide, high, truth = self.scenario.width, self.scenario.height, self.annotations
        columns = (truth.image_id, truth.category_id, truth.xywh, truth.area, truth.crowd.astype(int))
        annotations: list[dict[str, Any]] = [
            {"id": row, "image_id": image, "category_id": category, "bbox": box, "area": area, "iscrowd": crowd}
            for row, (image, category, box, area, crowd) in enumerate(
                zip(*(column.tolist() for column in columns), strict=True), start=1
            )
        ]
        for annotation, counts in zip(annotations, truth.mask or (), strict=False):
            annotation["segmentation"] = {"size": [high, wide], "counts": counts.decode()}
        return {
            "info": {"description": "simulated"},
            "images": [
                {"id": image, "width": wide, "height": high, "file_name": f"{image:06d}.jpg"}
                for image in range(1, self.scenario.images + 1)
            ],
            "categories": [
                {"id": category, "name": f"category-{category:03d}", "supercategory": "simulated"}
                for category in range(1, self.scenario.categories + 1)
            ],
            "annotations": annotations,
        }

    def write(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Write ground_truth.json and <member>.json in COCO's forms; each file is complete or absent.

        Args:
            folder: Where to write; made if need be.

        Returns:
            The files, ground truth first.

        Raises:
            InputError: If a file cannot be written.
        """
        contents = [("ground_truth", self.ground_truth), *((m.skill.name, m.results) for m in self.members)]
        paths = []
        for name, content in contents:
            path = Path(folder) / f"{name}.json"
            with replacing(path) as temporary:
                temporary.write_bytes(msgspec.json.encode(content()))
            paths.append(path)
        return paths


def simulate(scenario: Scenario, skills: Sequence[Skill], seed: int = 0) -> Simulation:
    """Simulate a data set and what members with the given skills find in it.

    Args:
        scenario: The data set.
        skills: The members; names must differ.
        seed: Everything follows from it, the scenario and the skills.

    Returns:
        Ground truth and detections.

    Raises:
        InputError: If the seed is negative, two members have one name, a skill names a category that
            is not there, or a member's shared clutter exceeds the scenario's distractors.
    """
    at_least("seed", seed, 0, whole=True)
    for skill in skills:
        _check_fits(scenario, skill, [other.name for other in skills])
    # one block at least, so that an empty data set has columns of the right shapes
    scenes = [draw_scene(scenario, seed, block) for block in range(max(-(-scenario.images // BLOCK), 1))]
    return Simulation(
        scenario, _annotations(scenario, scenes), tuple(_detections(scenario, skill, scenes, seed) for skill in skills)
    )


def _check_fits(scenario: Scenario, skill: Skill, names: list[str]) -> None:
    where = f"member {skill.name}"
    if names.count(skill.name) > 1 or skill.name == "ground_truth":
        raise InputError(where, "the name is taken", "Give every member a name of its own")
    unknown = [category for category in skill.category_skill if category not in range(1, scenario.categories + 1)]
    if unknown:
        raise InputError(where, f"option category_skill: there is no category {unknown[0]!r}", "Ids start at 1")
    shared = skill.correlation * skill.clutter
    if shared > scenario.distractors:
        problem = f"correlation * clutter is {shared:g} where the scenario has {scenario.distractors:g} distractors"
        raise InputError(where, problem, "Raise the scenario's distractors or lower the member's clutter")


def _annotations(scenario: Scenario, scenes: Sequence[Scene]) -> Annotations:
    image = np.concatenate([scene.objects.image + block * BLOCK for block, scene in enumerate(scenes)])
    last = int(np.searchsorted(image, scenario.images))
    box, outline, category = (
        np.concatenate([getattr(scene.objects, name) for scene in scenes])[:last]
        for name in ("box", "outline", "category")
    )
    crowd = np.concatenate([scene.crowd for scene in scenes])[:last]
    xywh = cut(box, scenario)
    area, mask = xywh[:, 2] * xywh[:, 3], None
    if scenario.masks:
        mask = draw_masks(xywh, outline, scenario)
        size = [scenario.height, scenario.width]
        area = np.array([rle.area({"size": size, "counts": counts}) for counts in mask], np.float64)
    return Annotations(image[:last] + 1, (category + 1).astype(np.int32), xywh, area, crowd, mask)


def _detections(scenario: Scenario, skill: Skill, scenes: Sequence[Scene], seed: int) -> SimulatedDetections:
    columns = []
    row = 0  # of the annotations, where the block's objects start
    for block, scene in enumerate(scenes):
        boxes, log_odds = draw_boxes(scenario, skill, scene, seed, block)
        source = np.where(boxes.source >= 0, boxes.source + row, -1)
        columns.append((boxes.image + block * BLOCK, boxes.category, boxes.box, boxes.outline, log_odds, source))
        row += len(scene.crowd)
    image, category, box, outline, log_odds, source = (np.concatenate(column) for column in zip(*columns, strict=True))
    order = np.lexsort((-log_odds, image))
    order = order[: int(np.searchsorted(image[order], scenario.images))]
    xywh = cut(box[order], scenario)
    sigmoid = 1 / (1 + np.exp(-np.clip(log_odds[order] / skill.temperature + skill.shift, -700, 700)))
    return SimulatedDetections(
        skill,
        (scenario.height, scenario.width),
        image[order] + 1,
        (category[order] + 1).astype(np.int32),
        np.round(skill.low + (skill.high - skill.low) * sigmoid, 12),
        xywh,
        draw_masks(xywh, outline[order], scenario) if scenario.masks else None,
        source[order],
        log_odds[order],
    )
