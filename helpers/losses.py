"""Which loss belongs to which output, in lines of code that run, and the losses behind them from their formulas.

The formulas are here to be compared with `torch.nn.functional`, which is what to use in earnest.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from helpers import expect

_SIZES = {6: "n", 3: "K", 8: "H", 9: "W"}


def entropy(p: Tensor, *, base: float = math.e) -> Tensor:
    """Return the entropy ``-sum_k p_k log p_k``, with ``0 log 0 = 0`` (C. E. Shannon, 1948, section 6).

    Parameters
    ----------
    p : Tensor, shape (..., K)
        Probabilities; the last dimension sums to 1.
    base : float
        Of the logarithm: e gives nats, 2 gives bits.

    Raises
    ------
    ValueError
        If `p` does not hold probabilities.

    Examples
    --------
    >>> entropy(torch.tensor([0.25, 0.25, 0.5]), base=2).item()
    1.5
    """
    expect.distributions(base, p=p)
    return torch.special.entr(p).sum(-1) / math.log(base)


def kl(p: Tensor, q: Tensor, *, base: float = math.e) -> Tensor:
    """Return the divergence ``D(p || q) = sum_k p_k log(p_k / q_k)`` (S. Kullback and R. A. Leibler, 1951).

    Parameters
    ----------
    p, q : Tensor, shape (..., K)
        The data's distribution and the model's. The result is infinite where q is 0 and p is not.
    base : float
        As for `entropy`.

    Raises
    ------
    ValueError
        If one of them does not hold probabilities.

    Examples
    --------
    >>> kl(torch.tensor([1.0, 0.0]), torch.tensor([0.25, 0.75]), base=2).item()
    2.0
    """
    expect.distributions(base, p=p, q=q)
    return (torch.xlogy(p, p) - torch.xlogy(p, q)).sum(-1) / math.log(base)


def cross_entropy(
    logits: Tensor,
    target: Tensor,
    *,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
) -> Tensor:
    """Return the cross-entropy of class indices under the softmax of `logits`, as PyTorch defines it.

    Parameters
    ----------
    logits : Tensor, shape (n, K)
    target : Tensor of int64, shape (n,)
        The true classes, 0 to K - 1. A sample with `ignore_index` adds nothing, above or below the fraction bar.
    weight : Tensor, shape (K,), optional
        One weight for each class.
    label_smoothing : float
        The share of each target, 0 to 1, that is spread over all K classes (C. Szegedy et al., 2016, section 7).
    reduction : {"mean", "sum", "none"}
        "mean" divides by the sum of the targets' weights, not by n.

    Returns
    -------
    Tensor
        In nats; shape () or, for "none", (n,).

    Raises
    ------
    TypeError, ValueError
        If a shape, a dtype or a value does not fit.

    Examples
    --------
    >>> logits = torch.tensor([[2.0, 0.0], [0.0, 1.0], [5.0, 5.0]])
    >>> cross_entropy(logits, torch.tensor([0, 1, -100])) == cross_entropy(logits[:2], torch.tensor([0, 1]))
    tensor(True)
    """
    expect.floats(logits=logits, weight=weight)
    expect.numbers(logits=logits, target=target)
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"label_smoothing is a share between 0 and 1, got {label_smoothing}")
    if logits.ndim != 2 or target.shape != logits.shape[:1]:
        raise ValueError(f"give logits (n, K) and targets (n,), not {tuple(logits.shape)} and {tuple(target.shape)}")
    if target.dtype != torch.int64:
        raise TypeError(f"targets are class indices of dtype int64, not {target.dtype}; convert them with .long()")
    n_classes, keep = logits.shape[1], target != ignore_index
    if weight is not None and weight.shape != (n_classes,):
        raise ValueError(f"weight needs one entry for each of {n_classes} classes, not shape {tuple(weight.shape)}")
    if bool((strange := keep & ((target < 0) | (target >= n_classes))).any()):
        raise ValueError(f"target {target[strange][0]} is no class; the classes are 0 to {n_classes - 1}")
    w = logits.new_ones(n_classes) if weight is None else weight
    y = target.where(keep, 0)
    nll = w * (logits.logsumexp(1, keepdim=True) - logits)  # (n, K): what each class would cost
    loss = nll.gather(1, y[:, None])[:, 0]
    if label_smoothing:
        loss = (1 - label_smoothing) * loss + label_smoothing * nll.mean(1)
    return _reduced(loss.where(keep, 0.0), w[y].where(keep, 0.0), reduction)


def bce_with_logits(logits: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
    """Return ``-y log s(z) - (1 - y) log(1 - s(z))`` for the sigmoid s, as ``log(1 + e^z) - y z``: stable for every z.

    Parameters
    ----------
    logits, target : Tensor of equal shape
        Targets are 0, 1 or anything between.
    reduction : {"mean", "sum", "none"}

    Raises
    ------
    ValueError
        If the shapes differ: they are never broadcast.

    Examples
    --------
    >>> bce_with_logits(torch.tensor([200.0]), torch.tensor([0.0])).item()
    200.0
    """
    expect.floats(logits=logits)
    expect.numbers(logits=logits, target=target)
    if logits.shape != target.shape:
        raise ValueError(f"logits {tuple(logits.shape)} and target {tuple(target.shape)} must have the same shape")
    return _reduced(torch.logaddexp(logits.new_zeros(()), logits) - target * logits, torch.ones_like(logits), reduction)


def _reduced(loss: Tensor, weights: Tensor, reduction: str) -> Tensor:
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"reduction is {reduction!r}; choose 'mean', 'sum' or 'none'")
    return {"none": loss, "sum": loss.sum(), "mean": loss.sum() / weights.sum()}[reduction]


@dataclass(frozen=True)
class Output:
    """A kind of prediction; every field but the first is Python, for n = 6 samples of 16 features and K = 3 classes.

    Attributes
    ----------
    problem : str
    layer, loss : str
        The last layer, which makes the outputs z, and the loss of z and y.
    y, read : str
        Targets of the right shape and dtype, and what to report as the prediction.
    """

    problem: str
    layer: str
    loss: str
    y: str
    read: str

    @property
    def line(self) -> str:
        """One line of Python that makes z and y and computes the loss."""
        h = "torch.randn(6, 16, 8, 9)" if "Conv2d" in self.layer else "torch.randn(6, 16)"
        return f"h = {h}; z, y = {self.layer}(h), {self.y}; loss = {self.loss}"

    def names(self, code: str = "") -> dict[str, Tensor]:
        """Execute `line` with seed 0 and then `code`, and return all names; the caller's random state is untouched."""
        names = {"torch": torch, "nn": nn, "F": F}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            exec(f"{self.line}\n{code}", names)
        return names

    def run(self) -> Tensor:
        """Execute `line` and return the loss, shape ().

        Examples
        --------
        >>> all(output.run().shape == () for output in OUTPUTS)
        True
        """
        return self.names()["loss"]

    @property
    def target(self) -> str:
        """Dtype and shape of the targets that `line` makes, such as ``int64 (n,)``."""
        y = self.names()["y"]
        shape = ", ".join(_SIZES.get(size, str(size)) for size in y.shape) + ("," if y.ndim == 1 else "")
        return f"{'float' if y.is_floating_point() else str(y.dtype).removeprefix('torch.')} ({shape})"


@dataclass(frozen=True)
class Mistake:
    """A loss that does not fit the z and y of `output`, written with the same names, and what it does in silence."""

    output: Output
    wrong: str
    damage: str = ""

    def outcome(self) -> str:
        """Execute `wrong`: the error that PyTorch raises or, where it raises none, both losses and the damage.

        Examples
        --------
        >>> next(mistake for mistake in MISTAKES if "y + 1" in mistake.wrong).outcome()
        'IndexError: Target 3 is out of bounds.'
        """
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            try:
                names = self.output.names(f"wrong = {self.wrong}")
            except (IndexError, RuntimeError, TypeError, ValueError) as error:
                return f"{type(error).__name__}: {str(error).splitlines()[0]}"
        wrong, right = names["wrong"].item() + 0.0, names["loss"].item()
        if not self.damage or wrong == right:
            raise ValueError(f"{self.wrong} gives {wrong}, the right loss is {right}: say what the damage is, if any")
        return f"no error{', a warning' * bool(heard)}: {wrong:.3f} in place of {right:.3f}; {self.damage}"


_OUTPUT_ROWS = """
a number ; nn.Linear(16, 1) ; F.mse_loss(z, y) ; torch.randn(6, 1) ; z
a number, with outliers ; nn.Linear(16, 1) ; F.huber_loss(z, y) ; torch.randn(6, 1) ; z
a number and its variance ; nn.Linear(16, 2) ; F.gaussian_nll_loss(z[:, :1], y, F.softplus(z[:, 1:])) \
  ; torch.randn(6, 1) ; z[:, :1]
yes or no ; nn.Linear(16, 1) ; F.binary_cross_entropy_with_logits(z, y) ; torch.randint(2, (6, 1)).float() ; z.sigmoid()
one of K classes ; nn.Linear(16, 3) ; F.cross_entropy(z, y) ; torch.arange(6) % 3 ; z.softmax(1)
K probabilities ; nn.Linear(16, 3) ; F.cross_entropy(z, y) ; torch.rand(6, 3).softmax(1) ; z.softmax(1)
any of K labels ; nn.Linear(16, 3) ; F.binary_cross_entropy_with_logits(z, y) \
  ; torch.randint(2, (6, 3)).float() ; z.sigmoid()
a class for each pixel ; nn.Conv2d(16, 3, 1) ; F.cross_entropy(z, y) ; torch.randint(3, (6, 8, 9)) ; z.softmax(1)
"""

_MISTAKE_ROWS = """
a number ; F.mse_loss(z, y[:, 0]) ; every output is compared with every target
yes or no ; F.binary_cross_entropy_with_logits(z, y[:, 0])
yes or no ; F.binary_cross_entropy_with_logits(z, y.long())
yes or no ; F.binary_cross_entropy(z, y)
yes or no ; F.binary_cross_entropy_with_logits(z.sigmoid(), y) ; a sigmoid of a sigmoid lies between 0.5 and 0.73
yes or no ; F.cross_entropy(z, y) ; the softmax of one logit is 1, so the loss and its gradient are always 0
one of K classes ; F.cross_entropy(z.softmax(1), y) ; the second softmax can never be confident
one of K classes ; F.nll_loss(z.softmax(1), y) ; without a logarithm this is -p, bounded, with tiny gradients
one of K classes ; F.nll_loss(z.log_softmax(1), F.one_hot(y, 3).float())
one of K classes ; F.cross_entropy(z, y.float())
one of K classes ; F.cross_entropy(z, y[:, None])
one of K classes ; F.cross_entropy(z, F.one_hot(y, 3))
one of K classes ; F.cross_entropy(z, y + 1)
one of K classes ; F.cross_entropy(z, torch.full_like(y, -100)) ; all targets ignored, 0/0
K probabilities ; F.kl_div(z.softmax(1), y, reduction="batchmean") ; kl_div takes log-probabilities, not these
any of K labels ; F.cross_entropy(z, y) ; the softmax makes labels compete that do not exclude each other
any of K labels ; F.soft_margin_loss(z, y) ; targets must be -1 and +1: a label of 0 gets no gradient
a class for each pixel ; F.cross_entropy(z.movedim(1, 3), y)
"""


def _rows(text: str) -> list[list[str]]:
    return [[part.strip() for part in row.split(" ; ")] for row in text.replace("\\\n", "").strip().splitlines()]


OUTPUTS = tuple(Output(*row) for row in _rows(_OUTPUT_ROWS))
"""One entry for each kind of prediction."""

MISTAKES = tuple(
    Mistake(next(output for output in OUTPUTS if output.problem == problem), *rest)
    for problem, *rest in _rows(_MISTAKE_ROWS)
)
"""Losses that do not fit, each with the targets of one of `OUTPUTS`."""


def table() -> str:
    """Return `OUTPUTS` as a Markdown table."""
    rows = [f"| {o.problem} | `{o.layer}` | `{o.loss}` | `{o.target}` | `{o.read}` |" for o in OUTPUTS]
    return "\n".join(["| to predict | last layer | loss | target `y` | read as |", "| --- " * 5 + "|", *rows])


def mistakes_table() -> str:
    """Return `MISTAKES` as a Markdown table, each executed for what it says."""
    rows = [f"| {m.output.problem} | `{m.wrong}` | {m.outcome()} |" for m in MISTAKES]
    return "\n".join(["| to predict | wrong | what happens |", "| --- " * 3 + "|", *rows])
