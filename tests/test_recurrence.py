"""Backpropagation through time against autograd, `nn.RNN`, finite differences, and a worked example done on paper."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from helpers import recurrence
from helpers.backprop import Activation, numerical_gradient, squared_error

TORCH_ACTIVATIONS = {"identity": lambda z: z, "sigmoid": torch.sigmoid, "tanh": torch.tanh, "relu": torch.relu}
TORCH_LOSSES = {
    "half_sse": lambda y_hat, y: 0.5 * F.mse_loss(y_hat, y, reduction="sum"),
    "mse": F.mse_loss,
    "cross_entropy": F.cross_entropy,
}
NAMES = ("W_xh", "W_hh", "W_hy", "b", "b_y")
quick = settings(max_examples=40, deadline=None)
close = {"atol": 1e-10, "rtol": 1e-10}


def f64(values):
    return torch.tensor(values, dtype=torch.float64)


@st.composite
def problems(draw, activations=tuple(TORCH_ACTIVATIONS), losses=tuple(TORCH_LOSSES)):
    """Sequences, a target, parameters, an initial state and options of a random recurrent layer."""
    n_steps, n, d, hidden, k = (draw(st.integers(1, top)) for top in (5, 4, 3, 4, 3))
    g = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))

    def random(*shape):
        return torch.randn(*shape, generator=g, dtype=torch.float64)

    parameters = {
        "W_xh": random(hidden, d),
        "W_hh": 0.5 * random(hidden, hidden),
        "W_hy": random(k, hidden),
        "b": random(hidden),
        "b_y": random(k),
    }
    loss = draw(st.sampled_from(losses))
    steps = (n_steps,) if draw(st.booleans()) else ()
    target = torch.randint(k, (*steps, n), generator=g) if loss == "cross_entropy" else random(*steps, n, k)
    options = {
        "activation": draw(st.sampled_from(activations)),
        "loss_fn": loss,
        "detach_at": draw(st.sets(st.integers(0, n_steps - 1))),
    }
    return random(n_steps, n, d), target, parameters, random(n, hidden), options


def with_autograd(x, target, parameters, h0, options):
    """Parameters, states, sums and the loss of the same layer, with their gradients filled in by autograd."""
    leaves = {name: tensor.clone().requires_grad_() for name, tensor in parameters.items()}
    h, z, y_hat = [h0.clone().requires_grad_()], [], []
    for t, x_t in enumerate(x):
        before = h[-1].detach() if t in options["detach_at"] else h[-1]
        z.append(F.linear(x_t, leaves["W_xh"], leaves["b"]) + F.linear(before, leaves["W_hh"]))
        h.append(TORCH_ACTIVATIONS[options["activation"]](z[-1]))
        y_hat.append(F.linear(h[-1], leaves["W_hy"], leaves["b_y"]))
        for tensor in (z[-1], h[-1], y_hat[-1]):
            tensor.retain_grad()
    every = target.dim() == (2 if options["loss_fn"] == "cross_entropy" else 3)
    flat = torch.cat(y_hat) if every else y_hat[-1]
    loss = TORCH_LOSSES[options["loss_fn"]](flat, target.flatten(0, 1) if every else target)
    loss.backward()
    return leaves, h, z, y_hat, loss


def filled(tensor):
    return torch.zeros_like(tensor) if tensor.grad is None else tensor.grad


@quick
@given(problems())
def test_equals_autograd_for_any_sequence_and_any_cut(problem):
    x, target, parameters, h0, options = problem
    traced = recurrence.trace(x, target, **parameters, h0=h0, **options)
    leaves, h, z, y_hat, loss = with_autograd(*problem)
    assert_close(traced.loss, loss.detach(), **close)
    for name, leaf in leaves.items():
        assert_close(traced.grad[name], filled(leaf), **close)
    assert_close(traced.dL_dh, torch.stack([filled(state) for state in h]), **close)
    assert_close(traced.delta, torch.stack([filled(sums) for sums in z]), **close)
    assert_close(traced.dL_dy, torch.stack([filled(output) for output in y_hat]), **close)
    assert_close(traced.h, torch.stack(h).detach(), **close)
    assert_close(traced.z, torch.stack(z).detach(), **close)


@quick
@given(problems())
def test_shapes(problem):
    x, target, parameters, h0, options = problem
    traced = recurrence.trace(x, target, **parameters, h0=h0, **options)
    (n_steps, n, d), (k, hidden) = x.shape, parameters["W_hy"].shape
    assert traced.x.shape == (n_steps, n, d)
    assert traced.h.shape == traced.dL_dh.shape == (n_steps + 1, n, hidden)
    assert traced.z.shape == traced.slope.shape == traced.delta.shape == (n_steps, n, hidden)
    assert traced.y_hat.shape == traced.dL_dy.shape == (n_steps, n, k)
    assert traced.jacobian.shape == (n_steps, n, hidden, hidden)
    assert traced.loss.shape == ()
    for name in NAMES:
        assert traced.grad[name].shape == parameters[name].shape
        assert traced.terms[name].shape == (n_steps, *parameters[name].shape)


@quick
@given(problems(activations=("tanh", "relu")))
def test_states_are_those_of_nn_rnn(problem):
    x, _, parameters, h0, options = problem
    hidden, d = parameters["W_xh"].shape
    rnn = torch.nn.RNN(d, hidden, nonlinearity=options["activation"], dtype=torch.float64)
    with torch.no_grad():
        rnn.weight_ih_l0.copy_(parameters["W_xh"])
        rnn.weight_hh_l0.copy_(parameters["W_hh"])
        rnn.bias_ih_l0.copy_(parameters["b"] - 0.25)
        rnn.bias_hh_l0.fill_(0.25)  # only the sum of the two biases counts
        output, h_n = rnn(x, h0[None])
    _, h = recurrence.forward(
        x, parameters["W_xh"], parameters["W_hh"], b=parameters["b"], h0=h0, activation=options["activation"]
    )
    assert_close(h[1:], output, **close)
    assert_close(h[-1], h_n[0], **close)


@quick
@given(problems())
def test_the_jacobian_of_every_step_is_that_of_autograd(problem):
    x, target, parameters, h0, options = problem
    traced = recurrence.trace(x, target, **parameters, h0=h0, **options)
    f = TORCH_ACTIVATIONS[options["activation"]]
    for t in range(len(x)):
        for i in range(x.shape[1]):
            at = traced.z[t, i] - parameters["W_hh"] @ traced.h[t, i]
            expected = torch.func.jacrev(lambda h, at=at: f(parameters["W_hh"] @ h + at))(traced.h[t, i])
            assert_close(traced.jacobian[t, i], expected, **close)


@settings(max_examples=15, deadline=None)
@given(problems(activations=("identity", "tanh", "sigmoid")))
def test_agrees_with_finite_differences(problem):
    x, target, parameters, h0, options = problem
    options = options | {"detach_at": ()}

    def loss_at(W_hh):
        return recurrence.trace(x, target, **(parameters | {"W_hh": W_hh}), h0=h0, **options).loss

    traced = recurrence.trace(x, target, **parameters, h0=h0, **options)
    assert_close(traced.grad["W_hh"], numerical_gradient(loss_at, parameters["W_hh"]), atol=1e-5, rtol=1e-5)


@quick
@given(problems(losses=("half_sse",)))
def test_a_sum_over_the_batch_is_the_sum_over_its_sequences(problem):
    x, target, parameters, h0, options = problem
    whole = recurrence.trace(x, target, **parameters, h0=h0, **options)
    parts = [
        recurrence.trace(x[:, [i]], target[..., [i], :], **parameters, h0=h0[[i]], **options) for i in range(x.shape[1])
    ]
    for name in NAMES:
        assert_close(whole.grad[name], sum(part.grad[name] for part in parts), **close)


@quick
@given(problems())
def test_what_comes_after_a_step_has_no_say_in_its_state(problem):
    x, _, parameters, h0, options = problem
    given = {"b": parameters["b"], "h0": h0, "activation": options["activation"]}
    _, h = recurrence.forward(x, parameters["W_xh"], parameters["W_hh"], **given)
    changed = torch.cat([x[:-1], x[-1:] + 1.0])
    _, other = recurrence.forward(changed, parameters["W_xh"], parameters["W_hh"], **given)
    assert_close(h[:-1], other[:-1], atol=0, rtol=0)


# ---- on paper --------------------------------------------------


def scalar(xs, target, *, h0, W_hh=0.5, W_xh=1.0, W_hy=2.0, **options):
    """One unit; `xs` is one sequence, or several as rows."""
    x = f64(xs).reshape(-1, len(xs) if isinstance(xs[0], int | float) else len(xs[0])).T[..., None]
    state = torch.full((x.shape[1], 1), h0, dtype=torch.float64)
    weights = {"W_xh": f64([[W_xh]]), "W_hh": f64([[W_hh]]), "W_hy": f64([[W_hy]])}
    return recurrence.trace(x, f64(target), **weights, h0=state, **options)


LINEAR = {"activation": "identity"}


@pytest.mark.parametrize(
    ("n_steps", "h0", "states", "loss", "terms", "dW_xh", "dW_hy"),
    [
        (3, 1.0, [1.5, 2.75, 4.375], 0.78125, [-0.625, -1.875, -6.875], -10.625, -5.46875),
        (3, 0.0, [1, 2.5, 4.25], 1.125, [0, -1.5, -7.5], -12.75, -6.375),
        (2, 1.0, [1.5, 2.75], 10.125, [-4.5, -13.5], -22.5, -12.375),
        (2, 0.0, [1, 2.5], 12.5, [0, -10], -25, -12.5),
    ],
)
def test_the_linear_example(n_steps, h0, states, loss, terms, dW_xh, dW_hy):
    t = scalar([1, 2, 3][:n_steps], [[10]], h0=h0, **LINEAR)
    assert_close(t.h[1:].flatten(), f64(states), atol=0, rtol=0)
    assert_close(t.terms["W_hh"].flatten(), f64(terms), atol=0, rtol=0)
    assert t.loss.item() == loss
    assert (t.grad["W_xh"].item(), t.grad["W_hy"].item()) == (dW_xh, dW_hy)
    assert t.grad["W_hh"].item() == sum(terms)


@pytest.mark.parametrize(("cuts", "gradient"), [((2,), -6.875), ((1,), -8.75), ((0,), -9.375), ((), -9.375)])
def test_the_linear_example_truncated(cuts, gradient):
    assert scalar([1, 2, 3], [[10]], h0=1.0, detach_at=cuts, **LINEAR).grad["W_hh"].item() == gradient


def test_one_step_of_the_linear_example():
    t = scalar([1, 2, 3], [[10]], h0=1.0, **LINEAR)
    moved = t.step(lr=0.01)
    got = [moved[name].item() for name in ("W_hh", "W_xh", "W_hy")]
    assert got == pytest.approx([0.59375, 1.10625, 2.0546875], abs=1e-12)
    assert t.W_hh.item() == 0.5
    weights = {name: moved[name] for name in ("W_hh", "W_xh", "W_hy")}  # the example has no biases
    later = recurrence.trace(t.x, f64([[10]]), **weights, h0=t.h[0], **LINEAR)
    assert later.loss.item() == pytest.approx(0.280940522, abs=5.1e-10)
    with pytest.raises(AttributeError):
        t.loss = torch.zeros(())


def test_a_target_at_every_step():
    t = scalar([1, 2, 3], [[[2]], [[5]], [[10]]], h0=1.0, **LINEAR)
    assert_close(t.y_hat.flatten(), f64([3, 5.5, 8.75]), atol=0, rtol=0)
    assert_close(t.dL_dh[1:].flatten(), f64([1.875, -0.25, -2.5]), atol=0, rtol=0)
    assert_close(t.terms["W_hh"].flatten(), f64([1.875, -0.375, -6.875]), atol=0, rtol=0)
    assert [t.grad[name].item() for name in ("W_hh", "W_xh", "W_hy")] == [-5.375, -6.125, -2.59375]
    assert t.loss.item() == 1.40625


@pytest.mark.parametrize(
    ("loss_fn", "gradients"), [("half_sse", [-40.25, -31.75, -16.4375]), ("half_mse", [-20.125, -15.875, -8.21875])]
)
def test_a_batch_of_two(loss_fn, gradients):
    t = scalar([[1, 2, 3], [3, 1, 2]], [[10], [10]], h0=1.0, loss_fn=loss_fn, **LINEAR)
    assert [t.grad[name].item() for name in ("W_hh", "W_xh", "W_hy")] == gradients
    assert_close(t.y_hat[-1].flatten(), f64([8.75, 6.75]), atol=0, rtol=0)


@pytest.mark.parametrize(
    ("h0", "states", "loss", "terms"),
    [
        (0.0, [0.462117157, 0.447090990, -0.269620480], 0.540010886, [0, -0.356320133, -0.861717028]),
        (0.5, [0.635148952, 0.513575736, -0.238527439], 0.477318117, [-0.101183841, -0.430897349, -0.946484140]),
    ],
)
def test_the_tanh_example(h0, states, loss, terms):
    t = scalar([1, 0.5, -1], [[0.5]], h0=h0, W_xh=0.5)
    nine = {"atol": 5.1e-10, "rtol": 0}
    assert_close(t.h[1:].flatten(), f64(states), **nine)
    assert_close(t.terms["W_hh"].flatten(), f64(terms), **nine)
    assert t.loss.item() == pytest.approx(loss, abs=5.1e-10)


def test_the_example_with_two_units():
    parameters = {
        "W_xh": f64([[0.5], [-0.25]]),
        "W_hh": f64([[0.5, 0.25], [-0.25, 0.5]]),
        "W_hy": f64([[1, -1]]),
        "b": f64([0, 0.1]),
    }
    t = recurrence.trace(f64([1, 2, -1]).reshape(3, 1, 1), f64([[1]]), **parameters)
    expected = {
        "W_hh": [[-0.978594588, 0.588017757], [0.985955122, -0.599113088]],
        "W_xh": [[0.420044572], [-0.638294726]],
        "b": [-1.419457408, 1.311855905],
        "W_hy": [[0.232668299, 0.133389980]],
        "b_y": [-1.090997732],
    }
    for name, values in expected.items():
        assert_close(t.grad[name], f64(values), atol=5.1e-10, rtol=0)
    norms = torch.linalg.matrix_norm(t.jacobian[1:, 0], ord=2)
    assert_close(norms, f64([0.402062986, 0.550660508]), atol=5.1e-10, rtol=0)
    assert t.loss.item() == pytest.approx(0.595138025, abs=5.1e-10)


def test_own_activation_and_own_loss():
    cube = Activation("cube", lambda z: z**3, lambda z, a: 3 * z**2)
    t = scalar([1.0], [[5.0]], h0=1.0, activation=cube, loss_fn=squared_error(1 / 6))
    assert t.h[1].item() == 1.5**3
    assert t.grad["W_hh"].item() == pytest.approx(2 / 6 * (2 * 1.5**3 - 5) * 2 * 3 * 1.5**2 * 1.0)


# ---- mistakes of the caller --------------------------------------------------


def call(**changes):
    given = {
        "x": torch.zeros(5, 3, 2),
        "target": torch.zeros(3, 1),
        "W_xh": torch.zeros(4, 2),
        "W_hh": torch.zeros(4, 4),
        "W_hy": torch.zeros(1, 4),
    }
    return recurrence.trace(**(given | changes))


def test_the_call_without_a_mistake_works():
    assert call().loss.item() == 0.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": torch.zeros(5, 2)}, r"x has shape \(5, 2\).*\(time, sequences, features\)"),
        ({"x": torch.zeros(0, 3, 2)}, r"x has shape \(0, 3, 2\).*one step or more"),
        ({"W_hh": torch.zeros(4, 3)}, r"W_hh has shape \(4, 3\).*\(H, H\)"),
        ({"W_xh": torch.zeros(2, 4)}, r"W_xh has shape \(2, 4\); with 3 sequences, 2 features.*\(4, 2\)"),
        ({"b": torch.zeros(3)}, r"b has shape \(3,\).*\(4,\)"),
        ({"h0": torch.zeros(1, 3, 4)}, r"h0 has shape \(1, 3, 4\).*\(3, 4\)"),
        ({"W_hy": torch.zeros(4, 1)}, r"W_hy has shape \(4, 1\); with 4 hidden units it needs \(K, 4\)"),
        ({"b_y": torch.zeros(2)}, r"b_y has shape \(2,\); W_hy needs \(1,\)"),
        ({"target": torch.zeros(5, 1)}, r"target has shape \(5, 1\).*\(3, 1\) for the last step, or \(5, 3, 1\)"),
        ({"loss_fn": "cross_entropy"}, r"cross_entropy of this network needs \(3,\) for the last step, or \(5, 3\)"),
        ({"loss_fn": "rmse"}, "'rmse' is not a known loss.*half_mse"),
        ({"activation": "softsign"}, "'softsign' is not a known activation.*tanh"),
        ({"detach_at": [5]}, "detach_at names step 5.*0 to 4"),
        ({"detach_at": [-1]}, "detach_at names step -1.*0 to 4"),
    ],
)
def test_a_mistake_is_named(changes, message):
    with pytest.raises(ValueError, match=message):
        call(**changes)
