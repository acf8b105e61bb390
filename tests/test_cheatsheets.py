"""The tables of the cheat sheets, against what is known by hand."""

import pytest

from helpers import cheatsheets


def cells(table):
    """The rows of a Markdown table, without its head."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


def test_windows_on_28_pixels():
    sizes = {tuple(map(int, row[:4])): int(row[5]) for row in cells(cheatsheets.windows())}
    assert sizes[3, 1, 0, 1] == 26
    assert sizes[4, 1, 0, 1] == 25
    assert sizes[3, 1, 2, 2] == sizes[5, 1, 2, 1] == 28
    assert sizes[3, 2, 1, 1] == sizes[2, 2, 0, 1] == sizes[7, 2, 3, 1] == 14


def test_a_window_too_large_is_refused():
    with pytest.raises(ValueError, match="spans"):
        cheatsheets.windows(2)


def test_costs():
    rows = {row[0]: (row[2], row[4]) for row in cells(cheatsheets.costs())}
    assert rows["`nn.Conv2d(C, M, 3, padding=1)`"] == ("73,856", "57,802,752")
    assert rows["`nn.Conv2d(C, M, 1)`"] == ("8,320", "6,422,528")
    assert rows["mean of each map, then `nn.Linear`"] == ("8,320", "8,192")


def test_shapes_through_lenet():
    rows = cells(cheatsheets.lenet_shapes())
    assert [row[1] for row in rows[1:4]] == ["$(B, 6, 28, 28)$", "$(B, 6, 28, 28)$", "$(B, 6, 14, 14)$"]
    assert rows[4] == ["`Conv2d(6, 16, 5)`", "$(B, 16, 10, 10)$", "2,416"]
    assert rows[-1] == ["`Linear(120, 10)`", "$(B, 10)$", "1,210"]
    assert sum(int(row[2].replace(",", "")) for row in rows if row[2]) == 51_902


def test_shapes_of_recurrent_layers():
    rows = cells(cheatsheets.recurrent_shapes())
    assert rows[3] == ["`nn.LSTM(D, H, L)`", "$(T, B, D)$", "$(T, B, H)$", "$(L, B, H)$", "$(L, B, H)$"]
    assert rows[4][2:4] == ["$(T, B, 2H)$", "$(2L, B, H)$"]


def test_decay_of_a_weight_by_hand():
    rows = [row[2:] for row in cells(cheatsheets.decay())]
    assert rows == [["1.930", "1.980"], ["1.930", "1.980"], ["1.910", "1.960"], ["1.900", "1.900"], ["1.880", "1.980"]]
    assert cells(cheatsheets.decay(strength=0.0))[4][2:] == ["1.900", "2.000"]


def test_a_formula_that_pytorch_contradicts_stops_the_page(monkeypatch):
    monkeypatch.setattr(cheatsheets, "output_size", lambda size, k, **rest: size - k)
    with pytest.raises(ValueError, match=r"k=1.*formula gives 27, PyTorch 28"):
        cheatsheets.windows()
