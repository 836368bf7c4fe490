"""Arguments of the types that each kernel is launched with."""

import numpy as np

from fusion.cuda.kernels import answer, cells, cluster, device, rescore, scan, soft, suppress, vote

_MODULES = (answer, cells, cluster, device, rescore, scan, soft, suppress, vote)
KERNELS = {
    name: kernel for module in _MODULES for name, kernel in vars(module).items() if isinstance(kernel, device.Kernel)
}

F8, F4, I4, I2, I1, U8 = (
    np.zeros(1, kind) for kind in (np.float64, np.float32, np.int32, np.int16, np.int8, np.uint64)
)
ROWS = cells.Rows(I4, I4, F8, F8, F8, F8, F8, I2, I4, I2)
COLUMNS = cells.Columns(F8, F8, F8, F8, F8, I2, I4, I4, I4)
LEFT = answer.Left(I1, F8, F8, F8, F8, F8, I2)
CLUSTERS = cluster.Clusters(*[F8] * 5, *[F4] * 4, F8, F8, I4, I4, I4, U8)
RULE = cluster.Rule(True, 0.5, 0, False, 1.0, 1.0)
DECAY = soft.Decay(True, 0.5, 0.5, 0.1)
BALLOT = vote.Ballot(4, 0.05, 0.3, 0.5)

LAUNCHES = {
    "_fill": [(I1, 1), (I4, 0), (U8, 0)],
    "begin_cells": [(I4, I4, I4)],
    "classify": [(I4, I4, I4)],
    "cluster_cells": [(COLUMNS, I4, 3, 8, F8, 1, RULE, CLUSTERS)],
    "copy_rows": [(ROWS, I2, 3, ROWS)],
    "count_keys": [(I4, I4, I1, 5, I4)],
    "deal": [(I4, I4, I1, F8, 5, I4, I4, I4, I4, F8, I4)],
    "finish_clusters": [(COLUMNS, CLUSTERS, F8, 1, RULE, LEFT)],
    "flag_best": [(COLUMNS, 5, I1)],
    "occupied": [(I4,)],
    "order_cells": [(ROWS, I4, F8, COLUMNS)],
    "pack_cells": [(ROWS, COLUMNS, LEFT, I4, ROWS)],
    "pick_rows": [(ROWS, F8, I1, I4, ROWS)],
    "scan_tiles": [(I1, I4, I4), (I4, I4, I4)],
    "select_rows": [(ROWS, F8, 0.1, F8, I1)],
    "soften_cells": [(COLUMNS, I4, 3, 8, DECAY, I1, F8, F8)],
    "sum_tiles": [(I1, I4), (I4, I4)],
    "suppress_cells": [(COLUMNS, I4, 3, 8, 0.5, I1)],
    "vote_boxes": [(COLUMNS, I4, BALLOT, vote.Voters(I1, F8, I4), LEFT)],
    "weigh_rows": [(ROWS, F8, 5, F8, I1, I4)],
}


def types_of(arguments):
    """The types that a compiler sees."""
    if isinstance(arguments, tuple):
        return (type(arguments).__name__, *map(types_of, arguments))
    return arguments.dtype.name if hasattr(arguments, "shape") else type(arguments).__name__
