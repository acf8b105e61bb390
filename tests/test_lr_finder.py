"""The learning-rate range test: it finds the edge of stability that theory knows, and leaves no trace."""

import copy

import matplotlib.pyplot as plt
import pytest
import torch
from torch import nn
from torch.testing import assert_close
from torch.utils.data import DataLoader, TensorDataset

from helpers import data
from helpers.training import find_lr, fit

X = torch.randn(60, 3, generator=torch.Generator().manual_seed(0))
y = X @ torch.tensor([[1.0], [-2.0], [0.5]]) + 0.3


def parts(seed=0):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.2), nn.BatchNorm1d(8), nn.Linear(8, 1))
    return model, torch.optim.Adam(model.parameters(), lr=0.01)


def test_suggestion_lies_below_the_edge_of_stability():
    """For a quadratic, gradient descent diverges above 2 / (largest eigenvalue of the Hessian)."""
    torch.manual_seed(0)
    model = nn.Linear(3, 1).double()
    A = torch.cat([X.double(), torch.ones(60, 1)], 1)
    edge = 2 / torch.linalg.eigvalsh(2 * A.T @ A / 60).max().item()
    result = find_lr(
        model, [(X.double(), y.double())], loss_fn=nn.MSELoss(), optimizer=torch.optim.SGD(model.parameters(), lr=1),
        lr_min=1e-4, lr_max=100, steps=200, smoothing=0.0, device="cpu",
    )  # fmt: skip
    assert result.diverged
    assert edge / 100 < result.suggestion < edge
    assert edge < result.lr[-1] < 30 * edge


@pytest.mark.parametrize("seed", range(4))
def test_noise_between_batches_is_not_taken_for_a_fall(seed):
    """In small batches, neighbouring losses differ by more than the smallest rates can change them."""
    random = torch.Generator().manual_seed(seed)
    X = torch.randn(240, 10, generator=random)
    y = X @ torch.randn(10, 1, generator=random) + torch.randn(240, 1, generator=random)
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 1))
    result = find_lr(
        model, data.loader(X, y, batch_size=16, seed=seed), loss_fn=nn.MSELoss(),
        optimizer=torch.optim.SGD(model.parameters(), lr=1), device="cpu",
    )  # fmt: skip
    assert 1e-3 < result.suggestion < 1


def test_the_losses_are_those_of_a_loop_by_hand():
    model, optimizer = parts()
    by_hand, other = copy.deepcopy(model), None
    other = torch.optim.Adam(by_hand.parameters(), lr=0.01)
    torch.manual_seed(3)
    result = find_lr(
        model, data.loader(X, y, batch_size=20), loss_fn=nn.MSELoss(), optimizer=optimizer, lr_min=1e-3, lr_max=1e-1,
        steps=11, smoothing=0.5, device="cpu",
    )  # fmt: skip
    torch.manual_seed(3)
    loader, losses, mean, smoothed = data.loader(X, y, batch_size=20), [], 0.0, []
    batches = [batch for _ in range(4) for batch in loader]
    for i in range(11):
        other.param_groups[0]["lr"] = 10 ** (-3 + 2 * i / 10)
        loss = nn.functional.mse_loss(by_hand(batches[i][0]), batches[i][1])
        losses.append(loss.item())
        mean = 0.5 * mean + 0.5 * losses[-1]
        smoothed.append(mean / (1 - 0.5 ** (i + 1)))
        other.zero_grad()
        loss.backward()
        other.step()
    assert_close(torch.tensor(result.loss), torch.tensor(losses), rtol=1e-5, atol=0)
    assert_close(torch.tensor(result.smoothed), torch.tensor(smoothed), rtol=1e-5, atol=0)
    assert result.lr[0] == pytest.approx(1e-3)
    assert result.lr[-1] == pytest.approx(1e-1)


@pytest.mark.parametrize("kind", ["book", "plain"])
def test_it_leaves_no_trace(kind):
    def train(look):
        model, optimizer = parts()
        model.eval()
        if kind == "book":
            loader = data.loader(X, y, batch_size=16)
        else:
            loader = DataLoader(TensorDataset(X, y), batch_size=16, shuffle=True)
        arguments = {"loss_fn": nn.MSELoss(), "optimizer": optimizer, "device": "cpu"}
        torch.manual_seed(5)
        fit(model, loader, epochs=1, progress=False, **arguments)  # so that the optimizer has a state
        if look:
            gradients = [p.grad.clone() for p in model.parameters()]
            find_lr(model, loader, steps=30, **arguments)
            assert all(torch.equal(p.grad, g) for p, g in zip(model.parameters(), gradients, strict=True))
            assert optimizer.param_groups[0]["lr"] == 0.01
            assert not model.training
        fit(model, loader, epochs=2, progress=False, **arguments)
        return [*model.state_dict().values()]

    for a, b in zip(train(True), train(False), strict=True):
        assert torch.equal(a, b)


def test_it_leaves_no_trace_after_an_error_either():
    model, optimizer = parts()
    before = copy.deepcopy(model.state_dict())
    calls = []

    def loss_fn(outputs, target):
        calls.append(1)
        if len(calls) == 5:
            raise ZeroDivisionError
        return nn.functional.mse_loss(outputs, target)

    with pytest.raises(ZeroDivisionError):
        find_lr(model, [(X, y)], loss_fn=loss_fn, optimizer=optimizer, lr_min=1e-3, device="cpu")
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), before.values(), strict=True))
    assert optimizer.state_dict()["state"] == {}


def test_a_sum_is_shown_per_example():
    results = []
    for reduction in ("mean", "sum"):
        torch.manual_seed(0)
        model = nn.Linear(3, 1)
        optimizer = torch.optim.SGD(model.parameters())
        loss_fn = nn.MSELoss(reduction=reduction)
        results.append(find_lr(model, [(X, y)], loss_fn=loss_fn, optimizer=optimizer, device="cpu", lr_max=1e-4))
    assert results[0].loss[0] == pytest.approx(results[1].loss[0], rel=1e-6)


@pytest.mark.parametrize("wrong", [{"lr_min": 0.0}, {"lr_min": 1.0, "lr_max": 0.1}, {"steps": 3}, {"smoothing": 1.0}])
def test_wrong_arguments(wrong):
    model, optimizer = parts()
    with pytest.raises(ValueError, match="0 < lr_min < lr_max, steps >= 10"):
        find_lr(model, [(X, y)], loss_fn=nn.MSELoss(), optimizer=optimizer, device="cpu", **wrong)


def test_a_loss_that_is_never_finite():
    model, optimizer = parts()
    with pytest.raises(ValueError, match="not finite"):
        find_lr(model, [(X * torch.nan, y)], loss_fn=nn.MSELoss(), optimizer=optimizer, device="cpu")


def test_the_figure_shows_what_was_measured():
    model, optimizer = parts()
    result = find_lr(model, [(X, y)], loss_fn=nn.MSELoss(), optimizer=optimizer, device="cpu")
    ax = result.plot()
    raw, smooth, line = ax.get_lines()
    assert list(raw.get_xdata()) == list(result.lr)
    assert list(raw.get_ydata()) == list(result.loss)
    assert list(smooth.get_ydata()) == list(result.smoothed)
    assert line.get_xdata()[0] == result.suggestion
    assert ax.get_xscale() == "log"
    assert ax.get_xlabel() == "learning rate η"
    plt.close(ax.figure)
    assert f"{result.suggestion:.1e}" in repr(result)
