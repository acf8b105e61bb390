"""What a reader can choose in an interactive figure: the values of each parameter and how they are written."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Control:
    """What a reader can choose for one parameter.

    Parameters
    ----------
    values : sequence
        At least two different values. Numbers make a slider; strings and everything else make a list to choose from.
    label : str, optional
        The words beside the control, such as ``"learning rate η"``; by default the parameter's name.
    start : optional
        The value shown first or, where it is not among the values, the index of that value. By default the first.
    format : str or callable, optional
        How a value is written, such as ``"{:.2f}"``, or a function from a value to a string.

    Examples
    --------
    >>> Control([0.05, 0.1, 0.2], label="learning rate η", start=0.1, format="{:.2f}").label
    'learning rate η'
    """

    values: Sequence[Any]
    label: str | None = None
    start: Any = None
    format: str | Callable[[Any], str] | None = None


@dataclass(frozen=True)
class Parameter:
    """A control that has been checked: its values, and how each is written."""

    name: str
    label: str
    values: tuple[Any, ...]
    texts: tuple[str, ...]
    start: int
    slider: bool


def parameter(name: str, given: Any) -> Parameter:
    """Check what was given for one parameter of an interactive figure.

    Raises
    ------
    TypeError, ValueError
        If the values, the start or the format cannot be used; the message names the parameter.

    Examples
    --------
    >>> parameter("lr", [0.1, 0.25]).texts
    ('0.10', '0.25')
    """
    control = given if isinstance(given, Control) else Control(given)
    values = control.values
    values = values.tolist() if hasattr(values, "tolist") else values
    if isinstance(values, str | bytes | Mapping) or not hasattr(values, "__iter__"):
        raise TypeError(f"{name} must be a sequence of values or a Control, not {type(values).__name__}")
    values = tuple(
        value.item() if isinstance(value, np.generic) or getattr(value, "ndim", 1) == 0 else value for value in values
    )
    if len(values) < 2:
        raise ValueError(f"{name} needs at least two values to choose from, got {list(values)}")
    twice = next((value for index, value in enumerate(values) if value in values[:index]), None)
    if twice is not None:
        raise ValueError(f"{name} has the value {twice!r} more than once")
    slider = all(isinstance(value, numbers.Real) and not isinstance(value, bool) for value in values)
    if slider and not all(math.isfinite(value) for value in values):
        raise ValueError(f"{name} must hold finite numbers, got {list(values)}")
    try:
        texts = tuple(_text(value, control.format, slider, values) for value in values)
    except (ValueError, TypeError, IndexError, KeyError) as error:
        raise ValueError(f"{name}: format={control.format!r} does not fit its values: {error}") from error
    if len(set(texts)) < len(texts):
        clash = next(text for index, text in enumerate(texts) if text in texts[:index])
        raise ValueError(f"{name}: the format writes two different values as {clash!r}; give it more digits")
    label = control.label or name.replace("_", " ")
    return Parameter(name, label, values, texts, _start(name, control, values), slider)


def _start(name: str, control: Control, values: tuple[Any, ...]) -> int:
    start = control.start
    if start is None:
        return 0
    for index, value in enumerate(values):
        if value == start or (
            isinstance(value, float) and isinstance(start, numbers.Real) and math.isclose(value, start, rel_tol=1e-9)
        ):
            return index
    if isinstance(start, int) and not isinstance(start, bool) and 0 <= start < len(values):
        return start
    raise ValueError(f"{name}: start={start!r} is neither one of its values nor an index below {len(values)}")


def _text(value: Any, form: Any, slider: bool, values: tuple[Any, ...]) -> str:
    if callable(form):
        text = form(value)
    elif form is not None:
        text = form.format(value)
    elif not slider:
        text = str(value)
    else:
        text = _default_format(values).format(value)
    return "−" + text[1:] if slider and text.startswith("-") else text


def _default_format(values: tuple[Any, ...]) -> str:
    for decimals in range(4):
        if all(abs(round(value, decimals) - value) <= 1e-9 * abs(value) for value in values):
            return f"{{:.{decimals}f}}"
    for digits in range(3, 17):
        if len({f"{value:.{digits}g}" for value in values}) == len(values):
            return f"{{:.{digits}g}}"
    return "{!r}"
