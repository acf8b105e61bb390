"""Update rules against torch.optim, the published forms against each other, and the runs that a source printed."""

import json
import math
from pathlib import Path

import pytest
import torch
from hypothesis import event, given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from helpers import optim_rules as rules
from helpers import optim_surfaces
from helpers.optim_paths import descend, torch_path, torch_twin

F64 = torch.float64
START = [-5.0, -2.0]
SURFACES = optim_surfaces.all_surfaces()
STEEPNESS = {"ravine": 4, "turned ravine": 4, "saddle": 10, "Rosenbrock": 2e3, "Beale": 3e4}
NUMBERS = Path(__file__).parents[2] / "shared" / "curriculum" / "worked_numbers.json"

unit = st.floats(0, 0.99)
decay = st.sampled_from([0.0, 1e-3, 0.1])
eps = st.sampled_from([1e-10, 1e-8, 1e-3])
RULES = st.one_of(
    st.builds(rules.GradientDescent, weight_decay=decay),
    st.builds(rules.Momentum, momentum=st.floats(0.01, 0.99), dampening=unit, weight_decay=decay),
    st.builds(rules.Nesterov, momentum=st.floats(0.01, 0.99), weight_decay=decay),
    st.builds(rules.AdaGrad, eps=eps, lr_decay=st.sampled_from([0.0, 0.01]), weight_decay=decay),
    st.builds(rules.RMSProp, alpha=unit, eps=eps, momentum=unit, centered=st.just(False), weight_decay=decay),
    st.builds(rules.RMSProp, alpha=st.floats(0.5, 0.99), eps=st.just(1e-3), centered=st.just(True)),
    st.builds(rules.Adadelta, rho=unit, eps=eps, weight_decay=decay),
    st.builds(
        rules.Adam,
        betas=st.tuples(unit, st.floats(0, 0.9999)),
        eps=eps,
        weight_decay=decay,
        decoupled=st.booleans(),
        amsgrad=st.booleans(),
    ),
)


@settings(max_examples=60, deadline=None)
@given(rule=RULES, name=st.sampled_from(sorted(SURFACES)), rate=st.floats(1e-4, 0.5), unit_start=st.tuples(unit, unit))
def test_the_pytorch_form_walks_the_path_of_torch_optim(rule, name, rate, unit_start):
    f = SURFACES[name]
    if not isinstance(rule, rules.AdaGrad | rules.RMSProp | rules.Adadelta | rules.Adam):
        rate /= STEEPNESS[name]
    start = [low + (high - low) * u for (low, high), u in zip(f.domain, unit_start, strict=True)]
    ours = descend(f, start, lr=rate, n_steps=200, rule=rule).points
    theirs = torch_path(f, start, torch_twin(rule, rate), n_steps=200).points
    # Where a run is chaotic or leaves for infinity, rounding grows by itself: compare as far as a nudge of the start in
    # its last digits changes nothing either.
    nudged = descend(f, [x * (1 + 1e-14) + 1e-15 for x in start], lr=rate, n_steps=200, rule=rule).points
    tame = ((ours - nudged).abs().amax(dim=1) < 1e-8) & (ours.abs().amax(dim=1) < 1e3)
    n = len(tame) if tame.all() else int((~tame).int().argmax())
    event(f"compared {'all' if n == 201 else 'at least 20' if n >= 20 else 'fewer than 20'} of the points")
    assert_close(ours[:n], theirs[:n], rtol=1e-6, atol=1e-6)


def test_every_rule_equals_its_twin_to_the_end_where_the_run_converges():
    for rule, lr in (
        (rules.GradientDescent(), 0.4),
        (rules.Momentum(momentum=0.5, dampening=0.3), 0.4),
        (rules.Nesterov(momentum=0.5), 0.2),
        (rules.AdaGrad(), 0.4),
        (rules.Adadelta(), 1.0),
        (rules.Adam(), 0.16),
        (rules.Adam(amsgrad=True, weight_decay=0.1, decoupled=True), 0.16),
    ):
        ours = descend(SURFACES["ravine"], START, lr=lr, n_steps=200, rule=rule)
        theirs = torch_path(SURFACES["ravine"], START, torch_twin(rule, lr), n_steps=200)
        assert_close(ours.points, theirs.points, rtol=1e-10, atol=1e-12)


def printed_runs():
    """The source's own rules: epsilon 1e-6 inside the root, Adam's correction with a constant divisor."""
    return {
        "004-sgd-0.4": (rules.GradientDescent(), 0.4, (-0.943467, -0.000073)),
        "004-sgd-0.6": (rules.GradientDescent(), 0.6, (-0.387814, -1673.365109)),
        "004-mom-.5": (rules.Momentum(momentum=0.5, rate_inside=True), 0.6, (0.007188, 0.002553)),
        "004-mom-.25": (rules.Momentum(momentum=0.25, rate_inside=True), 0.6, (-0.126340, -0.186632)),
        "004-adagrad-.4": (rules.AdaGrad(eps=1e-6, eps_inside=True), 0.4, (-2.382563, -0.158591)),
        "004-adagrad-2": (rules.AdaGrad(eps=1e-6, eps_inside=True), 2.0, (-0.002295, 0.0)),
        "004-rmsprop": (rules.RMSProp(alpha=0.9, eps=1e-6, eps_inside=True), 0.4, (-0.010599, 0.0)),
        "004-adam-buggy": (rules.Adam(bias_correction="constant"), 0.16, (0.131652, 0.447787)),
        "004-adam-correct": (rules.Adam(), 0.16, (-1.980180, 0.398413)),
    }


@pytest.mark.parametrize("name", printed_runs())
def test_the_printed_runs_are_reproduced_to_their_digits(name):
    rule, lr, printed = printed_runs()[name]
    final = descend(SURFACES["ravine"], START, lr=lr, n_steps=20, rule=rule).final
    assert [f"{abs(x):.6f}" for x in final.tolist()] == [f"{abs(x):.6f}" for x in printed]


@pytest.mark.skipif(not NUMBERS.exists(), reason="the reference values lie beside a working copy only")
def test_the_reference_values_agree():
    numbers = {row["id"]: row for row in json.loads(NUMBERS.read_text())}
    for name, (_, _, printed) in printed_runs().items():
        if "computed" in numbers.get(name, {}):
            assert_close(
                torch.tensor(numbers[name]["computed"], dtype=F64),
                torch.tensor(printed, dtype=F64),
                rtol=0,
                atol=5.1e-7,
            )


def test_the_rate_inside_the_velocity_matters_only_when_it_changes():
    outside, inside = rules.Momentum(momentum=0.8), rules.Momentum(momentum=0.8, rate_inside=True)
    runs = [descend(SURFACES["ravine"], START, lr=0.1, n_steps=30, rule=r).points for r in (outside, inside)]
    assert_close(*runs)
    runs = [
        descend(SURFACES["ravine"], START, lr=lambda k: 0.1 / (k + 1), n_steps=30, rule=r).points
        for r in (outside, inside)
    ]
    assert (runs[0] - runs[1]).abs().max() > 0.1


def test_pytorchs_nesterov_iterates_are_the_look_ahead_points_of_the_published_form():
    published = descend(
        SURFACES["Beale"], [1.0, 1.0], lr=0.01, n_steps=80, rule=rules.NesterovLookAhead(momentum=0.9), keep_state=True
    )
    ahead = published.points[1:] + 0.9 * published.states["velocity"]
    ours = descend(SURFACES["Beale"], [1.0, 1.0], lr=0.01, n_steps=80, rule=rules.Nesterov(momentum=0.9))
    assert_close(ours.points[1:], ahead)


def test_published_and_efficient_adam_differ_by_epsilon_only():
    f = SURFACES["ravine"]
    close = [
        descend(f, START, lr=0.1, n_steps=50, rule=rules.Adam(eps=0.0, eps_hat=hat)).points for hat in (True, False)
    ]
    assert_close(*close)
    apart = [
        descend(f, START, lr=0.1, n_steps=50, rule=rules.Adam(eps=0.1, eps_hat=hat)).points for hat in (True, False)
    ]
    assert (apart[0] - apart[1]).abs().max() > 0.01


def test_epsilon_inside_the_root_tames_the_first_step_of_a_small_gradient():
    x, g = torch.zeros(1, dtype=F64), torch.full((1,), 1e-3, dtype=F64)
    inside = rules.AdaGrad(eps=1e-6, eps_inside=True)(x, g, {}, 1.0)
    outside = rules.AdaGrad(eps=1e-6)(x, g, {}, 1.0)
    assert inside.item() == pytest.approx(-1 / math.sqrt(2))
    assert outside.item() == pytest.approx(-1 / (1 + 1e-3))


def test_decoupled_decay_shrinks_and_l2_is_divided_away_again():
    x, g = torch.tensor([2.0, 2.0], dtype=F64), torch.tensor([1e-6, 1e6], dtype=F64)
    l2 = rules.Adam(weight_decay=0.1)(x, g, {}, 0.01)
    decoupled = rules.Adam(weight_decay=0.1, decoupled=True)(x, g, {}, 0.01)
    assert_close(decoupled, torch.full((2,), -0.01 - 0.01 * 0.1 * 2, dtype=F64), rtol=0.02, atol=0)
    assert_close(l2, torch.full((2,), -0.01, dtype=F64), rtol=0.02, atol=0)


def test_amsgrad_never_lets_the_divisor_shrink():
    path = descend(
        SURFACES["ravine"], START, lr=0.2, n_steps=300, rule=rules.Adam(betas=(0.9, 0.9), amsgrad=True), keep_state=True
    )
    assert (path.states["largest"].diff(dim=0) >= 0).all()
    assert (path.states["squares"].diff(dim=0) < 0).any()


@settings(max_examples=15, deadline=None)
@given(rule=RULES)
def test_many_starts_are_many_runs(rule):
    starts = torch.tensor([[-1.0, 0.3], [0.5, -0.4], [0.2, 0.9]], dtype=F64)
    together = descend(SURFACES["turned ravine"], starts, lr=0.05, n_steps=25, rule=rule)
    for i, start in enumerate(starts):
        assert_close(
            together.run(i).points, descend(SURFACES["turned ravine"], start, lr=0.05, n_steps=25, rule=rule).points
        )


def test_hyper_parameters_may_differ_from_start_to_start():
    momenta = torch.tensor([[0.0], [0.5], [0.9]], dtype=F64)
    together = descend(
        SURFACES["ravine"],
        [START] * 3,
        lr=torch.tensor([0.1, 0.2, 0.3]),
        n_steps=20,
        rule=rules.Momentum(momentum=momenta),
    )
    alone = descend(SURFACES["ravine"], START, lr=0.2, n_steps=20, rule=rules.Momentum(momentum=0.5))
    assert_close(together.run(1).points, alone.points)


def test_a_gradient_of_ones_own_is_what_the_rule_sees():
    seen = descend(SURFACES["ravine"], START, lr=1.0, n_steps=3, gradient=lambda x, k: torch.full_like(x, float(k)))
    assert seen.gradients[:, 0].tolist() == [0, 1, 2, 3]
    assert seen.final.tolist() == [-8, -5]


def test_state_is_kept_only_when_asked_for():
    assert descend(SURFACES["ravine"], START, lr=0.1, n_steps=5, rule=rules.Adam()).states == {}
    kept = descend(SURFACES["ravine"], [START] * 2, lr=0.1, n_steps=5, rule=rules.Adam(), keep_state=True)
    assert kept.states["rate"].shape == (5, 2, 2)
    assert kept.run(1).states["rate"].shape == (5, 2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: rules.Momentum(momentum=1.0), "momentum must be at least 0 and below 1"),
        (lambda: rules.Adam(betas=(0.9, -0.1)), "beta must be"),
        (lambda: rules.RMSProp(eps=math.nan), "eps must be 0 or more"),
        (lambda: rules.Adam(bias_correction="off"), "'power', 'constant' or 'none'"),
        (lambda: torch_twin(rules.AdaGrad(eps_inside=True), 0.1), "torch.optim has no optimizer"),
        (lambda: torch_twin(rules.NesterovLookAhead(), 0.1), "torch.optim has no optimizer"),
        (lambda: torch_twin(lambda x, g, s, lr: g, 0.1), "torch.optim has no optimizer"),
    ],
)
def test_a_mistake_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("name", sorted(SURFACES))
def test_the_minima_are_minima(name):
    f = SURFACES[name]
    for minimum in f.minima:
        assert_close(f.gradient(minimum), torch.zeros(2, dtype=F64), rtol=0, atol=1e-9)
        assert (torch.linalg.eigvalsh(f.hessian(minimum)) > 0).all()
