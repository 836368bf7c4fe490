"""CVAT: one XML file with the boxes, outlines and tracks of all images."""

import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from pathlib import Path

from evaluation.files.look import Look
from evaluation.files.truths import NamedObjects
from evaluation.formats.base import Format
from evaluation.ground_truth import GroundTruth
from fusion.errors import InputError
from fusion.source import STANDARD_INPUT, Source

__all__ = ["CvatFormat"]

_CORNERS = ("xtl", "ytl", "xbr", "ybr")


class CvatFormat(Format):
    """Annotations of CVAT for images 1.1 and for video 1.1."""

    title = "CVAT XML, for images and for video"

    def recognises(self, look: Look) -> int:
        """Take XML whose root is annotations, and a folder with annotations.xml."""
        if look.folder:
            return int("annotations.xml" in look.names and self.recognises(look.into("annotations.xml")))
        named = bool(look.ending(".xml")) or str(look.path) == STANDARD_INPUT
        return int(named and look.text.lstrip("\ufeff \t\r\n").startswith("<") and "<annotations>" in look.text)

    def truth(self, path: Path, files: Mapping[str, Path]) -> GroundTruth:
        """Read annotations; frames of a video are called frame_000000."""
        file = path / "annotations.xml" if path.is_dir() else path
        source = Source(file, "a CVAT file")
        try:
            root = ElementTree.fromstring(source.read())
        except ElementTree.ParseError as error:
            raise InputError(file, f"is not XML ({error})", "Write it again") from error
        finally:
            source.close()
        found = NamedObjects(file)
        other: dict[str, int] = {}
        for image in root.findall("image"):
            where = f"{file}, image {image.get('name')!r}"
            size = (int(_number(image, "width", where)), int(_number(image, "height", where)))
            number = found.add_image(_text(image, "name", where), size)
            for shape in image:
                _add(found, number, _text(shape, "label", where) if shape.tag != "tag" else "", shape, where, other)
        if root.find("track") is not None:
            _tracks(root, found, file, other)
        found.notes += [f"{count} shapes of type {tag} have no box and are left out" for tag, count in other.items()]
        names = [
            (label.findtext("name") or "").strip() for label in root.iter("label") if label.find("name") is not None
        ]
        names = list(dict.fromkeys([*names, *found.category]))
        return found.truth({name: number for number, name in enumerate(names, 1)})


def _tracks(root: ElementTree.Element, found: NamedObjects, file: Path, other: dict[str, int]) -> None:
    size = (int(root.findtext(".//original_size/width") or 0), int(root.findtext(".//original_size/height") or 0))
    seen: dict[int, str] = {}
    for track in root.findall("track"):
        where = f"{file}, track {track.get('id')}"
        label = _text(track, "label", where)
        for shape in track:
            frame = int(_number(shape, "frame", where))
            if frame not in seen:
                seen[frame] = found.add_image(f"frame_{frame:06d}.PNG", size)
            if shape.get("outside") != "1":
                _add(found, seen[frame], label, shape, where, other)


def _add(
    found: NamedObjects, image: str, label: str, shape: ElementTree.Element, where: str, other: dict[str, int]
) -> None:
    if shape.tag == "box":
        x1, y1, x2, y2 = (_number(shape, side, where) for side in _CORNERS)
        if x2 < x1 or y2 < y1:
            raise InputError(where, f"a box ends before it begins: {(x1, y1, x2, y2)}", "Mend or drop it")
        found.add(image, label, (x1, y1, x2, y2))
    elif shape.tag == "polygon":
        try:
            points = [float(side) for point in _text(shape, "points", where).split(";") for side in point.split(",")]
        except ValueError as error:
            raise InputError(where, "its points are no pairs of numbers", "Mend or drop the polygon") from error
        box = (min(points[0::2]), min(points[1::2]), max(points[0::2]), max(points[1::2]))
        found.add(image, label, box, polygons=[points] if all(found.size[image]) else None)
    else:
        other[shape.tag] = other.get(shape.tag, 0) + 1


def _text(entry: ElementTree.Element, name: str, where: str) -> str:
    value = entry.get(name)
    if value is None:
        raise InputError(where, f"<{entry.tag}> has no {name}", "Mend the file")
    return value


def _number(entry: ElementTree.Element, name: str, where: str) -> float:
    text = _text(entry, name, where)
    try:
        return float(text)
    except ValueError as error:
        raise InputError(where, f"expected a number as {name}, got {text[:40]!r}", "Mend the file") from error
