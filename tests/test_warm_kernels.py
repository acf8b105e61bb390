"""Kernels out of the nursery: new, quick to start, and gone with whoever asked for them."""

import json
import os
import subprocess
import sys
import time

import nbformat
import pytest
from nbclient import NotebookClient

from tools import execution, warm_kernels
from tools.chapter import ROOT

PRELOADED = warm_kernels.PRELOADED
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="kernels are forked on Linux only")


@pytest.fixture(autouse=True)
def light_nursery(monkeypatch):
    """A nursery that imports next to nothing, and Jupyter as it was afterwards."""
    from jupyter_client.provisioning import KernelProvisionerFactory

    factory = KernelProvisionerFactory.instance()
    before = factory.default_provisioner_name
    monkeypatch.delenv("BOOK_FRESH_KERNELS", raising=False)
    monkeypatch.setattr(warm_kernels, "PRELOADED", ("ipykernel.kernelapp", "colorsys"))
    monkeypatch.setattr(warm_kernels.Nursery, "threads", warm_kernels.Nursery.threads)
    monkeypatch.setattr(warm_kernels.Nursery, "_running", {})
    yield
    factory.default_provisioner_name = before


def printed(tmp_path, *sources):
    """What the cells print that have these sources, in a kernel of their own."""
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    path = tmp_path / "01_cells.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    text, _ = execution._run(path, 1)
    outputs = [output for cell in json.loads(text)["cells"] for output in cell["outputs"]]
    return "".join(line for output in outputs for line in output["text"]).split("\n")[:-1]


def test_a_kernel_has_the_imports_but_nothing_else(tmp_path):
    warm_kernels.use(3)
    where = "import os, sys; print('colorsys' in sys.modules, os.getcwd(), os.environ['BOOK_BUILD'], sys.argv[0])"
    assert printed(tmp_path, where) == [f"True {tmp_path} 1 ipykernel_launcher"]
    printed(tmp_path, "import colorsys\ncolorsys.mark = secret = 1")
    again = "import colorsys; print('secret' in globals(), hasattr(colorsys, 'mark'), os.getpid() == os.getpgid(0))"
    assert printed(tmp_path, "import os", again) == ["False False True"]


def test_the_kernel_sees_no_folder_that_a_started_one_does_not(tmp_path):
    look = "import sys; print([entry for entry in sys.path if entry])"
    started = printed(tmp_path, look)
    warm_kernels.use(1)
    assert printed(tmp_path, look) == started


def test_fresh_kernels_can_be_asked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("BOOK_FRESH_KERNELS", "1")
    before = printed(tmp_path, "import sys; print('colorsys' in sys.modules)")
    warm_kernels.use(1)
    assert printed(tmp_path, "import sys; print('colorsys' in sys.modules)") == before


def test_the_kernel_of_another_interpreter_is_started_by_that_interpreter(tmp_path, monkeypatch):
    other = tmp_path / "python"
    other.write_text(f'#!/bin/sh\nOTHER=yes exec "{sys.executable}" "$@"\n', encoding="utf-8")
    other.chmod(0o755)
    spec = tmp_path / "kernels" / "other"
    spec.mkdir(parents=True)
    argv = [str(other), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (spec / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "other", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    warm_kernels.use(1)
    look = nbformat.v4.new_code_cell("import os; print(os.environ.get('OTHER'))")
    ran = NotebookClient(nbformat.v4.new_notebook(cells=[look]), timeout=60, kernel_name="other").execute()
    assert ran.cells[0].outputs[0]["text"] == "yes\n"


def test_a_cell_without_end_is_interrupted_and_a_dead_kernel_is_noticed(tmp_path, monkeypatch):
    warm_kernels.use(1)
    monkeypatch.setattr(execution, "CELL_TIMEOUT", 2)
    with pytest.raises(execution.ExecutionError, match="longer than 2 seconds"):
        printed(tmp_path, "while True: pass")
    with pytest.raises(execution.ExecutionError, match="kernel died"):
        printed(tmp_path, "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")


KILLED = """
import os, signal, sys
from jupyter_client.manager import start_new_kernel
from tools import warm_kernels
warm_kernels.PRELOADED = ("ipykernel.kernelapp",)
warm_kernels.use(1)
manager, client = start_new_kernel()
print(manager.provisioner.pid, warm_kernels.Nursery.running()._process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_kernel_and_nursery_go_when_their_owner_is_killed():
    command = [sys.executable, "-c", KILLED]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == -9, result.stderr
    pids = [int(word) for word in result.stdout.split()]
    assert len(pids) == 2
    deadline = time.monotonic() + 30
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(alive, pids))


def alive(pid):
    """Whether the process runs; one that has ended and waits to be collected does not."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_the_list_of_imports_holds():
    """A package that is no longer there, or starts threads when imported, would break every kernel."""
    code = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)\nimport threading\n"
    code += "print(threading.active_count())"
    env = os.environ | dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    command = [sys.executable, "-c", code, *PRELOADED]
    result = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert result.stdout.strip() == "1", result.stderr
