"""Numbers and paths of SVG, written with no more digits than a screen can show."""

from __future__ import annotations

import re

NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")


def compact_path(data: str, decimals: int) -> str:
    """Rewrite path data with relative, rounded coordinates; rounding errors do not add up along the path.

    Parameters
    ----------
    data : str
        The ``d`` attribute of an SVG path. Only absolute M, L, C, Q and Z are made relative (that is all Matplotlib
        writes); a path with other commands keeps its commands and digits.
    decimals : int
        Digits after the decimal point, in user units.

    Examples
    --------
    >>> compact_path("M 10.04 20 L 12.26 20 L 12.26 18.51 z", 1)
    'M10 20h2.3v-1.5z'
    """
    tokens = re.findall(rf"[A-Za-z]|{NUMBER.pattern}", data)
    if set(re.findall(r"[A-DF-Za-df-z]", data)) - set("MLCQZz"):
        return " ".join(data.split())
    scale = 10**decimals
    pairs = {"M": 1, "L": 1, "C": 3, "Q": 2}
    out: list[str] = []
    last, moved, at = "", False, 0
    x = y = start_x = start_y = 0
    command = ""
    while at < len(tokens):
        if tokens[at].isalpha():
            command, at = tokens[at].upper(), at + 1
            if command == "Z":
                out.append("z")
                x, y, last = start_x, start_y, "z"
                continue
        count = 2 * pairs.get(command, 0)
        numbers = [round(float(token) * scale) for token in tokens[at : at + count]]
        if not count or len(numbers) < count:
            raise ValueError(f"path data ends early or starts without a command: {data[:40]!r}")
        at += count
        if command == "M":
            x, y = start_x, start_y = numbers
            out.append(f"M{_join([x, y], decimals)}")
            last, moved, command = "M", False, "L"
            continue
        steps = [value - (y if index % 2 else x) for index, value in enumerate(numbers)]
        x, y = numbers[-2:]
        if command == "L" and steps == [0, 0] and moved:
            continue
        letter, steps = _line(steps) if command == "L" else (command.lower(), steps)
        text = _join(steps, decimals)
        out.append(text if letter == last and text[0] == "-" else f"{' ' if letter == last else letter}{text}")
        last, moved = letter, True
    return "".join(out)


def _line(step: list[int]) -> tuple[str, list[int]]:
    if step[1] == 0:
        return "h", step[:1]
    if step[0] == 0:
        return "v", step[1:]
    return "l", step


def _join(values: list[int], decimals: int) -> str:
    text = ""
    for value in values:
        number = shorten(value / 10**decimals, decimals)
        text += number if not text or number[0] == "-" else f" {number}"
    return text


def shorten(value: float, decimals: int) -> str:
    """Write a number with at most `decimals` digits after the point and no needless zeros.

    Examples
    --------
    >>> shorten(-0.5004, 2), shorten(12.0, 2), shorten(-0.001, 2)
    ('-.5', '12', '0')
    """
    text = f"{value:.{decimals}f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    if text in ("-0", "", "-"):
        return "0"
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text


def extent(data: str) -> float:
    """Distance between the largest and the smallest number of path data; small for markers."""
    numbers = [float(number) for number in NUMBER.findall(data)]
    return max(numbers, default=0.0) - min(numbers, default=0.0)
