"""Forward and backward passes of a recurrent layer that keep every intermediate value, time step by time step.

Time is the first axis, as in ``torch.nn.RNN``: `N` sequences of `T` steps with `D` features have shape ``(T, N, D)``.
The layer of J. L. Elman, *Finding structure in time* (Cognitive Science, 1990), with a linear output, computes

.. math:: z_t = W_{xh} x_t + W_{hh} h_{t-1} + b, \\qquad h_t = \\sigma(z_t), \\qquad \\hat y_t = W_{hy} h_t + b_y,

and backpropagation through time (P. J. Werbos, *Backpropagation through time: what it does and how to do it*, Proc.
IEEE 78, 1990) goes through the same steps in the opposite order:

.. math:: \\frac{dL}{dh_t} = W_{hy}^\\top \\frac{\\partial L}{\\partial \\hat y_t} + W_{hh}^\\top \\delta_{t+1},
   \\qquad \\delta_t = \\sigma'(z_t) \\odot \\frac{dL}{dh_t}, \\qquad
   \\frac{dL}{dW_{hh}} = \\sum_t \\delta_t h_{t-1}^\\top .

Nothing here calls autograd: the tests and the chapters compare it with autograd and with ``torch.nn.RNN``.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor

from helpers import expect
from helpers.backprop import ACTIVATIONS, LOSSES, Activation, Loss


@dataclass(frozen=True)
class RNNTrace:
    """Everything that one forward and one backward pass of a recurrent layer computed.

    `T` time steps, `N` sequences, `D` features, `H` hidden units, `K` outputs. Step number `t`, counted from 1, is at
    index ``t - 1``; only `h` and `dL_dh` begin with step 0, the initial state, so there step `t` is at index ``t``.

    Attributes
    ----------
    W_xh, W_hh, W_hy, b, b_y : Tensor
        The parameters, shapes ``(H, D)``, ``(H, H)``, ``(K, H)``, ``(H,)`` and ``(K,)``.
    x : Tensor
        Inputs, ``(T, N, D)``.
    z : Tensor
        Sums before the activation, ``(T, N, H)``.
    h : Tensor
        States, ``(T + 1, N, H)``; ``h[0]`` is the initial one.
    slope : Tensor
        Derivative of the activation at `z`, ``(T, N, H)``.
    y_hat : Tensor
        Outputs of all steps, ``(T, N, K)``, also of those without a target.
    loss : Tensor
        The loss, without dimensions.
    dL_dy : Tensor
        Derivatives by `y_hat`, ``(T, N, K)``; zero where there is no target.
    dL_dh : Tensor
        Total derivatives by `h`, ``(T + 1, N, H)``: through the step's own output and through all later states.
    delta : Tensor
        Derivatives by `z`, ``(T, N, H)``.
    terms : dict of str to Tensor
        For each parameter what every time step adds to its gradient: ``terms["W_hh"]`` has shape ``(T, H, H)``.
    """

    W_xh: Tensor
    W_hh: Tensor
    W_hy: Tensor
    b: Tensor
    b_y: Tensor
    x: Tensor
    z: Tensor
    h: Tensor
    slope: Tensor
    y_hat: Tensor
    loss: Tensor
    dL_dy: Tensor
    dL_dh: Tensor
    delta: Tensor
    terms: dict[str, Tensor]

    @property
    def grad(self) -> dict[str, Tensor]:
        """The gradient of each parameter: its `terms`, summed over time."""
        return {name: term.sum(dim=0) for name, term in self.terms.items()}

    @property
    def jacobian(self) -> Tensor:
        """The local derivatives :math:`\\partial h_t / \\partial h_{t-1}` of every step and sequence, ``(T, N, H, H)``.

        Row `i` and column `j` hold the derivative of unit `i` at step `t` by unit `j` at step ``t - 1``.
        """
        return self.slope[..., None] * self.W_hh

    def step(self, lr: float) -> dict[str, Tensor]:
        """All parameters after one gradient step, by name; the trace itself is not changed."""
        return {name: getattr(self, name) - lr * gradient for name, gradient in self.grad.items()}


def forward(
    x: Tensor,
    W_xh: Tensor,
    W_hh: Tensor,
    *,
    b: Tensor | None = None,
    h0: Tensor | None = None,
    activation: str | Activation = "tanh",
) -> tuple[Tensor, Tensor]:
    """Run the recurrence and keep everything. Parameters and errors are those of :func:`trace`.

    Returns
    -------
    z : Tensor
        Sums before the activation, ``(T, N, H)``.
    h : Tensor
        States, ``(T + 1, N, H)``; ``h[0]`` is the initial one.

    Examples
    --------
    >>> x = torch.tensor([1.0, 2.0, 3.0]).reshape(3, 1, 1)
    >>> z, h = forward(x, torch.tensor([[1.0]]), torch.tensor([[0.5]]), h0=torch.ones(1, 1), activation="identity")
    >>> h.flatten().tolist()
    [1.0, 1.5, 2.75, 4.375]
    """
    f = expect.known(activation, ACTIVATIONS, Activation, "activation").f
    b, h0 = _defaults(x, W_xh, W_hh, b, h0)
    z, h = [], [h0]
    for x_t in x:
        z.append(x_t @ W_xh.T + h[-1] @ W_hh.T + b)  # (N, H)
        h.append(f(z[-1]))
    return torch.stack(z), torch.stack(h)


def trace(
    x: Tensor,
    target: Tensor,
    W_xh: Tensor,
    W_hh: Tensor,
    W_hy: Tensor,
    *,
    b: Tensor | None = None,
    b_y: Tensor | None = None,
    h0: Tensor | None = None,
    activation: str | Activation = "tanh",
    loss_fn: str | Loss = "half_sse",
    detach_at: Collection[int] = (),
) -> RNNTrace:
    """One forward pass, the loss and one backward pass through time, with every intermediate value.

    Parameters
    ----------
    x : Tensor
        Inputs, shape ``(T, N, D)``.
    target : Tensor
        Shape ``(N, K)``: for the last step only (many-to-one). Shape ``(T, N, K)``: for every step (many-to-many);
        a loss that averages then averages over steps and sequences. Class numbers for ``"cross_entropy"`` come
        without the last axis.
    W_xh, W_hh, W_hy : Tensor
        Shapes ``(H, D)``, ``(H, H)`` and ``(K, H)``.
    b, b_y, h0 : Tensor, optional
        Biases of shape ``(H,)`` and ``(K,)``, initial state of shape ``(N, H)``; zeros by default.
    activation : str or Activation
        A key of `helpers.backprop.ACTIVATIONS`, or an activation.
    loss_fn : str or Loss
        A key of `helpers.backprop.LOSSES`, or a loss.
    detach_at : collection of int
        Steps `t` whose state is handed on without its history: no gradient flows from step ``t + 1`` back into
        ``h[t]``. This truncates backpropagation through time (R. J. Williams and J. Peng, *An efficient gradient-based
        algorithm for on-line training of recurrent network trajectories*, Neural Computation, 1990).

    Returns
    -------
    RNNTrace

    Raises
    ------
    ValueError
        If a shape does not fit, a name is not known, or `detach_at` names a step that has no next one.

    Examples
    --------
    Three steps of ``h = 0.5 h + x`` from ``h = 1``, an output ``2 h`` at the end, and ``L = 1/2 (y - 10)^2``:

    >>> x = torch.tensor([1.0, 2.0, 3.0]).reshape(3, 1, 1)
    >>> W_hh, W_xh, W_hy = (torch.tensor([[w]]) for w in (0.5, 1.0, 2.0))
    >>> t = trace(x, torch.tensor([[10.0]]), W_xh, W_hh, W_hy, h0=torch.ones(1, 1), activation="identity")
    >>> t.terms["W_hh"].flatten().tolist(), t.grad["W_hh"].item()
    ([-0.625, -1.875, -6.875], -9.375)
    """
    f = expect.known(activation, ACTIVATIONS, Activation, "activation")
    loss = expect.known(loss_fn, LOSSES, Loss, "loss")
    z, h = forward(x, W_xh, W_hh, b=b, h0=h0, activation=f)
    b, _ = _defaults(x, W_xh, W_hh, b, h0)
    b_y = _output_bias(W_hh, W_hy, b_y)
    cuts = _cuts(detach_at, len(x))
    y_hat = h[1:] @ W_hy.T + b_y  # (T, N, K)
    first = _first_target(target, y_hat, loss)
    flat, goal = y_hat[first:].flatten(0, 1), target.flatten(0, target.dim() - (loss.name != "cross_entropy") - 1)

    dL_dy = torch.zeros_like(y_hat)
    dL_dy[first:] = loss.gradient(flat, goal).unflatten(0, y_hat[first:].shape[:2])
    slope = f.derivative(z, h[1:])
    delta, flow = torch.empty_like(z), torch.zeros_like(h)  # flow: what comes back from the next step
    for t in range(len(x), 0, -1):
        delta[t - 1] = slope[t - 1] * (dL_dy[t - 1] @ W_hy + flow[t])
        if t - 1 not in cuts:
            flow[t - 1] = delta[t - 1] @ W_hh
    dL_dh = flow.clone()
    dL_dh[1:] += dL_dy @ W_hy
    terms = {
        "W_xh": delta.mT @ x,  # (T, H, N) @ (T, N, D): each product sums over the sequences
        "W_hh": delta.mT @ h[:-1],
        "W_hy": dL_dy.mT @ h[1:],
        "b": delta.sum(dim=1),
        "b_y": dL_dy.sum(dim=1),
    }
    value = loss.value(flat, goal)
    return RNNTrace(W_xh, W_hh, W_hy, b, b_y, x, z, h, slope, y_hat, value, dL_dy, dL_dh, delta, terms)


def _defaults(x: Tensor, W_xh: Tensor, W_hh: Tensor, b: Tensor | None, h0: Tensor | None) -> tuple[Tensor, Tensor]:
    """Bias and initial state, zeros unless given, once all shapes have been found to fit."""
    expect.floats(x=x, W_xh=W_xh, W_hh=W_hh, b=b, h0=h0)
    if x.dim() != 3 or not len(x):
        raise ValueError(f"x has shape {tuple(x.shape)}; it needs (time, sequences, features) with one step or more.")
    if W_hh.dim() != 2 or W_hh.shape[0] != W_hh.shape[1]:
        raise ValueError(f"W_hh has shape {tuple(W_hh.shape)}; it leads from the state to the state: (H, H).")
    n, d, hidden = x.shape[1], x.shape[2], len(W_hh)
    b = W_hh.new_zeros(hidden) if b is None else b
    h0 = W_hh.new_zeros(n, hidden) if h0 is None else h0
    for name, given, needed in (("W_xh", W_xh, (hidden, d)), ("b", b, (hidden,)), ("h0", h0, (n, hidden))):
        if tuple(given.shape) != needed:
            where = f"{n} sequences, {d} features and {hidden} hidden units"
            raise ValueError(f"{name} has shape {tuple(given.shape)}; with {where} it needs {needed}.")
    return b, h0


def _output_bias(W_hh: Tensor, W_hy: Tensor, b_y: Tensor | None) -> Tensor:
    expect.floats(W_hh=W_hh, W_hy=W_hy, b_y=b_y)
    if W_hy.dim() != 2 or W_hy.shape[1] != len(W_hh):
        raise ValueError(
            f"W_hy has shape {tuple(W_hy.shape)}; with {len(W_hh)} hidden units it needs (K, {len(W_hh)})."
        )
    b_y = W_hy.new_zeros(len(W_hy)) if b_y is None else b_y
    if tuple(b_y.shape) != (len(W_hy),):
        raise ValueError(f"b_y has shape {tuple(b_y.shape)}; W_hy needs ({len(W_hy)},).")
    return b_y


def _cuts(detach_at: Collection[int], n_steps: int) -> frozenset[int]:
    wrong = [t for t in detach_at if not 0 <= t < n_steps]
    if wrong:
        raise ValueError(f"detach_at names step {wrong[0]}; a state that is handed on is one of 0 to {n_steps - 1}.")
    return frozenset(detach_at)


def _first_target(target: Tensor, y_hat: Tensor, loss: Loss) -> int:
    """Index of the first step that has a target: the last step of all, or 0."""
    every = tuple(y_hat.shape[:2]) if loss.name == "cross_entropy" else tuple(y_hat.shape)
    if tuple(target.shape) in (every, every[1:]):
        if loss.name in LOSSES:
            expect.target(target, y_hat, classes=loss.name == "cross_entropy")
        return 0 if tuple(target.shape) == every else len(y_hat) - 1
    raise ValueError(
        f"target has shape {tuple(target.shape)}; {loss.name} of this network needs {every[1:]} for the last step, "
        f"or {every} for every step."
    )
