"""How the images of a results file are found among those of a data set."""

from collections import Counter
from collections.abc import Iterable
from pathlib import PurePosixPath

import numpy as np

from fusion.coco_json.vocabulary import Listed, Vocabulary, examples, integer_like
from fusion.errors import InputError

__all__ = ["ImageJoin"]


class ImageJoin:
    """Finds the images of a results file among those of a vocabulary.

    Args:
        where: Name of the results file for messages.
        vocabulary: What is joined to.
        by: "id" or "file_name".
        offset: Added to integer ids.
        drop: Whether images that are not found are dropped; otherwise `finish` raises.
        listed: What the results file says about its images.
    """

    def __init__(self, where: str, vocabulary: Vocabulary, by: str, offset: int, drop: bool, listed: Listed) -> None:
        self._where, self._vocabulary, self._by, self._offset = where, vocabulary, by, offset
        self._drop, self._listed = drop, listed
        ids = vocabulary.image_ids
        self._integers = ids.dtype.kind in "iu"
        self._order = np.argsort(ids, kind="stable") if self._integers else np.zeros(0, np.int64)
        self._sorted = ids[self._order] if self._integers else ids[:0]
        self._place = {} if self._integers else {str(name): place for place, name in enumerate(ids)}
        self._names: _FileNames | None = None
        self._converted = False
        self._unknown: Counter[int | str] = Counter()
        self._known = 0
        self._seen = np.zeros(len(ids), np.bool_)

    def places(self, ids: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Find images.

        Args:
            ids: [n] int64, or object of str; ids of the results file, the same one may occur again.
            weights: int64 [n], number of detections behind each, for messages.

        Returns:
            int64 [n], places in the vocabulary, -1 for images that are not there.

        Raises:
            InputError: If they are joined by file name, and there is none, or it is ambiguous.
        """
        if ids.dtype.kind in "iu":
            places = self._integer_places(ids)
        else:
            places = np.array([self._text_place(str(name)) for name in ids], np.int64)
        found = places >= 0
        self._seen[places[found]] = True
        self._known += int(weights[found].sum())
        for place in np.flatnonzero(~found).tolist():
            self._unknown[ids[place] if isinstance(ids[place], str) else int(ids[place])] += int(weights[place])
        return places

    def place(self, image: int | str) -> int:
        """Find one image without counting it; -1 where it is not there."""
        if isinstance(image, str):
            return self._text_place(image)
        return int(self._integer_places(np.array([image], np.int64))[0])

    def finish(self) -> list[str]:
        """Return the notes.

        Raises:
            InputError: If no image was found, or some were not and are not to be dropped.
        """
        if not self._known and not self._unknown:
            return []
        source = self._vocabulary.where
        lost = sum(self._unknown.values())
        detections = "1 detection is" if lost == 1 else f"{lost} detections are"
        images = f"{len(self._unknown)} image{'s' if len(self._unknown) > 1 else ''} that {source} does not have"
        if not self._known:
            raise InputError(
                self._where,
                f"it has no image in common with {source}: its image ids are such as {examples(self._unknown)}, "
                f"expected such as {examples(self._expected())}",
                "These are results on another data set, unless the images are to be joined with"
                " images='file_name' or image_offset",
            )
        if self._unknown and not self._drop:
            raise InputError(
                self._where,
                f"{detections} on {images}: {examples(self._unknown)}",
                "Give the ground truth of these results, or drop them with unknown_images='drop'",
            )
        notes = []
        if self._unknown:
            notes.append(f"dropped: {detections} on {images}: {examples(self._unknown)}")
        if self._by == "file_name":
            how = self._names.summary() if self._names else ""
            notes.append(f"{int(self._seen.sum())} images joined by file name{how}")
        elif self._offset:
            notes.append(f"{self._offset} added to image ids")
        if self._by == "id":
            self._compare_names()
        if self._converted:
            kind = "texts, read as integers" if self._integers else f"integers, read as texts as in {source}"
            notes.append(f"image ids are {kind}")
        return notes

    def _compare_names(self) -> None:
        """Refuse a join by id where the file names say that the ids number the images differently."""
        names = self._vocabulary.file_names
        if names is None or not self._listed.file_names:
            return
        spelled: dict[str, int] = {}
        for place, name in enumerate(names):
            spelled.setdefault(_spellings(name)[2], place)
        for image, name in self._listed.file_names.items():
            place = self.place(image)
            other = spelled.get(_spellings(name)[2], place)
            if place >= 0 and other != place and _spellings(names[place])[2] != _spellings(name)[2]:
                raise InputError(
                    f"{self._where}, image {image}",
                    f"the file names it {name!r}, {self._vocabulary.where} {names[place]!r}",
                    "Join images by file name with images='file_name'",
                )

    def _expected(self) -> Iterable[int | str]:
        if self._by == "file_name":
            return list((self._vocabulary.file_names or ())[:5])
        ids: list[int | str] = self._vocabulary.image_ids[:5].tolist()
        return ids

    def _integer_places(self, ids: np.ndarray) -> np.ndarray:
        if self._by == "file_name":
            return np.array([self._named_place(int(number)) for number in ids], np.int64)
        if self._offset:
            wide = 2**63 - 1 - abs(self._offset)
            if len(ids) and (int(ids.max()) > wide or int(ids.min()) < -wide):
                raise InputError(self._where, f"an image id plus {self._offset} is beyond 64 bits", "Mend image_offset")
            ids = ids + self._offset
        if not self._integers:
            self._converted = True
            return np.array([self._place.get(str(number), -1) for number in ids.tolist()], np.int64)
        if not len(self._sorted):
            return np.full(len(ids), -1)
        near = np.minimum(np.searchsorted(self._sorted, ids), len(self._sorted) - 1)
        return np.where(self._sorted[near] == ids, self._order[near], -1)

    def _text_place(self, name: str) -> int:
        if self._by == "file_name":
            return self._named_place(name)
        if not self._integers:
            return self._place.get(name, -1)
        number = integer_like(name)
        if number is None or not -(2**63) <= number + self._offset < 2**63:
            return -1
        self._converted = True
        return int(self._integer_places(np.array([number], np.int64))[0])

    def _named_place(self, image: int | str) -> int:
        name = self._listed.file_names.get(image)
        if name is None and isinstance(image, int):
            raise InputError(
                f"{self._where}, image {image}",
                "images are to be joined by file name, but the file has none for this image id",
                "Use images='id'",
            )
        if self._names is None:
            if self._vocabulary.file_names is None:
                raise InputError(self._vocabulary.where, "it has no file names to join images by", "Use images='id'")
            self._names = _FileNames(self._where, self._vocabulary.where, self._vocabulary.file_names)
        return self._names.place(str(image) if name is None else name)


class _FileNames:
    """Finds file names: as they are, else without folder, else without folder and suffix."""

    def __init__(self, where: str, source: str, names: tuple[str, ...]) -> None:
        self._where, self._source, self._all = where, source, names
        self._places: list[dict[str, list[int]]] = [{}, {}, {}]
        for place, name in enumerate(names):
            for level, key in enumerate(_spellings(name)):
                self._places[level].setdefault(key, []).append(place)
        self._found: dict[str, int] = {}
        self._taken: dict[int, str] = {}
        self._levels = [0, 0, 0]

    def place(self, name: str) -> int:
        if name not in self._found:
            self._found[name] = self._search(name)
        return self._found[name]

    def summary(self) -> str:
        how = ("as they are", "without folders", "without folders and suffixes")
        return " (" + ", ".join(f"{n} {way}" for n, way in zip(self._levels, how, strict=True) if n) + ")"

    def _search(self, name: str) -> int:
        for level, key in enumerate(_spellings(name)):
            places = self._places[level].get(key, [])
            if len(places) > 1:
                both = f"{self._all[places[0]]!r} and {self._all[places[1]]!r}"
                raise InputError(
                    f"{self._where}, image {name!r}",
                    f"its file name fits several images of {self._source}: {both}",
                    "Give file names with their folders",
                )
            if places:
                other = self._taken.setdefault(places[0], name)
                if other != name:
                    raise InputError(
                        f"{self._where}, images {other!r} and {name!r}",
                        f"both file names fit image {self._all[places[0]]!r} of {self._source}",
                        "Give file names with their folders",
                    )
                self._levels[level] += 1
                return places[0]
        return -1


def _spellings(name: str) -> tuple[str, str, str]:
    path = PurePosixPath(name.replace("\\", "/"))
    return name, path.name, path.stem
