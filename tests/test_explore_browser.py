"""The interactive figure in a real browser, opened from a file, with the network off and a strict policy."""

import re
import shutil
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

from helpers import style
from helpers.explore import Control, Explore

STATIC = Path(__file__).parents[1] / "helpers" / "web"
POLICY = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:"
PAGE = """<!doctype html><html lang="en" data-theme="{theme}"><head><meta charset="utf-8"><title>Test</title>
<meta http-equiv="Content-Security-Policy" content="{policy}"><meta name="viewport" content="width=device-width">
<link rel="stylesheet" href="explore.css"><style>body {{ margin: 0 16px; color: #ced6dd; background: {ground} }}</style>
</head><body>{body}<script src="explore.js"></script></body></html>"""


def curve(power, start):
    style.use_style()
    figure, ax = plt.subplots(figsize=(7.2, 3.2))
    x = np.linspace(0, 1, 50)
    ax.plot(x, x**power + (start == "high"), color=style.BLUE)
    ax.set(xlim=(0, 1), ylim=(0, 2), xlabel="x", ylabel="y")
    return figure


def bars(n):
    return f'<svg viewBox="0 0 300 60"><rect width="{60 * n}" height="40" fill="{style.RED}"/></svg>'


@pytest.fixture(scope="module")
def figures() -> list[Explore]:
    powers = Control([1, 2, 3, 4], label="power p", start=2)
    return [
        Explore(
            curve,
            describe=lambda power, start: (
                f"The curve is x to the {power}, {start}."
                + power // 3 * " It stays low for long and climbs at the end."
            ),
            play="power",
            title="Powers",
            power=powers,
            start=["low", "high"],
        ),
        Explore(bars, describe=lambda n: f"{n} bars & more", n=[1, 2, 3, 4]),
        Explore(lambda k: curve(k, "low"), k=[1, 2], format="webp"),
    ]


@pytest.fixture(scope="module")
def site(figures, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    for name in ("explore.css", "explore.js"):
        shutil.copy(STATIC / name, folder / name)
    body = "".join(figure.to_html() for figure in figures)
    for theme, ground in (("light", "#ffffff"), ("dark", "#14181e")):
        page = PAGE.format(theme=theme, policy=POLICY, body=body, ground=ground)
        (folder / f"{theme}.html").write_text(page, encoding="utf-8")
    return folder


@pytest.fixture
def visit(site, chromium_browser):
    """Open the page; afterwards nothing may have gone wrong or asked for something elsewhere."""
    contexts, problems = [], []

    def go(theme="light", width=1100, **options):
        context = chromium_browser.new_context(viewport={"width": width, "height": 900}, offline=True, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: problems.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: problems.append(f"error: {error}"))
        page.on("request", lambda request: problems.append(request.url) if foreign(request.url) else None)
        page.goto((site / f"{theme}.html").as_uri())
        return page

    def foreign(url: str) -> bool:
        return not url.startswith(("data:", site.as_uri()))

    yield go
    for context in contexts:
        context.close()
    assert problems == []


def shown(page, figure: Explore) -> str:
    """The visible frame, written as the browser writes it."""
    return page.evaluate("id => document.getElementById(id).querySelector('.explore-frame').innerHTML", figure.id)


def as_browser(page, markup: str) -> str:
    return page.evaluate(
        "m => { const d = document.createElement('div'); d.innerHTML = m; return d.innerHTML }", markup
    )


def test_each_control_reaches_every_frame_by_keyboard(visit, figures):
    page = visit()
    for figure in figures[:2]:
        frames = {tuple(frame.values.values()): frame for frame in figure.frames()}
        seen = set()
        root = page.locator(f"#{figure.id}")
        fields = root.locator("input, select")

        def look(root=root, figure=figure, frames=frames, seen=seen):
            state = [int(i) for i in root.get_attribute("data-state").split(",")]
            chosen = zip(figure.parameters, state, strict=True)
            values = tuple(parameter.values[index] for parameter, index in chosen)
            assert shown(page, figure) == as_browser(page, frames[values].markup)
            note = root.locator(".explore-note")
            assert note.get_attribute("aria-live") == "polite"
            said = note.text_content()
            assert said.endswith(frames[values].note)
            for parameter, index in zip(figure.parameters, state, strict=True):
                assert f"{parameter.label} {parameter.texts[index]}" in said
                field = root.locator(f"#{figure.id}-{parameter.name}")
                if parameter.slider:
                    assert field.get_attribute("aria-valuetext") == parameter.texts[index]
                    assert (
                        root.locator(f"output[for='{figure.id}-{parameter.name}']").inner_text()
                        == parameter.texts[index]
                    )
                else:
                    assert field.input_value() == parameter.texts[index]
            seen.add(values)

        look()
        for other in range(2 if fields.count() > 1 else 1):
            if fields.count() > 1:
                fields.nth(1).focus()
                page.keyboard.press("ArrowDown" if other else "Home")
                look()
            fields.nth(0).focus()
            page.keyboard.press("Home")
            look()
            for _ in range(3):
                page.keyboard.press("ArrowRight")
                look()
        assert seen == set(frames)


def test_figures_do_not_disturb_each_other(visit, figures):
    page = visit()
    before = [shown(page, figure) for figure in figures]
    page.locator(f"#{figures[1].id} input").focus()
    page.keyboard.press("End")
    after = [shown(page, figure) for figure in figures]
    assert before[0] == after[0]
    assert before[2] == after[2]
    assert before[1] != after[1]


def test_webp_frames_change(visit, figures):
    page = visit()
    picture = page.locator(f"#{figures[2].id} img")
    before = picture.get_attribute("src")
    page.locator(f"#{figures[2].id} input").press("End")
    assert picture.get_attribute("src") != before
    page.wait_for_function("id => document.querySelector(`#${id} img`).naturalWidth > 0", arg=figures[2].id)


def test_step_buttons_stop_at_the_ends(visit, figures):
    page = visit()
    root = page.locator(f"#{figures[0].id}")
    back, on = root.get_by_role("button", name="Previous power p"), root.get_by_role("button", name="Next power p")
    assert root.get_attribute("data-state") == "1,0"
    back.press("Enter")
    back.press("Enter")
    assert root.get_attribute("data-state") == "0,0"
    assert back.get_attribute("aria-disabled") == "true"
    for _ in range(5):
        on.press("Space")
    assert root.get_attribute("data-state") == "3,0"
    assert on.get_attribute("aria-disabled") == "true"
    assert back.get_attribute("aria-disabled") == "false"


def test_play_runs_to_the_end_and_starts_again(visit, figures):
    page = visit()
    page.clock.install()
    page.reload()
    page.clock.pause_at(
        time.time() + 3600
    )  # from here on time moves only when the test says so, however busy the machine
    root = page.locator(f"#{figures[0].id}")
    play = root.locator("[data-do=play]")
    play.press("Enter")
    assert play.inner_text() == "Pause"
    assert root.locator(".explore-note").get_attribute("aria-live") == "off"
    page.clock.run_for(750)
    assert root.get_attribute("data-state") == "2,0"
    page.clock.run_for(5000)
    assert root.get_attribute("data-state") == "3,0"
    assert play.inner_text() == "Play"
    assert root.locator(".explore-note").get_attribute("aria-live") == "polite"
    play.press("Enter")
    assert root.get_attribute("data-state") == "0,0"
    page.clock.run_for(750)
    play.press("Enter")
    page.clock.run_for(5000)
    assert root.get_attribute("data-state") == "1,0"


def test_touching_a_control_stops_a_running_figure(visit, figures):
    page = visit()
    page.clock.install()
    page.reload()
    root = page.locator(f"#{figures[0].id}")
    root.locator("[data-do=play]").click()
    root.locator("input").first.press("Home")
    page.clock.run_for(5000)
    assert root.get_attribute("data-state") == "0,0"


def test_reduced_motion_leaves_the_steps_only(visit, figures):
    page = visit(reduced_motion="reduce")
    root = page.locator(f"#{figures[0].id}")
    assert root.locator("[data-do=play]").is_hidden()
    root.get_by_role("button", name="Next power p").click()
    assert root.get_attribute("data-state") == "2,0"
    page.emulate_media(reduced_motion="no-preference")
    root.locator("[data-do=play]").wait_for(state="visible")


def test_the_first_frame_shows_without_javascript(visit, figures):
    page = visit(java_script_enabled=False)
    for figure in figures:
        root = page.locator(f"#{figure.id}")
        assert root.locator(".explore-frame > *").first.is_visible()
        assert root.locator(".explore-controls").is_hidden()
    assert page.locator(f"#{figures[0].id} .explore-note").inner_text() == "The curve is x to the 2, low."


def test_every_control_has_a_name_and_the_group_too(visit, figures):
    page = visit()
    assert page.get_by_role("group", name="Powers").count() == 1
    assert page.get_by_role("slider", name="power p").count() == 1
    assert page.get_by_role("combobox", name="start").count() == 1
    assert page.get_by_role("img", name="Powers").count() == 1


@pytest.mark.parametrize("width", [360, 1100])
def test_targets_are_large_enough_and_the_page_is_not_wider_than_the_screen(visit, figures, width):
    page = visit(width=width, has_touch=width == 360, is_mobile=width == 360)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for field in page.locator("input, select, button").all():
        if field.is_visible():
            box = field.bounding_box()
            assert min(box["width"], box["height"]) >= (40 if width == 360 else 32), field
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= width


def test_a_wide_drawing_scrolls_on_a_phone_and_stays_where_it_was(visit, figures):
    page = visit(width=360)
    frame = page.locator(f"#{figures[0].id} .explore-frame")
    assert frame.get_attribute("tabindex") == "0"
    frame.evaluate("f => { f.scrollLeft = 1000 }")
    place = frame.evaluate("f => f.scrollLeft")
    assert place > 20
    page.wait_for_function("id => !document.querySelector(`#${id} .has-more`)", arg=figures[0].id)
    page.locator(f"#{figures[0].id} input").first.press("End")
    assert frame.evaluate("f => f.scrollLeft") == place
    text = page.locator(f"#{figures[0].id} .explore-frame text").first
    assert text.evaluate("t => t.getBoundingClientRect().height") >= 8


def test_a_wide_drawing_can_be_made_to_fit_from_the_keyboard(visit, figures):
    page = visit(width=360)
    root = page.locator(f"#{figures[0].id}")
    frame, button = root.locator(".explore-frame"), root.get_by_role("button", name="Whole figure")
    assert button.get_attribute("aria-pressed") == "false"
    button.press("Enter")
    assert button.get_attribute("aria-pressed") == "true"
    assert frame.evaluate("f => f.scrollWidth - f.clientWidth") <= 1
    root.locator("input").first.press("End")
    assert frame.evaluate("f => f.scrollWidth - f.clientWidth") <= 1
    button.press("Enter")
    assert frame.evaluate("f => f.scrollWidth - f.clientWidth") > 20
    assert visit(width=1100).get_by_role("button", name="Whole figure").count() == 0


def test_the_place_below_does_not_move_when_notes_change(visit, figures):
    page = visit(width=360)
    heights = set()
    field = page.locator(f"#{figures[0].id} input").first
    for key in ("Home", "ArrowRight", "ArrowRight", "End"):
        field.press(key)
        heights.add(page.locator(f"#{figures[0].id}").bounding_box()["height"])
    assert len(heights) == 1


def luminance(colour: str) -> float:
    channels = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_dark_colours_stand_out_from_the_dark_page(visit):
    page = visit(theme="dark")
    resolve = """name => { const p = document.body.appendChild(document.createElement('p'));
        p.style.color = `var(${name})`; return getComputedStyle(p).color }"""
    paper = page.evaluate(resolve, "--fig-paper")
    for name in ("ink", "muted", "blue", "orange", "green", "red", "sky", "purple", "yellow"):
        assert contrast(page.evaluate(resolve, f"--fig-{name}"), paper) >= 4.5, name


def test_a_drawing_follows_the_theme(visit, figures):
    colour = "id => getComputedStyle(document.querySelector(`#${id} rect`)).fill"
    assert visit().evaluate(colour, figures[1].id) == "rgb(213, 94, 0)"
    assert visit(theme="dark").evaluate(colour, figures[1].id) == "rgb(255, 133, 82)"


def test_the_script_is_small_and_needs_no_exception_from_the_policy():
    script = (STATIC / "explore.js").read_text(encoding="utf-8")
    assert len(script.encode()) < 8000
    assert not re.search(r"\beval\b|new Function|https?:|setAttribute\(.on|\.onclick", script)
