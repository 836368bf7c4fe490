"""How long commands take to start, in CPU time, against `import numpy` in the same run: the machine's speed cancels."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
COMMANDS = ("", "import coco", "export coco", "fuse", "evaluate", "leaderboard", "split", "search", "zoo list", "train")
NUMPY = [sys.executable, "-c", "import numpy"]


def cpu_of(command: list[str], runs: int = 5) -> float:
    """Return the least CPU seconds of some runs of a process."""
    best = float("inf")
    for _ in range(runs):
        before = os.times()
        subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
        after = os.times()
        best = min(best, after.children_user + after.children_system - before.children_user - before.children_system)
    return best


def main() -> None:
    """Print the ratios."""
    numpy = cpu_of(NUMPY)
    print(f"import numpy: {numpy:.2f} s of CPU time")
    for words in COMMANDS:
        seconds = cpu_of([sys.executable, "-m", "quorum", *words.split(), "--help"])
        print(f"quorum {words:12s} --help: {seconds / numpy:5.2f} x import numpy ({seconds:.2f} s)")


if __name__ == "__main__":
    main()
