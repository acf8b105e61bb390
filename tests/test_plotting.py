"""Drawings: the data and the words in them, never pixels."""

import matplotlib as mpl

mpl.use("agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from helpers import plotting, style, surfaces
from helpers.optim_paths import descend

BOWL = surfaces.quadratic([[2.0, 0.0], [0.0, 4.0]], name="bowl")


@pytest.fixture(autouse=True)
def _closed_figures():
    yield
    plt.close("all")


def test_curve_shows_the_samples():
    sample = surfaces.x_cos().sample(31)
    ax = plotting.plot_curve(sample)
    (line,) = ax.get_lines()
    np.testing.assert_array_equal(line.get_xdata(), sample.axes[0])
    np.testing.assert_array_equal(line.get_ydata(), sample.values)
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_xlim()) == ("$x$", "$f(x)$", (-12.0, 12.0))


def test_descent_1d_marks_path_start_and_end():
    run = descend(surfaces.parabola(), 10.0, lr=0.2, n_steps=6)
    ax = plt.subplots()[1]
    assert plotting.plot_descent_1d(run, ax, color=style.RED, marker="s") is ax
    path, start, end = ax.get_lines()
    np.testing.assert_array_equal(path.get_xydata(), torch.stack([run.points[:, 0], run.values], 1))
    assert (start.get_xydata()[0].tolist(), start.get_markerfacecolor()) == ([10.0, 100.0], style.PAPER)
    assert (end.get_xdata()[0], end.get_markerfacecolor()) == (run.final.item(), style.RED)


def test_a_diverged_run_is_drawn_as_far_as_it_is_finite():
    run = descend(surfaces.saddle(), [2.0, 9.0], lr=0.4, n_steps=60)
    assert run.diverged
    path, _, end = plotting.plot_trajectory(run).get_lines()
    n_finite = int(run.points.isfinite().all(dim=1).sum())
    assert len(path.get_xdata()) == n_finite < 61
    assert np.isfinite(end.get_xydata()).all()


def test_contour_has_its_levels_and_minima():
    ax = plotting.plot_contour(BOWL.sample(21), levels=[1.0, 4.0, 9.0], minima=BOWL.minima)
    (contours,) = ax.collections
    assert contours.levels.tolist() == [1.0, 4.0, 9.0]
    for level, paths in zip(contours.levels, contours.get_paths(), strict=True):
        heights = BOWL(torch.tensor(paths.vertices))
        np.testing.assert_allclose(heights, level, atol=0.2)  # straight pieces between the points of the grid
    assert ax.get_lines()[0].get_xydata().tolist() == [[0.0, 0.0]]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("$x_1$", "$x_2$")


def test_contour_levels_by_number_are_evenly_spaced_in_distance():
    (contours,) = plotting.plot_contour(BOWL.sample(21), levels=5).collections
    distance = np.sqrt(contours.levels)
    np.testing.assert_allclose(np.diff(distance), distance[0], rtol=1e-12)


def test_trajectories_differ_in_more_than_colour():
    runs = descend(BOWL, [[-5, -2], [5, 2], [3, -2]], lr=0.1, n_steps=4)
    lines = plotting.plot_trajectory(runs).get_lines()[::3]
    assert len({line.get_color() for line in lines}) == 3
    assert len({line.get_marker() for line in lines}) == 3
    for i, line in enumerate(lines):
        np.testing.assert_array_equal(line.get_xydata(), runs.points[:, i])


@pytest.mark.parametrize(("log", "scale"), [(True, "log"), (False, "linear")])
def test_loss_curve(log, scale):
    run = descend(BOWL, [-5, -2], lr=0.1, n_steps=7)
    ax = plotting.plot_loss_curve(run, label="plain", log=log)
    np.testing.assert_array_equal(ax.get_lines()[0].get_xydata(), torch.stack([torch.arange(8.0), run.values], 1))
    assert (ax.get_yscale(), ax.get_xlabel(), ax.get_ylabel()) == (scale, "update", "loss")
    (label,) = ax.texts
    assert (label.get_text(), tuple(label.xy)) == ("plain", (7, run.values[-1].item()))


def test_surface_has_one_patch_for_each_cell_of_the_grid():
    ax = plt.figure().add_subplot(projection="3d")
    plotting.plot_surface(BOWL.sample(9), ax)
    (sheet,) = ax.collections
    assert len(sheet.get_facecolor()) == 64
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("$x_1$", "$x_2$")


def test_residuals_run_from_point_to_prediction():
    ax = plotting.plot_residuals([3.0, 1.0], [5.0, 2.0], [4.0, 1.0])
    (bars,) = ax.collections
    assert [segment.tolist() for segment in bars.get_segments()] == [[[3, 5], [3, 4]], [[1, 2], [1, 1]]]
    line, points = ax.get_lines()
    assert line.get_xydata().tolist() == [[1, 1], [3, 4]]
    assert points.get_xydata().tolist() == [[3, 5], [1, 2]]


def test_label_end_stands_at_the_last_finite_point():
    ax = plt.subplots()[1]
    plotting.label_end(ax, [0, 1, 2], [1.0, 3.0, float("inf")], "name")
    plotting.label_end(ax, [0, 1], [float("nan")] * 2, "nowhere")
    assert [(text.get_text(), text.xy) for text in ax.texts] == [("name", (1, 3))]


def test_still_axes_do_not_move_with_what_is_drawn():
    places = []
    for title in ("", "a title\nof two lines"):
        fig, axes = plotting.still_axes(2, 1, heights=(1, 1), height=4)
        axes[0].set(title=title, ylabel=title)
        fig.canvas.draw()
        places.append([ax.get_position().bounds for ax in axes])
    assert len(places[0]) == 4
    assert places[0] == places[1]
    assert places[0][0][2] == pytest.approx(2 * places[0][1][2])


RUNS_2D = descend(BOWL, [[-5, -2], [5, 2]], lr=0.1, n_steps=3)
MISTAKES = {
    "curve of two coordinates": (lambda: plotting.plot_curve(BOWL.sample(5)), "surfaces of 1 coordinate"),
    "contours of a curve": (lambda: plotting.plot_contour(surfaces.parabola().sample(5)), "surfaces of 2 coordinate"),
    "1-D path of two parameters": (lambda: plotting.plot_descent_1d(RUNS_2D.run(0)), r"\(n_steps \+ 1, 1\)"),
    "1-D path of many starts": (lambda: plotting.plot_descent_1d(RUNS_2D), r"run\(i\)"),
    "loss of many starts": (lambda: plotting.plot_loss_curve(RUNS_2D), r"pick one of 2 with run\(i\)"),
    "sheet on flat axes": (lambda: plotting.plot_surface(BOWL.sample(5), plt.subplots()[1]), "3-D axes"),
    "residuals of two shapes": (lambda: plotting.plot_residuals([1, 2], [1, 2], [1]), "one shape"),
}


@pytest.mark.parametrize(("call", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_gets_one_clear_sentence(call, message):
    with pytest.raises(ValueError, match=message):
        call()
