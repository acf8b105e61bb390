"""Initial weights against oracles that nobody here wrote: torch.nn.init, autograd, Gauss-Hermite quadrature."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

from helpers.initialization import ACTIVATIONS, SCHEMES, measured_variances, predicted_variances, table

F64 = torch.float64
BY_NAME = {scheme.name: scheme for scheme in SCHEMES}
RELU, TANH, SIGMOID, LINEAR = (ACTIVATIONS[name] for name in ("relu", "tanh", "sigmoid", "linear"))
every_scheme = pytest.mark.parametrize("scheme", SCHEMES, ids=BY_NAME)
every_activation = pytest.mark.parametrize("activation", ACTIVATIONS.values(), ids=ACTIVATIONS)
centred = pytest.mark.parametrize("scheme", [each for each in SCHEMES if not each.mean], ids=lambda each: each.name)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


# --- schemes ----------------------------------------------------------------------------------------------------------


@every_scheme
@pytest.mark.parametrize("shape", [(600, 900), (900, 600)])
def test_a_filled_weight_has_the_stated_mean_and_variance(scheme, shape):
    fan_out, fan_in = shape
    weight = scheme.fill(torch.full(shape, math.nan, dtype=F64), generator())
    variance = scheme.variance(fan_in, fan_out)
    assert_close(weight.mean().item(), scheme.mean, atol=6 * math.sqrt(variance / weight.numel()) + 1e-12, rtol=0)
    assert_close(weight.var(correction=0).item(), variance, atol=1e-12, rtol=0.02)


@every_scheme
def test_the_call_shown_to_readers_is_the_fill(scheme):
    ours = scheme.fill(torch.empty(40, 60), generator(3))
    weight = torch.empty(40, 60)
    call = scheme.call[:-1] + ", generator=generator(3))"
    if not scheme.variance(60, 40):
        call = scheme.call  # a constant draws nothing
    theirs = eval(f"nn.init.{call}", {"nn": nn, "w": weight, "generator": generator})
    assert theirs is weight
    assert torch.equal(ours, theirs)


def test_the_default_of_linear_is_what_linear_does():
    torch.manual_seed(5)
    layer = nn.Linear(60, 40)
    torch.manual_seed(5)
    assert torch.equal(BY_NAME["nn.Linear's own"].fill(torch.empty(40, 60), None), layer.weight.detach())


@every_scheme
def test_equal_generators_fill_equally(scheme):
    first, second = (scheme.fill(torch.empty(7, 5), generator(1)) for _ in range(2))
    assert torch.equal(first, second)


# --- averages over a normal distribution ------------------------------------------------------------------------------


@every_activation
def test_slopes_are_those_of_autograd(activation):
    z = torch.linspace(-6, 6, 200, dtype=F64, requires_grad=True)
    (slope,) = torch.autograd.grad(activation.function(z).sum(), z)
    assert_close(activation.slope(z.detach()), slope)


@pytest.mark.parametrize("activation", [TANH, SIGMOID, LINEAR], ids=["tanh", "sigmoid", "linear"])
@given(mean=st.floats(-3, 3), std=st.floats(0.01, 1.0))
@settings(max_examples=25, deadline=None)
def test_averages_agree_with_gauss_hermite(activation, mean, std):
    x, w = (torch.from_numpy(each) for each in np.polynomial.hermite_e.hermegauss(90))
    w, z = w / math.sqrt(2 * math.pi), mean + std * x
    value, slope = activation.function(z), activation.slope(z)
    expected = [w @ value, w @ value**2, w @ slope, w @ slope**2]
    assert_close(list(activation.averages(mean, std)), expected, atol=1e-8, rtol=1e-7)


@given(mean=st.floats(-5, 5), std=st.floats(0.1, 5))
@settings(max_examples=25, deadline=None)
def test_relu_averages_in_closed_form_agree_with_integration(mean, std):
    numerical = dataclasses.replace(RELU, exact=None).averages(mean, std)  # a kink: the rule is only of second order
    assert_close(list(RELU.averages(mean, std)), list(numerical), atol=0.011 * (1 + std**2), rtol=0.002)


@every_activation
@pytest.mark.parametrize("mean", [-200.0, -1.0, 0.5, 200.0])
def test_a_distribution_without_width_is_a_point(activation, mean):
    point = torch.tensor(mean, dtype=F64)
    value, slope = activation.function(point), activation.slope(point)
    assert_close(list(activation.averages(mean, 0.0)), [value, value**2, slope, slope**2])


@every_activation
@given(mean=st.floats(-300, 300), std=st.floats(0, 300))
@settings(max_examples=40, deadline=None)
def test_averages_keep_the_inequality_of_jensen(activation, mean, std):
    value, square, slope, slope2 = activation.averages(mean, std)
    assert square + 1e-12 * (1 + mean**2 + std**2) >= value**2  # but for rounding
    assert slope2 + 1e-12 >= slope**2


# --- predictions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "activation", "factor"),
    [
        ("He normal", RELU, 1),
        ("Xavier normal", RELU, 1 / 2),
        ("nn.Linear's own", RELU, 1 / 6),
        ("nn.Linear's own", LINEAR, 1 / 3),
        ("Xavier uniform", LINEAR, 1),
        ("He uniform", LINEAR, 2),
        ("orthogonal", LINEAR, 1),
    ],
)
def test_scale_free_activations_multiply_by_one_factor(name, activation, factor):
    v = predicted_variances(BY_NAME[name], activation, [64] * 11)
    powers = factor ** torch.arange(10, dtype=F64)
    assert_close(v.forward / v.forward[0], powers)
    assert_close(v.backward, powers.flip(0))


def test_the_fans_of_a_funnel():
    widths = [784, 512, 256, 128, 64, 10]
    v = predicted_variances(BY_NAME["He normal"], RELU, widths)
    assert_close(v.forward, torch.full((5,), 2.0, dtype=F64))  # fan_in holds the signal ...
    assert_close(v.backward[0].item(), 10 / 512)  # ... and the gradient shrinks with the width


@given(
    gain=st.floats(0.3, 3),
    variance=st.floats(0.1, 4),
    widths=st.lists(st.integers(1, 50), min_size=2, max_size=6),
)
@settings(max_examples=30, deadline=None)
def test_relu_is_homogeneous(gain, variance, widths):
    he = BY_NAME["He normal"]
    plain = predicted_variances(he, RELU, widths)
    scaled = predicted_variances(he, RELU, widths, gain=gain, input_variance=variance)
    powers = (gain**2) ** torch.arange(1, len(widths), dtype=F64)
    assert_close(scaled.forward, plain.forward * powers * variance)
    assert_close(scaled.backward, plain.backward * (powers / gain**2).flip(0))


@centred
@every_activation
def test_one_layer_is_exact_for_every_width(scheme, activation):
    fan_in, fan_out = 24, 8
    v = predicted_variances(scheme, activation, [fan_in, fan_out])
    assert_close(v.forward, torch.tensor([fan_in * scheme.variance(fan_in, fan_out)], dtype=F64))
    assert v.backward.tolist() == [1.0]


# --- predictions against networks -------------------------------------------------------------------------------------


@every_scheme
@every_activation
def test_networks_do_what_is_predicted(scheme, activation):
    widths = [400, 300, 400, 300, 400]
    predicted = predicted_variances(scheme, activation, widths)
    measured = measured_variances(scheme, activation, widths, n_seeds=3)
    # weights with a mean: 96 inputs stand for one random number each, and few of them for a whole tail
    rtol = 0.12 if not scheme.mean else 0.6
    assert_close(measured.forward, predicted.forward, rtol=rtol, atol=1e-300)
    if scheme.mean and activation in (TANH, SIGMOID):
        assert measured.backward[0] < 1e-9  # saturated: both vanish, at rates that a few inputs decide
        assert predicted.backward[0] < 1e-9
    else:
        assert_close(measured.backward, predicted.backward, rtol=rtol, atol=1e-300)


def test_the_gain_scales_the_weights():
    xavier, he = BY_NAME["Xavier normal"], BY_NAME["He normal"]
    widths = [64] * 6
    assert_close(
        measured_variances(xavier, RELU, widths, gain=math.sqrt(2)).forward,
        measured_variances(he, RELU, widths).forward,
    )


def test_measured_gradients_are_those_of_a_torch_network():
    scheme, widths = BY_NAME["He normal"], [5, 4, 3]
    random = generator(0)
    X = torch.randn(32, 5, generator=random, dtype=F64)
    net = nn.Sequential(nn.Linear(5, 4, bias=False), nn.ReLU(), nn.Linear(4, 3, bias=False)).double()
    for layer in (net[0], net[2]):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=random)
    upstream = torch.randn(32, 3, generator=random, dtype=F64)
    z = net[0](X).detach().requires_grad_()
    net[1:](z).backward(upstream)
    run = measured_variances(scheme, RELU, widths, n_seeds=1)
    assert_close(run.backward, torch.stack([z.grad.square().mean(), upstream.square().mean()]))
    assert_close(run.forward, torch.stack([z.square().mean(), net(X).square().mean()]).detach())


def test_an_orthogonal_linear_network_keeps_every_length():
    run = measured_variances(BY_NAME["orthogonal"], LINEAR, [32] * 40, n_seeds=1)
    assert_close(run.forward, torch.full_like(run.forward, run.forward[0].item()))
    assert_close(run.backward, torch.full_like(run.backward, run.backward[-1].item()))


# --- what can go wrong ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", [predicted_variances, measured_variances])
@pytest.mark.parametrize("widths", [[], [4], [4, 0], [4, -1], [4, 2.5], [4, True]])
def test_widths_that_are_none(function, widths):
    with pytest.raises(ValueError, match="widths are"):
        function(SCHEMES[0], RELU, widths)


@pytest.mark.parametrize("wrong", [{"gain": math.nan}, {"gain": math.inf}, {"input_variance": -1.0}])
def test_numbers_that_are_none(wrong):
    with pytest.raises(ValueError, match="finite"):
        predicted_variances(SCHEMES[0], RELU, [4, 4], **wrong)


def test_no_network_to_measure():
    with pytest.raises(ValueError, match="a whole number from 1 on"):
        measured_variances(SCHEMES[0], RELU, [4, 4], n_seeds=0)


# --- the table --------------------------------------------------------------------------------------------------------


def test_the_table_has_a_row_for_every_scheme():
    lines = table().splitlines()
    assert len(lines) == len(SCHEMES) + 2
    assert {line.count("|") for line in lines} == {7}
    for scheme, line in zip(SCHEMES, lines[2:], strict=True):
        assert line.startswith(f"| {scheme.name} | ${scheme.tex}$ | `{scheme.call}` |")
        factor = float(line.split("|")[-2])
        q = measured_variances(scheme, RELU, [256] * 4).forward
        assert_close(factor, (q[2] / q[1]).nan_to_num().item(), rtol=0.15, atol=0)
