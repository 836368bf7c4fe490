"""Other readings of boxes and images, and the one under which boxes lie best on objects."""

from collections.abc import Iterator
from dataclasses import replace

from evaluation.readings.pictures import usual_pictures, voted_pictures
from evaluation.readings.sample import Sample
from fusion.box_formats import BOX_FORMATS, Picture, box_corners
from fusion.coco_results import Reading

__all__ = ["LOW", "best_reading"]

LOW = 0.5
"""Share of boxes that meet objects below which something may be wrong."""

_CLEARLY = 0.85
_SIZED = ("xywh", "xyxy", "cxcywh")  # formats that are tried in pictures of other sizes


def best_reading(sample: Sample, plain: Reading) -> Reading:
    """Return the reading under which boxes lie best on objects, the plainer one unless the other does so clearly."""
    images = list(_image_readings(sample, plain))
    formats, usual = ([], []) if sample.settled(plain) else (_formats(plain), _usual(plain))
    best = _Best(sample, plain)
    best.look([*images, *formats])
    best.look(usual)
    if formats:
        voted = [_with(plain, name, picture) for name in _sized(plain) for picture in _voted(sample, plain, name)]
        for plainer in (True, False):
            best.look([r for r in voted if r.picture is not None and (r.picture.kind == "scaled") == plainer])
    if best.meets < LOW:  # two faults at once
        for other in images:
            best.look([replace(r, images=other.images, image_offset=other.image_offset) for r in (*formats, *usual)])
            if formats:
                best.look([replace(other, picture=picture) for picture in _voted(sample, other, plain.native)])
    return best.reading


class _Best:
    """The best reading among those looked at.

    Args:
        sample: The boxes.
        reading: The first one.
    """

    def __init__(self, sample: Sample, reading: Reading) -> None:
        self._sample = sample
        self.reading, (self._iou, self.meets) = reading, self._measure(reading)

    def look(self, readings: list[Reading]) -> None:
        """Take the best of some readings if it takes away 15 % of what the mean IoU lacks: it is further fetched."""
        measured = [self._measure(reading) for reading in readings]
        if not measured:
            return
        best = max(measured)
        if best[0] > self._iou and 1 - best[0] <= _CLEARLY * (1 - self._iou):
            self._iou, self.meets = best
            self.reading = readings[measured.index(best)]

    def _measure(self, reading: Reading) -> tuple[float, float]:
        found = self._sample.agreement(reading)
        return float(found.best.mean()), float(found.meets.mean())


def _formats(plain: Reading) -> list[Reading]:
    return [_with(plain, name, None) for name in BOX_FORMATS if name not in (plain.native, "xyxy_inclusive")]


def _usual(plain: Reading) -> list[Reading]:
    return [
        _with(plain, name, picture)
        for picture in usual_pictures()
        for name in (BOX_FORMATS if picture.kind in ("mirrored", "flipped") else _sized(plain))
    ]


def _sized(plain: Reading) -> tuple[str, ...]:
    return tuple(dict.fromkeys((plain.native, *_SIZED)))


def _with(plain: Reading, box_format: str, picture: Picture | None) -> Reading:
    return replace(plain, box_format=None if box_format == plain.native else box_format, picture=picture)


def _voted(sample: Sample, reading: Reading, box_format: str) -> Iterator[Picture]:
    place = sample.place(reading)
    size = sample.size(place)
    return voted_pictures(box_corners(sample.box, box_format, size), sample.pairs(reading), size)


def _image_readings(sample: Sample, plain: Reading) -> Iterator[Reading]:
    if plain.says_images:
        return
    ids = [key.id for key in sample.raw.columns.images if isinstance(key.id, int)]
    known = sample.truth.image_id
    if len(ids) < len(sample.raw.columns.images):
        ids = []
    if ids and known.dtype != object:
        shifts = {-1, 1, int(known[0]) - min(ids), int(known[-1]) - max(ids)} - {0}
        for shift in sorted(shifts, key=abs):
            yield replace(plain, image_offset=shift)
    if any(sample.truth.file_name):
        yield replace(plain, images="file_name")
    if ids:
        for name in ("order", "id_order", "name_order") if all(sample.truth.file_name) else ("order", "id_order"):
            for first in (0, -1):
                if min(ids) + first >= 0 and max(ids) + first < len(known):
                    yield replace(plain, images=name, image_offset=first)
