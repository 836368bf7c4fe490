"""Commands `quorum export`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

__all__ = ["export_coco"]


def export_coco(table: Path, /, *, output: Annotated[Path, Parameter(name=("--output", "-o"))]) -> None:
    """Write a table as a COCO results JSON file.

    Args:
        table: A Parquet file or a folder of parts.
        output: The JSON file.
    """
    from fusion.coco_results import write_coco_results
    from fusion.storage import read_table
    from fusion.terminal import stderr

    detections = read_table(table)
    write_coco_results(detections, output)
    stderr.print(f"{output}: {len(detections):,} detections", highlight=False)
