"""Fusing tables on disk: whole files at once, folders of parts one part at a time."""

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from fusion.atomic import keep_inputs
from fusion.errors import InputError, Warned, option
from fusion.recipe import Recipe
from fusion.run import settle
from fusion.score_scales import scale_notes
from fusion.steps.correct_boxes import CorrectBoxes
from fusion.storage import BY_ID, image_ids_of, part_paths, read_metadata, read_table, write_table
from fusion.table import DetectionTable, Part
from fusion.unfinished import put_in_place, take_up

__all__ = ["FuseReport", "fuse_files", "signed"]

_AS_GIVEN = "as given"
"""The rule of parts that follow folders whose own rule is not known."""


@dataclass(frozen=True)
class FuseReport:
    """What a fusion of files did.

    Attributes:
        detections_in: Rows of all inputs.
        detections_out: Rows written.
        notes: What a user should know: parts taken from an interrupted run, tables that were not used.
    """

    detections_in: int
    detections_out: int
    notes: tuple[str, ...]


def fuse_files(
    recipe: Recipe,
    tables: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    progress: Callable[[str, int, int], None] | None = None,
    *,
    device: str = "cpu",
    note: Callable[[str], None] | None = None,
) -> FuseReport:
    """Run a recipe on tables on disk and write the fused table.

    When every table is a folder with the same number of parts, one part of each is in memory at a
    time and the output is such a folder. An interrupted run leaves its finished parts in
    `<output>.unfinished`; the same call takes them up again.

    Args:
        recipe: The steps.
        tables: Parquet files or folders of parts.
        output: A file, or a folder where the inputs are folders.
        progress: Called with (what, done, total) before each node or part.
        device: "cpu", "cuda", or "auto" for the GPU where there is one; a note says where there is none.
        note: Called with each note as soon as it is known: what scores are like before any work is done.

    Raises:
        InputError: If a table cannot be read, they do not go together, the output cannot be written, or the device
            cannot be used.
    """
    if not tables:
        raise InputError("fuse", "no table was given")
    keep_inputs({"output": Path(output)}, [Path(table) for table in tables])
    for table in tables:
        read_metadata(table)  # what cannot be read, or lacks a part, is said before work begins
    device, said = settle(device, [node.step for node in recipe.nodes.values()])
    progress, tell = progress or _silent, _Notes(note)
    tell(*said)
    parts = [part_paths(table) for table in tables]
    counts = {len(paths) for paths in parts}
    if len(counts) == 1 and counts != {1}:
        return _fuse_parts(recipe, parts, Path(output), progress, device, tell)
    inputs = [named(read_table(table), table) for table in tables]
    steps = list(recipe.nodes)
    tell(*_unsketched(inputs), *scale_notes(recipe, inputs), *_still_masks(recipe, inputs))
    fused = recipe.fuse(inputs, lambda name: progress(name, steps.index(name), len(steps)), device=device)
    write_table(signed(fused, recipe), output)
    tell(*_unused(recipe, inputs), *_above_one(_over(fused), any(map(_over, inputs))))
    return FuseReport(sum(map(len, inputs)), len(fused), tuple(tell.lines))


class _Notes:
    """Notes so far; each is passed on as soon as it is known."""

    def __init__(self, note: Callable[[str], None] | None) -> None:
        self.lines: list[str] = []
        self._note = note

    def __call__(self, *lines: str) -> None:
        for line in lines:
            self.lines.append(line)
            if self._note is not None:
                self._note(line)


def _silent(what: str, done: int, total: int) -> None:
    """Report nothing."""


def named(table: DetectionTable, path: str | os.PathLike[str]) -> DetectionTable:
    """Give a table without a name the name of its file."""
    return table if table.metadata.member is not None else table.with_metadata(member=Path(path).stem)


def _fuse_parts(
    recipe: Recipe,
    parts: Sequence[Sequence[Path]],
    output: Path,
    progress: Callable[[str, int, int], None],
    device: str,
    tell: _Notes,
) -> FuseReport:
    if output.exists():
        raise InputError(output, "exists already, and a folder is not overwritten", "Remove it or choose another name")
    rule = _check_partitioning(parts)
    work = take_up(output, _run_key(recipe, parts))
    largest = [named(read_table(max(paths, key=_rows_of)), paths[0].parent) for paths in parts]
    tell(*_unsketched(largest), *scale_notes(recipe, largest), *_still_masks(recipe, largest))
    del largest
    read = written = resumed = 0
    above, given = (0, 0.0), False
    inputs: list[DetectionTable] = []
    for number, paths in enumerate(zip(*parts, strict=True)):
        progress(f"part {number + 1} of {len(parts[0])}", number, len(parts[0]))
        target = work / f"part-{number:05d}.parquet"
        if target.exists():
            fused = read_table(target)
            resumed += 1
        else:
            inputs = [named(read_table(path), path.parent) for path in paths]
            fused = recipe.fuse(inputs, device=device)
            part = Part(rule=rule, count=len(parts[0]), number=number)
            write_table(signed(fused, recipe), target, part=part)
            read += sum(map(len, inputs))
            given |= any(map(_over, inputs))
        written += len(fused)
        over = _over(fused) or (0, 0.0)
        above = above[0] + over[0], max(above[1], over[1])
    put_in_place(output)
    tell(*_unused(recipe, inputs), *_above_one(above, given))
    if resumed:
        tell(f"{resumed} parts were taken from an interrupted run; their input rows are not counted here")
    return FuseReport(read, written, tuple(tell.lines))


def _rows_of(path: Path) -> int:
    return read_metadata(path)[1]


def _unsketched(inputs: Sequence[DetectionTable]) -> tuple[str, ...]:
    names = [str(table.metadata.member) for table in inputs if table.metadata.images is None]
    if len(inputs) < 2 or not names:
        return ()
    say = "says" if len(names) == 1 else "say"
    return (
        Warned(
            f"{', '.join(names)} {say} nothing of the images behind (imported without ground truth, or by an earlier "
            "version): whether these tables are of one data set was not checked"
        ),
    )


def _still_masks(recipe: Recipe, inputs: Sequence[DetectionTable]) -> tuple[str, ...]:
    """Note where boxes leave their masks behind."""
    keep = [
        node.step for node in recipe.nodes.values() if isinstance(node.step, CorrectBoxes) and node.step.masks == "keep"
    ]
    moves = any(correction.moves for step in keep for correction in step.corrections.values())
    if not moves or not any(table.mask is not None and table.mask.null_count < len(table) for table in inputs):
        return ()
    return (f"boxes are corrected, masks stay where they are; {option('masks', 'shift')} moves them with their boxes",)


def _over(table: DetectionTable) -> tuple[int, float] | None:
    """Number of scores above 1, and the largest; None where there is none."""
    score = table.score
    count = int((score > 1).sum())
    return (count, float(score.max())) if count else None


def _above_one(over: tuple[int, float] | None, given: bool) -> tuple[str, ...]:
    if over is None or not over[0]:
        return ()
    why = "as some of the inputs' are"
    if not given:
        bounded = option("conf_type", "box_and_model_avg")
        why = f"since each of a member's boxes counts; WBF with {bounded} stays within the inputs' range"
    return (f"{over[0]:,} scores are above 1, the largest {over[1]:.4g}, {why}",)


def _check_partitioning(parts: Sequence[Sequence[Path]]) -> str:
    """Require that an image is in the same part of every folder; return the rule by which images are dealt.

    Raises:
        InputError: If an image is in parts of different numbers.
    """
    told = {read_metadata(path)[0].part for paths in parts for path in paths}
    rules = {_AS_GIVEN if part is None else part.rule for part in told}
    if rules == {BY_ID}:
        return BY_ID  # whoever reads a part requires its images to be there by their ids
    owner: dict[int | str, tuple[int, Path]] = {}
    for paths in parts:
        for number, path in enumerate(paths):
            for image in image_ids_of(path).tolist():
                first, place = owner.setdefault(image, (number, path))
                if first != number:
                    raise InputError(
                        f"folders {place.parent} and {path.parent}",
                        f"are cut into parts in different ways: image {image!r} is in {place.name} and in {path.name}",
                        f"Import both again with the same {option('parts')}, or as single files",
                    )
    return rules.pop() if len(rules) == 1 else _AS_GIVEN


def _run_key(recipe: Recipe, parts: Sequence[Sequence[Path]]) -> str:
    """Identify a run by its recipe and the state of its inputs, so that nothing stale is taken up."""
    digest = hashlib.sha256(recipe.to_toml().encode())
    for paths in parts:
        for path in paths:
            state = path.stat()
            digest.update(f"{path.resolve()}\0{state.st_size}\0{state.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _unused(recipe: Recipe, inputs: Sequence[DetectionTable]) -> tuple[str, ...]:
    used = {source for node in recipe.nodes.values() for source in node.inputs}
    names = [str(table.metadata.member) for table in inputs if table.metadata.member not in used]
    if "*" in used or not names:
        return ()
    return (f"the recipe does not use {', '.join(names)}",)


def signed(table: DetectionTable, recipe: Recipe) -> DetectionTable:
    """Return a fused table that says by which recipe it was made."""
    try:
        software = version("quorum-detection")
    except PackageNotFoundError:
        software = "not installed"
    return table.with_metadata(made_by={"recipe": recipe.to_toml(), "quorum-detection": software})
