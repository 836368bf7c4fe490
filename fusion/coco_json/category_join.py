"""How the categories of a results file are turned into those of a data set."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from fusion.coco_json.vocabulary import Listed, Vocabulary, examples, integer_like
from fusion.errors import InputError, option

__all__ = ["CategoryJoin"]


class CategoryJoin:
    """Turns the categories of a results file into category ids.

    Args:
        where: Name of the results file for messages.
        vocabulary: The categories that there are; None accepts any id.
        by: "id" or "name".
        label_map: Source id or name to target id or name; every source category has to be in it.
        offset: Added to integer ids.
        drop: Whether unknown categories are dropped; otherwise `finish` raises.
        listed: What the results file says about its categories.
    """

    def __init__(
        self,
        where: str,
        vocabulary: Vocabulary | None,
        by: str,
        label_map: Mapping[Any, int | str] | None,
        offset: int,
        drop: bool,
        listed: Listed,
    ) -> None:
        self._where, self._vocabulary, self._by, self._map = where, vocabulary, by, label_map
        self._offset, self._drop, self._listed = offset, drop, listed
        self._ids = None if vocabulary is None else set(vocabulary.category_ids.tolist())
        self._by_name: dict[str, list[int]] = {}
        if vocabulary is not None:
            for number, name in zip(vocabulary.category_ids.tolist(), vocabulary.category_names, strict=True):
                self._by_name.setdefault(name, []).append(number)
        self._found: dict[int | str, int | None] = {}
        self._counts: Counter[int | str] = Counter()
        self._texts = False

    def find(self, source: int | str, weight: int) -> int | None:
        """Return the id of a category of the results file; None if there is none.

        Args:
            source: Its id or name there.
            weight: Number of detections, for messages.

        Raises:
            InputError: If it is a name where an id is expected, or does not fit in 32 bits.
        """
        if source not in self._found:
            self._found[source] = self._resolve(source)
        self._counts[source] += weight
        return self._found[source]

    def finish(self) -> list[str]:
        """Return the notes.

        Raises:
            InputError: If there are unknown categories that are not to be dropped, or no known one.
        """
        unknown = {source: n for source, n in self._counts.items() if self._found[source] is None}
        lost = sum(unknown.values())
        known = len(self._counts) - len(unknown)
        target = "the label map" if self._map is not None else getattr(self._vocabulary, "where", "")
        if unknown and (not self._drop or not known):
            what = "none of its categories is" if not known else f"{len(unknown)} of its categories are not"
            raise InputError(
                self._where,
                f"{what} in {target}: {examples(unknown)} ({lost} detections); expected such as"
                f" {examples(self._expected())}",
                self._suggestion(),
            )
        notes = []
        if unknown:
            notes.append(f"dropped: {lost} detections of categories that are not in {target}: {examples(unknown)}")
        if self._texts:
            notes.append("category ids are texts, read as integers")
        if self._map is not None:
            notes.append(f"{known} categories renamed by the label map")
        elif self._by == "name":
            notes.append(f"{known} categories joined by name")
        elif self._offset:
            notes.append(f"{self._offset} added to category ids")
        return notes

    def _expected(self) -> Iterable[int | str]:
        if self._map is not None:
            return list(self._map)
        if self._vocabulary is None:
            return []
        names = self._by == "name"
        return list(self._vocabulary.category_names) if names else self._vocabulary.category_ids.tolist()

    def _suggestion(self) -> str:
        drop = "drop them with unknown_categories='drop'"
        if self._map is not None:
            return f"Add them to the label map, or {drop}"
        numbers = [source for source in self._counts if isinstance(source, int)]
        if self._by == "id" and self._ids and numbers and len(numbers) == len(self._counts):
            shift = min(self._ids) - min(numbers)
            if shift and all(number + shift in self._ids for number in numbers):
                return f"They fit with category_offset={shift}, if the order of the categories is the same"
        return f"Join them with categories='name' or a label map, or {drop}"

    def _resolve(self, source: int | str) -> int | None:
        if self._map is not None:
            return self._mapped(source, self._map)
        if self._by == "name":
            name = self._listed.categories.get(source, source)
            if not isinstance(name, str):
                raise InputError(
                    f"{self._where}, category {source}",
                    "categories are to be joined by name, but the file has no name for this category id",
                    "Use categories='id', or a label map from these ids to names",
                )
            return self._named(name)
        number = source
        if isinstance(number, str):
            read = integer_like(number)
            if read is None:
                raise InputError(
                    f"{self._where}, category {source!r}",
                    "expected a category id, got a name",
                    "Join categories by name with categories='name', or give a label map",
                )
            self._texts = True
            number = read
        number += self._offset
        if self._ids is not None:
            if number not in self._ids:
                return None
            self._compare_names(source, number)
        elif not -(2**31) <= number < 2**31:
            raise InputError(f"{self._where}, category {number}", "a category id has to fit in 32 bits")
        return number

    def _compare_names(self, source: int | str, number: int) -> None:
        name = self._listed.categories.get(source)
        if name is None or number in self._by_name.get(name, [number]):
            return
        names = {n: k for k, ids in self._by_name.items() for n in ids}
        raise InputError(
            f"{self._where}, category {source!r}",
            f"the file names it {name!r}, {getattr(self._vocabulary, 'where', '')} {names[number]!r}",
            "Join categories by name with categories='name'",
        )

    def _mapped(self, source: int | str, label_map: Mapping[Any, int | str]) -> int | None:
        keys: list[int | str | None] = [source, str(source), self._listed.categories.get(source)]
        if isinstance(source, str):
            keys.append(integer_like(source))
        for key in keys:
            if key is None or key not in label_map:
                continue
            target = label_map[key]
            number = self._named(target) if isinstance(target, str) else target
            if number is None and isinstance(target, str):
                number = integer_like(target)
            if number is None or (self._ids is not None and number not in self._ids):
                source_name = getattr(self._vocabulary, "where", "a ground truth")
                raise InputError(
                    f"option {option('label_map')}, {key!r}",
                    f"its target {target!r} is not a category of {source_name}",
                    "Name one of its ids or names",
                )
            if not -(2**31) <= number < 2**31:
                raise InputError(
                    f"option {option('label_map')}, {key!r}", f"a category id has to fit in 32 bits, got {number}"
                )
            return number
        return None

    def _named(self, name: str) -> int | None:
        ids = self._by_name.get(name, [])
        if len(ids) > 1:
            raise InputError(
                getattr(self._vocabulary, "where", ""),
                f"categories {ids[0]} and {ids[1]} are both named {name!r}",
                "Use a label map to ids",
            )
        return ids[0] if ids else None
