"""Residual networks against torchvision, torch.nn and autograd."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

from helpers import residual, resnet

F64 = torch.float64
NETWORKS = {
    "resnet18": ((2, 2, 2, 2), resnet.BasicBlock),
    "resnet34": ((3, 4, 6, 3), resnet.BasicBlock),
    "resnet50": ((3, 4, 6, 3), resnet.Bottleneck),
}


def count(module):
    return sum(p.numel() for p in module.parameters())


# --- convolutional networks -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETWORKS)
def test_torchvision_s_weights_fit_in_order_and_give_its_output(name):
    models = pytest.importorskip("torchvision.models")
    torch.manual_seed(0)
    theirs = models.get_model(name, weights=None).to(F64)
    with torch.no_grad():
        theirs.train()(torch.randn(4, 3, 64, 64, dtype=F64))  # statistics other than 0 and 1
        for p in theirs.parameters():
            p += 0.02 * torch.randn_like(p)  # scales and shifts other than 1 and 0
    ours = resnet.resnet(*NETWORKS[name]).to(F64)
    assert count(ours) == count(theirs)
    mine, other = ours.state_dict(), theirs.state_dict()
    assert [tuple(v.shape) for v in mine.values()] == [tuple(v.shape) for v in other.values()]
    ours.load_state_dict(dict(zip(mine, other.values(), strict=True)))
    X = torch.randn(2, 3, 75, 64, dtype=F64)
    with torch.no_grad():
        assert_close(ours.eval()(X), theirs.eval()(X), rtol=1e-10, atol=1e-10)
        assert_close(ours.train()(X), theirs.train()(X), rtol=1e-8, atol=1e-8)


def test_gradients_are_torchvision_s_too():
    models = pytest.importorskip("torchvision.models")
    torch.manual_seed(1)
    theirs, ours = models.resnet18(weights=None, num_classes=7).to(F64), resnet.resnet((2, 2, 2, 2), classes=7).to(F64)
    ours.load_state_dict(dict(zip(ours.state_dict(), theirs.state_dict().values(), strict=True)))
    X, y = torch.randn(3, 3, 48, 48, dtype=F64), torch.tensor([0, 3, 6])
    for net in (ours, theirs):
        nn.functional.cross_entropy(net(X), y).backward()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert_close(mine.grad, other.grad, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("block", [resnet.BasicBlock, resnet.Bottleneck, resnet.PreActivationBlock])
@given(c_in=st.integers(1, 6), more=st.integers(0, 5), stride=st.sampled_from([1, 2]), size=st.integers(1, 9))
@settings(max_examples=15, deadline=None)
def test_blocks_have_the_stated_shape_with_both_shortcuts(block, c_in, more, stride, size):
    width = c_in + more
    x = torch.randn(2, c_in, size, size)
    shape = (2, width * block.expansion, math.ceil(size / stride), math.ceil(size / stride))
    for kind in resnet.SHORTCUTS:
        assert block(c_in, width, stride, kind).eval()(x).shape == shape


@pytest.mark.parametrize("block", [resnet.BasicBlock, resnet.PreActivationBlock])
def test_an_empty_branch_leaves_the_shortcut(block):
    torch.manual_seed(0)
    x = torch.rand(2, 4, 6, 6)  # not negative: ReLU lets it pass
    same, pad = block(4, 4), block(4, 6, 2, "padding")
    for each in (same, pad):
        nn.init.zeros_(each.branch[3].weight)  # the last convolution of both kinds
    assert_close(same.eval()(x), x)
    assert_close(pad.eval()(x)[:, :4], x[:, :, ::2, ::2])
    assert not pad(x)[:, 4:].any()


def test_a_pre_activation_block_keeps_negative_numbers():
    x = -torch.rand(2, 4, 3, 3)
    block = resnet.PreActivationBlock(4, 4).eval()
    nn.init.zeros_(block.branch[3].weight)
    assert_close(block(x), x)


def test_shortcut_a_costs_nothing():
    projected, padded = (resnet.BasicBlock(8, 16, 2, kind) for kind in ("projection", "padding"))
    assert count(projected) - count(padded) == 8 * 16 + 2 * 16


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: resnet.shortcut(4, 8, 2, "copy"), "not 'copy'"),
        (lambda: resnet.shortcut(8, 4, 2, "padding"), "8 in, 4 out"),
        (lambda: resnet.resnet((2, 2, 2)), "four stages"),
        (lambda: resnet.resnet((2, 2, 0, 2)), "four stages"),
    ],
)
def test_mistakes_in_a_network_are_named(make, words):
    with pytest.raises(ValueError, match=words):
        make()


# --- dense stacks -----------------------------------------------------------------------------------------------------


def module_of(stack, m):
    """Network `m` of a stack, from torch.nn's own layers."""
    phi = {torch.relu: nn.ReLU, torch.tanh: nn.Tanh}[stack.phi]

    def linear(weight, bias=None):
        layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None).to(F64)
        layer.weight.data = weight
        if bias is not None:
            layer.bias.data = bias[:, 0]
        return layer

    def norm(k):
        layer = nn.BatchNorm1d(stack.beta.shape[2], momentum=1.0).to(F64)
        layer.bias.data = stack.beta.detach()[k, m, :, 0]
        if stack.norm == "none":
            return Shift(layer.bias)
        layer.weight.data = stack.gamma.detach()[k, m, :, 0]
        return layer

    def dense(k):
        return linear(stack.weight.detach()[k, m])

    blocks = []
    for k in range(stack.n_blocks):
        if stack.skip == "pre-activation":
            f = nn.Sequential(norm(2 * k), phi(), dense(2 * k), norm(2 * k + 1), phi(), dense(2 * k + 1))
        else:
            f = nn.Sequential(dense(2 * k), norm(2 * k + 1), phi(), dense(2 * k + 1), norm(2 * k + 2))
        blocks.append(Around(f, stack.skip, phi()))
    ends = [norm(0 if stack.skip != "pre-activation" else 2 * stack.n_blocks), phi()]
    stem = [linear(stack.stem.detach()[m])]
    head = linear(stack.head.detach()[m], stack.bias.detach()[m])
    parts = [*stem, *blocks, *ends, head] if stack.skip == "pre-activation" else [*stem, *ends, *blocks, head]
    return nn.Sequential(*parts)


class Shift(nn.Module):
    def __init__(self, bias):
        super().__init__()
        self.bias = bias

    def forward(self, x):
        return x + self.bias


class Around(nn.Module):
    def __init__(self, f, skip, phi):
        super().__init__()
        self.f, self.skip, self.phi = f, skip, phi

    def forward(self, x):
        if self.skip == "pre-activation":
            return x + self.f(x)
        return self.phi(x + self.f(x) if self.skip == "original" else self.f(x))


def random_stack(**options):
    torch.manual_seed(0)
    stack = residual.DenseStack(**{"depth": 8, "n_models": 3, "width": 7, "inputs": 5, "classes": 4} | options).to(F64)
    with torch.no_grad():
        for p in stack.parameters():
            p += 0.1 * torch.randn_like(p)
    return stack, torch.randn(3, 20, 5, dtype=F64), torch.randint(4, (3, 20))


every_kind = pytest.mark.parametrize(
    ("skip", "norm", "activation"),
    [(s, n, a) for s in residual.SKIPS for n in residual.NORMS for a in residual.ACTIVATIONS],
)


@every_kind
def test_each_network_of_a_stack_is_one_of_torch_nn(skip, norm, activation):
    stack, X, y = random_stack(skip=skip, norm=norm, activation=activation)
    norms = residual.gradient_norms(stack, X, y)
    for m in range(3):
        net = module_of(stack, m)
        logits = net(X[m])
        assert_close(stack(X)[m], logits)
        nn.functional.cross_entropy(logits, y[m]).backward()
        expected = [p.grad.norm() for p in net.parameters() if p.dim() == 2]
        assert_close(norms[m], torch.stack(expected))


@pytest.mark.parametrize("skip", residual.SKIPS)
def test_a_frozen_stack_is_torch_nn_in_evaluation(skip):
    stack, X, _ = random_stack(skip=skip)
    stack.freeze(X)
    for m in range(3):
        net = module_of(stack, m)
        net(X[m])  # momentum 1: the running statistics are those of X[m]
        for layer in net.modules():
            if isinstance(layer, nn.BatchNorm1d):
                layer.running_var *= 19 / 20  # PyTorch stores the unbiased variance
        new = torch.randn(6, 5, dtype=F64)
        assert_close(stack(new)[m], net.eval()(new))
    assert not torch.allclose(stack.freeze(None)(X[:, :5]), stack.freeze(X)(X[:, :5]))


@every_kind
def test_a_removed_block_is_one_that_is_skipped(skip, norm, activation):
    stack, X, _ = random_stack(skip=skip, norm=norm, activation=activation)
    signals = stack.signals(X, remove=1)
    assert torch.equal(signals[2], signals[1])
    net = module_of(stack, 0)
    del net[[i for i, part in enumerate(net) if isinstance(part, Around)][1]]
    assert_close(stack(X, remove=1)[0], net(X[0]))


@pytest.mark.parametrize("norm", residual.NORMS)
@pytest.mark.parametrize("depth", [4, 8, 14])
def test_the_paths_add_up_to_the_gradient(norm, depth):
    stack, X, y = random_stack(skip="pre-activation", norm=norm, depth=depth)
    X, y = X[0], y[0]
    stack.freeze(X)
    terms = residual.path_gradients(stack, X, y)
    assert terms.shape == (depth // 2, 3, 7, 20)
    x = stack.signals(X)[0].detach().requires_grad_()
    h = x
    for k in range(stack.n_blocks):
        h = h + stack.branch(k, h)
    loss = nn.functional.cross_entropy(stack.readout(h).flatten(0, 1), y.repeat(3), reduction="sum") / len(y)
    (gradient,) = torch.autograd.grad(loss, x)
    assert_close(terms.sum(0), gradient)


def test_linear_blocks_have_binomial_paths():
    stack, X, y = random_stack(skip="pre-activation", norm="none", depth=10)
    stack.phi = lambda z: z
    with torch.no_grad():  # every branch multiplies by 0.3
        stack.beta.zero_()
        stack.weight[0::2] = torch.eye(7, dtype=F64)
        stack.weight[1::2] = 0.3 * torch.eye(7, dtype=F64)
    terms = residual.path_gradients(stack, X[0], y[0])
    for j in range(5):
        assert_close(terms[j], terms[0] * math.comb(4, j) * 0.3**j)


def test_zero_gamma_makes_every_block_the_identity():
    X = torch.randn(50, 64)
    signals = residual.DenseStack(20, skip="original", zero_gamma=True).signals(X)
    assert all(torch.equal(signal, signals[0]) for signal in signals)


@pytest.mark.parametrize(("weights", "variance"), [("He", 2 / 32), ("nn.Linear", 1 / (3 * 32))])
def test_the_weights_have_the_stated_variance(weights, variance):
    torch.manual_seed(0)
    weight = residual.DenseStack(20, n_models=8, weights=weights).weight
    assert weight.mean().abs() < 4 * math.sqrt(variance / weight.numel())
    assert_close(weight.var().item(), variance, rtol=0.02, atol=0)


def test_losses_are_one_mean_for_each_network():
    stack, X, y = random_stack()
    expected = [nn.functional.cross_entropy(stack(X)[m], y[m]) for m in range(3)]
    assert_close(residual.losses(stack, X, y), torch.stack(expected))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: residual.DenseStack(7), "even number from 4 on, not 7"),
        (lambda: residual.DenseStack(8, skip="dense"), "skip is one of"),
        (lambda: residual.DenseStack(8, norm="layer"), "norm is one of"),
        (lambda: residual.DenseStack(8, activation="gelu"), "activation is one of"),
        (lambda: residual.DenseStack(8, weights="zeros"), "weights is one of"),
        (lambda: residual.DenseStack(8, zero_gamma=True), "zero_gamma needs"),
        (lambda: residual.DenseStack(8)(torch.zeros(3, 5)), "X has shape"),
        (lambda: residual.DenseStack(8)(torch.zeros(3, 64), remove=3), "0 to 2, not 3"),
        (
            lambda: residual.path_gradients(
                residual.DenseStack(8, skip="pre-activation"), torch.zeros(3, 64), torch.zeros(3)
            ),
            "freeze",
        ),
        (lambda: residual.path_gradients(residual.DenseStack(8), torch.zeros(3, 64), torch.zeros(3)), "pre-activation"),
    ],
)
def test_mistakes_with_a_stack_are_named(make, words):
    with pytest.raises(ValueError, match=words):
        make()
