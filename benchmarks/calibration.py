"""What calibration gains on images that it was not learned on, with paired intervals, and how fast it is.

The simulated members' scores are distorted in known ways; MVOR's real ones are used where its files are beside the
checkout. Run from the project's folder: python benchmarks/calibration.py
"""

import argparse
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.measure import cpu
from evaluation.calibration import learn_calibration
from evaluation.coco_ground_truth import read_coco
from evaluation.comparison import compare
from evaluation.ground_truth import GroundTruth
from evaluation.prepared import prepare
from evaluation.protocol import Coco
from evaluation.statistics import bootstrap
from fusion import Calibrate, DetectionTable, Metadata, Nms, Nmw, Recipe, Wbf, read_coco_results
from zoo.synthetic.simulated import Scenario, demo_members, simulate

MVOR = Path(__file__).parents[2] / "shared" / "data" / "mvor"
METHODS = {"nms 0.5": Nms(iou=0.5), "nmw 0.6": Nmw(iou=0.6), "wbf 0.6": Wbf(iou=0.6)}
KINDS: dict[str, dict[str, Any]] = {
    "isotonic": {},
    "isotonic to expected IoU": {"target": "expected_iou"},
    "isotonic to IoU .5": {"target": 0.5},
    "isotonic per category": {"per_category": True},
    "linear": {"kind": "linear"},
    "platt": {"kind": "platt"},
    "rank": {"kind": "rank"},
}


def simulated(images: int, seed: int = 0) -> tuple[GroundTruth, list[DetectionTable]]:
    """Return ground truth and the six members of the demonstration."""
    simulation = simulate(Scenario(images=images), demo_members(), seed)
    truth = simulation.annotations
    ground_truth = GroundTruth.from_arrays(
        image_id=np.arange(1, images + 1),
        category_id=np.arange(1, simulation.scenario.categories + 1),
        annotation_image_id=truth.image_id,
        annotation_category_id=truth.category_id,
        xywh=truth.xywh,
        crowd=truth.crowd,
    )
    return ground_truth, [member.table() for member in simulation.members]


def distorted(tables: list[DetectionTable]) -> list[DetectionTable]:
    """Raise each member's scores to a power that depends on the category: from 1/3 to 3, drawn for each member."""
    result = []
    for number, table in enumerate(tables):
        powers = 3.0 ** np.random.default_rng(number).uniform(-1, 1, int(table.category_id.max()) + 1)
        score = (table.score / table.score.max()) ** powers[table.category_id]
        place = table.arrow.column_names.index("score")
        arrow = table.arrow.set_column(place, "score", pa.array(score))
        result.append(DetectionTable.from_arrow(arrow, table.metadata))
    return result


def mvor() -> tuple[GroundTruth, list[DetectionTable]]:
    """Return MVOR's ground truth and its six result files."""
    truth = read_coco(MVOR / "annotations" / "camma_mvor_2018.json")
    files = sorted((MVOR / "detections_results").glob("*.json"))
    named = [(path, Metadata(member=path.stem.replace("_bbox", ""))) for path in files]
    return truth, [read_coco_results(path, vocabulary=truth.vocabulary, metadata=name) for path, name in named]


def show_gains(name: str, truth: GroundTruth, tables: list[DetectionTable], replicates: int) -> None:
    """Learn on the images of even rank, fuse and compare on the others."""
    learn, verify = (truth.subset(truth.image_id[part::2]) for part in (0, 1))
    prepared = prepare(verify, Coco())
    shown = [table.select_images(verify.image_id) for table in tables]
    ranges = ", ".join(f"{t.metadata.member} {t.score.min():.3g} to {t.score.max():.3g}" for t in tables)
    print(f"\n{name}: scores of {ranges}")
    best = max(prepared.evaluate(table).AP for table in shown)
    print(f"best single member on {len(verify.image_id)} images not learned on: AP {best:.4f}")
    for method, step in METHODS.items():
        raw = bootstrap(prepared.evaluate(Recipe.chain([step]).fuse(shown)), replicates=replicates, drawn=("AP",))
        print(f"{method}, scores as they are: AP {raw.observed['AP']:.4f}")
        for kind, options in KINDS.items():
            maps = {str(table.metadata.member): learn_calibration(table, learn, **options) for table in tables}
            fused = Recipe.chain([Calibrate(maps=maps), step]).fuse(shown)
            calibrated = bootstrap(prepared.evaluate(fused), replicates=replicates, drawn=("AP",))
            gain = compare(raw, calibrated).figures["AP"]
            low, high = 100 * gain.low, 100 * gain.high
            print(f"  {kind:24} AP {gain.b:.4f}, gain {100 * gain.value:+.2f} points, 95 % {low:+.2f} to {high:+.2f}")
    changed = 0
    for table, own in zip(tables, shown, strict=True):
        before = prepared.evaluate(own).stats
        for options in KINDS.values():
            maps = {str(table.metadata.member): learn_calibration(table, learn, **options)}
            changed += prepared.evaluate(Recipe.chain([Calibrate(maps=maps)]).fuse([own])).stats != before
    print(f"single members' figures changed in any bit by a map: {changed} of {len(shown) * len(KINDS)}")


def show_speed() -> None:
    """Print the rates of learning and applying."""
    truth, tables = simulated(4000)
    rows = sum(map(len, tables))
    for kind, options in KINDS.items():
        maps = {str(table.metadata.member): learn_calibration(table, truth, **options) for table in tables}
        seconds = cpu(lambda options=options: [learn_calibration(table, truth, **options) for table in tables], 1)
        recipe = Recipe.chain([Calibrate(maps=maps)])
        applying = cpu(lambda recipe=recipe: recipe.fuse(tables), 3)
        print(f"{kind:24} learned from {rows:,} detections in {seconds:.2f} s, {rows / applying / 1e6:.1f} M/s applied")


def main() -> None:
    """Run both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--replicates", type=int, default=500)
    arguments = parser.parse_args()
    os.environ["QUORUM_THREADS"] = "1"
    truth, tables = simulated(arguments.images)
    show_gains("simulated", truth, tables, arguments.replicates)
    show_gains("simulated, distorted per category", truth, distorted(tables), arguments.replicates)
    if MVOR.is_dir():
        show_gains("MVOR", *mvor(), arguments.replicates)
    else:
        print("\nMVOR is not beside the checkout")
    print()
    show_speed()


if __name__ == "__main__":
    main()
