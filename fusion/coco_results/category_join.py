"""How the categories of a results file are turned into those of a data set."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from fusion.coco_results.raw import RecordKey
from fusion.coco_results.reading import Reading
from fusion.coco_results.vocabulary import OwnLists, Vocabulary, examples, integer_like
from fusion.errors import InputError, option

__all__ = ["COCO_IDS", "CategoryJoin", "numberings", "squashed"]

_OF_COCO = 40  # categories that all have ids of COCO's: more than that are taken for COCO's
# COCO numbers its 80 categories from 1 to 90 and leaves these numbers out.
COCO_IDS = tuple(i for i in range(1, 91) if i not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83))


class CategoryJoin:
    """Turns the categories of a results file into category ids.

    Args:
        where: Name of the results file for messages.
        vocabulary: The categories that there are; None accepts any id.
        reading: What category ids mean; with a label map every source category has to be in it.
        drop: Whether unknown categories are dropped; otherwise they are an error.
        listed: What the results file says about its categories.

    Attributes:
        notes: What was done, after `numbers`.
    """

    def __init__(
        self, where: str, vocabulary: Vocabulary | None, reading: Reading, drop: bool, listed: OwnLists
    ) -> None:
        self._where, self._vocabulary, self._drop, self._listed = where, vocabulary, drop, listed
        self._by = "id" if reading.categories is None and reading.category_offset else reading.categories
        self._map, self._offset = reading.label_map, reading.category_offset
        self._source = "the ground truth" if vocabulary is None else vocabulary.where
        self._ids = None if vocabulary is None else set(vocabulary.category_ids.tolist())
        self._by_name: dict[str, list[int]] = {}
        self._by_squashed: dict[str, list[int]] = {}
        if vocabulary is not None:
            for number, name in zip(vocabulary.category_ids.tolist(), vocabulary.category_names, strict=True):
                self._by_name.setdefault(name, []).append(number)
                if squashed(name):
                    self._by_squashed.setdefault(squashed(name), []).append(number)
        self._by_label: dict[str, list[int]] = {}
        if vocabulary is not None and vocabulary.category_labels is not None:
            numbers = vocabulary.category_ids.tolist()
            self._by_label = {
                label: [number] for number, label in zip(numbers, vocabulary.category_labels, strict=True)
            }
        self._texts = False
        self._spelled: dict[str, str] = {}
        self.notes: list[str] = []

    def numbers(self, keys: Sequence[RecordKey], weights: np.ndarray) -> tuple[list[int | None], list[InputError]]:
        """Find categories.

        Args:
            keys: [n] what the file says of each.
            weights: int64 [n], number of detections behind each, for messages.

        Returns:
            [n] their ids, None for categories that are not there; and what is wrong.
        """
        try:
            if self._map is not None:
                numbers = [self._mapped(key, self._map) for key in keys]
                how = "renamed by the label map"
            elif self._by == "name":
                numbers = [self._named(self._required_name(key)) for key in keys]
                how = "joined by name"
            elif self._by in ("order", "coco80", "coco91"):
                numbers = self._counted([self._number(key) for key in keys])
                how = "counted in the order of their ids" if self._by == "order" else f"numbered as {self._by}"
            else:
                numbers, how = self._agreed(keys) if self._by is None else ([self._by_id(key) for key in keys], "")
        except InputError as error:
            return [None] * len(keys), [error]
        errors = self._missing(keys, weights, numbers)
        known = len({number for number in numbers if number is not None})
        if how:
            self.notes.append(f"{known} categories {how}")
        if self._offset:
            self.notes.append(f"{self._offset} added to category ids")
        if self._texts and not errors:
            self.notes.append("category ids are texts, read as integers")
        if self._spelled:
            here, there = next(iter(self._spelled.items()))
            self.notes.append(
                f"{len(self._spelled)} category names are written otherwise in {self._source}, such as {here!r} for"
                f" {there!r}"
            )
        return numbers, errors

    def _name(self, key: RecordKey) -> str | None:
        """Return the name that the file has for a category; a text that is no number is one."""
        if key.name is not None:
            return key.name
        if key.id is not None and self._listed.categories.get(key.id):
            return self._listed.categories[key.id]
        return key.id if isinstance(key.id, str) and integer_like(key.id) is None else None

    def _agreed(self, keys: Sequence[RecordKey]) -> tuple[list[int | None], str]:
        """Find categories by what the file has: ids, names beside them, or names in their place."""
        names = [self._name(key) for key in keys]
        if self._vocabulary is None or not any(names):
            return [self._by_id(key) for key in keys], ""
        bare = [key.id is None or (isinstance(key.id, str) and integer_like(key.id) is None) for key in keys]
        by_id = [None if nothing else self._by_id(key) for key, nothing in zip(keys, bare, strict=True)]
        # of several categories of one name the id tells which is meant, if ids and names agree elsewhere
        meant = [[] if name is None else self._ids_of(name) for name in names]
        several = [n for n, ids in enumerate(meant) if len(ids) > 1 and by_id[n] in ids]
        by_name = [
            by_id[n] if n in several else None if name is None else self._named(name) for n, name in enumerate(names)
        ]
        if not any(number is not None for number in by_name):
            if any(number is not None for number in by_id):
                self.notes.append(
                    f"its category names, such as {next(filter(None, names))!r}, are none of {self._source};"
                    " categories are joined by id"
                )
            return by_id, ""
        other = [n for n, number in enumerate(by_name) if number is not None and not bare[n] and by_id[n] != number]
        for n in several if other else ():
            self._named(str(names[n]))
        numbers = [number if number is not None else None if other else by_id[n] for n, number in enumerate(by_name)]
        if not other:
            return numbers, "joined by name" if any(bare) else ""
        n = other[0]
        there = f"; {self._name_of(by_id[n])!r} there" if by_id[n] is not None else ""
        self._texts = False
        self.notes.append(
            f"the names of {len(other)} categories are not those that {self._source} has for their ids (category"
            f" {keys[n].id} is {names[n]!r} here{there})"
        )
        return numbers, "joined by name"

    def _by_id(self, key: RecordKey) -> int | None:
        number = self._number(key) + self._offset
        if self._ids is not None:
            return number if number in self._ids else None
        if not -(2**31) <= number < 2**31:
            raise InputError(f"{self._where}, category {number}", "a category id has to fit in 32 bits")
        return number

    def _number(self, key: RecordKey) -> int:
        if isinstance(key.id, int):
            return key.id
        read = None if key.id is None else integer_like(key.id)
        if read is None:
            shown = repr(key.name if key.id is None else key.id)
            remedy = f"Join categories by name with {option('categories', 'name')}, or give a label map"
            if self._vocabulary is None:
                remedy = "Give the ground truth, to which names are joined"
            raise InputError(f"{self._where}, category {shown}", "expected a category id, got a name", remedy)
        self._texts = True
        return read

    def _counted(self, numbers: Sequence[int]) -> list[int | None]:
        """Return the categories that numbers from 0 stand for."""
        ids = None if self._vocabulary is None else sorted(self._vocabulary.category_ids.tolist())
        if self._by == "coco80":
            targets: dict[int, int] = dict(enumerate(COCO_IDS))
        elif ids is None:
            raise InputError(f"option {option('categories')}", f"{self._by} needs a ground truth to count", "Give one")
        elif self._by == "coco91":
            if len(ids) != len(COCO_IDS):
                raise InputError(
                    self._source,
                    f"it has {len(ids)} categories, and COCO has 80",
                    f"Use another {option('categories')}",
                )
            targets = dict(zip(COCO_IDS, ids, strict=True))
        else:
            targets = dict(enumerate(ids))
        known = set(targets.values()) if ids is None else set(ids)
        found = [targets.get(number + self._offset) for number in numbers]
        return [number if number in known else None for number in found]

    def _required_name(self, key: RecordKey) -> str:
        name = self._name(key)
        if name is None and isinstance(key.id, str):
            name = key.id
        if name is None:
            raise InputError(
                f"{self._where}, category {key.id}",
                "categories are to be joined by name, but the file has no name for this category id",
                f"Use {option('categories', 'id')}, or a label map from these ids to names",
            )
        return name

    def _mapped(self, key: RecordKey, label_map: Mapping[Any, int | str]) -> int | None:
        sources = [key.id, None if key.id is None else str(key.id), self._name(key)]
        if isinstance(key.id, str):
            sources.append(integer_like(key.id))
        for source in sources:
            if source is None or source not in label_map:
                continue
            target = label_map[source]
            number = self._named(target) if isinstance(target, str) else target
            if number is None and isinstance(target, str):
                number = integer_like(target)
            if number is None or (self._ids is not None and number not in self._ids):
                raise InputError(
                    f"option {option('label_map')}, {source!r}",
                    f"its target {target!r} is not a category of {self._source}",
                    "Name one of its ids or names",
                )
            if not -(2**31) <= number < 2**31:
                problem = f"a category id has to fit in 32 bits, got {number}"
                raise InputError(f"option {option('label_map')}, {source!r}", problem)
            return number
        return None

    def _ids_of(self, name: str) -> list[int]:
        """Return the categories of a name; of another spelling where none is written so."""
        return self._by_name.get(name) or self._by_label.get(name) or self._by_squashed.get(squashed(name), [])

    def _named(self, name: str) -> int | None:
        ids = self._ids_of(name)
        if len(ids) == 1 and name not in self._by_name and name not in self._by_label:
            self._spelled[name] = self._name_of(ids[0])
        if len(ids) > 1:
            remedy = f"Join categories by id with {option('categories', 'id')}, or use a label map to ids"
            raise InputError(self._source, f"categories {ids[0]} and {ids[1]} are both named {name!r}", remedy)
        return ids[0] if ids else None

    def _name_of(self, number: int | None) -> str:
        names = {n: name for name, ids in self._by_name.items() for n in ids}
        return "" if number is None else names[number]

    def _missing(
        self, keys: Sequence[RecordKey], weights: np.ndarray, numbers: Sequence[int | None]
    ) -> list[InputError]:
        """Return what is to be said of categories that were not found, noting those that are dropped."""
        shown = [str(key.name) if key.id is None else key.id for key in keys]
        unknown = {s: int(w) for s, w, n in zip(shown, weights, numbers, strict=True) if n is None and w}
        if not unknown:
            return []
        lost, known = sum(unknown.values()), any(number is not None for number in numbers)
        target = "the label map" if self._map is not None else self._source
        if self._drop and known:
            self.notes.append(f"dropped: {lost} detections of categories that are not in {target}: {examples(unknown)}")
            return []
        what = f"{len(unknown)} of its categories are not" if known else "none of its categories is"
        return [
            InputError(
                self._where,
                f"{what} in {target}: {examples(unknown)} ({lost} detections); expected such as"
                f" {examples(self._expected())}",
                self._suggestion(shown),
            )
        ]

    def _expected(self) -> Iterable[int | str]:
        if self._map is not None:
            return list(self._map)
        if self._vocabulary is None:
            return []
        names = self._by == "name"
        return list(self._vocabulary.category_names) if names else self._vocabulary.category_ids.tolist()

    def _suggestion(self, shown: Sequence[int | str]) -> str:
        drop = f"drop them with {option('unknown_categories', 'drop')}"
        join = f"join them with {option('categories', 'name')} or a label map"
        if self._map is not None:
            return f"Add them to the label map, or {drop}"
        numbers = [source for source in shown if isinstance(source, int)]
        if self._by in (None, "id") and self._ids and len(numbers) == len(shown) and not self._offset:
            fitting = self._numberings(set(numbers))
            if fitting:
                return f"Each is one with {' or with '.join(fitting)}, if the order is the same; else {join}, or {drop}"
        return f"{join[0].upper()}{join[1:]}, or {drop}"

    def _numberings(self, numbers: set[int]) -> list[str]:
        """Return the options under which every number of the file is a category."""
        ids = sorted(self._ids or ())
        of_coco, in_order = numberings(ids)
        readings, shift = list(of_coco), ids[0] - min(numbers)
        if not in_order:
            readings += [Reading(category_offset=shift)] if shift else []
        elif not readings:
            readings += in_order
        fitting = []
        for reading in readings:
            join = CategoryJoin(self._where, self._vocabulary, reading, True, OwnLists({}, {}, {}))
            found, _ = join.numbers([RecordKey(number, None) for number in numbers], np.ones(len(numbers), np.int64))
            if None not in found:
                fitting.append(reading.options())
        return fitting


def numberings(ids: Sequence[int]) -> tuple[list[Reading], list[Reading]]:
    """Return the numberings with a name by which others may count the categories of a data set.

    Args:
        ids: Their ids, ascending.

    Returns:
        Those of COCO's categories; and those in the order of the ids, where these have gaps.
    """
    of_coco = []
    if set(ids) <= set(COCO_IDS) and len(ids) > _OF_COCO:
        of_coco += [Reading(categories="coco80"), Reading(categories="coco80", category_offset=-1)]
    if len(ids) == len(COCO_IDS) and tuple(ids) != COCO_IDS:
        of_coco.append(Reading(categories="coco91"))
    if not ids or ids == list(range(ids[0], ids[0] + len(ids))):
        return of_coco, []
    return of_coco, [Reading(categories="order"), Reading(categories="order", category_offset=-1)]


def squashed(name: str) -> str:
    """Return a category's name without regard to case, spaces, underscores and hyphens."""
    return re.sub(r"[\s_\-]+", "", name).casefold()
