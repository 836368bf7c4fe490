"""What weights of sides bring to means of boxes that are corrected and calibrated, on the cases of `learned_fusion`.

Learned on one part of the images and measured on the other; differences are paired, in AP points, with 95 % intervals
of the bootstrap over images.

    python -m benchmarks.box_weights mvor-frames mvor-days simulated yolact
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from benchmarks.learned_fusion import CASES, Case, steps_before
from evaluation.comparison import compare
from evaluation.prepared import prepare
from evaluation.statistics import bootstrap
from fusion.box_weights import box_weights_of
from fusion.recipe import Recipe
from fusion.run import apply
from fusion.steps.nmw import Nmw
from fusion.steps.vote import Vote
from fusion.steps.wbf import Wbf

MEANS: Mapping[str, tuple[type[Any], dict[str, Any]]] = {
    "wbf .75": (Wbf, {"iou": 0.75}),
    "wbf .65": (Wbf, {"iou": 0.65}),
    "wbf .55": (Wbf, {"iou": 0.55}),
    "nmw .75": (Nmw, {"iou": 0.75}),
    "nmw .55": (Nmw, {"iou": 0.55}),
    "vote": (Vote, {}),
    "vote, k 8, box .8, IoU .7": (Vote, {"k": 8, "box": 0.8, "iou": 0.7}),
}


def main() -> None:
    """Measure the cases that are named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", default=["mvor-frames", "simulated"], choices=list(CASES))
    for name in parser.parse_args().cases:
        for case in CASES[name]():
            _measure(case)


def _measure(case: Case) -> None:
    learn, verify = (case.truth.subset(case.truth.image_id[part]) for part in (case.learn, ~case.learn))
    seen, shown = ([table.select_images(part.image_id) for table in case.tables] for part in (learn, verify))
    asked = prepare(verify)
    steps = steps_before(seen, prepare(learn), None if case.groups is None else case.groups[case.learn], "best")
    weights = box_weights_of(steps[0].corrections)  # type: ignore[attr-defined]
    print(f"\n## {case.name}: learned on {len(learn.image_id):,} images, measured on {len(verify.image_id):,}\n")
    for member, row in weights.items():
        print(f"{member}: {', '.join(f'{weight:.2f}' for weight in row)}")
    print("\n| mean | AP | AP75 | with box weights | AP75 | gain |\n|---|---|---|---|---|---|", flush=True)
    ready = Recipe.chain(steps).fuse(shown)
    for name, (kind, options) in MEANS.items():
        plain, weighed = (
            asked.evaluate(apply(kind(**options, box_weights=given), [ready])) for given in (None, weights)
        )
        gain = compare(*(bootstrap(result, replicates=500, drawn=("AP",)) for result in (plain, weighed))).figures["AP"]
        told = f"{100 * gain.value:+.2f} ({100 * gain.low:+.2f} to {100 * gain.high:+.2f})"
        print(
            f"| {name} | {plain.AP:.4f} | {plain.AP75:.3f} | {weighed.AP:.4f} | {weighed.AP75:.3f} | {told} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
