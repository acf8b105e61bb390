"""The optimizer playground: a figure that computes its paths in the reader's browser, so that its sliders are smooth.

The rules and surfaces are written a second time in ``web/playground.js``; ``tests/test_playground.py`` runs both and
compares them to the last digits. Contours and minima come from Python.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from html import escape
from pathlib import Path

import numpy as np
import torch

from helpers import optim_surfaces, style
from helpers.explore_page import icon, script_json
from helpers.optim_maps import lowest
from helpers.surfaces import Surface

WEB = Path(__file__).parent / "web"
STEPS = 200
MAP, LEFT, TOP = 330, 38, 8  # px: side and corner of the map, as in playground.js
_VIEWS = {  # lower left corner and side of the square window, and the start
    "ravine": ((-6.0, -4.5, 9.0), (-5.0, -2.0)),
    "turned ravine": ((-5.0, -5.0, 10.0), (-4.95, -2.12)),
    "saddle": ((-2.0, -2.0, 4.0), (1.6, 0.02)),
    "Rosenbrock": ((-2.0, -1.0, 4.0), (-1.2, 1.0)),
    "Beale": ((-4.5, -4.5, 9.0), (1.0, 1.5)),
}
_RULES = ("gradient descent", "momentum", "Nesterov", "AdaGrad", "RMSProp", "Adadelta", "Adam")
_MEMORIES = {"RMSProp": 20, "Adadelta": 20, "Adam": 60}  # slider index: 0.9, 0.9, 0.999
_SLIDERS = (  # field, label, largest index, where it starts
    ("lr", "learning rate η", 200, 132),
    ("momentum", "momentum μ, β₁", 99, 90),
    ("memory", "memory of squares ρ, β₂", 60, 0),
    ("shown", "steps shown", STEPS, 60),
)


class OptimizerPlayground:
    """Choose optimizer, surface, rates and start; keep paths to compare; race all optimizers, each at its best rate.

    In the built book the first state is drawn beforehand and ``playground.js`` moves the figure; in a live notebook the
    output carries the script with it. Neither needs a kernel afterwards.

    Parameters
    ----------
    surface : str
        One of the names of :func:`helpers.optim_surfaces.all_surfaces`.
    rule : str
        The optimizer to begin with, such as "momentum" or "Adam".

    Raises
    ------
    ValueError
        If the surface or the rule is not known.

    Examples
    --------
    >>> OptimizerPlayground(surface="Beale", rule="Adam")
    OptimizerPlayground(surface='Beale', rule='Adam')
    """

    def __init__(self, surface: str = "ravine", rule: str = "momentum") -> None:
        for name, value, known in (("surface", surface, tuple(_VIEWS)), ("rule", rule, _RULES)):
            if value not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}; got {value!r}.")
        self.surface, self.rule = surface, rule

    def __repr__(self) -> str:
        return f"OptimizerPlayground(surface={self.surface!r}, rule={self.rule!r})"

    def data(self) -> dict:
        """What the script is given: surfaces with contours, minima and ticks, and the first state."""
        index = {name: start for name, _, _, start in _SLIDERS} | {"memory": dict(_MEMORIES)}
        return {
            "steps": STEPS,
            "surfaces": {name: _described(name) for name in _VIEWS},
            "state": {
                "surface": self.surface,
                "rule": self.rule,
                "start": list(_VIEWS[self.surface][1]),
                "index": {name: index[name] for name in ("lr", "momentum", "memory")},
                "shown": index["shown"],
                "kept": [],
            },
        }

    def _repr_html_(self) -> str:
        data = script_json(self.data())
        key = "playground-" + hashlib.sha1(data.encode()).hexdigest()[:8]
        if style.building():
            return self._page(key, data, _first_state(data, key))
        css = "".join((WEB / name).read_text(encoding="utf-8") for name in ("explore.css", "playground.css"))
        script = (WEB / "playground.js").read_text(encoding="utf-8")
        blank = {"map": "", "charts": "", "table": "", "note": ""}
        return f"<style>{css}</style>{self._page(key, data, blank)}<script>(() => {{{script}}})();</script>"

    def _page(self, key: str, data: str, made: dict[str, str]) -> str:
        def row(field: str, label: str, control: str) -> str:
            return f'<div class="explore-row"><label for="{key}-{field}">{label}</label>{control}</div>'

        def choice(field: str, options: tuple[str, ...], chosen: str) -> str:
            marked = "".join(f"<option{' selected' if o == chosen else ''}>{escape(o)}</option>" for o in options)
            select = f'<select id="{key}-{field}" data-field="{field}" autocomplete="off">{marked}</select>'
            return row(field, {"rule": "optimizer"}.get(field, field), select)

        controls = choice("surface", tuple(_VIEWS), self.surface) + choice("rule", _RULES, self.rule)
        for field, label, last, start in _SLIDERS:
            control = (
                f'<input type="range" id="{key}-{field}" data-field="{field}" min="0" max="{last}" step="1" '
                f'value="{start}" autocomplete="off">'
                f'<output for="{key}-{field}" aria-hidden="true" style="min-width:7ch"></output>'
            )
            controls += row(field, label, control)
        buttons = (
            f'<button type="button" data-do="play">{icon("play")}{icon("pause")}<span>Play</span></button>'
            '<button type="button" data-do="keep">Keep this path</button>'
            '<button type="button" data-do="race">Race: all, each at its best η</button>'
            '<button type="button" data-do="clear">Clear</button>'
        )
        return (
            f'<div class="explore playground" id="{key}" data-playground role="group" '
            f'aria-label="Optimizer playground"><div class="playground-inside">'
            f'<div class="playground-figure"><div data-part="map">{made["map"]}</div>'
            f'<div data-part="charts">{made["charts"]}</div></div>'
            f'<div class="explore-controls" hidden>{controls}<div class="explore-actions">{buttons}</div></div>'
            f'<div data-part="table">{made["table"]}</div></div>'
            f'<p class="explore-note" aria-live="polite"><span class="explore-text">{made["note"]}</span></p>'
            f'<script type="application/json">{data}</script></div>'
        )


@cache
def _described(name: str) -> dict:
    (x0, y0, side), start = _VIEWS[name]
    surface = optim_surfaces.all_surfaces()[name]
    ticks = [[v for v in range(-6, 7) if low <= v <= low + side and (side < 6 or v % 2 == 0)] for low in (x0, y0)]
    return {
        "window": [x0, y0, side],
        "start": list(start),
        "minima": [list(minimum) for minimum in surface.minima],
        "lowest": lowest(surface),
        "ticks": ticks,
        "contours": _contours(surface, x0, y0, side),
    }


def _contours(surface: Surface, x0: float, y0: float, side: float, *, n: int = 121) -> str:
    """The contour lines as the data of one SVG path, in tenths of a pixel."""
    from contourpy import contour_generator

    x, y = torch.linspace(x0, x0 + side, n).double(), torch.linspace(y0, y0 + side, n).double()
    values = surface(torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)).numpy()
    lines = contour_generator(x.numpy(), y.numpy(), values)
    low, high = values.min(), values.max()
    if high - low < 200:  # a gentle surface: ten lines, as even as those of a quadratic
        levels = low + (high - low) * (np.arange(1, 11) / 11) ** 2
    else:  # a steep one: each line four times as high as the one before
        levels = 4.0 ** np.arange(0, np.log(high) / np.log(4))
    path = []
    for level in levels:
        for line in lines.lines(level):
            corner = (x0, y0 + side)
            tenths = np.rint((line - corner) / side * (10 * MAP, -10 * MAP) + (10 * LEFT, 10 * TOP)).astype(int)
            moves = np.diff(tenths, axis=0)
            path.append(f"M{tenths[0, 0]} {tenths[0, 1]}l" + " ".join(f"{a} {b}" for a, b in moves))
    return "".join(path)


def _first_state(data: str, key: str) -> dict[str, str]:
    """Draw the first state with the script itself, in the engine that typesets the book's formulas."""
    from py_mini_racer import MiniRacer

    with MiniRacer() as engine:
        engine.eval((WEB / "playground.js").read_text(encoding="utf-8"))
        made = engine.eval(
            f"const data = {data}; const made = OptimizerPlayground.picture(data.state, data, {json.dumps(key)});"
            "JSON.stringify({ ...made, runs: undefined, table: OptimizerPlayground.table(made.rows) })"
        )
    made = json.loads(made)
    return {name: made[name] for name in ("map", "charts", "table", "note")}
