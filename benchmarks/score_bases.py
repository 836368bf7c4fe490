"""Which flat ensemble is the best base for learned scores: AP by its own scores, held back, and on other images.

Members are prepared as a search does it, learned on one part of the images and measured on the other.

    python -m benchmarks.score_bases mvor-frames mvor-days simulated
"""

from __future__ import annotations

import argparse
import time

from benchmarks.learned_fusion import CASES, Case
from evaluation.protocol import Coco
from search.baselines import flat
from search.genome import Operator
from search.problem import pose
from search.stack import stack

BASES = (
    Operator(kind="wbf", iou=0.55),
    Operator(kind="wbf", iou=0.65),
    Operator(kind="wbf", iou=0.75),
    Operator(kind="wbf", iou=0.85),
    Operator(kind="nmw"),
    Operator(kind="vote"),
    Operator(kind="vote", iou=0.7),
    Operator(kind="nms"),
    Operator(kind="nms", iou=0.75),
    Operator(kind="adj_nms"),
    Operator(kind="soft_nms"),
)


def main() -> None:
    """Measure the cases that are named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", default=["mvor-frames", "simulated"], choices=list(CASES))
    for name in parser.parse_args().cases:
        for case in CASES[name]():
            _measure(case)


def _measure(case: Case) -> None:
    ids = case.truth.image_id
    splits = {"search": ids[case.learn], "verify": ids[~case.learn]}
    problem = pose(case.tables, case.truth, splits, Coco(), groups=case.groups)
    [verify] = problem.others
    print(f"\n## {case.name}: members are fused {problem.preparation.treatment}\n")
    print(
        "| base | boxes | own scores | logistic | boosting | verify | CPU s |\n|---|---|---|---|---|---|---|",
        flush=True,
    )
    for operator in BASES:
        begin = time.process_time()
        found = stack(problem, flat([1.0] * len(problem.names), operator))
        seconds = time.process_time() - begin
        fused = problem.recipe(found.genome, found.model).fuse(verify.tables)
        figures = " | ".join(f"{found.AP[kind]:.4f}" for kind in ("own", "logistic", "boosting"))
        threshold = "" if operator.kind == "soft_nms" else f" {operator.iou:.2f}"
        print(
            f"| {operator.kind}{threshold} | {len(found.boxes):,} | {figures} | "
            f"{verify.prepared.evaluate(fused).AP:.4f} | {seconds:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
