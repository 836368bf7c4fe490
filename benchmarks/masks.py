"""Mask voting and mask suppression beside decode-mean-threshold-encode and a loop with pycocotools.

    python -m benchmarks.masks [--instances 200]

Masks are 640 x 480, wavy blobs with radii of 12 to 160 pixels, each voter's a little different. Times are CPU time
of one process and one thread, least of several runs, both sides in the same run; ours includes pooling, matching
boxes and building the table, the peer gets its matched masks for nothing. Results are compared bit for bit.
"""

import argparse
import os
import warnings
from typing import Any

import numpy as np
import pyarrow as pa
from pycocotools import mask as rle

from benchmarks.measure import cpu, memory_kilobytes, reset_peak
from fusion import mask_nms, vote_masks
from fusion.masks import mask_array
from fusion.soft_masks import soft_mask_array
from fusion.table import DetectionTable

HEIGHT, WIDTH = 480, 640
IOU = 0.5


def blobs(rng: np.random.Generator, instances: int, voters: int) -> list[list[dict[str, Any]]]:
    """Masks per instance and voter, as pycocotools has them: a wavy outline with noise of the voter's own."""
    masks = []
    angle = np.linspace(0, 2 * np.pi, 120, endpoint=False)
    waves = np.stack([wave(angle * k) for k in (1, 2, 3, 5, 8) for wave in (np.sin, np.cos)])
    for _ in range(instances):
        radius = np.exp(rng.uniform(np.log(12), np.log(160)))
        centre = rng.uniform([0, 0], [WIDTH, HEIGHT])
        shape = rng.normal(0, 0.08, len(waves))
        one = []
        for _ in range(voters):
            outline = radius * (1 + (shape + rng.normal(0, 0.02, len(waves))) @ waves)
            points = centre + outline[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
            one.append(rle.frPyObjects([points.clip(0, [WIDTH, HEIGHT]).ravel().tolist()], HEIGHT, WIDTH)[0])
        masks.append(one)
    return masks


def tables_of(masks: list[list[dict[str, Any]]], score: np.ndarray) -> list[DetectionTable]:
    """One table per voter; every instance is on an image of its own, and its voters share a box."""
    n = len(masks)
    boxes = np.array([rle.toBbox(one[0]) for one in masks])
    return [
        DetectionTable.from_arrays(
            image_id=np.arange(n),
            category_id=np.ones(n, np.int32),
            score=score[:, v],
            xywh=boxes,
            mask=mask_array([HEIGHT] * n, [WIDTH] * n, [one[v]["counts"] for one in masks]),
        ).with_metadata(member=f"member{v}")
        for v in range(score.shape[1])
    ]


def mean_by_sums(masks: list[dict[str, Any]], weights: np.ndarray) -> bytes:
    """Decode one by one, add up, threshold, encode."""
    total = np.zeros((HEIGHT, WIDTH), order="F")
    for mask, weight in zip(masks, weights, strict=True):
        total += weight * rle.decode(mask)
    covered = total >= 0.5 * weights.sum()
    return rle.encode(np.asfortranarray(covered, dtype=np.uint8))["counts"]  # type: ignore[no-any-return]


def mean_by_product(masks: list[dict[str, Any]], weights: np.ndarray) -> bytes:
    """Decode all, multiply by the weights at once, threshold, encode."""
    covered = rle.decode(masks) @ weights >= 0.5 * weights.sum()
    return rle.encode(np.asfortranarray(covered, dtype=np.uint8))["counts"]  # type: ignore[no-any-return]


def compare_voting(instances: int) -> None:
    """Print the time of mask voting beside both ways to take a mean with pycocotools."""
    rng = np.random.default_rng(0)
    print(f"{instances} instances on masks of {WIDTH} x {HEIGHT}")
    for voters in (2, 5, 12, 28):
        masks = blobs(rng, instances, voters)
        score = rng.uniform(0.05, 1, (instances, voters))
        tables = tables_of(masks, score)
        plain = tables[0].arrow.drop(["mask"])
        boxes = DetectionTable.from_arrow(plain, tables[0].metadata, "boxes").with_metadata(member="fused")
        fused = vote_masks(boxes, tables)
        ours = cpu(lambda boxes=boxes, tables=tables: vote_masks(boxes, tables))
        counts = fused.mask.field("counts").to_pylist() if fused.mask is not None else []
        peers = {}
        for name, mean in (("sums", mean_by_sums), ("product", mean_by_product)):
            answers = [mean(one, weights) for one, weights in zip(masks, score, strict=True)]
            same = sum(a == b for a, b in zip(answers, counts, strict=True))
            peers[name] = cpu(
                lambda mean=mean, masks=masks, score=score: [mean(*both) for both in zip(masks, score, strict=True)], 3
            )
            print(f"  {voters:2} voters: {same} of {instances} masks equal those of decode, {name}, threshold, encode")
        runs = np.mean([len(mask["counts"]) for one in masks for mask in one])
        text = ", ".join(f"{name} {seconds / instances * 1e6:,.0f} us" for name, seconds in peers.items())
        ratio = min(peers.values()) / ours
        print(f"  {voters:2} voters: {ours / instances * 1e6:.0f} us per instance, {runs:.0f} bytes a mask")
        print(f"  {voters:2} voters: {text}: {ratio:.0f} x")


def compare_soft(instances: int) -> None:
    """Print the time of voting with probability maps of 28 x 28."""
    rng = np.random.default_rng(1)
    boxes = np.concatenate([rng.uniform(0, 300, (instances, 2)), rng.uniform(20, 180, (instances, 2))], axis=1)
    tables = []
    for v in range(5):
        maps = rng.random((instances, 28, 28), dtype=np.float32)
        tables.append(
            DetectionTable.from_arrays(
                image_id=np.arange(instances),
                category_id=np.ones(instances, np.int32),
                score=rng.random(instances),
                xywh=boxes,
                soft_mask=soft_mask_array(maps, HEIGHT, WIDTH),
            ).with_metadata(member=f"member{v}")
        )
    vote_masks(tables[0], tables)
    seconds = cpu(lambda: vote_masks(tables[0], tables))
    pixels = boxes[:, 2:].prod(axis=1).mean()
    print(f"soft masks, 5 voters, {pixels:,.0f} pixels a box: {seconds / instances * 1e6:.0f} us per instance")


def peer_nms(masks: list[dict[str, Any]]) -> list[int]:
    """Greedy suppression of masks in order of score: one row of IoUs per detection."""
    kept: list[int] = []
    for i, mask in enumerate(masks):
        if not kept or not (rle.iou([mask], [masks[k] for k in kept], [0] * len(kept)) > IOU).any():
            kept.append(i)
    return kept


def compare_nms(images: int) -> None:
    """Print the time of mask suppression beside a loop with pycocotools."""
    rng = np.random.default_rng(2)
    cells, counts, image = [], [], []
    for i in range(images):
        masks = [mask for one in blobs(rng, 20, 5) for mask in one]
        cells.append(masks)
        counts += [mask["counts"] for mask in masks]
        image += [i] * len(masks)
    n = len(counts)
    table = DetectionTable.from_arrays(
        image_id=image,
        category_id=np.ones(n, np.int32),
        score=np.linspace(1, 0, n),
        xywh=np.ones((n, 4)),
        mask=mask_array([HEIGHT] * n, [WIDTH] * n, counts),
    )
    kept = mask_nms(table, iou=IOU)
    ours = cpu(lambda: mask_nms(table, iou=IOU))
    expected = [cell[k]["counts"] for cell in cells for k in peer_nms(cell)]
    same = kept.mask is not None and kept.mask.field("counts").to_pylist() == expected
    theirs = cpu(lambda: [peer_nms(cell) for cell in cells], 3)
    print(
        f"mask_nms, {images} cells of 100 masks: {ours / n * 1e6:.1f} us per mask, {'the same' if same else 'ANOTHER'}"
    )
    print(f"  kept set of {len(expected)} as a pycocotools loop with {theirs / n * 1e6:.1f} us: {theirs / ours:.1f} x")


def memory(instances: int) -> None:
    """Print the peak of memory during a vote of 28 members, over the bytes of the masks."""
    rng = np.random.default_rng(3)
    masks = blobs(rng, 100, 28)
    masks = [masks[i % 100] for i in range(instances)]
    tables = tables_of(masks, rng.uniform(0.05, 1, (instances, 28)))
    size = sum(table.arrow.nbytes for table in tables)
    pa.default_memory_pool().release_unused()
    reset_peak()
    before = memory_kilobytes("VmRSS")
    vote_masks(tables[0], tables)
    peak = (memory_kilobytes("VmHWM") - before) * 1024
    print(f"memory, {instances} instances x 28: {peak / 1e6:.0f} MB beside tables of {size / 1e6:.0f} MB")


def main() -> None:
    """Run all comparisons."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--instances", type=int, default=200)
    arguments = parser.parse_args()
    os.environ["QUORUM_THREADS"] = "1"
    warnings.simplefilter("ignore", DeprecationWarning)  # of pycocotools with NumPy 2
    compare_voting(arguments.instances)
    compare_soft(arguments.instances)
    compare_nms(max(arguments.instances // 10, 1))
    memory(50 * arguments.instances)


if __name__ == "__main__":
    main()
