"""helpers.losses against torch.nn.functional, torch.distributions and closed forms; its tables against what happens."""

from __future__ import annotations

import math
import re
import warnings

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from helpers import losses
from helpers.losses import MISTAKES, OUTPUTS, bce_with_logits, cross_entropy, entropy, kl

seeds = st.integers(0, 2**31 - 1)
reductions = st.sampled_from(["mean", "sum", "none"])


def normal(seed, *shape, scale=1.0):
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def distributions(seed, *shape):
    return normal(seed, *shape, scale=2.0).softmax(-1)


def value_and_gradient(loss_fn, logits, *rest, **options):
    logits = logits.clone().requires_grad_()
    loss = loss_fn(logits, *rest, **options)
    return loss.detach(), *torch.autograd.grad(loss.sum(), logits)


@settings(max_examples=80, deadline=None)
@given(
    seeds,
    st.integers(1, 7),
    st.integers(2, 5),
    reductions,
    st.booleans(),
    st.sampled_from([0.0, 0.1, 1.0]),
    st.sampled_from([-100, 0, 99]),
    st.sampled_from([1.0, 300.0]),
)
def test_cross_entropy_is_that_of_torch(seed, n, n_classes, reduction, weighted, smoothing, ignore_index, scale):
    logits = normal(seed, n, n_classes, scale=scale)
    target = torch.randint(n_classes, (n,), generator=torch.Generator().manual_seed(seed))
    if ignore_index != 0 and n > 1:
        target[seed % n] = ignore_index
    options = {
        "weight": normal(seed + 1, n_classes).abs() if weighted else None,
        "ignore_index": ignore_index,
        "label_smoothing": smoothing,
        "reduction": reduction,
    }
    ours = value_and_gradient(cross_entropy, logits, target, **options)
    theirs = value_and_gradient(F.cross_entropy, logits, target, **options)
    assert_close(ours, theirs, rtol=1e-10, atol=1e-10, equal_nan=True)  # all ignored: both 0/0


def test_all_ignored_is_nan_and_a_class_masked_with_minus_infinity_is_not():
    assert cross_entropy(torch.zeros(2, 3), torch.tensor([-100, -100])).isnan()
    masked = torch.tensor([[1.0, 2.0, -math.inf]])
    assert_close(cross_entropy(masked, torch.tensor([0])), F.cross_entropy(masked, torch.tensor([0])))


@settings(max_examples=60, deadline=None)
@given(seeds, st.integers(1, 9), reductions, st.sampled_from([1.0, 100.0, 1e4]), st.booleans())
def test_bce_with_logits_is_that_of_torch(seed, n, reduction, scale, hard):
    logits, target = normal(seed, n, scale=scale), distributions(seed + 1, n)
    logits[seed % n] = 0.0  # where a maximum in the formula would have a wrong slope
    target = target.round() if hard else target
    ours = value_and_gradient(bce_with_logits, logits, target, reduction=reduction)
    theirs = value_and_gradient(F.binary_cross_entropy_with_logits, logits, target, reduction=reduction)
    assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(seeds, st.integers(1, 4), st.integers(2, 6))
def test_entropy_and_kl_are_those_of_torch(seed, n, n_classes):
    p, q = distributions(seed, n, n_classes), distributions(seed + 1, n, n_classes)
    P, Q = torch.distributions.Categorical(p), torch.distributions.Categorical(q)
    assert_close(entropy(p), P.entropy(), rtol=0, atol=1e-12)
    assert_close(kl(p, q), torch.distributions.kl_divergence(P, Q), rtol=0, atol=1e-12)
    assert_close(kl(p, q).sum(), F.kl_div(q.log(), p, reduction="sum"), rtol=0, atol=1e-12)
    assert_close(entropy(p) + kl(p, q), F.cross_entropy(q.log(), p, reduction="none"), rtol=0, atol=1e-12)
    assert bool((kl(p, q) >= -1e-15).all())


def test_entropy_and_kl_at_the_edges():
    sure, even = torch.tensor([1.0, 0.0, 0.0, 0.0]), torch.full((4,), 0.25)
    assert entropy(sure).item() == 0
    assert entropy(even, base=2).item() == 2
    assert kl(sure, even, base=2).item() == 2
    assert kl(even, sure).item() == math.inf


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: entropy(torch.tensor([0.5, 0.6])), ValueError, "sum 1"),
        (lambda: entropy(torch.tensor([1.5, -0.5])), ValueError, "at least 0"),
        (lambda: entropy(torch.tensor([math.nan, 0.5])), ValueError, "must hold probabilities"),
        (lambda: entropy(torch.tensor([0, 1])), TypeError, "floating-point numbers are needed"),
        (lambda: entropy(torch.tensor(1.0)), ValueError, "must hold probabilities"),
        (lambda: kl(torch.tensor([0.5, 0.5]), torch.tensor([2.0, 1.0])), ValueError, "q must hold"),
        (lambda: kl(torch.tensor([2.0, 1.0]), torch.tensor([0.5, 0.5])), ValueError, "p must hold"),
        (lambda: bce_with_logits(torch.zeros(3, 1), torch.zeros(3)), ValueError, r"\(3, 1\) and target \(3,\)"),
        (lambda: bce_with_logits(torch.zeros(3), torch.zeros(3), reduction="avg"), ValueError, "'avg'; choose"),
        (lambda: cross_entropy(torch.zeros(3), torch.tensor([0])), ValueError, r"logits \(n, K\)"),
        (lambda: cross_entropy(torch.zeros(3, 2), torch.tensor([0])), ValueError, r"not \(3, 2\) and \(1,\)"),
        (lambda: cross_entropy(torch.zeros(1, 2), torch.tensor([0.0])), TypeError, r"with \.long\(\)"),
        (lambda: cross_entropy(torch.zeros(1, 2), torch.tensor([2])), ValueError, "target 2 is no class.*0 to 1"),
        (lambda: cross_entropy(torch.zeros(1, 2), torch.tensor([-1])), ValueError, "target -1 is no class"),
        (
            lambda: cross_entropy(torch.zeros(1, 2), torch.tensor([0]), weight=torch.ones(3)),
            ValueError,
            "each of 2 classes",
        ),
        (lambda: cross_entropy(torch.zeros(1, 2), torch.tensor([0]), label_smoothing=1.5), ValueError, "got 1.5"),
        (lambda: cross_entropy(torch.zeros(1, 2), torch.tensor([0]), reduction="m"), ValueError, "'m'; choose"),
    ],
)
def test_what_does_not_fit_is_said(call, error, words):
    with pytest.raises(error, match=words):
        call()


@pytest.mark.parametrize("output", OUTPUTS, ids=lambda output: output.problem)
def test_every_output_runs_and_reaches_the_last_layer(output):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # the right combination is one that PyTorch does not warn about
        names = output.names(f"read = {output.read}")
    assert names["loss"].shape == ()
    assert names["loss"].isfinite()
    (gradient,) = torch.autograd.grad(names["loss"], names["z"])
    assert bool((gradient != 0).any())
    assert len(names["read"]) == len(names["y"]) == 6
    assert_close(output.run(), names["loss"])


def test_an_output_is_the_same_every_time_and_leaves_the_random_state():
    before = torch.random.get_rng_state()
    assert OUTPUTS[0].run() == OUTPUTS[0].run()
    assert torch.equal(before, torch.random.get_rng_state())


def test_the_line_of_an_output_can_be_copied():
    names = {"torch": torch, "nn": torch.nn, "F": F}
    exec(OUTPUTS[4].line, names)
    assert_close(names["loss"], F.cross_entropy(names["z"], names["y"]))


def test_shapes_and_dtypes_of_targets_are_named():
    found = {output.problem: output.target for output in OUTPUTS}
    assert found["one of K classes"] == "int64 (n,)"
    assert found["K probabilities"] == "float (n, K)"
    assert found["yes or no"] == "float (n, 1)"
    assert found["a class for each pixel"] == "int64 (n, H, W)"


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.wrong)
def test_every_mistake_raises_or_does_the_damage_that_is_said(mistake):
    said = mistake.outcome()
    code = f"wrong = {mistake.wrong}"
    if mistake.damage:
        with warnings.catch_warnings(record=True):
            warnings.simplefilter("always")
            wrong = mistake.output.names(code)["wrong"].item() + 0.0
        assert said.startswith("no error")
        assert f": {wrong:.3f} in place of" in said
        assert said.endswith(mistake.damage)
    else:
        with pytest.raises((IndexError, RuntimeError, ValueError)) as caught:
            mistake.output.names(code)
        assert said == f"{caught.type.__name__}: {str(caught.value).splitlines()[0]}"


def gradient(mistake):
    names = mistake.output.names(f"wrong = {mistake.wrong}")
    return names["y"], torch.autograd.grad(names["wrong"], names["z"])[0]


def test_the_damage_is_as_described():
    by_code = {mistake.wrong: mistake for mistake in MISTAKES}
    silent = next(m for m in MISTAKES if m.output.problem == "yes or no" and m.wrong == "F.cross_entropy(z, y)")
    assert gradient(silent)[1].abs().max() == 0
    y, dL_dz = gradient(by_code["F.soft_margin_loss(z, y)"])
    assert dL_dz[y == 0].abs().max() == 0
    assert dL_dz[y == 1].abs().min() > 0
    names = by_code["F.mse_loss(z, y[:, 0])"].output.names()
    z, y = names["z"].detach(), names["y"]
    everyone = (z - y.T).square().mean()
    assert f": {everyone:.3f} in place of" in by_code["F.mse_loss(z, y[:, 0])"].outcome()


def test_a_mistake_that_is_none_is_refused():
    harmless = losses.Mistake(OUTPUTS[0], "F.mse_loss(z, y)", "nothing")
    with pytest.raises(ValueError, match="say what the damage is"):
        harmless.outcome()
    with pytest.raises(ValueError, match="say what the damage is"):
        losses.Mistake(OUTPUTS[0], "F.l1_loss(z, y)").outcome()


@pytest.mark.parametrize(("make", "rows"), [(losses.table, OUTPUTS), (losses.mistakes_table, MISTAKES)])
def test_tables_are_markdown_with_a_row_for_each_entry(make, rows):
    header, rule, *body = make().splitlines()
    columns = header.count("|")
    assert re.fullmatch(r"(\| --- )+\|", rule)
    assert len(body) == len(rows)
    assert all(line.count("|") == columns for line in (rule, *body))
    assert all(entry.problem in line for entry, line in zip(OUTPUTS, losses.table().splitlines()[2:], strict=True))
