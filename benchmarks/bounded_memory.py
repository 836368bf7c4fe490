"""Memory of commands on tables of growing size: `python benchmarks/bounded_memory.py [--images 2500 5000]`.

A load of 200 detections per image is imported from a COCO file and evaluated, as a whole and in parts of 250,000 rows.
Each line is a process of its own: CPU seconds, and the peak of memory above that with libraries and kernels.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.coco_evaluation import dataset
from benchmarks.load import evaluation_load
from benchmarks.measure import memory_kilobytes
from evaluation import prepare, read_coco
from evaluation.results import deal_results, read_results
from evaluation.stored import evaluate_stored
from fusion import DetectionTable
from fusion.coco_results import raw, write_coco_results
from fusion.storage import read_table, write_table

PER_IMAGE, PART = 200, 250_000


def make(folder: Path, images: int) -> int:
    """Write a load as JSON, as a table and as a folder, and its ground truth; return the number of parts."""
    folder.mkdir()
    load = evaluation_load(images, images * PER_IMAGE)
    (folder / "truth.json").write_text(json.dumps(dataset(load)))
    table = DetectionTable.from_arrays(
        image_id=load.image, category_id=load.category, score=load.score, xywh=load.box
    ).with_metadata(member="m")
    parts = max(2, len(table) // PART)
    write_table(table, folder / "m.parquet")
    write_table(table, folder / "m", parts=parts)
    write_coco_results(table, folder / "m.json")
    return parts


def run(what: str, folder: Path, images: int, parts: int) -> None:
    """Do one thing to a small load and then to this one, and print what the latter took."""
    few = folder.parent / "few"
    raw._IN_MEMORY = PART
    acts = {
        "evaluate the whole": lambda place, truth: truth.evaluate(read_table(place / "m.parquet")).stats,
        "evaluate by parts": lambda place, truth: evaluate_stored(truth, place / "m").stats,
        "import a table": lambda place, _: write_table(read_results(place / "m.json", None), place / f"{what}.out"),
        "import parts": lambda place, _: deal_results(place / "m.json", None, output=place / what, parts=parts),
    }
    truths = [prepare(read_coco(place / "truth.json")) if "evaluate" in what else None for place in (few, folder)]
    (few / what).exists() or acts[what](few, truths[0])
    with Path("/proc/self/clear_refs").open("w") as reset:
        reset.write("5")  # VmHWM begins anew
    base, cpu = memory_kilobytes("VmRSS"), time.process_time()
    acts[what](folder, truths[1])
    cpu = time.process_time() - cpu
    above = (memory_kilobytes("VmHWM") - base) / 1024
    rows = images * PER_IMAGE / 1e6
    print(f"{what:20} {rows:5.2f} M rows, {parts:2} parts: {cpu / rows:5.2f} CPU s per M; {above:6.0f} MB", flush=True)


def main() -> None:
    """Make the loads, then do everything to each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, nargs="+", default=[2500, 5000, 10000])
    parser.add_argument("--phase", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.phase:
        what, folder, images, parts = given.phase
        return run(what, Path(folder), int(images), int(parts))
    with tempfile.TemporaryDirectory() as place:
        make(Path(place) / "few", 20)
        for images in given.images:
            folder = Path(place) / str(images)
            parts = make(folder, images)
            for what in ("evaluate the whole", "evaluate by parts", "import a table", "import parts"):
                environment = os.environ | {"TMPDIR": place}
                arguments = [what, str(folder), str(images), str(parts)]
                subprocess.run([sys.executable, __file__, "--phase", *arguments], check=True, env=environment)
    return None


if __name__ == "__main__":
    main()
