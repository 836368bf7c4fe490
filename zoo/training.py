"""The state of a training: how it begins, what a checkpoint holds, how it goes on, and its record."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import msgspec
import torch
from torch import Tensor, nn

from fusion.belonging import same_word
from fusion.errors import InputError
from fusion.terminal import notes, stderr
from zoo.at_test import limit_notes
from zoo.checkpoint import MovingAverage, latest, load_matching, load_weights, read_state, write_checkpoint
from zoo.config import AnyModel, Stream, diff, read_model
from zoo.data import Data, epoch_order
from zoo.data.counts import category_counts
from zoo.distributed import Ranks
from zoo.feed import Feed, Position, Share
from zoo.models import build
from zoo.nn.classifiers import teach_counts
from zoo.nn.weak import teach_epoch
from zoo.optimizer import freeze_notes, optimizer_of, rate_notes, trained_alike
from zoo.runs import Identity, Run, read_json, source_revision, versions, write_json
from zoo.schedule import Schedule, schedule_of
from zoo.stopping import refuse_step

__all__ = ["Training"]

_FREE = ("train.steps", "train.epochs", "train.checkpoint_steps", "train.keep_epochs")


@dataclass
class Training:
    """A training in progress, in one of its processes.

    Attributes:
        config: The model and its schedule.
        identity: What a reader of the weights has to know.
        folder: Where everything goes.
        ranks: This process among those that train together.
        model: Whose weights are trained.
        parallel: The model, its gradients averaged over the processes.
        optimizer: Of the trained parameters.
        scaler: Of the loss, for fp16.
        ema: The averaged copy, or None.
        feed: The order of the images.
        schedule: The learning rate.
        step: Optimizer steps made.
        position: Images used.
        seconds: Of training, over all starts.
        notes: What a reader of the record should know.
        saved: The step of the last checkpoint.
    """

    config: AnyModel
    identity: Identity
    folder: Path
    ranks: Ranks
    model: nn.Module
    parallel: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    ema: MovingAverage | None
    feed: Feed
    schedule: Schedule
    step: int = 0
    position: Position = field(default_factory=Position)
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    saved: int = 0

    @classmethod
    def begin(cls, config: AnyModel, data: Data, folder: Path, variant: str, ranks: Ranks, *, resume: bool) -> Training:
        """Build everything, and with `resume` go on from the checkpoint in the folder if there is one.

        Raises:
            InputError: If the folder holds another training, or a setting does not fit.
        """
        settings = config.validate(ranks.device.type).train
        if config.makes_masks and not data.has_masks:
            raise InputError(
                f"data {next(part.name for part in data.parts if not part.has_masks)}",
                f"has no segmentation of any object, and {variant} learns masks",
                "Give data with masks, or leave the mask head out with --set mask=null",
            )
        identity = Identity(
            variant=variant,
            model=config.to_dict(),
            category_ids=tuple(int(i) for i in data.category_ids),
            category_names=tuple(data.category_names),
        )
        _check_folder(folder, identity, config, resume=resume)
        ranks.wait()  # nobody writes to the folder before every process has looked at it
        feed = Feed(
            *(
                Share(partial(_order, data, stream, settings.seed, number), stream.images)
                for number, stream in enumerate(config.data.step(settings.batch))
            ),
            accumulate=settings.accumulate,
            rank=ranks.rank,
            world=ranks.world,
        )
        torch.manual_seed(settings.seed)
        checkpoint = latest(folder) if resume else None
        model = build(config, len(identity.category_ids), device=ranks.device.type, pretrained=checkpoint is None)
        subsets = {subset.source for stream in config.data.step(settings.batch) for subset in stream.subsets}
        teach_counts(model, category_counts(data, subsets))
        steps = feed.epoch_length(0) / config.data.step(settings.batch)[0].images
        teach_epoch(model, steps * settings.accumulate)
        said: tuple[str, ...] = (*limit_notes(config, data), *rate_notes(settings), *freeze_notes(model, settings))
        if settings.init_from is not None and checkpoint is None:
            loaded = load_matching(model, load_weights(settings.init_from), settings.init_anew)
            anew = (*loaded.missing, *loaded.other_shape)
            said += (f"{settings.init_from} gave all weights but {len(anew)}: {', '.join(anew) or 'none'}",)
        model.to(ranks.device).train()
        training = cls(
            config=config,
            identity=identity,
            folder=folder,
            ranks=ranks,
            model=model,
            parallel=ranks.wrap(model),
            optimizer=optimizer_of(model, settings),
            scaler=torch.amp.GradScaler(ranks.device.type, enabled=settings.precision == "fp16"),
            ema=None if settings.ema is None else MovingAverage(model, settings.ema),
            feed=feed,
            schedule=schedule_of(settings, steps),
            notes=said,
        )
        torch.manual_seed(settings.seed + ranks.rank)
        if checkpoint is not None:
            training._restore(checkpoint)
        if ranks.first:
            notes(folder, said)
            write_json(identity, folder / "config.json")
        return training

    def save(self) -> None:
        """Write a checkpoint; every process takes part, the first one writes.

        Raises:
            InputError: If a weight is no finite number, or it cannot be written; in all processes then.
        """
        broken = [name for name, weight in self.model.named_parameters() if not bool(torch.isfinite(weight).all())]
        if broken:
            self.refuse("a weight", {f"weight {name}": math.nan for name in broken[:3]}, [])
        random = self.ranks.gather(torch.get_rng_state())
        cuda = self.ranks.device.type == "cuda"
        on_card = self.ranks.gather(torch.cuda.get_rng_state() if cuda else torch.zeros(0, dtype=torch.uint8))
        self.notes = tuple(dict.fromkeys(note for notes in self.ranks.gather(self.notes) for note in notes))
        problem = None
        if self.ranks.first:
            try:
                self._write(random, on_card)
            except InputError as error:
                problem = error
        self.ranks.raise_first(problem)
        self.saved = self.step

    def save_alone(self) -> None:
        """Write a checkpoint without the other processes, of which one has died.

        Raises:
            InputError: If it cannot be written.
        """
        self._write([], [])
        self.saved = self.step

    def _write(self, random: list[Tensor], on_card: list[Tensor]) -> None:
        state = {
            "step": self.step,
            "epoch": self.position.epoch,
            "offset": self.position.offset,
            "others": [list(place) for place in self.position.others],
            "seconds": self.seconds,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "random": random,
            "random_cuda": on_card,
            "notes": list(self.notes),
        }
        averaged = None if self.ema is None else self.ema.state()
        text = msgspec.json.format(msgspec.json.encode(self.identity), indent=2).decode()
        write_checkpoint(self.folder, self.step, self.model.state_dict(), averaged, state, text)

    def refuse(self, what: str, values: dict[str, float], image_ids: list[int | str]) -> None:
        """Stop because numbers are not finite.

        Raises:
            InputError: Always.
        """
        refuse_step(
            what,
            values,
            image_ids,
            step=self.step + 1,
            learning_rate=self.schedule.at(self.step),
            config=self.config.to_dict(),
            path=self.folder / f"stopped-rank{self.ranks.rank}.json",
        )

    def record(self, data: Data, losses: dict[str, float]) -> Run:
        """Return what is to be said of the training so far."""
        device = self.ranks.device
        return Run(
            dataset=data.name,
            split=data.split,
            data=data.fingerprint,
            images=len(data),
            seed=self.config.train.seed,
            processes=self.ranks.world,
            device=torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
            parameters=sum(p.numel() for p in self.model.parameters() if p.requires_grad),
            step=self.step,
            steps=self.schedule.total,
            epochs=self.position.epoch + self.position.offset / self.feed.epoch_length(self.position.epoch),
            seconds=self.seconds,
            losses=losses,
            groups=trained_alike(self.model, self.config.train),
            notes=self.notes,
            versions=versions(),
            source=source_revision(),
        )

    def _restore(self, checkpoint: Path) -> None:
        weights, averaged, state = read_state(checkpoint)
        self.model.load_state_dict(weights)
        if self.ema is not None and averaged is not None:
            self.ema.restore(averaged)
        try:
            self.optimizer.load_state_dict(state["optimizer"])
        except ValueError as error:
            raise InputError(
                checkpoint,
                f"its optimizer has other groups of parameters ({error})",
                "It is of an earlier version: take its weights with train.init_from, in another folder",
            ) from error
        self.scaler.load_state_dict(state["scaler"])
        self.step, self.seconds = state["step"], state["seconds"]
        self.saved = self.step
        others = tuple((epoch, offset) for epoch, offset in state.get("others", ()))
        self.position = Position(state["epoch"], state["offset"], others)
        self.notes = tuple(state["notes"])
        if len(state["random"]) == self.ranks.world:
            torch.set_rng_state(state["random"][self.ranks.rank])
            if self.ranks.device.type == "cuda" and len(state["random_cuda"][self.ranks.rank]):
                torch.cuda.set_rng_state(state["random_cuda"][self.ranks.rank])
        else:
            why = "with another number of processes" if state["random"] else "after a process had died"
            self.notes += (f"resumed at step {self.step} {why}",)
        if self.ranks.first:
            stderr.print(f"{checkpoint}: going on from step {self.step}", highlight=False)


def _order(data: Data, stream: Stream, seed: int, number: int, epoch: int) -> list[tuple[int, int]]:
    return epoch_order(data, stream, seed, epoch, number)


def _check_folder(folder: Path, identity: Identity, config: AnyModel, *, resume: bool) -> None:
    path = folder / "config.json"
    if not path.exists():
        return
    if not resume:
        raise InputError(folder, "holds a training", "Go on with --resume, choose another folder, or remove it")
    before = read_json(path, Identity)
    renamed = any(
        a and b and not same_word(a, b) for a, b in zip(before.category_names, identity.category_names, strict=False)
    )
    if before.category_ids != identity.category_ids or renamed:
        raise InputError(folder, "was trained on a data set with other categories", "Choose another folder")
    changed = {
        name: values
        for name, values in diff(read_model(before.model), config).items()
        if name not in _FREE and not name.startswith("infer")
    }
    if changed:
        name, (old, new) = next(iter(changed.items()))
        raise InputError(
            f"config field {name}",
            f"is {new!r}, the training in {folder} began with {old!r}",
            f"Only {', '.join(_FREE)} may change when resuming; choose another folder",
        )
