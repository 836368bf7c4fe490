"""The answer and its report: every figure is that of the plain evaluation of the replayed recipe."""

from dataclasses import replace

import numpy as np
import pytest

from evaluation import prepare
from evaluation.protocol import Coco
from evaluation.score_models import learn_scores
from fusion.recipe_file import read_recipe, write_recipe
from fusion.table import DetectionTable, Metadata
from search.answer import choose, find_answer, front, paired_error
from search.device import fusers_of
from search.engine import Engine
from search.evaluators import Serial
from search.genome import recipe_of, used_members
from search.problem import agreement, pose
from search.report import report_text, write_report
from search.stack import stack
from search.study import Settings, Study
from search.telling import outline
from tests.search.members import drawn_too_small, make_members, make_truth

pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_constants':DeprecationWarning")

TRUTH = make_truth(11, images=90, categories=5, objects=500)
TABLES = make_members(11, 5, TRUTH)
SPLITS = {name: TRUTH.image_id[number::3] for number, name in enumerate(("search", "verify", "test"))}


def searched(names, budget=70, tables=TABLES, treatment="as they are"):
    """A search; by default nothing is learned, so that figures of the search split are those of the recipe too."""
    problem = pose(tables, TRUTH, {name: SPLITS[name] for name in names}, Coco(), treatment=treatment)
    study = Study(Settings(budget=budget), problem.search.category_ids, agreement(problem.search))
    fusers = fusers_of(problem)
    study.run(Serial(Engine(fusers, memory=1 << 24)))
    return problem, study


@pytest.fixture(scope="module")
def found():
    problem, study = searched(("search", "verify"))
    return problem, study, find_answer(problem, study, scores=False)


def plain(problem, genome, split, tables=TABLES):
    """AP by the official evaluation of the recipe, replayed on whole tables and cut to the split afterwards."""
    fused = problem.recipe(genome).fuse(tables)
    return prepare(TRUTH.subset(SPLITS[split]), Coco()).evaluate(fused.select_images(SPLITS[split])).AP


def test_figures_are_those_of_plain_evaluation(found):
    problem, study, answer = found
    assert answer.trial.outcome.value == pytest.approx(plain(problem, answer.trial.genome, "search"), abs=1e-12)
    for split, rivals in answer.rivals.items():
        assert [rival.name for rival in rivals] == ["answer", "best member", "naive ensemble", "greedy selection"]
        for rival in rivals:
            assert rival.replicates.observed["AP"] == pytest.approx(plain(problem, rival.genome, split), abs=1e-12)
    for gain in answer.gains:
        rival = next(r for r in answer.rivals[gain.split] if r.name == gain.over)
        expected = plain(problem, answer.trial.genome, gain.split) - plain(problem, rival.genome, gain.split)
        assert gain.difference.value == pytest.approx(expected, abs=1e-12)
    for search_ap, verify_ap in answer.top[:5]:
        trial = next(t for t in study.measured if t.outcome.value == search_ap)
        assert plain(problem, trial.genome, "verify") == pytest.approx(verify_ap, abs=1e-12)


def test_nodes_and_changes_are_those_of_the_tree(found):
    problem, _, answer = found
    root = next(node for node in answer.nodes if node.depth == 0)
    assert sorted(root.members) == list(used_members(answer.trial.genome))
    whole = plain(problem, answer.trial.genome, "verify")
    assert root.ap == pytest.approx(whole, abs=1e-12)
    for node in answer.nodes:
        if len(node.members) == 1:
            (leaf,) = node.members
            own = next(t for t in TABLES if t.metadata.member == problem.names[leaf])
            side = prepare(TRUTH.subset(SPLITS["verify"]), Coco())
            assert node.ap == side.evaluate(own.select_images(SPLITS["verify"])).AP
    for change in (*answer.without_member, *answer.genes):
        assert change.loss == pytest.approx(whole - change.ap, abs=1e-12)


def test_the_choice_is_at_most_a_standard_error_behind_and_no_more_complex(found):
    problem, study, answer = found
    best = study.measured[0]
    assert len(used_members(answer.trial.genome)) <= len(used_members(best.genome))
    behind = best.outcome.value - answer.trial.outcome.value
    assert behind <= paired_error(problem, best.genome, answer.trial.genome)
    assert choose(study, lambda a, b: 0.0).outcome.value == best.outcome.value


def test_front_gains_with_every_member(found):
    _, study, _ = found
    trials = front(study)
    counts = [len(used_members(trial.genome)) for trial in trials]
    assert counts == sorted(set(counts))
    values = [trial.outcome.value for trial in trials]
    assert values == sorted(values)
    assert values[-1] == study.measured[0].outcome.value


def test_with_three_splits_the_second_chooses_and_the_third_is_quoted():
    problem, study = searched(("search", "verify", "test"), budget=40)
    answer = find_answer(problem, study, scores=False)
    assert list(answer.rivals) == ["search", "verify", "test"]
    assert answer.rivals["verify"][0].replicates.observed["AP"] == pytest.approx(answer.top[:, 1].max(), abs=1e-12)
    assert "on the test split" in report_text(answer, study)


def test_the_report_tells_what_was_found(found, tmp_path):
    problem, study, answer = found
    text = report_text(answer, study)
    own = answer.rivals["verify"][0].replicates.intervals["AP"]
    assert f"**AP {100 * own.value:.2f} on the verify split**" in text
    for rival in ("best member", "naive ensemble", "greedy selection"):
        assert f"{100 * answer.gain(rival, 'verify').value:+.2f}" in text
    assert "| on the verify split | AP | AP50 |" in text
    assert f"({100 * own.low:.2f} to {100 * own.high:.2f})" in text
    named = find_answer(problem, study, scores=False, figures=("F1", "APtall"))
    table = report_text(named, study).partition("## Figures\n\n")[2]
    assert table.startswith("| on the verify split | AP | F1 | APtall |")
    assert table.count(" to ") >= 3 * len(named.rivals["verify"])
    assert all(problem.names[leaf] in outline(answer) for leaf in used_members(answer.trial.genome))
    assert f"{len(study.trials)} trials" in text
    write_report(answer, study, tmp_path)
    assert (tmp_path / "report.md").read_text() == text
    assert "</html>" in (tmp_path / "report.html").read_text()
    assert "<svg" in (tmp_path / "tree.svg").read_text()


def with_gains(answer, **gains):
    """The answer with other gains over its strongest rival: by split, value and standard error in AP points."""
    changed = {}
    for split, rivals in answer.rivals.items():
        value, error = (figure / 100 for figure in gains[split])
        noise = np.random.default_rng(0).normal(0, error, 500)
        own = rivals[0].replicates
        observed = own.observed["AP"] - value
        other = replace(own, observed={"AP": observed}, values={"AP": own.values["AP"] - value + noise})
        changed[split] = (rivals[0], replace(rivals[1], replicates=other))
    return replace(answer, rivals=changed)


def test_the_alarm_rings_where_the_answer_is_worse_than_a_rival_by_more_than_chance(found):
    _, _, answer = found
    worse = with_gains(answer, search=(2, 0.5), verify=(-2, 0.5))
    assert "on the verify split the best member is 2.00 AP points better than the answer" in worse.alarm
    assert "on the search split the answer gained 2.00" in worse.alarm
    assert with_gains(answer, search=(2, 0.5), verify=(-1, 0.5)).alarm is None  # that much is chance


def test_the_alarm_is_silent_where_a_gain_only_shrinks(found):
    """The gain on the search split is that of the best of many trials."""
    _, _, answer = found
    assert with_gains(answer, search=(4, 0.2), verify=(1, 0.2)).alarm is None
    assert with_gains(answer, search=(4, 0.2), verify=(0, 0.2)).alarm is None


def test_the_alarm_is_silent_where_the_answer_is_the_rival_itself(found):
    """However the best trials rank: nothing was promised."""
    _, _, answer = found
    same = with_gains(answer, search=(0, 0), verify=(0, 0))
    mixed = np.random.default_rng(0).permutation(answer.top[:, 1])
    assert replace(same, top=np.stack([answer.top[:, 0], mixed], axis=1)).alarm is None


def test_the_alarm_rings_where_a_tiny_split_was_searched_on():
    """A member that happens to be right in five images and is clutter elsewhere."""
    few = {"search": TRUTH.image_id[:5], "verify": TRUTH.image_id[5:]}
    rows = np.flatnonzero(np.isin(TRUTH.image_id[TRUTH.image], few["search"]))
    clutter = TABLES[4].select_images(few["verify"])
    lucky = DetectionTable.from_arrays(
        image_id=np.concatenate([TRUTH.image_id[TRUTH.image[rows]], clutter.image_id]),
        category_id=np.concatenate([TRUTH.category_id[TRUTH.category[rows]], clutter.category_id]),
        score=np.concatenate([np.ones(len(rows)), 1 - clutter.score]),
        xywh=np.concatenate([TRUTH.xywh[rows], clutter.xywh]),
        metadata=Metadata(member="lucky"),
    )
    problem = pose([*TABLES[:2], lucky], TRUTH, few, Coco(), treatment="as they are")
    study = Study(Settings(budget=40), problem.search.category_ids, agreement(problem.search))
    fusers = fusers_of(problem)
    study.run(Serial(Engine(fusers, memory=1 << 24)))
    answer = find_answer(problem, study, scores=False)
    assert problem.names[0] == "lucky"
    assert answer.gain("naive ensemble", "search").value >= 0
    assert answer.alarm.startswith("on the verify split the naive ensemble is ")


@pytest.mark.parametrize("members", [1, 2])
def test_few_members(members, tmp_path):
    problem, study = searched(("search", "verify"), budget=25, tables=TABLES[:members])
    answer = find_answer(problem, study, scores=False)
    write_report(answer, study, tmp_path)
    assert "AP" in (tmp_path / "report.md").read_text()


@pytest.fixture(scope="module")
def learned():
    """Members with what can be learned of them: all are clutter where the last one has no box, all draw too small."""
    small = drawn_too_small(TABLES[:3])
    problem, study = searched(("search", "verify"), budget=30, tables=small, treatment=None)
    return small, problem, study, find_answer(problem, study)


def test_an_answer_with_learned_scores(learned, tmp_path):
    tables, problem, study, answer = learned
    assert "corrected" in problem.preparation.treatment
    assert answer.stack is not None
    assert [rival.name for rival in answer.rivals["verify"]][-1] == "best tree"
    write_recipe(answer.recipe, tmp_path / "best.toml")
    fused = read_recipe(tmp_path / "best.toml").fuse(tables)
    verify = prepare(TRUTH.subset(SPLITS["verify"]), Coco()).evaluate(fused.select_images(SPLITS["verify"])).AP
    assert answer.rivals["verify"][0].replicates.observed["AP"] == pytest.approx(verify, abs=1e-12)
    own = max(t.select_images(SPLITS["verify"]) for t in tables[:1])
    assert (
        answer.rivals["verify"][1].replicates.observed["AP"]
        == pytest.approx(prepare(TRUTH.subset(SPLITS["verify"]), Coco()).evaluate(own).AP, abs=1e-12)
        or problem.names[0] != tables[0].metadata.member
    )
    text = report_text(answer, study)
    assert "scored by a learned model" in text


def test_what_the_search_split_says_was_not_learned_on_it(learned):
    """Figures of the search split come from detections and scores by what was learned without each image's fold."""
    _, problem, _study, answer = learned
    side = problem.search
    tables = problem.preparation.tables
    fused = recipe_of(answer.trial.genome, problem.names).fuse(tables)
    assert answer.trial.outcome.value == pytest.approx(side.prepared.evaluate(fused).AP, abs=1e-12)
    boxes = recipe_of(answer.stack.genome, problem.names).fuse(tables)
    scored = learn_scores(boxes, tables, side.prepared, groups=problem.fold)
    assert answer.stack.model == scored.model
    assert pytest.approx(scored.AP[scored.model.kind], abs=1e-12) == answer.stack.result.AP
    assert answer.rivals["search"][0].replicates.observed["AP"] == answer.stack.result.AP


def test_the_recipe_is_there_before_the_figures(learned):
    _tables, problem, study, answer = learned
    recipes = []

    def stop(what):
        if what.startswith("measuring"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        find_answer(problem, study, chosen=recipes.append, progress=stop)
    assert [recipe.to_toml() for recipe in recipes] == [
        problem.recipe(answer.trial.genome).to_toml(),
        answer.recipe.to_toml(),
    ]


def test_ctrl_c_while_scores_are_learned_keeps_the_best_so_far(learned, monkeypatch):
    _, problem, study, answer = learned
    calls = []

    def second_is_stopped(*arguments):
        calls.append(arguments)
        if len(calls) > 1:
            raise KeyboardInterrupt
        return stack(*arguments)

    monkeypatch.setattr("search.stack.stack", second_is_stopped)
    found = find_answer(problem, study)
    assert len(calls) == 2
    assert found.stack is not None
    assert found.stack.result.AP <= answer.stack.result.AP
