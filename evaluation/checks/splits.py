"""Images that are in two splits."""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import PurePosixPath

from evaluation.checks.base import Subject, TruthFinding
from evaluation.folds import groups_in_names

__all__ = ["look", "plain_name"]

_LEARNED = "what was learned on one split is measured on the other, and figures come out too high"
# what tools add to the name of a picture that they copy or change
_ADDED = re.compile(
    r"(\.rf\.[0-9a-f]{8,}|[ _-]*\(\d+\)|"
    r"[ _-](copy|flip(ped)?|[hv]flip|rot(ated)?[ _-]?\d*|aug(mented)?[ _-]?\d*|crop))+$"
)


def look(subject: Subject) -> Iterator[TruthFinding]:
    """Find file names that two splits share, or nearly, and videos of which both have frames."""
    names: dict[str, Sequence[str]] = {
        name: [str(one) for one in subject.truth.file_name[places]] for name, places in subject.lists.items()
    }
    if not names:
        names = {subject.truth.source: [str(one) for one in subject.truth.file_name]}
    names |= subject.beside
    for (one, first), (other, second) in combinations(names.items(), 2):
        yield from _shared(one, first, other, second)
    yield from _videos(subject)


def plain_name(name: str) -> str:
    """Return a file name in small letters, without suffix and what tools add to the name of a copy."""
    path = PurePosixPath(name.replace("\\", "/").casefold())
    stem = path.name
    while re.search(r"[._](jpe?g|png|bmp|tiff?|webp)$", stem) or _ADDED.search(stem):
        stem = _ADDED.sub("", re.sub(r"[._](jpe?g|png|bmp|tiff?|webp)$", "", stem))
    return str(path.with_name(stem)) if stem else str(path)


def _shared(one: str, first: Sequence[str], other: str, second: Sequence[str]) -> Iterator[TruthFinding]:
    equal = sorted((set(first) & set(second)) - {""})
    if equal:
        yield TruthFinding(
            f"{len(equal):,} images are in {one} and in {other}, by their file names",
            _LEARNED,
            len(equal),
            changes=True,
            examples=[{"file_name": name} for name in equal[:5]],
        )
    plain: Mapping[str, str] = {plain_name(name): name for name in second if name}
    near = [(name, plain[plain_name(name)]) for name in first if name and plain_name(name) in plain]
    near = [(name, twin) for name, twin in near if name != twin and name not in equal]
    if near:
        yield TruthFinding(
            f"{len(near):,} images of {one} have nearly the file name of one of {other}",
            f"if they are copies, {_LEARNED}",
            len(near),
            examples=[{"file_name": name, "other": twin} for name, twin in near[:5]],
        )


def _videos(subject: Subject) -> Iterator[TruthFinding]:
    found = groups_in_names(subject.truth) if len(subject.lists) > 1 else None
    if found is None:
        return
    labels, told = found
    for (one, first), (other, second) in combinations(subject.lists.items(), 2):
        both = sorted(set(labels[first].tolist()) & set(labels[second].tolist()))
        if both:
            yield TruthFinding(
                f"{one} and {other} both have images of {len(both):,} of {told}",
                f"where these are videos or scenes, {_LEARNED}; `quorum split --groups` keeps them together",
                len(both),
                examples=[{"group": str(label)} for label in both[:5]],
            )
