"""The way of a batch to the training loop: onto the device, into groups, and divided between processes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, IterableDataset


class Batch(NamedTuple):
    """One batch, as the loop sees it."""

    inputs: tuple
    target: object
    n: int
    """Examples of this process that count (0: the batch is a stand-in that keeps the processes in step)."""
    n_all: int
    """Examples of all processes together."""


class Sharded(BatchSampler):
    """A batch sampler that hands every process its share of each batch.

    Of every batch, process `rank` takes the examples ``rank, rank + world, rank + 2 * world, ...``, so that all
    processes together see exactly the batches that one process would see, in the same order. A last batch with fewer
    examples than processes leaves some process empty-handed: it gets one example as a stand-in and is told to count
    none, because every process must take part in every exchange of gradients.

    Parameters
    ----------
    batches : iterable of sequences of int
        The batch sampler of the whole set.
    rank, world : int
        This process and the number of processes.
    agree : callable
        ``agree(sampler)`` is called before each pass; it makes all processes draw the same order.

    Examples
    --------
    >>> sampler = BatchSampler(range(9), batch_size=4, drop_last=False)
    >>> list(Sharded(sampler, 0, 2, agree=iter)), list(Sharded(sampler, 1, 2, agree=iter))
    ([[0, 2], [4, 6], [8]], [[1, 3], [5, 7], [8]])
    >>> shard = Sharded(sampler, 1, 2, agree=iter)
    >>> _ = list(shard)
    >>> list(shard.counts)
    [(2, 4), (2, 4), (0, 1)]
    """

    def __init__(self, batches: Iterable, rank: int, world: int, agree: Callable[[Iterable], Iterator]):
        self.batches, self.rank, self.world, self.agree = batches, rank, world, agree
        self.counts: deque[tuple[int, int]] = deque()

    def __iter__(self) -> Iterator:
        """Yield the indices of this process's share."""
        self.counts.clear()
        for batch in self.agree(self.batches):
            mine = batch[self.rank :: self.world]
            self.counts.append((len(mine), len(batch)))
            yield mine if len(mine) else batch[:1]

    def __len__(self) -> int:
        """Count the batches: every process has as many as one process would."""
        return len(self.batches)


def read(loader: Iterable, device: torch.device, *, channels_last: bool = False) -> Iterator[Batch]:
    """Yield the batches of `loader` on `device`.

    Parameters
    ----------
    loader : iterable of (inputs..., target)
        A `DataLoader`, or anything that yields tuples, such as a list with one full batch.
    device : torch.device
    channels_last : bool
        Store images, inputs of shape (n, channels, height, width), with the channels last.

    Yields
    ------
    Batch

    Raises
    ------
    TypeError
        If a batch is not a tuple of inputs and a target.
    """
    samplers = (getattr(loader, "batch_sampler", None), getattr(loader, "sampler", None))
    counts = next((sampler.counts for sampler in samplers if isinstance(sampler, Sharded)), None)
    share = loader.share if isinstance(loader, _Rows) else None
    for batch in loader:
        if not isinstance(batch, (tuple, list)) or len(batch) < 2:
            raise TypeError(
                "a batch is a tuple (inputs, target) or (input, second input, ..., target); the loader gave "
                f"{_describe(batch)}"
            )
        n = n_all = _length(batch[-1], batch[0])
        if not n:
            raise ValueError("the loader gave a batch without examples: leave empty batches out")
        if counts is not None:
            n, n_all = counts.popleft()
        elif share is not None:
            n, batch = share(batch)
        *inputs, target = [_move(part, device) for part in batch]
        if channels_last:
            inputs = [_channels_last(part) for part in inputs]
        yield Batch(tuple(inputs), target, n, n_all)


def inputs_only(loader: Iterable, device: torch.device) -> Iterator[tuple]:
    """Yield the inputs of every batch on `device`: all parts but the last, or the tensor if a batch is just that."""
    for batch in loader:
        if not isinstance(batch, (tuple, list)):
            batch = (batch, None)
        yield tuple(_move(part, device) for part in (batch[:-1] or batch))


def groups(batches: Iterator[Batch], size: int) -> Iterator[list[Batch]]:
    """Yield lists of `size` consecutive batches; the last one may be shorter.

    Examples
    --------
    >>> [len(group) for group in groups(iter(range(5)), 2)]
    [2, 2, 1]
    """
    while group := list(islice(batches, size)):
        yield group


class _Rows:
    """A loader without a batch sampler, read as a whole by every process, each of which keeps its own rows."""

    def __init__(self, loader: Iterable, rank: int, world: int):
        self.loader, self.rank, self.world = loader, rank, world

    def __iter__(self) -> Iterator:
        return iter(self.loader)

    def share(self, batch: tuple) -> tuple[int, list]:
        n_all = len(batch[-1])
        mine = slice(self.rank, None, self.world) if self.rank < n_all else slice(0, 1)
        return len(range(self.rank, n_all, self.world)), [part[mine] for part in batch]


def divide(loader: Iterable, rank: int, world: int, agree: Callable[[Iterable], Iterator]) -> Iterable:
    """Make a loader that gives process `rank` of `world` its share of every batch of `loader`.

    The batch size of `loader` is the total over all processes. Where the data set can be indexed each process fetches
    only its own examples; a stream (`IterableDataset`) is read by every process, which then keeps its own rows and
    must therefore be the same stream everywhere.
    """
    if world == 1:
        return loader
    if not isinstance(loader, DataLoader) or isinstance(loader.dataset, IterableDataset):
        return _Rows(loader, rank, world)
    kwargs = {
        name: getattr(loader, name)
        for name in (
            "num_workers", "collate_fn", "pin_memory", "timeout", "worker_init_fn", "multiprocessing_context",
            "generator", "prefetch_factor", "persistent_workers",
        )
    }  # fmt: skip
    if loader.batch_sampler is not None:
        return DataLoader(loader.dataset, batch_sampler=Sharded(loader.batch_sampler, rank, world, agree), **kwargs)
    # batch_size=None: the sampler itself gives lists of indices, and the data set takes them as they are
    return DataLoader(loader.dataset, sampler=Sharded(loader.sampler, rank, world, agree), batch_size=None, **kwargs)


def set_epoch(loader: Iterable, epoch: int) -> None:
    """Tell samplers and data sets that do not count epochs themselves which one begins, from 0.

    Those with ``set_epoch`` and without a ``state_dict``, such as `torch.utils.data.DistributedSampler`.
    """
    batch_sampler = getattr(loader, "batch_sampler", None)
    parts = (getattr(loader, "dataset", None), getattr(loader, "sampler", None), batch_sampler)
    for part in {id(part): part for part in (*parts, getattr(batch_sampler, "sampler", None))}.values():
        if hasattr(part, "set_epoch") and not hasattr(part, "state_dict"):
            part.set_epoch(epoch)


def steps_per_epoch(loader: Iterable, accumulate: int) -> int | None:
    """Count the optimizer steps of one epoch, or return None for a stream of unknown length."""
    try:
        return -(-len(loader) // accumulate)
    except TypeError:
        return None


def _move(part: object, device: torch.device) -> object:
    if isinstance(part, Tensor):
        if part.is_meta:
            raise ValueError(
                "a batch holds a tensor on the device meta, which has a shape and no numbers: make it on cpu"
            )
        return part if part.device == device else part.to(device, non_blocking=device.type == "cuda")
    return part.to(device) if hasattr(part, "to") else part  # PackedSequence and the like


def _channels_last(part: object) -> object:
    if isinstance(part, Tensor) and part.ndim == 4:
        return part.contiguous(memory_format=torch.channels_last)
    return part


def _length(target: object, first_input: object) -> int:
    if isinstance(target, Tensor) and target.ndim:
        return target.shape[0]
    try:
        return len(target) if not isinstance(target, Tensor) else len(first_input)
    except TypeError:
        raise TypeError(
            f"the number of examples in a batch is the length of its target, but the target is {_describe(target)}"
        ) from None


def _describe(part: object) -> str:
    if isinstance(part, Tensor):
        return f"one tensor of shape {tuple(part.shape)}"
    if isinstance(part, (tuple, list)):
        return f"a {type(part).__name__} of length {len(part)}"
    return f"a {type(part).__name__}"
