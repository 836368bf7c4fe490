"""The fusion operators on an NVIDIA GPU: twins of `fusion/kernels`, from the same formulas, with the same answers.

How it works:

* `stream.open_on_gpu` makes a `session.Session` of tables that fit in the GPU's memory. Others are cut by image for a
  `stream.TableStream`, which has a session for each part: while one is fused, a thread with a CUDA stream of its own
  uploads the next, and another downloads the last answer.
* `Session` puts each table on the GPU once, as flat columns (`kernels/cells.Rows`). The answer of a step stays
  there as a `Resident`, which is what the next step of a recipe takes; it becomes a table once, at the end. A step
  without a twin gets ordinary tables and runs on the CPU.
  `steps.TWINS` says which have one.
* A step pools its inputs, then sorts them into the CPU's order: (image, category, score descending, row). Rows are
  dealt into their cells by atomic counters, in any order, and then each finds its place by counting the rows of its
  cell that come before it. That takes the square of a cell's size, like suppression itself, but is one launch without a
  barrier for all cells, small or huge, and its answer does not depend on the order in which threads run.
* An operator is one launch per class of cell sizes (`kernels/cells.CLASSES`), over all cells of the part: one thread
  for a cell of a few boxes, a whole block for the largest, several cells in a block in between, so that warps are
  full. Cells share nothing but barriers: a block goes on until its last cell is done.
* Steps that only change scores answer with the same columns and another score. What they have to look up (maps,
  relations, ancestors) is made ready by the host and uploaded; `calibrate`, whose order has to hold within a member,
  sorts by score with merges (`kernels/calibrate.py`).
* Masks go up as COCO's compressed text, once, and only for steps on masks (`masking.upload_masks`); a thread for each
  decodes them into boundaries of runs, with room for one per byte of text, so nothing has to be counted first. Votes on
  them are counted on runs, by a thread for each instance (`kernels/mask_vote.py`), or where soft masks vote by a thread
  for each column of pixels (`kernels/mask_paint.py`); both write the new text directly, which comes back as a table.
* Other columns are looked up by the row that was uploaded (`Rows.origin`): masks, and for steps that go by views the
  number of each row's view (`views`). A table without the column is one view, called as itself.
* What an operator leaves is flagged where it stands, with its new score and box; `kernels/answer.py` orders that within
  its cell by (score descending, row) and packs it.

Equality with the CPU: formulas are those of `fusion/formulas`, in float64, summed in the same order, ties by row.
Products that go into a sum are rounded first (`kernels/products.py` sees to that), since the GPU's compiler would
otherwise join them into fused multiply-adds. So all twins give the same bits but those that take an exp: gaussian soft
suppression (`merge_scales` included), `surround`, and sigmoids of `calibrate`. The GPU's exp differs from the CPU's by
at most two units in the last place: a box has the same score within 1e-15 of it, and two boxes whose scores are that
close may change places. `prob_fusion` adds up logarithms, too; `kernels/agree.joined` says how close its scores are.

In here: `stream`, `session` and `resident` (tables and answers on the GPU), `steps`,
`rescoring`, `rebuilding`, `masking` and `views` (the host's part of the twins), `kernels` (device code).
`kernels/device.py`, with `launch`, `memory` and `products` beside it, is the only place that knows CUDA; all of it is
imported when a GPU is asked for. Detections that are there are measured by `evaluation.cuda`.
"""

__all__: list[str] = []
