"""Formulas that the CPU's and the GPU's kernels of the evaluation share; see `fusion.formulas`."""
