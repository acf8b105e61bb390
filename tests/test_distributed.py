"""Two processes give what one process gives with the same total batch, and count every example once."""

import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
import training_processes
from torch.testing import assert_close

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "tests" / "training_processes.py"
ACCELERATE = [sys.executable, "-m", "accelerate.commands.launch", "--num_processes", "2"]
ACCELERATE += ["--multi_gpu", "--mixed_precision", "no", "--dynamo_backend", "no"]
"""Two processes on the CPU, with ACCELERATE_USE_CPU in the environment; --cpu itself starts one process only."""


def start(command, **more):
    """Run a command on the CPU, one thread each process, and return nothing if it succeeds."""
    paths = os.pathsep.join(filter(None, [str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")]))
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": paths, "CUDA_VISIBLE_DEVICES": ""} | more
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return str(s.getsockname()[1])


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    folder = tmp_path_factory.mktemp("one")
    training_processes.main(folder)
    return folder


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    start(
        [*ACCELERATE, "--num_machines", "1", "--main_process_port", free_port(), str(SCRIPT), str(folder)],
        ACCELERATE_USE_CPU="true",
    )
    return folder


@pytest.mark.parametrize("case", training_processes.CASES)
def test_two_processes_equal_one(one, two, case):
    expected = torch.load(one / f"{case}-0.pt", weights_only=True)
    for rank in (0, 1):
        result = torch.load(two / f"{case}-{rank}.pt", weights_only=True)
        assert (expected.pop("world", 1), result.pop("world")) == (1, 2)
        for name in ("train_accuracy", "valid_accuracy"):  # counts: exact, not only close
            assert result["epochs"][name] == expected["epochs"][name]
        assert_close(result, expected, rtol=1e-10, atol=1e-12)


def test_the_checkpoint_is_written_once_and_fits_one_process(one, two):
    a, b = (torch.load(folder / "run.pt", weights_only=True) for folder in (one, two))
    assert (len(a["random"]), len(b["random"])) == (1, 2)
    assert_close(b["model"], a["model"], rtol=1e-10, atol=1e-12)


@pytest.mark.slow
def test_torchrun_too(one, tmp_path):
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", free_port()]
    start([*launch, str(SCRIPT), str(tmp_path)])
    for case in training_processes.CASES:
        test_two_processes_equal_one(one, tmp_path, case)


@pytest.mark.slow
def test_two_launchers_as_on_two_machines(one, tmp_path):
    """The command of chapter 16 for several machines, its two halves on one; each starts one of the two processes."""
    together = ["--main_process_ip", "127.0.0.1", "--main_process_port", free_port()]
    machines = []
    with ThreadPoolExecutor(2) as pool:
        for rank in "01":
            launch = [*ACCELERATE, "--num_machines", "2", "--machine_rank", rank, *together]
            machines.append(pool.submit(start, [*launch, str(SCRIPT), str(tmp_path)], ACCELERATE_USE_CPU="true"))
    for machine in machines:
        machine.result()
    for case in training_processes.CASES:
        test_two_processes_equal_one(one, tmp_path, case)


@pytest.mark.slow
def test_the_network_of_chapter_21_is_the_same_after_its_whole_training(tmp_path):
    """In float64. In float32 rounding grows with every step of Adam: single predictions change, accuracy barely."""
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    script = SCRIPT.with_name("cnn_processes.py")
    start([sys.executable, str(script), str(folders[0])])
    start(
        [*ACCELERATE, "--num_machines", "1", "--main_process_port", free_port(), str(script), str(folders[1])],
        ACCELERATE_USE_CPU="true",
    )
    one, two = (torch.load(folder / "lenet-float64-0.pt", weights_only=True) for folder in folders)
    assert (one.pop("world"), two.pop("world")) == (1, 2)
    for name in ("train_accuracy", "valid_accuracy"):
        assert two["epochs"][name] == one["epochs"][name]
    assert_close(two, one, rtol=1e-9, atol=1e-10)
    one, two = (torch.load(folder / "lenet-float32-0.pt", weights_only=True) for folder in folders)
    assert one["evaluated"]["accuracy"] > 0.9
    assert abs(one["evaluated"]["accuracy"] - two["evaluated"]["accuracy"]) < 0.03


LAUNCHED = """
import sys, torch
from accelerate import debug_launcher
sys.path.insert(0, sys.argv[1])
import training_processes as t
from pathlib import Path

t.CASES = {"one left over": t.CASES["one left over"]}
if __name__ == "__main__":
    t.main(Path(sys.argv[2]))  # a run in this process first, as in a notebook: it must not stand in the launcher's way
    debug_launcher(t.main, args=(Path(sys.argv[3]),), num_processes=2)
"""


@pytest.mark.slow
def test_a_launch_from_a_running_session_after_a_run_in_it(tmp_path):
    """`accelerate.notebook_launcher` needs GPUs for several processes; `debug_launcher` is its form for the CPU."""
    for name in ("alone", "launched"):
        (tmp_path / name).mkdir()
    script = tmp_path / "session.py"
    script.write_text(LAUNCHED)
    arguments = [str(SCRIPT.parent), str(tmp_path / "alone"), str(tmp_path / "launched")]
    start([sys.executable, str(script), *arguments])
    expected = torch.load(tmp_path / "alone" / "one left over-0.pt", weights_only=True)
    result = torch.load(tmp_path / "launched" / "one left over-1.pt", weights_only=True)
    assert (expected.pop("world"), result.pop("world")) == (1, 2)
    assert_close(result, expected, rtol=1e-10, atol=1e-12)


def test_a_checkpoint_that_only_some_machines_see_is_refused(monkeypatch, tmp_path):
    """Else some processes would begin again and others go on, and wait for each other for ever."""
    from helpers import engine, training

    model, X = torch.nn.Linear(1, 1), torch.zeros(2, 1)
    optimizer = torch.optim.SGD(model.parameters())
    arguments = {"loss_fn": torch.nn.MSELoss(), "optimizer": optimizer, "epochs": 1, "device": "cpu", "progress": False}
    arguments |= {"checkpoint": tmp_path / "run.pt", "resume": True}
    training.fit(model, [(X, X)], **arguments)
    monkeypatch.setattr(engine.Engine, "gather", lambda self, value: [value, False])
    with pytest.raises(ValueError, match=r"run\.pt is there for some processes only"):
        training.fit(model, [(X, X)], **arguments)


def test_launched_run_refuses_another_device_and_find_lr(monkeypatch):
    from helpers import engine, training

    class Launched:
        device, num_processes, process_index, mixed_precision = torch.device("cpu"), 2, 0, "no"

    monkeypatch.setattr(engine, "_accelerator", Launched)
    model = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters())
    X = torch.zeros(2, 1)
    with pytest.raises(ValueError, match="leave out device='cuda'"):
        training.fit(model, [(X, X)], loss_fn=torch.nn.MSELoss(), optimizer=optimizer, epochs=1, device="cuda")
    with pytest.raises(RuntimeError, match="works in one process"):
        training.find_lr(model, [(X, X)], loss_fn=torch.nn.MSELoss(), optimizer=optimizer)
