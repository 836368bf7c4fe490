"""What an expert learns: its own categories, those that are confused with them, and the images of both.

mmfruit-openimages2019, sec. 5.4. The expert knows its own categories; objects of the confused ones are background.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evaluation.ground_truth import GroundTruth, Labels
from fusion.atomic import replacing
from fusion.errors import InputError
from fusion.hierarchy import Hierarchy
from fusion.printed_table import Cell, PrintedColumn, PrintedTable

__all__ = ["THRESHOLDS", "Lesson", "choose_lesson", "confusions", "siblings", "worst_categories"]

THRESHOLDS = {"cosine": 0.25, "hierarchy": 0.5, "confusion": 0.1}
"""Likeness above which a category is confused; that of cosines is the report's, that of confusions ours."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Lesson:
    """What an expert is trained on.

    Attributes:
        category_ids: int64 [k], all of the data set.
        names: Their names.
        positive: int64 [p], places among the k categories, ascending: what it learns to find.
        confused: int64 [c], places, the most alike first: what it learns to tell from it.
        with_which: int64 [c], the positive category that each is most alike.
        likeness: float64 [c], how much.
        images: int64 [n], ascending: of the data set.
        having: How many of these have an object of a positive category; the others have confused ones only.
    """

    category_ids: np.ndarray
    names: Sequence[str]
    positive: np.ndarray
    confused: np.ndarray
    with_which: np.ndarray
    likeness: np.ndarray
    images: np.ndarray
    having: int

    @property
    def ratio(self) -> float:
        """Images without a positive object for each with one."""
        return (len(self.images) - self.having) / self.having

    def table(self, ap: Mapping[int, float]) -> PrintedTable:
        """Return a table to print: a line per positive category and those that are confused with it.

        Args:
            ap: Of positive categories by id, where it is known.
        """
        columns = [PrintedColumn("category"), PrintedColumn("AP", ".2f"), PrintedColumn("confused with it (likeness)")]
        rows: list[list[Cell]] = []
        for place in self.positive.tolist():
            alike = np.flatnonzero(self.with_which == place)
            said = ", ".join(f"{self.names[self.confused[row]]} ({self.likeness[row]:.2f})" for row in alike.tolist())
            value = ap.get(int(self.category_ids[place]), float("nan"))
            rows.append([self.names[place], "" if value != value else 100 * value, said])
        return PrintedTable(columns, rows)

    def write(self, folder: Path, spec: str, image_ids: Sequence[int | str]) -> str:
        """Write both lists of categories, the list of images and what `--data` takes; all of it or nothing.

        Args:
            folder: Gets positive.txt, confused.txt, images.txt and data.txt.
            spec: Of the data set that the images are from.
            image_ids: Of all of its images.

        Returns:
            What `quorum train --data` takes.

        Raises:
            InputError: If the folder is there already, or cannot be written.
        """
        if folder.exists():
            raise InputError(folder, "exists already", "Choose another folder, or remove it")
        rest = [item for item in spec.split(",") if not item.startswith("list=")]
        against = (f"against={folder / 'confused.txt'}",) if len(self.confused) else ()
        data = ",".join((*rest, f"list={folder / 'images.txt'}", f"only={folder / 'positive.txt'}", *against))
        texts = {
            "positive.txt": self._lines(self.positive),
            "confused.txt": self._lines(self.confused),
            "images.txt": "".join(f"{image_ids[image]}\n" for image in self.images.tolist()),
            "data.txt": f"{data}\n",
        }
        with replacing(folder, folder=True) as temporary:
            for name, text in texts.items():
                (temporary / name).write_text(text, encoding="utf-8")
        return data

    def _lines(self, places: np.ndarray) -> str:
        return "".join(f"{self.category_ids[place]}\t{self.names[place]}\n" for place in places.tolist())


def worst_categories(ap: Mapping[int, float], count: int) -> list[int]:
    """Return the ids of lowest AP, the lowest first, of equal ones the smaller id; without AP a category is left out.

    Raises:
        InputError: If fewer have one.
    """
    known = sorted((value, category) for category, value in ap.items() if value == value)
    if not 1 <= count <= len(known):
        raise InputError("option --worst", f"expected 1 to {len(known)}, the categories with an AP, got {count}")
    return [category for _, category in known[:count]]


def siblings(hierarchy: Hierarchy, truth: GroundTruth) -> np.ndarray:
    """Say which categories stand under the same parent, float64 [k, k] of 0 and 1; the root is nobody's parent.

    Args:
        hierarchy: The class tree, by Open Images' labels or by names.
        truth: Whose categories these are.

    Raises:
        InputError: If it has none of them.
    """
    labels = truth.category_label or truth.category_name
    above = [set(hierarchy.ancestors(label)) if label in hierarchy else set() for label in labels]
    if not any(label in hierarchy for label in labels):
        raise InputError("hierarchy", f"has none of the {len(labels)} categories of {truth.source}", "Is it its tree?")
    # of the ancestors those that are not above another one
    parents = [own - {high for other in own for high in hierarchy.ancestors(other)} for own in above]
    k = len(labels)
    return np.array([[float(i != j and bool(parents[i] & parents[j])) for j in range(k)] for i in range(k)])


def confusions(matrix: np.ndarray) -> np.ndarray:
    """Return which share of a category's detections are objects of another one, float64 [k, k].

    "If the two categories are easily confused, they will cause many false-positives as reflected in the confusion
    matrix": row i, column j has the share among the detections of j that met an object. The share is ours.

    Args:
        matrix: int64 [k + 1, k + 1] of `evaluation.analysis.confusion`.
    """
    met = matrix[:-1, :-1].astype(np.float64)
    share = met / np.maximum(met.sum(axis=0), 1)
    np.fill_diagonal(share, 0)
    return np.asarray(share)


def choose_lesson(
    image_categories: Labels,
    category_ids: np.ndarray,
    names: Sequence[str],
    positive: Sequence[int],
    likeness: np.ndarray,
    *,
    threshold: float | None,
    ratio: float | None = None,
    seed: int = 0,
) -> Lesson:
    """Choose the confused categories and the images.

    Args:
        image_categories: Categories that have an object in each image.
        category_ids: int64 [k].
        names: Of the k categories.
        positive: Ids of the categories to learn.
        likeness: float64 [k, k], row i, column j: how much category i is confused with j.
        threshold: Categories that are more alike than this with a positive one are confused; without it `ratio` sets
            it: the most alike of likeness above 0, as many as bring that many images.
        ratio: At most so many images without a positive object for each with one (sec. 5.4: the threshold is set "to
            ensure the ratio of positive and negative data is close to 1:3"). Of more they are drawn, evenly over the
            confused categories (ours).
        seed: Of that draw.

    Raises:
        InputError: If no image has a positive category.
    """
    assert threshold is not None or ratio is not None
    places = np.flatnonzero(np.isin(category_ids, list(positive)))
    image = np.repeat(np.arange(len(image_categories.start) - 1), np.diff(image_categories.start))
    having = np.unique(image[np.isin(image_categories.category, places)])
    if not len(having):
        raise InputError("zoo experts", "no image has an object of the chosen categories", "Choose others")
    alike = likeness[:, places]
    strength, which = alike.max(axis=1), places[alike.argmax(axis=1)]
    strength[places] = -np.inf
    order = np.argsort(-strength, kind="stable")
    confused = order[strength[order] > (threshold if threshold is not None else 0)]
    rest = ~np.isin(image, having)
    most = len(image_categories.start) if ratio is None else round(ratio * len(having))
    if threshold is None:
        added = [
            len(np.unique(image[rest & np.isin(image_categories.category, confused[:n])]))
            for n in range(1, len(confused) + 1)
        ]
        enough = np.flatnonzero(np.array(added) >= most)
        confused = confused[: enough[0] + 1 if len(enough) else len(confused)]
    negative = _drawn(image[rest], image_categories.category[rest], confused, most, seed)
    return Lesson(
        category_ids=category_ids,
        names=names,
        positive=places,
        confused=confused,
        with_which=which[confused],
        likeness=strength[confused],
        images=np.union1d(having, negative),
        having=len(having),
    )


def _drawn(image: np.ndarray, category: np.ndarray, wanted: np.ndarray, most: int, seed: int) -> np.ndarray:
    """Return images of some categories, each once, round by round one of each category, until there are enough.

    Args:
        image: int64 [m].
        category: int32 [m], of which each has an object.
        wanted: The categories.
        most: How many at most.
        seed: Of the draw.
    """
    rng = np.random.default_rng(seed)
    rounds: dict[int, int] = {}
    for place in wanted.tolist():
        own = rng.permutation(image[category == place])
        for number, one in enumerate(own.tolist()):
            rounds[one] = min(number, rounds.get(one, number))
    found = np.array(sorted(rounds), dtype=np.int64)
    turn = np.array([rounds[one] for one in found.tolist()], dtype=np.int64)
    return found[np.lexsort((rng.random(len(found)), turn))][:most]
