"""The rules of the notebooks: every rule fires on a chapter that breaks just it, and every chapter keeps them all."""

import copy
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output

from tools import myst, notebook_mend, notebook_rules, notebooks
from tools.chapter import ROOT, TEMPLATE, Chapter, find, read
from tools.notebook_code_rules import CODE_CELLS
from tools.notebook_figure_rules import shows_figure

TOC = """\
# the order of the book
format: jb-book
root: book/intro
parts:
  - caption: Before you start
    chapters:
      - file: book/setup
  - caption: How a network learns   # numbered
    numbered: true
    chapters:
      - file: notebooks/03_descent
        title: Going down
      - file: notebooks/05_backprop
  - caption: At the back
    chapters:
      - file: book/references
"""
PROSE = "Words that stand for the explanation which a real chapter would give here. " * 12


@pytest.fixture
def book(tmp_path):
    """A book's folder with a table of contents, the template, and no chapter."""
    folder = tmp_path / "notebooks"
    folder.mkdir()
    shutil.copy(TEMPLATE, folder)
    (tmp_path / "_toc.yml").write_text(TOC, encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """A chapter that keeps every rule: the template with its notes taken out, filled up to a chapter's length."""
    folder = tmp_path_factory.mktemp("book") / "notebooks"
    folder.mkdir()
    shutil.copy(TEMPLATE, folder)
    (folder.parent / "_toc.yml").write_text(TOC, encoding="utf-8")
    path = notebook_mend.new_chapter("07_example", "An example", folder=folder)
    nb = read(path).nb
    for cell in nb.cells:
        cell.source = re.sub(r"^> \*\*For the author\..*\n*", "", cell.source, flags=re.M)
    place = index(nb, "exercises")
    for i in range(14):
        nb.cells.insert(place, new_code_cell(f"x + {i}", id=f"extra-code-{i}"))
        nb.cells.insert(place, new_markdown_cell(PROSE, id=f"extra-text-{i}"))
    notebook_mend.write(nb, path)
    return read(path)


@pytest.fixture
def chapter(whole):
    """A copy of the chapter that keeps every rule, to be broken."""
    return Chapter(whole.path, copy.deepcopy(whole.nb))


def index(nb, cell_id):
    """The place of a cell in `nb`."""
    return next(i for i, cell in enumerate(nb.cells) if cell.id == cell_id)


def cell(nb, cell_id):
    """A cell of `nb`."""
    return nb.cells[index(nb, cell_id)]


def replace(cell_id, old, new):
    """A mutation: put `new` in the place of `old` in one cell."""

    def mutate(nb):
        target = cell(nb, cell_id)
        assert old in target.source
        target.source = target.source.replace(old, new)

    return mutate


def remove(*cell_ids):
    """A mutation: take cells out."""

    def mutate(nb):
        for cell_id in cell_ids:
            del nb.cells[index(nb, cell_id)]

    return mutate


def code(source, *, tags=(), **metadata):
    """A mutation: put a code cell in the place of one that nothing else needs."""

    def mutate(nb):
        metadata.update({"tags": list(tags)} if tags else {})
        nb.cells[index(nb, "extra-code-3")] = new_code_cell(source, id="broken", metadata=metadata)

    return mutate


def text(source):
    """A mutation: put a Markdown cell in the place of one that nothing else needs."""
    return replace("extra-text-3", PROSE, PROSE + "\n\n" + source)


def insert_after(cell_id, source):
    """A mutation: put a new Markdown cell behind one that is there."""
    return lambda nb: nb.cells.insert(index(nb, cell_id) + 1, new_markdown_cell(source, id="inserted"))


def meta(cell_id, **changes):
    """A mutation: change the metadata of a cell."""
    return lambda nb: cell(nb, cell_id).metadata.update(nbformat.from_dict(changes))


def figure(**changes):
    """A mutation: change what the metadata of the chapter's chart say."""

    def mutate(nb):
        about = cell(nb, "three-paths").metadata.mystnb
        about.figure.update({key: value for key, value in changes.items() if key != "alt"})
        about.image.update({key: value for key, value in changes.items() if key == "alt"})

    return mutate


def notebook(**changes):
    """A mutation: change the notebook's own metadata."""
    return lambda nb: nb.metadata.update(nbformat.from_dict(changes))


def field(cell_id, **changes):
    """A mutation: change a field of a cell."""
    return lambda nb: cell(nb, cell_id).update(nbformat.from_dict(changes))


def stored(*outputs):
    """A mutation: store outputs in the cell that keeps its own."""
    return field("gradient-three-ways", outputs=list(outputs))


def answer_after_the_solution_began(nb):
    """Move the cell for the reader's answer into the solution, which the reader's copy leaves out."""
    nb.cells.insert(index(nb, "sol-07-2"), nb.cells.pop(index(nb, "ex-07-2-answer")))


def without_the_last_exercise(nb):
    """Take the fourth exercise out, its solution with it."""
    remove("ex-07-4", "ex-07-4-answer", "sol-07-4", "sol-07-4-code", "sol-07-4-end")(nb)


IMAGE = new_output("display_data", data={"image/png": "aGVsbG8="})
STDERR = new_output("stream", name="stderr", text="careful\n")
PRINTED = new_output("stream", name="stdout", text="1\n")

BREAKS = [
    ("opening", replace("title", "# An example", "An example"), "no title"),
    ("opening", lambda nb: nb.cells.insert(0, new_code_cell("1", id="early")), "does not begin with text"),
    ("opening", replace("title", "You will be able to", "This is about:"), "does not say"),
    ("opening", replace("title", "- say what", "\nsay what"), "2 objectives"),
    ("one_title", text("# Another title"), "second title"),
    ("one_title", text("#### Deep"), "of level 4 right after one of level 2"),
    ("recap", replace("what-you-can-do-now", "## What you can do now", "## The end"), "no section"),
    ("recap", replace("what-you-can-do-now", "- You know that", "\nYou know that"), "2 points, the opening has 3"),
    ("sources", lambda nb: nb.cells.append(new_markdown_cell("## More", id="more")), "last section"),
    ("sources", replace("what-you-can-do-now", "{cite:t}`goodfellow2016`", "Others"), "cites nothing"),
    ("word_count", lambda nb: [cell(nb, f"extra-text-{i}").update(source="Few.") for i in range(14)], "words of prose"),
    ("word_count", text(PROSE * 20), "words of prose"),
    ("leftovers", text("TODO: say why."), "TODO"),
    ("leftovers", text("> **For the author.** Delete me."), "For the author"),
    ("leftovers", code("1  # FIXME"), "FIXME"),
    ("leftovers", text("Well done \U0001f389"), "emoji"),
    ("boxes", replace("read-slider", ":class: convention", ":class: note"), "convention"),
    ("boxes", replace("mistake-accumulate", ":class: mistake", ":class: note"), "'mistake'"),
    ("boxes", insert_after("mistake-accumulate", "## Another matter"), "no code follows the box"),
    ("fences", text("```{admonition} What is `w`?\nIt is 3.\n```"), "a backtick in the title keeps {admonition}"),
    ("exercise_count", without_the_last_exercise, "3 exercises"),
    ("exercises", replace("ex-07-2", ":label: ex-07-2", ":label: ex-08-2"), "ex-08-2"),
    ("exercises", replace("ex-07-2", "{exercise} Sum in place of mean", "{exercise}"), "no title"),
    ("exercises", replace("ex-07-2", "{hint}", "{note}"), "no hint"),
    ("exercises", replace("ex-07-2", "{hint}\n:class: dropdown", "{hint}"), "open to everyone"),
    ("exercises", remove("sol-07-2", "sol-07-2-code", "sol-07-2-end"), "no solution"),
    ("gates", remove("sol-07-2-end"), "is not closed before this"),
    ("gates", remove("sol-07-4-end"), "never closed"),
    ("gates", lambda nb: nb.cells.append(new_markdown_cell("```{solution-end}\n```", id="stray")), "closes nothing"),
    ("gates", replace("sol-07-2-end", "```{solution-end}", "So it is.\n\n```{solution-end}"), "not alone"),
    ("gates", text("```{solution} ex-07-2\nText only.\n```"), "no code that runs"),
    ("solutions", remove("sol-07-2-code"), "no code cell that is executed"),
    ("solutions", meta("sol-07-2-code", tags=["skip-execution"], reason="why"), "no code cell that is executed"),
    ("solutions", lambda nb: cell(nb, "sol-07-2-code").update(source="x.sum()"), "exercise's own checker"),
    ("solutions", lambda nb: cell(nb, "sol-07-2-code").update(source="check.equal('x', a=1, b=1)"), "own checker"),
    ("solutions", replace("sol-07-2", ":class: dropdown", ""), "open to everyone"),
    ("solutions", replace("sol-07-2", ":label: sol-07-2", ":label: sol-2"), "'sol-2'"),
    ("checkers", remove("ex-07-2-answer"), "ex-07-2 has no cell that judges"),
    ("checkers", replace("ex-07-2-answer", "yours = ...", "yours = 0.5"), "ex-07-2 has no cell that judges"),
    ("checkers", replace("ex-07-2-answer", "yours = ...", "if x:\n    yours = ..."), "ex-07-2 has no cell that judges"),
    ("checkers", replace("ex-07-3-answer", "check.function(yours, ", "dict("), "ex-07-3 has no cell that judges"),
    ("checkers", answer_after_the_solution_began, "ex-07-2 has no cell that judges"),
    ("quiz_count", replace("quiz", "```{quiz}\n:label: quiz-07-3", "```{note}\n:label: note-07-3"), "2 quiz questions"),
    ("quiz", replace("quiz", "- [x] $0$", "- [ ] $0$"), "0 right answers"),
    ("quiz", replace("quiz", "- [ ] $3$", "- [x] $3$"), "2 right answers"),
    ("quiz", replace("quiz", "  : PyTorch adds and does not divide.\n", ""), "is not explained"),
    ("quiz", replace("quiz", ":label: quiz-07-2", ":label: quiz-08-2"), "quiz-08-2"),
    ("quiz", replace("quiz", "With $\\eta = 1$, where is the guess after 101 steps from $w = 0$?", ""), "asks nothing"),
    ("quiz", replace("quiz", "- [ ] At 0\n  : There it is after an even number of steps.\n", ""), "offers 2 answers"),
    ("misconceptions", meta("two-backwards", tags=["M27"]), "tag M27 has no target"),
    ("misconceptions", replace("mistake-accumulate", "```{adm", "(m27)=\n```{adm"), "no code cell shows"),
    ("file_name", "Example.ipynb", "is called Example.ipynb"),
    ("notebook_format", lambda nb: nb.update(nbformat_minor=4), "4.4"),
    ("notebook_format", notebook(kernelspec={"name": "mine", "display_name": "My environment"}), "kernelspec"),
    ("notebook_format", notebook(language_info={"name": "python", "version": "3.11.2"}), "language_info"),
    ("notebook_format", notebook(widgets={"state": {}}), "state of widgets"),
    ("notebook_format", notebook(jupytext={}), "jupytext"),
    ("notebook_format", lambda nb: cell(nb, "set-up").pop("outputs"), "breaks the notebook format"),
    ("ids", lambda nb: cell(nb, "set-up").update(id="by-hand"), "the id is that of cell 2"),
    ("ids", lambda nb: cell(nb, "set-up").update(id="1f3d2c4b"), "at random"),
    ("ids", lambda nb: cell(nb, "set-up").pop("id"), "no id"),
    ("cell_metadata", meta("set-up", scrolled=True), "scrolled"),
    ("tags", meta("set-up", tags=["hide_input"]), "unknown tag hide_input"),
    ("tags", meta("two-backwards", tags=["raises-exception", "hide-input"]), "not sorted"),
    ("tags", meta("two-backwards", tags=["keep_output"]), "only one of"),
    ("tags", meta("extra-code-3", tags=["skip-execution"]), "without a reason"),
    ("outputs", field("two-backwards", outputs=[PRINTED]), "an output is stored"),
    ("outputs", field("two-backwards", execution_count=3), "execution count"),
    ("outputs", stored(), "none is stored"),
    ("outputs", stored(IMAGE), "not plain text"),
    ("outputs", stored(STDERR), "not plain text"),
    ("set_up", replace("set-up", "runtime.set_seed(0)", ""), "set_seed"),
    ("set_up", replace("set-up", "style.use_style()", ""), "use_style"),
    ("set_up", meta("set-up", tags=["hide-input"]), "hidden"),
    ("code_count", remove(*(f"extra-code-{i}" for i in range(14))), "code cells"),
    ("code_count", lambda nb: [c.update(source="x\n" * 9) for c in nb.cells if "extra-code" in c.id], "median"),
    ("code_length", code("x\n" * 26), "26 lines"),
    ("code_content", code("x = = 1"), "not valid Python"),
    ("code_content", code("from torch import *"), "from torch import *"),
    ("code_content", code("!pip install torch"), "shell"),
    ("code_content", code("%pip install torch"), "shell"),
    ("code_content", code("files = !ls"), "shell"),
    ("code_content", code("%%bash\nls"), "shell"),
    ("offline_code", code("import urllib.request"), "urllib.request"),
    ("offline_code", code("from requests import get"), "requests"),
    ("offline_code", code('path = "https://example.org/set.zip"'), "names a host"),
    ("offline_code", code("x  # see pytorch.org"), "pytorch.org"),
    ("offline_code", code('open("/home/ada/numbers.txt")'), "/home/ada"),
    ("offline_code", code('open("C:\\\\Users\\\\ada\\\\x.txt")'), "absolute path"),
    ("figures", meta("three-paths", mystnb={}), "no caption"),
    ("figures", figure(caption=" "), "no caption"),
    ("figures", figure(name="fig-08-paths"), "fig-08-paths"),
    ("figures", figure(alt="a chart"), "'a chart'"),
    ("figures", meta("explore-path", mystnb={}), "no caption"),
    ("figures_read", replace("read-three-paths", "{numref}`fig-07-paths`", "the figure"), "fig-07-paths"),
    ("explore", lambda nb: cell(nb, "explore-path").update(source="draw_path(0.3)"), "no Explore"),
    ("glue", replace("glue-last-guess", '"07-last-guess"', '"last-guess"'), "does not begin with 07-"),
    ("glue", text("It ends at {glue:text}`07-nowhere`."), "07-nowhere"),
]  # fmt: skip

ALONG = {
    "opening": {"recap", "set_up"},
    "file_name": {"quiz", "exercises", "figures", "glue"},
    "ids": {"notebook_format"},
    "figures": {"figures_read"},
}
"""Rules that cannot help firing together with another, because the number or the first cell is wrong for them too."""


def test_the_whole_chapter_keeps_every_rule(whole):
    assert notebook_rules.check(whole) == []
    assert CODE_CELLS[0] <= len(whole.code) <= CODE_CELLS[1]


@pytest.mark.parametrize(("rule", "mutate", "words"), BREAKS, ids=[f"{i}-{b[0]}" for i, b in enumerate(BREAKS)])
def test_rule_fires(chapter, rule, mutate, words):
    if isinstance(mutate, str):
        chapter = Chapter(chapter.path.with_name(mutate), chapter.nb)
    else:
        mutate(chapter.nb)
    found = notebook_rules.check(chapter)
    messages = [str(finding) for finding in found if finding.rule == rule]
    assert any(words in message for message in messages), [str(finding) for finding in found]
    assert {finding.rule for finding in found} <= {rule} | ALONG.get(rule, set()), "a rule fired that should not"


@pytest.mark.parametrize(("source", "rules"), [("yours = ...\n" + "x\n" * 20, set()), ("x\n" * 21, {"code_count"})])
def test_the_cells_for_answers_count_neither_in_number_nor_in_length(chapter, source, rules):
    chapter.nb.cells += [new_code_cell(source, id=f"more-{i}") for i in range(30)]
    assert {finding.rule for finding in notebook_rules.check(chapter)} == rules


def test_every_rule_is_broken_above():
    assert {rule for rule, _, _ in BREAKS} == {rule.__name__ for rule in notebook_rules.RULES}


def test_a_finding_says_where_what_and_how(chapter):
    code("x\n" * 30)(chapter.nb)
    (finding,) = notebook_rules.check(chapter)
    place = index(chapter.nb, "broken") + 1
    assert f"07_example.ipynb, cell {place} (id broken): the code has 30 lines.\n    At most 25" in str(finding)
    assert str(finding).endswith("[code_length]")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("figure, ax = plt.subplots()\nax.plot(x)", True),
        ("ax = plotting.plot_curve(x)", True),
        ("history.plot();", True),
        ("Explore(draw, lr=[1, 2])", True),
        ("made = Explore(draw, lr=[1, 2])\nmade", True),
        ("made = Explore(draw, lr=[1, 2])", False),
        ("made = explore.Explore(draw, lr=[1, 2])\ndisplay(made)", True),
        ("def draw(lr):\n    figure, ax = plt.subplots()\n    return figure", False),
        ("figure, ax = plt.subplots()\nplt.close(figure)", False),
        ("loss.item()", False),
        ("w", False),
    ],
)
def test_which_cells_show_a_figure(source, expected):
    made = Chapter(Path("07_x.ipynb"), nbformat.v4.new_notebook(cells=[new_code_cell(source)]))
    assert shows_figure(made.code[0]) is expected


def test_glue_in_a_loop_is_understood(chapter):
    code('for i in range(3):\n    check.glue(f"07-layer-{i}-norm", i)')(chapter.nb)
    text("See {glue:text}`07-layer-2-norm`.")(chapter.nb)
    assert notebook_rules.check(chapter) == []


def test_glue_under_the_name_in_a_variable_is_understood(chapter):
    code("for name, value in norms.items():\n    check.glue(name, value)")(chapter.nb)
    text("See {glue:text}`07-norm`.")(chapter.nb)
    assert notebook_rules.check(chapter) == []
    text("See {glue:text}`08-norm`.")(chapter.nb)
    assert [finding.rule for finding in notebook_rules.check(chapter)] == ["glue"]


def test_a_name_that_two_chapters_use_is_found(whole, chapter):
    other = Chapter(chapter.path.with_name("08_other.ipynb"), chapter.nb)
    findings = notebook_rules.check_book([whole, other])
    assert {finding.path for finding in findings} == {other.path}
    assert any("'fig-07-paths' is already used in 07_example.ipynb" in str(finding) for finding in findings)
    assert notebook_rules.check_book([whole]) == []


def test_an_example_of_a_directive_is_not_a_directive():
    shown = "````\n```{exercise} Not one\n:label: ex-1\n```\n````"
    assert list(myst.walk(shown)) == []
    assert myst.words(shown) == 0


def test_the_template_keeps_every_rule_but_the_lengths():
    template = read(TEMPLATE)
    assert template.is_template
    assert notebook_rules.check(template) == []
    lengths = [problem for rule in notebook_rules.LENGTHS for problem in rule(template)]
    assert lengths, "the template has a chapter's length; it need not be excused"


@pytest.mark.parametrize("path", find([]), ids=lambda path: path.stem)
def test_every_notebook_of_the_book_keeps_the_rules(path):
    findings = notebook_rules.check(read(path))
    assert not findings, "\n" + "\n".join(map(str, findings))


def test_no_name_is_used_twice_in_the_book():
    findings = notebook_rules.check_book([read(path) for path in find([])])
    assert not findings, "\n" + "\n".join(map(str, findings))


def test_fix_puts_every_untidy_thing_right(chapter):
    nb = chapter.nb
    notebook(widgets={"state": {}}, jupytext={}, language_info={"name": "python", "version": "3.9"})(nb)
    field("two-backwards", outputs=[PRINTED], execution_count=7)(nb)
    meta("extra-code-3", tags=["raises-exception", "hide-input"], scrolled=True)(nb)
    meta("extra-code-4", tags=["keep_output"])(nb)
    field("extra-code-4", outputs=[PRINTED])(nb)
    cell(nb, "extra-code-5").pop("id")
    cell(nb, "extra-code-6").update(id="0a1b2c3d")
    cell(nb, "extra-code-7").update(id="set-up")
    nb.nbformat_minor = 4
    fixed, done = notebook_mend.fix(chapter)
    report = "\n".join(done)
    for said in ("4.4 -> 4.5", "jupytext, widgets", "output removed", "count cleared", "scrolled", "tags sorted"):
        assert said in report
    again = Chapter(chapter.path, fixed)
    assert {finding.rule for finding in notebook_rules.check(again)} == {"tags"}, "only keep_output alone is left"
    assert cell(fixed, "gradient-three-ways").outputs == cell(chapter.nb, "gradient-three-ways").outputs
    assert cell(fixed, "x-5").source == "x + 5"
    assert len({c.id for c in fixed.cells}) == len(fixed.cells)
    assert notebook_mend.fix(again) == (fixed, []), "a second fix changes nothing"


def test_fix_does_not_depend_on_the_random_ids(whole):
    def shuffled(first):
        nb = copy.deepcopy(whole.nb)
        for number, node in enumerate(nb.cells):
            node["id"] = f"{first + number:08x}"
        return notebook_mend.fix(Chapter(whole.path, nb))[0]

    assert shuffled(1) == shuffled(4_000)


def test_fix_writes_the_same_bytes_twice(book, capsys):
    path = notebook_mend.new_chapter("04_batches", "Batches", folder=book)
    assert notebooks.main(["fix", str(path)]) == 0
    first = path.read_bytes()
    assert first.endswith(b"}\n")
    assert not first.endswith(b"\n\n")
    assert b"\r" not in first
    path.write_bytes(first.replace(b"\n", b"\r\n"))
    assert notebooks.main(["fix", str(path)]) == 0
    assert path.read_bytes() == first
    assert "file layout normalised" in capsys.readouterr().out


def test_new_makes_a_chapter_and_lists_it(book):
    path = notebook_mend.new_chapter("04_batches", "  Batches, \n small and large ", folder=book)
    made = read(path)
    assert made.nb.cells[0].source.startswith("# Batches, small and large\n")
    assert not made.is_template
    everything = path.read_text(encoding="utf-8")
    assert "fig-04-paths" in everything
    assert re.search(r"\b(fig|ex|sol|quiz|eq)-00\b", everything) is None
    assert "00-last-guess" not in everything.replace("04-last-guess", "")
    rules = {finding.rule for finding in notebook_rules.check(made)}
    assert rules == {"leftovers", "word_count", "code_count"}, "what is left to do is the author's own work"
    toc = (book.parent / "_toc.yml").read_text(encoding="utf-8")
    before = "        title: Going down\n"
    assert toc == TOC.replace(before, before + "      - file: notebooks/04_batches\n")
    assert yaml.safe_load(toc)["parts"][1]["chapters"][1] == {"file": "notebooks/04_batches"}


def test_new_puts_a_first_and_a_last_chapter_in_their_places():
    first = notebook_mend.with_entry(TOC, "01_tensors")
    assert "chapters:\n      - file: notebooks/01_tensors\n      - file: notebooks/03_descent" in first
    last = notebook_mend.with_entry(TOC, "28_attention")
    assert "05_backprop\n      - file: notebooks/28_attention\n  - caption: At the back" in last


@pytest.mark.parametrize(
    ("name", "title", "words"),
    [
        ("attention", "Attention", "28_attention"),
        ("28_Attention", "Attention", "28_attention"),
        ("../28_attention", "Attention", "28_attention"),
        ("28_attention", " ", "needs a title"),
        ("05_backprop", "Again", "lists notebooks/05_backprop already"),
    ],
)
def test_new_refuses_what_it_cannot_do(book, name, title, words):
    with pytest.raises(ValueError, match=words):
        notebook_mend.new_chapter(name, title, folder=book)
    assert (book.parent / "_toc.yml").read_text(encoding="utf-8") == TOC
    assert [path.name for path in book.glob("*")] == ["_template.ipynb"]


def test_new_refuses_a_number_that_is_taken(book):
    notebook_mend.new_chapter("04_batches", "Batches", folder=book)
    with pytest.raises(ValueError, match=r"04 is taken by .*04_batches"):
        notebook_mend.new_chapter("04_other", "Other", folder=book)


def test_new_refuses_a_table_of_contents_without_chapters():
    with pytest.raises(ValueError, match="lists no chapter"):
        notebook_mend.with_entry("root: book/intro\n", "04_batches")


def _small(path, *cells):
    nb = nbformat.v4.new_notebook(cells=list(cells))
    path.write_text(nbformat.writes(nb), encoding="utf-8")
    return read(path)


def test_outputs_stores_what_is_printed_now(tmp_path):
    tags = {"tags": ["keep_output", "nbval-check-output"]}
    old = [new_output("stream", name="stdout", text="five\n")]
    chapter = _small(
        tmp_path / "07_x.ipynb",
        new_code_cell("import os", id="first"),
        new_code_cell("print(2 + 3); print(os.environ.get('BOOK_BUILD'))", id="kept", metadata=tags, outputs=old),
        new_code_cell("print('not kept')", id="other"),
    )
    (change,) = notebook_mend.refresh_outputs(chapter)
    assert "-five" in str(change)
    assert "+5" in str(change)
    again = read(chapter.path)
    assert [node.outputs for node in again.nb.cells] == [
        [],
        [new_output("stream", name="stdout", text="5\nNone\n")],
        [],
    ]
    assert all(node.execution_count is None for node in again.nb.cells)
    assert notebook_mend.refresh_outputs(again) == []


@pytest.mark.parametrize(("stored", "status"), [("5\n", 0), ("6\n", 1)])
def test_nbval_compares_exactly_the_outputs_that_are_kept(tmp_path, stored, status):
    """Without the hook in conftest.py nbval refuses stored outputs that have no execution count."""
    shutil.copy(ROOT / "conftest.py", tmp_path)
    tags = {"tags": ["keep_output", "nbval-check-output"]}
    outputs = [new_output("stream", name="stdout", text=stored)]
    _small(
        tmp_path / "07_x.ipynb",
        new_code_cell("print(2 + 3)", id="kept", metadata=tags, outputs=outputs),
        new_code_cell("print('whatever')", id="other"),
    )
    command = [sys.executable, "-m", "pytest", "--nbval-lax", "-p", "no:cacheprovider", "-q", "07_x.ipynb"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stdout
    assert ("1 failed, 1 passed" if status else "2 passed") in done.stdout


@pytest.mark.parametrize(
    ("source", "words"),
    [("1 / 0", "ZeroDivisionError"), ("x = 1", "shows nothing"), ("import sys; print(1, file=sys.stderr)", "stderr")],
)
def test_outputs_stores_nothing_when_the_run_is_not_good(tmp_path, source, words):
    tags = {"tags": ["keep_output", "nbval-check-output"]}
    chapter = _small(tmp_path / "07_x.ipynb", new_code_cell(source, id="kept", metadata=tags))
    before = chapter.path.read_bytes()
    with pytest.raises(RuntimeError, match=words):
        notebook_mend.refresh_outputs(chapter)
    assert chapter.path.read_bytes() == before


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    chapter = _small(tmp_path / "07_x.ipynb", new_code_cell("1", id="one"))
    before = chapter.path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(notebook_mend.os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        notebook_mend.write(chapter.nb, chapter.path)
    assert chapter.path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [chapter.path]


def test_find_takes_numbers_and_names(book):
    path = notebook_mend.new_chapter("04_batches", "Batches", folder=book)
    for name in ("4", "04", "04_batches", "04_batches.ipynb", str(path)):
        assert find([name], folder=book) == [path]
    with pytest.raises(ValueError, match=r"'99'.*04_batches"):
        find(["99"], folder=book)


@pytest.mark.parametrize("content", ["not JSON", "{}", '{"nbformat": 3, "nbformat_minor": 0, "worksheets": []}'])
def test_a_file_that_is_no_notebook_is_named(tmp_path, content, capsys):
    path = tmp_path / "07_x.ipynb"
    path.write_text(content, encoding="utf-8")
    assert notebooks.main(["check", str(path)]) == 2
    assert "07_x.ipynb" in capsys.readouterr().err


def test_a_draft_elsewhere_does_not_clash_with_the_chapter_it_will_replace(book, monkeypatch, capsys):
    path = notebook_mend.new_chapter("04_batches", "Batches", folder=book)
    draft = book.parent / "04_batches.ipynb"
    shutil.copy(path, draft)
    monkeypatch.setattr(notebooks, "NOTEBOOKS", book)
    monkeypatch.setattr(notebooks, "find", lambda names: [Path(name) for name in names] or [path])
    assert notebooks.main(["check", str(draft)]) == 1
    assert "already used" not in capsys.readouterr().out
    shutil.copy(path, book / "06_twin.ipynb")
    assert notebooks.main(["check", str(book / "06_twin.ipynb")]) == 1
    assert "already used in 04_batches.ipynb" in capsys.readouterr().out


def test_the_command_line_fails_on_a_broken_rule(whole, tmp_path):
    path = tmp_path / "07_example.ipynb"
    nb = copy.deepcopy(whole.nb)
    code("from torch import *")(nb)
    notebook_mend.write(nb, path)
    run = [sys.executable, "-m", "tools.notebooks", "check", str(path)]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "[code_content]" in done.stdout
    assert "1 to mend" in done.stdout
    nb.cells[index(nb, "broken")] = new_code_cell("x", id="broken")
    notebook_mend.write(nb, path)
    assert subprocess.run(run, cwd=ROOT, capture_output=True, check=False).returncode == 0
