"""What a history holds, shows and survives."""

import json
import math

import matplotlib.pyplot as plt
import pytest

from helpers.history import History
from helpers.progress import choose


@pytest.fixture
def history():
    h = History()
    for epoch in (1, 2, 3):
        h.add_epoch({"epoch": epoch, "train_loss": 1 / epoch, "valid_loss": 2 / epoch, "lr": 0.1, "seconds": 12.3456})
        h.add_steps(loss=[1 / epoch + 0.1, 1 / epoch - 0.1], lr=[0.1, 0.1])
    h.stopped = "finished"
    return h


def test_frame(history):
    frame = history.to_frame()
    assert list(frame.index) == [1, 2, 3]
    assert frame.loc[2, "valid_loss"] == 1.0
    steps = history.to_frame("step")
    assert list(steps.index) == [1, 2, 3, 4, 5, 6]
    assert list(steps["loss"]) == history.steps["loss"]
    with pytest.raises(ValueError, match='"epoch" or "step"'):
        history.to_frame("day")


def test_json_round_trip_keeps_values_that_json_does_not_know(history, tmp_path):
    history.add_steps(grad_norm=[math.inf, -math.inf, 1.0])
    history.best_epoch = 2
    text = history.to_json(tmp_path / "h.json")
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert History.from_json(text) == history
    assert History.from_json(tmp_path / "h.json") == history
    nan = History.from_json(History({"a": [math.nan]}).to_json())
    assert math.isnan(nan["a"][0])


@pytest.mark.parametrize("text", ["{}", '{"format": 99}', "{broken", '{"format": 1, "epochs": 3}'])
def test_foreign_json_is_refused(text):
    with pytest.raises(ValueError, match="not the JSON of a History"):
        History.from_json(text)


def test_display_does_not_depend_on_the_clock(history):
    for shown in (repr(history), history._repr_html_()):
        assert "12.3" not in shown
        assert "valid_loss" in shown
        assert "0.3333" in shown


def test_long_histories_are_shortened():
    h = History()
    for epoch in range(1, 101):
        h.add_epoch({"epoch": epoch, "train_loss": 1.0})
    assert len(repr(h).splitlines()) == 1 + 1 + 13
    assert "..." in repr(h)
    assert repr(History()) == "History: 0 epochs"
    assert "<table" in History()._repr_html_()


def test_unknown_names_list_the_known_ones(history):
    with pytest.raises(KeyError, match=r"valid_accuracy.*train_loss, valid_loss"):
        history["valid_accuracy"]
    with pytest.raises(KeyError, match="train_accuracy"):
        history.plot(metric="accuracy")


def test_plot_shows_the_recorded_values(history):
    history.best_epoch = 3
    ax = history.plot()
    lines = {line.get_label(): line for line in ax.get_lines()}
    assert list(lines["training"].get_ydata()) == history["train_loss"]
    assert list(lines["validation"].get_ydata()) == history["valid_loss"]
    assert list(lines["training, single steps"].get_xdata()) == [0.5, 1.0, 1.5, 2.0, 2.5, 3.0]
    assert lines["best epoch, weights restored"].get_xdata()[0] == 3
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("epoch", "loss")
    figure, other = plt.subplots()
    assert history.plot(other) is other
    plt.close(figure)
    plt.close(ax.figure)


def test_many_steps_make_a_light_line():
    h = History()
    h.add_epoch({"epoch": 1, "train_loss": 1.0})
    h.add_steps(loss=[1.0] * 10_000)
    ax = h.plot()
    assert max(len(line.get_xdata()) for line in ax.get_lines()) <= 300
    plt.close(ax.figure)


class Terminal:
    def __init__(self, tty):
        self.tty = tty

    def isatty(self):
        return self.tty


def test_progress_suits_the_place(monkeypatch):
    monkeypatch.delenv("PYTEST_VERSION", raising=False)
    monkeypatch.delenv("BOOK_BUILD", raising=False)
    assert choose(True, Terminal(True)) == "bar"
    assert choose(True, Terminal(False)) == "log"
    assert choose(False, Terminal(True)) == "off"
    monkeypatch.setenv("BOOK_BUILD", "1")
    assert choose(True, Terminal(True)) == "off"
    assert choose("bar", Terminal(False)) == "bar"
    with pytest.raises(ValueError, match="progress is True, False"):
        choose("loud")
