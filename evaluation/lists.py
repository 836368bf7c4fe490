"""Lists of images that were dealt together: written together, and used only while they are all of one deal."""

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import tomli_w

from fusion.atomic import replacing
from fusion.errors import InputError

__all__ = ["check_siblings", "write_lists"]

_DEAL = "splits.toml"


def write_lists(folder: Path, lists: Mapping[str, np.ndarray], ground_truth: str) -> list[Path]:
    """Write lists of images, an id per line, and what tells that they belong together: all of them or none.

    Args:
        folder: Where they go, as `NAME.txt`.
        lists: The ids of each by name.
        ground_truth: Fingerprint of what they were dealt from.

    Returns:
        The files of the lists.

    Raises:
        InputError: If they cannot be written, or the folder has lists of an earlier deal that would stay beside them.
    """
    old = [name for name in _dealt(folder / _DEAL) if name not in lists and (folder / f"{name}.txt").exists()]
    if old:
        problem = f"has lists of an earlier deal that are not dealt now: {', '.join(f'{name}.txt' for name in old)}"
        raise InputError(folder, problem, "Remove them, or choose another folder")
    texts = {f"{name}.txt": "".join(f"{image}\n" for image in ids) for name, ids in lists.items()}
    splits = {name: {"images": len(ids), "ids": _hash(texts[f"{name}.txt"].encode())} for name, ids in lists.items()}
    texts[_DEAL] = tomli_w.dumps({"ground_truth": ground_truth, "splits": splits})
    with ExitStack() as stack:
        temporaries = [stack.enter_context(replacing(folder / name)) for name in texts]
        for temporary, (name, text) in zip(temporaries, texts.items(), strict=True):
            # on disk before the first is put in place
            with _named(folder / name), temporary.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
    return [folder / f"{name}.txt" for name in lists]


def check_siblings(path: Path) -> None:
    """Check that a list of a split, and those that were dealt together with it, are still as they were dealt.

    Lists that are gone are not missed, and those without a description of their deal beside them are not looked at.

    Raises:
        InputError: If one has changed: the same image may be in two of them.
    """
    dealt = _dealt(path.parent / _DEAL)
    if path.suffix != ".txt" or path.stem not in dealt:
        return
    for name, entry in dealt.items():
        file = path.with_name(f"{name}.txt")
        if "ids" in entry and file.exists() and _hash(file.read_bytes()) != entry["ids"]:
            others = ", ".join(f"{other}.txt" for other in dealt if other != name)
            raise InputError(
                file,
                f"is not the list that was dealt together with {others}, says {path.parent / _DEAL}; an image may be "
                "in two of them",
                "Deal them again with `quorum split`, or keep a list of your own in another folder",
            )


def _dealt(deal: Path) -> dict[str, dict[str, Any]]:
    """Return what is known of each list of a folder, by name; nothing where there is no description."""
    try:
        found = msgspec.toml.decode(deal.read_bytes(), type=dict[str, Any])
        splits = msgspec.convert(found.get("splits", {}), dict[str, dict[str, Any]])
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        remedy = "Deal the lists again with `quorum split`, or move the list that you use to another folder"
        raise InputError(deal, f"expected the description of a split ({error})", remedy) from error
    return splits


def _hash(text: bytes) -> str:
    """SHA-256 of the ids, whatever the line ends."""
    return hashlib.sha256(b"\n".join(text.split())).hexdigest()


@contextmanager
def _named(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        problem = f"could not be written: {error.strerror or error}"
        raise InputError(path, problem, "All lists of the folder are as they were; free some room") from error
