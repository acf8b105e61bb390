"""Cases for `hostile`: functions that compute with tensors, each beside another way to the same numbers."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from hostile import Case, double, normal, uniform

from helpers import backprop, conv_arithmetic, losses, piecewise, recurrence, shapes, text, training


def by_autograd(value, *parameters):
    return torch.autograd.grad(value, parameters, allow_unused=True, materialize_grads=True)


def right_kl(p, q, base):
    tol = 1e-2 if min(p.itemsize, q.itemsize) == 2 else 1e-5
    p, q = double(p), double(q)
    assert p.ndim
    assert q.shape[-1] == p.shape[-1]
    assert math.isfinite(base)
    assert base > 0
    assert base != 1
    for each in (p, q):
        assert bool((each >= 0).all())
        assert torch.allclose(each.sum(-1), torch.ones(()).double(), atol=tol)
    return (torch.xlogy(p, p) - torch.xlogy(p, q)).sum(-1) / math.log(base)


def right_entropy(p, base):
    right_kl(p, p, base)
    return torch.special.entr(double(p)).sum(-1) / math.log(base)


def right_cross_entropy(logits, target, weight, ignore_index, label_smoothing, reduction):
    options = {"ignore_index": ignore_index, "label_smoothing": label_smoothing, "reduction": reduction}
    if target.dtype != torch.int64 or logits.ndim != 2:
        raise TypeError("not what it takes")
    return F.cross_entropy(double(logits), target, double(weight), **options)


def right_bce(logits, target, reduction):
    if logits.shape != target.shape:
        raise ValueError("broadcast")
    return F.binary_cross_entropy_with_logits(double(logits), double(target), reduction=reduction)


def mlp(X, W1, W2, b1, b2, y=None):
    X, W1, W2, b1, b2 = (double(t).requires_grad_() for t in (X, W1, W2, b1, b2))
    assert X.dim() == W1.dim() == W2.dim() == 2
    assert b1.shape == W1.shape[:1]
    assert b2.shape == W2.shape[:1]
    z1 = X @ W1.T + b1
    a1 = torch.tanh(z1)
    z2 = a1 @ W2.T + b2
    if y is None:
        return (z1, z2), (X, a1, z2)
    y = double(y)
    assert y.shape == z2.shape
    loss = 0.5 * (z2 - y).square().sum()
    g = by_autograd(loss, X, W1, W2, b1, b2)
    return {"loss": loss, "z": (z1, z2), "dL_dW": g[1:3], "dL_db": g[3:], "dL_da": (g[0], ..., ...)}


def rnn(x, W_xh, W_hh, W_hy=None, target=None, h0=None):
    x, W_xh, W_hh, h0 = (double(t).requires_grad_() for t in (x, W_xh, W_hh, h0))
    assert x.dim() == 3
    assert W_hh.dim() == W_xh.dim() == 2
    assert h0.shape == (x.shape[1], len(W_hh))
    assert W_xh.shape == (len(W_hh), x.shape[2])
    h, z = [h0], []
    for x_t in x:
        z.append(x_t @ W_xh.T + h[-1] @ W_hh.T)
        h.append(z[-1].tanh())
    if W_hy is None:
        return torch.stack(z), torch.stack(h)
    W_hy, target = double(W_hy).requires_grad_(), double(target)
    assert W_hy.shape[1] == len(W_hh)
    y = torch.stack(h[1:]) @ W_hy.T
    y = y if target.shape == y.shape else y[-1]
    assert y.shape == target.shape
    loss = 0.5 * (y - target).square().sum()
    names = ("W_xh", "W_hh", "W_hy")
    return {"loss": loss, "grad": dict(zip(names, by_autograd(loss, W_xh, W_hh, W_hy), strict=True))}


def right_conv(x, weight, bias, stride, padding, dilation):
    assert x.dim() == weight.dim() == 4
    assert 0 not in weight.shape[2:]
    assert all(isinstance(v, int) for v in (stride, padding, dilation))
    if bias is not None:
        assert bias.shape == (len(weight),)
    return F.conv2d(double(x), double(weight), double(bias), stride=stride, padding=padding, dilation=dilation)


def right_conv_gradients(x, weight, dL_dy, stride, padding, dilation):
    x, weight = double(x).requires_grad_(), double(weight).requires_grad_()
    y = right_conv(x, weight, None, stride, padding, dilation)
    assert y.shape == dL_dy.shape
    y = F.conv2d(x, weight, stride=stride, padding=padding, dilation=dilation)
    gradients = torch.autograd.grad(y, (x, weight), double(dL_dy))
    return {"x": gradients[0], "weight": gradients[1], "bias": double(dL_dy).sum((0, 2, 3))}


def right_patches(x, kernel_size, stride, padding, dilation):
    assert x.dim() == 4
    assert all(isinstance(v, int) for v in (kernel_size, stride, padding, dilation))
    x, k = double(x), kernel_size
    size = [(n + 2 * padding - dilation * (k - 1) - 1) // stride + 1 for n in x.shape[2:]]
    columns = F.unfold(F.pad(x, [padding] * 4), k, stride=stride, dilation=dilation)
    return columns.reshape(*x.shape[:2], k, k, *size).permute(0, 1, 4, 5, 2, 3)


def right_matrix(kernel, input_shape):
    assert kernel.dim() == 2
    assert all(isinstance(n, int) for n in input_shape)
    eye = torch.eye(math.prod(input_shape)).double().reshape(-1, 1, *input_shape)
    return F.conv2d(eye, double(kernel)[None, None]).flatten(1).T


def right_gradient(theta, eps):
    theta = double(theta).requires_grad_()
    assert 0 < eps < math.inf
    return by_autograd((theta**2).sum(), theta)[0] + 0 * theta.sum()


def right_broadcast(reading_of):
    return {"slots": ..., "values": ..., "stride": ..., "contiguous": ...} if reading_of.dim() in (1, 2) else 1 / 0


def right_pad(sequences, value):
    longest = max(len(s) for s in sequences)
    assert min(len(s) for s in sequences)
    assert len({s.shape[1:] for s in sequences}) == len({s.dtype for s in sequences}) == 1
    data = torch.full((len(sequences), longest, *sequences[0].shape[1:]), float(value)).double()
    for row, sequence in zip(data, sequences, strict=True):
        row[: len(sequence)] = double(sequence)
    return {"data": data, "lengths": torch.tensor([len(s) for s in sequences])}


def right_accuracy(outputs, targets):
    assert targets.shape == outputs[:, 0].shape
    return double(outputs).argmax(1) == double(targets)


def right_interp(x, y, at=(-3.0, 0.25, 1.5, 9.0)):
    x, y = double(x), double(y)
    assert x.dim() == y.dim() == 1
    assert len(x) == len(y) > 1
    assert bool(x.isfinite().all() and y.isfinite().all() and (x.diff() > 0).all())
    return torch.from_numpy(np.interp(at, x, y))


AT = torch.tensor([-3.0, 0.25, 1.5, 9.0], dtype=torch.float64)
CASES = [
    Case("losses.entropy", losses.entropy, {"p": normal(4, 3).softmax(1), "base": 2.0}, right_entropy),
    Case(
        "losses.kl",
        losses.kl,
        {"p": normal(4, 3).softmax(1), "q": normal(4, 3).softmax(1), "base": 2.0},
        right_kl,
    ),
    Case(
        "losses.cross_entropy",
        losses.cross_entropy,
        {
            "logits": normal(4, 3),
            "target": torch.tensor([0, 2, -100, 1]),
            "weight": torch.tensor([1.0, 2.0, 0.5]),
            "ignore_index": -100,
            "label_smoothing": 0.1,
            "reduction": "mean",
        },
        right_cross_entropy,
    ),
    Case(
        "losses.bce_with_logits",
        losses.bce_with_logits,
        {"logits": normal(4, 3), "target": uniform(4, 3), "reduction": "sum"},
        right_bce,
    ),
    Case(
        "backprop.forward",
        lambda X, W1, W2, b1, b2: backprop.forward(X, [W1, W2], [b1, b2], ["tanh", "identity"]),
        {"X": normal(4, 3), "W1": normal(5, 3), "W2": normal(2, 5), "b1": normal(5), "b2": normal(2)},
        mlp,
    ),
    Case(
        "backprop.trace",
        lambda X, y, W1, W2, b1, b2: backprop.trace(
            X, y, [W1, W2], [b1, b2], activations=["tanh", "identity"], loss_fn="half_sse"
        ),
        {
            "X": normal(4, 3),
            "W1": normal(5, 3),
            "W2": normal(2, 5),
            "b1": normal(5),
            "b2": normal(2),
            "y": normal(4, 2),
        },
        mlp,
    ),
    Case(
        "backprop.numerical_gradient",
        lambda theta, eps: backprop.numerical_gradient(lambda t: (t**2).sum(), theta, eps=eps),
        {"theta": normal(3, 2).double(), "eps": 1e-5},
        right_gradient,
        leave_out="10,000",
        tol=1e-6,
    ),
    Case(
        "recurrence.forward",
        recurrence.forward,
        {"x": normal(4, 3, 2), "W_xh": normal(5, 2), "W_hh": normal(5, 5), "h0": normal(3, 5)},
        rnn,
    ),
    Case(
        "recurrence.trace",
        recurrence.trace,
        {
            "x": normal(4, 3, 2),
            "target": normal(3, 1),
            "W_xh": normal(5, 2),
            "W_hh": normal(5, 5),
            "W_hy": normal(1, 5),
            "h0": normal(3, 5),
        },
        rnn,
    ),
    Case(
        "conv_arithmetic.patches",
        conv_arithmetic.patches,
        {"x": normal(2, 3, 5, 6), "kernel_size": 3, "stride": 2, "padding": 1, "dilation": 1},
        right_patches,
    ),
    *(
        Case(
            f"conv_arithmetic.{name}",
            getattr(conv_arithmetic, name),
            {
                "x": normal(1, 2, 4, 4),
                "weight": normal(2, 2, 2, 3),
                "bias": normal(2),
                "stride": 1,
                "padding": 1,
                "dilation": 1,
            },
            right_conv,
            leave_out="10,000" if "loops" in name else "",
        )
        for name in ("conv2d", "conv2d_loops")
    ),
    Case(
        "conv_arithmetic.conv2d_gradients",
        conv_arithmetic.conv2d_gradients,
        {
            "x": normal(2, 2, 4, 5),
            "weight": normal(3, 2, 2, 2),
            "dL_dy": normal(2, 3, 3, 4),
            "stride": 1,
            "padding": 0,
            "dilation": 1,
        },
        right_conv_gradients,
    ),
    Case(
        "conv_arithmetic.convolution_matrix",
        conv_arithmetic.convolution_matrix,
        {"kernel": normal(2, 2), "input_shape": (3, 4)},
        right_matrix,
    ),
    Case(
        "shapes.read_memory",
        lambda tensor: shapes.read_memory(tensor),
        {"tensor": normal(3, 2)},
        lambda tensor: right_broadcast(tensor),
    ),
    Case("text.pad", text.pad, {"sequences": [normal(2), normal(4)], "value": 0.0}, right_pad),
    Case(
        "text.mask",
        text.mask,
        {"lengths": torch.tensor([2, 3]), "n_steps": 4},
        lambda lengths, n_steps: torch.arange(n_steps) < double(lengths)[:, None],
    ),
    *(
        Case(
            f"piecewise.{make.__name__}",
            lambda x, y, make=make, options=options: make(x, y, **options)(AT),
            {"x": torch.tensor([0.0, 1.0, 3.0]), "y": torch.tensor([1.0, 3.0, 2.0])},
            right_interp,
        )
        for make, options in ((piecewise.hard_sigmoids_through, {}), (piecewise.relus_through, {"flat_right": True}))
    ),
    Case(
        "training.accuracy",
        training.accuracy,
        {"outputs": normal(4, 3), "targets": torch.tensor([0, 2, 1, 1])},
        lambda outputs, targets: right_accuracy(outputs, targets),
    ),
]
