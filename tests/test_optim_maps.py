"""Maps of many runs: each cell against a run of its own, and the regions against the theory of quadratics."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from helpers import optim_rules as rules
from helpers import optim_surfaces, surfaces
from helpers.optim_maps import Map, lowest, over_rate_and_momentum, over_starts, sweep, updates_to
from helpers.optim_paths import descend, torch_path, torch_twin

START = [-5.0, -2.0]
RAVINE = optim_surfaces.ravine()


@given(st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0, math.nan, math.inf]), min_size=1, max_size=9))
def test_updates_to_is_the_first_step_from_which_every_value_is_low_enough(values):
    ok = [i for i in range(len(values)) if all(v <= 1.0 for v in values[i:])]
    expected = float(ok[0]) if ok else math.inf
    assert updates_to(torch.tensor(values), 1.0).item() == expected


def test_updates_to_counts_every_run_by_itself():
    values = torch.tensor([[5.0, 0.1], [0.5, 0.1], [0.5, 7.0]])
    assert updates_to(values, 1.0).tolist() == [1.0, math.inf]


@pytest.mark.parametrize("rule", [rules.Momentum(momentum=0.5), rules.Adam()], ids=["momentum", "Adam"])
def test_a_cell_of_the_map_over_starts_is_torch_optim_from_that_start(rule):
    found = over_starts(RAVINE, lr=0.3, rule=rule, n_steps=80, n=4)
    for i, j in ((0, 0), (3, 1), (2, 3)):
        alone = torch_path(RAVINE, [found.x[i].item(), found.y[j].item()], torch_twin(rule, 0.3), n_steps=80)
        assert found.values[j, i].item() == updates_to(alone.values, 1e-3).item()


def test_the_map_over_rate_and_momentum_is_finite_where_theory_says_stable():
    """Polyak's heavy ball on a quadratic: stable for lr * curvature < 2 (1 + mu); PyTorch's Nesterov: less."""
    rates, momenta = torch.linspace(0.05, 1.2, 24, dtype=torch.float64), torch.linspace(0, 0.9, 10, dtype=torch.float64)
    limits = {
        rules.Momentum: lambda mu: 2 * (1 + mu),
        rules.Nesterov: lambda mu: 2 * (1 + mu) / (1 + 2 * mu),
    }
    for make, limit in limits.items():
        ends = over_rate_and_momentum(
            RAVINE, START, lambda mu, make=make: make(momentum=mu), rates=rates, momenta=momenta, n_steps=3000
        )
        gap = 4 * rates[None, :] / limit(momenta)[:, None] - 1
        clear = gap.abs() > 0.01
        assert_close((ends.values < 1e-6)[clear], (gap < 0)[clear])
        assert (gap < 0)[clear].any()
        assert (gap > 0)[clear].any()


def test_a_cell_over_rate_and_momentum_is_torch_optim_with_that_pair():
    rates, momenta = torch.tensor([0.2, 0.7], dtype=torch.float64), torch.tensor([0.1, 0.6, 0.9], dtype=torch.float64)
    ends = over_rate_and_momentum(
        RAVINE, START, lambda mu: rules.Momentum(momentum=mu), rates=rates, momenta=momenta, n_steps=25
    )
    for i, j in ((0, 0), (1, 2), (1, 1)):
        twin = torch_twin(rules.Momentum(momentum=momenta[j].item()), rates[i].item())
        assert_close(ends.values[j, i], torch_path(RAVINE, START, twin, n_steps=25).values[-1])


def test_a_run_that_leaves_the_numbers_is_infinite_not_nan():
    ends = over_rate_and_momentum(
        RAVINE,
        START,
        lambda mu: rules.Momentum(momentum=mu),
        rates=torch.tensor([0.1, 1e9], dtype=torch.float64),
        momenta=torch.tensor([0.0, 0.5], dtype=torch.float64),
        n_steps=60,
    )
    assert ends.values[:, 1].tolist() == [math.inf, math.inf]
    assert ends.values[:, 0].isfinite().all()


@settings(max_examples=20, deadline=None)
@given(st.floats(0.05, 0.45))
def test_gradient_descent_arrives_when_its_closed_form_says(rate):
    """On x^2 the value after k steps is 100 (1 - 2 rate)^(2k)."""
    found = sweep(
        surfaces.parabola(), 10.0, rules.GradientDescent(), rates=torch.tensor([rate], dtype=torch.float64), n_steps=200
    )
    exact = math.log(1e-3 / 100) / (2 * math.log(1 - 2 * rate))
    assert abs(found.updates.item() - exact) <= 1
    assert found.updates.item() >= exact - 1e-9


def test_the_best_rate_of_a_sweep_arrives_first_and_its_run_is_descend():
    rates = torch.linspace(0.05, 0.6, 12, dtype=torch.float64)
    found = sweep(RAVINE, START, rules.GradientDescent(), rates=rates, n_steps=100)
    assert found.updates.shape == (12, 1)
    assert found.typical[found.best] == found.updates.min()
    alone = descend(RAVINE, START, lr=rates[found.best].item(), n_steps=100)
    assert_close(found.trajectory.run(found.best).points, alone.points)
    assert found.typical[rates > 0.5].tolist() == [math.inf] * int((rates > 0.5).sum())


def test_of_several_starts_the_median_counts_and_each_run_is_its_own():
    starts, rates = torch.tensor([[-5.0, -2.0], [0.1, 0.0], [3.0, 1.0]]), torch.tensor([0.2, 0.45])
    found = sweep(RAVINE, starts, rules.Nesterov(momentum=0.5), rates=rates, n_steps=120)
    for i, rate in enumerate(rates.tolist()):
        for j, start in enumerate(starts.tolist()):
            alone = descend(RAVINE, torch.tensor(start), lr=rate, n_steps=120, rule=rules.Nesterov(momentum=0.5))
            assert found.updates[i, j].item() == updates_to(alone.values, 1e-3).item()
    assert found.typical.tolist() == [sorted(row)[1] for row in found.updates.tolist()]


def test_the_lowest_minimum():
    assert lowest(surfaces.saddle()) == pytest.approx(-1)
    with pytest.raises(ValueError, match="no minimum of quadratic"):
        lowest(surfaces.quadratic([[1.0, 0.0], [0.0, -1.0]]))


def test_the_extent_puts_grid_points_at_the_centres_of_pixels():
    grid = Map(torch.tensor([0.0, 1.0, 2.0]), torch.tensor([10.0, 20.0]), torch.zeros(2, 3))
    assert grid.extent == (-0.5, 2.5, 5.0, 25.0)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: updates_to(torch.tensor(1.0), 1.0), r"shape \(n_steps \+ 1, ...\)"),
        (lambda: updates_to(torch.ones(3), math.nan), "level must be a number"),
        (
            lambda: over_starts(surfaces.parabola(), lr=0.1, rule=rules.Adam(), n_steps=1),
            "two coordinates with a known minimum",
        ),
        (lambda: over_starts(RAVINE, lr=0.1, rule=rules.Adam(), n_steps=1, n=1), "a whole number from 2 on"),
        (
            lambda: over_rate_and_momentum(
                RAVINE,
                START,
                lambda mu: rules.Momentum(momentum=mu),
                rates=torch.ones(1),
                momenta=torch.zeros(2),
                n_steps=1,
            ),
            r"rates must have shape \(n,\)",
        ),
        (
            lambda: over_rate_and_momentum(
                RAVINE,
                [START],
                lambda mu: rules.Momentum(momentum=mu),
                rates=torch.ones(2),
                momenta=torch.zeros(2),
                n_steps=1,
            ),
            "one point of shape",
        ),
        (lambda: sweep(RAVINE, [[START]], rules.Adam(), rates=torch.ones(2), n_steps=1), "sweep takes starts of shape"),
        (lambda: sweep(RAVINE, START, rules.Adam(), rates=torch.ones(0), n_steps=1), "sweep takes starts of shape"),
    ],
)
def test_a_mistake_gets_one_clear_sentence(call, words):
    with pytest.raises(ValueError, match=words):
        call()
