"""The optimizer playground: its script against the Python rules, its drawings against the paths, and in a browser."""

import itertools
import json
import math
import re

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from instruments import write_pages
from playwright.sync_api import expect
from py_mini_racer import MiniRacer

from helpers import optim_rules as rules
from helpers import optim_surfaces
from helpers.optim_paths import descend
from helpers.playground import LEFT, MAP, STEPS, TOP, WEB, OptimizerPlayground

SURFACES = optim_surfaces.all_surfaces()


def python_rule(name, momentum, memory):
    return {
        "gradient descent": rules.GradientDescent(),
        "momentum": rules.Momentum(momentum=momentum),
        "Nesterov": rules.Nesterov(momentum=momentum),
        "AdaGrad": rules.AdaGrad(),
        "RMSProp": rules.RMSProp(alpha=memory),
        "Adadelta": rules.Adadelta(rho=memory),
        "Adam": rules.Adam(betas=(momentum, memory)),
    }[name]


NAMES = ("gradient descent", "momentum", "Nesterov", "AdaGrad", "RMSProp", "Adadelta", "Adam")


@pytest.fixture(scope="module")
def script():
    with MiniRacer() as engine:
        engine.eval((WEB / "playground.js").read_text(encoding="utf-8"))

        def call(expression):
            return json.loads(engine.eval(f"JSON.stringify({expression})"))

        yield call


def js_run(script, rule, surface, start, lr, momentum, memory, steps=STEPS):
    given_settings = json.dumps({"lr": lr, "momentum": momentum, "memory": memory})
    names = f"{json.dumps(rule)}, {json.dumps(surface)}, {json.dumps(list(start))}"
    return script(f"OptimizerPlayground.run({names}, {given_settings}, {steps})")


def test_it_offers_the_rules_and_surfaces_of_the_book(script):
    assert tuple(script("Object.keys(OptimizerPlayground.RULES)")) == NAMES
    assert script("Object.keys(OptimizerPlayground.SURFACES)") == list(SURFACES)


@settings(max_examples=40, deadline=None)
@given(name=st.sampled_from(list(SURFACES)), u=st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_the_surfaces_and_their_gradients_are_pythons(script, name, u):
    f = SURFACES[name]
    point = [low + (high - low) * v for (low, high), v in zip(f.domain, u, strict=True)]
    value, gradient = script(
        f"[OptimizerPlayground.SURFACES[{json.dumps(name)}].f(...{json.dumps(point)}), "
        f"OptimizerPlayground.SURFACES[{json.dumps(name)}].g(...{json.dumps(point)})]"
    )
    assert value == pytest.approx(f(point).item(), rel=1e-12, abs=1e-12)
    assert gradient == pytest.approx(f.gradient(point).tolist(), rel=1e-10, abs=1e-10)


@settings(max_examples=60, deadline=None)
@given(
    rule=st.sampled_from(NAMES),
    surface=st.sampled_from(list(SURFACES)),
    rate=st.floats(1e-4, 0.1),
    momentum=st.floats(0, 0.99),
    memory=st.floats(0, 0.999),
    u=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_the_paths_are_pythons(script, rule, surface, rate, momentum, memory, u):
    f = SURFACES[surface]
    start = [low + (high - low) * v for (low, high), v in zip(f.domain, u, strict=True)]
    theirs = js_run(script, rule, surface, start, rate, momentum, memory, steps=60)
    ours = descend(f, start, lr=rate, n_steps=60, rule=python_rule(rule, momentum, memory), keep_state=True)
    nudged = descend(
        f, [x + 1e-13 for x in start], lr=rate, n_steps=60, rule=python_rule(rule, momentum, memory)
    ).points
    drift = (ours.points - nudged).abs().amax(dim=1) / (1 + ours.points.abs().amax(dim=1))
    tame = (drift < 1e-10) & (ours.points.abs().amax(dim=1) < 1e6)  # beyond, rounding has a life of its own
    n = len(tame) if tame.all() else int((~tame).int().argmax())
    assume(n > 1)
    assert len(theirs["points"]) >= n
    points = torch.tensor(theirs["points"][:n], dtype=torch.float64)
    torch.testing.assert_close(points[:, :2], ours.points[:n], rtol=1e-7, atol=1e-7)
    if "rate" in ours.states:
        watched = torch.tensor(theirs["watch"][: n - 1], dtype=torch.float64)
        torch.testing.assert_close(watched, ours.states["rate"][: n - 1], rtol=1e-5, atol=1e-9)


def test_the_race_finds_the_best_rate_of_the_slider(script):
    rates = [script(f"OptimizerPlayground.rateAt({i})") for i in range(201)]
    assert rates[0] == 1e-4
    assert rates[-1] == 10
    assert all(a < b for a, b in itertools.pairwise(rates))
    f, start = SURFACES["ravine"], [-5.0, -2.0]
    runs = descend(
        f, [start] * 201, lr=torch.tensor(rates, dtype=torch.float64), n_steps=50, rule=rules.GradientDescent()
    )
    best = script("OptimizerPlayground.bestRate('gradient descent', 'ravine', [-5, -2], {}, 50)")
    assert best == runs.values[-1].nan_to_num(nan=math.inf).argmin().item()


def test_a_run_that_leaves_the_numbers_ends_and_says_so(script):
    ended = js_run(script, "gradient descent", "Beale", [4.5, 4.5], 10, 0, 0)
    assert ended["diverged"]
    assert len(ended["points"]) < 10
    assert all(math.isfinite(v) for point in ended["points"] for v in point)


def test_the_drawn_path_is_the_path(script):
    data = OptimizerPlayground(rule="Adam").data()
    made = script(f"OptimizerPlayground.picture({json.dumps(data['state'])}, {json.dumps(data)}, 'k')")
    drawn = re.search(r'<polyline points="([^"]+)"', made["map"])[1]
    drawn = torch.tensor([[float(v) for v in pair.split(",")] for pair in drawn.split()])
    path = descend(SURFACES["ravine"], [-5.0, -2.0], lr=0.2, n_steps=60, rule=rules.Adam()).points
    x0, y0, side = data["surfaces"]["ravine"]["window"]
    pixels = torch.stack((LEFT + (path[:, 0] - x0) / side * MAP, TOP + (1 - (path[:, 1] - y0) / side) * MAP), dim=1)
    torch.testing.assert_close(drawn.double(), pixels, rtol=0, atol=0.051)
    height = SURFACES["ravine"](path[-1]).item()
    assert float(made["rows"][0]["result"]) == pytest.approx(height, rel=5e-3)
    assert "after 60 steps" in made["note"]


def test_contours_lie_at_one_height():
    data = OptimizerPlayground().data()["surfaces"]
    for name, surface in data.items():
        x0, y0, side = surface["window"]
        checked = 0
        for line in surface["contours"].split("M")[1:]:
            first, _, moves = line.partition("l")
            numbers = torch.tensor([float(v) for v in (first + " " + moves).split()]).reshape(-1, 2).cumsum(0) / 10
            x = x0 + (numbers[:, 0] - LEFT) / MAP * side
            y = y0 + (1 - (numbers[:, 1] - TOP) / MAP) * side
            inside = SURFACES[name](torch.stack((x, y), dim=1).double())
            if len(inside) > 30:
                checked += 1
                height = inside.median()
                off = (inside - height).abs()  # between grid points of a steep wall, a line may stray
                assert off.median() < 0.02 * (height.abs() + 1), (name, height)
        assert checked > 2, name


@pytest.mark.parametrize(("options", "word"), [({"surface": "hill"}, "surface"), ({"rule": "adam"}, "rule")])
def test_a_wrong_name_is_named(options, word):
    with pytest.raises(ValueError, match=f"{word} must be one of"):
        OptimizerPlayground(**options)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("playground")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BOOK_BUILD", "1")
        body = OptimizerPlayground()._repr_html_()
    return write_pages(folder, "playground", WEB, body, OptimizerPlayground("Beale", "Adam")._repr_html_())


def field(tab, name):
    return tab.locator(f"[data-field={name}]").first


def rows(tab):
    return [row.inner_text().split("\t") for row in tab.locator(".playground-table tbody tr").all()]


def note(tab):
    return tab.locator(".explore-text").first.inner_text()


def test_every_control_works_from_the_keyboard(visit):
    tab = visit()
    for name in ("lr", "momentum", "shown"):
        before, words = note(tab), field(tab, name).get_attribute("aria-valuetext")
        field(tab, name).focus()
        tab.keyboard.press("ArrowLeft")
        assert note(tab) != before, name
        assert field(tab, name).get_attribute("aria-valuetext") != words
    assert field(tab, "memory").is_disabled()
    field(tab, "rule").select_option("Adam")
    assert "Adam" in note(tab)
    assert field(tab, "memory").get_attribute("aria-valuetext") == "0.999"
    field(tab, "surface").select_option("saddle")
    assert "1.60" in note(tab)
    tab.locator(".playground-map").focus()
    tab.keyboard.press("ArrowUp")
    tab.keyboard.press("Shift+ArrowLeft")  # the map has been redrawn and still has the focus
    assert "(1.27, 0.09)" in note(tab)


def test_the_start_is_where_the_reader_points(visit):
    tab = visit()
    box = tab.locator(".playground-map").bounding_box()
    unit = box["width"] / (LEFT + MAP + 10)
    tab.mouse.click(box["x"] + (LEFT + MAP / 3) * unit, box["y"] + (TOP + MAP / 2) * unit)
    assert "from (−3.00, 0.00)" in note(tab)


def test_paths_are_kept_raced_removed_and_cleared(visit):
    tab = visit()
    tab.get_by_role("button", name="Keep this path").click()
    field(tab, "lr").fill("40")
    assert [row[1] for row in rows(tab)] == ["η 0.001, μ 0.90", "η 0.2, μ 0.90"]
    tab.get_by_role("button", name="Race").click()
    raced = rows(tab)
    assert [row[0].strip() for row in raced] == ["momentum", *(name for name in NAMES if name != "momentum")]
    assert tab.get_by_role("button", name="Keep this path").is_disabled()
    tab.get_by_role("button", name="Remove AdaGrad").click()
    assert len(rows(tab)) == 6
    assert tab.locator(".playground-map polyline").count() == 6
    tab.get_by_role("button", name="Clear").click()
    assert len(rows(tab)) == 1


def test_it_plays_and_respects_reduced_motion(visit):
    tab = visit()
    field(tab, "shown").fill("198")
    tab.get_by_role("button", name="Play").click()
    expect(field(tab, "shown")).to_have_value("200")  # wait_for_function would evaluate text, which the policy forbids
    tab.wait_for_selector("text=Play")
    still = visit(reduced_motion="reduce")
    assert still.locator("[data-do=play]").is_hidden()


def test_without_a_script_the_first_state_is_drawn(visit):
    tab = visit(java_script_enabled=False)
    assert tab.locator(".playground-map polyline").count() == 1
    assert "after 60 steps" in note(tab)
    assert tab.locator(".explore-controls").is_hidden()


def test_a_live_notebook_needs_nothing_else_and_may_show_it_twice(visit):
    tab = visit("live")
    assert tab.locator(".playground-map polyline").count() == 2
    assert "Adam" in note(tab)


def test_nothing_is_wider_than_a_phone(visit):
    tab = visit(viewport={"width": 360, "height": 800})
    tab.get_by_role("button", name="Race").click()
    assert tab.evaluate("document.documentElement.scrollWidth") <= 360
