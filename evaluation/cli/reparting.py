"""Command `quorum repart`."""

from pathlib import Path

from evaluation.cli.output import Output

__all__ = ["repart"]


def repart(table: Path, /, *, output: Output, parts: int) -> None:
    """Cut a table into parts anew, in bounded memory.

    The part of an image depends on its id and the number of parts alone, so tables cut into as many parts go together.

    Args:
        table: A Parquet file or a folder of parts, however it is cut.
        output: A folder that does not exist yet.
        parts: Number of parts, at most 512.
    """
    from fusion.reparting import repart as cut
    from fusion.terminal import stderr

    rows = cut(table, output, parts)
    stderr.print(f"{output}: {rows:,} detections in {parts} parts", highlight=False)
