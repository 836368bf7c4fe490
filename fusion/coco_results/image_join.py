"""How the images of a results file are found among those of a data set."""

from collections.abc import Iterable, Sequence
from typing import cast

import numpy as np

from fusion.coco_results.file_names import AMBIGUOUS, NOT_THERE, FileNames, normal_name
from fusion.coco_results.raw import RecordKey
from fusion.coco_results.reading import Reading
from fusion.coco_results.vocabulary import OwnLists, Vocabulary, examples, integer_like
from fusion.errors import InputError, option

__all__ = ["ImageJoin"]

_ORDERS = {"order": "the images", "id_order": "the images by id", "name_order": "the images by name"}


class ImageJoin:
    """Finds the images of a results file among those of a vocabulary.

    Args:
        where: Name of the results file for messages.
        vocabulary: What is joined to.
        reading: What image ids mean.
        drop: Whether images that are not found are dropped; otherwise they are an error.
        listed: What the results file says about its images.

    Attributes:
        notes: What was done, after `places`.
    """

    def __init__(self, where: str, vocabulary: Vocabulary, reading: Reading, drop: bool, listed: OwnLists) -> None:
        self._where, self._vocabulary, self._drop, self._listed = where, vocabulary, drop, listed
        self._by = "id" if reading.images is None and reading.image_offset else reading.images
        self._offset = reading.image_offset
        ids = vocabulary.image_ids
        self._integers = ids.dtype.kind in "iu"
        self._place = {number: place for place, number in enumerate(ids.tolist())}
        self._file_names: FileNames | None = None
        self._converted = False
        self.notes: list[str] = []

    def place(self, key: RecordKey) -> int:
        """Find one image by its id and name as well as can be told from them alone; -1 where it is not there."""
        if self._by in _ORDERS:
            return self._ordered([key])[0]
        name = self._name(key)
        by_id = NOT_THERE if self._by == "file_name" or key.id is None else self._id_place(key.id)
        if (name is None and by_id >= 0) or self._by == "id" or self._names is None:
            return by_id
        by_name = self._names.place(str(key.id) if name is None else name)
        return by_name if by_name >= 0 else by_id

    def places(self, keys: Sequence[RecordKey], weights: np.ndarray) -> tuple[np.ndarray, list[InputError]]:
        """Find images.

        Args:
            keys: [n] what the file says of each.
            weights: int64 [n], number of detections behind each, for messages.

        Returns:
            int64 [n], places in the vocabulary, -1 for images that are not there; and what is wrong.
        """
        self._converted = False
        try:
            if self._by is None:
                places = self._agreed(keys, weights)
            elif self._by == "file_name":
                places = self._named(keys)
            elif self._by == "id":
                places = self._id_places([self._id_of(key) for key in keys])
                if self._offset:
                    self.notes.append(f"{self._offset} added to image ids")
            else:
                places = self._ordered(keys)
                self.notes.append(f"image ids count {_ORDERS[str(self._by)]} from {-self._offset}")
        except InputError as error:
            return np.full(len(keys), -1), [error]
        found = np.array(places, np.int64).reshape(-1)
        if self._converted:
            kind = (
                "texts, read as integers"
                if self._integers
                else f"integers, read as texts as in {self._vocabulary.where}"
            )
            self.notes.append(f"image ids are {kind}")
        return found, self._missing(keys, weights, found)

    @property
    def _names(self) -> FileNames | None:
        """The file names of the vocabulary; None where it has none."""
        if self._file_names is None and self._vocabulary.file_names is not None:
            self._file_names = FileNames(self._vocabulary.file_names)
        return self._file_names

    def _name(self, key: RecordKey) -> str | None:
        if key.name is not None:
            return key.name
        return None if key.id is None else self._listed.file_names.get(key.id)

    def _agreed(self, keys: Sequence[RecordKey], weights: np.ndarray) -> list[int]:
        """Find images by what the file has: ids, names beside them, or names in their place."""
        names = [self._name(key) for key in keys]
        by_id = self._id_places([key.id for key in keys])
        if not any(names):
            return self._ids_or_names(keys, by_id, weights)
        if self._names is None:
            return by_id
        by_name = [NOT_THERE if name is None else self._names.place(name) for name in names]
        if max(by_name) < 0 and AMBIGUOUS not in by_name:
            if any(place >= 0 for place in by_id):
                self.notes.append(
                    f"its file names, such as {next(filter(None, names))!r}, are none of {self._vocabulary.where};"
                    " images are joined by id"
                )
            return by_id
        both = [
            (n, i) for n, (a, i) in enumerate(zip(by_name, by_id, strict=True)) if a >= 0 and keys[n].id is not None
        ]
        other = [n for n, i in both if i != by_name[n]]
        places = []
        for n, place in enumerate(by_name):
            if place == AMBIGUOUS and (other or by_id[n] < 0 or not self._fits(by_id[n], str(names[n]))):
                raise self._ambiguous(str(names[n]))
            places.append(place if place >= 0 else NOT_THERE if other else by_id[n])
        self._check_apart(places, names)
        joined = sum(place >= 0 for place in by_name)
        meant = [n for n in other if by_id[n] >= 0]
        if meant:
            key, source = keys[meant[0]], self._vocabulary
            theirs = (source.file_names or ())[by_id[meant[0]]]
            self.notes.append(
                f"the file names of {len(meant)} images are not those that {source.where} has for their ids (image"
                f" {key.id} is {names[meant[0]]!r} here and {theirs!r} there); {joined} images joined by file name"
            )
        elif other or len(both) < joined:
            self.notes.append(f"{joined} images joined by file name{self._names.summary()}")
        return places

    def _ids_or_names(self, keys: Sequence[RecordKey], by_id: list[int], weights: np.ndarray) -> list[int]:
        """Read ids as names where more of them are found so, as where they are files' names without suffix."""
        if all(place >= 0 for place in by_id) or self._names is None:
            return by_id
        by_name = [self._names.place(str(key.id)) for key in keys]
        as_id, as_name = (int(weights[np.array(places) >= 0].sum()) for places in (by_id, by_name))
        if as_name <= as_id:
            return by_id
        for n, place in enumerate(by_name):
            if place == AMBIGUOUS:
                raise self._ambiguous(str(keys[n].id))
        self._check_apart(by_name, [str(key.id) for key in keys])
        self.notes.append(f"image ids are file names: {len(keys)} images joined by them{self._names.summary()}")
        self._converted = False
        return by_name

    def _named(self, keys: Sequence[RecordKey]) -> list[int]:
        if self._names is None:
            raise InputError(
                self._vocabulary.where, "it has no file names to join images by", f"Use {option('images', 'id')}"
            )
        names = [self._name(key) or str(key.id) for key in keys]
        places = [self._names.place(name) for name in names]
        if AMBIGUOUS in places:
            raise self._ambiguous(names[places.index(AMBIGUOUS)])
        self._check_apart(places, names)
        joined = len({place for place in places if place >= 0})
        self.notes.append(f"{joined} images joined by file name{self._names.summary()}")
        return places

    def _ordered(self, keys: Sequence[RecordKey]) -> list[int]:
        count = len(self._vocabulary.image_ids)
        order = self._vocabulary.order
        if self._by == "name_order":
            if self._vocabulary.file_names is None:
                raise InputError(
                    self._vocabulary.where, "it has no file names to count", f"Use {option('images', 'id')}"
                )
            order = np.array(sorted(range(count), key=self._vocabulary.file_names.__getitem__), np.int64)
        elif self._by == "id_order":
            order = np.argsort(self._vocabulary.image_ids, kind="stable")
        elif order is None:
            order = np.arange(count)
        places = []
        for key in keys:
            number = integer_like(key.id) if isinstance(key.id, str) else key.id
            number = -1 if number is None else number + self._offset
            places.append(int(order[number]) if 0 <= number < count else NOT_THERE)
        return places

    def _id_of(self, key: RecordKey) -> int | str:
        if key.id is None:
            raise InputError(
                f"{self._where}, image {key.name!r}",
                "images are to be joined by id, but the file has none for this image",
                f"Use {option('images', 'file_name')}",
            )
        return key.id

    def _id_places(self, ids: Sequence[int | str | None]) -> list[int]:
        if self._integers and set(map(type, ids)) == {int}:  # as nearly all files have them
            numbers = cast(Sequence[int], ids)
            self._shifted(min(numbers)), self._shifted(max(numbers))
            place, offset = self._place.get, self._offset
            return [place(number + offset, NOT_THERE) for number in numbers]
        return [NOT_THERE if image is None else self._id_place(image) for image in ids]

    def _id_place(self, image: int | str) -> int:
        if isinstance(image, str) and self._integers:
            number = integer_like(image)
            if number is None and image.isascii() and image.isdigit() and len(image) < 20:
                number = int(image)  # with leading zeros
            if number is None:
                return NOT_THERE
            place = self._place.get(self._shifted(number), NOT_THERE)
            self._converted |= place >= 0
            return place
        if isinstance(image, int):
            image = self._shifted(image)
            if not self._integers:
                place = self._place.get(str(image), NOT_THERE)
                self._converted |= place >= 0
                return place
        return self._place.get(image, NOT_THERE)

    def _shifted(self, number: int) -> int:
        shifted = number + self._offset
        if self._offset and not -(2**63) <= shifted < 2**63:
            problem = f"an image id plus {self._offset} is beyond 64 bits"
            raise InputError(self._where, problem, f"Mend {option('image_offset')}")
        return shifted

    def _fits(self, place: int, name: str) -> bool:
        return self._names is not None and (self._vocabulary.file_names or ())[place] in self._names.fitting(name)

    def _ambiguous(self, name: str) -> InputError:
        first, second = (self._names.fitting(name) if self._names else ["", ""])[:2]
        return InputError(
            f"{self._where}, image {name!r}",
            f"its file name fits several images of {self._vocabulary.where}: {first!r} and {second!r}",
            f"Give file names with their folders, or join by id with {option('images', 'id')}",
        )

    def _check_apart(self, places: Sequence[int], names: Sequence[str | None]) -> None:
        """Refuse two names of different files for one image."""
        taken: dict[int, str] = {}
        for place, name in zip(places, names, strict=True):
            if place < 0 or name is None:
                continue
            other = taken.setdefault(place, name)
            if normal_name(other) != normal_name(name):
                source = self._vocabulary
                raise InputError(
                    f"{self._where}, images {other!r} and {name!r}",
                    f"both file names fit image {(source.file_names or ())[place]!r} of {source.where}",
                    f"Give file names with their folders, or join by id with {option('images', 'id')}",
                )

    def _missing(self, keys: Sequence[RecordKey], weights: np.ndarray, places: np.ndarray) -> list[InputError]:
        """Return what is to be said of images that were not found, noting those that are dropped."""
        unknown = {self._shown(keys[n]): int(weights[n]) for n in np.flatnonzero(places < 0).tolist() if weights[n]}
        if not unknown:
            return []
        source = self._vocabulary.where
        lost = sum(unknown.values())
        detections = "1 detection is" if lost == 1 else f"{lost} detections are"
        images = f"{len(unknown)} image{'s' if len(unknown) > 1 else ''} that {source} does not have"
        if not (places >= 0).any():
            named = [key.name or key.id for key in keys]
            names = [name for name in self._vocabulary.file_names or () if name]
            if all(isinstance(name, str) and integer_like(name) is None for name in named):
                expected = (
                    f"file names such as {examples(names)}" if names else f"ids such as {examples(self._expected())}"
                )
                remedy = "files were renamed: give them the names that the ground truth has"
                if not names:
                    remedy = "it is the ground truth that lacks the file_name of its images: add it"
                return [
                    InputError(
                        self._where,
                        f"it has no image in common with {source}: its images are such as {examples(unknown)}, expected"
                        f" {expected}",
                        f"These are results on another data set, unless {remedy}",
                    )
                ]
            return [
                InputError(
                    self._where,
                    f"it has no image in common with {source}: its image ids are such as {examples(unknown)}, "
                    f"expected such as {examples(self._expected())}",
                    "These are results on another data set, unless the images are to be joined with"
                    f" {option('images', 'file_name')} or {option('image_offset')}",
                )
            ]
        if self._vocabulary.partial:
            self.notes.append(f"{detections} on {images}, kept: {examples(unknown)}")
            return []
        if not self._drop:
            remedy = f"Give the ground truth of these results, or drop them with {option('unknown_images', 'drop')}"
            shift = self._fitting_shift(keys)
            if shift:
                fitting = f"Each is one with {option('image_offset', shift)}, if ids are counted from another number"
                remedy = f"{fitting}; else {remedy[0].lower()}{remedy[1:]}"
            return [InputError(self._where, f"{detections} on {images}: {examples(unknown)}", remedy)]
        self.notes.append(f"dropped: {detections} on {images}: {examples(unknown)}")
        return []

    def _fitting_shift(self, keys: Sequence[RecordKey]) -> int:
        """Return by how many the ids have to be shifted for all to be known, 0 where one step either way is not it."""
        ids = [key.id for key in keys if isinstance(key.id, int) and key.name is None]
        if self._by is not None or not self._integers or len(ids) < len(keys):
            return 0
        return next((shift for shift in (-1, 1) if all(number + shift in self._place for number in ids)), 0)

    def _shown(self, key: RecordKey) -> int | str:
        return str(key.name) if key.id is None else key.id

    def _expected(self) -> Iterable[int | str]:
        if self._by == "file_name":
            return list((self._vocabulary.file_names or ())[:5])
        ids: list[int | str] = self._vocabulary.image_ids[:5].tolist()
        return ids
