"""What one training run keeps besides the weights: its place, its numbers, its checkpoints, and what went wrong."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim import lr_scheduler

from helpers import batches, checkpoint, diagnose, failures
from helpers.checkpoint import Checkpoint
from helpers.early_stopping import Stopper
from helpers.engine import Engine
from helpers.history import History
from helpers.meter import Meter, Metric
from helpers.progress import Progress, choose

READ_EVERY = 1000
"""Steps after which the losses are read in the middle of a long epoch, to notice a NaN before the epoch is over."""

_EACH_STEP = (lr_scheduler.OneCycleLR, lr_scheduler.CyclicLR)


class Run:
    """The book-keeping of `fit`, and a context in which errors are explained and an interrupt ends well."""

    def __init__(
        self,
        engine: Engine,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        scheduler: lr_scheduler.LRScheduler | None,
        loaders: tuple[Iterable, Iterable | None],
        *,
        epochs: int,
        accumulate: int,
        loss_fn: Callable,
        metrics: dict[str, Metric],
        saving: Checkpoint | None,
        stopper: Stopper,
        scheduler_every: str | None,
    ):
        self.engine, self.model, self.optimizer, self.scheduler = engine, model, optimizer, scheduler
        self.loaders, self.train = loaders, loaders[0]
        self.epochs, self.accumulate, self.loss_fn, self.metrics = epochs, accumulate, loss_fn, metrics
        self.summed = diagnose.reduction(loss_fn) == "sum"
        self.saving, self.stopper = saving, stopper
        self.per_step = scheduler_every == "step" or (scheduler_every is None and isinstance(scheduler, _EACH_STEP))
        self.steps_per_epoch = batches.steps_per_epoch(self.train, accumulate)
        _check_length(scheduler, epochs, self.steps_per_epoch, self.per_step)
        self.history = History()
        self.epoch = self.step = self.skip = 0  # epochs done; steps done in this epoch; steps to read past
        self.resumed: dict | None = None
        self.group: list[batches.Batch] = []
        self.pending: list[tuple[float | Tensor, int, Tensor | None]] = []
        self.folded = 0
        self.progress: Progress | None = None

    def new_meter(self) -> Meter:
        """Make an empty meter for the loss and metrics of this run."""
        return Meter(self.metrics, summed=self.summed, reduce=self.engine.reduce)

    def start(self, resume: bool | str | Path, progress: bool | str) -> None:
        """Go on from a checkpoint if one is wanted and there, check that new ones can be written, show progress."""
        path = self.saving.path if self.saving and isinstance(resume, bool) else resume
        if resume is True and self.saving is None:
            raise ValueError("resume=True goes on from the file that checkpoint= names: give it, or resume=path")
        there = bool(resume) and Path(path).exists()
        if resume and len(set(self.engine.gather(there))) > 1:
            raise ValueError(
                f"{path} is there for some processes only, so they would not go on from the same state: on several "
                "machines, keep checkpoints in a folder that all of them see"
            )
        if resume and (resume is not True or there):
            self._restore(checkpoint.load(path), path)
        if self.saving and self.engine.rank == 0:
            checkpoint.ensure_writable(self.saving.path)
        mode = choose(progress) if self.engine.rank == 0 else "off"
        self.progress = Progress(mode, self.epochs, self.steps_per_epoch, len(self.history.steps.get("loss", [])))

    def remaining(self) -> Iterator[int]:
        """Yield the numbers, from 0, of the epochs that are still to be made."""
        while self.epoch < self.epochs and not self.history.stopped:
            self.started = time.perf_counter()
            self.meter, self.folded, self.step = self.new_meter(), 0, self.skip
            if self.resumed is not None and self.skip:
                self.meter.load_state_dict(self.resumed["meter"])
                self.folded = len(self.meter.counts)
            self.model.train()
            yield self.epoch
        self.history.stopped = self.history.stopped or "finished"

    def groups(self) -> Iterator[list[batches.Batch]]:
        """Yield the batches of each step of this epoch; after a resume, read past those that are done."""
        batches.set_epoch(self.train, self.epoch)
        if self.skip:
            checkpoint.set_random_state(self._mine(self.resumed["epoch_random"]), *self.loaders)
        if self.saving and self.saving.every:
            self.epoch_random = checkpoint.random_state(*self.loaders)
        iterator = batches.groups(self.engine.read(self.train), self.accumulate)
        for _ in range(self.skip):
            next(iterator)
        if self.skip:
            checkpoint.set_random_state(self._mine(self.resumed["random"]), *self.loaders)
        self.skip, self.resumed = 0, None
        for self.group in iterator:
            yield self.group
        if not self.step:
            raise ValueError("train gave no batch: it is empty, or an iterator that an earlier loop has used up")

    def step_done(self, norm: Tensor | None) -> None:
        """Note that the optimizer made a step; save if it is time."""
        lr = self.optimizer.param_groups[0]["lr"]
        self.pending.append((lr.clone() if isinstance(lr, Tensor) else lr, len(self.group), norm))
        if self.per_step:
            self.scheduler.step()
        self.step += 1
        self.progress.step()
        if len(self.pending) == READ_EVERY:
            self.read()
        if self.saving and self.saving.every and self._total() % self.saving.every == 0:
            self.save()

    def epoch_done(self, valid: dict[str, float]) -> None:
        """Close an epoch: record it, move the learning rate, stop or go on, save."""
        self.read()
        row = {"epoch": self.epoch + 1, **{f"train_{name}": value for name, value in self.meter.means().items()}}
        row |= {f"valid_{name}": value for name, value in valid.items()}
        row |= {"lr": self.history.steps["lr"][-1], "seconds": time.perf_counter() - self.started}
        self.history.add_epoch(row)
        if isinstance(self.scheduler, lr_scheduler.ReduceLROnPlateau):
            self.scheduler.step(row.get("valid_loss", row["train_loss"]))
        elif self.scheduler is not None and not self.per_step:
            self.scheduler.step()
        if self.stopper.update(row, self.model):
            self.history.stopped = "early stopping"
        self.epoch, self.step, self.folded, self.meter = self.epoch + 1, 0, 0, self.new_meter()
        if self.saving:
            self.save()
        self.progress.epoch(row)

    def read(self) -> None:
        """Read the losses since the last time, in one transfer, and raise an error if one is not finite."""
        pending, self.pending = self.pending, []
        norms = self.meter.flush([norm for _, _, norm in pending if norm is not None])
        losses = []
        for _, size, _ in pending:
            part = slice(self.folded, self.folded + size)
            losses.append(math.fsum(self.meter.sums["loss"][part]) / sum(self.meter.counts[part]))
            self.folded += size
        bad = next((i for i, loss in enumerate(losses) if not math.isfinite(loss)), None)
        keep = None if bad is None else bad + 1
        rates = [float(lr) for lr, _, _ in pending]
        self.history.add_steps(loss=losses[:keep], lr=rates[:keep])
        if len(norms):
            self.history.add_steps(grad_norm=norms.tolist()[:keep])
        if bad is not None:
            step = self.step - len(pending) + bad + 1
            error = failures.nonfinite_loss(
                losses[bad], epoch=self.epoch + 1, step=step, lr=rates[max(bad - 1, 0)],
                precision=self.engine.precision, inputs=self.train,
            )  # fmt: skip
            error.history = self.history
            raise error

    def save(self) -> None:
        """Write a checkpoint."""
        self.read()
        random = self.engine.gather(checkpoint.random_state(*self.loaders))
        epoch_random = self.engine.gather(self.epoch_random) if self.step else None
        if self.engine.rank == 0:
            parts = {"model": self.model, "optimizer": self.optimizer, "scaler": self.engine.scaler}
            state = {name: part.state_dict() for name, part in parts.items()}
            state |= {"scheduler": self.scheduler.state_dict() if self.scheduler else None}
            state |= {"format": checkpoint.FORMAT, "epoch": self.epoch, "step": self.step, "random": random}
            state |= {"epoch_random": epoch_random, "steps_per_epoch": self.steps_per_epoch}
            state |= {"meter": self.meter.state_dict(), "stopping": self.stopper.state_dict()}
            history = self.history.to_dict()  # tensors are written faster than long lists
            history["steps"] = {name: torch.tensor(v, dtype=torch.float64) for name, v in history["steps"].items()}
            checkpoint.save(state | {"history": history}, self.saving.path)
        self.engine.wait()

    def _restore(self, state: dict, path: str | Path) -> None:
        if state.get("format") != checkpoint.FORMAT:
            raise ValueError(f"{path} is no checkpoint of this version of fit: its format is {state.get('format')!r}")
        if state["step"] and state["steps_per_epoch"] != self.steps_per_epoch:
            raise ValueError(
                f"{path} was written in the middle of an epoch of {state['steps_per_epoch']} steps, but now there are "
                f"{self.steps_per_epoch}: use the same data, batch size and accumulate"
            )
        if (state["scheduler"] is None) != (self.scheduler is None):
            raise ValueError(
                f"{path} was written {'without' if self.scheduler else 'with'} a scheduler: do the same now"
            )
        checkpoint.restore_model(self.model, state["model"], path)
        try:
            self.optimizer.load_state_dict(state["optimizer"])
        except ValueError as error:
            raise ValueError(f"{path} was written with another optimizer or other parameter groups: {error}") from error
        if self.scheduler is not None:
            self.scheduler.load_state_dict(state["scheduler"])
        self.engine.scaler.load_state_dict(state["scaler"])
        self.stopper.load_state_dict(state["stopping"])
        self.history = History.from_dict(state["history"])
        self.epoch, self.skip, self.resumed = state["epoch"], state["step"], state
        checkpoint.set_random_state(self._mine(state["random"]), *self.loaders)

    def _mine(self, states: list[dict]) -> dict:
        return states[min(self.engine.rank, len(states) - 1)]

    def _total(self) -> int:
        return len(self.history.steps.get("loss", ())) + len(self.pending)

    def __enter__(self) -> Run:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> bool:
        """Explain an error; turn a keyboard interrupt into the end of training."""
        try:
            if isinstance(error, KeyboardInterrupt):
                if self.engine.world == 1:
                    self.read()  # the steps of the unfinished epoch; several processes would wait for each other
                self.history.stopped = "interrupted"
                self.progress.say(f"interrupted in epoch {self.epoch + 1}")
                return True
            if isinstance(error, Exception) and not hasattr(error, "history"):
                inputs = self.group[0].inputs if self.group else ()
                explained = failures.explain(error, self.model, inputs, precision=self.engine.precision)
                if explained is not None:
                    raise explained from error
            return False
        finally:
            self.progress.close()
            self.engine.close()


def _check_length(scheduler: object, epochs: int, steps: int | None, per_step: bool) -> None:
    if isinstance(scheduler, lr_scheduler.OneCycleLR) and steps and per_step and scheduler.total_steps < epochs * steps:
        raise ValueError(
            f"OneCycleLR was built for {scheduler.total_steps} steps, but {epochs} epochs of {steps} steps make "
            f"{epochs * steps}: build it with total_steps={epochs * steps}"
        )
