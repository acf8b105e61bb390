"""Stacks of dense layers, plain and residual, that are small enough to be measured in every layer.

A `DenseStack` holds many equal networks side by side, one for each seed or learning rate, and computes them all in one
batched product. The blocks follow K. He, X. Zhang, S. Ren and J. Sun, *Deep Residual Learning for Image Recognition*,
CVPR 2016, and *Identity Mappings in Deep Residual Networks*, ECCV 2016.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from helpers import expect

SKIPS = ("plain", "original", "pre-activation")
NORMS = ("none", "batch")
ACTIVATIONS: dict[str, tuple[Callable[[Tensor], Tensor], float]] = {
    "relu": (torch.relu, 2.0),
    "tanh": (torch.tanh, 1.0),
}
"""Each activation with the variance of its weights times fan-in (He for ReLU, LeCun for tanh)."""
_EPS = 1e-5  # of nn.BatchNorm1d


def _one_of(name: str, value: object, known: Sequence[str]) -> None:
    if value not in known:
        raise ValueError(f"{name} is one of {', '.join(known)}, not {value!r}")


class DenseStack(nn.Module):
    """Equal networks side by side: one dense layer, blocks of two dense layers, one dense layer to the classes.

    Parameters
    ----------
    depth : int
        Layers with weights, an even number from 4 on: 2 + 2 for each block.
    skip : {"plain", "original", "pre-activation"}
        A block is phi(f(x)), phi(x + f(x)), or x + f(x) with normalisation and activation in front of the weights.
    norm : {"batch", "none"}
        "none" leaves only a bias.
    activation : {"relu", "tanh"}
    n_models : int
        Networks; each has its own weights.
    width, inputs, classes : int
    weights : {"He", "nn.Linear"}
        Variance 2/fan-in for ReLU and 1/fan-in for tanh, or PyTorch's own 1/(3 fan-in). The last layer has 1/fan-in.
    zero_gamma : bool
        Begin with the last scale of each block at 0, so that each block begins as the identity; for "original" only.

    Notes
    -----
    Inside, a signal has shape (n_models, width, n): the batch comes last. In training, batch normalisation uses the
    batch itself; after :meth:`freeze` it uses the statistics of the examples given there.

    Examples
    --------
    >>> stack = DenseStack(8, n_models=5)
    >>> tuple(stack(torch.zeros(3, 64)).shape), stack.n_blocks
    ((5, 3, 10), 3)
    """

    def __init__(
        self, depth: int, *, skip: str = "plain", norm: str = "batch", activation: str = "relu", n_models: int = 1,
        width: int = 32, inputs: int = 64, classes: int = 10, weights: str = "He", zero_gamma: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        if not isinstance(depth, int) or depth < 4 or depth % 2:
            raise ValueError(f"depth is an even number from 4 on, not {depth!r}")
        expect.whole(n_models=n_models, width=width, inputs=inputs, classes=classes, least=1)
        _one_of("skip", skip, SKIPS)
        _one_of("norm", norm, NORMS)
        _one_of("activation", activation, tuple(ACTIVATIONS))
        _one_of("weights", weights, ("He", "nn.Linear"))
        if zero_gamma and (skip != "original" or norm != "batch"):
            raise ValueError("zero_gamma needs skip='original' and norm='batch': elsewhere it would stop all learning")
        self.n_blocks, self.skip, self.norm = depth // 2 - 1, skip, norm
        self.phi, scale = ACTIVATIONS[activation]

        def fill(*shape: int) -> nn.Parameter:
            if weights == "He":
                return nn.Parameter(torch.randn(*shape) * math.sqrt(scale / shape[-1]))
            return nn.Parameter(torch.empty(*shape).uniform_(-1, 1) / math.sqrt(shape[-1]))

        self.stem = fill(n_models, width, inputs)
        self.weight = fill(depth - 2, n_models, width, width)
        self.beta = nn.Parameter(torch.zeros(depth - 1, n_models, width, 1))
        self.gamma = nn.Parameter(torch.ones(depth - 1, n_models, width, 1)) if norm == "batch" else None
        self.head = nn.Parameter(torch.randn(n_models, classes, width) / math.sqrt(width))
        self.bias = nn.Parameter(torch.zeros(n_models, classes, 1))
        self.statistics: list[tuple[Tensor, Tensor]] | None = None
        self._recorded: list[tuple[Tensor, Tensor]] | None = None
        if zero_gamma:
            self.gamma.data[2::2] = 0

    def forward(self, X: Tensor, *, remove: int | None = None) -> Tensor:
        """Compute the logits, shape (n_models, n, classes), of `X`: (n, inputs), or (n_models, n, inputs).

        ``remove`` is the number of a block to leave out, from 0.
        """
        return self.readout(self.signals(X, remove=remove)[-1])

    def readout(self, x: Tensor) -> Tensor:
        """Compute the logits from the last signal."""
        if self.skip == "pre-activation":
            x = self.phi(self._layers()[1](x, len(self.beta) - 1))
        return torch.baddbmm(self.bias, self.head, x).transpose(1, 2)

    def signals(self, X: Tensor, *, remove: int | None = None) -> list[Tensor]:
        """Compute what enters the first block, and what leaves each: n_blocks + 1 of shape (n_models, width, n)."""
        expect.floats(X=X, weights=self.stem)
        if not X.ndim or X.shape[-1] != self.stem.shape[-1] or X.dim() not in (2, 3):
            raise ValueError(f"X has shape (..., {self.stem.shape[-1]}) with 2 or 3 axes, not {tuple(X.shape)}")
        if remove is not None and not 0 <= remove < self.n_blocks:
            raise ValueError(f"remove is the number of a block, 0 to {self.n_blocks - 1}, not {remove}")
        layers = self._layers()
        x = self.stem @ X.transpose(-1, -2)
        signals = [x if self.skip == "pre-activation" else self.phi(layers[1](x, 0))]
        for k in range(self.n_blocks):
            signals.append(signals[-1] if k == remove else self._block(k, signals[-1], layers))
        return signals

    def branch(self, k: int, x: Tensor) -> Tensor:
        """Compute f of block `k`, what the block adds to its input `x` of shape (n_models, width, n)."""
        return self._branch(k, x, self._layers())

    @torch.no_grad()
    def freeze(self, X: Tensor | None) -> DenseStack:
        """Use from now on the means and variances (divided by n) that `X` has in every layer; return the stack.

        None goes back to the statistics of each batch.
        """
        self.statistics = None
        if X is not None and self.norm == "batch":
            self._recorded = []
            self(X)
            self.statistics, self._recorded = self._recorded, None
        return self

    def _layers(self) -> tuple[tuple[Tensor, ...], Callable[[Tensor, int], Tensor]]:
        """The weights, and the normalisation that stands at place k."""
        shifts = self.beta.unbind()  # one node of the graph for all layers: far faster backwards than beta[k]
        scales = self.gamma.unbind() if self.gamma is not None else ()

        def normalise(z: Tensor, k: int) -> Tensor:
            if self.norm == "none":
                return z + shifts[k]
            if self.statistics is not None:
                mean, std = self.statistics[k]
                return torch.addcmul(shifts[k], (z - mean) / std, scales[k])
            if self._recorded is not None:
                var, mean = torch.var_mean(z, dim=-1, correction=0, keepdim=True)
                self._recorded.append((mean, (var + _EPS).sqrt()))
            return torch.addcmul(shifts[k], F.layer_norm(z, z.shape[-1:], eps=_EPS), scales[k])  # the batch is last

        return self.weight.unbind(), normalise

    def _branch(self, k: int, x: Tensor, layers: tuple) -> Tensor:
        (weights, normalise), phi = layers, self.phi
        if self.skip == "pre-activation":
            h = weights[2 * k] @ phi(normalise(x, 2 * k))
            return weights[2 * k + 1] @ phi(normalise(h, 2 * k + 1))
        h = phi(normalise(weights[2 * k] @ x, 2 * k + 1))
        return normalise(weights[2 * k + 1] @ h, 2 * k + 2)

    def _block(self, k: int, x: Tensor, layers: tuple) -> Tensor:
        f = self._branch(k, x, layers)
        if self.skip == "pre-activation":
            return x + f
        return self.phi(x + f if self.skip == "original" else f)


def losses(stack: DenseStack, X: Tensor, y: Tensor) -> Tensor:
    """Mean cross-entropy of each network, shape (n_models,), for classes `y` of shape (n,) or (n_models, n)."""
    return _losses(stack(X), y)


def _losses(logits: Tensor, y: Tensor) -> Tensor:
    if y.shape not in (logits.shape[:2], logits.shape[1:2]):
        raise ValueError(f"y has shape {tuple(y.shape)}, but the logits of these networks are {tuple(logits.shape)}")
    expect.target(y, logits, classes=True, name="y")
    per_example = F.cross_entropy(logits.flatten(0, 1), y.expand(logits.shape[:2]).flatten(), reduction="none")
    return per_example.view(logits.shape[:2]).mean(dim=1)


def gradient_norms(stack: DenseStack, X: Tensor, y: Tensor) -> Tensor:
    """Norm of the loss's gradient in each weight matrix of each network, first layer first: shape (n_models, depth).

    Examples
    --------
    >>> gradient_norms(DenseStack(8), torch.randn(20, 64), torch.arange(20) % 10).shape
    torch.Size([1, 8])
    """
    matrices = (stack.stem, stack.weight, stack.head)
    stem, weight, head = torch.autograd.grad(losses(stack, X, y).sum(), matrices)
    return torch.stack([matrix.norm(dim=(1, 2)) for matrix in (stem, *weight, head)], dim=1)


def path_gradients(stack: DenseStack, X: Tensor, y: Tensor) -> Tensor:
    """Split the loss's gradient in the first signal by the number of branches that a path goes through.

    With J_k the Jacobian of branch k, the gradient is (I + J_1)^T ... (I + J_K)^T g. Multiplied out it has 2^K terms,
    one for each path (A. Veit, M. Wilber and S. Belongie, *Residual Networks Behave Like Ensembles of Relatively
    Shallow Networks*, NIPS 2016); the sums over all terms with the same number of factors J need only K passes.

    Parameters
    ----------
    stack : DenseStack
        Pre-activation, so that nothing stands between the additions; frozen, so that examples do not mix.
    X, y : Tensor
        Inputs (n, inputs) and classes (n,).

    Returns
    -------
    Tensor of shape (n_blocks + 1, n_models, width, n)
        Entry j: all paths through j branches. The sum over j is the gradient.
    """
    if stack.skip != "pre-activation" or (stack.norm == "batch" and stack.statistics is None):
        raise ValueError("path_gradients needs skip='pre-activation', and with batch normalisation freeze() before it")
    if X.ndim != 2 or not len(X):
        raise ValueError(f"X has shape {tuple(X.shape)}; path_gradients takes one example or more, (n, inputs)")
    signals = stack.signals(X)
    top = signals[-1].detach().requires_grad_()
    terms = [torch.autograd.grad(_losses(stack.readout(top), y).sum(), top)[0]]
    for k in reversed(range(stack.n_blocks)):
        x = signals[k].detach().repeat(1, 1, len(terms)).requires_grad_()
        (through,) = torch.autograd.grad(stack.branch(k, x), x, torch.cat(terms, dim=-1))
        zero = torch.zeros_like(terms[0])
        terms = [a + b for a, b in zip([*terms, zero], [zero, *through.split(len(X), dim=-1)], strict=True)]
    return torch.stack(terms)
