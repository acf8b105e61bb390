"""The page of what is taught wrong, against the chapters: every entry has its place, and every place its entry."""

import re

import pytest

from tools.chapter import ROOT, read

NUMBERS = [f"m{number:02d}" for number in range(1, 78)]
BOX = re.compile(r"^\((m\d\d)\)=\s*\n```\{admonition\} Common mistake: (.*)\n:class: mistake$", re.MULTILINE)
ENTRY = re.compile(r"^\{ref\}`(.*) <(m\d\d)>`\n: (\S.*)$", re.MULTILINE)
NOTHING_TO_RUN = {"m73"}
"""A slip in the names of the parts of a nerve cell."""


@pytest.fixture(scope="module")
def boxes():
    """For each number the title of its box, and the tags of the code cells that follow the box in its chapter."""
    found = {}
    for path in sorted((ROOT / "notebooks").glob("[0-9]*.ipynb")):
        cells = read(path).nb.cells
        for i, cell in enumerate(cells):
            for number, title in BOX.findall(cell.source) if cell.cell_type == "markdown" else ():
                tags = {tag for later in cells[i + 1 :] for tag in later.metadata.get("tags", ())}
                found.setdefault(number, []).append((title, tags))
    return found


def test_every_one_has_exactly_one_box_and_a_cell_that_refutes_it(boxes):
    assert sorted(boxes) == NUMBERS
    for number, places in boxes.items():
        assert len(places) == 1, f"{number} has {len(places)} boxes"
        assert number in NOTHING_TO_RUN or number.upper() in places[0][1], f"no cell after its box has the tag {number}"


def test_the_page_has_each_of_them_once_under_the_title_of_its_box(boxes):
    entries = ENTRY.findall((ROOT / "book" / "misconceptions.md").read_text(encoding="utf-8"))
    assert sorted(number for _, number, _ in entries) == NUMBERS
    for title, number, _ in entries:
        assert title == boxes[number][0][0]
