"""The chapters without their solutions: nothing else is missing, and what is left still runs."""

import ast

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tools import colab, practice
from tools.chapter import find, read

CHAPTERS = find([])


def fence(words):
    return new_markdown_cell(f"```{{{words}\n```")


START, END = "solution-start} ex-07-1", "solution-end}"


def test_a_solution_becomes_one_empty_cell():
    before, inside, after = new_code_cell("a = 1"), new_code_cell("yours = 2"), new_code_cell("b = a")
    nb = new_notebook(cells=[before, fence(START), inside, new_markdown_cell("Because."), fence(END), after])
    made = practice.without_solutions(nb)
    assert [cell.source for cell in made.cells] == ["a = 1", "# Your work.", "b = a"]
    assert len(nb.cells) == 6


@pytest.mark.parametrize(
    ("fences", "message"),
    [
        ([START], "the solution of ex-07-1 does not end"),
        ([START, START], "does not end before the next"),
        ([END], "has not begun"),
    ],
)
def test_a_broken_frame_is_named(fences, message):
    with pytest.raises(ValueError, match=message):
        practice.without_solutions(new_notebook(cells=[fence(words) for words in fences]))


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_what_is_left_of_a_chapter_does_not_need_its_solutions(path):
    chapter = read(path)
    made = practice.without_solutions(chapter.nb)
    left = {cell.id for cell in made.cells}
    assert sum(cell.source == "# Your work." for cell in made.cells) == 4
    stored, loaded = {True: set(), False: set()}, {True: set(), False: set()}
    for cell in chapter.code:
        stays = cell.node.id in left
        for node in ast.walk(cell.tree):
            if isinstance(node, ast.Name):
                (loaded if isinstance(node.ctx, ast.Load) else stored)[stays].add(node.id)
            elif isinstance(node, ast.FunctionDef | ast.ClassDef):
                stored[stays].add(node.name)
            elif isinstance(node, ast.arg):
                stored[stays].add(node.arg)
            elif isinstance(node, ast.alias):
                stored[stays].add((node.asname or node.name).split(".")[0])
    assert (stored[False] - stored[True]) & loaded[True] == set()


def test_the_copy_is_plain_and_without_answers():
    chapter = read(find(["05"])[0])
    text = "\n".join(cell.source for cell in colab.practice_copy(chapter.nb).cells if cell.cell_type == "markdown")
    assert "without the solutions" in text
    assert "```{" not in text
    assert "Exercise 4" in text
    assert "Solution of exercise" not in text
