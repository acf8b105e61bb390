"""Forward and backward passes of a multilayer perceptron that keep every intermediate value.

Rows are samples: with :math:`N` samples, :math:`A^{(0)} = X` has shape :math:`(N, D_0)`, and layer :math:`l` computes

.. math:: Z^{(l)} = A^{(l-1)} W^{(l)\\top} + b^{(l)}, \\qquad A^{(l)} = \\sigma^{(l)}(Z^{(l)}),

with :math:`W^{(l)}` of shape :math:`(D_l, D_{l-1})`, as in ``torch.nn.Linear``. The backward pass is that of
D. E. Rumelhart, G. E. Hinton and R. J. Williams, *Learning representations by back-propagating errors* (Nature, 1986):

.. math:: \\Delta^{(l)} = \\sigma'(Z^{(l)}) \\odot \\Delta^{(l+1)} W^{(l+1)}, \\qquad
   \\partial L/\\partial W^{(l)} = \\Delta^{(l)\\top} A^{(l-1)}, \\qquad
   \\partial L/\\partial b^{(l)} = \\textstyle\\sum_n \\Delta^{(l)}_n.

Nothing here calls autograd: the tests and the chapters compare it with autograd.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from helpers import activations, expect


@dataclass(frozen=True)
class Activation:
    """An elementwise function ``f(z)`` and its ``derivative(z, a)`` at `z`; ``a = f(z)`` is the stored output."""

    name: str
    f: Callable[[Tensor], Tensor]
    derivative: Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Loss:
    """A scalar loss ``value(y_hat, y)`` and its ``gradient(y_hat, y)``, which has the shape of `y_hat`."""

    name: str
    value: Callable[[Tensor, Tensor], Tensor]
    gradient: Callable[[Tensor, Tensor], Tensor]


def squared_error(factor: float | Callable[[int, int], float], name: str = "squared error") -> Loss:
    """The loss ``factor * sum((y_hat - y) ** 2)``, summed over samples and outputs.

    Parameters
    ----------
    factor : float or callable
        A number, or ``factor(N, D)`` for a batch of `N` samples with `D` outputs: ``1 / (N * D)`` is ``nn.MSELoss()``.
    name : str

    Examples
    --------
    >>> half = squared_error(0.5)
    >>> half.value(torch.tensor([[3.0]]), torch.tensor([[10.0]]))
    tensor(24.5000)
    >>> half.gradient(torch.tensor([[3.0]]), torch.tensor([[10.0]]))
    tensor([[-7.]])
    """

    def scale(y_hat: Tensor) -> float:
        return factor(*y_hat.shape) if callable(factor) else factor

    return Loss(
        name,
        lambda y_hat, y: scale(y_hat) * ((y_hat - y) ** 2).sum(),
        lambda y_hat, y: 2 * scale(y_hat) * (y_hat - y),
    )


def _cross_entropy_gradient(logits: Tensor, y: Tensor) -> Tensor:
    one_hot = torch.nn.functional.one_hot(y, logits.shape[1])
    return (torch.softmax(logits, dim=1) - one_hot) / len(y)


ACTIVATIONS = {
    item.name: item
    for item in (
        Activation("identity", lambda z: z, lambda z, a: torch.ones_like(z)),
        Activation("sigmoid", torch.sigmoid, lambda z, a: a * (1 - a)),
        Activation("tanh", torch.tanh, lambda z, a: 1 - a**2),
        Activation("relu", torch.relu, lambda z, a: (z > 0).to(z.dtype)),  # 0 at the kink, as in PyTorch
        Activation("softplus", activations.get("softplus").f, lambda z, a: torch.sigmoid(z)),
    )
}
"""Activations by name. Any other goes in as an :class:`Activation`."""

LOSSES = {
    item.name: item
    for item in (
        squared_error(0.5, "half_sse"),  # 1/2 sum
        squared_error(lambda n, d: 0.5 / n, "half_mse"),  # 1/(2N) sum
        squared_error(1.0, "sse"),  # sum: nn.MSELoss(reduction="sum")
        squared_error(lambda n, d: 1 / (n * d), "mse"),  # 1/(ND) sum: nn.MSELoss()
        Loss("cross_entropy", torch.nn.functional.cross_entropy, _cross_entropy_gradient),  # mean; y are class numbers
    )
}
"""Losses by name. Any other goes in as a :class:`Loss`."""


@dataclass(frozen=True)
class MLPTrace:
    """Everything that one forward and one backward pass of a multilayer perceptron computed.

    With `L` layers and `N` samples; tuples are indexed from 0, so ``z[0]`` belongs to layer 1.

    Attributes
    ----------
    weights : tuple of Tensor
        `L` matrices, ``weights[l]`` of shape ``(D[l+1], D[l])``.
    biases : tuple of Tensor
        `L` vectors, ``biases[l]`` of shape ``(D[l+1],)``.
    z : tuple of Tensor
        `L` pre-activations, each of shape ``(N, D[l+1])``.
    a : tuple of Tensor
        `L + 1` activations: ``a[0]`` is the input, ``a[-1]`` the prediction.
    loss : Tensor
        The loss, without dimensions.
    dL_da : tuple of Tensor
        `L + 1` derivatives with the shapes of `a`; ``dL_da[0]`` is the derivative with respect to the input.
    delta : tuple of Tensor
        `L` derivatives with respect to `z`, with the shapes of `z`: the error terms.
    dL_dW, dL_db : tuple of Tensor
        `L` gradients each, with the shapes of `weights` and `biases`, whatever `N` is.
    """

    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]
    z: tuple[Tensor, ...]
    a: tuple[Tensor, ...]
    loss: Tensor
    dL_da: tuple[Tensor, ...]
    delta: tuple[Tensor, ...]
    dL_dW: tuple[Tensor, ...]
    dL_db: tuple[Tensor, ...]

    @property
    def y_hat(self) -> Tensor:
        """The prediction, shape ``(N, D[L])``."""
        return self.a[-1]

    def step(self, lr: float) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Weights and biases after one gradient step; the trace itself is not changed."""
        weights = tuple(W - lr * g for W, g in zip(self.weights, self.dL_dW, strict=True))
        biases = tuple(b - lr * g for b, g in zip(self.biases, self.dL_db, strict=True))
        return weights, biases


def forward(
    X: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], activations: Sequence[str | Activation]
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Run the network and keep everything.

    Parameters and errors are those of :func:`trace`.

    Returns
    -------
    z, a : tuples of Tensor
        `L` pre-activations of shape ``(N, D[l+1])``, and `L + 1` activations of which the first is `X`.

    Examples
    --------
    >>> z, a = forward(torch.ones(1, 2), [torch.tensor([[1.0, -3.0]])], [torch.zeros(1)], ["relu"])
    >>> z[0].item(), a[1].item()
    (-2.0, 0.0)
    """
    functions = [expect.known(item, ACTIVATIONS, Activation, "activation") for item in activations]
    _check_shapes(X, weights, biases, len(functions))
    z, a = [], [X]
    for W, b, activation in zip(weights, biases, functions, strict=True):
        z.append(a[-1] @ W.T + b)
        a.append(activation.f(z[-1]))
    return tuple(z), tuple(a)


def trace(
    X: Tensor,
    y: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    *,
    activations: Sequence[str | Activation],
    loss_fn: str | Loss,
) -> MLPTrace:
    """One forward pass, the loss and one backward pass, with every intermediate value.

    Parameters
    ----------
    X : Tensor
        Inputs, shape ``(N, D[0])``.
    y : Tensor
        Targets, shape ``(N, D[L])``; class numbers of shape ``(N,)`` for ``"cross_entropy"``.
    weights, biases : sequences of Tensor
        ``weights[l]`` of shape ``(D[l+1], D[l])``, ``biases[l]`` of shape ``(D[l+1],)``.
    activations : sequence of str or Activation
        One for each layer; names are the keys of `ACTIVATIONS`.
    loss_fn : str or Loss
        A key of `LOSSES`, or a :class:`Loss`.

    Returns
    -------
    MLPTrace

    Raises
    ------
    ValueError
        If a shape does not fit, or a name is not known.

    Examples
    --------
    One neuron, ``L = 1/2 (3 * 2 + 1 - 5)^2``: the error is 2, the input was 2, so the weight's gradient is 4.

    >>> t = trace(torch.tensor([[2.0]]), torch.tensor([[5.0]]), [torch.tensor([[3.0]])], [torch.tensor([1.0])],
    ...           activations=["identity"], loss_fn="half_sse")
    >>> t.loss.item(), t.dL_dW[0].item(), t.dL_db[0].item()
    (2.0, 4.0, 2.0)
    """
    functions = [expect.known(item, ACTIVATIONS, Activation, "activation") for item in activations]
    loss = expect.known(loss_fn, LOSSES, Loss, "loss")
    z, a = forward(X, weights, biases, functions)
    expected = (len(X),) if loss.name == "cross_entropy" else tuple(a[-1].shape)
    if tuple(y.shape) != expected:
        raise ValueError(f"y has shape {tuple(y.shape)}, but {loss.name} of this network needs {expected}.")
    if loss.name in LOSSES:
        expect.target(y, a[-1], classes=loss.name == "cross_entropy")

    dL_da, delta, dL_dW, dL_db = [loss.gradient(a[-1], y)], [], [], []
    for W, activation, z_l, a_in, a_out in zip(*map(_reversed, (weights, functions, z, a[:-1], a[1:])), strict=True):
        delta.append(dL_da[-1] * activation.derivative(z_l, a_out))  # (N, D_l)
        dL_dW.append(delta[-1].T @ a_in)  # (D_l, D_{l-1}): the product sums over the samples
        dL_db.append(delta[-1].sum(dim=0))  # (D_l,)
        dL_da.append(delta[-1] @ W)  # (N, D_{l-1})
    backward = (tuple(_reversed(items)) for items in (dL_da, delta, dL_dW, dL_db))
    return MLPTrace(tuple(weights), tuple(biases), z, a, loss.value(a[-1], y), *backward)


def numerical_gradient(f: Callable[[Tensor], Tensor], theta: Tensor, *, eps: float = 1e-5) -> Tensor:
    """The gradient of `f` by central differences, ``(f(theta + eps) - f(theta - eps)) / (2 eps)``, entry by entry.

    Two evaluations of `f` for every entry of `theta`. The truncation error is of order ``eps**2``, the rounding error
    of order ``machine epsilon / eps`` (W. H. Press et al., *Numerical Recipes*, 3rd ed., section 5.7).

    Parameters
    ----------
    f : callable
        Takes a tensor with the shape of `theta`, returns a tensor with one element.
    theta : Tensor
        Where to take the gradient; use float64.
    eps : float
        Half the distance between the two evaluations.

    Returns
    -------
    Tensor
        With the shape of `theta`.

    Examples
    --------
    >>> numerical_gradient(lambda w: (w**2).sum(), torch.tensor([1.0, -2.0], dtype=torch.float64)).round(decimals=6)
    tensor([ 2., -4.], dtype=torch.float64)
    """
    expect.floats(theta=theta)
    if isinstance(eps, bool) or not 0 < eps < float("inf"):
        raise ValueError(f"eps is a positive number, not {eps}.")
    if bool((theta.isfinite() & ((theta + eps == theta) | (theta - eps == theta))).any()):
        raise ValueError(f"eps={eps:g} is lost beside a theta of {theta.dtype}: use theta.double(), or a larger eps.")
    gradient = torch.empty_like(theta, memory_format=torch.contiguous_format, requires_grad=False)
    for i in range(theta.numel()):
        shift = torch.zeros_like(gradient)
        shift.view(-1)[i] = eps
        gradient.view(-1)[i] = (f(theta + shift) - f(theta - shift)) / (2 * eps)
    return gradient


def _reversed(items: Sequence) -> list:
    return list(reversed(items))


def _check_shapes(X: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], n_activations: int) -> None:
    if not len(weights) == len(biases) == n_activations:
        raise ValueError(
            f"Got {len(weights)} weight matrices, {len(biases)} biases and {n_activations} activations; "
            "every layer needs one of each."
        )
    if X.dim() != 2:
        raise ValueError(f"X has shape {tuple(X.shape)}; it needs (samples, features). For one sample use X[None, :].")
    expect.floats(
        X=X, **{f"W_{i}": W for i, W in enumerate(weights, 1)}, **{f"b_{i}": b for i, b in enumerate(biases, 1)}
    )
    width = X.shape[1]
    for i, (W, b) in enumerate(zip(weights, biases, strict=True), start=1):
        if W.dim() != 2 or W.shape[1] != width:
            raise ValueError(f"W of layer {i} has shape {tuple(W.shape)}; {width} features need (outputs, {width}).")
        if tuple(b.shape) != (W.shape[0],):
            raise ValueError(f"b of layer {i} has shape {tuple(b.shape)}; its W needs ({W.shape[0]},).")
        width = W.shape[0]
