"""Training: one process, or several that torchrun starts; interrupted anywhere, it goes on from its last checkpoint."""

import contextlib
import math
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from fusion.errors import InputError, option
from fusion.processes import end_with_parent
from fusion.terminal import notes, stderr
from zoo.checkpoint import save_weights
from zoo.config import AnyModel
from zoo.data import Batch, Data, Guarded, Target, TrainSet, gathered
from zoo.data.crops import cut_out
from zoo.distributed import is_lost_process, joined
from zoo.feed import delivered, worker_context
from zoo.runs import Run, write_json
from zoo.stopping import asked_to_stop, is_out_of_memory
from zoo.store import write_card
from zoo.training import Training
from zoo.training_log import TrainingLog

__all__ = ["train"]

_PRECISION = {"bf16": torch.bfloat16, "fp16": torch.float16}


def train(
    config: AnyModel,
    data: Data,
    folder: Path,
    *,
    variant: str = "custom",
    resume: bool = False,
    workers: int = 0,
    skip_broken: bool = False,
    tensorboard: bool = False,
) -> Run:
    """Train a model.

    The folder gets `config.json`, `run.json`, `card.md`, `log.csv` and one checkpoint, the newest, every
    `train.checkpoint_steps` steps and at the end; a crash loses at most these steps. Before Ctrl-C (or SIGTERM), an
    image that cannot be read or the death of another process ends it, a checkpoint is written. On a CPU, a training
    that was interrupted and resumed ends with the same bits as one that was not.

    Args:
        config: The model and its schedule.
        data: What to train on.
        folder: Where everything goes.
        variant: Name of the model for cards and tables.
        resume: Go on from the checkpoint in the folder; without one, begin.
        workers: Processes that load images, for each training process.
        skip_broken: In place of an image that cannot be read, with its annotations, take the next that can; which
            they were is in the notes of `run.json`.
        tensorboard: Also write TensorBoard's files.

    Raises:
        InputError: If the folder holds another training, a setting does not fit, an image cannot be read, the loss is
            no number any more, memory runs out, the disk is full, or another process has died.
        KeyboardInterrupt: After Ctrl-C, when the checkpoint is written.
    """
    if config.data.crop is not None:
        data = cut_out(data, config.data.crop, config.train.seed)
    with joined() as ranks:
        training = Training.begin(config, data, folder, variant, ranks, resume=resume)
        log = None
        if ranks.first:
            log = TrainingLog(folder, training.step, training.schedule.total, tensorboard=tensorboard)
        with log or contextlib.nullcontext(), asked_to_stop() as asked, _saving_when_a_process_dies(training):
            stopped = _run(training, _batches(training, data, workers, skip_broken), log, asked)
        run = training.record(data, {} if log is None else log.latest)
        if ranks.first:
            write_json(run, folder / "run.json")
            write_card(folder)
        ranks.wait()
        if stopped:
            if ranks.first:
                stderr.print(f"stopped at step {training.step}; go on with --resume", highlight=False)
            raise KeyboardInterrupt
        return run


def _batches(training: Training, data: Data, workers: int, skip_broken: bool) -> Iterator[Batch]:
    samples = TrainSet(data, training.config.data, training.config.train.seed)
    return delivered(
        DataLoader(
            Guarded(samples, skip=len(data) if skip_broken else None),
            batch_sampler=training.feed.micro_batches(training.position),
            collate_fn=gathered,
            num_workers=workers,
            multiprocessing_context=worker_context(workers),
            worker_init_fn=end_with_parent,
            pin_memory=training.ranks.device.type == "cuda",
        )
    )


def _run(training: Training, batches: Iterator[Batch], log: TrainingLog | None, asked: Sequence[int]) -> bool:
    """Make steps to the end; return whether the user has stopped it before."""
    settings, total = training.config.train, training.schedule.total
    problem: InputError | None = None
    while training.step < total:
        start = time.perf_counter()
        fetched: list[Batch] = []
        if problem is None:
            fetched, problem = _fetch(training, batches)
        _agree(training, problem)
        values = _make_step(training, fetched)
        epoch, rate = training.position.epoch, training.schedule.at(training.step)
        training.position = training.feed.after(training.position)
        training.step += 1
        training.seconds += time.perf_counter() - start
        names = sorted(values)
        *means, stop = training.ranks.mean([*(values[name] for name in names), float(bool(asked))])
        try:
            if log is not None:
                shown = {"epoch": training.position.epoch, "learning_rate": rate}
                log.add(training.step, dict(zip(names, means, strict=True)), shown)
            _keep_epochs(training, epoch)
        except InputError as error:  # the disk is full
            problem = error
        if stop or training.step == total or training.step % settings.checkpoint_steps == 0:
            training.save()
        if stop and training.step < total:
            return True
    _agree(training, problem)
    return False


def _fetch(training: Training, batches: Iterator[Batch]) -> tuple[list[Batch], InputError | None]:
    """Return the micro-batches of a step, or why there are none."""
    try:
        fetched = [next(batches) for _ in range(training.config.train.accumulate)]
    except InputError as error:
        return [], error
    for one in (broken for batch in fetched for broken in batch.broken if batch.failed is None):
        note = f"left out, since it cannot be used: {one.where}: {one.problem}"
        if note not in training.notes:
            training.notes += (note,)
            notes(training.folder, [note])
    for failed in (batch.failed for batch in fetched):
        if failed is not None:
            remedy = f"{failed.remedy}; {option('skip_broken')} leaves such images out"
            return [], InputError(failed.where, failed.problem, remedy)
    return fetched, None


def _agree(training: Training, problem: InputError | None) -> None:
    """Go on if no process has a problem; else write a checkpoint, so that nothing is lost, and raise the first one.

    Raises:
        InputError: If a process has one, in all of them.
    """
    if not any(training.ranks.mean([float(problem is not None)])):
        return
    if training.step > training.saved:
        training.save()
    if problem is not None:
        go_on = f"go on from step {training.step} with {option('resume')}"
        problem = InputError(problem.where, problem.problem, f"{problem.remedy}; {go_on}")
    training.ranks.raise_first(problem)


@contextlib.contextmanager
def _saving_when_a_process_dies(training: Training) -> Iterator[None]:
    """Write a checkpoint if another process dies, and this is the first."""
    try:
        yield
    except RuntimeError as error:
        if training.ranks.world > 1 and is_lost_process(error):
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, signal.SIG_IGN)  # torchrun sends it now; the last words are yet to come
            if training.ranks.first and training.step > training.saved:
                training.save_alone()
        raise


def _make_step(training: Training, batches: Sequence[Batch]) -> dict[str, float]:
    """Go forward and backward on the micro-batches of a step, and change the weights once; return the losses."""
    settings, ids = training.config.train, [target.image_id for batch in batches for target in batch.targets]
    for group in training.optimizer.param_groups:
        group["lr"] = training.schedule.at(training.step) * group["factor"]
    training.optimizer.zero_grad(set_to_none=True)
    sums: dict[str, float] = {}
    for number, (images, targets, *_) in enumerate(batches):
        with contextlib.ExitStack() as stack:
            if number < len(batches) - 1 and training.ranks.world > 1:
                stack.enter_context(training.parallel.no_sync())  # type: ignore[operator]
            try:
                values = _pass(training, images, targets, share=1 / len(batches))
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                pixels = max(image.shape[-2] * image.shape[-1] for image in images)
                raise InputError(
                    f"step {training.step + 1}",
                    f"memory ran out with {len(images)} images of up to {pixels:,} pixels",
                    f"Set train.accumulate={2 * settings.accumulate}, or smaller data.short and data.long",
                ) from error
        for name, value in values.items():
            sums[name] = sums.get(name, 0.0) + value / len(batches)
    if settings.clip is not None:
        training.scaler.unscale_(training.optimizer)
        norm = sums["gradient_norm"] = float(nn.utils.clip_grad_norm_(training.model.parameters(), settings.clip))
        if not math.isfinite(norm) and settings.precision != "fp16":  # with fp16 the scaler leaves the step out
            training.refuse("the norm of the gradient", sums, ids)
    training.scaler.step(training.optimizer)
    training.scaler.update()
    if training.ema is not None:
        training.ema.update(training.model)
    return sums


def _pass(training: Training, images: list[Tensor], targets: list[Target], share: float) -> dict[str, float]:
    """Add the gradient of a micro-batch, which is a `share` of the step; return its losses."""
    device, precision = training.ranks.device, training.config.train.precision
    with torch.autocast(device.type, _PRECISION.get(precision), precision != "fp32"):
        losses: dict[str, Tensor] = training.parallel(
            [image.to(device, non_blocking=True) for image in images], [target.to(device) for target in targets]
        )
    total = torch.stack([value for name, value in losses.items() if not name.startswith("_")]).sum()
    values = {name.lstrip("_"): float(value.detach()) for name, value in losses.items()}
    values["loss"] = float(total.detach())
    if not math.isfinite(values["loss"]):
        training.refuse("the loss", values, [target.image_id for target in targets])
    training.scaler.scale(total * share).backward()  # type: ignore[no-untyped-call]
    return values


def _keep_epochs(training: Training, before: int) -> None:
    """Keep the weights of the epochs that are to be averaged, when they have just ended."""
    for epoch in training.config.train.keep_epochs:
        if before < epoch <= training.position.epoch and training.ranks.first:
            save_weights(training.model.state_dict(), training.folder / f"epoch-{epoch:03d}.safetensors")
