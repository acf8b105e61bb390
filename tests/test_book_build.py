"""The strict build on a miniature book: what fails it, what it repeats, and when it is refused."""

import pytest
import small_book
from filelock import FileLock
from small_book import TOC, build, write_notebook

from tools.build import begin


@pytest.fixture
def book(tmp_path):
    return small_book.make(tmp_path)


def test_a_sound_book_builds_and_an_edit_in_helpers_executes_it_again(book):
    status, output = build(book)
    assert status == 0, output
    assert "notebooks: 1 executed now, 0 unchanged" in output
    assert "42" in (book / "_build/html/notebooks/01_small.html").read_text()
    assert 'class="katex"' in (book / "_build/html/book/intro.html").read_text()

    status, output = build(book)
    assert status == 0, output
    assert "notebooks: 0 executed now, 1 unchanged" in output

    page = (book / "_build/html/notebooks/01_small.html").read_text()
    assert "_sources/notebooks/01_small.ipynb" in page
    assert "colab.research" not in page  # no repository is known, so there is no button

    (book / "helpers" / "runtime.py").open("a").write("\n# edited\n")
    status, output = build(book, BOOK_REPOSITORY="owner/name")
    assert status == 0, output
    assert "notebooks: 1 executed now, 0 unchanged" in output
    page = (book / "_build/html/notebooks/01_small.html").read_text()
    assert "/github/owner/name/blob/colab/notebooks/01_small.ipynb" in page


def test_faults_fail_the_build_and_are_named(book):
    write_notebook(book, "# One", "1 / 0")
    status, output = build(book)
    assert status != 0
    assert "notebooks/01_small.ipynb, cell 2 (id c1)" in output
    assert "ZeroDivisionError" in output

    write_notebook(book, "# One\n\n{doc}`nowhere` and $\\frac{1$ and {numref}`fig-nowhere`")
    status, output = build(book)
    assert status != 0
    assert "unknown document" in output
    assert "this formula can't be typeset" in output
    assert "undefined label: 'fig-nowhere'" in output

    status, output = build(book)  # unchanged: the fault must not be forgotten
    assert status != 0
    assert "this formula can't be typeset" in output


def test_words_lead_to_the_glossary_and_back(book):
    glossary, terms = book / "book" / "glossary.md", "tensor\ntensors\n  Numbers on a grid.\n"
    (book / "_toc.yml").write_text(TOC + "  - file: book/glossary\n")
    write_notebook(book, "# One\n\nA **tensor** it is, and once more a **tensor**.")
    glossary.write_text(f"# Words\n\n```{{glossary}}\n{terms}\nstray\n  Nobody says so.\n```\n")
    status, output = build(book)
    assert status != 0
    assert "no chapter introduces stray in bold" in output

    glossary.write_text(f"# Words\n\n```{{glossary}}\n{terms}```\n")
    status, output = build(book)
    assert status == 0, output
    page = (book / "_build/html/notebooks/01_small.html").read_text()
    assert page.count('book/glossary.html#term-tensor" title="Numbers on a grid."><strong>tensor</strong></a>') == 1
    assert '<a class="reference internal" href="../notebooks/01_small.html">One</a>' in (
        book / "_build/html/book/glossary.html"
    ).read_text().replace("<span>One</span>", "One")


def test_a_second_build_at_the_same_time_is_refused_with_one_sentence(book):
    lock = book / "_build" / ".cache" / "build.lock"
    lock.parent.mkdir(parents=True)
    with FileLock(lock):
        status, output = build(book)
    assert status != 0
    assert "another build of this book is running; wait until it has ended, then build again." in output
    assert "Traceback" not in output


def test_a_build_folder_that_cannot_be_written_is_named(book):
    (book / "_build").mkdir()
    (book / "_build" / ".cache").write_text("a file where the folder should be")
    status, output = build(book)
    assert status != 0
    assert "can't be written" in output
    assert "Traceback" not in output


def test_a_damaged_mark_of_the_last_build_counts_as_none(tmp_path):
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "finished").write_bytes(b"\xff\xfe\x00")
    pages = tmp_path / "html"
    pages.mkdir()
    (pages / "old.html").write_text("old")
    begin(tmp_path, pages)
    assert list(pages.iterdir()) == []
    assert not (tmp_path / ".cache" / "finished").exists()
