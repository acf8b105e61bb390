"""The strict build on a miniature book: what fails it, what it repeats, and what a killed build leaves behind."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from filelock import FileLock

ROOT = Path(__file__).resolve().parents[1]
TOC = "format: jb-book\nroot: book/intro\nchapters:\n  - file: notebooks/01_small\n  - file: book/references\n"


def write_notebook(book, *cells):
    made = [
        nbformat.v4.new_markdown_cell(text, id=f"c{i}")
        if text.startswith("#")
        else nbformat.v4.new_code_cell(text, id=f"c{i}")
        for i, text in enumerate(cells)
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    nbformat.write(nbformat.v4.new_notebook(cells=made, metadata=kernel), book / "notebooks" / "01_small.ipynb")


@pytest.fixture
def book(tmp_path):
    """A copy of the book's configuration and extensions with one small chapter."""
    shutil.copytree(ROOT / "book", tmp_path / "book")
    shutil.copytree(ROOT / "tools", tmp_path / "tools")
    shutil.copytree(ROOT / "helpers", tmp_path / "helpers")
    shutil.copy(ROOT / "_config.yml", tmp_path)
    (tmp_path / "_toc.yml").write_text(TOC)
    (tmp_path / "book" / "intro.md").write_text("# Small\n\nWith $x^2$ and {doc}`../notebooks/01_small`.\n")
    (tmp_path / "notebooks").mkdir()
    write_notebook(tmp_path, "# One", "print(6 * 7)")
    return tmp_path


def start(book, **more):
    env = dict(os.environ, PYTHONPATH=str(book), PYTHONUNBUFFERED="1", NO_COLOR="1", **more)
    return subprocess.Popen(
        [sys.executable, "-m", "tools.build"],
        cwd=book,
        env=env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # a group of its own, so that a test can kill the build with its kernels
    )


def build(book, **more):
    process = start(book, **more)
    output, _ = process.communicate(timeout=300)
    return process.returncode, output


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


@pytest.mark.skipif(os.name != "posix", reason="kills a process group")
def test_a_killed_build_does_not_poison_the_next(book):
    status, output = build(book)
    assert status == 0, output
    (book / "book" / "intro.md").open("a").write("\nMore.\n")
    process = start(book)
    for line in process.stdout:
        if "reading sources" in line:
            break
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for page in (book / "_build").rglob("*.html"):  # as if it had been killed in the middle of writing
        page.write_text("half")
    status, output = build(book)
    assert status == 0, output
    pages = [p for p in (book / "_build/html").rglob("*.html") if "_static" not in p.parts]
    assert pages
    assert not [p for p in pages if p.read_text() == "half"]


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
