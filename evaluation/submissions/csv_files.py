"""CSV files with fields of any length, row by row."""

import csv
from collections.abc import Iterator
from pathlib import Path

from fusion.errors import InputError
from fusion.text import open_text

__all__ = ["numbered_rows", "read_rows"]

# The masks of an image are one field; the standard library's limit of 131,072 characters is below that.
_LARGEST_FIELD = 1 << 30


def numbered_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, fields) of each row; blank lines are rows without fields.

    Raises:
        InputError: If the file cannot be opened, is not UTF-8 text, or is damaged; the line is named.
    """
    before = csv.field_size_limit()
    with open_text(path, "a CSV file") as file:
        rows = csv.reader(file, strict=True)
        line = 1
        while True:
            try:
                csv.field_size_limit(_LARGEST_FIELD)
                row = next(rows)
            except StopIteration:
                return
            except UnicodeError as error:
                raise InputError(
                    f"{path}, after line {rows.line_num}", f"is not UTF-8 text ({error})", "Write it as UTF-8"
                ) from error
            except csv.Error as error:
                raise InputError(
                    f"{path}, line {line}", f"is not CSV ({error})", "The file may have been cut off; write it again"
                ) from error
            finally:
                csv.field_size_limit(before)
            yield line, row
            line = rows.line_num + 1


def read_rows(path: Path) -> list[list[str]]:
    """Return the fields of all rows; see `numbered_rows`."""
    return [row for _, row in numbered_rows(path)]
