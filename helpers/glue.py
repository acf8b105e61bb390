"""Hand a measured number to the text of the page, so that no number in the prose is typed."""

from __future__ import annotations

import re
from typing import Any

import torch

GLUE_PREFIX = "application/papermill.record/"


def glue(name: str, value: Any, spec: str = "{}") -> None:
    """Hand a formatted value to the text of the page, where {glue:text}`name` shows it.

    A live notebook shows ``name = value``; outside a notebook nothing happens.

    Parameters
    ----------
    name : str
        Letters, digits, dots, hyphens and underscores; start it with the chapter, as in ``"03-final-loss"``.
    value : number, str or tensor with one entry
    spec : str
        How to write it, as for `str.format`.

    Raises
    ------
    ValueError, TypeError
        If the name cannot be used, or `spec` does not fit the value.

    Examples
    --------
    >>> glue("03-final-loss", 0.1234567, "{:.4f}")
    """
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name):
        raise ValueError(f"a glue name holds letters, digits, '.', '-' and '_' only, not {name!r}")
    text = _formatted(value, spec)
    shell = _kernel()
    if shell is None:
        return
    from IPython.display import display

    metadata = {"scrapbook": {"name": name, "mime_prefix": GLUE_PREFIX}}
    # MyST-NB reads the text as a Python literal: without quotes 206,410 becomes a pair, and 0.50 becomes 0.5
    display({f"{GLUE_PREFIX}text/plain": repr(text)}, raw=True, metadata=metadata)
    from helpers import style

    if not style.building():
        display({"text/plain": f"{name} = {text}"}, raw=True)


def _formatted(value: Any, spec: str) -> str:
    if isinstance(value, torch.Tensor) or (hasattr(value, "item") and getattr(value, "size", 1) == 1):
        if isinstance(value, torch.Tensor) and value.numel() != 1:
            raise ValueError(f"glue takes one number, not a tensor of shape {tuple(value.shape)}")
        value = value.item()
    try:
        text = spec.format(value)
    except (ValueError, IndexError, KeyError, TypeError) as error:
        raise ValueError(f"the format {spec!r} does not fit {value!r:.60}: {error}") from error
    return re.sub(r"^-(?=[\d.∞])", "−", text)


def _kernel() -> Any:
    try:
        from IPython import get_ipython
    except ImportError:
        return None
    shell = get_ipython()
    return shell if shell is not None and hasattr(shell, "kernel") else None
