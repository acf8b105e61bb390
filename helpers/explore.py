"""The interactive figure: one drawing function, moved by the reader's own hand.

In a live kernel an `Explore` shows ipywidgets that call the drawing function. In the built book it shows native
controls over frames that were drawn beforehand, so that it moves with no kernel and no network.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import math
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from helpers import explore_controls, explore_encode, explore_page, style, svg
from helpers.explore_controls import Control

__all__ = ["MAX_FRAMES", "Control", "Explore", "ExploreError", "Frame"]

MAX_FRAMES = 400
"""The largest number of combinations that one figure may have."""

LIGHT_FRAME = 4000
"""Compressed bytes per frame below which no one looks for a lighter format than SVG."""

FORMATS = ("auto", "svg", "webp")

_seen: Counter[str] = Counter()


class ExploreError(RuntimeError):
    """The drawing function failed; the message names the values of the parameters."""


@dataclass(frozen=True)
class Frame:
    """One state of an interactive figure: its parameters, its markup, and the words that say what it shows."""

    values: dict[str, Any]
    markup: str
    note: str


class Explore:
    """A figure whose parameters the reader moves.

    Parameters
    ----------
    draw : callable
        ``draw(**values)`` returns a Matplotlib figure, an object with ``_repr_svg_()``, or an SVG string. It must
        depend on its arguments only. Keep the figure's size and its axis limits fixed, so that frames do not jump.
    describe : callable, optional
        ``describe(**values)`` returns one or two plain sentences that say what this state shows. They stand below the
        figure and are read out by screen readers.
    play : str, optional
        Name of a parameter with a slider; the figure gets buttons that step and run through it.
    title : str, optional
        Shown above the figure.
    format : {"auto", "svg", "webp"}
        How the frames of the built page are stored. ``"auto"`` takes whatever weighs less.
    **grid : sequence or Control
        The values of each parameter.

    Raises
    ------
    TypeError, ValueError
        If the grid cannot be used, or `draw` returns something that is not a figure.
    ExploreError
        If `draw` or `describe` fails; raised when the figure is shown.

    Examples
    --------
    >>> def draw(slope):
    ...     return f'<svg viewBox="0 0 40 40"><path d="M 0 20 L 40 {20 - 10 * slope}" stroke="{style.BLUE}"/></svg>'
    >>> figure = Explore(draw, describe=lambda slope: f"The slope is {slope}.", slope=[-1, 0, 2])
    >>> [frame.note for frame in figure.frames()]
    ['The slope is -1.', 'The slope is 0.', 'The slope is 2.']
    """

    def __init__(
        self,
        draw: Callable[..., Any],
        *,
        describe: Callable[..., str] | None = None,
        play: str | None = None,
        title: str | None = None,
        format: str = "auto",
        **grid: Any,
    ) -> None:
        if not callable(draw):
            raise TypeError(f"draw must be a function that returns a figure, not {type(draw).__name__}")
        if describe is not None and not callable(describe):
            raise TypeError(f"describe must be a function that returns a sentence, not {type(describe).__name__}")
        if format not in FORMATS:
            raise ValueError(f"format must be one of {', '.join(FORMATS)}, not {format!r}")
        if not grid:
            raise ValueError("Explore needs at least one parameter with its values, such as lr=[0.1, 0.5]")
        self._draw, self._describe, self._format = draw, describe, format
        self.parameters = tuple(explore_controls.parameter(name, given) for name, given in grid.items())
        count = math.prod(len(parameter.values) for parameter in self.parameters)
        if count > MAX_FRAMES:
            sizes = " × ".join(str(len(parameter.values)) for parameter in self.parameters)
            raise ValueError(f"{sizes} = {count} combinations are too many; at most {MAX_FRAMES}, better below 100")
        sliders = [parameter.name for parameter in self.parameters if parameter.slider]
        if play is not None and play not in sliders:
            known = ", ".join(sliders) or "there is none"
            raise ValueError(f"play={play!r} must name a parameter with a slider: {known}")
        self.play = play
        labels = ", ".join(parameter.label for parameter in self.parameters)
        self.title, self.name = title, title or f"Interactive figure: {labels}"
        grid_texts = [(parameter.name, parameter.label, parameter.texts) for parameter in self.parameters]
        key = hashlib.sha256(repr((title, play, grid_texts)).encode()).hexdigest()[:6]
        _seen[key] += 1
        self.id = f"x{key}" if _seen[key] == 1 else f"x{key}-{_seen[key]}"

    # ---- drawing -------------------------------------------------------------------------------------------------

    def frames(self) -> list[Frame]:
        """Draw every combination as themed SVG; the last parameter of the grid varies fastest."""
        return [Frame(self._values(state), self._vector(state), self._note(state)) for state in self._states()]

    def _states(self) -> Iterator[tuple[int, ...]]:
        return itertools.product(*(range(len(parameter.values)) for parameter in self.parameters))

    def _start(self) -> tuple[int, ...]:
        return tuple(parameter.start for parameter in self.parameters)

    def _values(self, state: Sequence[int]) -> dict[str, Any]:
        return {
            parameter.name: parameter.values[index] for parameter, index in zip(self.parameters, state, strict=True)
        }

    def _where(self, state: Sequence[int]) -> str:
        pairs = zip(self.parameters, state, strict=True)
        return ", ".join(f"{parameter.label} = {parameter.texts[index]}" for parameter, index in pairs)

    @contextmanager
    def _calling(self, what: str, state: Sequence[int]) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            message = f"{what} failed at {self._where(state)}: {type(error).__name__}: {error}"
            raise ExploreError(message) from error

    def _drawn(self, state: Sequence[int]) -> Any:
        before = set(plt.get_fignums())
        try:
            with self._calling("drawing", state):
                drawn = self._draw(**self._values(state))
        finally:
            for number in set(plt.get_fignums()) - before:
                plt.close(number)
        if not isinstance(drawn, Figure | str) and not hasattr(drawn, "_repr_svg_"):
            hint = "; write `return ax.figure`" if isinstance(drawn, Axes) else ""
            hint = "; does it end in `return fig`?" if drawn is None else hint
            raise TypeError(
                f"draw must return a Matplotlib figure, an object with _repr_svg_() or an SVG string, "
                f"not {type(drawn).__name__}{hint}"
            )
        return drawn

    def _note(self, state: Sequence[int]) -> str:
        if self._describe is None:
            return ""
        with self._calling("describe", state):
            note = self._describe(**self._values(state))
        if not isinstance(note, str):
            raise TypeError(f"describe must return a sentence (str), not {type(note).__name__}")
        return " ".join(note.split())

    def _vector(self, state: Sequence[int], drawn: Any = None) -> str:
        drawn = self._drawn(state) if drawn is None else drawn
        with self._calling("drawing", state):
            if isinstance(drawn, Figure):
                source = explore_encode.svg(drawn)
            else:
                source = drawn if isinstance(drawn, str) else drawn._repr_svg_()
            return svg.themed(source, prefix=self.id, alt=self.name)

    def _raster(self, state: Sequence[int]) -> str:
        drawn = self._drawn(state)
        if not isinstance(drawn, Figure):
            raise TypeError(f"format='webp' needs a draw that returns a Matplotlib figure, not {type(drawn).__name__}")
        data, width, height = explore_encode.webp(drawn)
        return (
            f'<img class="dark-light" alt="{escape(self.name)}" width="{width}" height="{height}" '
            f'src="data:image/webp;base64,{base64.b64encode(data).decode()}">'
        )

    # ---- the built page ------------------------------------------------------------------------------------------

    def to_html(self) -> str:
        """The figure for a web page that loads the book's ``explore.css`` and ``explore.js``; it needs no kernel."""
        return self._page().html()

    def weight(self) -> dict[str, int]:
        """Bytes of the figure on a page, as they are (``raw``) and as a server sends them (``gzip``)."""
        return self._page().weight()

    def _page(self) -> explore_page.Page:
        states, page = list(self._states()), None
        notes = [self._note(state) for state in states]
        if self._format != "webp":
            page = self._page_of([self._vector(state) for state in states], notes)
            if self._format == "svg" or not self._may_be_lighter_as_webp(page):
                return page
        raster = self._page_of([self._raster(state) for state in states], notes)
        return min((raster, page), key=lambda each: each.weight()["gzip"]) if page else raster

    def _may_be_lighter_as_webp(self, page: explore_page.Page) -> bool:
        """Guess from the first state, because drawing every frame once more takes long."""
        count = len(set(page.markup))
        if page.weight()["gzip"] < LIGHT_FRAME * count:
            return False
        drawn = self._drawn(self._start())
        return isinstance(drawn, Figure) and page.weight()["gzip"] > 0.8 * len(explore_encode.webp(drawn)[0]) * count

    def _page_of(self, markup: list[str], notes: list[str]) -> explore_page.Page:
        return explore_page.Page(self.id, self.name, self.title, self.parameters, self.play, markup, notes)

    # ---- notebooks -----------------------------------------------------------------------------------------------

    def widget(self) -> Any:
        """The figure as ipywidgets, for a live kernel; draws one frame now and one after every change."""
        import ipywidgets as widgets

        plain = {"description_width": "initial"}
        wide = widgets.Layout(width="min(100%, 30rem)")
        picture, note = widgets.HTML(), widgets.HTML()
        controls: dict[str, Any] = {}
        rows: list[Any] = []
        for parameter in self.parameters:
            kind = widgets.SelectionSlider if parameter.slider else widgets.Dropdown
            control = kind(
                options=[(text, index) for index, text in enumerate(parameter.texts)],
                value=parameter.start,
                description=parameter.label,
                style=plain,
                layout=wide,
            )
            controls[parameter.name] = control
            rows.append(control)
            if parameter.name == self.play:
                player = widgets.Play(min=0, max=len(parameter.values) - 1, value=parameter.start, interval=700)
                widgets.link((player, "value"), (control, "index"))
                rows[-1] = widgets.HBox([control, player], layout=widgets.Layout(flex_flow="row wrap"))

        def state() -> tuple[int, ...]:
            return tuple(controls[parameter.name].value for parameter in self.parameters)

        def show(_change: Any = None) -> None:
            try:
                picture.value, note.value = self._live(state())
            except (ExploreError, TypeError, ValueError) as error:
                picture.value, note.value = "", f'<p role="alert" style="color:#b00020">{escape(str(error))}</p>'

        picture.value, note.value = self._live(state())
        for control in controls.values():
            control.observe(show, names="value")
        heading = [widgets.HTML(f"<strong>{escape(self.title)}</strong>")] if self.title else []
        box = widgets.VBox([*heading, picture, *rows, note])
        box.controls, box.picture, box.note = controls, picture, note
        return box

    def _live(self, state: Sequence[int]) -> tuple[str, str]:
        drawn = self._drawn(state)
        if isinstance(drawn, Figure):
            with self._calling("drawing", state):
                data, width, _ = explore_encode.png(drawn)
            source = f"data:image/png;base64,{base64.b64encode(data).decode()}"
            look = f"max-width:100%;width:{width}px;height:auto"
            picture = f'<img alt="{escape(self.name)}" src="{source}" style="{look}">'
        else:
            picture = f'<div style="background:#fff;color-scheme:light">{self._vector(state, drawn)}</div>'
        return picture, f"<p>{escape(self._note(state))}</p>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        text = {"text/plain": repr(self)}
        if style.building():
            return {"text/html": self.to_html(), **text}
        box = self.widget()
        bundle = {**box._repr_mimebundle_(), **text}
        if "google.colab" not in sys.modules:  # Colab would show the still picture in place of the widget
            bundle["text/html"] = box.picture.value + box.note.value
        return bundle

    def __repr__(self) -> str:
        sizes = ", ".join(f"{parameter.name}: {len(parameter.values)} values" for parameter in self.parameters)
        return f"<Explore {self.name!r} ({sizes})>"
