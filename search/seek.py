"""The search from members that are ready to an answer; the command line and `quorum auto` both run it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fusion.errors import InputError, option
from fusion.recipe import Recipe
from fusion.terminal import notes
from search.answer import Answer, find_answer, paired_error, recipe_with
from search.device import open_evaluator
from search.journal import Journal
from search.problem import Problem, agreement
from search.scratch import scratch_folder
from search.stack import Stack, best_stack, learn_first
from search.study import Settings, Study

__all__ = ["Progress", "in_words", "seek"]

Progress = Callable[[str, "int | None", "int | None"], None]
"""Told what is being done, and of trials how many are done and wanted."""


def in_words(tell: Callable[[str], None]) -> Progress:
    """Return what tells in words alone how far a search is."""

    def progress(what: str, done: int | None, _: int | None) -> None:
        phase, colon, best = what.partition(":")
        tell(what if done is None else f"search, {phase}, trial {done}{colon}{best}")

    return progress


def seek(
    problem: Problem,
    settings: Settings,
    *,
    device: str = "cpu",
    workers: int = 1,
    memory: float = 2.0,
    scores: bool = True,
    journal: Journal | None = None,
    stop: Callable[[], str | None] | None = None,
    figures: Sequence[str] | None = None,
    chosen: Callable[[Recipe], None] | None = None,
    said: Callable[[str], None] | None = None,
    progress: Progress | None = None,
) -> tuple[Study, Answer]:
    """Search, and measure what was found.

    When members and naive ensembles are measured, scores are learned for flat ensembles. The better one is the first
    candidate, which is there before trials are. Ctrl-C then and later ends the search with the best so far.

    Args:
        problem: Members and splits.
        settings: What the search may spend.
        device: What runs candidates, from `settle_device`.
        workers: Processes that run them.
        memory: GiB for results of sub-trees, in each process or on the GPU.
        scores: Whether scores may be learned.
        journal: Where trials are kept.
        stop: Asked after every batch of trials whether to end, and why.
        figures: See `find_answer`.
        chosen: Given the recipe of the first candidate, or of what is better than it, before trials; then as by
            `find_answer`.
        said: Told what the first candidate is worth.
        progress: Told what is being done.

    Raises:
        InputError: If it was ended before anything was measured, or the GPU that was asked for cannot be used.
    """
    study = Study(settings, problem.search.category_ids, agreement(problem.search))
    learned: list[Stack] = []

    def tell(what: str, done: int | None = None, wanted: int | None = None) -> None:
        if progress is not None:
            progress(what, done, wanted)

    def begin() -> None:
        [best, *_] = study.measured
        if scores:
            learned.extend(learn_first(problem, study, tell))
        if chosen is not None:
            own = problem.search.prepared.evaluate(problem.fused(best.genome))
            chosen(recipe_with(problem, best.genome, best_stack(own, learned)))
        if learned and said is not None:
            naive = f", the best naive ensemble {100 * study.naive.outcome.value:.2f}" if study.members > 1 else ""
            said(
                f"first candidate: a flat fusion with learned scores has AP {100 * learned[0].result.AP:.2f} on parts "
                f"held back; the best member has {100 * study.best_member.outcome.value:.2f}{naive}"
            )

    def trials(phase: str, done: int, wanted: int, best: float) -> None:
        scored = f"; with learned scores {100 * learned[0].result.AP:.2f}" if learned else ""
        tell(f"{phase}: best AP {100 * best:.2f}{scored}", done, wanted)

    with scratch_folder("quorum-search-") as scratch:
        evaluator, on_device = open_evaluator(
            problem, scratch, device=device, workers=workers, memory=int(memory * 2**30)
        )
        notes("search", on_device)
        try:
            study.run(
                evaluator,
                journal,
                paired_error=lambda a, b: paired_error(problem, a, b),
                begun=begin,
                stop=stop,
                progress=trials,
            )
        finally:
            evaluator.close()
    if not study.measured:
        raise InputError(
            "search", "ended before its first trial", f"Start it again; {option('resume')} goes on with what was kept"
        )
    answer = find_answer(
        problem, study, scores=scores, learned=learned, figures=figures, chosen=chosen, progress=lambda what: tell(what)
    )
    return study, answer
