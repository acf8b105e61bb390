"""Hostile inputs: what a function is given in place of what it expects, and how its answer is judged.

A `Case` has a call that works. `mutations` changes one argument, or all tensors alike; `judge` then demands an error
that the function itself raises, in a sentence, or the right answer. Nothing else will do: no wrong number, and no error
out of the depths of PyTorch that leaves the reader alone.
"""

from __future__ import annotations

import linecache
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

_generator = torch.Generator().manual_seed(0)
HELPERS = Path(__file__).resolve().parents[1] / "helpers"
WIDE = 10_000
_LIMIT = 4_000_000
"""Entries that a changed tensor may have."""
_NUMBERS = {"zero": 0, "negative": -1, "fraction": 1.5, "nan": math.nan, "inf": math.inf, "yes": True}
_DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.bool, torch.complex64)
}


@dataclass(frozen=True)
class Case:
    """One public function.

    Attributes
    ----------
    covers : str
        The public names that it holds to account, such as ``"losses.kl losses.entropy"``.
    call : callable
        The function, called with keywords.
    good : mapping
        Arguments that it accepts.
    right : callable
        ``right(**arguments)`` computes the answer in another way, in float64; where it fails there is no right answer.
    errors : tuple
        What the function may raise besides `ValueError` and `TypeError`.
    leave_out : str
        A pattern of changes that are not tried.
    tol : float
        By how much an answer may differ from the right one besides rounding, relative to the largest entry.
    """

    covers: str
    call: Callable
    good: Mapping[str, Any]
    right: Callable
    errors: tuple[type[Exception], ...] = ()
    leave_out: str = ""
    tol: float = 0.0

    def __str__(self) -> str:
        return self.covers.split()[0]


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=_generator)


def uniform(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=_generator)


def double(value: Any) -> Any:
    """The same numbers in float64, apart from every graph; complex numbers are refused."""
    if isinstance(value, Tensor):
        if value.is_complex() or value.is_meta:
            raise TypeError("no real numbers")
        return value.detach().double()
    return value


def whole(*values, least=1):
    """Fail unless these are whole numbers from `least` on; return None."""
    assert all(isinstance(value, int) and value >= least for value in values), f"{values} count nothing"


def finite(*values, least=-math.inf, above=-math.inf):
    """Fail unless these are numbers, finite and large enough; return None."""
    for value in values:
        assert math.isfinite(value)
        assert value >= least
        assert value > above


def _spoilt(tensor: Tensor, value: float) -> Tensor:
    spoilt = tensor.clone()
    spoilt.flatten()[-1:].fill_(value) if spoilt.is_contiguous() else None
    return spoilt


def _turned(tensor: Tensor) -> Tensor:
    """The same numbers in another order of memory, with gaps."""
    gaps = tensor.new_zeros(*tensor.shape[::-1], 2)
    gaps[..., 1] = tensor.permute(*reversed(range(tensor.dim())))
    return gaps[..., 1].permute(*reversed(range(tensor.dim())))


def _of_tensor(tensor: Tensor) -> Iterator[tuple[str, Callable[[Tensor], Tensor]]]:
    if tensor.dim():
        yield "no rows", lambda t: t[:0]
        yield "no columns", lambda t: t[..., :0]
        yield "one column", lambda t: t[..., :1]
        yield "one entry", lambda t: t[tuple(slice(0, 1) for _ in t.shape)]
        yield "one row more", lambda t: torch.cat([t, t[:1]])
        yield "first axis lost", lambda t: t[0]
        yield "the same row again", lambda t: t[:1].expand(t.shape)
        if WIDE * tensor[..., :1].numel() <= _LIMIT:
            yield "10,000 columns", lambda t: t[..., :1].expand(*t.shape[:-1], WIDE)
    yield "an axis more", lambda t: t[None]
    yield "other memory", _turned
    yield "on no device", lambda t: t.to("meta")
    yield "minus", lambda t: -t if t.dtype != torch.bool else ~t
    for name, dtype in _DTYPES.items():
        yield name, lambda t, dtype=dtype: t.to(dtype)
    if tensor.is_floating_point():
        yield "with a gradient", lambda t: t.clone().requires_grad_()
        for value in (math.nan, math.inf, -math.inf):
            yield f"with {value}", lambda t, value=value: _spoilt(t, value)


def _of(value: Any) -> Iterator[tuple[str, Callable]]:
    if isinstance(value, Tensor):
        yield from _of_tensor(value)
    elif isinstance(value, bool) or callable(value):
        return
    elif isinstance(value, int | float):
        for name, bad in _NUMBERS.items():
            yield name, lambda _, bad=bad: bad
    elif isinstance(value, str):
        yield "unknown", lambda _: "unknown"
    elif isinstance(value, Sequence) and len(value):
        yield "empty", lambda v: type(v)()
        yield "one more", lambda v: type(v)((*v, v[0]))
        for name, change in _of(value[-1]):
            yield f"last {name}", lambda v, change=change: type(v)((*v[:-1], change(v[-1])))


def mutations(good: Mapping[str, Any], leave_out: str = "") -> dict[str, Callable[[dict], dict]]:
    """Every change of one argument, and every change of all tensors alike, by a name that says what it is."""
    found = {}
    for name, value in good.items():
        for what, change in _of(value):
            found[f"{name}: {what}"] = lambda a, name=name, change=change: a | {name: change(a[name])}
    tensors = [name for name, value in good.items() if isinstance(value, Tensor)]
    if len(tensors) > 1:
        alike = set.intersection(*({what for what, _ in _of_tensor(good[name])} for name in tensors))
        for what in sorted(alike):
            changes = {name: dict(_of_tensor(good[name]))[what] for name in tensors}
            found[f"all: {what}"] = lambda a, changes=changes: a | {n: c(a[n]) for n, c in changes.items()}
    return {what: change for what, change in found.items() if not (leave_out and re.search(leave_out, what))}


def judge(case: Case, arguments: dict) -> str:
    """Say what is wrong with how the function took these arguments; empty if nothing is."""
    try:
        with torch.random.fork_rng(devices=[]):
            result = case.call(**arguments)
    except Exception as error:  # every kind is looked at
        return _of_error(error, (ValueError, TypeError, *case.errors))
    try:
        expected = case.right(**arguments)
    except Exception as error:
        return f"it answered {_short(result)}, where there is no answer ({type(error).__name__}: {error})"
    dtypes = [v.dtype for v in arguments.values() if isinstance(v, Tensor) and v.is_floating_point()]
    eps = max([torch.finfo(dtype).eps for dtype in dtypes], default=torch.finfo(torch.float32).eps)
    return _difference(result, expected, max(200 * eps, case.tol, 1e-9))


def _of_error(error: Exception, kinds: tuple[type[Exception], ...]) -> str:
    frame = error.__traceback__
    while frame.tb_next:
        frame = frame.tb_next
    path = Path(frame.tb_frame.f_code.co_filename)
    line = linecache.getline(str(path), frame.tb_lineno).strip()
    where = f"{path.name}:{frame.tb_lineno}"
    if HELPERS not in path.parents or not line.startswith("raise"):
        return f"{type(error).__name__} out of {where}, not an error of its own: {error}"
    if not isinstance(error, kinds):
        return f"{where} raises {type(error).__name__}"
    if len(str(error).split()) < 5:
        return f"{where} says too little: {error}"
    return ""


def _difference(result: Any, expected: Any, tol: float) -> str:
    if expected is ...:  # nothing is known of this part
        return ""
    if is_dataclass(expected) and not isinstance(expected, type):
        expected = {field.name: getattr(expected, field.name) for field in fields(expected)}
    if isinstance(expected, Mapping):
        got = result if isinstance(result, Mapping) else {name: getattr(result, name) for name in expected}
        said = (f"{name}: {said}" for name in expected if (said := _difference(got[name], expected[name], tol)))
        return next(said, "")
    if isinstance(expected, list | tuple) and not isinstance(result, Tensor):
        if len(result) != len(expected):
            return f"{len(result)} parts where {len(expected)} are right"
        said = (
            f"{i}: {said}"
            for i, pair in enumerate(zip(result, expected, strict=True))
            if (said := _difference(*pair, tol))
        )
        return next(said, "")
    if isinstance(expected, int | float | Tensor | list | tuple):
        return _unequal(_tensor(result), _tensor(expected), tol)
    return "" if result == expected else f"{_short(result)} where {_short(expected)} is right"


def _tensor(value: Any) -> Tensor:
    return value.detach() if isinstance(value, Tensor) else torch.as_tensor(value, dtype=torch.float64)


def _unequal(result: Tensor, expected: Tensor, tol: float) -> str:
    if result.is_meta:
        return "a tensor without numbers"
    if result.shape != expected.shape:
        return f"shape {tuple(result.shape)} where {tuple(expected.shape)} is right"
    if result.is_complex() and expected.is_complex():
        result, expected = torch.view_as_real(result), torch.view_as_real(expected)
    if result.is_complex() or expected.is_complex():
        return "a complex number"
    a, b = result.double(), expected.double()
    finite = b.isfinite()
    size = max(1.0, b[finite].abs().max().item()) if bool(finite.any()) else 1.0
    if torch.equal(a.isfinite(), finite) and torch.allclose(a[finite], b[finite], rtol=0, atol=tol * size):
        return ""  # infinity and NaN are both loud: which of them it is depends on the order of the operations
    return f"{_short(result)} where {_short(expected)} is right"


def _short(value: Any) -> str:
    return " ".join(f"{value!s:.120}".split())
