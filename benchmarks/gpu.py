"""Fusion and search on the GPU beside the CPU and torchvision: `python benchmarks/gpu.py [--images N] [--large]`.

First every operator's answer is compared with the CPU's. Then it is timed after a warm-up: alone, from rows that are on
the GPU to rows that are (device events, sorting included; `vote_masks` to a table, as new masks always come down); with
the copies there and back; and from tables to a table. The CPU has all cores. `--large` adds 28 members x 40,000 images.
Then candidates of a search among 12 members are fused and measured, and their figures compared with the CPU's.
Without a GPU nothing is measured, and it says so.
With NUMBA_ENABLE_CUDASIM=1 only the comparison is made, on as many images as are given (try 1).
"""

import argparse
import datetime
import itertools
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pycocotools import mask as mask_codec

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.load import Load, make_load
from benchmarks.measure import wall
from benchmarks.search_throughput import fusers_of, problem_of, proposed
from fusion.errors import InputError
from fusion.kernels.jit import threads
from fusion.masks import mask_array
from fusion.recipe import Recipe
from fusion.relations import Relations, Surrounding, Together
from fusion.run import apply, settle
from fusion.score_maps import ScoreMap
from fusion.steps.adj_nms import AdjNms
from fusion.steps.calibrate import Calibrate
from fusion.steps.concat import Concat
from fusion.steps.consensus import Consensus
from fusion.steps.cooccurrence import Cooccurrence
from fusion.steps.dropout import Dropout
from fusion.steps.expand_hierarchy import ExpandHierarchy
from fusion.steps.mask_nms import MaskNms
from fusion.steps.merge_scales import MergeScales
from fusion.steps.nms import Nms
from fusion.steps.nms_then_soft import NmsThenSoft
from fusion.steps.nmw import Nmw
from fusion.steps.prob_fusion import ProbFusion
from fusion.steps.reweight import Reweight
from fusion.steps.select_experts import SelectExperts
from fusion.steps.select_views import SelectViews
from fusion.steps.soft_nms import SoftNms
from fusion.steps.support import Support
from fusion.steps.surround import Surround
from fusion.steps.vote import Vote
from fusion.steps.vote_masks import VoteMasks
from fusion.steps.wbf import Wbf
from fusion.table import DetectionTable, Metadata
from search.engine import Engine

SIDE = 640.0
RUNS = 7
PAIRS_PER_THREAD = 4096
CATEGORIES = 80


def steps(members: int) -> dict[str, Any]:
    """The operators."""
    weights = {f"m{m}": 1.0 - 0.5 * m / members for m in range(members)}
    knots = np.linspace(0, 1, 60)
    maps = {
        name: ScoreMap(kind="isotonic", score=knots, value=0.01 + 0.9 * knots**2 * w) for name, w in weights.items()
    }
    above = {CATEGORIES + k: [CATEGORIES + 8] for k in range(8)} | {CATEGORIES + 8: []}
    parents = {c: [CATEGORIES + c % 8] for c in range(CATEGORIES)} | above
    return {
        "nms": Nms(),
        "soft_nms gaussian": SoftNms(),
        "soft_nms linear": SoftNms(method="linear"),
        "adj_nms": AdjNms(),
        "nms_then_soft": NmsThenSoft(),
        "wbf": Wbf(),
        "wbf, weights": Wbf(weights=weights),
        "nmw": Nmw(),
        "vote": Vote(),
        "reweight": Reweight(weights=weights),
        "concat, 100 per image": Concat(max_per_image=100),
        "calibrate": Calibrate(maps=maps),
        "cooccurrence": Cooccurrence(relations=relations()),
        "surround": Surround(relations=relations()),
        "expand_hierarchy": ExpandHierarchy(parents=parents),
        "support": Support(),
        "consensus": Consensus(),
        "prob_fusion": ProbFusion(),
        "merge_scales": MergeScales(),
        "select_experts": SelectExperts(categories={f"m{m}": range(m, CATEGORIES, members) for m in range(1, members)}),
        "dropout, two members": Dropout(),
    }


def relations() -> Relations:
    """Counts for every pair of categories."""
    rng = np.random.default_rng(0)
    ids = np.arange(CATEGORIES, dtype=np.int32)
    images = rng.integers(100, 1000, CATEGORIES)
    objects = 2 * images
    first, second = (part.astype(np.int32) for part in np.triu_indices(CATEGORIES, 1))
    both = (images[first] * images[second] // 2000).astype(np.int64)
    return Relations(
        ioa=0.9,
        images=2000,
        categories="",
        category_id=ids,
        category_name=tuple(map(str, ids)),
        category_images=images,
        category_objects=objects,
        together=Together(first, second, both, both, both),
        surrounding=Surrounding(first, second, rng.integers(0, images[first]), rng.integers(0, images[second])),
    )


def tables_of(load: Load) -> list[DetectionTable]:
    """Make a table per member, in pixels."""
    tables = []
    for m in range(int(load.member.max()) + 1):
        rows = np.flatnonzero(load.member == m)
        x1, y1, x2, y2 = (getattr(load, name)[rows] * SIDE for name in ("x1", "y1", "x2", "y2"))
        tables.append(
            DetectionTable.from_arrays(
                image_id=load.image[rows],
                category_id=load.category[rows],
                score=load.score[rows],
                xywh=(x1, y1, x2 - x1, y2 - y1),
                metadata=Metadata(member=f"m{m}"),
            )
        )
    return tables


def with_masks(tables: list[DetectionTable]) -> list[DetectionTable]:
    """Give each box one of 12,288 ellipses with ragged edges: that of its place and size, in one of three copies."""
    rng = np.random.default_rng(0)
    places, sizes, copies, side = 32, 4, 3, int(SIDE)
    y, x = np.mgrid[:side, :side] + 0.5
    texts = []
    for row, column, size, _ in itertools.product(range(places), range(places), range(sizes), range(copies)):
        cx, cy, radius = (column + 0.5) * side / places, (row + 0.5) * side / places, 12.0 * 2**size
        low, high = (slice(max(int(c - radius - 2), 0), min(int(c + radius + 3), side)) for c in (cy, cx))
        away = np.hypot(x[low, high] - cx, y[low, high] - cy) / radius
        bitmap = np.zeros((side, side), np.uint8, order="F")
        bitmap[low, high] = away + 0.05 * rng.random(away.shape) < 1
        texts.append(mask_codec.encode(bitmap)["counts"])
    column = mask_array([side] * len(texts), [side] * len(texts), texts)
    out = []
    for number, table in enumerate(tables):
        x, y, w, h = table.xywh.T
        place = np.clip(np.stack([y + h / 2, x + w / 2]) / SIDE * places, 0, places - 1).astype(int)
        size = np.clip(np.log2(np.maximum(np.sqrt(w * h), 1) / 24).round(), 0, sizes - 1).astype(int)
        index = ((place[0] * places + place[1]) * sizes + size) * copies + number % copies
        arrow = table.arrow.append_column("mask", column.take(pa.array(index)))
        out.append(DetectionTable.from_arrow(arrow, table.metadata, "benchmark"))
    return out


def compared(ours: DetectionTable, theirs: DetectionTable) -> str:
    """How two answers differ."""
    if ours.arrow.equals(theirs.arrow):
        return "same to the last bit"
    if len(ours) != len(theirs):
        return f"DIFFERENT: {len(ours):,} rows against {len(theirs):,}"
    same = all(np.array_equal(ours.column(name), theirs.column(name)) for name in ("image_id", "category_id", *"xywh"))
    apart = np.max(np.abs(ours.score - theirs.score) / np.maximum(np.abs(theirs.score), 1e-300))
    return f"{'same rows and order' if same else 'DIFFERENT rows or order'}, scores within {apart:.1e}"


def elapsed(call: Callable[[], Any], runs: int = RUNS) -> float:
    """Least milliseconds between two device events around a call."""
    from fusion.cuda.kernels.device import cuda

    times = []
    for _ in range(runs):
        begin, end = cuda.event(), cuda.event()
        begin.record()
        call()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end))
    return min(times)


def ceilings() -> tuple[float, float]:
    """Bytes per second that a copy on the GPU moves, and IoUs per second of boxes in registers."""
    from fusion.cuda.kernels.formulas import area_of, iou

    from fusion.cuda.kernels.device import THREADS, cuda

    source, target = cuda.device_array(2**27), cuda.device_array(2**27)
    target.copy_to_device(source)
    copied = 2 * 2**30 / elapsed(lambda: target.copy_to_device(source)) * 1e3

    @cuda.jit
    def pairs(out):
        i = cuda.grid(1)
        x = float(i)
        total = 0.0
        for j in range(PAIRS_PER_THREAD):
            y = x + float(j & 7)
            total += iou(x, x, x + 9.0, x + 9.0, area_of(x, x, x + 9.0, x + 9.0), y, y, y + 8.0, y + 8.0, 64.0)
        out[i] = total

    blocks = 132 * 64
    out = cuda.device_array(blocks * THREADS)
    pairs[blocks, THREADS](out)
    return copied, blocks * THREADS * PAIRS_PER_THREAD / elapsed(lambda: pairs[blocks, THREADS](out)) * 1e3


def pairs_of(name: str, tables: list[DetectionTable], fused: DetectionTable) -> float | None:
    """Pairs of boxes that must be compared: for NMS each kept box and those behind it in its cell."""
    if name != "nms":
        return None
    keys = [table.image_id.astype(np.int64) * 1000 + table.category_id for table in tables]
    key, score = np.concatenate(keys), np.concatenate([table.score for table in tables])
    order = np.lexsort((-score, key))
    key, score = key[order], score[order]
    behind = np.searchsorted(key, key, side="right") - 1 - np.arange(len(key))
    kept = np.isin(score, fused.score)  # no two scores of the load are equal
    return float(behind[kept].sum())


def torchvision_ms(load: Load, images: int) -> float | None:
    """Milliseconds of torchvision's batched_nms on the GPU, called for each of some images, scaled to all."""
    try:
        import torch
        from torchvision.ops import batched_nms
    except ImportError:
        print("torch and torchvision are not installed: no comparison")
        return None
    if not torch.cuda.is_available():
        print("this torch sees no GPU: no comparison with torchvision")
        return None
    order = np.argsort(load.image, kind="stable")
    every = int(load.image.max()) + 1
    cuts = np.searchsorted(load.image[order], np.arange(min(images, every) + 1)).tolist()
    corners = np.stack([load.x1, load.y1, load.x2, load.y2], axis=1)[order]
    boxes = torch.from_numpy(corners).cuda()
    scores = torch.from_numpy(load.score[order]).cuda()
    labels = torch.from_numpy(load.category[order].astype(np.int64)).cuda()

    def call() -> None:
        for a, b in itertools.pairwise(cuts):
            batched_nms(boxes[a:b], scores[a:b], labels[a:b], 0.5)
        torch.cuda.synchronize()

    call()
    return wall(call, 3) * 1e3 * every / (len(cuts) - 1)


def report(load: Load, ceiling: tuple[float, float] | None, peer_images: int) -> None:
    """Compare and time every operator on one load; without ceilings, compare only."""
    tables = tables_of(load)
    rows, members, images = len(load.score), len(tables), int(load.image.max()) + 1
    print(f"\n{members} members x {images:,} images, {rows:,} detections")
    peer = torchvision_ms(load, peer_images) if ceiling else None
    if ceiling:
        print(f"{'':22} {'alone':>9} {'copies':>9} {'tables':>9} {'CPU':>9} {'faster':>7} {'GB/s':>7} {'of copy':>8}")
    for name, step in steps(members).items():
        line(name, step, tables, ceiling, peer)
    levels = [[f"m{m}" for m in range(members) if m % 2 == half] for half in (0, 1)]
    line("select_views", SelectViews(views=levels), [apply(Wbf(), tables), *tables], ceiling, None)
    if rows < 10_000_000:  # more masks do not fit in one table
        masked = with_masks(tables)
        line("mask_nms", MaskNms(), masked, ceiling, None)
        line("vote_masks", VoteMasks(), [apply(Wbf(), tables), *masked], ceiling, None)
    recipe = Recipe.chain([Reweight(weights={f"m{m}": 1.0 for m in range(members)}), Wbf(), SoftNms()])
    print(f"{'reweight, wbf, soft':22} {compared(recipe.fuse(tables, device='cuda'), recipe.fuse(tables))}")
    if ceiling:
        gpu, cpu = (wall(lambda device=device: recipe.fuse(tables, device=device), 3) for device in ("cuda", "cpu"))
        print(f"{'':22} tables to table: {gpu * 1e3:.1f} ms, CPU {cpu * 1e3:.1f} ms, {cpu / gpu:.1f} x")


def bytes_of(answer: Any) -> int:
    """Size of rows on the GPU, or of a table that came from there."""
    if isinstance(answer, DetectionTable):
        return int(answer.arrow.nbytes)
    return sum(len(column) * column.dtype.itemsize for column in answer.rows)


def line(
    name: str, step: Any, tables: list[DetectionTable], ceiling: tuple[float, float] | None, peer: float | None
) -> None:
    """Compare and time one operator."""
    from fusion.cuda.kernels.device import to_host
    from fusion.cuda.session import Session

    if isinstance(step, Dropout):
        tables = tables[:2]
    fused, expected = apply(step, tables, device="cuda"), apply(step, tables)
    answer = compared(fused, expected)
    if ceiling is None:
        print(f"{name:22} {answer}")
        return
    session = Session(tables, [step])
    resident: Any = session.apply(step, tables)  # uploads them
    alone = elapsed(lambda: session.apply(step, tables))

    def copied() -> None:
        there: Any = Session(tables, [step]).apply(step, tables)
        for column in () if isinstance(there, DetectionTable) else there.rows:
            to_host(column)

    copies = wall(copied) * 1e3
    whole = wall(lambda: apply(step, tables, device="cuda"), 3) * 1e3
    cpu = wall(lambda: apply(step, tables), 3) * 1e3
    # what has to be read and written once: the rows, for steps on masks their texts, and what is left of them
    there: list[Any] = [session.apply(Concat(), [table]) for table in tables]
    texts = tables[1:] if isinstance(step, (MaskNms, VoteMasks)) else []
    moved = sum(map(bytes_of, [*there, *texts, resident])) / alone * 1e3
    print(
        f"{name:22} {alone:7.2f}ms {copies:7.1f}ms {whole:7.1f}ms {cpu:7.1f}ms {cpu / whole:6.1f}x"
        f" {moved / 1e9:7.1f} {moved / ceiling[0]:7.1%}  {answer}"
    )
    pairs = pairs_of(name, tables, fused)
    if pairs is not None:
        rate = pairs / alone * 1e3
        print(
            f"{'':22} {pairs / 1e6:.1f} M pairs, {rate / 1e9:.2f} G/s, {rate / ceiling[1]:.1%} of what the GPU can do"
        )
    if peer is not None and name == "nms":
        print(f"{'':22} torchvision batched_nms per image, on the GPU: {peer:.1f} ms, {peer / alone:.1f} x ours alone")


def search_report(members: int, images: int, trials: int, *, timed: bool) -> None:
    """Compare and time candidates of a search, as evolution proposes them; without kept results and with them."""
    problem = problem_of(members, images)
    cpu, gpu = (fusers_of(problem, device) for device in ("cpu", "cuda"))
    stage = proposed(problem, cpu, trials, 2**31, fixed_tree=False)
    rows = sum(len(table) for table in problem.search.tables)
    print(f"\nsearch: {members} members x {images:,} images, {rows:,} detections; {trials} candidates")
    figures = [[Engine(each, memory=0).evaluate(genome).value for genome in stage.genomes] for each in (cpu, gpu)]
    apart = float(np.max(np.abs(np.diff(figures, axis=0))))
    print(f"AP of all categories: {'the same' if apart == 0 else f'at most {apart:.1e} apart'}")
    for memory in (0, 2**31) if timed else ():
        medians = []
        for each in (gpu, cpu):
            engine = Engine(each, memory=memory)
            medians.append(np.median([engine.evaluate(genome).seconds for genome in stage.genomes]) * 1e3)
        print(
            f"{'sub-trees kept' if memory else 'nothing kept':22} median of a trial: {medians[0]:.1f} ms, "
            f"CPU {medians[1]:.1f} ms, {medians[1] / medians[0]:.1f} x"
        )


def main() -> None:
    """Run all comparisons."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--large", action="store_true", help="also 28 members x 40,000 images; needs 64 GB of memory")
    parser.add_argument("--peer-images", type=int, default=500)
    arguments = parser.parse_args()
    try:
        settle("cuda")
    except InputError as error:
        print(f"There is no GPU here, so nothing was measured. {error}")
        return
    from fusion.cuda.kernels.device import SIMULATED, cuda

    warnings.simplefilter("ignore")  # Numba's on launches that are small
    if SIMULATED:
        sys.setswitchinterval(1e-5)
        print("Kernels run in Numba's simulator: answers are compared, and nothing is timed.")
        report(make_load(arguments.images), None, 0)
        search_report(3, 3, 2, timed=False)
        return
    name = cuda.get_current_device().name
    name = name.decode() if isinstance(name, bytes) else name
    print(f"{datetime.date.today()}, {name}; the CPU's path on {threads()} of {os.cpu_count()} processors")
    ceiling = ceilings()
    print(f"A copy on the GPU moves {ceiling[0] / 1e9:.0f} GB/s; it takes {ceiling[1] / 1e9:.0f} G IoUs per second")
    report(make_load(arguments.images), ceiling, arguments.peer_images)
    if arguments.large:
        report(make_load(40_000, 28), ceiling, arguments.peer_images)
    search_report(12, arguments.images, 40, timed=True)


if __name__ == "__main__":
    main()
