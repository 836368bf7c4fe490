"""Names of classes, and where splits are, as YOLO's tools keep them in files beside labels and results."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fusion.errors import InputError

__all__ = ["names_beside", "split_of"]


def names_beside(path: Path) -> dict[int | str, str]:
    """Return the names of classes, counted from 0, that a file beside some results or labels tells.

    Args:
        path: The file or folder; data.yaml, classes.txt or a .names file may lie in it, or up to two folders above.
    """
    start = path if path.is_dir() else path.parent
    for folder in (start, *list(start.resolve().parents)[:2]):
        for file in sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")]):
            if found := _yaml_names(file):
                return found
        for file in [*folder.glob("classes.txt"), *sorted(folder.glob("*.names"))]:
            lines = file.read_text(encoding="utf-8-sig", errors="replace").split("\n")
            return {number: line.strip() for number, line in enumerate(lines) if line.strip()}
    return {}


def _yaml(file: Path) -> Mapping[str, Any]:
    import yaml

    try:
        document = yaml.safe_load(file.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeError, yaml.YAMLError):
        return {}
    return document if isinstance(document, dict) else {}


def _yaml_names(file: Path) -> dict[int | str, str]:
    document = _yaml(file)
    other = document.get("data")  # of args.yaml, which Ultralytics writes beside results
    if "names" not in document and isinstance(other, str) and other.endswith((".yaml", ".yml")):
        document = _yaml(Path(other)) if Path(other).is_file() else {}
    names = document.get("names")
    pairs = enumerate(names) if isinstance(names, list) else names.items() if isinstance(names, dict) else ()
    return {int(number): str(name) for number, name in pairs if str(number).isdigit()}


def split_of(file: Path) -> Path:
    """Return the folder of labels of a data.yaml's validation split.

    Raises:
        InputError: If there is none.
    """
    document = _yaml(file)
    root = file.parent / str(document.get("path") or ".")
    root = root if root.is_dir() else file.parent
    value = document.get("val") or document.get("valid") or document.get("test") or document.get("train")
    if not isinstance(value, str):
        raise InputError(file, "expected a folder of pictures under 'val'", "Name the folder of labels itself")
    pictures = root / value
    parts = list(pictures.parts)
    for place in range(len(parts) - 1, -1, -1):
        if parts[place] == "images":
            parts[place] = "labels"
            break
    labels = Path(*parts)
    if not labels.is_dir():
        raise InputError(
            file, f"there is no folder {labels} of labels for its split", "Name the folder of labels itself"
        )
    return labels
