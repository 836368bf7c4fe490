"""What commands cost beside their work, in CPU time of whole processes: `python benchmarks/start_up.py`.

Ratios of one run, in which the machine's speed cancels: to a floor, which is `import numba` and the first call of a
function that Numba has compiled before, and to the bare libraries of the command line. The data are MVOR's results
(`../shared/data/mvor`). Everything is warm: bytecode and compiled kernels are there; only "first call ever" is not.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MVOR = ROOT.parent / "shared" / "data" / "mvor"
TRUTH = MVOR / "annotations" / "camma_mvor_2018.json"
RESULTS = [MVOR / "detections_results" / f"{name}_bbox.json" for name in ("faster_rcnn", "dfcnet_rfcn")]
WORK = {
    "import": f"import {RESULTS[0]} -g {TRUTH} -o a",
    "export": "export coco a -o a.json",
    "fuse": "fuse a b --method wbf --iou 0.55 -o fused",
    "evaluate": f"evaluate fused -g {TRUTH}",
    "leaderboard": f"leaderboard a b fused -g {TRUTH}",
    "compare": f"compare a fused -g {TRUTH}",
}
AIMS = {"import": 0.7, "fuse": 1.25, "evaluate": 1.25, "leaderboard": 1.7, "compare": 1.7}
HELP = ("", "--version", "import", "export", "split", "evaluate", "leaderboard", "compare", "fuse", "search")

FLOOR = """
import numba
@numba.njit(cache=True)
def add(a, b):
    return a + b
add(1, 2)
"""
BARE = "import cyclopts, rich.console"
PEER = f"""
import json, sys
from collections import defaultdict
import numpy as np
from ensemble_boxes import weighted_boxes_fusion
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

truth = json.load(open({str(TRUTH)!r}))
for one in truth["annotations"]:
    box = one["bbox"]
    one.update(category_id=int(one["category_id"]), iscrowd=0, area=box[2] * box[3])
for one in truth["categories"]:
    one["id"] = int(one["id"])
members = []
for path in {[str(path) for path in RESULTS]!r}:
    per_image = defaultdict(list)
    for one in json.load(open(path)):
        per_image[one["image_id"]].append(one)
    members.append(per_image)
fused = []
for image in truth["images"]:
    size = np.array([image["width"], image["height"]] * 2, float)
    boxes, scores, labels = [], [], []
    for member in members:
        rows = member.get(image["id"], [])
        xywh = np.array([row["bbox"] for row in rows], float).reshape(-1, 4)
        boxes.append(np.hstack((xywh[:, :2], xywh[:, :2] + xywh[:, 2:])) / size)
        scores.append([row["score"] for row in rows])
        labels.append([int(row["category_id"]) for row in rows])
    if any(map(len, scores)):
        found = weighted_boxes_fusion(boxes, scores, labels, iou_thr=0.55)
        for box, score, label in zip(*found):
            x1, y1, x2, y2 = (box * size).tolist()
            fused.append(dict(image_id=image["id"], category_id=int(label), score=float(score),
                              bbox=[x1, y1, x2 - x1, y2 - y1]))
ground = COCO()
ground.dataset = truth
ground.createIndex()
run = COCOeval(ground, ground.loadRes(fused), "bbox")
run.evaluate(); run.accumulate(); run.summarize()
"""


class Processes:
    """Runs processes in a folder, with bytecode and compiled kernels of their own.

    Args:
        folder: The folder.
        root: Checkout whose commands are run.
    """

    def __init__(self, folder: Path, root: Path = ROOT) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        self.environment |= {"PYTHONPATH": str(root), "PYTHONPYCACHEPREFIX": str(folder / "bytecode")}
        self.kernels("warm")

    def kernels(self, name: str) -> None:
        """Keep compiled kernels in another folder."""
        self.environment["NUMBA_CACHE_DIR"] = str(self.folder / f"kernels-{name}")

    def cpu(self, *command: str) -> float:
        """Return the CPU seconds of a process."""
        before = os.times()
        subprocess.run(
            [sys.executable, *command], cwd=self.folder, env=self.environment, check=True, capture_output=True
        )
        after = os.times()
        return after.children_user + after.children_system - before.children_user - before.children_system

    def script(self, name: str, text: str) -> tuple[str, ...]:
        """Write a script, which Numba caches for, as it does not for `-c`; return its command."""
        (self.folder / name).write_text(text, encoding="utf-8")
        return (name,)

    def quorum(self, words: str) -> tuple[str, ...]:
        """Return the command of a command of ours."""
        return ("-m", "quorum", *words.split())


def first_call(processes: Processes, run: int) -> float:
    """Return the CPU seconds of `fuse` and `evaluate` with no kernel compiled before."""
    processes.kernels(f"cold-{run}")
    seconds = sum(processes.cpu(*processes.quorum(WORK[name])) for name in ("fuse", "evaluate"))
    processes.kernels("warm")
    return seconds


def main() -> None:
    """Print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="the median of so many runs is shown")
    parser.add_argument(
        "--beside", type=Path, help="another checkout, whose first call ever is measured in turn with ours"
    )
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        ours = Processes(Path(name) / "ours")
        ours.cpu(*ours.quorum(f"import {RESULTS[1]} -g {TRUTH} -o b"))
        commands = {"floor": ours.script("floor.py", FLOOR), "bare": ours.script("bare.py", BARE)}
        commands["peer"] = ours.script("peer.py", PEER)
        commands |= {name: ours.quorum(words) for name, words in WORK.items()}
        commands |= {f"{words} --help": ours.quorum(f"{words} --help") for words in HELP}
        times: dict[str, list[float]] = {name: [] for name in commands}
        for run in range(given.runs + 1):  # in turn, so that a slow minute is everybody's
            for key, command in commands.items():
                seconds = ours.cpu(*command)
                if run:
                    times[key].append(seconds)
        middle = {key: statistics.median(values) for key, values in times.items()}
        floor, bare = middle["floor"], middle["bare"]
        print(f"floor (import numba, call a cached function): {floor:.2f} s of CPU time; bare libraries: {bare:.2f} s")
        for key in WORK:
            aim = f", aim {AIMS[key]}" if key in AIMS else ""
            print(f"{key:12s} {middle[key] / floor:5.2f} x the floor{aim} ({middle[key]:.2f} s)")
        both = middle["fuse"] + middle["evaluate"]
        whole = both + 2 * middle["import"]
        print(f"the peers' script, fuse and evaluate in one process: {middle['peer'] / floor:.2f} x the floor")
        print(f"our fuse + evaluate {both / floor:.2f} x, with two imports {whole / floor:.2f} x")
        for words in HELP:
            key = f"{words} --help"
            print(f"{key:22s} {middle[key] / bare:5.2f} x the bare libraries ({middle[key]:.2f} s)")
        theirs = None if given.beside is None else Processes(Path(name) / "theirs", given.beside.resolve())
        cold: dict[str, list[float]] = {"ours": [], "theirs": []}
        if theirs is not None:
            for path, table in zip(RESULTS, "ab", strict=True):
                theirs.cpu(*theirs.quorum(f"import {path} -g {TRUTH} -o {table}"))
            first_call(theirs, -1)  # its bytecode
        for run in range(3):
            cold["ours"].append(first_call(ours, run))
            if theirs is not None:
                cold["theirs"].append(first_call(theirs, run))
        print(f"first call ever of fuse + evaluate: {statistics.median(cold['ours']):.1f} s of CPU time")
        if theirs is not None:
            ratio = statistics.median(cold["ours"]) / statistics.median(cold["theirs"])
            print(f"  that is {ratio:.2f} x {statistics.median(cold['theirs']):.1f} s of {given.beside}")


if __name__ == "__main__":
    main()
