"""Activation functions against autograd, PyTorch's own layers and SciPy; the depth profile against its laws."""

import math

import pytest
import scipy.special
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from helpers import activations
from helpers.activations import ACTIVATIONS, depth_profile, get

NAMES = [each.name for each in ACTIVATIONS]
every = pytest.mark.parametrize("activation", ACTIVATIONS, ids=NAMES)
away_from_corners = st.floats(-1e3, 1e3).filter(lambda z: abs(z) > 1e-6)


def z_values(low=-12.0, high=12.0, n=4801):
    """A grid without 0, the only place where some of the functions have a corner."""
    z = torch.linspace(low, high, n, dtype=torch.float64)
    return z[z != 0]


def slope_by_autograd(f, z):
    z = z.clone().requires_grad_()
    return torch.autograd.grad(f(z).sum(), z)[0]


def layer(activation):
    """The module that the cheat sheet names, built from its own text."""
    return eval(activation.module, {"nn": nn}).double()


@every
def test_the_derivative_is_the_one_of_autograd(activation):
    z = z_values()
    torch.testing.assert_close(activation.derivative(z), slope_by_autograd(activation.f, z), atol=1e-13, rtol=1e-10)


@every
@given(z=away_from_corners)
def test_the_derivative_is_the_one_of_autograd_anywhere(activation, z):
    at = torch.tensor([z], dtype=torch.float64)
    torch.testing.assert_close(activation.derivative(at), slope_by_autograd(activation.f, at), atol=1e-13, rtol=1e-10)


@every
def test_at_zero_the_derivative_says_what_pytorch_says(activation):
    zero = torch.zeros(1, dtype=torch.float64)
    torch.testing.assert_close(activation.derivative(zero), slope_by_autograd(layer(activation), zero))


@every
def test_the_function_is_the_layer_that_the_table_names(activation):
    z = torch.cat([z_values(-60, 60), torch.zeros(1, dtype=torch.float64)])
    torch.testing.assert_close(activation.f(z), layer(activation)(z), atol=2.1e-9, rtol=1e-12)


@every
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_far_out_nothing_overflows(activation, dtype):
    most = 1e38  # a third of the largest float32: on some processors PyTorch's GELU doubles z on its way
    z = torch.tensor([-most, -1e5, -800.0, -90.0, 90.0, 800.0, 1e5, most], dtype=dtype)
    f, slope = activation.f(z), activation.derivative(z)
    assert f.dtype == slope.dtype == dtype
    assert torch.isfinite(f).all()
    assert torch.isfinite(slope).all()


@pytest.mark.parametrize(
    ("name", "left", "right"),
    [
        ("sigmoid", 0, 0),
        ("tanh", 0, 0),
        ("ReLU", 0, 1),
        ("leaky ReLU", 0.01, 1),
        ("PReLU", 0.25, 1),
        ("ELU", 0, 1),
        ("softplus", 0, 1),
        ("GELU", 0, 1),
        ("SiLU", 0, 1),
    ],
)
def test_the_slope_far_out(name, left, right):
    ends = get(name).derivative(torch.tensor([-800.0, 800.0], dtype=torch.float64))
    torch.testing.assert_close(ends, torch.tensor([left, right], dtype=torch.float64), atol=1e-15, rtol=0)


@pytest.mark.parametrize("z", [40.0, 200.0, 700.0])
def test_the_tail_of_the_sigmoid_keeps_its_digits(z):
    """Computed as sigmoid times one minus sigmoid, the slope would be 0 there."""
    slope = get("sigmoid").derivative(torch.tensor(z, dtype=torch.float64))
    assert slope.item() == pytest.approx(math.exp(-z), rel=1e-12)


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("sigmoid", scipy.special.expit),
        ("softplus", lambda z: -scipy.special.log_expit(-z)),
        ("GELU", lambda z: z * scipy.stats.norm.cdf(z)),
        ("SiLU", lambda z: z * scipy.special.expit(z)),
    ],
)
def test_the_function_is_scipys(name, reference):
    z = z_values(-30, 30)
    torch.testing.assert_close(get(name).f(z), torch.from_numpy(reference(z.numpy())), atol=1e-14, rtol=1e-11)


@every
def test_the_largest_slope_is_the_largest(activation):
    slopes = activation.derivative(z_values(-40, 40, 800_001))
    assert slopes.max().item() == pytest.approx(activation.largest_slope, abs=1e-8)


@every
def test_the_largest_slope_is_not_passed_anywhere(activation):
    assert activation.derivative(z_values(-100, 100)).max().item() <= activation.largest_slope + 1e-9


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"'Swish'; known are sigmoid, tanh, ReLU"):
        get("Swish")


def test_the_table_has_six_cells_in_every_row():
    lines = activations.table().splitlines()
    assert len(lines) == len(ACTIVATIONS) + 2
    assert {line.count("|") for line in lines} == {7}
    assert all(line.count("$") % 2 == 0 for line in lines)


# ---- depth ----------------------------------------------------------------------------------------------------------


def test_the_profile_is_what_a_stack_of_modules_does():
    """The same weights, put into nn.Linear: the same z, and the gradients that backward() leaves."""
    profile = depth_profile(torch.tanh, depth=3, width=5, n_samples=4, seed=7)
    draw = {"generator": torch.Generator().manual_seed(7), "dtype": torch.float64}
    a, z = torch.randn(4, 5, **draw), []
    for _ in range(3):
        linear = nn.Linear(5, 5, bias=False, dtype=torch.float64)
        linear.weight.data = torch.randn(5, 5, **draw) / math.sqrt(5)
        z.append(linear(a))
        z[-1].retain_grad()
        a = torch.tanh(z[-1])
    (a * torch.randn(4, 5, **draw)).sum().backward()
    torch.testing.assert_close(profile.z, tuple(each.detach() for each in z))
    torch.testing.assert_close(profile.delta, tuple(each.grad for each in z))
    torch.testing.assert_close(profile.gradient[0], z[0].grad.square().mean().sqrt())
    torch.testing.assert_close(profile.slope[1], (1 - z[1].detach().tanh() ** 2).square().mean().sqrt())
    spread = a.detach() - a.detach().mean(dim=0)
    torch.testing.assert_close(profile.signal[-1], spread.square().mean().sqrt())
    assert profile.surviving == pytest.approx((z[0].grad.norm() / z[-1].grad.norm()).item())


def test_every_activation_gets_the_same_weights():
    a, b = depth_profile(torch.relu, depth=2), depth_profile(torch.tanh, depth=2)
    torch.testing.assert_close(a.z[0], b.z[0])
    torch.testing.assert_close(a.weight_scale, b.weight_scale)


def test_another_seed_gives_other_weights():
    assert not torch.equal(depth_profile(torch.relu, depth=1).z[0], depth_profile(torch.relu, depth=1, seed=1).z[0])


@pytest.mark.parametrize("z_std", [0.1, 1.0, 10.0])
@every
def test_z_gets_the_spread_that_was_asked_for(activation, z_std):
    profile = depth_profile(activation.f, depth=4, z_std=z_std, weight_scale=3.0)
    torch.testing.assert_close(torch.stack([z.std() for z in profile.z]), torch.full((4,), z_std, dtype=torch.float64))


@given(scale=st.floats(0.1, 10.0))
def test_a_relu_stack_passes_the_same_gradient_whatever_the_scale_of_z(scale):
    """ReLU(cz) = c ReLU(z) for c > 0: the signal scales, the slopes do not notice."""
    one, other = depth_profile(torch.relu, depth=3, z_std=1.0), depth_profile(torch.relu, depth=3, z_std=scale)
    assert other.surviving == pytest.approx(one.surviving)


def test_a_linear_stack_multiplies_the_gradient_by_the_scale_of_the_weights():
    small, large = (depth_profile(lambda z: z, depth=5, weight_scale=scale) for scale in (0.5, 1.0))
    assert small.surviving == pytest.approx(large.surviving * 0.5**4)


def test_gradient_of_sigmoids_stays_below_a_quarter_per_layer():
    """With orthogonal weights, which keep lengths, the bound holds exactly; with random ones of that size, nearly."""
    profile = depth_profile(torch.sigmoid, depth=6, width=256)
    assert (profile.gradient[:-1] < 0.28 * profile.gradient[1:]).all()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"depth": 0}, "depth must be a positive number, got 0"),
        ({"width": -1}, "width must be a positive number, got -1"),
        ({"n_samples": 0}, "n_samples must be"),
        ({"weight_scale": 0.0}, "weight_scale must be"),
        ({"z_std": -1.0}, "z_std must be a positive number, got -1.0"),
        ({"z_std": math.nan}, "z_std must be a positive number, got nan"),
    ],
)
def test_a_number_that_cannot_be_is_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        depth_profile(torch.relu, **arguments)


def test_a_function_that_changes_the_shape_is_refused():
    with pytest.raises(ValueError, match=r"f must keep the shape \(128, 128\), it returned \(128, 64\)"):
        depth_profile(lambda z: z[:, :64])
