"""The built site, page by page: complete in itself, sound, light, accessible, and every control moves its figure."""

import html.parser
import json
import re
from urllib.parse import quote, unquote, urldefrag

import pytest

from tools.site import SITE, opened, pages, weight

pytestmark = pytest.mark.site
FIRST_VISIT = 1_000_000
NEXT_VISIT = 400_000


class _Links(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.links, self.ids, self.images = [], set(), []

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.ids.update(v for k, v in attrs.items() if k in ("id", "name") and v)
        self.links += [attrs[k] for k in ("href", "src") if attrs.get(k)]
        if tag in ("img", "svg"):
            self.images.append(attrs)


@pytest.fixture(scope="module")
def parsed(built_site):
    result = {}
    for page in pages():
        result[page] = _Links()
        result[page].feed((SITE / page).read_text(encoding="utf-8"))
    return result


def test_no_dead_internal_link(parsed):
    dead = []
    for page, found in parsed.items():
        for link in found.links:
            target, fragment = urldefrag(link)
            if target.startswith(("http:", "https:", "mailto:", "data:")) or page == "404.html":
                continue
            path = (SITE / page).parent / unquote(target.split("?")[0]) if target else SITE / page
            name = path.resolve().relative_to(SITE).as_posix() if path.resolve().is_relative_to(SITE) else str(path)
            if not path.exists():
                dead.append(f"{page}: {link}")
            elif fragment and name in parsed and unquote(fragment) not in parsed[name].ids:
                dead.append(f"{page}: {link} (no such place)")
    assert dead == []


def test_every_image_says_what_it_shows(parsed):
    silent = []
    for page, found in parsed.items():
        for attrs in found.images:
            ours = "--natural" in attrs.get("style", "")  # a drawing of the book; others decorate, inside hidden parts
            if ("src" in attrs and "alt" not in attrs) or (ours and not attrs.get("aria-label")):
                silent.append(f"{page}: {json.dumps(attrs)[:150]}")
    assert silent == []


def test_every_numbered_figure_is_in_the_index(built_site, parsed):
    numbered = {
        f"{page}#{label}"
        for page in parsed
        for label in re.findall(
            r'<figure[^>]* id="([^"]+)">(?:(?!</figure>).)*?class="caption-number"', _text(page), re.DOTALL
        )
    }
    assert len(numbered) > 27  # more than one for each chapter
    listed = [link.removeprefix("../") for link in parsed["book/figures.html"].links if "#fig-" in link]
    assert set(listed) == numbered


def test_chapters_and_glossary_lead_to_each_other(built_site, parsed):
    introduced = re.findall(
        r'Introduced in <a class="[^"]*" href="\.\./(notebooks/[^"]+)"', _text("book/glossary.html")
    )
    assert len(introduced) > 70
    for page in set(introduced):
        assert any("book/glossary.html#term-" in link for link in parsed[page].links), page


def test_no_page_shows_an_address_in_memory(built_site):
    """Such a number differs in every run, and tells the reader nothing."""
    assert [page for page in pages() if re.search(r" at 0x[0-9a-f]{6}", _text(page))] == []


def test_every_page_describes_itself(built_site):
    described = {
        page: re.findall(r'<meta name="description" content="([^"]*)"', _text(page))
        for page in pages()
        if page.startswith(("book/", "notebooks/"))
    }
    assert [page for page, found in described.items() if len(found) != 1 or not 20 < len(found[0]) < 300] == []


def _text(page):
    return (SITE / page).read_text(encoding="utf-8")


TOO_LONG = """() => [...document.querySelectorAll("div.math")]
    .filter(box => box.scrollWidth > box.clientWidth).map(box => box.querySelector("annotation").textContent)"""


@pytest.fixture(scope="module")
def visited(base, chromium_browser):
    """Every page, opened once: what it asked for, what of it is too long for a laptop, and its width on a phone."""
    found = {}
    for page in pages():
        with opened(chromium_browser, base + page, width=1280) as (tab, record):
            record["formulas"], record["long"] = tab.locator("div.math").count(), tab.evaluate(TOO_LONG)
            tab.set_viewport_size({"width": 360, "height": 900})
            record["phone"] = tab.evaluate("document.documentElement.scrollWidth")
        found[page] = record
    return found


@pytest.mark.parametrize("what", ["foreign", "failed", "errors"])
def test_pages_ask_no_other_host_and_have_no_errors(visited, what):
    assert {page: record[what] for page, record in visited.items() if record[what]} == {}


def test_page_weights_stay_in_the_budget(base, visited):
    home = "book/intro.html"
    first, cached = weight(visited[home]["requests"], base)
    too_heavy = [f"{home}: {first}"] if first > FIRST_VISIT else []
    for page, record in visited.items():
        alone, _ = weight(record["requests"], base)
        later, _ = weight(record["requests"], base, cached)
        if alone > FIRST_VISIT or later > NEXT_VISIT:
            too_heavy.append(f"{page}: {alone} bytes on a first visit, {later} after the landing page")
    assert too_heavy == []


def test_no_formula_is_longer_than_a_line_of_a_laptop(visited):
    assert {page: record["long"] for page, record in visited.items() if record["long"]} == {}
    assert sum(record["formulas"] for record in visited.values()) > 50


def test_nothing_is_wider_than_a_phone(visited):
    assert {page: record["phone"] for page, record in visited.items() if record["phone"] > 360} == {}


def explores(tab):
    return tab.locator("[data-explore]")


def chapter_pages():
    return [p for p in pages() if p.startswith("notebooks/")] + ["book/intro.html"]


def press(tab, control):
    """Move a slider or a select by one, towards the end that it is not at."""
    backwards = control.evaluate("c => c.tagName === 'SELECT' ? c.selectedIndex > 0 : +c.value >= +c.max")
    select = control.evaluate("c => c.tagName") == "SELECT"
    control.focus()
    tab.keyboard.press({(False, False): "ArrowRight", (False, True): "ArrowLeft"}.get((select, backwards), "ArrowDown"))
    if select:  # a closed select reacts to the arrow at once on some systems only
        control.select_option(index=0 if backwards else 1)
    tab.wait_for_timeout(60)


def test_every_control_moves_its_figure_by_keyboard(base, chromium_browser):
    seen = 0
    for page in chapter_pages():
        with opened(chromium_browser, base + page, width=360) as (tab, record):
            for index in range(explores(tab).count()):
                figure = explores(tab).nth(index)
                controls = figure.locator("input[type=range], select")
                for number in range(controls.count()):
                    before = figure.get_attribute("data-state")
                    press(tab, controls.nth(number))
                    place = f"{page}, figure {index + 1}, control {number + 1}"
                    assert figure.get_attribute("data-state") != before, place
                    seen += 1
            assert record["errors"] == [], page
    assert seen > 0, "no interactive figure was found in the whole book"


def test_first_frame_shows_without_javascript(base, chromium_browser):
    context = chromium_browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    for page in chapter_pages():
        tab.goto(base + page)
        for index in range(explores(tab).count()):
            frame = explores(tab).nth(index).locator("svg, img").first
            assert frame.is_visible(), f"{page}, figure {index + 1}"
            assert frame.bounding_box()["height"] > 60
    context.close()


@pytest.mark.parametrize(
    ("asked", "page"),
    [
        ("saddle", "gradient_descent"),
        ("why does my loss not go down", "symptoms"),
        ("softmax twice", "symptoms"),
        ("conv output size", "convolution"),
    ],
)
def test_search_finds_the_right_page(base, chromium_browser, asked, page):
    with opened(chromium_browser, f"{base}search.html?q={quote(asked)}") as (tab, _):
        tab.wait_for_selector("#search-results li a", timeout=15000)
        found = [link.get_attribute("href") or "" for link in tab.locator("#search-results li > a").all()[:5]]
        assert any(page in link for link in found), found


def test_the_browser_remembers_what_was_answered(base, chromium_browser):
    with opened(chromium_browser, base + "notebooks/05_backprop_by_hand.html") as (tab, record):
        question = tab.locator("#quiz-05-1")
        question.locator(".quiz-wrong summary").first.click()
        question.locator(".quiz-right summary").click()
        question.locator(".quiz-wrong summary").last.click()  # after the right answer nothing counts
        assert question.locator(".quiz-note").inner_text() == ": right after 2 tries"
        tab.goto(base + "book/progress.html")
        cell = tab.locator("tr[data-quiz~=quiz-05-1] td")
        assert cell.inner_text() == "1 of 3 right, 0 at the first try"
        tab.locator(".quiz-forget").click()
        assert cell.inner_text() == "3 questions"
        assert record["errors"] == []


def test_a_first_visit_in_the_dark_is_dark_before_any_script_has_come(base, chromium_browser):
    context = chromium_browser.new_context(color_scheme="dark")
    context.route("**/*.js*", lambda route: route.abort())
    tab = context.new_page()
    tab.goto(base + "book/setup.html")
    assert tab.evaluate("document.documentElement.dataset.theme") == "dark"
    context.close()


def test_the_policy_of_the_server_forbids_other_scripts(base, chromium_browser):
    with opened(chromium_browser, base + "book/setup.html") as (tab, record):
        add = "document.head.append(Object.assign(document.createElement('script'), {textContent: 'window.ran = 1'}))"
        assert tab.evaluate(f"{add}; window.ran") is None
        assert "Content Security Policy" in record["errors"].pop()
        assert record["errors"] == []


def test_every_chapter_says_where_its_numbers_come_from(built_site):
    silent = [p for p in pages() if p.startswith("notebooks/") and "This page was run on" not in _text(p)]
    assert silent == []


def test_every_chapter_can_be_had_without_solutions(built_site, parsed):
    for page in parsed:
        if page.startswith("notebooks/"):
            copy = f"practice/{page.removeprefix('notebooks/').removesuffix('.html')}.ipynb"
            assert f"../{copy}" in parsed[page].links, page
            assert json.loads((SITE / copy).read_text(encoding="utf-8"))["nbformat"] == 4
