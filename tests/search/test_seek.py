"""A search as a whole: the first candidate is there before trials are, and stays in the list."""

import numpy as np
import pytest

from evaluation.protocol import Coco
from evaluation.score_models import learn_scores
from fusion.errors import InputError
from fusion.recipe_toml import parse_recipe
from fusion.table import DetectionTable
from search.answer import FIRST
from search.device import fusers_of
from search.engine import Engine
from search.problem import pose
from search.report import report_text
from search.seek import seek
from search.study import Settings
from tests.search.members import drawn_too_small, make_members, make_truth

pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_constants':DeprecationWarning")


def with_specks(tables):
    """The same members, and all see small things where there are none: learned scores tell these by their size."""
    rng, more = np.random.default_rng(8), 60
    image, category = rng.integers(1, 61, more), rng.integers(1, 6, more)
    specks = np.hstack([rng.uniform(0, 80, (more, 2)), np.full((more, 2), 4.0)])
    return [
        DetectionTable.from_arrays(
            image_id=np.concatenate([table.image_id, image]),
            category_id=np.concatenate([table.category_id, category]),
            score=np.concatenate([table.score, rng.random(more)]),
            xywh=np.concatenate([table.xywh, specks]),
            metadata=table.metadata,
        )
        for table in tables
    ]


TRUTH = make_truth(11, images=60, categories=5, objects=350)
TABLES = with_specks(drawn_too_small(make_members(11, 3, TRUTH)))
SPLITS = {name: TRUTH.image_id[number::2] for number, name in enumerate(("search", "verify"))}


@pytest.fixture(scope="module")
def problem():
    return pose(TABLES, TRUTH, SPLITS, Coco(), treatment="corrected, calibrated and weighted by side")


def sought(problem, *, budget=30, **more):
    return seek(problem, Settings(budget=budget), memory=1 / 64, **more)


def test_the_first_candidate_is_known_shown_and_kept_before_trials(problem):
    events, recipes = [], []
    study, answer = sought(
        problem,
        chosen=lambda recipe: (recipes.append(recipe), events.append("kept")),
        said=events.append,
        progress=lambda what, *_: events.append(what.partition(":")[0]),
    )
    told = next(number for number, what in enumerate(events) if what.startswith("first candidate: "))
    assert events.index("kept") < told < events.index("greedy")
    assert events.index("naive") < told
    first = answer.stacks[0]
    assert study.naive.genome in [one.genome for one in answer.stacks]
    assert max(one.result.AP for one in answer.stacks[:2]) == first.result.AP
    assert recipes[0].to_toml() == problem.recipe(first.genome, first.model).to_toml()
    assert f"has AP {100 * first.result.AP:.2f} on parts held back" in events[told]
    # no image's boxes were scored by what was learned on it
    boxes = problem.fused(first.genome)
    scored = learn_scores(boxes, problem.preparation.tables, problem.search.prepared, groups=problem.fold)
    assert first.boxes.score.tobytes() == scored.held_back.tobytes()
    assert pytest.approx(scored.AP[scored.model.kind], abs=1e-12) == first.result.AP
    assert f"{100 * first.result.AP:.2f}" in report_text(answer, study).partition("## Learned scores")[2]


def test_ctrl_c_in_the_first_trial_answers_with_the_first_candidate(problem):
    recipes = []

    def interrupt(what, *_):
        if what.startswith("greedy"):
            raise KeyboardInterrupt

    study, answer = sought(problem, chosen=recipes.append, progress=interrupt)
    assert study.stopped == "it was interrupted"
    assert {trial.phase for trial in study.trials} == {"members", "naive", "greedy"}
    assert answer.stack is not None
    assert answer.recipe.to_toml() == recipes[-1].to_toml()
    assert answer.stacks[0].result.AP <= answer.stack.result.AP


def test_a_budget_of_seconds_that_is_over_has_it_too(problem):
    study, answer = sought(problem, stop=lambda: "the time is over")
    assert study.stopped == "the time is over"
    assert {trial.phase for trial in study.trials} == {"members", "naive", "greedy"}
    assert answer.stack is not None


def test_another_answer_is_compared_with_it(problem, monkeypatch):
    """Where the answer is another, the first candidate is a rival, by its own model on every split."""
    monkeypatch.setattr("search.answer.best_stack", lambda *_: None)
    _, answer = sought(problem)
    assert answer.stack is None
    first = answer.stacks[0]
    for side in (problem.search, *problem.others):
        rival = next(one for one in answer.rivals[side.name] if one.name == FIRST)
        if side is problem.search:
            assert rival.replicates.observed["AP"] == first.result.AP
        else:
            fused = problem.recipe(first.genome, first.model).fuse(TABLES).select_images(side.truth.image_id)
            assert rival.replicates.observed["AP"] == pytest.approx(side.prepared.evaluate(fused).AP, abs=1e-12)


def test_nothing_is_learned_where_nothing_may_be(problem):
    _, answer = sought(problem, budget=15, scores=False)
    assert (answer.stacks, answer.stack) == ((), None)


def test_the_recipe_is_what_was_measured_to_the_last_bit(problem):
    """Weights of sides and all: by trees and by recipes on each fold; and by the answer's recipe read again."""
    study, answer = sought(problem, budget=40)
    assert problem.sides is not None
    engine = Engine(fusers_of(problem), memory=0)
    for trial in study.measured[:10]:
        figures = problem.search.prepared.evaluate(problem.fused(trial.genome)).average_precision_per_category
        np.testing.assert_array_equal(figures, trial.outcome.per_category)
        np.testing.assert_array_equal(figures, engine.evaluate(trial.genome).per_category)
    one, other = (recipe.fuse(TABLES) for recipe in (answer.recipe, parse_recipe(answer.recipe.to_toml())))
    assert one.arrow.equals(other.arrow)


def test_one_member_and_an_end_before_anything(monkeypatch):
    problem = pose(TABLES[:1], TRUTH, SPLITS, Coco())
    _, answer = sought(problem)
    assert len(answer.stacks) == 1

    class Stopped:
        def run(self, *_):
            raise KeyboardInterrupt

        def close(self):
            pass

    monkeypatch.setattr("search.seek.open_evaluator", lambda *_, **__: (Stopped(), ()))
    with pytest.raises(InputError, match="ended before its first trial"):
        seek(problem, Settings(budget=10))
