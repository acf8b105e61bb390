import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from helpers import toy

ALL = [toy.line, toy.polynomial, toy.moons, toy.spirals, toy.blobs, toy.high_dimensional_linear, toy.adding_problem]
LABELLED = [toy.moons, toy.spirals, toy.blobs]


@pytest.mark.parametrize("make", ALL)
@given(n=st.integers(3, 60), seed=st.integers(0, 2**31))
@settings(max_examples=15, deadline=None)
def test_shapes_types_and_seeds(make, n, seed):
    global_state = torch.get_rng_state()
    X, y = make(n, seed=seed)
    again, other = make(n, seed=seed), make(n, seed=seed + 1)
    assert torch.equal(torch.get_rng_state(), global_state)
    assert X.shape[0] == n
    assert X.dtype == torch.float32
    if make in LABELLED:
        assert y.shape == (n,)
        assert y.dtype == torch.int64
    else:
        assert y.shape == (n, 1)
        assert y.dtype == torch.float32
    assert torch.equal(again[0], X)
    assert torch.equal(again[1], y)
    assert not torch.equal(other[0], X)
    assert make(n, dtype=torch.float64)[0].dtype == torch.float64


@pytest.mark.parametrize("make", ALL)
@pytest.mark.parametrize("n", [0, -1, 2.5, "many"])
def test_bad_n(make, n):
    with pytest.raises(ValueError, match=r"^n is .*, but must be a whole number from \d on"):
        make(n)


@pytest.mark.parametrize("make", [toy.line, toy.polynomial, *LABELLED, toy.high_dimensional_linear])
@pytest.mark.parametrize("noise", [-0.1, math.nan])
def test_bad_noise(make, noise):
    with pytest.raises(ValueError, match="a standard deviation is finite and never negative"):
        make(noise=noise)


def test_line_is_the_line_plus_noise_of_the_given_size():
    X, y = toy.line(20_000, w=(2.0, -3.4), b=4.2, noise=0.25, dtype=torch.float64)
    assert X.min() >= -1
    assert X.max() < 1
    design = torch.cat([X, torch.ones(len(X), 1, dtype=X.dtype)], 1)
    fitted, *_ = np.linalg.lstsq(design, y, rcond=None)
    np.testing.assert_allclose(fitted[:, 0], [2.0, -3.4, 4.2], atol=0.02)
    assert_close((y - design @ torch.as_tensor(fitted)).std().item(), 0.25, atol=0.005, rtol=0)


def test_polynomial_against_numpy():
    coefficients = (0.5, -2.0, 0.0, 3.0)
    X, y = toy.polynomial(50, coefficients=coefficients, noise=0.0, low=-1, high=4, dtype=torch.float64)
    assert X.min() >= -1
    assert 3 < X.max() < 4
    np.testing.assert_allclose(y.numpy(), np.polynomial.Polynomial(coefficients)(X.numpy()), rtol=1e-12)
    noisy = toy.polynomial(50_000, noise=0.3)[1] - toy.polynomial(50_000, noise=0.0)[1]
    assert_close(noisy.std().item(), 0.3, atol=0.005, rtol=0)


@pytest.mark.parametrize("n", [100, 7])
def test_moons_against_scikit_learn(n):
    from sklearn.datasets import make_moons

    X, y = toy.moons(n, noise=0.0, dtype=torch.float64)
    expected, labels = make_moons((n - n // 2, n // 2), shuffle=False)
    for label in (0, 1):
        ours = X[y == label].numpy()
        theirs = expected[labels == label]
        np.testing.assert_allclose(ours[ours[:, 0].argsort()], theirs[theirs[:, 0].argsort()], atol=1e-12)


@pytest.mark.parametrize("make", LABELLED)
def test_labels_come_in_random_order(make):
    _, y = make(120)
    changes = (y[1:] != y[:-1]).sum()
    assert 30 < changes < 110
    assert y.tolist() != [i % len(y.unique()) for i in range(120)]


def test_spirals_lie_on_their_arms():
    X, y = toy.spirals(300, classes=4, turns=1.5, noise=0.0, dtype=torch.float64)
    radius = X.norm(dim=1)
    angle = torch.atan2(X[:, 1], X[:, 0])
    off = (angle - 2 * math.pi * (1.5 * radius + y / 4)) / (2 * math.pi)
    assert_close(off, off.round(), atol=1e-12, rtol=0)
    assert y.bincount().tolist() == [75] * 4
    assert_close(radius.max().item(), 1.0)


def test_blobs_have_the_mean_and_spread_asked_for():
    X, y = toy.blobs(60_000, classes=3, noise=0.5, dtype=torch.float64)
    for label, angle in enumerate((0, 2 * math.pi / 3, 4 * math.pi / 3)):
        cloud = X[y == label]
        assert len(cloud) == 20_000
        assert_close(cloud.mean(0).tolist(), [2 * math.cos(angle), 2 * math.sin(angle)], atol=0.02, rtol=0)
        assert_close(cloud.std(0).tolist(), [0.5, 0.5], atol=0.02, rtol=0)


def test_blobs_around_given_centres():
    X, y = toy.blobs(10, centres=[(0, 0, 0), (1, 2, 3)], noise=0.0)
    assert X.shape == (10, 3)
    assert_close(X, torch.tensor([[0.0, 0, 0], [1, 2, 3]])[y])


@pytest.mark.parametrize("make", [toy.spirals, toy.blobs])
def test_bad_classes(make):
    with pytest.raises(ValueError, match="classes is 0"):
        make(classes=0)
    with pytest.raises(ValueError, match="from 5 on, one example for each class"):
        make(4, classes=5)


def test_high_dimensional_linear():
    X, y = toy.high_dimensional_linear(20_000, d=50, dtype=torch.float64)
    assert_close(X.mean().item(), 0.0, atol=0.01, rtol=0)
    assert_close(X.std().item(), 1.0, atol=0.01, rtol=0)
    left = y - 0.05 - 0.01 * X.sum(1, keepdim=True)
    assert_close(left.std().item(), 0.01, atol=2e-4, rtol=0)
    assert_close(y.std().item(), math.sqrt(50 * 0.01**2 + 0.01**2), atol=1e-3, rtol=0)


def test_high_dimensional_linear_can_be_fitted_exactly():
    X, y = toy.high_dimensional_linear(dtype=torch.float64)
    w = torch.linalg.pinv(X) @ y
    assert_close(X @ w, y, atol=1e-10, rtol=0)


@given(length=st.integers(2, 31), seed=st.integers(0, 999))
@settings(max_examples=25, deadline=None)
def test_adding_problem_has_one_mark_in_each_half(length, seed):
    X, y = toy.adding_problem(40, length=length, seed=seed, dtype=torch.float64)
    numbers, marks = X.unbind(-1)
    assert X.shape == (40, length, 2)
    assert numbers.min() >= 0
    assert numbers.max() < 1
    assert set(marks.unique().tolist()) <= {0, 1}
    assert (marks[:, : length // 2].sum(1) == 1).all()
    assert (marks[:, length // 2 :].sum(1) == 1).all()
    assert_close(y[:, 0], torch.stack([row[mark == 1].sum() for row, mark in zip(numbers, marks, strict=True)]))


def test_adding_problem_marks_reach_every_step_and_the_baseline_is_one_sixth():
    X, y = toy.adding_problem(30_000, length=9)
    assert_close(X[..., 1].mean(0).tolist(), [1 / 4] * 4 + [1 / 5] * 5, atol=0.01, rtol=0)
    assert_close(((y - 1) ** 2).mean().item(), 1 / 6, atol=0.005, rtol=0)


def test_adding_problem_too_short():
    with pytest.raises(ValueError, match="two marks need at least 2 steps"):
        toy.adding_problem(3, length=1)
