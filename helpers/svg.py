"""Turn an SVG drawing into compact inline markup that follows the page's light or dark theme.

The colours of `helpers.style` become CSS variables whose fallback is the light value, ids get a prefix so that several
drawings can live on one page, and coordinates keep only the digits that a screen can show.
"""

from __future__ import annotations

import math
import re
from html import escape
from xml.etree import ElementTree

from helpers import style
from helpers.svg_path import NUMBER, compact_path, extent, shorten

VARIABLES = {
    getattr(style, name).lower(): f"var(--fig-{name.lower()},{getattr(style, name).lower()})"
    for name in ("INK", "MUTED", "GRID", "PAPER", "BLUE", "ORANGE", "GREEN", "RED", "SKY", "PURPLE", "YELLOW")
}
"""The book's colours, and the CSS that stands for each of them on a page."""

_SVG = "{http://www.w3.org/2000/svg}"
_HREFS = ("href", "{http://www.w3.org/1999/xlink}href")
_DROPPED = {"script", "metadata", "foreignObject", "iframe", "handler", "listener"}
_LENGTHS = {"x", "y", "x1", "y1", "x2", "y2", "cx", "cy", "r", "rx", "ry", "dx", "dy", "fx", "fy", "width", "height"}
_COLOURS = {"fill", "stroke", "color", "stop-color", "flood-color", "lighting-color"}
_TO_PX = {"": 1.0, "px": 1.0, "pt": 4 / 3, "pc": 16.0, "in": 96.0, "cm": 96 / 2.54, "mm": 96 / 25.4}
_REFERENCE = re.compile(r"url\(\s*['\"]?#([^)'\"]+)['\"]?\s*\)")
_MATPLOTLIB_STYLE = re.compile(r"\s*\*\s*\{\s*stroke-linejoin:\s*round;\s*stroke-linecap:\s*butt;?\s*\}\s*")


def themed(svg: str, *, prefix: str, alt: str) -> str:
    """Make a compact inline SVG that is readable on a light and on a dark page.

    Parameters
    ----------
    svg : str
        A whole SVG document, from Matplotlib (``svg.fonttype: none``) or written by hand.
    prefix : str
        Put before every id of the drawing; use another one for each drawing of a page.
    alt : str
        What the drawing shows, for a reader who cannot see it.

    Returns
    -------
    str
        One ``<svg>`` element, on one line, without scripts and without a background. The same input gives the same
        output.

    Raises
    ------
    ValueError
        If `svg` is not well-formed SVG, loads something from elsewhere, or `prefix` or `alt` cannot be used.

    Examples
    --------
    >>> themed('<svg viewBox="0 0 9 9"><g id="a"><path d="M 1 1 L 5 3" stroke="#0072B2"/></g></svg>',
    ...        prefix="f1", alt="A line")
    '<svg viewBox="0 0 9 9" ... aria-label="A line"><path d="M1 1l4 2" style="stroke:var(--fig-blue,#0072b2)"/></svg>'
    """
    if not isinstance(alt, str) or not alt.strip():
        raise ValueError("alt must say in words what the drawing shows; it is empty")
    if not re.fullmatch(r"[A-Za-z][\w-]*", prefix):
        raise ValueError(f"prefix must start with a letter and hold letters, digits, - and _ only, not {prefix!r}")
    root = _parse(svg)
    return _Writer(root, prefix).document(alt)


def _parse(svg: str) -> ElementTree.Element:
    if not isinstance(svg, str):
        raise ValueError(f"an SVG drawing is a string, not {type(svg).__name__}")
    if "<!ENTITY" in svg:
        raise ValueError("the SVG declares XML entities; write the characters themselves")
    try:
        root = ElementTree.fromstring(svg.strip())
    except ElementTree.ParseError as error:
        raise ValueError(f"the SVG is not well-formed XML: {error}") from error
    if _name(root) != "svg":
        raise ValueError(f"expected an <svg> element, got <{root.tag}>")
    return root


def _name(element: ElementTree.Element) -> str | None:
    """Local name of an SVG element; None for comments and for elements of other vocabularies."""
    if not isinstance(element.tag, str):
        return None
    tag = element.tag.removeprefix(_SVG)
    return None if tag.startswith("{") else tag


class _Writer:
    """Writes one drawing; holds its prefix, the ids that are in use and the number of decimals worth keeping."""

    def __init__(self, root: ElementTree.Element, prefix: str) -> None:
        self.root, self.prefix = root, prefix
        self.box = self._view_box()
        self.decimals = max(1, math.ceil(math.log10(2000 / self.box[2])))
        self.used = self._referenced()
        self.background = self._figure_background()

    def document(self, alt: str) -> str:
        x, y, width, height = self.box
        attributes = {"viewBox": " ".join(f"{value:g}" for value in (x, y, width, height))}
        natural = _to_pixels(self.root.get("width", "")) or width
        own = self._attributes(self.root, "svg")
        look = {
            "--natural": f"{natural:.0f}px",
            "width": "100%",
            "max-width": f"{natural:.0f}px",
            "height": "auto",
            "stroke-linejoin": "round",
            "font-family": "'Worked Sans',sans-serif",
        } | _declarations(own.pop("style", ""))
        for name in ("viewBox", "width", "height", "version", "role", "aria-label"):
            own.pop(name, None)
        attributes |= {"style": _css(look), **own, "role": "img", "aria-label": alt}
        inside = "".join(self._element(child) for child in self.root)
        return f"<svg{_markup(attributes)}>{inside}</svg>"

    def _view_box(self) -> tuple[float, float, float, float]:
        numbers = [float(number) for number in NUMBER.findall(self.root.get("viewBox", ""))]
        if not numbers:
            numbers = [0, 0, *(_to_pixels(self.root.get(side, "")) or 0 for side in ("width", "height"))]
        if len(numbers) != 4 or not (numbers[2] > 0 and numbers[3] > 0):
            raise ValueError("the SVG needs a viewBox, or a width and a height in absolute units")
        return tuple(numbers)

    def _referenced(self) -> set[str]:
        found: set[str] = set()
        for element in self.root.iter():
            for key, value in element.attrib.items():
                found.update(_REFERENCE.findall(value))
                if key in _HREFS and value.startswith("#"):
                    found.add(value[1:])
                if key.startswith("aria-"):
                    found.update(value.split())
        return found

    def _figure_background(self) -> ElementTree.Element | None:
        figure = self.root.find(f"{_SVG}g[@id='figure_1']")
        patch = figure.find(f"{_SVG}g[@id='patch_1']") if figure is not None else None
        return patch if patch is not None and _covers(patch, self.box) else None

    def _element(self, element: ElementTree.Element) -> str:
        name = _name(element)
        if name is None or name in _DROPPED or element is self.background:
            return ""
        if name == "style":
            css = element.text or ""
            return "" if _MATPLOTLIB_STYLE.fullmatch(css) else f"<style>{_theme(css)}</style>"
        attributes = self._attributes(element, name)
        text = element.text or "" if name in ("text", "tspan", "textPath", "title", "desc", "a") else ""
        keeps_space = name in ("text", "tspan", "textPath", "a")
        if not text.strip() and len(element) and name == "text":
            text = ""
        inside = escape(text, quote=False)
        for child in element:
            inside += self._element(child)
            tail = child.tail or ""
            if keeps_space and tail.strip():
                inside += escape(tail, quote=False)
        if not inside and name in ("g", "defs", "clipPath", "text"):
            return ""
        if name == "g" and not attributes:
            return inside
        return f"<{name}{_markup(attributes)}>{inside}</{name}>" if inside else f"<{name}{_markup(attributes)}/>"

    def _attributes(self, element: ElementTree.Element, name: str) -> dict[str, str]:
        kept: dict[str, str] = {}
        look = _declarations(element.get("style", ""))
        for key, value in element.attrib.items():
            if key in _HREFS:
                kept["href"] = self._link(value, name)
            elif key.startswith("{") or key.lower().startswith("on") or key in ("style", "xmlns"):
                continue
            elif key == "id":
                if value in self.used:
                    kept["id"] = f"{self.prefix}-{value}"
            elif (key in _COLOURS and "#" in value) or key == "font-family":
                look.setdefault(key, value)
            elif key == "d":
                kept["d"] = compact_path(value, self.decimals + (extent(value) < 20))
            elif key == "points":
                kept["points"] = NUMBER.sub(lambda hit: shorten(float(hit[0]), self.decimals), " ".join(value.split()))
            elif key == "transform":
                if turned := self._transform(value):
                    kept["transform"] = turned
            elif key in _LENGTHS and NUMBER.fullmatch(value.strip()):
                kept[key] = shorten(float(value), self.decimals + 1)
            elif key.startswith("aria-") and value in self.used and key != "aria-label":
                kept[key] = " ".join(f"{self.prefix}-{word}" for word in value.split())
            else:
                kept[key] = self._rewrite(value)
        if css := _css({key: self._rewrite(_theme(value)) for key, value in _fonts(look).items()}):
            kept["style"] = css
        return kept

    def _rewrite(self, value: str) -> str:
        return _REFERENCE.sub(lambda hit: f"url(#{self.prefix}-{hit[1]})", value)

    def _link(self, value: str, name: str) -> str:
        value = value.strip()
        if value.startswith("#"):
            return f"#{self.prefix}-{value[1:]}"
        if value.startswith("data:image/"):
            return "".join(value.split())
        if name == "a" and not re.match(r"[a-z][a-z0-9+.-]*:", value, re.IGNORECASE):
            return value
        raise ValueError(f"<{name}> points to {value[:60]!r}; a drawing may only use its own parts and embedded images")

    def _transform(self, value: str) -> str:
        parts = []
        for kind, inside in re.findall(r"(\w+)\s*\(([^)]*)\)", value):
            numbers = [float(number) for number in NUMBER.findall(inside)]
            if (kind == "rotate" and numbers[0] == 0) or (kind == "translate" and not any(numbers)):
                continue
            if kind in ("translate", "rotate"):
                shown = [shorten(number, self.decimals + 1) for number in numbers]
            else:
                shown = [f"{number:.6g}" for number in numbers]
            parts.append(f"{kind}({' '.join(shown)})")
        return " ".join(parts)


def _covers(patch: ElementTree.Element, box: tuple[float, float, float, float]) -> bool:
    path = patch.find(f"{_SVG}path")
    if path is None or "stroke:" in path.get("style", "").replace("stroke: none", ""):
        return False
    numbers = [float(number) for number in NUMBER.findall(path.get("d", ""))]
    return max(numbers[0::2], default=0) >= box[2] - 0.01 and max(numbers[1::2], default=0) >= box[3] - 0.01


def _to_pixels(length: str) -> float | None:
    hit = re.fullmatch(r"\s*([\d.]+)\s*([a-z]*)\s*", length)
    return float(hit[1]) * _TO_PX[hit[2]] if hit and hit[2] in _TO_PX else None


def _declarations(css: str) -> dict[str, str]:
    parts = re.findall(r"((?:[^;'\"(]|'[^']*'|\"[^\"]*\"|\([^)]*\))+)", css)
    pairs = (part.partition(":") for part in parts if ":" in part)
    return {key.strip(): value.strip() for key, _, value in pairs}


def _fonts(look: dict[str, str]) -> dict[str, str]:
    family = look.get("font-family", "")
    if "Worked Sans" in family:
        look = {key: value for key, value in look.items() if key != "font-family"}
    elif family and not family.endswith("sans-serif"):
        look = look | {"font-family": f"{family},sans-serif"}
    if look.get("text-anchor") == "start":
        look = {key: value for key, value in look.items() if key != "text-anchor"}
    return look


def _theme(css: str) -> str:
    def colour(hit: re.Match[str]) -> str:
        digits = hit[0].lower()
        whole = digits if len(digits) == 7 else "#" + "".join(2 * digit for digit in digits[1:])
        return VARIABLES.get(whole, digits)

    return re.sub(r"(?<![\w(&#-])#(?:[0-9a-fA-F]{6}|[0-9a-fA-F]{3})(?![\w-])", colour, css)


def _css(look: dict[str, str]) -> str:
    return ";".join(f"{key}:{value}" for key, value in look.items())


def _markup(attributes: dict[str, str]) -> str:
    return "".join(f' {key}="{escape(value, quote=True)}"' for key, value in attributes.items())
