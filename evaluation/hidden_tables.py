"""Where the tables of result files lie that were given in place of tables: hidden beside the files."""

from pathlib import Path

__all__ = ["as_given", "hidden_table"]

_FOLDER = ".quorum"


def hidden_table(results: Path, member: str) -> Path:
    """Return where the table of some results lies."""
    results = results.resolve()
    return results.parent / _FOLDER / results.name / f"{member}.parquet"


def as_given(table: Path) -> Path:
    """Return the results that a hidden table is of; other tables as they are."""
    folder = table.parent.parent
    return folder.parent / table.parent.name if folder.name == _FOLDER else table
