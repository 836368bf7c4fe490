"""Submissions of about 1 GB, written and checked: `python benchmarks/submissions.py [--images N] [--folder F]`.

Every line is a process of its own: CPU and wall seconds, and the peak of its memory with interpreter and libraries.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measure import memory_kilobytes
from evaluation.submissions import ImageList, check_submission, write_submission
from evaluation.submissions.image_list import COCO_CATEGORIES
from fusion import DetectionTable
from fusion.storage import write_table

PART = 5000  # images
OUTPUTS = {
    "coco": "detections_made_x_results.zip",
    "lvis": "plain.json",
    "openimages-detection": "submission.csv",
}


def make_parts(folder: Path, images: int) -> None:
    """Write a table of 100 detections per image as parts of 5,000 images."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for first in range(0, images, PART):
        count = min(PART, images - first)
        rows = count * 100
        corner, side = rng.random((rows, 2)) * 500, rng.random((rows, 2)) * 130
        table = DetectionTable.from_arrays(
            image_id=np.repeat(np.arange(first, first + count), 100),
            category_id=rng.choice(COCO_CATEGORIES, rows),
            score=rng.random(rows),
            xywh=np.concatenate([corner, side], axis=1),
        )
        write_table(table, folder / f"part-{first // PART:05d}.parquet")


def image_list(images: int, form: str) -> ImageList:
    """Return the images that the parts are on."""
    size = np.full(images, 640, np.int32)
    found = ImageList(np.arange(images), size, size)
    if form != "openimages-detection":
        return found
    return found.with_classes([f"/m/{number:06x}" for number in range(90)])


def phase(name: str, form: str, folder: Path, images: int) -> None:
    """Write or check, and print what it took."""
    path = folder / OUTPUTS[form]
    cpu, wall = time.process_time(), time.perf_counter()
    if name == "write":
        report = write_submission(
            folder / "table", path, form, images=image_list(images, form), split="made", algorithm="x"
        )
    else:
        # ids of Open Images are texts
        listed = image_list(images, form) if form != "openimages-detection" else None
        report = check_submission(path, format=form, images=listed)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    print(
        f"{name:5} {form:22} {report.detections:>10,} detections, {path.stat().st_size / 1e6:6.0f} MB;"
        f" CPU {cpu:5.1f} s, wall {wall:5.1f} s; peak memory {memory_kilobytes('VmHWM') / 1024:4.0f} MB;"
        f" {'no errors' if report.ok else report.errors[0].what}",
        flush=True,
    )


def main() -> None:
    """Make the table, then run every phase."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=80_000)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--phase", nargs=2)
    options = parser.parse_args()
    if options.phase:
        phase(*options.phase, options.folder, options.images)
        return
    folder = Path(tempfile.mkdtemp(dir=options.folder))
    try:
        make_parts(folder / "table", options.images)
        size = sum(part.stat().st_size for part in (folder / "table").iterdir())
        print(f"a table of {options.images * 100:,} detections, {size / 1e6:.0f} MB of Parquet")
        for form in OUTPUTS:
            for name in ("write", "check"):
                command = [sys.executable, __file__, "--phase", name, form]
                subprocess.run([*command, "--folder", str(folder), "--images", str(options.images)], check=True)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
