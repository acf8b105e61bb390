"""Train a model: a loop short enough to read, with everything around it that a real run needs.

`fit` trains, `evaluate` measures, `predict` applies, `find_lr` looks for a learning rate. The loop stands in `fit`;
what it calls lives in `helpers.engine` (device, precision, several processes), `helpers.run` (checkpoints, early
stopping, errors), `helpers.meter` (means over examples) and `helpers.batches`.

Several processes: write a script that calls `fit` and start it with ``accelerate launch --num_processes 2 script.py``
(several GPUs of one machine), or call `accelerate.notebook_launcher` with a function that calls `fit`; on CPUs start it
with ``torchrun --nproc_per_node 2``, because ``accelerate launch --cpu`` makes a single process (1.15). Each process
takes its share of every batch, so the batch size is the total and the result is that of one process up to rounding;
batch normalisation alone sees only its process's share (`torch.nn.SyncBatchNorm.convert_sync_batchnorm` mends that on
GPUs). Several machines: the same command on each of them with ``--multi_gpu``, ``--num_machines``, ``--machine_rank``
and ``--main_process_ip``, or the answers of ``accelerate config``, and a checkpoint folder that all of them see. A
model too large for one GPU: ``accelerate launch --use_fsdp`` shards it; `fit` then refuses checkpoints and early
stopping, which would need the whole model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import RandomSampler

from helpers import batches, diagnose, expect, failures
from helpers.checkpoint import Checkpoint
from helpers.early_stopping import EarlyStopping, Stopper
from helpers.engine import Engine, mode_restored, tensor_cores
from helpers.history import History
from helpers.lr_finder import find_lr
from helpers.meter import Meter, Metric, accuracy, measure, named
from helpers.run import Run

__all__ = ["Checkpoint", "EarlyStopping", "History", "accuracy", "evaluate", "find_lr", "fit", "predict"]


def fit(
    model: nn.Module,
    train: Iterable,
    valid: Iterable | None = None,
    *,
    loss_fn: Callable,
    optimizer: torch.optim.Optimizer,
    epochs: int,
    metrics: Mapping[str, Metric] | Iterable[Metric] = (),
    scheduler: torch.optim.lr_scheduler.LRScheduler | None = None,
    scheduler_every: str | None = None,
    device: str | torch.device | None = None,
    precision: str | None = None,
    compile: bool | str = False,
    clip_norm: float | None = None,
    accumulate: int = 1,
    early_stopping: EarlyStopping | int | None = None,
    checkpoint: Checkpoint | str | Path | None = None,
    resume: bool | str | Path = False,
    progress: bool | str = True,
    checks: bool = True,
    seed: int | None = None,
) -> History:
    """Train `model` in place, and return the record of the run.

    Parameters
    ----------
    model : torch.nn.Module
        Called as ``model(*inputs)``. It stays on the device afterwards, in the mode (train or eval) it came in.
    train, valid : iterable of batches
        A `DataLoader` or anything else that yields tuples ``(inputs..., targets)``, again and again. The number of
        examples of a batch is the length of its targets. With several processes, the batch size is the total.
    loss_fn : callable
        ``loss_fn(outputs, targets)`` returns one number: the mean over the batch, or the sum if
        ``loss_fn.reduction == "sum"``. The history holds means over examples in both cases.
    optimizer : torch.optim.Optimizer
        Over ``model.parameters()``. ``fused=True`` (Adam, AdamW, SGD) is worth having on GPUs.
    epochs : int
        In all, those of a resumed run included.
    metrics : dict of str to callable, or iterable of callables
        ``metric(outputs, targets)`` returns one value per example, shape (n,), or the mean over the batch, shape ().
        `accuracy` is one. Every example counts once, also in a short last batch.
    scheduler : LRScheduler, optional
        Moved once an epoch (`ReduceLROnPlateau` with the validation loss); `OneCycleLR` and `CyclicLR` at every step.
    scheduler_every : {"epoch", "step"}, optional
        Says otherwise.
    device, precision : optional
        By default a GPU if there is one, in bfloat16 or float16 where it is fast, else the CPU in float32. Precision is
        ``"fp32"``, ``"tf32"``, ``"bf16"`` or ``"fp16"`` (with loss scaling, which reads the device at every step).
    compile : bool or str
        Run the model through `torch.compile`, with this mode if it is a string. Compiling takes up to a minute and
        pays on GPUs and for long runs.
    clip_norm : float, optional
        Scale gradients down to this total norm; the norms before are recorded.
    accumulate : int
        Batches per optimizer step. The step is made with the gradient of the mean loss over all examples of its
        batches, each example counting the same, as if they were one batch; the last step of an epoch may have fewer
        batches. (A loss that weights examples itself, by class weights or ``ignore_index``, is averaged batch by batch,
        each batch with the number of its examples.)
    early_stopping : EarlyStopping or int, optional
        A number is the patience in epochs, watching the validation loss. The best weights are restored at the end.
    checkpoint : Checkpoint or path, optional
        Where to save after each epoch; a `Checkpoint` can also save every so many steps.
    resume : bool or path
        ``True``: go on from `checkpoint` if it exists, else start. A path: go on from there. On the CPU, and on a GPU
        with deterministic algorithms, the result equals that of a run that was never interrupted, bit for bit (with
        the same number of processes and threads; random augmentation in persistent workers is the exception).
    progress : bool or str
        ``"bar"``, ``"log"`` (one line an epoch), ``"off"``; ``True`` chooses by where it runs.
    checks : bool
        Look at the first batch, and at later ones of another shape, for usual mistakes: softmax before cross-entropy,
        shapes that broadcast, wrong types.
    seed : int, optional
        Seed all random generators, and start loaders made by `helpers.data.loader` with the order of their first epoch.

    Returns
    -------
    History
        After a keyboard interrupt too: with the epochs and steps that were made, ``stopped == "interrupted"``.

    Raises
    ------
    FloatingPointError
        If the loss becomes NaN or infinite. Losses are read once an epoch and every 1,000 steps, because reading one
        makes Python wait for the device; the error names the exact step all the same, and its ``history`` attribute
        holds the record until there.
    ValueError, TypeError, MemoryError
        For mistakes in model, data, loss and optimizer, with what was given and what was expected.

    Examples
    --------
    A line through three points, y = 2x + 1:

    >>> _ = torch.manual_seed(0)
    >>> X = torch.tensor([[0.0], [1.0], [2.0]])
    >>> model = nn.Linear(1, 1)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
    >>> history = fit(model, [(X, 2 * X + 1)], loss_fn=nn.MSELoss(), optimizer=optimizer, epochs=200, device="cpu")
    >>> print(f"{model.weight.item():.3f} x + {model.bias.item():.3f}, loss {history['train_loss'][-1]:.6f}")
    2.000 x + 1.000, loss 0.000000
    """
    for name, value in (("epochs", epochs), ("accumulate", accumulate)):
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} is a whole number from 1 on, not {value!r}")
    if clip_norm is not None and not clip_norm > 0:
        raise ValueError(f"clip_norm is a positive number or None, not {clip_norm!r}")
    if scheduler_every not in (None, "epoch", "step"):
        raise ValueError(f'scheduler_every is "epoch", "step" or None, not {scheduler_every!r}')
    metrics, engine, stopper = named(metrics), Engine(device, precision), Stopper(early_stopping)
    saving = checkpoint if isinstance(checkpoint, Checkpoint | None) else Checkpoint(checkpoint)
    parts = ("train", "valid") if valid is not None else ("train",)
    stopper.check([f"{part}_{name}" for part in parts for name in ("loss", *metrics)])
    diagnose.check_setup(model, train, optimizer, scheduler)
    if valid is not None:
        diagnose.check_not_empty(valid, "valid")
    if engine.sharded and (saving or early_stopping):
        raise ValueError("checkpoints and early stopping need the whole model, and FSDP has divided it: leave them out")
    if seed is not None:
        engine.seed(seed, train, valid)
    net = engine.prepare(model, optimizer, compile)
    check = diagnose.BatchChecks(checks)
    scaler = engine.scaler  # does something in float16 only
    run = Run(
        engine, model, optimizer, scheduler, (train, valid), epochs=epochs, accumulate=accumulate, loss_fn=loss_fn,
        metrics=metrics, saving=saving, stopper=stopper, scheduler_every=scheduler_every,
    )  # fmt: skip
    run.start(resume, progress)

    with tensor_cores(engine.precision), mode_restored(model), run:
        for _epoch in run.remaining():
            for group in run.groups():  # the batches of one optimizer step
                optimizer.zero_grad()
                n_group = sum([batch.n_all for batch in group])
                for batch in group:
                    share = engine.world * ((batch.n > 0) if run.summed else batch.n / n_group)
                    with engine.no_sync(net, last=batch is group[-1]):
                        with engine.autocast():
                            outputs = net(*batch.inputs)
                            check(model, outputs, batch.target, loss_fn)
                            loss = loss_fn(outputs, batch.target)
                        scaler.scale(loss if share == 1 else loss * share).backward()
                    run.meter.add(batch, loss, outputs)
                norm = engine.clip(net, optimizer, clip_norm) if clip_norm is not None else None
                scaler.step(optimizer)
                scaler.update()
                run.step_done(norm)
            measured = measure(engine, net, model, valid, loss_fn, run.new_meter(), checks) if valid is not None else {}
            run.epoch_done(measured)
    run.history.best_epoch = stopper.restore(model)
    return run.history


def evaluate(
    model: nn.Module,
    data: Iterable,
    *,
    loss_fn: Callable,
    metrics: Mapping[str, Metric] | Iterable[Metric] = (),
    device: str | torch.device | None = None,
    precision: str | None = None,
) -> dict[str, float]:
    """Measure loss and metrics on `data`, in evaluation mode and without gradients.

    Parameters
    ----------
    model, loss_fn, metrics, device, precision
        As for `fit`.
    data : iterable of batches
        As `valid` of `fit`.

    Returns
    -------
    dict of str to float
        ``"loss"`` and the metrics: means in which every example counts once.

    Examples
    --------
    >>> batches = [(torch.zeros(3, 1), torch.tensor([[1.0], [1.0], [1.0]])), (torch.zeros(1, 1), torch.tensor([[3.0]]))]
    >>> evaluate(nn.Identity(), batches, loss_fn=nn.MSELoss(), device="cpu")  # (1 + 1 + 1 + 9) / 4
    {'loss': 3.0}
    """
    diagnose.check_not_empty(data, "data")
    engine, metrics = Engine(device, precision), named(metrics)
    net = engine.place(model)
    meter = Meter(metrics, summed=diagnose.reduction(loss_fn) == "sum", reduce=engine.reduce)
    with tensor_cores(engine.precision), mode_restored(model):
        return measure(engine, net, model, data, loss_fn, meter)


def predict(
    model: nn.Module,
    data: Tensor | Iterable,
    *,
    batch_size: int = 1024,
    device: str | torch.device | None = None,
    precision: str | None = None,
) -> Tensor:
    """Apply `model` to every example, in evaluation mode and without gradients.

    Parameters
    ----------
    model : torch.nn.Module
    data : Tensor or iterable of batches
        The inputs, shape (n, ...); or a loader, whose targets (the last part of each tuple) are ignored. With several
        processes each predicts everything.
    batch_size : int
        Examples at a time, if `data` is a tensor.
    device, precision : optional
        As for `fit`.

    Returns
    -------
    Tensor
        The outputs in the order of the data, shape (n, ...), on the CPU.

    Raises
    ------
    ValueError
        If the loader shuffles, so that the outputs could not be matched to the examples.

    Examples
    --------
    >>> predict(nn.Flatten(), torch.arange(6.0).reshape(3, 1, 2), device="cpu")
    tensor([[0., 1.],
            [2., 3.],
            [4., 5.]])
    """
    sampler = getattr(data, "sampler", None), getattr(getattr(data, "batch_sampler", None), "sampler", None)
    if any(isinstance(s, RandomSampler) or getattr(s, "shuffle", False) is True for s in sampler):
        raise ValueError("the loader shuffles, so the predictions would come in no known order: use shuffle=False")
    expect.whole(batch_size=batch_size, least=1)
    engine = Engine(device, precision)
    engine.place(model)
    parts = [(part, None) for part in data.split(batch_size)] if isinstance(data, Tensor) else data
    with tensor_cores(engine.precision), mode_restored(model), torch.inference_mode(), engine.autocast():
        model.eval()
        outputs = []
        for inputs in batches.inputs_only(parts, engine.device):
            with failures.in_words(model, inputs, precision=engine.precision):
                outputs.append(model(*inputs).cpu())
    if not outputs:
        raise ValueError("there is nothing to predict: the data have no batch")
    return torch.cat(outputs)
