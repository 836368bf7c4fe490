"""Every method of `fusion/steps` with the least it must be given."""

from dataclasses import MISSING, fields

from fusion.relations import Relations
from fusion.score_maps import ScoreMap
from fusion.steps import step_class, step_names
from tests.fusion.relation_cases import relations_of

STEPS = {name: step_class(name) for name in step_names()}
# by the name of a parameter that must be given: for members a and b, and categories 2, 5 and 9
GIVEN = {
    "categories": {"b": [5]},
    "maps": {name: ScoreMap(kind="linear", score=[0.0, 1.0], value=[0.1, 0.9]) for name in "ab"},
    "parents": {2: [9], 5: [9], 9: []},
    "views": [["a", "b"]],
    "weights": {"a": 1.0, "b": 0.5},
}


def needed(name):
    """What must be given to a step, by parameter."""
    must = [one for one in fields(STEPS[name]) if one.default is one.default_factory is MISSING]
    return {one.name: relations_of(0) if one.type is Relations else GIVEN[one.name] for one in must}
