"""Arguments of the types that each kernel of the evaluation is launched with."""

from evaluation.cuda.kernels import lookup, matching, open_images, pairing, precision
from fusion.cuda.kernels.device import Kernel
from tests.fusion.cuda.launches import COLUMNS, F8, I1, I4, I8, ROWS, RUNS, U1

KERNELS = {
    name: kernel
    for module in (lookup, matching, open_images, pairing, precision)
    for name, kernel in vars(module).items()
    if isinstance(kernel, Kernel)
}

TRUTH_CELLS = pairing.TruthCells(I4, I4, I1)
LOOKUP = lookup.Lookup(I8, I4, I4)
LOCATED = lookup.Located(COLUMNS, I4, I4)
TRUTH = pairing.GpuTruth(F8, F8, F8, F8, F8, U1)
LIMITS = pairing.Limits(0.5, 100, True, 1e10)
MASK_PAIRS = pairing.MaskPairs(I4, I4, F8, I1)
PAIRS = pairing.GpuPairs(I1, I4, I4, I4, F8)
SCALE = open_images.UnitScale(1, F8, F8)
SECTIONS = open_images.Sections(I4, I4)
BOXES = open_images.TruthBoxes(F8, F8, F8, F8, F8)
EVENTS = precision.Events(I4, RUNS, I4)

LAUNCHES = {
    "begin_categories": [(RUNS, I4)],
    "carry_peaks": [(101, 80, F8)],
    "copy_looks": [(ROWS, COLUMNS, I4, I4)],
    "count_false": [(LOCATED, I1, I4, I4, RUNS, I4)],
    "count_pairs": [(ROWS, LOCATED, TRUTH_CELLS, TRUTH, LIMITS, I1, I4)],
    "count_regions": [(I4, SECTIONS, I4)],
    "count_wrong": [(LOCATED, I8, 10, I4, RUNS, I4)],
    "fill_pairs": [(ROWS, LOCATED, TRUTH_CELLS, TRUTH, LIMITS, PAIRS)],
    "fill_regions": [(LOCATED, SECTIONS, I4, I4, I1, I1, F8, I4)],
    "fill_rows": [(LOCATED, I1, I4, I1, F8, I4)],
    "find_peaks": [(EVENTS, I4, F8, I4, I4, 101, F8)],
    "find_winners": [(I4, 0, I1, I4)],
    "flag_events": [(I8, I8, 10, I1)],
    "flag_usable": [(ROWS, I1, SCALE, I1)],
    "gather_flags": [(RUNS, I1, I1)],
    "judge": [(LOCATED, 10000, I1)],
    "judge_rows": [(ROWS, LOCATED, TRUTH_CELLS, I1, LIMITS, I1)],
    "look_at_boxes": [(ROWS, LOCATED, SECTIONS, BOXES, SCALE, 0.5, I4)],
    "look_up_cells": [(ROWS, LOOKUP, 80, True, LOCATED)],
    "look_up_pairs": [(ROWS, COLUMNS, MASK_PAIRS, I1, I4, I4)],
    "match_cells": [(COLUMNS, PAIRS, U1, F8, I8, I8, I8)],
    "settle_rows": [(I4, 0, I4, I1, I4)],
    "spread_bits": [(RUNS, I8, I8, I1, I1)],
    "take_events": [(LOCATED, I1, I4, RUNS)],
    "take_slots": [(I1, F8, I4, I4, RUNS)],
    "write_precision": [(EVENTS, I1, I4, I4, I4, F8)],
}
