"""The comparison of two builds sees what differs; one short chapter, run twice, gives the same bytes."""

import json
import os

import pytest

from tools import execution, same
from tools.chapter import find, read
from tools.same_outputs import differences, first_difference, numbers


def notebook(*outputs):
    """An executed notebook of one cell as JSON."""
    return json.dumps({"cells": [{"id": "one", "cell_type": "code", "outputs": list(outputs)}, {"id": "text"}]})


def printed(text):
    return {"output_type": "stream", "name": "stdout", "text": [text]}


def glued(value):
    kind = "application/papermill.record/text/plain"
    return {"data": {kind: repr(value)}, "metadata": {"scrapbook": {"name": "07-loss"}}}


def drawn(svg):
    return {"data": {"image/svg+xml": [svg]}, "metadata": {}}


def test_the_first_difference_says_where():
    assert first_difference("a\nbcd", "a\nbxd", around=2) == "character 2 of line 2: 'bcd' | 'bxd'"
    assert first_difference("ab", "abc") == "character 3 of line 1: 'ab' | 'abc'"


@pytest.mark.parametrize(
    ("one", "two", "said"),
    [
        (printed("loss 0.25\n"), printed("loss 0.26\n"), "cell one, stdout: character 9 of line 1"),
        (glued("0.25"), glued("0.26"), "cell one (07-loss), application/papermill"),
        (drawn("<svg id='a'/>"), drawn("<svg id='b'/>"), "cell one, image/svg+xml: character 10"),
        (printed("loss"), glued("0.25"), "the cells have other outputs"),
    ],
)
def test_an_output_that_differs_is_named(one, two, said):
    assert differences(notebook(one), notebook(one)) == []
    assert said in differences(notebook(one), notebook(two))[0]


@pytest.mark.parametrize(
    ("one", "two", "differ", "apart"),
    [
        (printed("loss 0.250, 1,200 steps"), printed("loss 0.250, 1,200 steps"), 0, 0),
        (printed("loss 0.250"), printed("loss 0.251"), 1, 0),
        (printed("loss  0.25"), printed("loss 0.50"), 1, 1),
        (glued("−0.25"), glued("0.25"), 1, 1),
        (printed("residue 3e-17"), printed("residue 8e-17"), 1, 0),
        (printed("3 right"), printed("3 wrong"), 0, 1),
        (printed("3 right"), glued("3"), 0, 1),
    ],
)
def test_numbers_may_differ_by_the_tolerance_and_words_not_at_all(one, two, differ, apart):
    found = numbers(notebook(one), notebook(two), tolerance=0.05)
    assert (found.differ, len(found.apart)) == (differ, apart)


def test_what_is_said_of_rounding_and_threads_is_no_number_of_the_chapter():
    one = "ok  (largest difference 4.0e-16, allowed 1e-09), 1 thread"
    two = "ok  (largest difference 2.0e-16, allowed 1e-09), 2 threads"
    found = numbers(notebook(printed(one)), notebook(printed(two)), tolerance=0.05)
    assert (found.compared, found.differ, found.apart) == (0, 0, [])


def test_every_exception_is_a_cell_that_is_there():
    for table in (same.CLOCK, same.ROUNDING):
        for name, cells in table.items():
            (path,) = find([name[:2]])
            assert path.stem == name
            assert cells.keys() <= {cell.node.id for cell in read(path).code}


def test_figures_that_measure_time_are_left_out_and_no_others():
    page = '<figure id="fig-a"><svg>1</svg></figure><figure class="x" id="fig-b"><svg>2</svg></figure>'
    assert same.undated(page, ["fig-b"]) == '<figure id="fig-a"><svg>1</svg></figure>'
    assert differences(notebook(printed("1 s")), notebook(printed("2 s")), but=["one"]) == []


def test_the_worst_number_is_kept_and_other_pictures_are_counted():
    one, two = ([printed("1.00 2.00"), drawn(f"<svg id='{x}'/>")] for x in "ab")
    two[0] = printed("1.01 2.00")
    found = numbers(notebook(*one), notebook(*two), tolerance=0.05)
    assert (found.compared, found.differ, found.pictures) == (2, 1, 1)
    assert found.worst == pytest.approx(0.01 / 1.01)


def test_sites_differ_in_files_bytes_and_text_but_not_in_the_date_of_a_page(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    for site, day, word in ((one, "Nov 21, 2026", "x"), (two, "Nov 22, 2026", "y")):
        (site / "book").mkdir(parents=True)
        (site / "book" / "dated.html").write_text(f"<p>Last updated on {day}.</p>")
        (site / "book" / "page.html").write_text(f"<p>{word}</p>")
        (site / "font.woff2").write_bytes(word.encode() * 4)
        (site / f"{word}.css").touch()
        (site / "data.js").write_text(f"// Last updated on {day}")
    assert same.compare_sites(one, one) == []
    assert [line.split(": ")[0] for line in same.compare_sites(one, two)] == [
        "x.css", "y.css", "book/page.html", "data.js", "font.woff2",
    ]  # fmt: skip


def test_a_chapter_run_twice_gives_the_same_bytes(tmp_path, monkeypatch):
    """Numbers, drawings and a moving figure of chapter 5; `make same` does this with the whole book."""
    monkeypatch.setitem(os.environ, "BOOK_DATA", "embedded")
    paths = find(["05"])
    runs = []
    for name in same.FOLDERS:
        execution.execute(paths, tmp_path / name, threads=1, say=str)
        runs.append(same.executed(tmp_path / name))
    (text,) = runs[0].values()
    assert "data-explore" in text
    assert "image/svg+xml" in text
    assert same.compare_chapters(*runs) == []
