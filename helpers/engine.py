"""The machinery under `helpers.training`: device, precision, one process or many.

In one process there is nothing for Accelerate to do, and it stays out of the way: its wrappers around optimizer and
loader cost time at every step (measured in ``benchmarks/``), and its process-wide state would forbid a later
`accelerate.notebook_launcher`. As soon as there are several processes (``accelerate launch``, ``torchrun``, a
launcher in a notebook), Accelerate prepares model and optimizer, averages gradients and adds up metrics. The training
loop is the same in both cases.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from helpers import batches
from helpers.checkpoint import random_state, restart_order, set_random_state
from helpers.runtime import pick_device, pick_precision, set_seed

if TYPE_CHECKING:
    from accelerate import Accelerator

PRECISIONS = {"no": None, "fp32": None, "tf32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


class Engine:
    """Where and in which precision a model runs, and the processes that share the work.

    Parameters
    ----------
    device : str or torch.device, optional
        The best one that there is by default. With several processes the launcher decides, and it must be None.
    precision : str, optional
        ``"fp32"`` (or ``"no"``), ``"tf32"`` (float32, with matrix products rounded to TF32 on NVIDIA GPUs), ``"bf16"``
        or ``"fp16"`` (mixed precision); by default what suits the device.

    Raises
    ------
    ValueError
        For an unknown precision, or a device that the launcher has decided otherwise.
    """

    def __init__(self, device: str | torch.device | None = None, precision: str | None = None):
        self.accelerator = _accelerator()
        self.world, self.rank = 1, 0
        if self.accelerator is None:
            self.device = pick_device(device)
        else:
            self.device, self.world = self.accelerator.device, self.accelerator.num_processes
            self.rank = self.accelerator.process_index
            if device is not None and torch.device(device).type != self.device.type:
                raise ValueError(f"the launcher runs this process on {self.device}: leave out device={str(device)!r}")
            launched = self.accelerator.mixed_precision
            precision = precision or (launched if launched != "no" else None)
        self.precision = pick_precision(self.device) if precision is None else precision
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision is one of {', '.join(PRECISIONS)}, not {precision!r}")
        self.dtype = PRECISIONS[self.precision]
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.precision == "fp16")
        self.channels_last = False

    @property
    def sharded(self) -> bool:
        """Whether each process holds only a part of the parameters (FSDP)."""
        return self.accelerator is not None and self.accelerator.distributed_type.name == "FSDP"

    def seed(self, seed: int, *loaders: Iterable | None) -> None:
        """Seed everything: the global generators, and the order of loaders that know their epoch."""
        set_seed(seed)
        restart_order(*loaders)

    def place(self, model: nn.Module) -> nn.Module:
        """Move `model` to the device, in place, with images' channels last where tensor cores gain by it."""
        model.to(self.device)
        convolves = any(isinstance(module, nn.Conv2d) for module in model.modules())
        if convolves and self.device.type == "cuda" and self.precision != "fp32":
            model.to(memory_format=torch.channels_last)
            self.channels_last = True
        return model

    def prepare(self, model: nn.Module, optimizer: torch.optim.Optimizer, compile: bool | str) -> nn.Module:
        """Place `model`, and return the callable form of it that the loop uses."""
        self.place(model)
        if any(tensor.device != self.device for state in optimizer.state.values() for tensor in _tensors(state)):
            optimizer.load_state_dict(optimizer.state_dict())  # moves the state to where the parameters are now
        net = model
        if self.accelerator is not None:
            if self.accelerator.distributed_type.name in ("DEEPSPEED", "MEGATRON_LM"):
                raise ValueError("DeepSpeed and Megatron run the optimizer themselves: use their own training loop")
            net, _ = self.accelerator.prepare(model, optimizer)  # the loop steps the plain optimizer
            if self.rank:  # the order of the data is taken from process 0; dropout should differ
                torch.manual_seed(torch.initial_seed() + self.rank)
        if compile:
            net = torch.compile(net, mode=compile if isinstance(compile, str) else None)
        return net

    def for_evaluation(self, net: nn.Module, model: nn.Module) -> nn.Module:
        """Return what to call without gradients: a wrapper that would talk to the other processes only if it must."""
        return net if self.world == 1 or self.sharded else model

    def autocast(self) -> AbstractContextManager:
        """Return the context of a forward pass."""
        if self.dtype is None:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.dtype)

    def no_sync(self, net: nn.Module, last: bool) -> AbstractContextManager:
        """Return the context of a backward pass: gradients are averaged over processes after a group's `last` batch."""
        return nullcontext() if self.world == 1 or last else self.accelerator.no_sync(net)

    def clip(self, net: nn.Module, optimizer: torch.optim.Optimizer, max_norm: float) -> Tensor:
        """Scale the gradients down to a total norm of `max_norm`, and return the norm they had."""
        self.scaler.unscale_(optimizer)
        if self.sharded and hasattr(net, "clip_grad_norm_"):
            return net.clip_grad_norm_(max_norm)
        return nn.utils.clip_grad_norm_(net.parameters(), max_norm)

    def read(self, loader: Iterable) -> Iterator[batches.Batch]:
        """Yield this process's share of every batch of `loader`, on the device."""
        share = batches.divide(loader, self.rank, self.world, lambda order: self._agree(order, loader))
        return batches.read(share, self.device, channels_last=self.channels_last)

    def reduce(self, values: np.ndarray) -> np.ndarray:
        """Add an array up over all processes."""
        if self.world == 1:
            return values
        return self.accelerator.reduce(torch.from_numpy(values).to(self.device), "sum").cpu().numpy()

    def gather(self, value: object) -> list:
        """Collect a plain value from every process."""
        if self.world == 1:
            return [value]
        from accelerate.utils import gather_object

        return gather_object([value])

    def wait(self) -> None:
        """Wait until every process has come here."""
        if self.accelerator is not None:
            self.accelerator.wait_for_everyone()

    def close(self) -> None:
        """Let go of the wrapped model, so that a later run does not average its gradients twice."""
        if self.accelerator is not None:
            self.accelerator.free_memory()

    def _agree(self, order: Iterable, loader: Iterable) -> Iterator:
        """Start a pass in the order that process 0 draws, without touching the other processes' own randomness."""
        from accelerate.utils import broadcast_object_list

        state = [random_state(loader) if self.rank == 0 else None]
        broadcast_object_list(state)
        if self.rank == 0:
            return iter(order)
        own = random_state()
        set_random_state(state[0], loader)
        passing = iter(order)
        first = list(_first(passing))
        set_random_state(own)
        return chain(first, passing)


@contextmanager
def tensor_cores(precision: str) -> Iterator[None]:
    """Let float32 matrix products use TF32 on NVIDIA GPUs inside the block, if `precision` permits rounding."""
    if precision not in ("tf32", "bf16", "fp16"):
        yield  # PyTorch 2.9 warns of a new name when the setting is merely read
        return
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@contextmanager
def mode_restored(model: nn.Module) -> Iterator[None]:
    """Put every module back into the mode, training or evaluation, that it had before the block."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def _accelerator() -> Accelerator | None:
    """Return an Accelerator if this is one of several processes."""
    many = any(int(os.environ.get(name, 1)) > 1 for name in ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE"))
    many = many or (torch.distributed.is_available() and torch.distributed.is_initialized())
    if not many:
        return None
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=pick_device().type == "cpu")
    if accelerator.num_processes == 1:
        raise RuntimeError(
            "this is one of several processes, but Accelerate sees only this one: several need GPUs of NVIDIA, AMD "
            "or Intel, or the CPU (BOOK_DEVICE=cpu)"
        )
    return accelerator


def _tensors(state: dict) -> list[Tensor]:
    return [value for name, value in state.items() if isinstance(value, Tensor) and name != "step"]


def _first(items: Iterator) -> Iterator:
    for item in items:
        yield item
        return
