"""A Matplotlib figure as SVG, PNG or WebP, the same bytes for the same drawing."""

from __future__ import annotations

import io

import matplotlib as mpl
from matplotlib.figure import Figure


def svg(figure: Figure) -> str:
    """An SVG document with live text and ids that depend on nothing but the drawing."""
    out = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "deep-learning-worked-out"}):
        figure.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()


def png(figure: Figure) -> tuple[bytes, int, int]:
    """A PNG at two pixels per CSS pixel, and its width and height in CSS pixels."""
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=192)
    width, height = figure.get_size_inches() * 96
    return out.getvalue(), round(width), round(height)


def webp(figure: Figure) -> tuple[bytes, int, int]:
    """The smaller of a lossless and a lossy WebP, and its width and height in CSS pixels."""
    from PIL import Image

    data, width, height = png(figure)
    image = Image.open(io.BytesIO(data)).convert("RGB")
    encoded = []
    for options in ({"lossless": True, "quality": 70, "method": 4}, {"quality": 85, "method": 5}):
        out = io.BytesIO()
        image.save(out, "WEBP", **options)
        encoded.append(out.getvalue())
    return min(encoded, key=len), width, height
