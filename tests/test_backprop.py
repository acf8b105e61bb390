"""Backpropagation by hand against autograd, finite differences, and worked examples whose numbers are in print."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from helpers import backprop

TORCH_ACTIVATIONS = {
    "identity": lambda z: z,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "softplus": lambda z: F.softplus(z, threshold=40),  # above it a straight line; by default from 20 on, 2e-9 off
}
TORCH_LOSSES = {
    "half_sse": lambda y_hat, y: 0.5 * F.mse_loss(y_hat, y, reduction="sum"),
    "half_mse": lambda y_hat, y: F.mse_loss(y_hat, y, reduction="sum") / (2 * len(y)),
    "sse": lambda y_hat, y: F.mse_loss(y_hat, y, reduction="sum"),
    "mse": F.mse_loss,
    "cross_entropy": F.cross_entropy,
}
quick = settings(max_examples=40, deadline=None)


def f64(values):
    return torch.tensor(values, dtype=torch.float64)


@st.composite
def problems(draw, losses=tuple(TORCH_LOSSES)):
    """Inputs, targets and parameters of a random network, the names of its activations, and its loss."""
    widths = draw(st.lists(st.integers(1, 6), min_size=2, max_size=5))
    names = [draw(st.sampled_from(sorted(TORCH_ACTIVATIONS))) for _ in widths[1:]]
    loss, n = draw(st.sampled_from(losses)), draw(st.integers(1, 7))
    g = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    weights = [torch.randn(b, a, generator=g, dtype=torch.float64) for a, b in itertools.pairwise(widths)]
    biases = [torch.randn(b, generator=g, dtype=torch.float64) for b in widths[1:]]
    X = torch.randn(n, widths[0], generator=g, dtype=torch.float64)
    y = torch.randn(n, widths[-1], generator=g, dtype=torch.float64)
    if loss == "cross_entropy":
        y = torch.randint(widths[-1], (n,), generator=g)
    return X, y, weights, biases, names, loss


@pytest.mark.parametrize("z", [-30.0, 0.0, 20.5, 25.0, 60.0])
def test_softplus_has_no_corner(z):
    X, y, W, b = f64([[z]]), f64([[0.0]]), f64([[1.0]]), f64([0.0])
    traced = backprop.trace(X, y, [W], [b], activations=["softplus"], loss_fn="half_sse")
    a = max(z, 0) + math.log1p(math.exp(-abs(z)))
    assert traced.a[1].item() == pytest.approx(a, rel=1e-15)
    assert traced.delta[0].item() == pytest.approx(a / (1 + math.exp(-z)), rel=1e-14)


@quick
@given(problems())
def test_equals_autograd_for_any_network(problem):
    X, y, weights, biases, names, loss = problem
    traced = backprop.trace(X, y, weights, biases, activations=names, loss_fn=loss)

    X, weights, biases = (
        X.clone().requires_grad_(),
        [W.clone().requires_grad_() for W in weights],
        [b.clone().requires_grad_() for b in biases],
    )
    a, kept = X, []
    for W, b, name in zip(weights, biases, names, strict=True):
        z = F.linear(a, W, b)
        a = TORCH_ACTIVATIONS[name](z)
        for tensor in (z, a):
            tensor.retain_grad()
        kept.append((z, a))
    value = TORCH_LOSSES[loss](a, y)
    value.backward()

    close = {"atol": 1e-10, "rtol": 1e-10}
    assert_close(traced.loss, value.detach(), **close)
    assert_close(traced.dL_da[0], X.grad, **close)
    for layer, (z, a) in enumerate(kept):
        assert_close(traced.z[layer], z.detach(), **close)
        assert_close(traced.a[layer + 1], a.detach(), **close)
        assert_close(traced.delta[layer], z.grad, **close)
        assert_close(traced.dL_dW[layer], weights[layer].grad, **close)
        assert_close(traced.dL_db[layer], biases[layer].grad, **close)


@quick
@given(problems())
def test_gradients_have_the_shapes_of_the_parameters(problem):
    X, y, weights, biases, names, loss = problem
    traced = backprop.trace(X, y, weights, biases, activations=names, loss_fn=loss)
    assert [g.shape for g in traced.dL_dW] == [W.shape for W in weights]
    assert [g.shape for g in traced.dL_db] == [b.shape for b in biases]
    assert [d.shape for d in traced.delta] == [z.shape for z in traced.z]
    assert [d.shape for d in traced.dL_da] == [a.shape for a in traced.a]


@quick
@given(problems(losses=("half_sse", "sse")))
def test_a_sum_over_the_batch_is_the_sum_over_its_samples(problem):
    X, y, weights, biases, names, loss = problem
    options = {"activations": names, "loss_fn": loss}
    whole = backprop.trace(X, y, weights, biases, **options)
    parts = [backprop.trace(X[i : i + 1], y[i : i + 1], weights, biases, **options) for i in range(len(X))]
    for layer, gradient in enumerate(whole.dL_dW):
        assert_close(gradient, sum(part.dL_dW[layer] for part in parts), atol=1e-10, rtol=1e-10)


@settings(max_examples=15, deadline=None)
@given(problems(losses=("half_mse", "cross_entropy")))
def test_agrees_with_finite_differences(problem):
    X, y, weights, biases, names, loss = problem
    names = ["softplus" if name == "relu" else name for name in names]  # a difference across the kink is no derivative
    options = {"activations": names, "loss_fn": loss}
    traced = backprop.trace(X, y, weights, biases, **options)

    def loss_at(W):
        return backprop.trace(X, y, [W, *weights[1:]], biases, **options).loss

    assert_close(traced.dL_dW[0], backprop.numerical_gradient(loss_at, weights[0]), atol=1e-6, rtol=1e-5)


def test_a_step_goes_against_the_gradient_and_leaves_the_trace_alone():
    W, b = f64([[3.0]]), f64([1.0])
    traced = backprop.trace(f64([[2.0]]), f64([[5.0]]), [W], [b], activations=["identity"], loss_fn="half_sse")
    weights, biases = traced.step(lr=0.1)
    assert weights[0].item() == pytest.approx(3 - 0.1 * 4)
    assert biases[0].item() == pytest.approx(1 - 0.1 * 2)
    assert traced.weights[0].item() == 3.0
    with pytest.raises(AttributeError):
        traced.loss = torch.zeros(())


def test_relu_has_slope_zero_at_the_kink_as_in_torch():
    z = torch.zeros(1, requires_grad=True)
    torch.relu(z).backward()
    assert backprop.ACTIVATIONS["relu"].derivative(torch.zeros(1), torch.zeros(1)).item() == z.grad.item() == 0.0


def test_own_activation_and_own_loss():
    cube = backprop.Activation("cube", lambda z: z**3, lambda z, a: 3 * z**2)
    loss = backprop.squared_error(1 / 6)
    X, y, W, b = f64([[2.0]]), f64([[5.0]]), f64([[1.5]]), f64([0.0])
    traced = backprop.trace(X, y, [W], [b], activations=[cube], loss_fn=loss)
    assert traced.loss.item() == pytest.approx((27 - 5) ** 2 / 6)
    assert traced.dL_dW[0].item() == pytest.approx(2 / 6 * (27 - 5) * 3 * 9 * 2)


# ---- worked examples in print --------------------------------------------------

SIGMOIDS = {"activations": ["sigmoid", "sigmoid"], "loss_fn": "half_sse"}
START = [f64([[0.15, 0.20], [0.25, 0.30]]), f64([[0.40, 0.45], [0.50, 0.55]])]
SAMPLE = f64([[0.05, 0.10]]), f64([[0.01, 0.99]])


def walkthrough(n_steps=0, *, slip=False, biases_move=False):
    """The 2-2-2 sigmoid network of M. Mazur, after so many updates with learning rate 0.5."""
    weights, biases = list(START), [f64([0.35, 0.35]), f64([0.60, 0.60])]
    X, y = SAMPLE
    for _ in range(n_steps):
        now = backprop.trace(X, y, weights, biases, **SIGMOIDS)
        W1, W2 = now.step(lr=0.5)[0]
        if slip:  # the error terms go back through weights that have already moved
            h = now.a[1]
            W1 = weights[0] - 0.5 * (h * (1 - h) * (now.delta[1] @ W2)).T @ X
        if biases_move:
            biases = [b - 0.5 * g.sum() for b, g in zip(biases, now.dL_db, strict=True)]
        weights = [W1, W2]
    return backprop.trace(X, y, weights, biases, **SIGMOIDS)


@pytest.mark.parametrize(
    ("read", "printed"),
    [
        (lambda t: t.z[0][0], [0.3775, 0.3925]),
        (lambda t: t.a[1][0], [0.593269992, 0.596884378]),
        (lambda t: t.z[1][0], [1.105905967, 1.224921404]),
        (lambda t: t.a[2][0], [0.751365070, 0.772928465]),
        (lambda t: (t.a[2] - SAMPLE[1])[0] ** 2 / 2, [0.274811083, 0.023560026]),
        (lambda t: t.loss, 0.298371109),
        (lambda t: t.dL_dW[1][0, 0], 0.082167041),
        (lambda t: t.dL_dW[0][0, 0], 0.000438568),
        (lambda t: t.step(lr=0.5)[0][1], [[0.358916480, 0.408666186], [0.511301270, 0.561370121]]),
        (lambda t: t.step(lr=0.5)[0][0][0, 0], 0.149780716),
        (lambda t: torch.stack([g.sum() for g in t.dL_db]), [0.018725609, 0.100400325]),
    ],
)
def test_the_walkthrough_to_nine_digits(read, printed):
    assert_close(read(walkthrough()), f64(printed), atol=5.1e-10, rtol=0)


def test_the_error_after_one_step_and_the_slip_in_print():
    assert walkthrough(1).loss.item() == pytest.approx(0.29102777369359933, abs=1e-12)
    assert walkthrough(1, slip=True).loss.item() == pytest.approx(0.291027924, abs=5.1e-10)
    assert walkthrough(1, biases_move=True).loss.item() == pytest.approx(0.2857508866992965, abs=1e-12)


@pytest.mark.slow
def test_ten_thousand_steps_of_the_walkthrough():
    right, before = walkthrough(10_000), walkthrough(9_999)
    assert_close(right.y_hat[0], f64([0.01591362044355068, 0.9840642735146238]), atol=1e-10, rtol=0)
    assert before.loss.item() == pytest.approx(0.0000351085, abs=5.1e-11)
    slipped = walkthrough(10_000, slip=True)
    assert_close(slipped.y_hat[0], f64([0.015912196, 0.984065734]), atol=5.1e-10, rtol=0)
    assert slipped.loss.item() == pytest.approx(0.000035085, abs=5.1e-10)
    assert walkthrough(10_000, biases_move=True).loss.item() == pytest.approx(4.355321066163751e-06, abs=1e-12)


RELU = {"activations": ["relu", "identity"], "loss_fn": "half_mse"}
BATCH = f64([[1, 2], [3, 4]]), f64([[10], [20]])
BATCH_START = [f64([[1, -1], [2, 0]]), f64([[1, 2]])], [f64([0.5, -0.5]), f64([0.0])]


def test_the_batch_of_two():
    t = backprop.trace(*BATCH, *BATCH_START, **RELU)
    expected = {
        "z": [[[-0.5, 1.5], [-0.5, 5.5]], [[3.0], [11.0]]],
        "dL_da": [None, [[-3.5, -7.0], [-4.5, -9.0]], [[-3.5], [-4.5]]],
        "delta": [[[0.0, -7.0], [0.0, -9.0]], [[-3.5], [-4.5]]],
        "dL_dW": [[[0.0, 0.0], [-34.0, -50.0]], [[0.0, -30.0]]],
        "dL_db": [[0.0, -16.0], [-8.0]],
    }
    for name, values in expected.items():
        for layer, value in enumerate(values):
            if value is not None:
                assert_close(getattr(t, name)[layer], f64(value), atol=1e-12, rtol=0)
    assert t.loss.item() == 32.5
    (W1, W2), (b1, b2) = t.step(lr=0.01)
    for moved, value in ((W1, [[1, -1], [2.34, 0.5]]), (W2, [[1, 2.3]]), (b1, [0.5, -0.34]), (b2, [0.08])):
        assert_close(moved, f64(value), atol=1e-12, rtol=0)
    later = backprop.trace(*BATCH, [W1, W2], [b1, b2], **RELU)
    assert_close(later.y_hat, f64([[6.98], [20.044]]), atol=1e-12, rtol=0)
    assert later.loss.item() == pytest.approx(2.280584, abs=1e-12)


@pytest.mark.parametrize(
    ("sample", "dW1", "db1", "dW2", "db2", "loss"),
    [
        (0, [[0, 0], [-14, -28]], [0, -14], [[0, -10.5]], [-7], 24.5),
        (1, [[0, 0], [-54, -72]], [0, -18], [[0, -49.5]], [-9], 40.5),
    ],
)
def test_the_two_samples_alone(sample, dW1, db1, dW2, db2, loss):
    X, y = (part[sample : sample + 1] for part in BATCH)
    t = backprop.trace(X, y, *BATCH_START, **RELU)
    for got, value in ((t.dL_dW[0], dW1), (t.dL_db[0], db1), (t.dL_dW[1], dW2), (t.dL_db[1], db2), (t.loss, loss)):
        assert_close(got, f64(value), atol=1e-12, rtol=0)


def test_the_lecture_example():
    weights = [f64([[1, -2], [-1, 1]]), f64([[2, -1], [-2, -1]]), f64([[3, -1], [-1, 4]])]
    biases = [f64([1, 0]), f64([0, 0]), f64([-2, 2])]
    _, a = backprop.forward(f64([[1, -1], [0, 0]]), weights, biases, ["sigmoid"] * 3)
    for got, printed in zip(a[1:], ([0.98, 0.12], [0.86, 0.11], [0.62, 0.83]), strict=True):
        assert_close(got[0], f64(printed), atol=0.005, rtol=0)
    assert_close(a[3][1], f64([0.51, 0.85]), atol=0.005, rtol=0)


# ---- mistakes of the caller --------------------------------------------------


def call(**changes):
    given = {
        "X": torch.zeros(5, 3),
        "y": torch.zeros(5, 2),
        "weights": [torch.zeros(4, 3), torch.zeros(2, 4)],
        "biases": [torch.zeros(4), torch.zeros(2)],
        "activations": ["tanh", "identity"],
        "loss_fn": "mse",
    }
    return backprop.trace(**(given | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"X": torch.zeros(3)}, r"X has shape \(3,\).*X\[None, :\]"),
        ({"weights": [torch.zeros(3, 4), torch.zeros(2, 4)]}, r"W of layer 1 has shape \(3, 4\).*\(outputs, 3\)"),
        ({"weights": [torch.zeros(4, 3), torch.zeros(2, 5)]}, r"W of layer 2 has shape \(2, 5\).*4 features"),
        ({"biases": [torch.zeros(3), torch.zeros(2)]}, r"b of layer 1 has shape \(3,\).*\(4,\)"),
        ({"biases": [torch.zeros(4)]}, "2 weight matrices, 1 biases and 2 activations"),
        ({"y": torch.zeros(5)}, r"y has shape \(5,\), but mse of this network needs \(5, 2\)"),
        ({"loss_fn": "cross_entropy"}, r"cross_entropy of this network needs \(5,\)"),
        ({"loss_fn": "rmse"}, "'rmse' is not a known loss.*half_mse"),
        ({"activations": ["tanh", "softsign"]}, "'softsign' is not a known activation.*sigmoid"),
    ],
)
def test_a_mistake_is_named(changes, message):
    with pytest.raises(ValueError, match=message):
        call(**changes)


def test_numerical_gradient_refuses_integers():
    with pytest.raises(TypeError, match="floating-point numbers are needed"):
        backprop.numerical_gradient(lambda w: w.sum(), torch.tensor([1, 2]))


@pytest.mark.parametrize(("theta", "eps"), [(1000.0, 1e-5), (1.0, 1e-9)])
def test_numerical_gradient_refuses_a_distance_that_rounding_swallows(theta, eps):
    """In float32 both evaluations would be at one point, and the gradient of anything 0."""
    with pytest.raises(ValueError, match=r"is lost beside a theta of torch\.float32"):
        backprop.numerical_gradient(lambda w: (w**2).sum(), torch.tensor([theta]), eps=eps)


def test_weights_may_be_stacked_into_one_tensor():
    g = torch.Generator().manual_seed(0)
    W, b, X, y = (torch.randn(*size, generator=g) for size in ((3, 4, 4), (3, 4), (5, 4), (5, 4)))
    options = {"activations": ["tanh"] * 3, "loss_fn": "mse"}
    stacked = backprop.trace(X, y, W, b, **options)
    W.requires_grad_()
    a = X
    for W_l, b_l in zip(W, b, strict=True):
        a = torch.tanh(a @ W_l.T + b_l)
    torch.nn.functional.mse_loss(a, y).backward()
    torch.testing.assert_close(torch.stack(stacked.dL_dW), W.grad)
    assert len(stacked.weights) == len(stacked.biases) == 3
    with pytest.raises(ValueError, match="Got 2 weight matrices, 3 biases"):
        backprop.forward(X, W[:2], b, ["tanh"] * 3)
