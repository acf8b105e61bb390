"""The interactive figure of the built page: markup of the controls, and the frames stored without repetition."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Sequence
from html import escape
from typing import Any

_ICONS = {
    "back": "M14.5 5.5 8 12l6.5 6.5",
    "on": "M9.5 5.5 16 12l-6.5 6.5",
    "play": "M8 5.2v13.6L19 12z",
    "pause": "M7 5h3.6v14H7zM13.4 5H17v14h-3.6z",
}


class Page:
    """One interactive figure as HTML.

    Parameters
    ----------
    key : str
        Unique on the page; ids start with it.
    name, title : str
        What assistive technology calls the figure, and the heading (or None).
    parameters : sequence
        Objects with ``name``, ``label``, ``texts``, ``start`` and ``slider``.
    play : str or None
        Name of the parameter that can be played.
    markup, notes : list of str
        Frame and description of every combination; the last parameter varies fastest.
    """

    def __init__(
        self,
        key: str,
        name: str,
        title: str | None,
        parameters: Sequence[Any],
        play: str | None,
        markup: list[str],
        notes: list[str],
    ) -> None:
        self.key, self.name, self.title, self.parameters, self.play = key, name, title, parameters, play
        self.markup, self.notes = markup, notes
        self._html = ""

    def html(self) -> str:
        """The whole figure; visible and useful before, and without, the script."""
        if not self._html:
            self._html = self._build()
        return self._html

    def weight(self) -> dict[str, int]:
        """Bytes of `html`, raw and compressed."""
        data = self.html().encode()
        return {"raw": len(data), "gzip": len(gzip.compress(data, mtime=0))}

    def _build(self) -> str:
        start = 0
        for parameter in self.parameters:
            start = start * len(parameter.texts) + parameter.start
        state = ",".join(str(parameter.start) for parameter in self.parameters)
        heading = f'<p class="explore-title" id="{self.key}-title">{escape(self.title)}</p>' if self.title else ""
        named = f'aria-labelledby="{self.key}-title"' if self.title else f'aria-label="{escape(self.name)}"'
        controls = "".join(self._control(parameter) for parameter in self.parameters)
        return (
            f'<div class="explore" id="{self.key}" data-explore data-state="{state}" role="group" {named}>{heading}'
            f'<div class="explore-frame">{self.markup[start]}</div>'
            f'<div class="explore-controls{" has-buttons" if self.play else ""}" hidden>{controls}</div>'
            f'<p class="explore-note" aria-live="polite" data-longest="{escape(max(self.notes, key=len))}">'
            f'<span class="explore-values"></span>'
            f'<span class="explore-text">{escape(self.notes[start])}</span></p>'
            f'<script type="application/json">{self._json()}</script></div>'
        )

    def _control(self, parameter: Any) -> str:
        key = escape(f"{self.key}-{parameter.name}")
        label = escape(parameter.label)
        if not parameter.slider:
            options = "".join(
                f"<option{' selected' if index == parameter.start else ''}>{escape(text)}</option>"
                for index, text in enumerate(parameter.texts)
            )
            field = f'<select id="{key}" autocomplete="off">{options}</select>'
            return f'<div class="explore-row"><label for="{key}">{label}</label>{field}</div>'
        text = escape(parameter.texts[parameter.start])
        width = max(len(each) for each in parameter.texts)
        field = (
            f'<input type="range" id="{key}" min="0" max="{len(parameter.texts) - 1}" step="1" '
            f'value="{parameter.start}" aria-valuetext="{text}" autocomplete="off">'
            f'<output for="{key}" aria-hidden="true" style="min-width:{width}ch">{text}</output>'
        )
        play = self._buttons(label) if parameter.name == self.play else ""
        return f'<div class="explore-row"><label for="{key}">{label}</label>{field}{play}</div>'

    def _buttons(self, label: str) -> str:
        def button(kind: str, name: str, inside: str) -> str:
            return f'<button type="button" data-do="{kind}" aria-label="{name}">{inside}</button>'

        both = icon("play") + icon("pause")
        return (
            f'<span class="explore-buttons">{button("back", f"Previous {label}", icon("back"))}'
            f'<button type="button" data-do="play">{both}<span>Play</span></button>'
            f"{button('on', f'Next {label}', icon('on'))}</span>"
        )

    def _json(self) -> str:
        distinct = list(dict.fromkeys(self.markup))
        notes = list(dict.fromkeys(self.notes))
        pieces, frames = split(distinct)
        data = {
            "texts": [list(parameter.texts) for parameter in self.parameters],
            "labels": [parameter.label for parameter in self.parameters],
            "play": next((i for i, parameter in enumerate(self.parameters) if parameter.name == self.play), -1),
            "pieces": pieces,
            "frames": frames,
            "show": [distinct.index(markup) for markup in self.markup],
            "notes": notes,
            "say": [notes.index(note) for note in self.notes],
        }
        return script_json(data)


def script_json(data: Any) -> str:
    """JSON for the inside of a ``<script>`` element, which nothing in it may close.

    >>> script_json({"a": "</script>"})
    '{"a":"<\\\\/script>"}'
    """
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return text.replace("</", "<\\/").replace("<!--", "\\u003c!--")


def icon(kind: str) -> str:
    solid = ' class="solid"' if kind in ("play", "pause") else ""
    return f'<svg viewBox="0 0 24 24" aria-hidden="true" data-icon="{kind}"><path{solid} d="{_ICONS[kind]}"/></svg>'


def split(frames: list[str]) -> tuple[list[str], list[list[int]]]:
    """Store drawings as a list of unique pieces and, for each drawing, the indices of its pieces.

    Neighbouring elements that always come together make one piece, so that axes shared by all frames cost once.

    Examples
    --------
    >>> split(["<a/><b/><c/>", "<a/><b/><d/>"])
    (['<a/><b/>', '<c/>', '<d/>'], [[0, 1], [0, 2]])
    """
    rows = [re.split(r"(?<=>)(?=<)", frame) for frame in frames]
    after: dict[str, set[str | None]] = {}
    before: dict[str, set[str | None]] = {}
    for row in rows:
        for left, right in zip([None, *row], [*row, None], strict=True):
            if left is not None:
                after.setdefault(left, set()).add(right)
            if right is not None:
                before.setdefault(right, set()).add(left)
    pieces: dict[str, int] = {}
    indices = []
    for row in rows:
        joined: list[list[str]] = []
        for element in row:
            if joined and len(after[joined[-1][-1]]) == 1 and len(before[element]) == 1:
                joined[-1].append(element)
            else:
                joined.append([element])
        indices.append([pieces.setdefault("".join(group), len(pieces)) for group in joined])
    return list(pieces), indices
