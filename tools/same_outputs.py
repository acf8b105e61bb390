"""What two runs of one chapter have in common: their outputs character by character, or their numbers."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from helpers.glue import GLUE_PREFIX

_NUMBER = re.compile(r"[-−+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:e[-+]?\d+)?")
_ASIDE = re.compile(r"\(largest difference [^)]*\)|\b\d+ threads?\b")
"""Numbers about rounding, which `check.equal` has held against its own tolerance, and the number of threads itself."""
_PLAIN = ("text/plain", "text/html", f"{GLUE_PREFIX}text/plain")


def first_difference(one: str, two: str, around: int = 60) -> str:
    """Where two texts part, with what stands around it; empty if they are equal.

    Examples
    --------
    >>> first_difference("loss 0.25", "loss 0.26", around=4)
    "character 9 of line 1: '0.25' | '0.26'"
    >>> first_difference("same", "same")
    ''
    """
    if one == two:
        return ""
    at = next((i for i, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), min(len(one), len(two)))
    line, column = one.count("\n", 0, at) + 1, at - (one.rfind("\n", 0, at) + 1) + 1
    start = max(0, at - around + 1)
    return f"character {column} of line {line}: {one[start : at + around]!r} | {two[start : at + around]!r}"


def outputs(notebook: str, but: Collection[str] = ()) -> Iterator[tuple[str, str, str]]:
    """Yield (place, kind, content) of every output of an executed notebook, `but` for the cells with these ids.

    The place is the cell's id, with the glue name where there is one; the kind is a MIME type or ``stdout``.
    """
    for cell in json.loads(notebook)["cells"]:
        if cell["id"] in but:
            continue
        for output in cell.get("outputs", []):
            name = output.get("metadata", {}).get("scrapbook", {}).get("name")
            place = f"{cell['id']} ({name})" if name else cell["id"]
            if "text" in output:
                yield place, output.get("name", "text"), "".join(output["text"])
            for kind, content in sorted(output.get("data", {}).items()):
                yield place, kind, "".join(content) if isinstance(content, list) else str(content)


def differences(one: str, two: str, but: Collection[str] = ()) -> list[str]:
    """Every output that differs between two executed notebooks, with its first difference."""
    first, second = list(outputs(one, but)), list(outputs(two, but))
    if [entry[:2] for entry in first] != [entry[:2] for entry in second]:
        return [
            "the cells have other outputs: " + first_difference(*(repr([e[:2] for e in x]) for x in (first, second)))
        ]
    pairs = zip(first, second, strict=True)
    return [f"cell {a[0]}, {a[1]}: {first_difference(a[2], b[2])}" for a, b in pairs if a[2] != b[2]]


@dataclass
class Numbers:
    """How the numbers of two runs of a chapter agree.

    Attributes
    ----------
    compared, differ : int
        Numbers in glued and printed text, and how many of them are not equal as written.
    worst : float
        Largest relative difference.
    apart : list of str
        Places where it exceeds the tolerance, or where the words around the numbers differ.
    pictures : int
        Figures whose bytes differ.
    """

    compared: int = 0
    differ: int = 0
    worst: float = 0.0
    apart: list[str] = field(default_factory=list)
    pictures: int = 0


def numbers(one: str, two: str, tolerance: float, but: Collection[str] = ()) -> Numbers:
    """Compare the numbers in the texts of two executed notebooks.

    Parameters
    ----------
    one, two : str
        Executed notebooks as JSON, of the same chapter.
    tolerance : float
        For ``|a - b| / max(|a|, |b|)``. Of numbers that are smaller than 1e-3 both ways only the absolute difference is
        held against ``tolerance * 1e-3``: rounding residues have no digits in common.
    but : collection of str
        Ids of cells to leave out.
    """
    found = Numbers()
    first, second = list(outputs(one, but)), list(outputs(two, but))
    if [entry[:2] for entry in first] != [entry[:2] for entry in second]:
        found.apart.append("the cells have other outputs")
    for (place, kind, a), (_, other, b) in zip(first, second, strict=False):
        if kind not in (*_PLAIN, "stdout") or kind != other or "<svg" in a or "data-explore" in a:
            found.pictures += kind != "stdout" and a != b
            continue
        _compare(place, _ASIDE.sub("", a), _ASIDE.sub("", b), tolerance, found)
    return found


def _compare(place: str, a: str, b: str, tolerance: float, found: Numbers) -> None:
    values = [[_value(text) for text in _NUMBER.findall(x)] for x in (a, b)]
    found.compared += len(values[0])
    if a == b:
        return
    if _NUMBER.sub("#", a).split() != _NUMBER.sub("#", b).split():
        found.apart.append(f"cell {place}: {first_difference(a, b)}")
        return
    for x, y in zip(*values, strict=True):
        size = max(abs(x), abs(y), 1e-3)
        found.differ += x != y
        found.worst = max(found.worst, abs(x - y) / size)
        if abs(x - y) > tolerance * size:
            found.apart.append(f"cell {place}: {x:g} | {y:g}")


def _value(text: str) -> float:
    return float(text.replace(",", "").replace("−", "-"))
