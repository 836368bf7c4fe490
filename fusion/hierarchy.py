"""The class tree of a data set: which classes are kinds of which others."""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from fusion.errors import InputError

__all__ = ["Hierarchy", "read_hierarchy"]


@dataclass(frozen=True)
class Hierarchy:
    """Classes and all classes above each, as Open Images' challenge expands labels.

    A class may stand in several places of the tree; its ancestors are those of all places together.
    The root, which only holds the tree together, is not a class.

    Attributes:
        above: The ancestors of each class, every generation, sorted; in the order of the tree.
    """

    above: Mapping[str, tuple[str, ...]]

    @classmethod
    def from_tree(cls, tree: Mapping[str, Any], where: object = "hierarchy") -> "Hierarchy":
        """Make a hierarchy from the object of a JSON file.

        Args:
            tree: A node: an object with `LabelName` and, where there are kinds of it, `Subcategory`, a list
                of nodes. `Part` and other keys are not followed: a part of a thing is no kind of it.
            where: Name of the source for error messages.

        Raises:
            InputError: If a node is not of this form (its place in the tree is named), or a class is its own ancestor.
        """
        above: dict[str, set[str]] = {}
        parents: dict[str, dict[str, None]] = {}
        waiting: list[tuple[Any, str, tuple[str, ...]]] = [(tree, "root", ())]
        while waiting:
            node, place, path = waiting.pop()
            label, children = _node(node, f"{where}, {place}")
            if place != "root":
                above.setdefault(label, set()).update(path)
                parents.setdefault(label, {}).update(dict.fromkeys(path[-1:]))
                path = (*path, label)
            waiting += [(child, f"{place} > {label}", path) for child in reversed(children)]
        circle = _circle(parents)
        if circle:
            problem = f"class {circle[0]!r} stands above itself"
            problem += f", by way of {', '.join(map(repr, circle[1:]))}" if len(circle) > 1 else ""
            raise InputError(where, problem, "No class is a kind of itself; mend the tree")
        return cls({label: tuple(sorted(others)) for label, others in above.items()})

    def __contains__(self, label: object) -> bool:
        return label in self.above

    def __iter__(self) -> Iterator[str]:
        return iter(self.above)

    def __len__(self) -> int:
        return len(self.above)

    def ancestors(self, label: str) -> tuple[str, ...]:
        """Return all classes that a class is a kind of, sorted.

        Raises:
            InputError: If the class is not in the tree.
        """
        if label not in self.above:
            raise InputError("hierarchy", f"there is no class {label!r} among its {len(self)}", "Is it another tree?")
        return self.above[label]

    def descendants(self, label: str) -> tuple[str, ...]:
        """Return all classes that are kinds of a class, sorted.

        Raises:
            InputError: If the class is not in the tree.
        """
        self.ancestors(label)
        return tuple(sorted(below for below, others in self.above.items() if label in others))


def read_hierarchy(path: str | os.PathLike[str]) -> Hierarchy:
    """Read a class tree, such as Open Images' `bbox_labels_600_hierarchy.json`.

    Raises:
        InputError: If the file is not there, is no JSON, or is no tree; the node is named.
    """
    place = Path(path)
    try:
        tree = msgspec.json.decode(place.read_bytes())
    except FileNotFoundError:
        raise InputError(place, "there is no such file") from None
    except OSError as error:
        raise InputError(place, f"cannot be read: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise InputError(
            place, f"is not complete JSON ({error})", "Fetch it again; it may have been cut off"
        ) from error
    except RecursionError as error:
        remedy = "A class tree is a few levels deep; is it the right file?"
        raise InputError(place, "is nested hundreds of lists or objects deep", remedy) from error
    return Hierarchy.from_tree(tree, place)


def _circle(parents: Mapping[str, Iterable[str]]) -> list[str]:
    """Return classes each of which is above the one before, and the first above the last; none where there is none."""
    done: set[str] = set()
    for label in parents:
        path, waiting = [label], [iter(parents[label])]
        while path:
            parent = next((other for other in waiting[-1] if other not in done), None)
            if parent is None:
                done.add(path.pop())
                waiting.pop()
            elif parent in path:
                return path[path.index(parent) :]
            else:
                path.append(parent)
                waiting.append(iter(parents[parent]))
    return []


def _node(node: Any, where: str) -> tuple[str, list[Any]]:
    if not isinstance(node, Mapping):
        raise InputError(where, f"expected an object with 'LabelName', got {node!r:.60}", "Is it a class hierarchy?")
    label, children = node.get("LabelName"), node.get("Subcategory", [])
    if not isinstance(label, str):
        raise InputError(f"{where}, field 'LabelName'", f"expected a text, got {label!r:.60}")
    if not isinstance(children, list):
        raise InputError(f"{where} > {label}, field 'Subcategory'", f"expected a list, got {children!r:.60}")
    return label, children
