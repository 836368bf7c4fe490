"""How often the over-fitting alarm rings: in honest searches, which it must leave alone, and where the split is tiny.

Members and truth are of one distribution (`benchmarks/search_zoo.py`), images are dealt to the splits at random, so
that nothing but the search itself can fit the split that it is run on. Each search has its own members, images and
seed. Of a dozen images most of what a search finds is noise, and rivals are better: there the alarm ought to ring.

With `--learned`, corrections, calibrations and scores are learned as `quorum search` does, and the first candidate is
among the rivals.

    python -m benchmarks.alarm_rate
"""

from __future__ import annotations

import argparse
import time
from typing import NamedTuple

import numpy as np
from scipy.stats import beta

from benchmarks.search_zoo import make_zoo
from evaluation.protocol import Coco
from search.answer import Answer
from search.problem import pose
from search.seek import seek
from search.study import Settings

_MEMBERS, _CATEGORIES, _DETECTIONS = 6, 4, 10.0


class Setting(NamedTuple):
    """Images to search on and to verify, trials, and how many such searches."""

    searched: int
    verified: int
    trials: int
    searches: int


SETTINGS = (Setting(120, 120, 60, 150), Setting(240, 240, 150, 20), Setting(12, 120, 60, 50))


def main() -> None:
    """Search again and again, and print how often the alarm rang."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--share", type=float, default=1.0, help="of the searches")
    parser.add_argument("--learned", action="store_true", help="learn as quorum search does")
    options = parser.parse_args()
    print("| searched on | verified on | trials | searches | the alarm rang | 95 % interval | s |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for setting in SETTINGS:
        begin = time.process_time()
        count = max(int(setting.searches * options.share), 1)
        rang = sum(run(setting, seed, learned=options.learned).alarm is not None for seed in range(count))
        low = beta.ppf(0.025, rang, count - rang + 1) if rang else 0.0
        high = beta.ppf(0.975, rang + 1, count - rang) if rang < count else 1.0
        print(
            f"| {setting.searched} | {setting.verified} | {setting.trials} | {count} | {100 * rang / count:.1f} % "
            f"| {100 * low:.1f} to {100 * high:.1f} % | {time.process_time() - begin:.0f} |",
            flush=True,
        )


def run(setting: Setting, seed: int, *, learned: bool = False) -> Answer:
    """Simulate members and search."""
    truth, tables = make_zoo(seed, _MEMBERS, setting.searched + setting.verified, _CATEGORIES, _DETECTIONS)
    ids = np.random.default_rng((seed, 5)).permutation(truth.image_id)
    splits = {"search": ids[: setting.searched], "verify": ids[setting.searched :]}
    problem = pose(tables, truth, splits, Coco(), treatment=None if learned else "as they are")
    _, answer = seek(problem, Settings(budget=setting.trials, seed=seed), memory=0.25, scores=learned)
    return answer


if __name__ == "__main__":
    main()
