"""Sizes, receptive fields and costs against PyTorch's own layers; the arithmetic against ``F.conv2d`` and autograd."""

import itertools
from dataclasses import FrozenInstanceError

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.signal import correlate2d
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from helpers import conv_arithmetic as arithmetic
from helpers.convolution import ReceptiveField, layer_table, output_size, receptive_field, summary


def randn(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


# ---- sizes -----------------------------------------------------------------------------------------------------------


def test_the_size_is_that_of_pytorch_for_every_setting():
    checked = 0
    settings_of = itertools.product(range(1, 13), range(1, 6), range(3), range(1, 4), range(1, 4))
    for size, k, padding, stride, dilation in settings_of:
        if size + 2 * padding < dilation * (k - 1) + 1:
            continue
        x = torch.zeros(1, 1, size)
        y = F.conv1d(x, torch.zeros(1, 1, k), padding=padding, stride=stride, dilation=dilation)
        assert output_size(size, k, padding=padding, stride=stride, dilation=dilation) == y.shape[-1]
        checked += 1
    assert checked > 1_000


def test_a_kernel_that_does_not_fit_is_an_error_here_and_in_pytorch():
    for size, k, padding, dilation in itertools.product(range(1, 8), range(1, 6), range(3), range(1, 4)):
        if size + 2 * padding >= dilation * (k - 1) + 1:
            continue
        with pytest.raises(ValueError, match="the kernel spans"):
            output_size(size, k, padding=padding, dilation=dilation)
        with pytest.raises(RuntimeError, match="Kernel size can't be greater"):
            F.conv1d(torch.zeros(1, 1, size), torch.zeros(1, 1, k), padding=padding, dilation=dilation)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"size": 0}, "size"),
        ({"kernel_size": 0}, "kernel_size"),
        ({"stride": 0}, "stride"),
        ({"padding": -1}, "padding"),
        ({"dilation": 0}, "dilation"),
        ({"stride": 1.5}, "stride"),
        ({"padding": True}, "padding"),
    ],
)
def test_a_wrong_size_is_named(options, word):
    with pytest.raises(ValueError, match=f"^{word} must be a whole number"):
        output_size(**({"size": 5, "kernel_size": 3} | options))


# ---- arithmetic ------------------------------------------------------------------------------------------------------

LAYERS = st.fixed_dictionaries(
    {
        "n": st.integers(1, 2),
        "c": st.integers(1, 3),
        "b": st.integers(1, 3),
        "size": st.tuples(st.integers(1, 7), st.integers(1, 7)),
        "kernel": st.tuples(st.integers(1, 4), st.integers(1, 4)),
        "stride": st.one_of(st.integers(1, 3), st.tuples(st.integers(1, 3), st.integers(1, 3))),
        "padding": st.one_of(st.integers(0, 2), st.tuples(st.integers(0, 2), st.integers(0, 2))),
        "dilation": st.one_of(st.integers(1, 2), st.tuples(st.integers(1, 2), st.integers(1, 2))),
        "seed": st.integers(0, 10_000),
    }
)


def fits(layer):
    pairs = [v if isinstance(v, tuple) else (v, v) for v in (layer["padding"], layer["dilation"])]
    sides = zip(layer["size"], layer["kernel"], *pairs, strict=True)
    return all(size + 2 * p >= d * (k - 1) + 1 for size, k, p, d in sides)


def made(layer):
    x = randn(layer["n"], layer["c"], *layer["size"], seed=layer["seed"])
    weight = randn(layer["b"], layer["c"], *layer["kernel"], seed=layer["seed"] + 1)
    bias = randn(layer["b"], seed=layer["seed"] + 2)
    return x, weight, bias, {name: layer[name] for name in ("stride", "padding", "dilation")}


@settings(max_examples=80, deadline=None)
@given(layer=LAYERS)
def test_loops_and_matrix_product_are_pytorchs_convolution(layer):
    assume(fits(layer))
    x, weight, bias, options = made(layer)
    for b in (bias, None):
        expected = F.conv2d(x, weight, b, **options)
        torch.testing.assert_close(arithmetic.conv2d(x, weight, b, **options), expected)
        torch.testing.assert_close(arithmetic.conv2d_loops(x, weight, b, **options), expected)


@settings(max_examples=80, deadline=None)
@given(layer=LAYERS)
def test_the_gradients_are_autograds(layer):
    assume(fits(layer))
    x, weight, bias, options = made(layer)
    leaves = [t.clone().requires_grad_() for t in (x, weight, bias)]
    y = F.conv2d(*leaves, **options)
    dL_dy = randn(*y.shape, seed=layer["seed"] + 3)
    expected = torch.autograd.grad(y, leaves, dL_dy)
    ours = arithmetic.conv2d_gradients(x, weight, dL_dy, **options)
    for got, want in zip((ours.x, ours.weight, ours.bias), expected, strict=True):
        torch.testing.assert_close(got, want)


@settings(max_examples=40, deadline=None)
@given(layer=LAYERS)
def test_the_matrix_is_the_convolution_and_its_transpose_the_backward_pass(layer):
    assume(fits(layer))
    x, weight, _, options = made(layer | {"n": 1, "c": 1, "b": 1})
    x.requires_grad_()
    y = F.conv2d(x, weight, **options)
    matrix = arithmetic.convolution_matrix(weight[0, 0], tuple(x.shape[2:]), **options)
    torch.testing.assert_close(matrix @ x.detach().flatten(), y.detach().flatten())
    dL_dy = randn(*y.shape)
    (dL_dx,) = torch.autograd.grad(y, x, dL_dy)
    torch.testing.assert_close(matrix.T @ dL_dy.flatten(), dL_dx.flatten())


def test_it_is_cross_correlation_as_scipy_has_it():
    x, k = randn(6, 7), randn(3, 2, seed=1)
    y = arithmetic.conv2d(x[None, None], k[None, None])[0, 0]
    torch.testing.assert_close(y, torch.from_numpy(correlate2d(x.numpy(), k.numpy(), "valid")))


@settings(max_examples=40, deadline=None)
@given(layer=LAYERS)
def test_patches_are_those_of_unfold(layer):
    assume(fits(layer))
    x, _weight, _, options = made(layer)
    windows = arithmetic.patches(x, layer["kernel"], **options)
    columns = windows.permute(0, 1, 4, 5, 2, 3).flatten(4).flatten(1, 3)
    torch.testing.assert_close(columns, F.unfold(x, layer["kernel"], **options), rtol=0, atol=0)


def test_patches_with_minus_infinity_are_what_max_pooling_needs():
    x = -randn(2, 3, 7, 6).abs()  # with zeros as padding, the border would win
    windows = arithmetic.patches(x, 3, stride=2, padding=1, value=-torch.inf)
    torch.testing.assert_close(windows.amax(dim=(4, 5)), F.max_pool2d(x, 3, stride=2, padding=1), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: arithmetic.patches(torch.zeros(5, 5), 3), r"shape \(B, C, H, W\); got \(5, 5\)"),
        (lambda: arithmetic.patches(torch.zeros(1, 1, 5, 5), (3, 3, 3)), "or a pair"),
        (lambda: arithmetic.patches(torch.zeros(1, 1, 2, 5), 3), "the kernel spans 3"),
        (lambda: arithmetic.conv2d(torch.zeros(1, 2, 5, 5), torch.zeros(1, 3, 3, 3)), "with the same C"),
        (lambda: arithmetic.conv2d_loops(torch.zeros(1, 2, 5, 5), torch.zeros(2, 3, 3)), "with the same C"),
        (lambda: arithmetic.conv2d(torch.zeros(1, 1, 5, 5), torch.zeros(2, 1, 3, 3), torch.zeros(1)), r"shape \(2,\)"),
        (
            lambda: arithmetic.conv2d_gradients(
                torch.zeros(1, 1, 5, 5), torch.zeros(2, 1, 3, 3), torch.zeros(1, 2, 5, 5)
            ),
            r"\(1, 2, 3, 3\); got \(1, 2, 5, 5\)",
        ),
    ],
)
def test_wrong_shapes_are_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()


# ---- receptive fields ------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(layers=st.lists(st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3)), min_size=1, max_size=4))
def test_the_receptive_field_is_where_the_gradient_is_not_zero(layers):
    field = receptive_field(layers)
    x = torch.ones(1, 1, field.size + field.jump, dtype=torch.float64, requires_grad=True)
    y = x
    for k, stride, dilation in layers:
        y = F.conv1d(y, torch.ones(1, 1, k, dtype=torch.float64), stride=stride, dilation=dilation)
    assert y.shape[-1] == 2
    first, second = (torch.autograd.grad(y[0, 0, i], x, retain_graph=True)[0][0, 0].nonzero().flatten() for i in (0, 1))
    assert first[-1] - first[0] + 1 == field.size
    assert second[0] - first[0] == field.jump


def test_modules_and_tuples_give_the_same_field():
    modules = [
        nn.Sequential(nn.Conv2d(1, 2, 5, stride=2, dilation=3), nn.BatchNorm2d(2), nn.ReLU()),
        nn.AvgPool2d(2),
        nn.Dropout2d(),
        nn.MaxPool2d(3, stride=1),
    ]
    assert receptive_field(modules) == receptive_field([(5, 2, 3), (2, 2), (3,)])
    assert receptive_field([]) == ReceptiveField(1, 1)


@pytest.mark.parametrize("layer", [nn.Flatten(), nn.AdaptiveAvgPool2d(1), nn.Linear(2, 2), (), (1, 1, 1, 1), 3])
def test_a_layer_without_a_window_is_refused(layer):
    with pytest.raises(TypeError, match="a receptive field needs"):
        receptive_field([layer])


def test_a_kernel_that_is_not_square_is_refused():
    with pytest.raises(ValueError, match="kernel_size must be the same along every axis"):
        receptive_field([nn.Conv2d(1, 1, (1, 3))])


# ---- costs -----------------------------------------------------------------------------------------------------------


class Branches(nn.Module):
    """Two paths that are added, one layer called twice, an empty shortcut."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU())
        self.shortcut = nn.Sequential()

    def forward(self, x):
        return self.inner(self.inner(x)) + self.shortcut(x)


def networks():
    return {
        "plain": (
            nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 5)),
            (1, 8, 8),
        ),
        "odd": (
            nn.Sequential(
                nn.Conv2d(4, 6, (2, 3), stride=(2, 1), padding=(0, 2), dilation=(1, 2), groups=2),
                nn.GroupNorm(2, 6),
                nn.PReLU(),
                nn.ConvTranspose2d(6, 3, 3, stride=2, groups=3),
                nn.AdaptiveAvgPool2d(1),
                nn.Flatten(),
                nn.Linear(3, 2, bias=False),
            ),
            (4, 9, 11),
        ),
        "branches": (nn.Sequential(nn.Conv2d(3, 4, 1), Branches()), (3, 6, 6)),
        "one dimension": (nn.Sequential(nn.Conv1d(2, 3, 4, padding=1), nn.Linear(9, 2)), (2, 10)),
        "three": (nn.Conv3d(1, 2, 2), (1, 3, 4, 5)),
    }


@pytest.mark.parametrize("name", networks())
def test_parameters_and_multiply_adds_are_those_that_pytorch_counts(name):
    model, shape = networks()[name]
    table = layer_table(model, shape)
    assert sum(row.parameters for row in table) == sum(p.numel() for p in model.parameters())
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(torch.zeros(1, *shape))
    assert 2 * sum(row.multiply_adds for row in table) == counter.get_total_flops()


@pytest.mark.parametrize("name", networks())
def test_the_shapes_are_those_that_hooks_of_ones_own_see(name):
    model, shape = networks()[name]
    seen = []
    for module in model.modules():
        if not list(module.children()):
            module.register_forward_hook(lambda m, _, y: seen.append((type(m).__name__, tuple(y.shape[1:]))))
    table = layer_table(model, shape)
    assert [(row.kind, row.output_shape) for row in table] == seen


def test_a_shared_layer_is_listed_at_each_call_and_its_parameters_once():
    model, shape = networks()["branches"]
    convolutions = [row for row in layer_table(model, shape) if row.name == "1.inner.0"]
    assert [row.parameters for row in convolutions] == [144, 0]
    assert [row.multiply_adds for row in convolutions] == [5184, 5184]


def test_the_model_is_left_as_it_was():
    model = nn.Sequential(nn.Conv2d(1, 2, 2), nn.BatchNorm2d(2), nn.Dropout2d()).double()
    model[2].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    layer_table(model, (1, 4, 4))
    assert [module.training for module in model.modules()] == [True, True, True, False]
    assert not any(module._forward_hooks for module in model.modules())
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def test_the_model_is_left_as_it_was_after_an_error():
    model = nn.Sequential(nn.Conv2d(1, 2, 9))
    with pytest.raises(ValueError, match=r"does not take an example of shape .*Kernel size"):
        layer_table(model, (1, 4, 4))
    assert model.training
    assert not model[0]._forward_hooks


def test_what_cannot_be_counted_is_refused():
    with pytest.raises(TypeError, match="LSTM cannot be counted"):
        layer_table(nn.LSTM(3, 2), (4, 3))
    model = nn.Sequential(nn.Linear(2, 2))
    model.register_module("forgotten", nn.Linear(2, 2))
    model.forward = lambda x: model[0](x)
    with pytest.raises(ValueError, match=r"called: forgotten\.weight, forgotten\.bias"):
        layer_table(model, (2,))


def test_a_row_cannot_be_changed():
    (row,) = layer_table(nn.Linear(2, 3), (2,))
    with pytest.raises(FrozenInstanceError):
        row.parameters = 0


def test_the_summary_has_the_rows_and_their_sums():
    model, shape = networks()["plain"]
    lines = summary(model, shape).splitlines()
    assert len(lines) == 2 + len(layer_table(model, shape))
    assert lines[-1].split() == ["together", "225", f"{4 * 36 * 9 + 36 * 5:,}"]
