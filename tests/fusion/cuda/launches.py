"""Arguments of the types that each kernel is launched with."""

import numpy as np

from fusion.cuda.kernels import (
    agree,
    answer,
    calibrate,
    cells,
    cluster,
    device,
    expand,
    mask_paint,
    mask_suppress,
    mask_vote,
    masks,
    merge_sort,
    partners,
    regions,
    relations,
    rescore,
    scan,
    soft,
    suppress,
    views,
    vote,
)

_MODULES = (
    *(agree, answer, calibrate, cells, cluster, device, expand, mask_paint, mask_suppress, mask_vote, masks),
    *(merge_sort, partners, regions, relations, rescore, scan, soft, suppress, views, vote),
)
KERNELS = {
    name: kernel for module in _MODULES for name, kernel in vars(module).items() if isinstance(kernel, device.Kernel)
}

F8, F4, I8, I4, I2, I1, U8, U1 = (
    np.zeros(1, kind) for kind in (np.float64, np.float32, np.int64, np.int32, np.int16, np.int8, np.uint64, np.uint8)
)
ROWS = cells.Rows(I4, I4, F8, F8, F8, F8, F8, F8, F8, I2, I4, I2)
COLUMNS = cells.GpuColumns(F8, F8, F8, F8, F8, I2, I4, I4, I4)
LEFT = answer.Left(I1, F8, F8, F8, F8, F8, I2)
CLUSTERS = cluster.Clusters(*[F8] * 5, *[F4] * 4, F8, F8, I4, I4, I4, U8)
RULE = cluster.Rule(True, 0.5, 0, False, 1.0, 1.0)
DECAY = soft.Decay(True, 0.5, 0.5, 0.1)
CELLS = cells.Cells(I4, I4, I4, I4)
MAPS = calibrate.Maps(I4, I1, F8, F8)
RUNS = merge_sort.Runs(I4, F8, I4)
REACH = expand.Reach(I4, I4)
LIKELY = relations.Probabilities(I4, I4, F8)
EVIDENCE = relations.Evidence(I4, I4, I1, F8, F8)
BALLOT = vote.Ballot(4, 0.05, 0.3, 0.5)
MASKS = masks.Masks(I4, I8, I8, I1, I4, I4, I8, I4, I4, I4, I4, I4, F4, I8)
TRUST = views.Trust(F8, F8, F8, F8, F8)
ELECTION = mask_vote.Election(3, 2, 6, 0.5, 0.5, False)
MASK_VOTERS = mask_vote.MaskVoters(I8, F8, F8, I4, I4, I1, I8, I8)
OUTCOME = mask_vote.NewMasks(I4, I8, I4, I4, I4, I4, I4, I4, I4)
FRAMES = mask_paint.Frames(I4, F8, I4, I4, I4, I4, I4, I4, I4, I4)

LAUNCHES = {
    "_fill": [(F8, 0), (I1, 1), (I4, 0), (I8, 0), (U8, 0)],
    "begin_cells": [(I4, I4, I4)],
    "bucket_boxes": [(I2, I8, I8, I8, I8, 3, I4)],
    "bound_runs": [(I4, I4, I8)],
    "choose_rows": [(COLUMNS, I4, I4, I1, I1, I1, I4)],
    "check_scores": [(F8, F8, I4)],
    "claim_cells": [(COLUMNS, I4, 3, 8, 0.5, I4)],
    "classify": [(I4, I4, I4)],
    "cluster_cells": [(COLUMNS, I4, 3, 8, F8, 1, RULE, CLUSTERS)],
    "copy_rows": [(ROWS, I2, 3, ROWS)],
    "copy_to_ancestors": [(ROWS, REACH, I4, I1, I4, ROWS)],
    "count_copies": [(I4, REACH, I4)],
    "count_keys": [(I4, I4, I1, 5, I4)],
    "count_votes": [(COLUMNS, I4, I1, 2, LEFT)],
    "count_voters": [(COLUMNS, I1, F8, ELECTION, I4)],
    "deal": [(I4, I4, I1, F8, 5, I4, I4, I4, I4, F8, I4)],
    "decode_masks": [(U1, MASKS)],
    "describe_cells": [(ROWS, COLUMNS, I4, CELLS)],
    "find_best": [(COLUMNS, 3, 0.5, I4, I4)],
    "find_faults": [(ROWS, MASKS, I1, I4, I1)],
    "find_levels": [(ROWS, MASKS, 9.0, 0.25, 1, 3, I4, I4)],
    "find_states": [(ROWS, MASKS, I1, I1)],
    "find_views": [(I4, I2, I4, I4, I4, I1)],
    "find_voters": [(ROWS, COLUMNS, MASKS, I1, F8, ELECTION, I4, MASK_VOTERS, OUTCOME, I1)],
    "finish_clusters": [(COLUMNS, CLUSTERS, F8, 1, RULE, LEFT)],
    "first_bounds": [(RUNS, I8, I4, I8)],
    "first_masks": [(ROWS, I1, I4)],
    "flag_best": [(COLUMNS, 5, I1)],
    "flag_categories": [(I4, I1)],
    "flag_kept": [(I4, I1)],
    "flag_rises": [(RUNS, I8, I1, I4)],
    "flag_votes": [(COLUMNS, I4, I1)],
    "gate_regions": [(ROWS, I2, COLUMNS, I1, I4)],
    "join_votes": [(COLUMNS, I4, I1, LEFT)],
    "least_behind": [(RUNS, I8, 4, I8)],
    "lower_bits": [(RUNS, I8, I4, I8)],
    "map_scores": [(ROWS, I4, 5, MAPS, RUNS, F8)],
    "merge_copies": [(ROWS, REACH, I4, COLUMNS, I1)],
    "merge_runs": [(RUNS, 4, RUNS)],
    "number_inputs": [(I4, I2)],
    "occupied": [(I4,)],
    "order_cells": [(ROWS, I4, F8, COLUMNS)],
    "pack_cells": [(ROWS, COLUMNS, LEFT, I4, ROWS)],
    "paint_columns": [(COLUMNS, MASKS, I4, MASK_VOTERS, FRAMES, False, I4, I4, I4, I4, I8)],
    "pick_rows": [(ROWS, F8, I1, I4, ROWS)],
    "raise_tops": [(COLUMNS, CELLS, LIKELY, 0.5, 0.1, F8)],
    "scan_tiles": [(I1, I4, I4), (I4, I4, I4)],
    "select_rows": [(ROWS, F8, 0.1, F8, I1)],
    "settle_pairs": [(COLUMNS, I4, I4, True, I1, I4)],
    "soften_cells": [(COLUMNS, I4, 3, 8, DECAY, I1, F8, F8)],
    "sum_tiles": [(I1, I4), (I4, I4)],
    "support_rows": [(ROWS, COLUMNS, I2, 0.5, 0.5, F8, I1)],
    "suppress_masks": [(ROWS, COLUMNS, MASKS, I4, 3, 8, 0.5, I1)],
    "vote_boxes": [(COLUMNS, I4, BALLOT, vote.BestVoters(I1, F8, I4), LEFT)],
    "vote_runs": [(MASKS, I4, MASK_VOTERS, I8, U1, OUTCOME)],
    "weigh_boxes": [(COLUMNS, CELLS, EVIDENCE, 0.9, F8)],
    "weigh_sizes": [(ROWS, I4, TRUST, F8, I1)],
    "weigh_voters": [(ROWS, COLUMNS, MASKS, I1, F8, ELECTION, I4, MASK_VOTERS, OUTCOME, FRAMES, I1)],
    "weigh_rows": [(ROWS, F8, 5, F8, I1, I4)],
    "write_pairs": [(ROWS, I2, 3, I1, I4, I4, ROWS)],
}


def types_of(arguments):
    """The types that a compiler sees."""
    if isinstance(arguments, tuple):
        return (type(arguments).__name__, *map(types_of, arguments))
    return arguments.dtype.name if hasattr(arguments, "shape") else type(arguments).__name__


def recorded(monkeypatch):
    """From now on, the types that each kernel is launched with, by its name."""
    seen = {}
    launch = device.Kernel.__call__

    def record(kernel, work, *arguments):
        seen.setdefault(kernel.function.__name__, set()).add(types_of(arguments))
        launch(kernel, work, *arguments)

    monkeypatch.setattr(device.Kernel, "__call__", record)
    return seen
