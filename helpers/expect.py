"""Refuse tensors that cannot be computed with, in a sentence, before PyTorch refuses them in words of its own.

PyTorch does not always refuse: a product with a weight on the device "meta", which holds no numbers, may give some.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import zip_longest
from typing import TypeVar

import torch
from torch import Tensor

Kind = TypeVar("Kind")
_ONE = {2: 1e-2, 4: 1e-5, 8: 1e-5}  # how far a sum of probabilities may be from 1, by the bytes of a number


def numbers(**given: Tensor | None) -> None:
    """Raise unless the tensors hold real numbers and lie on one device; None stands for one that was left out.

    Raises
    ------
    TypeError
        If one of them is no tensor, or holds complex numbers.
    ValueError
        If one of them is on no device, or two are on different ones.

    Examples
    --------
    >>> numbers(X=torch.ones(2, dtype=torch.complex64))
    Traceback (most recent call last):
    TypeError: X holds torch.complex64, but real numbers are needed: take X.real, X.imag or X.abs().
    """
    first = None
    for name, tensor in given.items():
        if tensor is None:
            continue
        if not isinstance(tensor, Tensor):
            raise TypeError(f"{name} is a {type(tensor).__name__}, but must be a tensor: use torch.as_tensor.")
        if tensor.is_complex():
            raise TypeError(
                f"{name} holds {tensor.dtype}, but real numbers are needed: take {name}.real, {name}.imag or "
                f"{name}.abs()."
            )
        if tensor.is_meta:
            raise ValueError(f"{name} is on the device meta, which holds shapes and no numbers: make it on cpu.")
        first = first or (name, tensor.device)
        if tensor.device != first[1]:
            raise ValueError(
                f"{first[0]} is on {first[1]} and {name} on {tensor.device}: move both to one device with .to(...)."
            )


def floats(**given: Tensor | None) -> None:
    """Raise unless the tensors hold floating-point numbers of one dtype, on one device; None is left out.

    Raises
    ------
    TypeError, ValueError
        As :func:`numbers`; and if one of them holds whole numbers or truth values, or two have different dtypes.

    Examples
    --------
    >>> floats(X=torch.ones(2), W=torch.ones(2).double())
    Traceback (most recent call last):
    TypeError: X is torch.float32 and W is torch.float64: give both the same dtype with .to(...).
    """
    numbers(**given)
    found = {name: tensor.dtype for name, tensor in given.items() if tensor is not None}
    for name, dtype in found.items():
        if not dtype.is_floating_point:
            raise TypeError(f"{name} holds {dtype}, but floating-point numbers are needed: use {name}.float().")
        first = next(iter(found))
        if dtype != found[first]:
            raise TypeError(f"{first} is {found[first]} and {name} is {dtype}: give both the same dtype with .to(...).")


def whole(*, least: int = 0, **given: int) -> None:
    """Raise unless these are whole numbers from `least` on.

    Examples
    --------
    >>> whole(n_steps=2.5)
    Traceback (most recent call last):
    TypeError: n_steps is 2.5, but must be a whole number from 0 on.
    """
    for name, value in given.items():
        number = isinstance(value, int) and not isinstance(value, bool)
        if not number or value < least:
            error = ValueError if number else TypeError
            raise error(f"{name} is {value!r}, but must be a whole number from {least} on.")


def finite(**given: float) -> None:
    """Raise unless these numbers are finite.

    Examples
    --------
    >>> finite(noise=math.inf)
    Traceback (most recent call last):
    ValueError: noise is inf, but must be a finite number.
    """
    for name, value in given.items():
        if not math.isfinite(value):
            raise ValueError(f"{name} is {value!r}, but must be a finite number.")


def rate(lr: float) -> None:
    """Raise unless this can be a learning rate.

    Examples
    --------
    >>> rate(-0.1)
    Traceback (most recent call last):
    ValueError: the learning rate must be finite and not negative, got -0.1.
    """
    if not 0 <= lr < math.inf:
        raise ValueError(f"the learning rate must be finite and not negative, got {lr}.")


def target(y: Tensor, y_hat: Tensor, *, classes: bool, name: str = "target") -> None:
    """Raise unless `y` can be compared with predictions: class numbers below the last axis, or floats of one dtype.

    Examples
    --------
    >>> target(torch.tensor([1]), torch.ones(1, 2), classes=False)
    Traceback (most recent call last):
    TypeError: target holds torch.int64, but floating-point numbers are needed: use target.float().
    """
    numbers(**{"y_hat": y_hat, name: y})
    if not classes:
        floats(**{"y_hat": y_hat, name: y})
        return
    if y.dtype != torch.int64:
        raise TypeError(f"{name} holds {y.dtype}, but class numbers are needed, torch.int64: use {name}.long().")
    wrong, last = y[(y < 0) | (y >= y_hat.shape[-1])], y_hat.shape[-1] - 1
    if len(wrong):
        raise ValueError(f"{name} holds the class {wrong[0]}, but there are {last + 1}, numbered 0 to {last}.")


def distributions(base: float, **given: Tensor) -> None:
    """Raise unless the tensors hold probabilities, over the same values, and `base` is one of logarithms.

    Examples
    --------
    >>> distributions(2, p=torch.tensor([0.5, 0.5]), q=torch.tensor([1.0]))
    Traceback (most recent call last):
    ValueError: p (2,) and q (1,) are no distributions over the same values: their last axes differ.
    """
    floats(**given)
    if not 0 < base < math.inf or base == 1:
        raise ValueError(f"the base of a logarithm is a positive number other than 1, not {base}.")
    for name, p in given.items():
        if not (p.ndim and bool((p >= 0).all()) and torch.allclose(p.sum(-1), p.new_ones(()), atol=_ONE[p.itemsize])):
            raise ValueError(f"{name} must hold probabilities, at least 0 and with the sum 1 along the last dimension")
    shapes = " and ".join(f"{name} {tuple(p.shape)}" for name, p in given.items())
    if len({p.shape[-1] for p in given.values()}) > 1:
        raise ValueError(f"{shapes} are no distributions over the same values: their last axes differ.")
    for sizes in zip_longest(*(reversed(p.shape) for p in given.values()), fillvalue=1):
        if len({size for size in sizes if size != 1}) > 1:
            raise ValueError(f"{shapes} are not as many distributions: {sizes} do not broadcast.")


def known(item: str | Kind, table: Mapping[str, Kind], kind: type[Kind], what: str) -> Kind:
    """Return `item` itself if it is a `kind`, else what `table` has under this name.

    Raises
    ------
    ValueError
        If the table has no such name; the message lists the names.

    Examples
    --------
    >>> known("one", {"one": 1.0}, float, "number"), known(2.5, {"one": 1.0}, float, "number")
    (1.0, 2.5)
    """
    if isinstance(item, kind):
        return item
    if item not in table:
        raise ValueError(f"{item!r} is not a known {what}; choose from {', '.join(table)}, or pass a {kind.__name__}.")
    return table[item]
