"""Tables in Markdown, as the cheat sheets show them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def markdown(columns: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table: its heads, a rule, and one line for each of the rows.

    Examples
    --------
    >>> print(markdown(("layer", "size"), [("conv", 28)]))
    | layer | size |
    | --- | --- |
    | conv | 28 |
    """
    lines = [columns, ("---",) * len(columns), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
