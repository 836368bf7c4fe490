"""Folders of finished parts that an interrupted run leaves beside its output, for the same run to take up again."""

from pathlib import Path

from fusion.atomic import replacing
from fusion.errors import InputError

__all__ = ["RUN", "put_in_place", "take_up", "work_folder"]

RUN = "run"
"""File in such a folder that says which run its parts are of."""


def work_folder(output: Path) -> Path:
    """Return where the finished parts of an output are until all are."""
    return output.with_name(output.name + ".unfinished")


def take_up(output: Path, key: str) -> Path:
    """Return the folder for the finished parts of a run, which may have some.

    Args:
        output: What the run makes.
        key: Identifies the run by all that its parts depend on.

    Raises:
        InputError: If it holds parts of another run, which are not this run's to delete.
    """
    work = work_folder(output)
    run = work / RUN
    if any(work.glob("part-*")) and not (run.exists() and run.read_text(encoding="utf-8") == key):
        raise InputError(
            work,
            "holds the finished parts of another run: of something else, or of inputs that have changed since",
            "Finish that run as it was started, remove the folder, or choose another name for the output",
        )
    with replacing(run) as temporary:
        temporary.write_text(key, encoding="utf-8")
    return work


def put_in_place(output: Path) -> None:
    """Make the output of the folder with all its parts."""
    work_folder(output).rename(output)
    (output / RUN).unlink()
