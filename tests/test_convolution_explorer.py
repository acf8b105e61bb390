"""The convolution explorer: its script beside PyTorch's conv2d, its words and drawings, and in a browser."""

import json
import re

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from instruments import write_pages
from playwright.sync_api import expect
from py_mini_racer import MiniRacer

from helpers.convolution import output_size
from helpers.convolution_explorer import KERNELS, OWN, WEB, ConvolutionExplorer

IMAGE = torch.tensor([[1, 2, 0, 1, 3], [0, 1, 3, 2, 1], [2, 0, 1, 1, 0], [1, 3, 2, 0, 2], [0, 1, 1, 2, 1]])
WIDE = torch.arange(24).reshape(4, 6) % 7
KERNEL = [[1, 0, -1], [2, 1, 0], [0, -1, 1]]


def explorer(**options):
    return ConvolutionExplorer({"five": IMAGE, "wide": WIDE}, kernels={"ours": KERNEL}, **options)


@pytest.fixture(scope="module")
def script():
    with MiniRacer() as engine:
        engine.eval((WEB / "convolution.js").read_text(encoding="utf-8"))

        def call(name, *arguments):
            inside = ", ".join(json.dumps(argument) for argument in arguments)
            return json.loads(engine.eval(f"JSON.stringify(ConvolutionExplorer.{name}({inside}))"))

        yield call


def picture(script, **changes):
    data = explorer().data()
    return script("picture", data["state"] | changes, data)


SETTINGS = st.fixed_dictionaries(
    {"padding": st.integers(0, 2), "stride": st.integers(1, 3), "dilation": st.integers(1, 3)}
)
SIDES = st.tuples(st.integers(1, 8), st.integers(1, 8))


def made(sides, k, seed):
    generator = torch.Generator().manual_seed(seed)
    image = torch.randint(0, 17, sides, generator=generator).double()
    return image, torch.randn(k, k, dtype=torch.float64, generator=generator)


@settings(max_examples=150, deadline=None)
@given(sides=SIDES, k=st.integers(2, 3), options=SETTINGS, bias=st.integers(-9, 9), seed=st.integers(0, 10_000))
def test_the_output_is_pytorchs(script, sides, k, options, bias, seed):
    image, kernel = made(sides, k, seed)
    theirs = script("convolve", image.tolist(), kernel.tolist(), bias, options)
    if min(sides) + 2 * options["padding"] < options["dilation"] * (k - 1) + 1:
        assert theirs == []
        return
    ours = F.conv2d(image[None, None], kernel[None, None], torch.tensor([bias]).double(), **options)[0, 0]
    torch.testing.assert_close(torch.tensor(theirs, dtype=torch.float64), ours)
    sizes = [output_size(size, k, **options) for size in sides]
    assert [script("outputSize", size, k, options) for size in sides] == sizes


@settings(max_examples=60, deadline=None)
@given(sides=SIDES, k=st.integers(2, 3), options=SETTINGS, seed=st.integers(0, 10_000))
def test_a_pixel_is_crossed_out_where_pytorchs_gradient_is_zero(script, sides, k, options, seed):
    image, kernel = made(sides, k, seed)
    unread = script("unread", image.tolist(), kernel.tolist(), options)
    if min(sides) + 2 * options["padding"] < options["dilation"] * (k - 1) + 1:
        assert all(all(row) for row in unread)
        return
    image.requires_grad_()
    F.conv2d(image[None, None], torch.ones(1, 1, k, k, dtype=torch.float64), **options).sum().backward()
    assert torch.tensor(unread).equal(image.grad == 0)


@settings(max_examples=60, deadline=None)
@given(options=SETTINGS, place=st.tuples(st.integers(0, 9), st.integers(0, 9)), bias=st.integers(-9, 9))
def test_the_written_sum_is_the_output(script, options, place, bias):
    page = picture(script, settings=options, position=list(place), bias=bias)
    if page["position"] is None:
        assert page["sum"] == ""
        return
    i, j = page["position"]
    words = re.sub(r"<[^>]+>", " ", page["sum"]).replace("−", "-")
    products = re.findall(r"\(?(-?\d+)\)? × +(\d+)", words)
    assert len(products) == 9
    assert sum(int(w) * int(x) for w, x in products) + bias == page["values"][i][j]
    assert [int(w) for w, _ in products] == [w for row in KERNEL for w in row]
    assert int(re.search(r"= (-?\d+)\s*$", words)[1]) == page["values"][i][j]
    assert page["note"].replace("−", "-").endswith(f"{page['values'][i][j]}.")


def test_the_window_lies_on_the_pixels_it_multiplies(script):
    page = picture(script, settings={"padding": 1, "stride": 2, "dilation": 2}, position=[1, 1])
    side = 336 / 7
    windows = re.findall(r'<rect x="([\d.]+)" y="([\d.]+)"[^>]*class="window"', page["input"])
    cells = [(round((float(y) - 1.5) / side), round((float(x) - 1.5) / side)) for x, y in windows]
    assert cells == [(r, c) for r in (2, 4, 6) for c in (2, 4, 6)]


def test_the_size_is_written_out_and_lost_pixels_are_counted(script):
    lost = picture(script, image="wide", settings={"padding": 0, "stride": 2, "dilation": 1})
    assert "Rows of the output: ⌊(4 + 2·0 − 1·(3 − 1) − 1) / 2⌋ + 1 = 1" in lost["size"]
    assert "columns: ⌊(6 + 2·0 − 1·(3 − 1) − 1) / 2⌋ + 1 = 2" in lost["size"]
    assert "9 pixels (crossed out) are never read" in lost["size"]
    assert lost["input"].count("l56 56") == 9
    assert "Every pixel is read" in picture(script)["size"]


def test_a_kernel_that_does_not_fit_is_said_not_drawn(script):
    page = picture(script, settings={"padding": 0, "stride": 1, "dilation": 3})
    assert "spans 7 pixels and the padded image has 5" in page["size"]
    assert page["position"] is None
    assert "<rect" not in page["output"]


def test_the_offered_kernels_can_be_shown():
    for name, kernel in KERNELS.items():
        assert ConvolutionExplorer({"a": IMAGE}, kernels={name: kernel}).data()["state"]["kernel"] == kernel


@pytest.mark.parametrize(
    ("images", "options", "words"),
    [
        ({}, {}, "at least one image"),
        ({"a": torch.zeros(9, 3)}, {}, r"'a' must be a tensor of at most 8 x 8 pixels; got \(9, 3\)"),
        ({"a": torch.zeros(3)}, {}, r"got \(3,\)"),
        ({"a": [[1.0]]}, {}, "got list"),
        ({"a": torch.full((2, 2), torch.nan)}, {}, "finite"),
        ({"a": IMAGE}, {"kernels": {"k": [[1, 2, 3]]}}, "'k' must have 2 x 2 or 3 x 3 numbers"),
        ({"a": IMAGE}, {"kernels": {"k": [[1, 2], [3]]}}, "'k' must have"),
    ],
)
def test_what_cannot_be_shown_is_named(images, options, words):
    with pytest.raises(ValueError, match=words):
        ConvolutionExplorer(images, **options)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("convolution")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BOOK_BUILD", "1")
        body = explorer(position=(1, 2))._repr_html_()
    return write_pages(folder, "convolution", WEB, body, explorer()._repr_html_())


def output(tab):
    """The numbers of the output map as the page shows them, in one row."""
    return [int(text.replace("−", "-")) for text in tab.locator(".convolution-output text").all_text_contents()]


def expected(image=IMAGE, kernel=KERNEL, bias=0, **options):
    kernel = torch.tensor(kernel).double()[None, None]
    y = F.conv2d(image.double()[None, None], kernel, torch.tensor([bias]).double(), **options)
    return [int(v) for v in y.flatten()]


def note(tab):
    return tab.locator(".explore-text").first.inner_text()


def test_every_control_changes_the_output(visit):
    tab = visit()
    assert output(tab) == expected()
    weight = tab.get_by_label("weight, row 1, column 2")
    weight.fill("-3")
    changed = [[1, -3, -1], *KERNEL[1:]]
    assert output(tab) == expected(kernel=changed)
    assert tab.get_by_label("kernel", exact=True).input_value() == OWN
    tab.get_by_label("bias").fill("7")
    assert output(tab) == expected(kernel=changed, bias=7)
    for name, key in (("padding", "ArrowRight"), ("stride", "ArrowRight"), ("dilation", "ArrowRight")):
        tab.get_by_label(name).focus()
        tab.keyboard.press(key)
    assert output(tab) == expected(kernel=changed, bias=7, padding=1, stride=2, dilation=2)
    tab.get_by_label("image").select_option("wide")
    tab.get_by_label("kernel", exact=True).select_option("2 × 2: sum")
    assert output(tab) == expected(WIDE, [[1, 1], [1, 1]], bias=7, padding=1, stride=2, dilation=2)
    assert tab.locator("[data-weight]:visible").count() == 4


def test_a_weight_may_be_typed_slowly(visit):
    tab = visit()
    weight = tab.get_by_label("weight, row 1, column 1")
    weight.focus()
    tab.keyboard.press("Control+a")
    for typed, value in (("-", 0), ("1", -1), ("2", -12), ("5", -99)):
        tab.keyboard.type(typed)
        assert output(tab) == expected(kernel=[[value, 0, -1], *KERNEL[1:]]), typed
    tab.keyboard.press("Tab")  # what is shown is what is computed with
    expect(weight).to_have_value("-99")


def test_the_window_goes_where_the_reader_points_and_presses(visit):
    tab = visit()
    assert "Row 2, column 3" in note(tab)
    box = tab.locator(".convolution-output").bounding_box()
    tab.mouse.click(box["x"] + 0.1 * box["width"], box["y"] + 0.9 * box["height"])
    assert "Row 3, column 1" in note(tab)
    tab.keyboard.press("ArrowUp")
    tab.keyboard.press("ArrowRight")  # the map has been redrawn and still has the focus
    assert "Row 2, column 2" in note(tab)
    tab.get_by_role("button", name="Next position").click()
    tab.get_by_role("button", name="Next position").click()
    assert "Row 3, column 1" in note(tab)
    for _ in range(7):  # once more than there are steps; force, since a button that is off is not waited for
        tab.get_by_role("button", name="Previous position").click(force=True)
    assert "Row 1, column 1" in note(tab)
    assert tab.get_by_role("button", name="Previous position").get_attribute("aria-disabled") == "true"


def test_a_kernel_that_does_not_fit_leaves_the_page_alive(visit):
    tab = visit()
    tab.get_by_label("dilation").fill("3")
    assert "does not fit" in tab.locator("[data-part=size]").inner_text()
    for name in ("Play", "Next position"):
        tab.get_by_role("button", name=name).click(force=True)
    tab.get_by_label("padding").fill("1")
    assert output(tab) == expected(dilation=3, padding=1)


def test_it_plays_and_respects_reduced_motion(visit):
    tab = visit()
    tab.get_by_label("stride").fill("2")
    tab.get_by_role("button", name="Play").click()
    assert len(output(tab)) < 4  # what has not been computed yet is not shown
    expect(tab.locator(".explore-text")).to_contain_text("Row 2, column 2")
    tab.wait_for_selector("text=Play")
    assert output(tab) == expected(stride=2)
    still = visit(reduced_motion="reduce")
    assert still.locator("[data-do=play]").is_hidden()


def test_without_a_script_the_first_state_is_drawn(visit):
    tab = visit(java_script_enabled=False)
    assert output(tab) == expected()
    assert "Row 2, column 3" in note(tab)
    assert tab.locator(".explore-controls").is_hidden()
    assert tab.locator("[data-part=kernel]").is_hidden()


def test_a_live_notebook_needs_nothing_else_and_may_show_it_twice(visit):
    tab = visit("live")
    assert tab.locator(".convolution-output").count() == 2
    assert "Row 1, column 1" in note(tab)


def test_nothing_is_wider_than_a_phone(visit):
    tab = visit(viewport={"width": 360, "height": 800})
    for u in range(3):
        for v in range(3):
            tab.get_by_label(f"weight, row {u + 1}, column {v + 1}").fill("-12")
    assert tab.evaluate("document.documentElement.scrollWidth") <= 360
