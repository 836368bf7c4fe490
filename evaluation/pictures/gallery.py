"""Choosing images by what tables found on them, and drawing them: the ground truth and every table side by side."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evaluation.ground_truth import GroundTruth
from evaluation.pictures.verdicts import NEITHER, RIGHT, WRONG, Verdicts, judge, per_image
from evaluation.prepared import Prepared, prepare
from evaluation.protocol import Coco, Lvis
from evaluation.result import CocoResult
from evaluation.truth_columns import places_of
from fusion.errors import InputError, option
from fusion.table import DetectionTable

if TYPE_CHECKING:
    from PIL.Image import Image

    from evaluation.pictures.folder import PictureFolder

__all__ = ["Gallery", "Shown", "show"]


@dataclass(frozen=True, eq=False)
class Gallery:
    """Images of a ground truth with what tables found on them, drawn one by one.

    Detections of at least a table's `least_score` are matched by the official rules; the errors of an image are its
    wrong detections and its missed objects. Images are chosen by a number that their pictures show, those where it is 0
    left out; of equal ones by errors at all IoU thresholds of the protocol, from the same matching, then by their ids.

    Attributes:
        prepared: Ground truth for boxes or masks.
        verdicts: What is right and wrong, for each table in the order of the panels.
        subject: Which table images are chosen by: the fused one, else the last.
        rival: What it is compared with: the input of highest AP of a fused table, else the first table.
        folder: Picture files; None for empty frames.
        iou: From which a detection is right in the pictures.
        category: Index of the only category that is shown; None for all.
        size: Pixels of a panel's longer side.
    """

    prepared: Prepared
    verdicts: tuple[Verdicts, ...]
    subject: int
    rival: int
    folder: "PictureFolder | None"
    iou: float
    category: int | None
    size: int

    def __repr__(self) -> str:
        return f"Gallery({len(self):,} images, {', '.join(own.name for own in self.verdicts)})"

    def __len__(self) -> int:
        return len(self.truth.image_id)

    @property
    def truth(self) -> GroundTruth:
        """The images."""
        return self.prepared.ground_truth

    def worst(self, count: int) -> "list[Shown]":
        """Choose images with the most errors of the subject."""
        own = self.verdicts[self.subject]
        return self._most(self._errors(own), own.errors, count, "errors")

    def most_improved(self, count: int) -> "list[Shown]":
        """Choose images where the subject has the fewest errors beside its rival.

        Raises:
            InputError: If there is one table only.
        """
        if len(self.verdicts) < 2:
            raise InputError("tables", "one has nothing to be better than", "Give two tables or more")
        first, last = self.verdicts[self.rival], self.verdicts[self.subject]
        fewer = self._errors(first) - self._errors(last)
        return self._most(fewer, first.errors - last.errors, count, f"fewer errors than {first.name}")

    def false_positives(self, count: int) -> "list[Shown]":
        """Choose images with the most wrong detections of the subject."""
        own = self.verdicts[self.subject]
        return self._most(own.count(WRONG), own.errors, count, "wrong detections")

    def missed(self, count: int) -> "list[Shown]":
        """Choose images with the most missed objects of the subject."""
        own = self.verdicts[self.subject]
        return self._most(self._missed(own), own.errors, count, "missed objects")

    def named(self, images: Sequence[Any]) -> "list[Shown]":
        """Choose images by their ids, or by the names of their files.

        Raises:
            InputError: If the ground truth does not have one.
        """
        known = self.truth.image_id
        texts = {str(name): place for place, name in enumerate(self.truth.file_name) if name}
        texts |= {str(key): place for place, key in enumerate(known.tolist())}
        chosen = []
        for rank, name in enumerate(images, 1):
            if str(name) not in texts:
                some = ", ".join(repr(key) for key in known[:3].tolist())
                raise InputError(
                    self.truth.source, f"it has no image {name!r}; it has such as {some}", "Name one of it"
                )
            chosen.append(Shown(self, texts[str(name)], rank, 0, ""))
        return chosen

    def all(self) -> "Iterator[Shown]":
        """Yield every image, in the order of the ids."""
        for place in range(len(self)):
            yield Shown(self, place, place + 1, 0, "")

    def _most(self, values: np.ndarray, finer: np.ndarray, count: int, reason: str) -> "list[Shown]":
        finer = np.round(finer, 9)  # sums of tenths that are equal are equal
        order = np.lexsort((-finer, -values))[:count]
        return [
            Shown(self, place, rank, int(values[place]), reason)
            for rank, place in enumerate(order[values[order] > 0].tolist(), 1)
        ]

    def _errors(self, verdicts: Verdicts) -> np.ndarray:
        return np.asarray(verdicts.count(WRONG) + self._missed(verdicts))

    def _missed(self, verdicts: Verdicts) -> np.ndarray:
        return per_image(self.prepared.truth.start, verdicts.missed)

    def counts(self, place: int) -> list[tuple[int, int, int]]:
        """Return right and wrong detections and missed objects of an image, for each table."""
        start = self.prepared.truth.start
        found = []
        for own in self.verdicts:
            here = own.verdict[own.start[place] : own.start[place + 1]]
            missed = own.missed[start[place] : start[place + 1]]
            found.append((int((here == RIGHT).sum()), int((here == WRONG).sum()), int(missed.sum())))
        return found

    def objects(self, place: int) -> np.ndarray:
        """Return the annotations of an image, rows of `Prepared.truth`, int64; of the one category if there is one."""
        low, high = self.prepared.truth.start[place : place + 2]
        rows = np.arange(low, high)
        return rows if self.category is None else rows[self.prepared.truth.category[rows] == self.category]

    def detections(self, place: int, table: int) -> np.ndarray:
        """Return the rows of a table that an image shows, by falling score, int64."""
        own = self.verdicts[table]
        rows = np.arange(own.start[place], own.start[place + 1])
        rows = rows[np.isin(own.verdict[rows], (RIGHT, WRONG, NEITHER))]
        return rows[np.argsort(-own.table.score[rows], kind="stable")]


@dataclass(frozen=True, eq=False)
class Shown:
    """An image that was chosen.

    Attributes:
        gallery: Where it is from.
        place: Its index in the ground truth.
        rank: Among the chosen ones, from 1.
        value: By which it was chosen.
        reason: What the value counts; "" where it was named.
    """

    gallery: Gallery
    place: int
    rank: int
    value: int
    reason: str

    def __repr__(self) -> str:
        return f"Shown({self.alt})"

    @property
    def image_id(self) -> int | str:
        """Its id in the data set."""
        key: int | str = self.gallery.truth.image_id[self.place : self.place + 1].tolist()[0]
        return key

    @property
    def title(self) -> str:
        """Its id, the name of its file, and why it was chosen."""
        name = str(self.gallery.truth.file_name[self.place])
        parts = [f"image {self.image_id}", name if name != str(self.image_id) else ""]
        parts.append(f"{self.reason}: {self.value:,}" if self.reason else "")
        return " · ".join(part for part in parts if part)

    @property
    def alt(self) -> str:
        """What the picture shows, in words."""
        objects = len(self.gallery.objects(self.place))
        said = [self.title, f"annotated objects: {objects}"]
        for own, (right, wrong, missed) in zip(self.gallery.verdicts, self.gallery.counts(self.place), strict=True):
            said.append(f"{own.name}: {right} right, {wrong} wrong, {missed} missed")
        return "; ".join(said)

    def draw(self) -> "Image":
        """Draw it: one panel for the ground truth and one for each table, with what the colours mean, as RGB."""
        from evaluation.pictures.sheet import draw_sheet

        return draw_sheet(self)[0]

    def _repr_png_(self) -> bytes:
        import io

        sink = io.BytesIO()
        self.draw().save(sink, "png")
        return sink.getvalue()


def show(
    tables: Sequence[DetectionTable],
    ground_truth: GroundTruth | Prepared,
    *,
    images_folder: Path | str | None = None,
    protocol: Coco | Lvis | None = None,
    iou: float = 0.5,
    score: float | None = None,
    category: str | int | None = None,
    size: int = 640,
    results: Sequence[CocoResult] | None = None,
) -> Gallery:
    """Judge tables image by image, to look at pictures of what is right, wrong and missed.

    Args:
        tables: In the order of the panels.
        ground_truth: Of the images, or made ready for a protocol.
        images_folder: Folder of the picture files; marks are drawn on empty frames without one.
        protocol: Official rules; those of COCO for boxes by default.
        iou: From which a detection is right in the pictures.
        score: Detections of lower scores are hidden; those below the score of highest F1 of each table by default.
        category: Show only this one: its name or id.
        size: Pixels of a panel's longer side, 64 to 4096; larger pictures are made smaller.
        results: The evaluation of each table, if there are some already.

    Returns:
        The gallery, whose choices of images draw themselves: `show(...).worst(20)[0].draw()`.

    Raises:
        InputError: If a table does not fit the ground truth, or an option is out of range.
    """
    from evaluation.pictures.folder import PictureFolder

    if not tables:
        raise InputError("tables", "none was given", "Give one or several")
    prepared = ground_truth if isinstance(ground_truth, Prepared) else prepare(ground_truth, protocol)
    least = float(prepared.protocol.thresholds[0])
    if not least <= iou <= 1:
        raise InputError(f"option {option('iou')}", f"expected a number in [{least:g}, 1], got {iou:g}")
    if not 64 <= size <= 4096:
        raise InputError(f"option {option('size')}", f"expected 64 to 4096 pixels, got {size}")
    truth = prepared.ground_truth
    only = None if category is None else _category(truth, category)
    folder = None if images_folder is None else PictureFolder(Path(images_folder), truth)
    names = [table.metadata.member or f"table {number}" for number, table in enumerate(tables, 1)]
    given: Sequence[CocoResult | None] = results or [None] * len(tables)
    verdicts = tuple(
        judge(table, prepared, name, iou=iou, score=score, category=only, result=result)
        for table, name, result in zip(tables, names, given, strict=True)
    )
    subject, rival = _compared(tables, verdicts)
    return Gallery(prepared, verdicts, subject, rival, folder, iou, only, size)


def _compared(tables: Sequence[DetectionTable], verdicts: Sequence[Verdicts]) -> tuple[int, int]:
    """Return which table is looked at, and which it is compared with."""
    fused = [place for place, table in enumerate(tables) if "recipe" in table.metadata.made_by]
    if len(fused) != 1 or len(tables) == 1:
        return len(tables) - 1, 0
    others = [place for place in range(len(tables)) if place != fused[0]]
    return fused[0], max(others, key=lambda place: (verdicts[place].AP, -place))


def _category(truth: GroundTruth, category: str | int) -> int:
    """Return the index of a category by name, else by id."""
    text = str(category)
    if text in truth.category_name:
        return truth.category_name.index(text)
    place = int(places_of(truth.category_id, np.array([int(text)]))[0]) if text.lstrip("-").isdecimal() else -1
    if place < 0:
        some = ", ".join(repr(name) for name in truth.category_name[:5])
        raise InputError(
            f"option {option('category')}", f"{truth.source} has no category {text!r}; it has such as {some}"
        )
    return place
