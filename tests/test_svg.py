import io
import re
from xml.etree import ElementTree

import matplotlib.pyplot as plt
import numpy as np
import pytest
from fontTools.pens.recordingPen import RecordingPen
from fontTools.svgLib.path import parse_path
from hypothesis import given
from hypothesis import strategies as st

from helpers import style
from helpers.svg import VARIABLES, themed
from helpers.svg_path import compact_path, shorten

TAG = "{http://www.w3.org/2000/svg}"


def written(figure) -> str:
    out = io.StringIO()
    with plt.rc_context({"svg.fonttype": "none", "svg.hashsalt": "test"}):
        figure.savefig(out, format="svg")
    plt.close(figure)
    return out.getvalue()


@pytest.fixture(scope="module")
def document() -> str:
    style.use_style()
    figure, ax = plt.subplots()
    x = np.linspace(-2, 2, 80)
    ax.plot(x, x**2, label="$x^2$", gid="curve")
    ax.plot([0, 1], [1, 2], "o")
    ax.scatter([0, 1], [0, 1], c=style.GREEN)
    ax.imshow(np.eye(3), extent=(0, 1, 0, 1))
    ax.set_xlabel("w <b>", weight="semibold")
    ax.legend()
    return written(figure)


@pytest.fixture(scope="module")
def drawing(document) -> str:
    return themed(document, prefix="f1", alt="A parabola")


def parsed(markup: str) -> ElementTree.Element:
    return ElementTree.fromstring(markup.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1))


def points(data: str) -> list[tuple]:
    pen = RecordingPen()
    parse_path(data, pen)
    return [(name, point) for name, args in pen.value for point in (args or [None])]


steps = st.tuples(st.floats(-300, 900), st.floats(-300, 900))
segments = st.lists(
    st.one_of(
        st.tuples(st.just("L"), steps),
        st.tuples(st.just("C"), steps, steps, steps),
        st.tuples(st.just("Q"), steps, steps),
        st.tuples(st.just("M"), steps),
    ),
    min_size=1,
    max_size=40,
)


@given(steps, segments, st.integers(1, 3))
def test_compact_path_keeps_every_point_to_half_a_unit_of_the_last_digit(start, parts, decimals):
    pieces = [("M", start), *parts]
    data = " ".join(f"{name} {' '.join(f'{x:.6f} {y:.6f}' for x, y in places)}" for name, *places in pieces)
    before, after = points(data), points(compact_path(data, decimals))

    def grid(listed):
        out = []
        for name, point in listed:
            rounded = None if point is None else tuple(round(value * 10**decimals) for value in point)
            if name == "lineTo" and out and out[-1][1] == rounded:
                continue  # a step of length zero
            out.append((name, rounded))
        return [(name, point) for name, point in out if name != "lineTo" or point is not None]

    expected, got = grid(before), grid(after)
    places = [point for _, point in expected if point is not None]
    found = [point for _, point in got if point is not None]
    assert len(found) == len(places)
    assert np.abs(np.array(found) - np.array(places)).max() <= 1


def test_rounding_errors_do_not_add_up_along_a_path():
    data = "M 0 0 " + " ".join(f"L {0.04 * i} 0" for i in range(1, 1001))
    assert points(compact_path(data, 1))[-2][1][0] == pytest.approx(40.0, abs=0.05 + 1e-9)


def test_a_dot_drawn_as_a_line_of_length_zero_survives():
    assert compact_path("M 5 5 L 5 5", 1) == "M5 5h0"


def test_paths_with_arcs_and_relative_commands_keep_their_digits():
    assert compact_path("M 1 1  a 1 1 0 01 2.345 2", 1) == "M 1 1 a 1 1 0 01 2.345 2"


@pytest.mark.parametrize("data", ["10 20", "M 1", "M 1 1 C 2 2"])
def test_broken_path_data_is_an_error(data):
    with pytest.raises(ValueError, match="path data"):
        compact_path(data, 1)


@given(st.floats(-1e4, 1e4), st.integers(1, 4))
def test_shorten_is_the_number_to_that_many_decimals(value, decimals):
    assert float(shorten(value, decimals)) == pytest.approx(value, abs=0.5 * 10**-decimals + 1e-12)


def test_it_is_smaller_and_the_same_every_time(document, drawing):
    assert themed(document, prefix="f1", alt="A parabola") == drawing
    assert len(drawing) < 0.7 * len(document)


def test_only_themed_colours_are_left(drawing):
    literal = re.sub(r"var\([^)]*\)|#f1-[\w-]+|base64,[\w+/=]+", "", drawing)
    assert not re.findall(r"#[0-9a-fA-F]{3,6}", literal)
    for colour in (style.BLUE, style.GREEN, style.INK, style.GRID):
        assert VARIABLES[colour] in drawing


@pytest.mark.parametrize("given_colour", ["#0072B2", "#0072b2"])
def test_colours_are_found_in_attributes_and_styles(given_colour):
    svg = f'<svg viewBox="0 0 300 9"><path d="M 0 0" fill="{given_colour}" style="stroke: {given_colour}"/></svg>'
    assert themed(svg, prefix="a", alt="b").count("var(--fig-blue,#0072b2)") == 2
    assert "fill=" not in themed(svg, prefix="a", alt="b")


def test_short_white_is_paper_and_other_colours_stay():
    svg = '<svg viewBox="0 0 9 9"><path d="M 0 0" fill="#FFF" stroke="#123456"/></svg>'
    assert "fill:var(--fig-paper,#ffffff)" in themed(svg, prefix="a", alt="b")
    assert "stroke:#123456" in themed(svg, prefix="a", alt="b")


def test_every_reference_finds_its_id_and_carries_the_prefix(drawing):
    root = parsed(drawing)
    ids = {element.get("id") for element in root.iter() if element.get("id")}
    used = set(re.findall(r"(?:url\(#|href=\"#)([^)\"]+)", drawing))
    assert used
    assert used == ids
    assert all(name.startswith("f1-") for name in ids)


def test_background_metadata_and_matplotlibs_own_style_are_gone(document, drawing):
    assert "M 0 345.6" in document or "M 0 259.2" in document
    assert "<metadata" in document
    for gone in ("M0 259.2", "<metadata", "<style", "<?xml", "<!--", "xlink", "DOCTYPE", 'id="figure_1"'):
        assert gone not in drawing


def test_a_transparent_axes_over_a_drawing_keeps_its_own_background(drawing):
    assert "fill:var(--fig-paper,#ffffff)" in drawing  # the axes' patch; only the figure's background goes


def test_text_stays_text_in_the_books_typeface(drawing):
    root = parsed(drawing)
    assert "'Worked Sans',sans-serif" in root.get("style")
    label = next(element for element in root.iter(f"{TAG}text") if element.text == "w <b>")
    assert "font-weight:600" in label.get("style")
    assert "font-family" not in label.get("style")
    assert any(element.text == "x" and "italic" in element.get("style") for element in root.iter(f"{TAG}tspan"))


def test_size_and_role(drawing):
    root = parsed(drawing)
    assert root.get("viewBox") == "0 0 518.4 259.2"
    assert "width:100%;max-width:691px" in root.get("style")
    assert (root.get("role"), root.get("aria-label")) == ("img", "A parabola")


def test_alt_is_escaped():
    alt = '"><script>alert(1)</script>'
    out = themed('<svg viewBox="0 0 9 9"><path d="M 0 0"/></svg>', prefix="a", alt=alt)
    assert "<script" not in out
    assert parsed(out).get("aria-label") == alt


def test_scripts_and_handlers_do_not_survive():
    svg = (
        '<svg viewBox="0 0 9 9" onload="x()"><script>x()</script><g onclick="x()"><text>a &lt; b</text></g>'
        "<foreignObject><p>no</p></foreignObject></svg>"
    )
    out = themed(svg, prefix="a", alt="b")
    assert "x()" not in out
    assert "foreignObject" not in out
    assert "<text>a &lt; b</text>" in out


@pytest.mark.parametrize(
    ("svg", "words"),
    [
        ("<svg", "well-formed"),
        ("<p/>", "expected an <svg>"),
        ('<svg viewBox="0 0 9 9"><image href="https://example.org/a.png"/></svg>', "points to"),
        ('<svg viewBox="0 0 9 9"><a href="javascript:x()"><text>a</text></a></svg>', "points to"),
        ("<svg><path/></svg>", "viewBox"),
        ('<svg viewBox="0 0 0 9"/>', "viewBox"),
        ('<!DOCTYPE svg [<!ENTITY a "b">]><svg viewBox="0 0 9 9"/>', "entities"),
    ],
)
def test_bad_drawings_are_refused(svg, words):
    with pytest.raises(ValueError, match=words):
        themed(svg, prefix="a", alt="b")


@pytest.mark.parametrize(("prefix", "alt", "words"), [("1a", "b", "prefix"), ('a"', "b", "prefix"), ("a", " ", "alt")])
def test_bad_prefix_and_missing_alt_are_refused(prefix, alt, words):
    with pytest.raises(ValueError, match=words):
        themed('<svg viewBox="0 0 9 9"/>', prefix=prefix, alt=alt)


def test_a_small_view_box_keeps_enough_digits():
    out = themed('<svg viewBox="0 0 1 1"><circle cx="0.12345" cy="0.5" r="0.01"/></svg>', prefix="a", alt="b")
    assert float(re.search(r'cx="([^"]+)"', out)[1]) == pytest.approx(0.12345, abs=1e-4)


def test_the_browser_draws_what_matplotlib_wrote(document, drawing, chromium_browser):
    page = chromium_browser.new_page()
    measure = "() => [...document.querySelectorAll('svg > path, svg g > path')].map(p => p.getTotalLength())"
    page.set_content(document[document.index("<svg") :])
    page.evaluate("document.querySelector('#patch_1').remove()")
    before = page.evaluate(measure)
    page.set_content(drawing)
    after = page.evaluate(measure)
    page.close()
    assert len(before) == len(after) > 10
    np.testing.assert_allclose(after, before, rtol=2e-3, atol=0.15)
