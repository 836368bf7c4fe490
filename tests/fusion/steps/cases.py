"""Every method of `fusion/steps` with the least it must be given."""

from dataclasses import MISSING, fields

import numpy as np

from fusion.box_corrections import BoxCorrection
from fusion.kernels.context import COMMON, PER_MEMBER
from fusion.relations import Relations
from fusion.score_maps import ScoreMap
from fusion.score_models import Linear, ScoreModel
from fusion.steps import step_class, step_names
from tests.fusion.relation_cases import relations_of

STEPS = {name: step_class(name) for name in step_names()}
# by the name of a parameter that must be given: for members a and b, and categories 2, 5 and 9
GIVEN = {
    "categories": {"b": [5]},
    "corrections": {"a": BoxCorrection(), "b": BoxCorrection(side=[[-0.1], [0.0], [0.05], [0.2]])},
    "offsets": {"a": [0, 0, 60, 50], "b": [4, 2, 60, 50]},
    "maps": {name: ScoreMap(kind="linear", score=[0.0, 1.0], value=[0.1, 0.9]) for name in "ab"},
    "parents": {2: [9], 5: [9], 9: []},
    "views": [["a", "b"]],
    "weights": {"a": 1.0, "b": 0.5},
}


def model_of(members):
    """A model of scores for some members."""
    count = PER_MEMBER * len(members) + COMMON
    linear = Linear(np.linspace(-1, 1, count), np.zeros(count), 0.1)
    return ScoreModel(members=tuple(members), linear=linear, prior={2: 0.3, 5: 0.6})


def needed(name, voters="b"):
    """What must be given to a step, by parameter; `voters` are the members of a method's other tables."""
    given = GIVEN | {"model": model_of(voters)}
    must = [one for one in fields(STEPS[name]) if one.default is one.default_factory is MISSING]
    return {one.name: relations_of(0) if one.type is Relations else given[one.name] for one in must}
