"""The HTML page of a search."""

from __future__ import annotations

from evaluation.report import Page
from search.answer import Answer
from search.genome import used_members
from search.sections import changes, gains, history, tree
from search.study import Study

__all__ = ["search_page"]


def search_page(answer: Answer, study: Study) -> Page:
    """Return the page: what the answer gains, the tree, what its parts bring, and how it was found."""
    honest, rivals = list(answer.rivals.items())[-1]
    used, members = len(used_members(answer.genome)), len(answer.problem.names)
    subject = f"{used} of {members} members; the {honest} split of {rivals[0].replicates.images:,} images is the one "
    subject += "to quote: the search split's figure is the best of many trials on it."
    made = (gains.section(answer), tree.section(answer), changes.section(answer), history.section(answer, study))
    return Page("Auto-ensemble search", subject, [section for section in made if section is not None])
