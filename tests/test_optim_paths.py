"""Paths, surfaces and curvature against oracles that nobody here wrote: autograd, torch.optim, linear algebra."""

import math

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from helpers import surfaces
from helpers.curvature import classify, largest_stable_lr
from helpers.optim_paths import descend, quadratic_path

F64 = torch.float64
SURFACES = {
    "parabola": surfaces.parabola(),
    "x_cos": surfaces.x_cos(),
    "saddle": surfaces.saddle(),
    "bowl": surfaces.quadratic([[2.0, 0.5], [0.5, 4.0]], [1.0, -2.0]),
    "line_fit": surfaces.line_fit([1, 2, 3], [1, 2, 3]),
}
every_surface = pytest.mark.parametrize("surface", SURFACES.values(), ids=SURFACES)


def positive_definite(eigenvalues, angle):
    c, s = math.cos(angle), math.sin(angle)
    Q = torch.tensor([[c, -s], [s, c]], dtype=F64)
    H = Q @ torch.diag(torch.tensor(eigenvalues, dtype=F64)) @ Q.T
    return (H + H.T) / 2


def random_points(surface, n, seed=0):
    low, high = torch.tensor(surface.domain, dtype=F64).T
    generator = torch.Generator().manual_seed(seed)
    return low + (high - low) * torch.rand(n, surface.dim, generator=generator, dtype=F64)


# --- surfaces ---------------------------------------------------------------------------------------------------------


@every_surface
def test_stated_minima_are_strict_minima(surface):
    assert surface.minima
    for minimum in surface.minima:
        assert_close(surface.gradient(minimum), torch.zeros(surface.dim, dtype=F64), atol=1e-12, rtol=0)
        assert torch.linalg.eigvalsh(surface.hessian(minimum))[0] > 0
        assert classify(surface, minimum).kind == "minimum"


@pytest.mark.parametrize("name", ["parabola", "x_cos", "saddle"])
def test_no_minimum_of_the_window_is_missing(name):
    surface = SURFACES[name]
    ends = descend(surface, random_points(surface, 400), lr=0.05, n_steps=2000).final
    low, high = torch.tensor(surface.domain, dtype=F64).T
    inside = ends[((ends >= low) & (ends <= high)).all(dim=1)]
    distance = torch.cdist(inside, torch.tensor(surface.minima, dtype=F64))
    assert distance.min(dim=1).values.max() < 1e-6, "a run ended at a minimum that is not listed"
    assert distance.min(dim=0).values.max() < 1e-6, "a listed minimum attracted no run"


@every_surface
def test_gradient_and_hessian_match_finite_differences(surface):
    point, step = random_points(surface, 1)[0], 1e-5
    for i in range(surface.dim):
        e = torch.zeros(surface.dim, dtype=F64)
        e[i] = step
        slope = (surface(point + e) - surface(point - e)) / (2 * step)
        assert_close(surface.gradient(point)[i], slope, atol=1e-6, rtol=1e-6)
        bend = (surface.gradient(point + e) - surface.gradient(point - e)) / (2 * step)
        assert_close(surface.hessian(point)[i], bend, atol=1e-6, rtol=1e-6)


@every_surface
def test_a_batch_of_points_is_the_points_one_by_one(surface):
    points = random_points(surface, 6).reshape(2, 3, surface.dim)
    for i in range(2):
        for j in range(3):
            assert_close(surface(points)[i, j], surface(points[i, j]))
            assert_close(surface.gradient(points)[i, j], surface.gradient(points[i, j]))


def test_a_surface_keeps_the_graph_of_its_argument():
    x = torch.tensor([3.0], dtype=F64, requires_grad=True)
    surfaces.parabola()(x).backward()
    assert x.grad.item() == 6.0


def test_line_fit_is_mean_squared_error_with_its_least_squares_minimum():
    generator = torch.Generator().manual_seed(1)
    x, y = torch.randn(2, 20, generator=generator, dtype=F64)
    surface = surfaces.line_fit(x, y)
    model = torch.nn.Linear(1, 1, dtype=F64)
    expected = torch.nn.functional.mse_loss(model(x[:, None]), y[:, None])
    assert_close(surface([model.weight.item(), model.bias.item()]), expected.detach())
    assert_close(torch.tensor(surface.minima[0], dtype=F64), torch.linalg.pinv(torch.stack([x, x**0], 1)) @ y)


def test_sample_follows_the_order_of_matplotlib():
    surface = surfaces.quadratic([[2.0, 0.0], [0.0, 4.0]])
    sample = surface.sample(5, domain=((0, 4), (10, 14)))
    assert sample.values.shape == (5, 5)
    assert sample.values[3, 1] == surface([1.0, 13.0])
    assert surfaces.parabola().sample(7).values.shape == (7,)


# --- descent ----------------------------------------------------------------------------------------------------------


@every_surface
def test_descend_is_torch_sgd(surface):
    start = random_points(surface, 1)[0] / 3
    p = start.clone().requires_grad_()
    optimizer = torch.optim.SGD([p], lr=0.03)
    path = descend(surface, start, lr=0.03, n_steps=25)
    for k in range(26):
        optimizer.zero_grad()
        value = surface.f(p)
        value.backward()
        assert_close(path.points[k], p.detach(), atol=1e-13, rtol=1e-13)
        assert_close(path.values[k], value.detach())
        assert_close(path.gradients[k], p.grad)
        optimizer.step()


def test_published_runs_to_their_last_digit():
    def end(surface, start, lr, n):
        return descend(surface, start, lr=lr, n_steps=n).final.tolist()

    for lr, stated in ((0.2, 0.060466), (0.05, 3.486784), (1.1, 61.917364)):
        assert end(surfaces.parabola(), 10.0, lr, 10) == pytest.approx([stated], abs=5.1e-7)
    assert end(surfaces.x_cos(), 10.0, 2, 10) == pytest.approx([-1.528166], abs=5.1e-6)
    assert end(surfaces.x_cos(), torch.tensor([10.0]), 2, 10) == pytest.approx([-1.528166], abs=5.1e-6)  # float32
    assert end(surfaces.x_cos(), 10.0, 0.1, 200) == pytest.approx([7.269388146311477], abs=1e-9)
    bowl = surfaces.quadratic([[2.0, 0.0], [0.0, 4.0]])
    assert end(bowl, [-5, -2], 0.1, 20) == pytest.approx([-0.057646, -0.000073], abs=5.1e-7)


eigenvalue = st.floats(0.05, 20)
angle = st.floats(0, math.pi)
coordinate = st.floats(-5, 5)


@settings(deadline=None, max_examples=60)
@given(eigenvalue, eigenvalue, angle, coordinate, coordinate, st.floats(0.01, 0.95))
def test_descent_on_a_quadratic_is_its_closed_form(low, high, turn, a, b, share):
    H, start, minimum = positive_definite([low, high], turn), [a, b], [0.5, -1.5]
    lr = share * largest_stable_lr(H)
    walked = descend(surfaces.quadratic(H, minimum), start, lr=lr, n_steps=30)
    known = quadratic_path(H, start, lr=lr, n_steps=30, minimum=minimum)
    for name in ("points", "values", "gradients"):
        assert_close(getattr(walked, name), getattr(known, name), atol=1e-9, rtol=1e-9)


@settings(deadline=None, max_examples=60)
@given(eigenvalue, eigenvalue, angle, st.floats(0.05, 1.95))
def test_a_quadratic_converges_exactly_below_the_limit(low, high, turn, times):
    assume(abs(times - 1) > 0.02)
    H = positive_definite([low, high], turn)
    start = torch.linalg.eigh(H).eigenvectors.sum(dim=1)  # a part of 1 along each eigenvector
    errors = descend(surfaces.quadratic(H), start, lr=times * largest_stable_lr(H), n_steps=60).points.norm(dim=1)
    slowest = max(abs(1 - times * 2 * v / max(low, high)) for v in (low, high))
    assert (slowest < 1) == (times < 1)
    assert (errors[-1] < errors[0]) == (times < 1)
    # Along the run the error lies between the slowest direction alone and both directions at that factor.
    assert 0.999 * slowest**60 - 1e-12 <= errors[-1] <= 1.415 * slowest**60 + 1e-12


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(coordinate, coordinate), min_size=1, max_size=5), st.floats(0, 0.2))
def test_many_starts_are_the_starts_one_by_one(starts, lr):
    surface = surfaces.saddle()
    together = descend(surface, starts, lr=lr, n_steps=8)
    assert together.points.shape == (9, len(starts), 2)
    for i, start in enumerate(starts):
        alone = descend(surface, start, lr=lr, n_steps=8)
        for name in ("points", "values", "gradients"):
            assert_close(getattr(together.run(i), name), getattr(alone, name), rtol=0, atol=0, equal_nan=True)


def test_every_start_may_have_its_own_rate():
    rates = torch.tensor([0.05, 0.2, 1.1], dtype=F64)
    together = descend(surfaces.parabola(), [[10.0]] * 3, lr=rates, n_steps=10)
    assert_close(together.final[:, 0], 10 * (1 - 2 * rates) ** 10)


def test_a_schedule_sees_each_step_once():
    seen = []
    path = descend(surfaces.parabola(), 10.0, lr=lambda k: seen.append(k) or 0.1 / (k + 1), n_steps=3)
    assert seen == [0, 1, 2]
    assert path.final.item() == pytest.approx(10 * (1 - 0.2) * (1 - 0.1) * (1 - 0.2 / 3))


def test_a_rule_keeps_its_own_state():
    def heavy_ball(x, gradient, state, lr):
        state["v"] = 0.9 * state["v"] + gradient if "v" in state else gradient
        return -lr * state["v"]

    p = torch.tensor([10.0], dtype=F64, requires_grad=True)
    optimizer = torch.optim.SGD([p], lr=0.1, momentum=0.9)
    for _ in range(12):
        optimizer.zero_grad()
        (p**2).sum().backward()
        optimizer.step()
    for _ in range(2):  # the second run must not inherit the velocity of the first
        assert_close(descend(surfaces.parabola(), 10.0, lr=0.1, n_steps=12, rule=heavy_ball).final, p.detach())


def test_a_diverging_run_is_kept_and_reported():
    path = descend(surfaces.saddle(), [[0.5, 0.5], [2.0, 9.0]], lr=0.4, n_steps=60)
    assert path.diverged.tolist() == [False, True]
    assert path.run(0).points.isfinite().all()
    assert path.run(1).diverged
    assert len(path.run(1).points) == 61


def test_no_step_returns_the_start():
    path = descend(surfaces.parabola(), 3.0, lr=0.1, n_steps=0)
    assert (path.n_steps, path.points.tolist(), path.values.tolist()) == (0, [[3.0]], [9.0])


# --- curvature --------------------------------------------------------------------------------------------------------


def test_limit_of_the_three_point_fit():
    H = SURFACES["line_fit"].hessian([0, 0])
    assert largest_stable_lr(H) == pytest.approx(6 / (17 + math.sqrt(265)), abs=1e-14)
    assert largest_stable_lr(3 * H) == pytest.approx(0.0600982836583578, abs=1e-12)


@pytest.mark.parametrize(
    ("hessian", "kind"),
    [
        ([[2.0, 0.0], [0.0, 4.0]], "minimum"),
        ([[-2.0, 0.0], [0.0, -4.0]], "maximum"),
        ([[2.0, 4.0], [4.0, 2.0]], "saddle"),
        ([[2.0, 0.0], [0.0, 0.0]], "undecided"),
        ([[-2.0, 0.0], [0.0, 0.0]], "undecided"),
        ([[0.0, 0.0], [0.0, 0.0]], "undecided"),
    ],
)
def test_kinds_of_stationary_points(hessian, kind):
    surface = surfaces.quadratic(hessian)
    found = classify(surface, [0, 0])
    assert found.kind == kind
    H, Q = surface.hessian([0, 0]), found.eigenvectors
    assert_close(H @ Q, Q * found.eigenvalues, atol=1e-12, rtol=0)


def test_one_zero_component_is_not_stationary():
    assert classify(surfaces.saddle(), [0, 1]).kind == "not stationary"


# --- mistakes ---------------------------------------------------------------------------------------------------------

MISTAKES = {
    "too few coordinates": (lambda: descend(surfaces.saddle(), [1.0], lr=0.1, n_steps=1), r"last axis has 2 entries"),
    "many 1-D starts in a row": (
        lambda: descend(surfaces.parabola(), [1.0, 2.0], lr=0.1, n_steps=1),
        r"\(n_starts, 1\)",
    ),
    "too many axes": (lambda: descend(surfaces.saddle(), torch.zeros(2, 2, 2), lr=0.1, n_steps=1), r"\(2, 2, 2\)"),
    "start NaN": (lambda: descend(surfaces.parabola(), math.nan, lr=0.1, n_steps=1), "no finite value"),
    "slope infinite": (lambda: descend(lambda p: p[..., 0].sqrt(), [0.0], lr=0.1, n_steps=1), "no finite value"),
    "rate negative": (lambda: descend(surfaces.parabola(), 1.0, lr=-0.1, n_steps=1), "not negative, got -0.1"),
    "rate NaN": (lambda: descend(surfaces.parabola(), 1.0, lr=math.nan, n_steps=1), "finite"),
    "rates without starts": (lambda: descend(surfaces.parabola(), 1.0, lr=torch.ones(3), n_steps=1), r"\(3, dim\)"),
    "negative steps": (lambda: descend(surfaces.parabola(), 1.0, lr=0.1, n_steps=-1), "a whole number from 0 on"),
    "f sums over the batch": (
        lambda: descend(lambda p: (p**2).sum(), [[1.0], [2.0]], lr=0.1, n_steps=1),
        "one per point",
    ),
    "run of one start": (lambda: descend(surfaces.parabola(), 1.0, lr=0.1, n_steps=1).run(0), "one of many starts"),
    "Hessian not symmetric": (lambda: surfaces.quadratic([[1.0, 2.0], [0.0, 1.0]]), "symmetric"),
    "Hessian not finite": (lambda: largest_stable_lr([[math.inf]]), "finite symmetric"),
    "no limit on a saddle": (lambda: largest_stable_lr([[1.0, 0.0], [0.0, -1.0]]), "not positive definite"),
    "minimum of another size": (lambda: surfaces.quadratic([[1.0]], [0.0, 0.0]), r"shape \(1,\)"),
    "x and y differ": (lambda: surfaces.line_fit([1.0, 2.0], [1.0]), "same shape"),
    "one x only": (lambda: surfaces.line_fit([2.0, 2.0], [1.0, 3.0]), "two different x"),
    "c zero": (lambda: surfaces.x_cos(0.0), "positive number"),
    "domain upside down": (lambda: surfaces.Surface("f", lambda p: p[..., 0], ((1.0, -1.0),)), "low < high"),
    "minimum too long": (
        lambda: surfaces.Surface("f", lambda p: p[..., 0], ((0, 1),), ((0, 0),)),
        "must have 1 entries",
    ),
    "Hessian of a batch": (lambda: surfaces.saddle().hessian([[0, 0], [1, 1]]), "one point"),
    "classify at a kink": (
        lambda: classify(surfaces.Surface("√x", lambda p: p[..., 0].sqrt(), ((0, 1),)), [0.0]),
        "no finite first and second derivatives",
    ),
    "sample of three coordinates": (lambda: surfaces.quadratic(torch.eye(3)).sample(), "one or two coordinates"),
}


@pytest.mark.parametrize(("call", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_gets_one_clear_sentence(call, message):
    with pytest.raises(ValueError, match=message):
        call()
