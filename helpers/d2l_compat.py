"""Import ``d2l`` next to today's IPython.

The package of *Dive into Deep Learning* calls ``IPython.display.set_matplotlib_formats`` (0.17, to draw SVG), which
IPython 9 removed. Its successor takes the same arguments and is put in its place before ``d2l`` is imported. Version
1.0.3 works as well where it was installed with ``pip install --no-deps d2l==1.0.3`` (its own pins ask for a numpy of
2022). The import takes seconds because it loads torchvision: use it only in the chapters that draw with it.
"""

from __future__ import annotations

from types import ModuleType


def load() -> ModuleType:
    """Import and return ``d2l.torch``.

    Returns
    -------
    module
        ``d2l.torch`` of version 0.17 or 1.0.

    Raises
    ------
    ImportError
        If d2l is not installed.
    """
    import IPython.display
    import matplotlib_inline.backend_inline

    if not hasattr(IPython.display, "set_matplotlib_formats"):
        IPython.display.set_matplotlib_formats = matplotlib_inline.backend_inline.set_matplotlib_formats
    try:
        import d2l.torch
    except ImportError as error:
        raise ImportError(f"d2l can't be imported ({error}); install it with: pip install 'd2l>=0.17,<1'") from error
    return d2l.torch
