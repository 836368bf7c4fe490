"""One part of a fused folder: what makes it, in whatever process."""

import hashlib
import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import pyarrow as pa

from fusion.parquet import content_key, part_key
from fusion.recipe import Recipe
from fusion.storage import part_name, read_table, write_table
from fusion.table import DetectionTable, Part
from fusion.unfinished import claimed, there

__all__ = ["PartTask", "fuse_in_pieces", "key_of", "key_of_inputs", "make_part", "named_as", "signed"]

_PIECE = 1 << 18  # rows of all inputs that are fused at a time: 14 MB of boxes, about 60 MB of work
PAUSE = 0.2  # seconds until the parts that other processes are at are looked at again


@dataclass(frozen=True)
class PartTask:
    """All that it takes to make a part.

    Attributes:
        recipe: What is done.
        names: Of the members.
        inputs: Each member's part.
        part: Which one of the output it is.
        key: Stands for recipe and inputs.
        device: As `Recipe.fuse` takes it.
        work: Folder of finished parts.
        member: What the output is called as one member; None where its rows tell their members.
    """

    recipe: Recipe
    names: tuple[str, ...]
    inputs: tuple[Path, ...]
    part: Part
    key: str
    device: str
    work: Path
    member: str | None

    def __str__(self) -> str:
        return f"{part_name(self.part.number)} of {self.inputs[0].parent.name} and others"

    def make(self) -> bool:
        """Make the part, if it is not there; return False if another process is at it.

        Raises:
            FileNotFoundError: If the folder is gone: another process has put the output in place.
            InputError: If an input cannot be read or the part cannot be written.
        """
        name = part_name(self.part.number)
        target = self.work / name
        with claimed(self.work, name) as ours:
            if not ours:
                return False
            if key_of(target) == self.key:
                return True
            there(self.work)
            inputs = [named_as(read_table(path), name) for path, name in zip(self.inputs, self.names, strict=True)]
            fused = signed(fuse_in_pieces(self.recipe, inputs, self.device), self.recipe, self.member)
            del inputs
            write_table(fused, target, part=self.part, key=self.key)
            return True


def make_part(task: PartTask) -> None:
    """Make a part, or wait until another process has; see `PartTask.make`."""
    while not task.make():
        time.sleep(PAUSE)


def named_as(table: DetectionTable, name: str) -> DetectionTable:
    """Give a table without a name one."""
    return table if table.metadata.member is not None else table.with_metadata(member=name)


def fuse_in_pieces(
    recipe: Recipe, inputs: Sequence[DetectionTable], device: str, progress: Callable[[str], None] | None = None
) -> DetectionTable:
    """Fuse tables some images at a time, so that what fusing takes beside them does not grow with them."""
    if device != "cpu" or sum(map(len, inputs)) <= _PIECE:
        return recipe.fuse(inputs, progress, device=device)
    images = np.unique(np.concatenate([table.image_ids for table in inputs if len(table)]))
    before = np.zeros(len(images) + 1, np.int64)
    places = [np.searchsorted(table.image_ids, images) for table in inputs]
    for table, place in zip(inputs, places, strict=True):
        before[:-1] += table.image_start[place]
        before[-1] += len(table)
    cuts = np.unique(np.searchsorted(before, np.arange(0, before[-1], _PIECE)))
    pieces = []
    for low, high in itertools.pairwise([*cuts[cuts < len(images)].tolist(), len(images)]):
        some = [_between(table, place, low, high) for table, place in zip(inputs, places, strict=True)]
        pieces.append(recipe.fuse(some, progress, device=device))
        progress = None
    arrow = pa.concat_tables([piece.arrow for piece in pieces], promote_options="default").unify_dictionaries()
    metadata = pieces[0].metadata
    del pieces
    return DetectionTable.from_arrow(arrow, metadata, "fusion")


def _between(table: DetectionTable, place: np.ndarray, low: int, high: int) -> DetectionTable:
    """Return the rows of the images `low` to `high - 1`, of which `place` says where they are in the table."""
    start = table.image_start
    first, last = start[place[low]], start[place[high]] if high < len(place) else len(table)
    return replace(table, arrow=table.arrow.slice(first, last - first))


def key_of_inputs(run: str, names: Sequence[str], paths: Sequence[Path]) -> str:
    """Identify what a part is made of: the recipe, and the contents of the inputs' parts."""
    digest = hashlib.sha256(run.encode())
    for name, path in zip(names, paths, strict=True):
        digest.update(f"\0{name}\0{content_key(path)}".encode())
    return digest.hexdigest()


def key_of(path: Path) -> str | None:
    """Return the key of a part; None where there is none."""
    return part_key(path) if path.exists() else None


def signed(table: DetectionTable, recipe: Recipe, member: str | None = None) -> DetectionTable:
    """Return a fused table that says by which recipe it was made; with `member`, as one member of this name."""
    try:
        software = version("quorum-detection")
    except PackageNotFoundError:
        software = "not installed"
    table = table.with_metadata(made_by={"recipe": recipe.to_toml(), "quorum-detection": software})
    if member is None:
        return table
    own = [name for name in table.arrow.column_names if name != "member"]
    return replace(table.with_metadata(member=member), arrow=table.arrow.select(own))
