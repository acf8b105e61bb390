"""The book's drawing style: one palette, one type family, legible on a light and on a dark page.

Figures name colours only through the constants below. The site replaces each of them by a CSS variable, so that
one drawing serves the light and the dark theme. The qualitative colours are those of Okabe and Ito
(M. Okabe and K. Ito, *Color Universal Design*, 2008), which readers with a colour-vision deficiency can tell apart.
"""

from __future__ import annotations

import logging
import os
import warnings
from pathlib import Path

import matplotlib as mpl
from cycler import cycler
from matplotlib import font_manager

INK = "#1f2328"
MUTED = "#59636e"
GRID = "#d8dee4"
PAPER = "#ffffff"

BLUE = "#0072b2"
ORANGE = "#e69f00"
GREEN = "#009e73"
RED = "#d55e00"
SKY = "#56b4e9"
PURPLE = "#cc79a7"
YELLOW = "#f0e442"

COLORS = (BLUE, RED, GREEN, PURPLE, ORANGE, SKY)
DASHES = ("-", (0, (6, 2)), (0, (2, 1.5)), (0, (8, 2, 2, 2)), (0, (4, 1, 1, 1, 1, 1)), (0, (1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P")

WIDTH = 7.2
"""Width of a full-width figure in inches; 7.2 inches are 691 CSS pixels, the width of the text column."""

_FONT = "Worked Sans"
_FONTS = Path(__file__).parent / "fonts"


def use_style() -> None:
    """Draw every following Matplotlib figure in the book's style.

    Registers the typeface that ships with the book, sets the colour, dash and marker cycle, and chooses the format in
    which figures are shown: SVG while the book is being built (``BOOK_BUILD=1``), sharp PNG in a live notebook.

    Examples
    --------
    >>> use_style()
    >>> mpl.rcParams["axes.spines.top"]
    False
    """
    known = {font.fname for font in font_manager.fontManager.ttflist}
    for path in sorted(_FONTS.glob("*.ttf")):
        if str(path) not in known:
            font_manager.fontManager.addfont(path)
    mpl.rcParams.update(_RC)
    logging.getLogger("matplotlib.font_manager").addFilter(_is_no_near_weight)
    _choose_inline_format()


def building() -> bool:
    """Whether the book is being built (``BOOK_BUILD=1``), as opposed to a live notebook."""
    return os.environ.get("BOOK_BUILD", "") == "1"


def _is_no_near_weight(record: logging.LogRecord) -> bool:
    """Filter out the remark that a typeface has 600 for bold, or that the fallback has no semibold: that is meant."""
    return "Failed to find font weight" not in record.getMessage()


def _choose_inline_format() -> None:
    try:
        from IPython import get_ipython
        from matplotlib_inline.backend_inline import set_matplotlib_formats
    except ImportError:  # drawing from a plain script: there is no inline backend to configure
        return
    if get_ipython() is None:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        if building():
            set_matplotlib_formats("svg", metadata={"Date": None})  # two builds of one commit are to be equal
        else:
            set_matplotlib_formats("retina")


_RC = {
    "figure.figsize": (WIDTH, 3.6),
    "figure.dpi": 96,
    "figure.facecolor": PAPER,
    "figure.constrained_layout.use": True,
    "savefig.facecolor": PAPER,
    "svg.fonttype": "none",
    "svg.hashsalt": "deep-learning-worked-out",
    "font.family": [_FONT, "DejaVu Sans"],
    "font.size": 11,
    "mathtext.fontset": "custom",
    "mathtext.rm": _FONT,
    "mathtext.it": f"{_FONT}:italic",
    "mathtext.bf": f"{_FONT}:semibold",
    "mathtext.cal": _FONT,
    "mathtext.sf": _FONT,
    "mathtext.tt": _FONT,
    "mathtext.fallback": "stixsans",
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.facecolor": PAPER,
    "axes.titlesize": 12,
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "axes.labelsize": 11,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "axes.prop_cycle": cycler(color=COLORS) + cycler(linestyle=DASHES),
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "lines.linewidth": 2.0,
    "lines.markersize": 6,
    "path.simplify_threshold": 0.25,
    "legend.frameon": False,
    "legend.fontsize": 10.5,
    "image.cmap": "cividis",
}
