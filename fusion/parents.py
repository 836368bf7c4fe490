"""What lies above each category."""

import os
from collections.abc import Mapping, Sequence

import numpy as np

from fusion.class_descriptions import read_class_descriptions
from fusion.errors import InputError
from fusion.hierarchy import read_hierarchy

__all__ = ["Parents", "ancestors_of", "reach_of", "read_parents"]

Parents = Mapping[int, Sequence[int]]


def ancestors_of(parents: Parents) -> dict[int, tuple[int, ...]]:
    """Return the ancestors of every category, at any depth, ascending.

    Args:
        parents: Category id -> ids of its direct parents.

    Raises:
        InputError: If a category is its own ancestor; the circle is named.
    """
    done: dict[int, tuple[int, ...]] = {}
    for top in sorted({*parents, *(p for row in parents.values() for p in row)}):
        # by hand, since a chain may be longer than Python's stack
        path: list[int] = [top]
        while path:
            category = path[-1]
            waiting = [parent for parent in parents.get(category, ()) if parent not in done]
            if category in done or not waiting:
                above = parents.get(category, ())
                done[category] = tuple(sorted({*above, *(a for parent in above for a in done[parent])}))
                path.pop()
            elif waiting[0] in path:
                circle = [*path[path.index(waiting[0]) :], waiting[0]]
                raise InputError(
                    "hierarchy",
                    f"its categories go in a circle: {' -> '.join(map(str, circle))} (child -> parent)",
                    "A category cannot be its own ancestor; mend the parents",
                )
            else:
                path.append(waiting[0])
    return done


def read_parents(hierarchy: str | os.PathLike[str], classes: str | os.PathLike[str]) -> dict[int, tuple[int, ...]]:
    """Read what lies above each category from the files of the Open Images Challenge.

    Args:
        hierarchy: The class tree, such as `challenge-2019-label500-hierarchy.json`.
        classes: The class descriptions, lines of `label,name`; the first class has id 1. Classes of the
            tree that are not listed are passed over.

    Returns:
        Category id -> ids of all its ancestors.

    Raises:
        InputError: If a file cannot be read, or a listed class is not in the tree.
    """
    tree, labels = read_hierarchy(hierarchy), read_class_descriptions(classes)
    ids = {label: number for number, label in enumerate(labels, start=1)}
    unknown = [label for label in labels if label not in tree]
    if unknown:
        raise InputError(
            classes,
            f"class {unknown[0]!r} is no node of {os.fspath(hierarchy)}"
            + (f", nor are {len(unknown) - 1} others" if len(unknown) > 1 else ""),
            "Give the hierarchy and the class descriptions of the same challenge",
        )
    return {ids[label]: tuple(ids[above] for above in tree.ancestors(label) if above in ids) for label in labels}


def reach_of(ancestors: Mapping[int, Sequence[int]], category_ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return offsets, and for each category of the pool its own id and those of its ancestors."""
    unknown = [category for category in category_ids.tolist() if category not in ancestors]
    if unknown:
        raise InputError(
            "hierarchy",
            f"category {unknown[0]} of the detections is no node of it"
            + (f", nor are {len(unknown) - 1} others" if len(unknown) > 1 else ""),
            "Give the hierarchy of this data set; a category at the top has an empty list of parents",
        )
    lists = [(category, *ancestors[category]) for category in category_ids.tolist()]
    start = np.concatenate(([0], np.cumsum([len(row) for row in lists]))).astype(np.int64)
    return start, np.array([category for row in lists for category in row], dtype=np.int32)
