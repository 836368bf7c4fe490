"""Whether category ids mean other categories: which objects the boxes of each category meet."""

import itertools
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from evaluation.readings.agreement import Agreement, chance
from fusion.coco_results import RawResults, Reading, Vocabulary
from fusion.coco_results.category_join import numberings

__all__ = ["better_categories"]

_LEAST = 4  # boxes of a category that meet objects, for its word to count
_SURE, _RIGHT, _ALL = 0.7, 0.3, 0.6
_CHANCE, _RARE = 0.35, 1e-5  # of a box to meet another category's object, and of so many to do so


def better_categories(
    raw: RawResults, vocabulary: Vocabulary, plain: Reading, key: np.ndarray, category: np.ndarray, found: Agreement
) -> Reading:
    """Return the reading of categories that fits the objects which boxes meet; `plain` unless another is far better.

    Only the boxes that meet an object count. Of those whose category the other reading changes at most 30 % may be
    right as they stand, and at least 70 % have to be right otherwise, and more than chance explains; of all, 60 %. A
    numbering with a name of its own is preferred to a free map.

    Args:
        raw: The results file.
        vocabulary: What the ground truth knows.
        plain: The reading so far.
        key: int32 [n], index of each sampled box into the file's categories.
        category: int64 [n], their category ids as read so far; no category's where there is none.
        found: What they meet.
    """
    use = found.meets
    if not _suspicious(key[use], category[use], found.met[use]):
        return plain
    for reading in _numberings(raw, vocabulary, plain):
        numbers = raw.categories(vocabulary, reading)
        if None in numbers:
            continue
        other = np.array(numbers, np.int64)[key]
        if _better(other[use], category[use], found.met[use]):
            return reading
    as_read = dict(zip(key.tolist(), category.tolist(), strict=True))
    targets = _targets(raw, vocabulary, key[use], found.met[use])
    moved = _moved(targets, as_read, _LEAST / 2)
    other = np.array([moved.get(k, as_read[k]) for k in key.tolist()], np.int64)
    if not moved or not _better(other[use], category[use], found.met[use]):
        return plain
    keys, ids = raw.columns.categories, set(vocabulary.category_ids.tolist())
    moved = _moved(targets, as_read, 1)  # now that the rest is sure, a single box says something
    label_map: dict[int | str, int] = {}
    for k, (number, name) in enumerate(keys):
        target = moved.get(k, as_read.get(k))
        if target is not None and target in ids and (k in moved or target not in moved.values()):
            label_map[str(name) if number is None else number] = target
    told = np.array([(number if number in label_map else str(name)) in label_map for number, name in keys], np.bool_)
    left_out = use & ~told[key]
    if (category == found.met)[left_out].sum() > _RIGHT * left_out.sum():
        return plain  # they are rightly what another category would have to be
    return replace(plain, label_map=label_map)


def _numberings(raw: RawResults, vocabulary: Vocabulary, plain: Reading) -> Iterator[Reading]:
    ids = sorted(vocabulary.category_ids.tolist())
    numbers = [key.id for key in raw.columns.categories if isinstance(key.id, int)]
    if not numbers or len(numbers) < len(raw.columns.categories):
        return
    for reading in itertools.chain(*numberings(ids)):
        yield replace(plain, categories=reading.categories, category_offset=reading.category_offset)
    for shift in (1, -1):
        yield replace(plain, category_offset=shift)


def _suspicious(key: np.ndarray, category: np.ndarray, met: np.ndarray) -> bool:
    """Tell whether the boxes of any category mostly meet objects of one other category."""
    keys, inverse, count = np.unique(key, return_inverse=True, return_counts=True)
    wrong = category != met
    _, other, times = np.unique(inverse[wrong] * (1 << 33) + met[wrong], return_inverse=True, return_counts=True)
    most = np.zeros(len(keys))
    np.maximum.at(most, inverse[wrong], times[other])
    return bool(np.any((most >= _SURE * count) & (count >= _LEAST)))


def _better(other: np.ndarray, plain: np.ndarray, met: np.ndarray) -> bool:
    changed = other != plain
    count, right, otherwise = int(changed.sum()), int((plain == met)[changed].sum()), int((other == met)[changed].sum())
    if not count or right > _RIGHT * count or otherwise < _SURE * count:
        return False
    return float((other == met).mean()) >= _ALL and chance(count, otherwise, _CHANCE) < _RARE


def _targets(raw: RawResults, vocabulary: Vocabulary, key: np.ndarray, met: np.ndarray) -> dict[int, tuple[int, float]]:
    """Return the category that most boxes of each of the file's categories meet, no category twice, and how many.

    Only those are returned of which 70 % of the boxes meet it.
    """
    from scipy.optimize import linear_sum_assignment  # takes longer to load than most files to read

    ids = np.sort(vocabulary.category_ids)
    count = np.zeros((len(raw.columns.categories), len(ids)))
    np.add.at(count, (key, np.searchsorted(ids, met)), 1)
    rows, columns = linear_sum_assignment(-count)
    most = count[rows, columns]
    sure = (most > 0) & (most >= _SURE * count[rows].sum(axis=1))
    found = zip(rows[sure].tolist(), ids[columns[sure]].tolist(), most[sure].tolist(), strict=True)
    return {row: (target, times) for row, target, times in found}


def _moved(targets: dict[int, tuple[int, float]], as_read: dict[int, int], least: float) -> dict[int, int]:
    """Keep the categories that mean another one, but for those that another category rightly is.

    A category that mostly meets objects of another one is a weak detector's unless that other one has moved as well.
    """
    known = {k: target for k, (target, times) in targets.items() if times >= least}
    changed = {k: target for k, target in known.items() if as_read.get(k) != target}
    while True:
        stay = {as_read[k] for k in known if k not in changed}
        kept = {k: target for k, target in changed.items() if target not in stay}
        if len(kept) == len(changed):
            return kept
        changed = kept
