"""What a machine does to a build: kills, damage, no network, no home, no space, odd names, no end."""

import contextlib
import hashlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time

import nbformat
import pytest
import small_book
from small_book import KILLS, ODD, PLAIN_C, ROOT, build, isolated, posix, run, start, write_notebook

from tools import execution


@pytest.fixture
def book(tmp_path):
    return small_book.make(tmp_path / ODD)


def pages(book):
    """What each file of the site holds, by name.

    A build into a folder that holds a site adds the marks ``?v=`` to two more style sheets; they are left out.
    """
    site = book / "_build" / "html"
    content = {p.relative_to(site).as_posix(): re.sub(rb"\?v=[0-9a-f]{8}", b"", p.read_bytes()) for p in files(site)}
    return {name: hashlib.sha256(data).hexdigest() for name, data in content.items()}


def files(folder):
    return sorted(p for p in folder.rglob("*") if p.is_file())


@posix
@pytest.mark.parametrize("kills", KILLS, ids=["few", "many"])
def test_killed_at_random_moments_the_next_build_makes_the_same_site(book, kills):
    """In a folder whose name has spaces and is not ASCII, in a locale without UTF-8."""
    began = time.monotonic()
    status, output = build(book, **PLAIN_C)
    seconds = time.monotonic() - began
    assert status == 0, output
    whole = pages(book)
    assert "42" in (book / "_build/html/notebooks/01_small.html").read_text(encoding="utf-8")
    intro, rng = (book / "book" / "intro.md").read_text(encoding="utf-8"), random.Random(kills)
    killed = 0
    for number in range(kills):
        (book / "book" / "intro.md").write_text(f"{intro}\nLife {number}.\n", encoding="utf-8")
        write_notebook(book, "# One", f"print({number})")
        process = start(book, **PLAIN_C)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=rng.uniform(0.05, 1) * seconds)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        killed += process.returncode == -signal.SIGKILL
    assert killed
    for page in (book / "_build" / "html").rglob("*.html"):
        page.write_text("half", encoding="utf-8")  # as if the last one had been killed while it wrote
    (book / "_build" / ".cache" / "finished").unlink(missing_ok=True)
    (book / "book" / "intro.md").write_text(intro, encoding="utf-8")
    write_notebook(book, "# One", "print(6 * 7)")
    status, output = build(book, **PLAIN_C)
    assert status == 0, output
    assert pages(book) == whole


@posix
@pytest.mark.slow
def test_of_two_builds_at_once_one_builds_and_one_says_so(book):
    both = [start(book) for _ in range(2)]
    ended = sorted((process.communicate(timeout=300)[0], process.returncode) for process in both)
    said = {status: output for output, status in ended}
    assert set(said) == {0, 1}, ended
    assert "another build of this book is running" in said[1]
    assert "42" in (book / "_build/html/notebooks/01_small.html").read_text(encoding="utf-8")


@posix
@pytest.mark.slow
@pytest.mark.parametrize("what", [".cache/executed", ".doctrees"])
def test_a_damaged_cache_is_made_again(book, what):
    status, output = build(book)
    assert status == 0, output
    whole = pages(book)
    for number, path in enumerate(files(book / "_build" / what)):
        path.write_bytes(random.Random(number).randbytes(500))
    status, output = build(book)
    assert status == 0, output
    again = pages(book)
    assert {name for name in {*whole, *again} if whole.get(name) != again.get(name)} == set()


@posix
@pytest.mark.slow
def test_a_build_needs_no_network_and_no_home(book, tmp_path):
    """A figure as well: Matplotlib and Jupyter would like to write into the home."""
    (tmp_path / "home").mkdir()
    drawing = "from helpers import style\nstyle.use_style()\nimport matplotlib.pyplot as plt\nplt.plot([1, 2])\n"
    drawing += "plt.close()\nprint('drawn')"
    write_notebook(book, "# One", "print(6 * 7)", drawing)
    before = isolated(network=False, home=(tmp_path / "home", "ro"))
    status, output = build(book, *before, HOME=str(tmp_path / "home"))
    assert status == 0, output
    assert "42" in (book / "_build/html/notebooks/01_small.html").read_text(encoding="utf-8")


@posix
@pytest.mark.slow
@pytest.mark.parametrize("size", ["16k", "3m"], ids=["for the pages", "for what belongs to them"])
def test_a_full_disk_fails_the_build_and_is_named(book, size):
    (book / "_build").mkdir()
    status, output = build(book, *isolated(build=(book / "_build", f"size={size}")))
    assert status != 0
    assert "No space left on device" in output
    assert (
        output.strip().splitlines()[-1].endswith(f"{book / '_build'} is full; free some space there and build again.")
    )
    status, output = build(book)
    assert status == 0, output


def chapter(folder, name, *sources):
    cells = [nbformat.v4.new_code_cell(source, id=f"cell-{i}") for i, source in enumerate(sources)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / f"{name}.ipynb")
    return folder / f"{name}.ipynb"


DAMAGE = [b"", b"\xff\xfe\x00", b"[]", b"null", b'"x"', b'{"seconds": [], "run": {}, "notebook": 1}']


@pytest.mark.parametrize("damage", DAMAGE, ids=repr)
def test_any_damage_to_a_stored_execution_is_seen(tmp_path, damage):
    path, (entry,) = chapter(tmp_path, "01_a"), [tmp_path / "cache" / "01_a-key.json"]
    entry.parent.mkdir()
    entry.write_bytes(damage)
    assert execution._from_cache(path, "key", tmp_path / "cache") is None
    assert execution._last_seconds(path, tmp_path / "cache") == float("inf")


def test_a_loop_that_lets_no_interrupt_through_is_stopped_and_named(tmp_path, monkeypatch):
    monkeypatch.setattr(execution, "CELL_TIMEOUT", 2)
    stubborn = (
        "while True:\n    try:\n        while True:\n            pass\n    except KeyboardInterrupt:\n        pass"
    )
    path = chapter(tmp_path, "04_stubborn", "1 + 1", stubborn)
    with pytest.raises(execution.ExecutionError, match=r"04_stubborn.ipynb, cell 2 .*\n.*longer than 2 seconds"):
        execution.execute([path], tmp_path / "cache", say=str)


def test_a_full_disk_keeps_no_execution_and_is_named(tmp_path):
    (tmp_path / "cache").mkdir()
    code = (
        "import sys; from pathlib import Path; from tools import execution\n"
        "done = execution.Executed(Path('01_a.ipynb'), 'key', 'x' * 10**5, 1.0, cached=False)\n"
        "(Path(sys.argv[1]) / '01_a-old.json').write_text('old')\n"
        "try: execution._to_cache(done, Path(sys.argv[1]))\n"
        "except execution.ExecutionError as error: print(error, *[p.name for p in Path(sys.argv[1]).iterdir()])"
    )
    before = isolated(cache=(tmp_path / "cache", "size=64k"))
    said = run(*before, sys.executable, "-c", code, tmp_path / "cache")
    assert "can't be written (No space left on device): free some space on that disk." in said
    assert said.endswith(" 01_a-old.json")


OFFLINE = """
import os, pathlib, socket, sys
os.environ.pop("BOOK_DATA", None)
try:
    socket.create_connection(("1.1.1.1", 53), timeout=5)
    sys.exit("there is a network")
except OSError:
    pass
from tools import execution
cache, *paths = map(pathlib.Path, sys.argv[1:])
for result in execution.execute(paths, cache, say=str):
    print(result.text)
"""


@posix
def test_a_chapter_that_asks_for_real_data_runs_without_a_network(tmp_path):
    code = "from helpers import data\nprint(data.load_images().name, len(data.load_names().names))"
    ran = offline(tmp_path, [chapter(tmp_path, "05_data", code)])
    printed = "".join(line for output in json.loads(ran)["cells"][0]["outputs"] for line in output["text"])
    assert "Fashion-MNIST is not to be had here, so you get scikit-learn's 8 x 8 digits: no network" in printed
    assert printed.splitlines()[-1].startswith("Digits 13")


@posix
@pytest.mark.slow
def test_every_chapter_runs_without_a_network(tmp_path):
    offline(tmp_path, sorted((ROOT / "notebooks").glob("[0-9]*.ipynb")), limit=3600)


def offline(tmp_path, paths, **more):
    """Run notebooks as a reader would, wanting the real data, where no address answers but this machine's own."""
    before = isolated(network=False)
    return run(*before, sys.executable, "-c", OFFLINE, tmp_path / "cache", *paths, BOOK_DATA_DIR=tmp_path / "d", **more)
