"""The judgement on a Colab copy that was run on the imitation of Colab; `make colab-check` runs them."""

import json
import subprocess
from pathlib import Path

import pytest
from nbformat.v4 import new_code_cell, new_output

from tools import colab, colab_check
from tools.snapshot import snapshot

ENV = Path("/somewhere/colab-env")
GOOD = {
    colab.INSTALL_ID: "Installed the book's helpers, version 0123456.\n",
    "busy": "6.5\n",
    "install-again": "The book's helpers are installed already.\n",
    "look": json.dumps({"helpers": str(ENV / "lib" / "helpers" / "__init__.py"), "same": True}),
}


def judged(**other):
    """What is found in a run whose cells printed what they should, but for `other`."""
    printed = GOOD | {name.replace("_", "-"): text for name, text in other.items()}
    cells = {}
    for name, text in printed.items():
        cells[name] = new_code_cell("", outputs=[new_output("stream", name="stdout", text=text)] if text else [])
        times = {"iopub.execute_input": "2026-01-01T00:00:00.000Z", "shell.execute_reply": "2026-01-01T00:00:07.500Z"}
        cells[name].metadata["execution"] = times
    found = colab_check.Found()
    colab_check._judge(cells, found, ENV)
    return found


def test_a_good_run_has_no_faults_and_its_times():
    found = judged()
    assert (found.faults, found.setup, found.busy) == ([], 7.5, 6.5)


@pytest.mark.parametrize(
    ("other", "fault"),
    [
        ({"install_helpers": ""}, "the set-up cell said ''"),
        ({"install_again": "Installed the book's helpers, version 0123456.\n"}, "the set-up cell, run twice, said"),
        ({"busy": "31"}, "kept the processor busy for 31 s"),
        ({"look": json.dumps({"helpers": "/home/x/book/helpers/__init__.py", "same": True})}, "imported from /home/x"),
        ({"look": json.dumps({"helpers": str(ENV / "helpers"), "same": False})}, "not the one from before"),
    ],
)
def test_each_fault_is_named(other, fault):
    (said,) = judged(**other).faults
    assert fault in said


def test_the_list_of_packages_is_exact_and_admits_what_the_book_needs():
    lines = colab_check.PACKAGES.read_text(encoding="utf-8").splitlines()
    listed = [line for line in lines if not line.startswith("#")]
    assert all("==" in line for line in listed)
    assert {"torch", "torchvision", "numpy", "matplotlib"} < {line.split("==")[0] for line in listed}


def test_a_snapshot_has_what_is_new_and_changed_but_not_what_is_ignored_or_removed(tmp_path):
    source, made = tmp_path / "source", tmp_path / "made"
    source.mkdir()
    subprocess.run(["git", "init", "--quiet"], cwd=source, check=True)
    for name in ("old", "gone", "ignored", ".gitignore"):
        (source / name).write_text("ignored\n" if name == ".gitignore" else "1")
    subprocess.run(["git", "add", "."], cwd=source, check=True)
    (source / "gone").unlink()
    (source / "old").write_text("2")
    (source / "new").write_text("3")
    sha = snapshot(made, source)
    files = subprocess.check_output(["git", "ls-tree", "--name-only", sha], cwd=made, text=True).split()
    assert files == [".gitignore", "new", "old"]
    assert (made / "old").read_text() == "2"
