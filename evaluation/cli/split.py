"""Command `quorum split`."""

from pathlib import Path

from evaluation.cli.common import Output
from evaluation.coco_json import read_coco
from fusion.atomic import replacing
from fusion.errors import InputError
from fusion.terminal import stderr

__all__ = ["split"]


def split(ground_truth: Path, /, *, output: Output, parts: int = 2) -> None:
    """Deal the images of a data set, sorted by id, in turn into lists.

    Args:
        ground_truth: COCO annotations.
        output: Folder for `part-0.txt`, `part-1.txt` ..., an image id per line.
        parts: Number of lists.
    """
    if parts < 2:
        raise InputError("option parts", f"expected a whole number of at least 2, got {parts}")
    ids = read_coco(ground_truth).image_id
    for part in range(parts):
        path = output / f"part-{part}.txt"
        with replacing(path) as temporary:
            temporary.write_text("".join(f"{image}\n" for image in ids[part::parts]), encoding="utf-8")
        stderr.print(f"{path}: {len(ids[part::parts]):,} images", highlight=False)
