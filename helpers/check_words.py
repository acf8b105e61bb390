"""How two results differ, in words: a factor, a sign, a transposed matrix, one entry."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

_FACTORS = (
    (-1.0, "{a} has the right size and the wrong sign"),
    (2.0, "{a} is twice {b}"),
    (0.5, "{a} is half of {b}"),
    (-2.0, "{a} is twice {b}, with the wrong sign"),
    (-0.5, "{a} is half of {b}, with the wrong sign"),
    (math.log(2), "{a} is {b} times ln 2: is one of them a logarithm to base 2?"),
    (1 / math.log(2), "{a} is {b} divided by ln 2: is one of them a logarithm to base 2?"),
)


def difference(
    a: Tensor,
    b: Tensor,
    *,
    atol: float,
    rtol: float,
    names: tuple[str, str] = ("yours", "the right one"),
    batch_size: int | None = None,
    secret: bool = False,
) -> str:
    """Say in one clause how `a` differs from `b`; empty when they agree entry by entry.

    Parameters
    ----------
    a, b : Tensor
        Of any shape and dtype; tensors with a single entry count as numbers.
    atol, rtol : float
        Entries agree within ``atol + rtol * abs(b)``.
    names : tuple of str
        What the clause calls `a` and `b`.
    batch_size : int, optional
        Recognised as a factor between a sum and a mean.
    secret : bool
        Whether the clause must not give `b` away.

    Examples
    --------
    >>> difference(torch.tensor([1.0, 2.0]), torch.tensor([-1.0, -2.0]), atol=0, rtol=0)
    'yours has the right size and the wrong sign'
    """
    single = a.numel() == 1 == b.numel()
    if single:
        a, b = a.reshape(()), b.reshape(())
    x, y = a.to(torch.float64), b.to(torch.float64)
    if x.shape != y.shape:
        return _shapes(x, y, atol, rtol, names)
    agree = torch.isclose(x, y, atol=atol, rtol=rtol, equal_nan=True)
    if bool(agree.all()):
        return ""
    if clause := _not_finite(x, y, names):
        return clause
    if _is_float32_noise(a, b, x, y):
        gap = float((x - y).abs().max())
        return (
            f"they differ by {gap:.1e}, which is float32 rounding; compute in float64, or allow more (atol is {atol:g})"
        )
    clause = _factor(x, y, names, batch_size)
    if not clause:
        clause = _number(x, y, names, secret) if single else _entries(x, y, agree, names, secret)
    return clause


def _shapes(x: Tensor, y: Tensor, atol: float, rtol: float, names: tuple[str, str]) -> str:
    clause = f"{names[0]} has shape {tuple(x.shape)}, {names[1]} {tuple(y.shape)}"
    if x.numel() == y.numel():
        if x.squeeze().shape == y.squeeze().shape:
            if {x.ndim, y.ndim} == {1, 2}:
                n = x.numel()
                clause += f"; an operation between them would broadcast to {(n, n)}, so drop the axis of length 1"
        elif x.ndim == y.ndim == 2 and torch.allclose(x.T, y, atol=atol, rtol=rtol, equal_nan=True):
            clause += f"; {names[0]} is transposed"
        return clause
    if y.ndim and x.ndim == y.ndim + 1 and torch.allclose(x.sum(0), y, atol=atol, rtol=rtol):
        return f"{clause}; the sum over its first axis would be right: did the batch stay in?"
    if y.ndim and x.ndim == y.ndim + 1 and torch.allclose(x.mean(0), y, atol=atol, rtol=rtol):
        return f"{clause}; the mean over its first axis would be right: did the batch stay in?"
    if x.ndim == 2 and x.shape[0] == x.shape[1] == y.numel() > 1:
        return f"{clause}; that happens when shapes ({y.numel()}, 1) and ({y.numel()},) broadcast against each other"
    return clause


def _not_finite(x: Tensor, y: Tensor, names: tuple[str, str]) -> str:
    for tensor, other, name in ((x, y, names[0]), (y, x, names[1])):
        strange = ~tensor.isfinite() & ~(tensor == other) & ~(tensor.isnan() & other.isnan())
        if bool(strange.any()):
            kind = "NaN" if bool(tensor[strange].isnan().any()) else "infinite"
            if tensor.ndim == 0:
                return f"{name} is {kind}"
            return f"{name} is {kind} in {_count(int(strange.sum()), tensor.numel())}, first at {_place(strange)}"
    return ""


def _is_float32_noise(a: Tensor, b: Tensor, x: Tensor, y: Tensor) -> bool:
    coarse = any(tensor.dtype == torch.float32 for tensor in (a, b))
    scale = float(torch.maximum(x.abs().max(), y.abs().max()))
    return coarse and float((x - y).abs().max()) <= 8 * torch.finfo(torch.float32).eps * scale


def _factor(x: Tensor, y: Tensor, names: tuple[str, str], batch_size: int | None) -> str:
    nonzero = y.abs() > 1e-12 * y.abs().max()
    if not bool(nonzero.any()) or bool((x[~nonzero].abs() > 1e-9 * x.abs().max()).any()):
        return ""
    ratios = x[nonzero] / y[nonzero]
    ratio = float(ratios.mean())
    if not 1e-9 < abs(ratio) < 1e9 or float((ratios - ratio).abs().max()) > 1e-4 * abs(ratio):
        return ""
    if abs(ratio - 1) < 1e-3:  # nearly the same: not a matter of a factor
        return ""

    def near(value: float) -> bool:
        return math.isclose(ratio, value, rel_tol=1e-4)

    a, b = names
    sizes = [batch_size] if batch_size else []
    sizes += [size for size in x.shape if size > 2]
    for size in sizes:
        sign = ", with the wrong sign" if ratio < 0 else ""
        if size > 1 and near(math.copysign(size, ratio)):
            return f"{a} is {size} times {b}{sign}: is it a sum over {size} examples where the mean was meant?"
        if size > 1 and near(math.copysign(1 / size, ratio)):
            return f"{a} is {b} divided by {size}{sign}: is it a mean over {size} examples where the sum was meant?"
    for value, words in _FACTORS:
        if near(value):
            return words.format(a=a, b=b)
    for larger, how in ((ratio, "{whole} times {b}"), (1 / ratio, "{b} divided by {whole}")):
        whole = round(larger)
        if 3 <= whole <= 4096 and math.isclose(larger, whole, rel_tol=1e-6):
            return f"{a} is {how.format(whole=whole, b=b)}"
    if x.ndim and x.numel() > 1:
        return f"every entry of {a} is {ratio:.4g} times that of {b}"
    return ""


def _number(x: Tensor, y: Tensor, names: tuple[str, str], secret: bool) -> str:
    a, b = names
    mine, right = float(x), float(y)
    for value, words in (
        (right**2, f"{a} is the square of {b}"),
        (math.sqrt(abs(right)), f"{a} is the square root of {b}"),
    ):
        if right not in (0.0, 1.0) and math.isclose(mine, value, rel_tol=1e-6):
            return words
    if right and math.isclose(mine * right, 1, rel_tol=1e-6):
        return f"{a} is 1 divided by {b}"
    for step in (1, -1):
        if math.isclose(mine - right, step, rel_tol=1e-9):
            return f"{a} is {b} {'plus' if step > 0 else 'minus'} 1"
    if not secret:
        return f"they differ by {abs(mine - right):.3g}"
    if right and not right.is_integer() and abs(mine - right) < 0.02 * abs(right):
        return f"{a} is close but not exact: round later"
    if right and mine * right < 0:
        return f"{a} has the wrong sign, and not only that"
    return f"{a} is too {'large' if mine > right else 'small'}"


def _entries(x: Tensor, y: Tensor, agree: Tensor, names: tuple[str, str], secret: bool) -> str:
    a, b = names
    wrong = int((~agree).sum())

    def close(left: Tensor, right: Tensor) -> bool:
        scale = float(right.abs().max())
        return bool(((left - right).abs() <= 1e-6 * scale).all())

    if x.ndim == 2 and x.shape[0] == x.shape[1] and close(x.T, y):
        return f"{a} is the transpose of {b}"
    if close(x.abs(), y.abs()):
        return f"{a} has the wrong sign in {_count(wrong, x.numel())}, first at {_place(~agree)}"
    gap = x - y
    if wrong > 1 and close(gap, gap.mean().expand_as(gap)):
        side = "above" if gap.mean() > 0 else "below"
        return f"every entry of {a} is {side} {b} by {_brief(float(gap.abs().mean()))}"
    if wrong > 1 and close(x.flatten().sort().values, y.flatten().sort().values):
        return f"{a} has the right entries in another order"
    if wrong == 1:
        place = torch.nonzero(~agree)[0].tolist()
        values = "" if secret else f", {_brief(float(x[tuple(place)]))} against {_brief(float(y[tuple(place)]))}"
        return f"only the entry at {_place(~agree)} differs{values}"
    for axis, name in ((0, "row"), (1, "column")):
        lines = (~agree).any(dim=1 - axis) if x.ndim == 2 else torch.zeros(0)
        if int(lines.sum()) == 1 and lines.numel() > 1:
            return f"only {name} {int(lines.nonzero()[0])} differs"
    at = int(gap.abs().argmax())
    worst = torch.zeros_like(agree).flatten()
    worst[at] = True
    largest = "" if secret else f", by up to {_brief(float(gap.abs().max()))}"
    verb = "differs" if wrong == x.numel() else "differ"
    where = _place(worst.reshape(x.shape))
    return f"{_count(wrong, x.numel())} {verb}{largest}; the largest gap is at {where}"


def written(tensors: Sequence[Tensor], atol: float) -> list[str]:
    """Write values with the digits that `atol` can vouch for: up to eight entries in full, else the shape.

    Examples
    --------
    >>> written([torch.tensor(0.0821670), torch.tensor([0.5, -2.0]), torch.zeros(3, 4)], atol=1e-7)
    ['0.0821670', '[0.5, −2]', 'with shape (3, 4)']
    """
    return [_written(tensor, atol) for tensor in tensors]


def _written(tensor: Tensor, atol: float) -> str:
    if tensor.numel() == 1:
        return _digits(tensor.reshape(()), atol)
    if tensor.numel() > 8 or tensor.numel() == 0:
        return f"with shape {tuple(tensor.shape)}"
    if tensor.ndim == 1:
        return f"[{', '.join(_digits(entry, atol) for entry in tensor)}]"
    return f"[{', '.join(_written(part, atol) if part.ndim else _digits(part, atol) for part in tensor)}]"


def _digits(entry: Tensor, atol: float) -> str:
    if not entry.is_floating_point():
        return str(entry.item()).replace("-", "−")
    value = float(entry)
    if not math.isfinite(value):
        return str(value).replace("-", "−")
    if abs(value) <= 1e-3 * atol:
        return "0"  # what is left of a sum that should vanish differs from one processor to the next
    most = 6 if entry.dtype == torch.float32 else 9
    known = math.floor(math.log10(abs(value))) + 1 + math.floor(-math.log10(atol)) if atol > 0 else most
    text = f"{value:#.{min(max(known, 2), most)}g}"
    mantissa, e, exponent = text.partition("e")
    short = mantissa.rstrip("0").rstrip(".")
    if len(short.partition(".")[2]) <= 4:
        mantissa = short
    return (mantissa + e + exponent).replace("-", "−", 1) if value < 0 else mantissa + e + exponent


def closeness(spread: Tensor, tensors: Sequence[Tensor], atol: float, rtol: float) -> str:
    """Say how far apart values lie that agree, without digits that change from one processor to the next."""
    allowed = atol + rtol * float(tensors[-1].to(torch.float64).abs().max()) if tensors[-1].numel() else atol
    largest = float(spread.max()) if spread.numel() else 0.0
    scale = max((float(tensor.to(torch.float64).abs().max()) for tensor in tensors if tensor.numel()), default=0.0)
    coarse = any(tensor.dtype == torch.float32 for tensor in tensors)
    noise = 16 * torch.finfo(torch.float32 if coarse else torch.float64).eps * scale
    if largest == 0 and not any(tensor.is_floating_point() for tensor in tensors):
        return "exactly equal"
    if largest > noise:
        return f"largest difference {largest:.1e}, allowed {allowed:.0e}"
    bound = 10.0 ** math.ceil(math.log10(noise)) if noise > 0 else allowed
    if bound >= allowed:
        return f"within {allowed:.0e}"
    return f"largest difference below {bound:.0e}, allowed {allowed:.0e}"


def _count(some: int, total: int) -> str:
    return "every entry" if some == total else f"{some} of {total} entries"


def _place(mask: Tensor) -> str:
    place = torch.nonzero(mask)[0].tolist()
    return f"index {place[0]}" if len(place) == 1 else f"index {tuple(place)}"


def _brief(value: float) -> str:
    return f"{value:.4g}".replace("-", "−", 1) if value < 0 else f"{value:.4g}"
