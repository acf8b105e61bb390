import gzip
import json
import re
import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers import style
from helpers.explore import MAX_FRAMES, Control, Explore, ExploreError
from helpers.explore_page import split

style.use_style()


def drawing(lr, start):
    return f'<svg viewBox="0 0 300 90"><rect width="300" height="9"/><path d="M 0 {100 * lr} L {start} 9"/></svg>'


def line_figure(slope):
    figure, ax = plt.subplots(figsize=(4, 3))
    ax.plot([0, 1], [0, slope], color=style.RED)
    ax.set(xlim=(0, 1), ylim=(-3, 3))
    return figure


def small(**more) -> Explore:
    grid = {"lr": Control([0.1, 0.25, 1.1], label="learning rate η", start=0.25), "start": [-5, 10]}
    return Explore(drawing, describe=lambda lr, start: f"From {start} with {lr}.", **grid, **more)


def stored(html: str) -> dict:
    return json.loads(re.search(r'<script type="application/json">(.*?)</script>', html, re.DOTALL)[1])


def test_every_combination_is_drawn_and_described():
    frames = small().frames()
    assert [frame.values for frame in frames] == [{"lr": lr, "start": s} for lr in (0.1, 0.25, 1.1) for s in (-5, 10)]
    assert frames[3].note == "From 10 with 0.25."
    assert len({frame.markup for frame in frames}) == 6


def test_the_page_gives_back_exactly_the_frames():
    explore = small()
    data = stored(explore.to_html())
    rebuilt = ["".join(data["pieces"][i] for i in data["frames"][at]) for at in data["show"]]
    assert rebuilt == [frame.markup for frame in explore.frames()]
    assert [data["notes"][i] for i in data["say"]] == [frame.note for frame in explore.frames()]


def test_the_start_is_visible_without_a_script_and_the_controls_are_not():
    explore = small()
    html = explore.to_html()
    before_data = html[: html.index("<script")]
    assert explore.frames()[2].markup in before_data
    assert "From -5 with 0.25." in before_data
    assert 'data-state="1,0"' in before_data
    assert re.search(r'class="explore-controls" hidden', before_data)


def test_controls_are_native_and_labelled():
    html = Explore(drawing, play="lr", lr=[0.1, 0.5], start=Control(["a", "b"], label="where <i>")).to_html()
    ids = re.findall(r'<(?:input|select)[^>]* id="([^"]+)"', html)
    assert re.findall(r'<label for="([^"]+)"', html) == ids
    assert len(ids) == 2
    assert '<input type="range"' in html
    assert 'aria-valuetext="0.1"' in html
    assert "where &lt;i&gt;" in html
    assert "<option selected>a</option><option>b</option>" in html
    assert re.findall(r'data-do="(\w+)"', html) == ["back", "play", "on"]
    assert "onclick" not in html


def test_two_figures_of_one_page_share_no_id():
    ids = [re.findall(r' id="([^"]+)"', figure.to_html()) for figure in (small(), small())]
    assert ids[0]
    assert not set(ids[0]) & set(ids[1])


def test_the_data_cannot_end_the_script_element():
    def draw(n):
        return '<svg viewBox="0 0 9 9"><text>a</text></svg>'

    html = Explore(draw, describe=lambda n: '</script><!-- <script> & "', n=[1, 2]).to_html()
    assert html.count("</script>") == 1
    assert "<!--" not in html
    assert stored(html)["notes"] == ['</script><!-- <script> & "']


def test_identical_frames_and_shared_pieces_are_stored_once():
    def draw(a, b):
        return f'<svg viewBox="0 0 300 9"><path d="M 0 0 L 50 50"/><rect width="{10 * a}" height="5"/></svg>'

    data = stored(Explore(draw, a=[1, 2, 3], b=[1, 2, 3]).to_html())
    assert len(data["frames"]) == 3
    assert data["show"] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert sum("M0 0l50 50" in piece for piece in data["pieces"]) == 1


@given(st.lists(st.lists(st.sampled_from(["<a/>", "<b/>", "<c>x</c>", "<d>"]), min_size=1), min_size=1, max_size=6))
def test_split_loses_nothing(frames):
    whole = ["".join(frame) for frame in frames]
    pieces, indices = split(whole)
    assert ["".join(pieces[i] for i in row) for row in indices] == whole
    assert len(set(pieces)) == len(pieces)


def test_a_shared_element_is_not_stored_with_its_neighbours():
    pieces, rows = split(["<a/><s/><t/>", "<b/><s/><t/>"])
    assert pieces == ["<a/>", "<s/><t/>", "<b/>"]
    assert rows == [[0, 1], [2, 1]]


def test_a_line_figure_stays_light():
    def draw(k):
        figure, ax = plt.subplots()
        x = np.linspace(0, 10, 200)
        ax.plot(x, np.sin(k * x))
        ax.set(xlim=(0, 10), ylim=(-1.1, 1.1))
        return figure

    explore = Explore(draw, k=np.linspace(1, 2, 10))
    weight = explore.weight()
    html = explore.to_html().encode()
    assert weight == {"raw": len(html), "gzip": len(gzip.compress(html, mtime=0))}
    assert weight["gzip"] < 3000 * 10


def test_the_format_can_be_forced_and_auto_takes_the_lighter():
    def draw(seed):
        figure, ax = plt.subplots(figsize=(3, 2))
        x, y = np.random.default_rng(seed).normal(size=(2, 4000))
        ax.scatter(x, y, s=4)
        return figure

    weights = {form: Explore(draw, seed=[1, 2], format=form) for form in ("svg", "webp", "auto")}
    sizes = {form: explore.weight()["gzip"] for form, explore in weights.items()}
    assert sizes["auto"] == pytest.approx(min(sizes["svg"], sizes["webp"]), abs=10)  # the ids differ
    assert sizes["webp"] < sizes["svg"]
    html = weights["webp"].to_html()
    assert 'src="data:image/webp;base64,' in html
    assert 'alt="Interactive figure: seed"' in html


def test_webp_frames_are_the_figures():
    import base64
    import io

    from PIL import Image

    html = Explore(line_figure, slope=[-2, 2], format="webp").to_html()
    image = Image.open(io.BytesIO(base64.b64decode(re.search(r"base64,([^\"]+)", html)[1]))).convert("RGB")
    assert image.size == (4 * 192, 3 * 192)
    red = np.array([int(style.RED[i : i + 2], 16) for i in (1, 3, 5)])
    assert (np.abs(np.asarray(image).astype(int) - red).sum(-1) < 30).sum() > 500


def test_webp_needs_a_matplotlib_figure():
    with pytest.raises(TypeError, match="webp"):
        Explore(drawing, lr=[0.1, 1], start=[1, 2], format="webp").to_html()


@pytest.mark.parametrize(
    ("grid", "texts"),
    [
        ([1, 2, 10], ("1", "2", "10")),
        ([0.1, 0.25], ("0.10", "0.25")),
        ([1e-5, 1e-3, 0.1], ("1e-05", "0.001", "0.1")),
        ([-1.5, 0], ("−1.5", "0.0")),
        (np.linspace(0, 1, 4), ("0", "0.333", "0.667", "1")),
        (torch.tensor([1, 2]), ("1", "2")),
        ([np.float32(0.5), np.float32(1)], ("0.5", "1.0")),
        ([False, True], ("False", "True")),
        (Control([0.5, 1.0], format="{:.0%}"), ("50%", "100%")),
        (Control([1, 2], format=lambda n: f"{n} layers"), ("1 layers", "2 layers")),
    ],
)
def test_values_are_written_short_and_distinct(grid, texts):
    assert Explore(drawing, x=grid).parameters[0].texts == texts


@pytest.mark.parametrize(("start", "index"), [(None, 0), (0.3, 2), (0.1 + 0.2, 2), (1, 1), (np.float64(0.2), 1)])
def test_start_is_a_value_or_else_an_index(start, index):
    assert Explore(drawing, x=Control([0.1, 0.2, 0.3], start=start)).parameters[0].start == index


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({}, ValueError, "at least one parameter"),
        ({"x": []}, ValueError, "at least two values"),
        ({"x": [1]}, ValueError, "at least two values"),
        ({"x": 3}, TypeError, "sequence of values"),
        ({"x": "abc"}, TypeError, "sequence of values"),
        ({"x": [1, 2, 1]}, ValueError, "1 more than once"),
        ({"x": [1.0, float("nan")]}, ValueError, "finite"),
        ({"x": Control([1, 2], start=7)}, ValueError, "start=7"),
        ({"x": Control(["a", "b"], start="c")}, ValueError, "start='c'"),
        ({"x": Control([1.01, 1.02], format="{:.1f}")}, ValueError, "more digits"),
        ({"x": Control([1.5, 2.5], format="{:d}")}, ValueError, "does not fit"),
        ({"x": [1, 2], "play": "y"}, ValueError, "play='y'"),
        ({"x": ["a", "b"], "play": "x"}, ValueError, "there is none"),
        ({"x": range(21), "y": range(20)}, ValueError, f"21 × 20 = 420 .* at most {MAX_FRAMES}"),
        ({"x": [1, 2], "format": "gif"}, ValueError, "'gif'"),
        ({"x": [1, 2], "describe": "words"}, TypeError, "describe"),
    ],
)
def test_bad_use_is_an_error_that_names_it(arguments, error, words):
    with pytest.raises(error, match=words):
        Explore(drawing, **arguments)


def test_draw_must_be_a_function():
    with pytest.raises(TypeError, match="draw must be a function"):
        Explore(plt, x=[1, 2])


@pytest.mark.parametrize(
    ("returned", "words"), [(None, "return fig"), (3, "not int"), (plt.Axes.__new__(plt.Axes), "return ax.figure")]
)
def test_draw_must_return_a_figure(returned, words):
    with pytest.raises(TypeError, match=words):
        Explore(lambda x: returned, x=[1, 2]).to_html()


def test_describe_must_return_words():
    with pytest.raises(TypeError, match="describe must return"):
        Explore(drawing, describe=lambda lr, start: 3, lr=[1, 2], start=[1, 2]).to_html()


@pytest.mark.parametrize("way", ["frames", "to_html", "widget"])
def test_a_failing_draw_names_the_parameters(way):
    def draw(lr, start):
        return 1 / (lr - 0.5)

    explore = Explore(draw, lr=Control([0.5, 1], label="learning rate"), start=[10, 20])
    with pytest.raises(
        ExploreError, match=r"^drawing failed at learning rate = 0\.5, start = 10: ZeroDivisionError"
    ) as e:
        getattr(explore, way)()
    assert isinstance(e.value.__cause__, ZeroDivisionError)


def test_broken_svg_names_the_parameters():
    with pytest.raises(ExploreError, match="x = 1: ValueError: the SVG is not well-formed"):
        Explore(lambda x: "<svg", x=[1, 2]).to_html()


@pytest.mark.parametrize("form", ["svg", "webp"])
def test_no_figure_stays_open(form):
    plt.close("all")
    Explore(line_figure, slope=[1, 2, 3], format=form).to_html()
    assert plt.get_fignums() == []

    def breaks(x):
        plt.subplots()
        raise ValueError

    with pytest.raises(ExploreError):
        Explore(breaks, x=[1, 2]).to_html()
    assert plt.get_fignums() == []


def test_figures_of_others_stay_open():
    plt.close("all")
    plt.figure(7)
    Explore(line_figure, slope=[1, 2]).to_html()
    assert plt.get_fignums() == [7]
    plt.close("all")


def test_an_object_that_draws_itself_as_svg_will_do():
    class Graph:
        def _repr_svg_(self):
            return drawing(0.1, 3)

    assert Explore(lambda x: Graph(), x=[1, 2]).frames()[0].markup.startswith("<svg")


def test_live_widgets_draw_only_what_is_looked_at():
    drawn = []

    def draw(lr, start):
        drawn.append((lr, start))
        return drawing(lr, start)

    box = Explore(draw, describe=lambda lr, start: f"η<{lr}", play="lr", lr=[0.1, 0.5, 0.9], start=[3, 4]).widget()
    assert drawn == [(0.1, 3)]
    box.controls["lr"].index = 2
    box.controls["start"].value = 1
    assert drawn == [(0.1, 3), (0.9, 3), (0.9, 4)]
    assert "η&lt;0.9" in box.note.value
    assert "M0 90l4-81" in box.picture.value


def test_the_play_button_moves_its_slider():
    box = small(play="lr").widget()
    player = next(child for row in box.children for child in getattr(row, "children", ()) if hasattr(child, "interval"))
    player.value = 2
    assert box.controls["lr"].index == 2
    assert "From -5 with 1.1." in box.note.value
    box.controls["lr"].index = 0
    assert player.value == 0


def test_a_failure_after_a_change_is_shown_in_place():
    def draw(x):
        if x == 2:
            raise ValueError("too <much>")
        return drawing(x, x)

    box = Explore(draw, x=[1, 2]).widget()
    box.controls["x"].index = 1
    assert box.picture.value == ""
    assert "drawing failed at x = 2: ValueError: too &lt;much&gt;" in box.note.value
    box.controls["x"].index = 0
    assert "<svg" in box.picture.value
    assert "failed" not in box.note.value


def test_live_matplotlib_figures_are_sharp_pictures_with_words():
    box = Explore(line_figure, title="Slopes & more", slope=[1, 2]).widget()
    assert 'src="data:image/png;base64,' in box.picture.value
    assert 'alt="Slopes &amp; more"' in box.picture.value
    assert "width:384px" in box.picture.value


def test_the_built_page_gets_html_and_no_widget(monkeypatch):
    monkeypatch.setenv("BOOK_BUILD", "1")
    bundle = small()._repr_mimebundle_()
    assert set(bundle) == {"text/html", "text/plain"}
    assert "data-explore" in bundle["text/html"]


def test_a_live_kernel_gets_a_widget_and_a_still_picture(monkeypatch):
    monkeypatch.delenv("BOOK_BUILD", raising=False)
    bundle = small()._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert "<svg" in bundle["text/html"]
    assert "data-explore" not in bundle["text/html"]
    assert bundle["text/plain"].startswith("<Explore")
    monkeypatch.setitem(sys.modules, "google.colab", sys)
    assert "text/html" not in small()._repr_mimebundle_()
