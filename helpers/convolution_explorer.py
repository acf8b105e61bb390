"""The convolution explorer: a kernel slides over real pixels in the reader's browser, every product written out.

The arithmetic is written a second time in ``web/convolution.js``; ``tests/test_convolution_explorer.py`` runs it beside
PyTorch's. In the built book the first state is drawn beforehand and the script moves the figure; in a live notebook the
output carries the script with it. Neither needs a kernel of Jupyter afterwards.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import torch
from torch import Tensor

from helpers import style
from helpers.explore_page import icon, script_json

WEB = Path(__file__).parent / "web"
OWN = "your own numbers"
LARGEST = 8
"""Pixels along the longer side of an image: with more, a phone could not show the numbers."""

KERNELS: dict[str, list[list[int]]] = {
    "brighter on the right (Sobel)": [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]],
    "brighter below (Sobel)": [[-1, -2, -1], [0, 0, 0], [1, 2, 1]],
    "outline (Laplace)": [[0, -1, 0], [-1, 4, -1], [0, -1, 0]],
    "sharpen": [[0, -1, 0], [-1, 5, -1], [0, -1, 0]],
    "sum of all nine": [[1, 1, 1], [1, 1, 1], [1, 1, 1]],
    "copy": [[0, 0, 0], [0, 1, 0], [0, 0, 0]],
    "copy the left neighbour": [[0, 0, 0], [1, 0, 0], [0, 0, 0]],
    "2 × 2: sum": [[1, 1], [1, 1]],
    "2 × 2: diagonal difference (Roberts)": [[1, 0], [0, -1]],
}
_SLIDERS = {"padding": (0, 2), "stride": (1, 3), "dilation": (1, 3)}


class ConvolutionExplorer:
    """Choose image, kernel, bias, padding, stride, dilation and position; read the products that make one number.

    Parameters
    ----------
    images : mapping of str to Tensor
        What can be chosen, by name: images of shape (H, W) with at most 8 pixels a side and finite values; whole
        numbers from 0 to 16 make mental arithmetic easy.
    kernels : mapping of str to sequence of sequence of float, optional
        Kernels of 2 × 2 or 3 × 3 numbers, offered before the built-in ones.
    bias : float
        Where the bias begins.
    position : pair of int
        Row and column of the output number to begin with, counted from 0; past the edge, the last one.

    Raises
    ------
    ValueError
        If there is no image, or an image or a kernel has a shape or a value that cannot be shown.

    Examples
    --------
    >>> ConvolutionExplorer({"ramp": torch.arange(16).reshape(4, 4)})
    ConvolutionExplorer(ramp, 9 kernels)
    """

    def __init__(
        self,
        images: Mapping[str, Tensor],
        *,
        kernels: Mapping[str, Sequence[Sequence[float]]] | None = None,
        bias: float = 0,
        position: tuple[int, int] = (0, 0),
    ) -> None:
        if not images:
            raise ValueError("images must hold at least one image.")
        self.images = {name: _numbers(name, image) for name, image in images.items()}
        own = {name: _kernel(name, kernel) for name, kernel in (kernels or {}).items()}
        self.kernels: dict[str, list[list[float]]] = own | {name: k for name, k in KERNELS.items() if name not in own}
        self.bias, self.position = bias, position

    def __repr__(self) -> str:
        return f"ConvolutionExplorer({', '.join(self.images)}, {len(self.kernels)} kernels)"

    def data(self) -> dict:
        """What the script is given: the images, the kernels by name, and the first state."""
        preset = next(iter(self.kernels))
        return {
            "images": self.images,
            "kernels": self.kernels,
            "own": OWN,
            "state": {
                "image": next(iter(self.images)),
                "preset": preset,
                "kernel": self.kernels[preset],
                "bias": self.bias,
                "settings": {"padding": 0, "stride": 1, "dilation": 1},
                "position": list(self.position),
            },
        }

    def _repr_html_(self) -> str:
        data = script_json(self.data())
        key = "convolution-" + hashlib.sha1(data.encode()).hexdigest()[:8]
        if style.building():
            return self._page(key, data, _first_state(data))
        css = "".join((WEB / name).read_text(encoding="utf-8") for name in ("explore.css", "convolution.css"))
        script = (WEB / "convolution.js").read_text(encoding="utf-8")
        blank = {"input": "", "output": "", "sum": "", "size": "", "note": ""}
        return f"<style>{css}</style>{self._page(key, data, blank)}<script>(() => {{{script}}})();</script>"

    def _page(self, key: str, data: str, made: dict[str, str]) -> str:
        parts = "".join(
            f'<div><p class="convolution-heading">{heading}</p><div data-part="{part}">{made[part]}</div></div>'
            for part, heading in (("input", "image and window"), ("output", "output: click a number"))
        )
        return (
            f'<div class="explore convolution" id="{key}" data-convolution role="group" '
            f'aria-label="Convolution explorer"><div class="convolution-figure">{parts}</div>'
            f'<div class="convolution-middle">{self._weights(key)}<div data-part="sum">{made["sum"]}</div></div>'
            f'<div class="explore-controls" hidden>{self._controls(key)}</div>'
            f'<p class="explore-note" aria-live="polite"><span class="explore-text">{made["note"]}</span></p>'
            f'<p class="convolution-size" aria-live="polite" data-part="size">{made["size"]}</p>'
            f'<script type="application/json">{data}</script></div>'
        )

    def _weights(self, key: str) -> str:
        number = '<input type="number" step="any" min="-99" max="99" autocomplete="off"'
        weights = "".join(
            f'{number} data-weight="{u},{v}" aria-label="weight, row {u + 1}, column {v + 1}">'
            for u in range(3)
            for v in range(3)
        )
        return (
            f'<div data-part="kernel" hidden><div role="group" aria-labelledby="{key}-weights">'
            f'<p id="{key}-weights">weights of the kernel</p><div class="convolution-kernel">{weights}</div></div>'
            f'<div><label for="{key}-bias">bias</label>{number} id="{key}-bias" data-field="bias"></div></div>'
        )

    def _controls(self, key: str) -> str:
        def row(field: str, label: str, control: str) -> str:
            return f'<div class="explore-row"><label for="{key}-{field}">{label}</label>{control}</div>'

        def choice(field: str, options: Sequence[str]) -> str:
            inside = "".join(f"<option>{escape(option)}</option>" for option in options)
            return row(
                field,
                field,
                f'<select id="{key}-{field}" data-field="{field}" autocomplete="off">{inside}</select>',
            )

        sliders = "".join(
            row(
                name,
                name,
                f'<input type="range" id="{key}-{name}" data-field="{name}" min="{low}" max="{high}" step="1" '
                f'autocomplete="off"><output for="{key}-{name}" aria-hidden="true" style="min-width:1ch"></output>',
            )
            for name, (low, high) in _SLIDERS.items()
        )
        buttons = (
            f'<button type="button" data-do="back" aria-label="Previous position">{icon("back")}</button>'
            f'<button type="button" data-do="play">{icon("play")}{icon("pause")}<span>Play</span></button>'
            f'<button type="button" data-do="on" aria-label="Next position">{icon("on")}</button>'
        )
        return (
            f'<div class="explore-actions">{buttons}</div>'
            + choice("image", tuple(self.images))
            + choice("kernel", (*self.kernels, OWN))
            + sliders
        )


def _numbers(name: str, image: Tensor) -> list[list[float]]:
    if not isinstance(image, Tensor) or image.dim() != 2 or not 1 <= min(image.shape) <= max(image.shape) <= LARGEST:
        shape = tuple(image.shape) if isinstance(image, Tensor) else type(image).__name__
        raise ValueError(f"image {name!r} must be a tensor of at most {LARGEST} x {LARGEST} pixels; got {shape}.")
    if not torch.isfinite(image).all():
        raise ValueError(f"image {name!r} must hold finite numbers.")
    return [[int(x) if x == int(x) else x for x in row] for row in image.tolist()]


def _kernel(name: str, kernel: Sequence[Sequence[float]]) -> list[list[float]]:
    rows = [list(row) for row in kernel]
    if len(rows) not in (2, 3) or any(len(row) != len(rows) for row in rows):
        raise ValueError(f"kernel {name!r} must have 2 x 2 or 3 x 3 numbers; got {rows!r}.")
    return rows


def _first_state(data: str) -> dict[str, str]:
    """Draw the first state with the script itself, in the engine that typesets the book's formulas."""
    from py_mini_racer import MiniRacer

    with MiniRacer() as engine:
        engine.eval((WEB / "convolution.js").read_text(encoding="utf-8"))
        made = engine.eval(f"const data = {data}; JSON.stringify(ConvolutionExplorer.picture(data.state, data))")
    return {name: json.loads(made)[name] for name in ("input", "output", "sum", "size", "note")}
