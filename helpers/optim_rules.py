"""Update rules, each with its equation above the lines that carry it out.

Where the paper and PyTorch differ, a keyword says which form is meant: where epsilon stands, whether the rate is inside
the velocity, whether weight decay passes through the gradient. Notation: g is the gradient, η the rate ``lr``, x the
point; every operation works coordinate by coordinate. All numbers may be tensors of shape (n_starts, 1), one for each
start. :func:`helpers.optim_paths.descend` calls ``rule(x, g, state, lr)``, which returns the displacement; what a rule
remembers stands in ``state``: ``velocity``, ``squares``, and ``rate``, the effective rate of every coordinate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from helpers import tables

Number = float | Tensor
State = dict[str, Tensor]


def _in_range(name: str, value: Number, high: float = 1.0) -> None:
    v = torch.as_tensor(value)
    if not (v.isfinite().all() and (v >= 0).all() and (v < high).all()):
        limit = "0 or more" if high == float("inf") else f"at least 0 and below {high:g}"
        raise ValueError(f"{name} must be {limit}, got {value}.")


def _count(state: State) -> Tensor:
    state["t"] = state["t"] + 1 if "t" in state else torch.ones((), dtype=torch.float64)
    return state["t"]


def _root(squares: Tensor, eps: Number, inside: bool) -> Tensor:
    return torch.sqrt(squares + eps) if inside else torch.sqrt(squares) + eps


@dataclass(frozen=True, kw_only=True)
class GradientDescent:
    """x ← x − η g (Cauchy 1847), with weight decay λ: g + λx. Without memory, L2 and decoupled decay are one."""

    weight_decay: Number = 0.0
    equation: ClassVar[str] = r"x \leftarrow x - \eta\, g"
    paper: ClassVar[str] = "cauchy1847"

    def __post_init__(self) -> None:
        _in_range("weight_decay", self.weight_decay, float("inf"))

    def __call__(self, x: Tensor, g: Tensor, state: State, lr: Number) -> Tensor:
        return -lr * (g + self.weight_decay * x)


@dataclass(frozen=True, kw_only=True)
class Momentum:
    """Heavy ball (Polyak 1964).

    As in PyTorch, v ← μv + (1 − τ)g and x ← x − ηv, where the first v is g itself: dampening τ starts with the second
    step, and is nothing without momentum. ``rate_inside`` gives the form of most papers, v ← μv + ηg and x ← x − v; the
    two walk the same path as long as the rate stays constant (and τ = 0).
    """

    momentum: Number = 0.9
    dampening: Number = 0.0
    weight_decay: Number = 0.0
    rate_inside: bool = False
    equation: ClassVar[str] = r"v \leftarrow \mu v + g,\quad x \leftarrow x - \eta\, v"
    paper: ClassVar[str] = "polyak1964"

    def __post_init__(self) -> None:
        _in_range("momentum", self.momentum)
        _in_range("dampening", self.dampening)
        _in_range("weight_decay", self.weight_decay, float("inf"))

    def __call__(self, x: Tensor, g: Tensor, state: State, lr: Number) -> Tensor:
        g = g + self.weight_decay * x
        if self.rate_inside:
            v = state["velocity"] = self.momentum * state.get("velocity", torch.zeros_like(x)) + lr * g
            return -v
        first = "velocity" not in state
        v = state["velocity"] = (
            g if first else self.momentum * state["velocity"] + (1 - self.dampening * (self.momentum != 0)) * g
        )
        return -lr * v


@dataclass(frozen=True, kw_only=True)
class Nesterov:
    """Nesterov's accelerated gradient (1983) in PyTorch's form: v ← μv + g, x ← x − η(g + μv).

    :class:`NesterovLookAhead` is the published form; for a constant rate, PyTorch's x is its look-ahead point
    (Sutskever et al. 2013, section 7 of Bengio et al. 2012 rewrites one into the other).
    """

    momentum: Number = 0.9
    weight_decay: Number = 0.0
    equation: ClassVar[str] = r"v \leftarrow \mu v + g,\quad x \leftarrow x - \eta\,(g + \mu v)"
    paper: ClassVar[str] = "nesterov1983"

    def __post_init__(self) -> None:
        _in_range("momentum", self.momentum)
        _in_range("weight_decay", self.weight_decay, float("inf"))

    def __call__(self, x: Tensor, g: Tensor, state: State, lr: Number) -> Tensor:
        g = g + self.weight_decay * x
        v = state["velocity"] = self.momentum * state.get("velocity", torch.zeros_like(x)) + g
        return -lr * (g + self.momentum * v)


@dataclass(frozen=True, kw_only=True)
class NesterovLookAhead:
    """The form of Sutskever et al. (2013): v ← μv − η∇f(x + μv), x ← x + v; the gradient is taken ahead of x."""

    momentum: Number = 0.9
    equation: ClassVar[str] = r"v \leftarrow \mu v - \eta\,\nabla f(x + \mu v),\quad x \leftarrow x + v"
    paper: ClassVar[str] = "sutskever2013"

    def __post_init__(self) -> None:
        _in_range("momentum", self.momentum)

    def look_ahead(self, x: Tensor, state: State) -> Tensor:
        """The point at which the next gradient is wanted, of the shape of x."""
        return x + self.momentum * state.get("velocity", torch.zeros_like(x))

    def __call__(self, x: Tensor, g: Tensor, state: State, lr: Number) -> Tensor:
        v = state["velocity"] = self.momentum * state.get("velocity", torch.zeros_like(x)) - lr * g
        return v


@dataclass(frozen=True, kw_only=True)
class AdaGrad:
    """Duchi, Hazan, Singer (2011): s ← s + g², x ← x − η g / (√s + ε); ``eps_inside`` writes √(s + ε) instead."""

    eps: Number = 1e-10
    eps_inside: bool = False
    lr_decay: Number = 0.0
    weight_decay: Number = 0.0
    equation: ClassVar[str] = r"s \leftarrow s + g^2,\quad x \leftarrow x - \dfrac{\eta}{\sqrt{s} + \epsilon}\, g"
    paper: ClassVar[str] = "duchi2011"

    def __post_init__(self) -> None:
        for name in ("eps", "lr_decay", "weight_decay"):
            _in_range(name, getattr(self, name), float("inf"))

    def __call__(self, x: Tensor, g: Tensor, state: State, lr: Number) -> Tensor:
        g = g + self.weight_decay * x
        lr = lr / (1 + (_count(state) - 1) * self.lr_decay)
        s = state["squares"] = state.get("squares", torch.zeros_like(x)) + g**2
        state["rate"] = lr / _root(s, self.eps, self.eps_inside)
        return -state["rate"] * g


@dataclass(frozen=True, kw_only=True)
class RMSProp:
    """Hinton's lecture 6e (2012): s ← ρs + (1 − ρ)g², x ← x − η g / (√s + ε).

    PyTorch calls ρ ``alpha``. ``centered`` subtracts the squared mean of the gradient from s (Graves 2013, eq. 38-45,
    who puts ε inside the root as ``eps_inside`` does), ``momentum`` puts a heavy ball on top of the scaled gradient.
    """

    alpha: Number = 0.99
    eps: Number = 1e-8
    eps_inside: bool = False
    momentum: Number = 0.0
    centered: bool = False
    weight_decay: Number = 0.0
    equation: ClassVar[str] = (
        r"s \leftarrow \rho s + (1-\rho) g^2,\quad x \leftarrow x - \dfrac{\eta}{\sqrt{s} + \epsilon}\, g"
    )
    paper: ClassVar[str] = "tieleman2012"

    def __post_init__(self) -> None:
        _in_range("alpha", self.alpha)
        _in_range("momentum", self.momentum)
        _in_range("eps", self.eps, float("inf"))
        _in_range("weight_decay", self.weight_decay, float("inf"))

    def __call__(self, x: Tensor, g: Tensor, state: State, lr: Number) -> Tensor:
        g = g + self.weight_decay * x
        s = state["squares"] = self.alpha * state.get("squares", torch.zeros_like(x)) + (1 - self.alpha) * g**2
        if self.centered:
            mean = state["mean"] = self.alpha * state.get("mean", torch.zeros_like(x)) + (1 - self.alpha) * g
            s = s - mean**2
        state["rate"] = lr / _root(s, self.eps, self.eps_inside)
        if isinstance(self.momentum, float | int) and self.momentum == 0:
            return -state["rate"] * g
        scaled = g / _root(s, self.eps, self.eps_inside)
        v = state["velocity"] = self.momentum * state.get("velocity", torch.zeros_like(x)) + scaled
        return -lr * v


@dataclass(frozen=True, kw_only=True)
class Adadelta:
    """Zeiler (2012): s ← ρs + (1 − ρ)g², Δ = √(u + ε) / √(s + ε) · g, u ← ρu + (1 − ρ)Δ², x ← x − ηΔ; his η is 1."""

    rho: Number = 0.9
    eps: Number = 1e-6
    weight_decay: Number = 0.0
    equation: ClassVar[str] = (
        r"s \leftarrow \rho s + (1-\rho) g^2,\quad \Delta = \sqrt{\tfrac{u + \epsilon}{s + \epsilon}}\, g,\quad "
        r"u \leftarrow \rho u + (1-\rho)\Delta^2,\quad x \leftarrow x - \eta\,\Delta"
    )
    paper: ClassVar[str] = "zeiler2012"

    def __post_init__(self) -> None:
        _in_range("rho", self.rho)
        _in_range("eps", self.eps, float("inf"))
        _in_range("weight_decay", self.weight_decay, float("inf"))

    def __call__(self, x: Tensor, g: Tensor, state: State, lr: Number) -> Tensor:
        g = g + self.weight_decay * x
        s = state["squares"] = self.rho * state.get("squares", torch.zeros_like(x)) + (1 - self.rho) * g**2
        u = state.get("updates", torch.zeros_like(x))
        scale = torch.sqrt(u + self.eps) / torch.sqrt(s + self.eps)
        state["updates"] = self.rho * u + (1 - self.rho) * (scale * g) ** 2
        state["rate"] = lr * scale
        return -state["rate"] * g


@dataclass(frozen=True, kw_only=True)
class Adam:
    """Kingma, Ba (2015), Algorithm 1, which PyTorch follows: x ← x − η m̂ / (√v̂ + ε).

    m ← β₁m + (1 − β₁)g, v ← β₂v + (1 − β₂)g², m̂ = m / (1 − β₁ᵗ), v̂ = v / (1 − β₂ᵗ).

    Parameters
    ----------
    betas : pair
        (β₁, β₂).
    eps : float
        Outside the root of v̂. With ``eps_hat=True`` it stands beside √v before its correction, the reordered form at
        the end of the paper's section 2, in which the same ε weighs more at first.
    weight_decay, decoupled
        λ through the gradient (L2, the ``weight_decay`` of ``torch.optim.Adam``), or decoupled: x shrinks by ηλx
        beside the step (AdamW; Loshchilov, Hutter 2019 leave out the η, so that their λ is PyTorch's ηλ).
    amsgrad : bool
        Divide by the largest v so far (Reddi, Kale, Kumar 2018; PyTorch corrects the bias as well, they do not).
    bias_correction : {"power", "constant", "none"}
        "power" is right; "constant" divides by 1 − β at every step, an error that spreads by copying; "none" leaves
        m and v as they are.
    """

    betas: tuple[Number, Number] = (0.9, 0.999)
    eps: Number = 1e-8
    eps_hat: bool = False
    weight_decay: Number = 0.0
    decoupled: bool = False
    amsgrad: bool = False
    bias_correction: str = "power"
    equation: ClassVar[str] = (
        r"m \leftarrow \beta_1 m + (1-\beta_1) g,\quad v \leftarrow \beta_2 v + (1-\beta_2) g^2,\quad "
        r"x \leftarrow x - \dfrac{\eta\, m / (1-\beta_1^t)}{\sqrt{v / (1-\beta_2^t)} + \epsilon}"
    )
    paper: ClassVar[str] = "kingma2015"

    def __post_init__(self) -> None:
        for beta in self.betas:
            _in_range("beta", beta)
        _in_range("eps", self.eps, float("inf"))
        _in_range("weight_decay", self.weight_decay, float("inf"))
        if self.bias_correction not in ("power", "constant", "none"):
            raise ValueError(f"bias_correction must be 'power', 'constant' or 'none', got {self.bias_correction!r}.")

    def _corrections(self, t: Tensor) -> tuple[Number, Number]:
        if self.bias_correction == "none":
            return 1.0, 1.0
        power = t if self.bias_correction == "power" else 1
        return tuple(1 - beta**power for beta in self.betas)

    def __call__(self, x: Tensor, g: Tensor, state: State, lr: Number) -> Tensor:
        beta1, beta2 = self.betas
        if not self.decoupled:
            g = g + self.weight_decay * x
        m = state["velocity"] = beta1 * state.get("velocity", torch.zeros_like(x)) + (1 - beta1) * g
        v = state["squares"] = beta2 * state.get("squares", torch.zeros_like(x)) + (1 - beta2) * g**2
        if self.amsgrad:
            v = state["largest"] = torch.maximum(state.get("largest", torch.zeros_like(x)), v)
        c1, c2 = self._corrections(_count(state))
        root = (torch.sqrt(v) + self.eps) / c2**0.5 if self.eps_hat else torch.sqrt(v / c2) + self.eps
        state["rate"] = lr / (c1 * root)
        step = -state["rate"] * m
        return step - lr * self.weight_decay * x if self.decoupled else step


def table() -> str:
    """The rules as a Markdown table: update, numbers kept for each parameter, and the optimizer of PyTorch."""
    rows = (
        ("gradient descent", GradientDescent, 0, "`SGD(lr)`"),
        ("momentum", Momentum, 1, "`SGD(lr, momentum=0.9)`"),
        ("Nesterov", Nesterov, 1, "`SGD(lr, momentum=0.9, nesterov=True)`"),
        ("AdaGrad", AdaGrad, 1, "`Adagrad(lr)`"),
        ("RMSProp", RMSProp, 1, "`RMSprop(lr, alpha=0.99)`"),
        ("Adadelta", Adadelta, 2, "`Adadelta(lr=1)`"),
        ("Adam", Adam, 2, "`Adam(lr, betas=(0.9, 0.999))`"),
    )
    lines = ((name, f"${rule.equation}$", kept, torch) for name, rule, kept, torch in rows)
    return tables.markdown(("method", "update", "keeps", "`torch.optim`"), lines)
