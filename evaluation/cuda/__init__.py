"""Evaluation of fused detections that are still on the GPU, so that a search need not copy them from there.

`prepared.prepare_on_gpu` puts ground truth beside the tables of a fusion session, once. `PreparedOnGpu` then tells the
AP of each category of an answer (`fusion.cuda.resident.Resident`); what is copied from the GPU is interpolated
precision alone, and its mean is taken by the code that the CPU's figures come from.

How it works:

* A thread for each detection finds the ground truth of its cell that it overlaps enough (`kernels/pairing.py`). No step
  changes a mask, so pairs of masks are found once, on the CPU, and looked up by the row that a mask comes from.
* A thread for each cell gives its detections, the best first, what is left of that, at all thresholds at once
  (`kernels/matching.py`).
* Only detections that are right at some threshold are ranked over images. The others are counted between them, and
  precision comes from prefix sums (`kernels/precision.py`).
* Open Images asks which detections are true, and how many false ones are between them (`kernels/open_images.py`); that
  comes down, and the areas under the curves are the CPU's.

All figures are the CPU's to the last bit: formulas are those of `fusion/formulas`, counts are whole numbers, ties go
by image and row. `evaluation/cuda` imports CUDA only by way of `fusion/cuda/kernels/device.py`.
"""

__all__: list[str] = []
