"""Chapters run alone, from any folder, in any order, twice in one kernel, under nbconvert, papermill and VS Code.

Each circumstance must print the same checked numbers as a run of the chapter alone. The quick form takes the template,
which has one of everything, and a chapter with an error on purpose and an IPython magic; with ``BOOK_SLOW=1`` it is
every chapter, in a random order that ``BOOK_ORDER`` repeats.

Chapters have no parameters by design: a cell tagged `parameters` would be a second place where numbers of the prose are
set. Papermill then puts its assignments on top, where they must do no harm; data and device are chosen by the
environment (``BOOK_DATA``, ``BOOK_DEVICE``).
"""

import functools
import os
import random
import shutil

import circumstances
import nbformat
import pytest
from circumstances import Trouble
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tools import warm_kernels
from tools.chapter import TEMPLATE, find

ORDER = os.environ.get("BOOK_ORDER") or os.environ.get("PYTEST_XDIST_TESTRUNUID") or str(random.randrange(10**6))
"""What the random order follows from; one for all processes of a run of pytest."""

PARAMETERS = {"BOOK_DATA": "embedded", "epochs": 2, "batch_size": 3, "lr": 0.5, "seed": 7, "verbose": True}
QUICK = ("_template", "06_autograd_engine")


def chapters(*quick):
    """The parameter `path`: every chapter in random order; all but those named in `quick` are marked slow."""
    paths = sorted({TEMPLATE, *find([])})
    random.Random(ORDER).shuffle(paths)
    paths.sort(key=lambda path: path.stem not in QUICK)
    return pytest.mark.parametrize(
        "path",
        [
            pytest.param(
                path,
                id=path.stem,
                marks=[pytest.mark.xdist_group(path.stem), *([] if path.stem in quick else [pytest.mark.slow])],
            )
            for path in paths
        ],
    )


@pytest.fixture(scope="module", autouse=True)
def _kernels():
    warm_kernels.use(int(os.environ.get("OMP_NUM_THREADS", "1")))


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """One folder far from the book for all chapters; what they leave in it, the next one would find."""
    folder = tmp_path_factory.mktemp("anywhere") / "My notes – Übung é 学习"
    folder.mkdir()
    return folder


@pytest.fixture
def leaves_nothing(elsewhere):
    """The folder `elsewhere`; a file that is left in it fails the test."""
    yield elsewhere
    left = sorted(path.name for path in elsewhere.iterdir())
    for name in left:
        shutil.rmtree(elsewhere / name) if (elsewhere / name).is_dir() else (elsewhere / name).unlink()
    assert left == [], f"the chapter left files in the reader's folder (BOOK_ORDER={ORDER})"


@pytest.fixture
def folder(tmp_path):
    """A folder for a tool's own files."""
    return tmp_path


@functools.cache
def read(path):
    """A notebook, read once."""
    return nbformat.read(path, as_version=4)


@functools.cache
def runs(path, elsewhere):
    """The cells of a run alone, and of a second one in the same kernel."""
    return circumstances.twice(read(path), elsewhere)


def reference(path, elsewhere):
    """What the chapter prints alone; the other circumstances are held against it."""
    return circumstances.printed(runs(path, elsewhere)[0])


@chapters(*QUICK)
def test_alone_from_another_folder(path, leaves_nothing):
    cells = reference(path, leaves_nothing)
    assert circumstances.checked(cells)
    circumstances.compare_stored(cells, read(path))


@chapters(*QUICK)
def test_twice_in_one_kernel(path, leaves_nothing):
    second = circumstances.printed(runs(path, leaves_nothing)[1])
    circumstances.compare(second, reference(path, leaves_nothing))
    circumstances.compare_stored(second, read(path))


@chapters("_template")
def test_under_nbconvert(path, elsewhere, folder):
    circumstances.compare(circumstances.by_nbconvert(path, folder), reference(path, elsewhere))


@chapters(*QUICK)
def test_with_injected_parameters(path, leaves_nothing):
    assert not any("parameters" in circumstances.tags(cell) for cell in read(path).cells)
    cells = circumstances.with_parameters(read(path), leaves_nothing, **PARAMETERS)
    circumstances.compare(cells, reference(path, leaves_nothing))


@chapters("06_autograd_engine")
def test_as_a_script_of_vscode_cells(path, elsewhere, folder):
    circumstances.compare(circumstances.as_percent_script(read(path), folder), reference(path, elsewhere))


LINE = "print('x: by hand 1 = code {}  (exactly equal)')"


def notebook(*sources):
    """A notebook that needs no PyTorch."""
    cells = [new_markdown_cell("# Title", id="title")]
    cells += [new_code_cell(source, id=f"cell-{i}") for i, source in enumerate(sources)]
    return new_notebook(cells=cells, metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}})


def test_what_stays_from_the_first_run_is_noticed(tmp_path):
    counts = "n = globals().get('n', 0) + 1\n" + LINE.replace("print('", "print(f'").format("{n}")
    once = "assert 'seen' not in globals()\nseen = 1"
    first, second = circumstances.twice(notebook(counts, once), tmp_path)
    cells = circumstances.printed(first)
    assert circumstances.checked(cells) == [("cell-0", "x: by hand 1 = code 1  (exactly equal)")]
    with pytest.raises(Trouble, match="cell-1: AssertionError"):
        circumstances.printed(second)
    with pytest.raises(Trouble, match="code 2"):
        circumstances.compare(circumstances.printed(second[:1]), cells)


def test_a_file_beside_the_chapter_is_noticed(tmp_path):
    cells = circumstances.alone(notebook("open('06_autograd_engine.ipynb')"), tmp_path)
    with pytest.raises(Trouble, match="cell-0: FileNotFoundError"):
        circumstances.printed(cells)


def test_injected_parameters_reach_the_chapter(tmp_path):
    nb = notebook(LINE.format("{before}").replace("print('", "before = globals().get('lr')\nprint(f'"), "pass")
    cells = circumstances.with_parameters(nb, tmp_path, lr=0.25)
    assert circumstances.checked(cells) == [("cell-0", "x: by hand 1 = code 0.25  (exactly equal)")]


def test_cells_of_the_percent_form(tmp_path):
    sources = ("%xmode Minimal\nx = 1", '"""\n# a comment\n"""\nx += 1', LINE.format("2"), "1 / 0")
    nb = notebook(*sources)
    with pytest.raises(Trouble, match="the cell cell-3 failed"):
        circumstances.as_percent_script(nb, tmp_path)
    nb.cells[-1].metadata["tags"] = ["raises-exception"]
    cells = circumstances.as_percent_script(nb, tmp_path)
    assert [name for name, _ in cells] == [f"cell-{i}" for i in range(4)]
    assert circumstances.checked(cells) == [("cell-2", "x: by hand 1 = code 2  (exactly equal)")]


def test_a_number_that_differs_or_is_missing_is_noticed():
    one, two = ([("a", LINE[7:-2].format(n))] for n in (1, 2))
    circumstances.compare(one, list(one))
    with pytest.raises(Trouble, match="cell a"):
        circumstances.compare(one, two)
    with pytest.raises(Trouble, match="0 checked numbers, expected 1"):
        circumstances.compare([], one)
