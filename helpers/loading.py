"""A `DataLoader` for data that fit into memory: as fast as indexing a tensor by hand, and still an ordinary loader.

The common way fetches a batch of 256 as 256 Python objects and stacks them. Here the set is one tensor, a shuffled
epoch is one permutation, and a batch is one `index_select` with a slice of it. PyTorch's `DataLoader` supports this:
it hands a whole batch of indices to the data set's ``__getitems__`` where there is one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, Dataset, Sampler

SHARE_OF_FREE_MEMORY = 0.5
"""A set moves onto the device if it takes at most this share of the memory that is free there."""


class Rows(Sequence):
    """The indices of one batch: a tensor inside, a sequence of ints to everyone who wants one.

    Whoever re-cuts batches (Accelerate, Lightning) slices, adds and iterates them as lists, which a tensor would not
    survive: ``+`` would add the numbers. So a slice is again `Rows`, and a sum is a list.

    Examples
    --------
    >>> rows = Rows(torch.tensor([4, 0, 7]))
    >>> len(rows), rows[0], list(rows[1:]), rows + [9]
    (3, 4, [0, 7], [4, 0, 7, 9])
    """

    __slots__ = ("index",)

    def __init__(self, index: Tensor):
        self.index = index

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, item: int | slice) -> int | Rows:
        return Rows(self.index[item]) if isinstance(item, slice) else int(self.index[item])

    def __iter__(self) -> Iterator[int]:
        return iter(self.index.tolist())

    def __add__(self, other: Sequence[int]) -> list[int]:
        return [*self, *other]

    def __radd__(self, other: Sequence[int]) -> list[int]:
        return [*other, *self]

    def __repr__(self) -> str:
        return f"Rows({self.index.tolist()})"


class Order(Sampler):
    """The order of the examples: a function of the seed and the number of the epoch, and of nothing else.

    Every pass takes the order of `epoch` and then counts `epoch` up, so that epochs differ, while a run that is
    repeated, resumed or spread over several processes finds each epoch in the order it had. The permutation is drawn
    on the CPU whatever the device, so it is the same everywhere.

    Parameters
    ----------
    n : int
        Number of examples.
    shuffle : bool
        False: 0, 1, ..., n - 1 in every epoch.
    seed : int
        Not negative.
    device : torch.device, optional
        Where the indices are wanted.

    Examples
    --------
    >>> order = Order(5, shuffle=True, seed=0)
    >>> first, second = list(order), list(order)
    >>> order.set_epoch(0)
    >>> list(order) == first, first == second, sorted(second)
    (True, False, [0, 1, 2, 3, 4])
    """

    def __init__(self, n: int, *, shuffle: bool, seed: int = 0, device: torch.device | None = None):
        self.n, self.shuffle, self.seed, self.device = n, shuffle, seed, device
        self.epoch = 0

    def __len__(self) -> int:
        return self.n

    def __iter__(self) -> Iterator[int]:
        return iter(self.next_pass().tolist())

    def next_pass(self) -> Tensor:
        """Give the order of `epoch`, shape (n,), int64, and count `epoch` up."""
        epoch, self.epoch = self.epoch, self.epoch + 1
        if not self.shuffle:
            return torch.arange(self.n, device=self.device or "cpu")
        mixed = np.random.SeedSequence([self.seed, epoch]).generate_state(1, np.uint64)[0]
        generator = torch.Generator("cpu").manual_seed(int(mixed >> np.uint64(1)))
        return torch.randperm(self.n, generator=generator, device="cpu").to(self.device or "cpu")

    def set_epoch(self, epoch: int) -> None:
        """Let the next pass take the order of this epoch, counted from 0."""
        self.epoch = epoch

    def state_dict(self) -> dict[str, int]:
        """Everything that the order of the coming epochs depends on."""
        return {"n": self.n, "shuffle": self.shuffle, "seed": self.seed, "epoch": self.epoch}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on where the order that gave `state` stood.

        Raises
        ------
        ValueError
            If that was an order of another number of examples.
        """
        if state["n"] != self.n:
            raise ValueError(
                f"the saved order is one of {state['n']:,} examples, this set has {self.n:,}: load the same set"
            )
        self.shuffle, self.seed, self.epoch = state["shuffle"], state["seed"], state["epoch"]


class Batches(BatchSampler):
    """Cut the order of a sampler into batches of indices; as `BatchSampler`, but a batch is a slice of one tensor.

    Any sampler will do: a library that replaces it (by `DistributedSampler`, say) still gets batches.
    """

    def __iter__(self) -> Iterator[Rows]:
        sampler = self.sampler
        order = sampler.next_pass() if isinstance(sampler, Order) else torch.as_tensor(list(sampler))
        size, stop = self.batch_size, len(order)
        if self.drop_last:
            stop -= stop % size
        for start in range(0, stop, size):
            yield Rows(order[start : start + size])


class TensorSet(Dataset):
    """Tensors with equal first axes, fetched a whole batch at a time; the batches come on `device`.

    Where the tensors fit on the device they are moved there once. Where they do not they stay in main memory, and each
    batch is gathered into pinned memory and copied while the device computes.
    """

    def __init__(self, tensors: Sequence[Tensor], device: torch.device):
        self.device = device
        away = [t for t in tensors if t.device != device]
        self.resident = not away or fits(sum(t.nbytes for t in away), device)
        self.home = device if self.resident else tensors[0].device
        self.tensors = tuple(t.detach().to(self.home) for t in tensors)

    def __len__(self) -> int:
        return len(self.tensors[0])

    def __getitem__(self, row: int) -> tuple[Tensor, ...]:
        """Give one example, without the batch axis."""
        return tuple(t[row].to(self.device) for t in self.tensors)

    def __getitems__(self, rows: Sequence[int]) -> tuple[Tensor, ...]:
        """Give the examples of these rows, a copy: whoever changes a batch in place leaves the set as it is."""
        index = rows.index if isinstance(rows, Rows) else torch.as_tensor(rows)
        if index.device != self.home:
            index = index.to(self.home)
        if self.resident:
            return tuple([t.index_select(0, index) for t in self.tensors])
        return tuple([self._bring(t, index) for t in self.tensors])

    def _bring(self, tensor: Tensor, index: Tensor) -> Tensor:
        pinned = self.device.type == "cuda" and self.home.type == "cpu"
        shape = (len(index), *tensor.shape[1:])
        batch = torch.empty(shape, dtype=tensor.dtype, device=self.home, pin_memory=pinned)
        return torch.index_select(tensor, 0, index, out=batch).to(self.device, non_blocking=pinned)


def fits(n_bytes: int, device: torch.device) -> bool:
    """Whether so many bytes may be taken on the device and leave room for a model and its activations.

    >>> fits(10**15, torch.device("cpu"))  # a tensor that exists may stay where it is
    True
    """
    if device.type == "cpu":
        return True
    free = _free_memory(device)
    return free is not None and n_bytes <= SHARE_OF_FREE_MEMORY * free


def _free_memory(device: torch.device) -> int | None:
    """Bytes that are free on an accelerator; None where it cannot tell."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    return None


def _as_it_is(batch: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return batch


class TensorLoader(DataLoader):
    """A `DataLoader` that leaves out what `DataLoader` does for worker processes, where it has none.

    That is a profiler's record and some bookkeeping: more time per batch than fetching a small batch takes.
    """

    def __iter__(self) -> Iterator:
        if self.num_workers or self.pin_memory or self.collate_fn is not _as_it_is:
            return super().__iter__()
        return map(self.dataset.__getitems__, self.batch_sampler)


def loader(
    X: Tensor,
    y: Tensor,
    *more: Tensor,
    batch_size: int,
    shuffle: bool = True,
    seed: int = 0,
    device: torch.device | str | None = None,
    drop_last: bool = False,
) -> DataLoader:
    """Make a `DataLoader` over tensors that gives whole batches at the cost of indexing them by hand.

    It is an ordinary `DataLoader`: loop over it, or give it to Accelerate or Lightning. Each pass over it is an epoch
    with an order of its own that depends on `seed` and the number of the epoch alone; the global random generator is
    left alone. ``loader.batch_sampler.sampler`` is the :class:`Order`, with ``set_epoch``, ``state_dict`` and
    ``load_state_dict`` for whoever resumes a run.

    Parameters
    ----------
    X, y, *more : torch.Tensor
        Inputs, targets and whatever else belongs to an example; first axes of the same length n. Not copied, unless
        they move to another device.
    batch_size : int
        Examples in a batch; the last batch has the remainder.
    shuffle : bool
        Whether each epoch has a new order.
    seed : int
        Of the order; not negative.
    device : torch.device or str, optional
        Where the batches come out; by default where `X` is. If the set takes at most half of what is free there, it
        moves there once; else it stays and its batches are copied through pinned memory.
    drop_last : bool
        Leave out a last batch that is smaller than the others.

    Returns
    -------
    torch.utils.data.DataLoader
        Yields tuples (xb, yb, ...) of tensors with first axis `batch_size`.

    Raises
    ------
    TypeError
        If what is given are no tensors.
    ValueError
        If their lengths differ, there is no example, `batch_size` is not a positive number, or no batch is left.

    Examples
    --------
    >>> X = torch.arange(5.0)[:, None]
    >>> for xb, yb in loader(X, 2 * X, batch_size=2, shuffle=False):
    ...     print(xb.flatten().tolist(), yb.flatten().tolist())
    [0.0, 1.0] [0.0, 2.0]
    [2.0, 3.0] [4.0, 6.0]
    [4.0] [8.0]
    """
    tensors = (X, y, *more)
    for tensor in tensors:
        if not isinstance(tensor, Tensor) or tensor.ndim == 0 or tensor.is_meta:
            kind = "a number without axes" if isinstance(tensor, Tensor) else f"a {type(tensor).__name__}"
            kind = "one on the device meta, which holds no numbers" if getattr(tensor, "is_meta", False) else kind
            raise TypeError(f"a loader takes tensors whose first axis counts examples, not {kind}: use torch.as_tensor")
    if len({len(tensor) for tensor in tensors}) > 1:
        lengths = " and ".join(f"{len(tensor):,}" for tensor in tensors)
        raise ValueError(f"the tensors have {lengths} examples: give every tensor one row for each example")
    if len(X) == 0:
        raise ValueError("there are no examples: X and y have length 0")
    if not isinstance(batch_size, int) or isinstance(batch_size, bool) or batch_size < 1:
        raise ValueError(f"batch_size is {batch_size!r}, but must be a whole number from 1 on")
    if drop_last and len(X) < batch_size:
        raise ValueError(f"drop_last leaves no batch: batch_size is {batch_size:,}, but there are {len(X):,} examples")
    if not isinstance(seed, int) or seed < 0:
        raise ValueError(f"seed is {seed!r}, but must be a whole number from 0 on")

    target = torch.empty(0, device=device).device if device is not None else X.device  # "cuda" becomes cuda:0
    dataset = TensorSet(tensors, target)
    order = Order(len(X), shuffle=shuffle, seed=seed, device=dataset.home)
    result = TensorLoader(
        dataset,
        batch_sampler=Batches(order, batch_size, drop_last),
        collate_fn=_as_it_is,
        generator=torch.Generator("cpu"),  # else a rebuilt loader would draw from the global generator in each pass
    )
    result.__dict__["drop_last"] = drop_last  # Accelerate reads it to see whether the last batch is padded
    return result
