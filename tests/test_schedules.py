"""helpers.schedules against plain networks trained by torch.optim, and torch's own schedulers and clipping."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from helpers import schedules
from helpers.schedules import rates_of, train_many

WIDTHS = (5, 7, 3)
N_STEPS = 12


@pytest.fixture
def data():
    generator = torch.Generator().manual_seed(1)
    X = torch.randn(22, 5, generator=generator, dtype=torch.float64)
    return X, torch.randint(3, (22,), generator=generator)


def plain(X, y, rates, seed, *, batch_size, optimizer, options, gain=1.0, clip_norm=None):
    """One network of torch.nn, trained by torch.optim with the same start, batches and rates."""
    layers = [nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3)]
    net = nn.Sequential(*layers).double()
    start = schedules._start([seed], WIDTHS, gain, torch.float64)
    with torch.no_grad():
        for layer, (w, b) in zip((net[0], net[2]), zip(start[::2], start[1::2], strict=True), strict=True):
            layer.weight.copy_(w[0].T)
            layer.bias.copy_(b[0, 0])
    order = schedules._deal([seed], len(y), len(rates), batch_size)[:, 0]
    stepper = optimizer(net.parameters(), lr=1.0, **options)
    for lr, rows in zip(rates.tolist(), order, strict=True):
        stepper.param_groups[0]["lr"] = lr
        stepper.zero_grad()
        nn.functional.cross_entropy(net(X[rows]), y[rows]).backward()
        if clip_norm is not None:
            nn.utils.clip_grad_norm_(net.parameters(), clip_norm)
        stepper.step()
    return net


@pytest.mark.parametrize(
    ("optimizer", "options"),
    [
        (torch.optim.SGD, {}),
        (torch.optim.SGD, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
        (torch.optim.Adam, {}),
        (torch.optim.AdamW, {"weight_decay": 0.3}),
        (torch.optim.RMSprop, {}),
    ],
)
@pytest.mark.parametrize("clip_norm", [None, 0.3])
def test_every_run_equals_a_network_trained_alone_by_torch(data, optimizer, options, clip_norm):
    X, y = data
    t = torch.arange(N_STEPS, dtype=torch.float64)
    rates = torch.stack([0.05 * (1 + torch.cos(math.pi * t / N_STEPS)), 0.2 / (t + 1), 0.01 + 0 * t], dim=1)
    seeds = [3, 4, 3]
    common = {"batch_size": 4, "optimizer": optimizer, "options": options, "gain": 1.5, "clip_norm": clip_norm}
    runs = train_many(X, y, rates, seeds=seeds, widths=WIDTHS, **common)
    _, right = runs.evaluate(X, y)
    for k, seed in enumerate(seeds):
        net = plain(X, y, rates[:, k], seed, **common)
        for ours, theirs in zip(runs.parameters, net.parameters(), strict=True):
            torch.testing.assert_close(ours[k].T.reshape(theirs.shape), theirs.detach(), rtol=1e-9, atol=1e-11)
        torch.testing.assert_close(runs.final[k], nn.functional.cross_entropy(net(X), y).detach())
        assert right[k] == (net(X).argmax(dim=1) == y).double().mean()


def test_the_start_follows_the_law_of_linear_and_each_seed_has_its_own():
    weight, bias, *_ = schedules._start([0, 1, 0], (400, 50, 2), 1.0, torch.float64)
    assert weight.shape == (3, 400, 50)
    assert bias.shape == (3, 1, 50)
    assert torch.equal(weight[0], weight[2])
    assert not torch.equal(weight[0], weight[1])
    torch.manual_seed(0)
    theirs = nn.Linear(400, 50).weight
    assert 0.99 / 20 < weight.abs().max() <= 1 / 20
    assert abs(weight.std() / theirs.std() - 1) < 0.02


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 9), st.integers(9, 30), st.integers(1, 40))
def test_within_an_epoch_no_example_is_used_twice(batch_size, n, n_steps):
    order = schedules._deal([0, 5], n, n_steps, batch_size)
    assert order.shape == (n_steps, 2, batch_size)
    per_epoch = n // batch_size
    for epoch in order.split(per_epoch):
        for run in range(2):
            assert epoch[:, run].unique().numel() == epoch[:, run].numel()


def test_losses_are_recorded_at_the_start_evenly_and_at_the_end(data):
    X, y = data
    runs = train_many(X, y, torch.full((10, 2), 0.1), seeds=[0, 1], batch_size=8, widths=WIDTHS, n_records=5)
    assert runs.steps.tolist() == [0, 2, 4, 6, 8, 10]
    short = train_many(X, y, torch.full((4, 2), 0.1), seeds=[0, 1], batch_size=8, widths=WIDTHS)
    torch.testing.assert_close(short.final, runs.losses[2])


def test_a_diverged_run_has_infinite_loss_and_leaves_the_others_alone(data):
    X, y = data
    rates = torch.tensor([[1e200, 0.1]], dtype=torch.float64).expand(6, 2)
    runs = train_many(X, y, rates, seeds=[0, 0], batch_size=8, widths=WIDTHS)
    alone = train_many(X, y, rates[:, 1:], seeds=[0], batch_size=8, widths=WIDTHS)
    assert runs.final[0] == math.inf
    torch.testing.assert_close(runs.final[1:], alone.final)


def test_rates_of_gives_the_closed_form_of_cosine_annealing():
    found = rates_of(lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=20), 20, lr=0.3)
    expected = 0.15 * (1 + torch.cos(math.pi * torch.arange(20, dtype=torch.float64) / 20))
    torch.testing.assert_close(found, expected)
    with pytest.raises(ValueError, match="a whole number from 1 on"):
        rates_of(lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 1), 0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rates": torch.ones(4)}, "give every run a column"),
        ({"rates": torch.tensor([[0.1, -0.1]])}, "negative or not finite"),
        ({"rates": torch.tensor([[0.1, math.nan]])}, "negative or not finite"),
        ({"seeds": [1]}, "1 seeds for 2 runs"),
        ({"batch_size": 23}, "from 1 to the number of examples, 22"),
        ({"widths": (4, 3)}, "does not fit 5 inputs"),
        ({"widths": (5, 2)}, "classes 0 to 2"),
        ({"clip_norm": 0.0}, "positive number or None"),
        ({"n_records": 9}, "number of updates, 4"),
        ({"y": torch.zeros(3, dtype=torch.long)}, "not .22, 5. and .3,."),
    ],
)
def test_what_does_not_fit_is_said_in_one_sentence(data, change, words):
    X, y = data
    call = {"X": X, "y": y, "rates": torch.full((4, 2), 0.1), "seeds": [0, 1], "batch_size": 4, "widths": WIDTHS}
    call |= change
    with pytest.raises(ValueError, match=words):
        train_many(call.pop("X"), call.pop("y"), call.pop("rates"), **call)
