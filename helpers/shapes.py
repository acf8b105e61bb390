"""Shapes of tensors: which numbers meet when two shapes are broadcast, and how a tensor reads its memory.

The rule is NumPy's (C. R. Harris and others, *Array programming with NumPy*, Nature 585, 2020), which PyTorch follows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, Rectangle
from torch import Tensor

from helpers.style import BLUE, GREEN, INK, MUTED, ORANGE, PAPER, RED

ROW = 0.82
"""Height of a cell; its width is 1."""


@dataclass(frozen=True)
class Column:
    """One dimension of two aligned shapes; `a` or `b` is None where that shape has no such dimension.

    `result` is None if the two sizes cannot be matched.
    """

    a: int | None
    b: int | None
    result: int | None


@dataclass(frozen=True)
class Alignment:
    """Two shapes written below each other from the right; `columns` runs from left to right."""

    columns: tuple[Column, ...]

    @property
    def shape(self) -> tuple[int, ...] | None:
        """The common shape, or None if there is none."""
        sizes = tuple(column.result for column in self.columns)
        return None if None in sizes else sizes

    @property
    def text(self) -> str:
        """What happens, in one or two sentences.

        Examples
        --------
        >>> align((2, 3), (2,)).text
        'Error: in dimension −1, 3 meets 2, and neither of them is 1.'
        """
        said = []
        for place, column in zip(range(-len(self.columns), 0), self.columns, strict=True):
            if column.result is None:
                where = str(place).replace("-", "−")
                return f"Error: in dimension {where}, {column.a} meets {column.b}, and neither of them is 1."
            for name, size in (("A", column.a), ("B", column.b)):
                if size is None:
                    said.append(f"{name} gets a new dimension of size {column.result}")
                elif size != column.result:
                    said.append(f"{name} is stretched from 1 to {column.result}")
        result = f"The result has the shape {self.shape}."
        return result + (f" On the way, {', '.join(said)}." if said else " Every number has a partner of its own.")


def align(a: Sequence[int], b: Sequence[int]) -> Alignment:
    """Match two shapes by the rule of broadcasting.

    From the right, two sizes match if they are equal or one of them is 1, which is then stretched. A dimension that
    one shape does not have counts as 1.

    Raises
    ------
    ValueError
        If a shape holds something that is not a size.

    Examples
    --------
    >>> align((2, 1, 3), (4, 1)).shape
    (2, 4, 3)
    >>> align((3,), (2,)).shape is None
    True
    """
    for shape in (a, b):
        if any(isinstance(size, bool) or not isinstance(size, int) or size < 0 for size in shape):
            raise ValueError(f"a shape is a sequence of whole numbers from 0 on, such as (2, 3), not {shape!r}")
    width = max(len(a), len(b))
    padded = [(None,) * (width - len(shape)) + tuple(shape) for shape in (a, b)]
    return Alignment(tuple(Column(m, n, _matched(m, n)) for m, n in zip(*padded, strict=True)))


def _matched(m: int | None, n: int | None) -> int | None:
    if m is None or n is None:
        return n if m is None else m
    if m == 1:
        return n
    return m if n in (1, m) else None


@dataclass(frozen=True)
class Reading:
    """How a tensor of at most two dimensions reads its memory.

    Attributes
    ----------
    slots : Tensor
        For every entry, its place in memory; of the tensor's shape.
    values : Tensor, shape (number of places,)
        The memory itself.
    stride : tuple of int
        How many places further the next entry along each dimension lies.
    contiguous : bool
        Whether going through the entries row by row is going through memory place by place.
    """

    slots: Tensor
    values: Tensor
    stride: tuple[int, ...]
    contiguous: bool


def read_memory(tensor: Tensor) -> Reading:
    """Look up where in its memory each entry of a tensor lies.

    Raises
    ------
    ValueError
        If the tensor has more than two dimensions, or none.

    Examples
    --------
    >>> read_memory(torch.arange(6).view(2, 3).T).slots.tolist()
    [[0, 3], [1, 4], [2, 5]]
    """
    if tensor.dim() not in (1, 2):
        raise ValueError(f"this reads tensors of one or two dimensions, not of shape {tuple(tensor.shape)}")
    count = tensor.untyped_storage().nbytes() // tensor.element_size()
    geometry = (tensor.shape, tensor.stride(), tensor.storage_offset())
    slots = torch.arange(count).as_strided(*geometry)
    values = tensor.detach().as_strided((count,), (1,), 0).clone()
    return Reading(slots, values, tensor.stride(), tensor.is_contiguous())


def plot_memory(reading: Reading, ax: Axes) -> Axes:
    """Draw the memory as a strip, the tensor below it as a grid, and the strides as jumps over the strip."""
    colors, marks = (BLUE, RED, GREEN, ORANGE, MUTED, INK), "abcdef"
    slots = reading.slots if reading.slots.dim() == 2 else reading.slots[None]
    users = {place: [] for place in range(len(reading.values))}
    for row, places in enumerate(slots.tolist()):
        for place in places:
            users[place].append(row)
    for place, rows in users.items():
        _cell(ax, place, 0, f"{reading.values[place].item():g}", color=colors[rows[0]] if rows else None)
        ax.text(place + 0.5, -0.3, "".join(marks[row] for row in rows), ha="center", va="center", color=MUTED, size=12)
    ax.text(-0.25, 0.5 * ROW, "memory", ha="right", va="center", color=MUTED, size=12)
    ax.text(-0.25, -2.2 + ROW / 2, "tensor", ha="right", va="center", color=MUTED, size=12)
    for row, places in enumerate(slots.tolist()):
        for column, place in enumerate(places):
            text = f"{reading.values[place].item():g}"
            _cell(ax, column, -2.2 - row * ROW, text, color=colors[row])
        ax.text(len(places) + 0.25, -2.2 + (0.5 - row) * ROW, f"row {marks[row]}", va="center", color=MUTED, size=12)
    names = ("next row", "next column")[-reading.slots.dim() :]
    for dim, (name, step) in enumerate(zip(names, reading.stride, strict=True)):
        if reading.slots.shape[dim] > 1:
            level = 0.75 * (reading.slots.dim() - dim)
            _jump(ax, reading.slots.flatten()[0].item(), step, level, f"{name}: +{step}" if step else f"{name}: stays")
    return ax


def _jump(ax: Axes, start: int, step: int, level: float, text: str) -> None:
    foot, top = ROW + 0.06, ROW + level
    color, end = (INK, start + step) if step else (MUTED, start)
    if step:
        ax.plot([start + 0.5, start + 0.5, end + 0.5], [foot, top, top], color=color, linewidth=1.1, linestyle="-")
        tip = {"arrowstyle": "-|>", "mutation_scale": 9, "color": color, "linewidth": 1.1}
        ax.add_patch(FancyArrowPatch((end + 0.5, top), (end + 0.5, foot), **tip))
    ax.text(start + 0.35, top, text, ha="right", va="center", color=color, size=12)


def plot_broadcast(a: Tensor, b: Tensor, ax: Axes) -> Axes:
    """Draw two tensors of at most three dimensions, how their shapes align, and which of their numbers meet.

    Solid cells are there; dashed cells are repeats that broadcasting reads without making them.
    """
    alignment = align(a.shape, b.shape)
    _table(ax, alignment)
    shape = alignment.shape
    if shape is None:
        _sheets(ax, 0, a, a.shape, BLUE)
        _sheets(ax, 4.2, b, b.shape, RED)
        ax.text(8.4, -1 + ROW / 2, "no sum", color=RED, va="center", size=13)
        return ax
    x, size = 0.0, shape[-1] if shape else 1
    for tensor, color, sign in ((a, BLUE, "+"), (b, RED, "="), (a + b, INK, "")):
        deepest = _sheets(ax, x, tensor, shape, color)
        ax.text(x + size + 0.6, (deepest + ROW - 1) / 2, sign, ha="center", va="center", size=17)
        x += size + 1.2
    return ax


def _table(ax: Axes, alignment: Alignment) -> None:
    columns, top = alignment.columns, 2.0
    for row, (name, color) in enumerate((("A", BLUE), ("B", RED), ("A + B", INK))):
        y = top - row * ROW
        ax.text(0.75, y + ROW / 2, name, ha="right", va="center", color=color, size=13)
        for x, column in zip(range(4 - len(columns), 4), columns, strict=True):
            size = (column.a, column.b, column.result)[row]
            if column.result is None:
                _cell(ax, x, y, "?" if size is None else str(size), color=RED)
            elif row == 2:
                _cell(ax, x, y, str(size))
            elif size is None:
                _cell(ax, x, y, "1", there=False)
            else:
                stretched = column.result not in (None, size)
                _cell(ax, x, y, f"1→{column.result}" if stretched else str(size), color=ORANGE if stretched else None)
    for x, place in zip(range(4 - len(columns), 4), range(-len(columns), 0), strict=True):
        ax.text(x + 0.5, top + ROW + 0.25, f"dim −{-place}", ha="center", va="center", color=MUTED, size=11)
    keys = ((ORANGE, True, "1→3", "a 1 that is stretched"), (None, False, "1", "a missing dimension counts as 1"))
    for row, (color, there, text, words) in enumerate(keys):
        _cell(ax, 5.4, top - row * ROW, text, color=color, there=there)
        ax.text(6.65, top - row * ROW + ROW / 2, words, va="center", color=MUTED, size=12)


def _sheets(ax: Axes, x: float, tensor: Tensor, shape: Sequence[int], color: str) -> float:
    """Draw a tensor as it looks in `shape`, sheet below sheet, and return the bottom."""
    full = tensor.expand(shape).reshape((1,) * (3 - len(shape)) + tuple(shape))
    own = (1,) * (3 - tensor.dim()) + tuple(tensor.shape)
    y = -1.0
    for sheet in range(full.shape[0]):
        y -= 0.35 * (sheet > 0)
        for i in range(full.shape[1]):
            for j in range(full.shape[2]):
                there = all(at < size for at, size in zip((sheet, i, j), own, strict=True))
                _cell(ax, x + j, y, f"{full[sheet, i, j].item():g}", color=color, there=there)
            y -= ROW
    return y + ROW


def _cell(ax: Axes, x: float, y: float, text: str, *, color: str | None = None, there: bool = True) -> None:
    fill = {"facecolor": color, "alpha": 0.22} if color not in (None, INK) and there else {"facecolor": PAPER}
    ax.add_patch(Rectangle((x + 0.04, y + 0.04), 0.92, ROW - 0.08, linewidth=0, **fill))
    line = {"edgecolor": (color or MUTED) if there else MUTED, "linestyle": "-" if there else (0, (2, 2))}
    ax.add_patch(Rectangle((x + 0.04, y + 0.04), 0.92, ROW - 0.08, facecolor="none", linewidth=1, **line))
    ax.text(x + 0.5, y + ROW / 2, text, ha="center", va="center", color=INK if there else MUTED, size=13)
