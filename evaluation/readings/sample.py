"""The confident boxes of a results file, read in any way and held against the objects of the ground truth."""

from dataclasses import dataclass, replace

import numpy as np

from evaluation.ground_truth import GroundTruth
from evaluation.readings.agreement import Agreement, ObjectPairs, Objects, meeting
from fusion.arrow_arrays import arrow_array, numpy_array
from fusion.box_formats import box_corners
from fusion.coco_results import RawResults, Reading
from fusion.masks import mask_bounds

__all__ = ["Sample", "expected_objects", "most_confident", "of_annotated", "some_rows"]

_MOST, _LEAST, _FEW = 2000, 20, 20
_ROWS = 65536
_NOWHERE = -(2**40)  # no category id


def some_rows(count: int) -> np.ndarray:
    """Return rows to look at, ascending: all, or 65,536 drawn at random, int64."""
    return np.arange(count) if count <= _ROWS else np.sort(np.random.default_rng(0).integers(0, count, _ROWS))


def expected_objects(truth: GroundTruth, images: int) -> int:
    """Return how many objects so many images of the ground truth have on average, regions of several left out."""
    return round(float((~truth.crowd).sum()) * min(images / max(len(truth.image_id), 1), 1))


def most_confident(category: np.ndarray, score: np.ndarray, objects: int) -> np.ndarray:
    """Return the rows with the best scores of all and of each category, in random order.

    Of what a detector finds beyond the number of objects most is wrong, however good it is; so no more rows than that
    are taken (but 20), and at most 2,000.

    Args:
        category: [n] integers.
        score: [n].
        objects: Number of objects that there are to be found.
    """
    n = len(score)
    overall, within = np.empty(n, np.int64), np.empty(n, np.int64)
    overall[np.argsort(-score, kind="stable")] = np.arange(n)
    rows = np.lexsort((-score, category))
    ordered = category[rows]
    within[rows] = np.arange(n) - np.searchsorted(ordered, ordered)
    rank = np.minimum(overall, within * len(np.unique(category)))
    most = min(max(objects, _LEAST), _MOST)
    return np.random.default_rng(0).permutation(np.argsort(rank, kind="stable")[:most])


def of_annotated(category_id: np.ndarray, truth: GroundTruth) -> np.ndarray:
    """Return which detections are of a category that any object has, or all where those are too few: bool [n]."""
    there = np.isin(category_id, truth.category_id[np.unique(truth.category)])
    enough: np.ndarray = there if there.sum() >= _FEW else np.ones(len(there), np.bool_)
    return enough


@dataclass(frozen=True)
class Sample:
    """Confident boxes of a file.

    Attributes:
        raw: The file.
        truth: The ground truth.
        objects: Its objects.
        box: float64 [n, 4], as they stand in the file.
        image: int32 [n], index into the file's images.
        key: int32 [n], index into its categories.
        masks: Whether boxes are the bounds of masks, which are read in one way only.
        places: Where the file's images are found, by reading; shared between the parts of a sample.
        numbers: The ids of its categories, likewise.
        beside: The objects beside the boxes, by reading.
    """

    raw: RawResults
    truth: GroundTruth
    objects: Objects
    box: np.ndarray
    image: np.ndarray
    key: np.ndarray
    masks: bool
    places: dict[Reading, np.ndarray]
    numbers: dict[Reading, np.ndarray]
    beside: dict[Reading, ObjectPairs]

    @classmethod
    def of(cls, raw: RawResults, truth: GroundTruth) -> "Sample | None":
        """Draw the most confident boxes, of all and of each category; None where there are no boxes to look at."""
        columns = raw.columns
        rows = some_rows(len(columns.score))
        boxless = np.isnan(columns.box[rows, 0])
        masked = np.zeros(len(rows), np.bool_)
        if columns.mask is not None and boxless.any():
            masked = numpy_array(columns.mask.take(arrow_array(rows)).is_valid())
        rows = rows[masked | ~boxless]
        if not len(rows) or truth.unit != "pixel":
            return None
        objects = expected_objects(truth, len(columns.images))
        rows = rows[most_confident(columns.category[rows], columns.score[rows], objects)]
        box = columns.box[rows]
        boxless = np.isnan(box[:, 0])
        if columns.mask is not None and boxless.any():
            box[boxless] = mask_bounds(columns.mask.take(arrow_array(rows[boxless])))
        keys = columns.image[rows], columns.category[rows]
        return cls(raw, truth, Objects(truth), box, *keys, bool(boxless.any()), {}, {}, {})

    def __len__(self) -> int:
        return len(self.box)

    def part(self, rows: slice | np.ndarray) -> "Sample":
        """Return some of the boxes."""
        return replace(self, box=self.box[rows], image=self.image[rows], key=self.key[rows], beside={})

    def settled(self, reading: Reading) -> bool:
        """Tell whether there is nothing to ask about what boxes mean."""
        return self.masks or reading.says_boxes

    def place(self, reading: Reading) -> np.ndarray:
        """Return the image of each box, -1 where a reading finds none: int64 [n]."""
        images = _of_images(reading)
        if images not in self.places:
            self.places[images] = self.raw.images(self.truth.vocabulary, images)
        places: np.ndarray = self.places[images][self.image]
        return places

    def pairs(self, reading: Reading) -> ObjectPairs:
        """Return the boxes beside the objects of their images."""
        images = _of_images(reading)
        if images not in self.beside:
            self.beside[images] = self.objects.pairs(self.place(reading))
        return self.beside[images]

    def corners(self, reading: Reading, place: np.ndarray) -> np.ndarray:
        """Return the boxes as a reading has them: float64 [n, 4] corners in pixels."""
        box_format, picture = reading.how
        size = self.size(place)
        return picture.undo(box_corners(self.box, box_format, size), size)

    def size(self, place: np.ndarray) -> np.ndarray:
        """Return height and width of the image of each box, 1 where it is not known: int64 [n, 2]."""
        size = np.stack([self.truth.height[place], self.truth.width[place]], axis=1).astype(np.int64)
        known: np.ndarray = np.where((size > 0) & (place >= 0)[:, None], size, 1)
        return known

    def inside(self, reading: Reading) -> np.ndarray:
        """Return which boxes lie inside their image, but for a hundredth of its sides: bool [n].

        A box of an image whose size is not known does.
        """
        place = self.place(reading)
        corners = self.corners(reading, place)
        height, width = (side[place] * 1.01 for side in (self.truth.height, self.truth.width))
        known = (place >= 0) & (height > 0) & (width > 0)
        x1, y1, x2, y2 = corners.T
        beside = (x1 < width / -100) | (y1 < height / -100) | (x2 > width) | (y2 > height)
        inside: np.ndarray = ~(known & beside)
        return inside

    def categories(self, reading: Reading) -> np.ndarray:
        """Return the category id of each box: int64 [n]."""
        how = Reading(categories=reading.categories, category_offset=reading.category_offset)
        if reading.label_map is not None:
            how = Reading(label_map=reading.label_map)
        if how not in self.numbers:
            found = self.raw.categories(self.truth.vocabulary, how)
            self.numbers[how] = np.array([_NOWHERE if number is None else number for number in found], np.int64)
        ids: np.ndarray = self.numbers[how][self.key]
        return ids

    def annotated(self, reading: Reading) -> np.ndarray:
        """Return which boxes are of a category that any object has, or all where those are too few: bool [n]."""
        return of_annotated(self.categories(reading), self.truth)

    def agreement(self, reading: Reading) -> Agreement:
        """Return what the boxes meet under a reading."""
        place = self.place(reading)
        return meeting(self.corners(reading, place), self.categories(reading), self.pairs(reading))


def _of_images(reading: Reading) -> Reading:
    """Return what a reading says of images alone."""
    return Reading(images=reading.images, image_offset=reading.image_offset)
