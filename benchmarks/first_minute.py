"""A newcomer's first minute on MVOR: `quorum auto` beside a tuned script of the public packages, in equal CPU time.

`python -m benchmarks.first_minute` runs the command twice per set of files, each in a process of its own, into new
folders; then the script of `package_script.py` on the images that the command chose on, as long as the first run took.
Both answers are measured on the same other images. The data are MVOR's results (`../shared/data/mvor`).
"""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import quorum
from benchmarks.package_script import tuned_script
from evaluation.coco_ground_truth import read_coco
from evaluation.folds import groups_in_names
from evaluation.prepared import evaluate
from evaluation.protocol import Coco
from search.splits import dealt

MVOR = Path(__file__).resolve().parents[2] / "shared" / "data" / "mvor"
TRUTH = MVOR / "annotations" / "camma_mvor_2018.json"
SIX = (
    *("faster_rcnn_bbox", "dfcnet_rfcn_bbox", "alphapose_bbox"),
    *("rtpose_bbox", "openpose_bbox", "openpose_bbox_multiscale"),
)
SETS = {"two": SIX[:2], "six": SIX}


def _auto(files: Sequence[Path], folder: Path) -> tuple[float, float, float, str]:
    """Run the command: AP, seconds of the clock and of the processor, and what was printed."""
    call = [sys.executable, "-m", "quorum", "auto", *map(str, files), "-g", str(TRUTH), "-o", str(folder)]
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    environment = {**os.environ, "COLUMNS": "80"}
    said = subprocess.run(call, check=True, capture_output=True, text=True, env=environment).stdout
    wall, after = time.monotonic() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    found = re.search(r"AP ([\d.]+)", said)
    if found is None:
        sys.exit(f"no AP in {said!r}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return float(found[1]), wall, cpu, said


def main() -> None:
    """Print the table."""
    truth = read_coco(TRUTH)
    found = groups_in_names(truth)
    splits = dealt(truth, ("search", "verify"), groups=found and found[0], seed=0)
    learn, other = (truth.subset(splits[name]) for name in ("search", "verify"))
    print("| files | what | AP | seconds of the clock | of the processor |\n|---|---|---|---|---|")
    for name, stems in SETS.items():
        files = [MVOR / "detections_results" / f"{stem}.json" for stem in stems]
        took, printed = 0.0, ""
        for run in ("first", "second"):
            with tempfile.TemporaryDirectory() as folder:
                ap, wall, cpu, printed = _auto(files, Path(folder) / "out")
            print(f"| {name} | quorum auto, {run} run | {ap:.2f} | {wall:.0f} | {cpu:.0f} |")
            took = took or cpu
        tables = [quorum.load(file, ground_truth=truth) for file in files]
        seen, shown = ([t.select_images(part.image_id) for t in tables] for part in (learn, other))
        begin, clock = time.process_time(), time.monotonic()
        script = tuned_script(seen, shown, learn, took)
        wall, cpu = time.monotonic() - clock, time.process_time() - begin
        ap = 100 * evaluate(script, other, Coco()).AP
        print(f"| {name} | tuned script | {ap:.2f} | {wall:.0f} | {cpu:.0f} |")
        best = max(100 * evaluate(table, other, Coco()).AP for table in shown)
        print(f"| {name} | best member | {best:.2f} | | |\n\n```\n{printed}```\n")


if __name__ == "__main__":
    main()
