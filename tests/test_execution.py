"""Running notebooks: cached by everything that can change their outputs, and clear when one fails."""

import json

import nbformat
import pytest

from tools import execution


def write(folder, name, *sources):
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(source, id=f"cell-{i}") for i, source in enumerate(sources)],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
    )
    path = folder / f"{name}.ipynb"
    nbformat.write(notebook, path)
    return path


@pytest.fixture
def helpers(tmp_path):
    folder = tmp_path / "helpers"
    folder.mkdir()
    (folder / "thing.py").write_text("answer = 1\n")
    return folder


def test_unchanged_notebooks_are_not_executed_again_and_keep_their_outputs(tmp_path, helpers):
    path = write(tmp_path, "01_a", "import os; print(os.getpid())")
    first = execution.execute([path], tmp_path / "cache", helpers=helpers, say=str)[0]
    second = execution.execute([path], tmp_path / "cache", helpers=helpers, say=str)[0]
    assert not first.cached
    assert second.cached
    assert second.text == first.text  # the process number that it printed shows that it did not run again


@pytest.mark.parametrize("change", ["notebook", "helpers", "data"])
def test_an_edit_re_executes(tmp_path, helpers, change, monkeypatch):
    monkeypatch.delenv("BOOK_DATA", raising=False)
    path = write(tmp_path, "01_a", "print(1)")
    execution.execute([path], tmp_path / "cache", helpers=helpers, say=str)
    if change == "notebook":
        write(tmp_path, "01_a", "print(2)")
    elif change == "helpers":
        (helpers / "thing.py").write_text("answer = 2\n")
    else:
        monkeypatch.setenv("BOOK_DATA", "full")
    assert not execution.execute([path], tmp_path / "cache", helpers=helpers, say=str)[0].cached


def test_another_installed_version_changes_the_key(helpers, monkeypatch):
    before = execution.environment_key(helpers)
    monkeypatch.setattr(execution, "_installed", lambda: "3.12\ntorch==0.0.1")
    assert execution.environment_key(helpers) != before


def test_a_damaged_cache_entry_is_run_again(tmp_path, helpers):
    path = write(tmp_path, "01_a", "print(1)")
    result = execution.execute([path], tmp_path / "cache", helpers=helpers, say=str)[0]
    (entry,) = (tmp_path / "cache").glob("*.json")
    entry.write_text(entry.read_text()[:40])
    again = execution.execute([path], tmp_path / "cache", helpers=helpers, say=str)[0]
    assert not again.cached
    assert json.loads(again.text)["cells"] == json.loads(result.text)["cells"]


def test_a_failing_cell_is_named_with_its_traceback_and_the_others_still_run(tmp_path, helpers):
    good = write(tmp_path, "01_good", "print(1)")
    bad = write(tmp_path, "02_bad", "x = 1", "def f():\n    return x / 0\nf()", "print('never')")
    with pytest.raises(execution.ExecutionError) as error:
        execution.execute([bad, good], tmp_path / "cache", helpers=helpers, say=str)
    message = str(error.value)
    assert "notebooks/02_bad.ipynb, cell 2 (id cell-1)" in message
    assert "return x / 0" in message
    assert "ZeroDivisionError" in message
    assert "\x1b" not in message
    assert execution.execute([good], tmp_path / "cache", helpers=helpers, say=str)[0].cached


def test_a_cell_that_never_ends_is_stopped_and_named(tmp_path, helpers, monkeypatch):
    monkeypatch.setattr(execution, "CELL_TIMEOUT", 2)
    path = write(tmp_path, "03_loop", "while True:\n    pass")
    with pytest.raises(execution.ExecutionError, match=r"03_loop.ipynb, cell 1 .*\n.*longer than 2 seconds"):
        execution.execute([path], tmp_path / "cache", helpers=helpers, say=str)


def test_kernels_share_the_cores(tmp_path, helpers):
    code = "import os; print(os.environ['OMP_NUM_THREADS'], os.environ['BOOK_BUILD'])"
    paths = [write(tmp_path, f"0{i}_a", code) for i in range(2)]
    said = []
    results = execution.execute(paths, tmp_path / "cache", helpers=helpers, workers=2, say=said.append)
    threads = int(json.loads(results[0].text)["cells"][0]["outputs"][0]["text"][0].split()[0])
    cores = (
        len(execution.os.sched_getaffinity(0))
        if hasattr(execution.os, "sched_getaffinity")
        else execution.os.cpu_count()
    )
    assert threads == max(1, cores // 2)
    assert said[0].startswith("executing 2 of 2 notebooks (2 at a time")


def test_two_runs_give_the_same_bytes(tmp_path):
    figure = "from helpers import style\nstyle.use_style()\nimport matplotlib.pyplot as plt\nplt.plot([1, 2]);"
    lines = "import sys, time\nfor i in range(3):\n    print(i); sys.stdout.flush(); time.sleep(0.3)"
    dated = "import io\nout = io.StringIO()\nplt.plot([1, 2])\nplt.savefig(out, format='svg')\nprint(out.getvalue())"
    path = write(tmp_path, "01_a", figure, lines, dated)
    runs = [execution.execute([path], tmp_path / str(i), say=str)[0].text for i in range(2)]
    assert "image/svg+xml" in runs[0]
    assert runs[0] == runs[1]
