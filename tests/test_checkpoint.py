"""Checkpoints: whole or absent, and a resumed run is the uninterrupted one, bit for bit."""

import contextlib
import io
import multiprocessing
import os
import pickle
import random
import resource
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import training_runs
from torch import nn

from helpers import checkpoint
from helpers.history import History
from helpers.training import fit


def equal(a, b):
    """Whether two nested structures are equal bit for bit."""
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(equal(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(equal(x, y) for x, y in zip(a, b, strict=True))
    return a == b or (a != a and b != b)


def timeless(state):
    """A checkpoint without the clock."""
    state["history"]["epochs"].pop("seconds", None)
    return state


def read(path):
    return timeless(torch.load(path, weights_only=True))


class TestFile:
    def test_round_trip_of_all_kinds_of_values(self, tmp_path):
        state = {
            "t": torch.arange(3.0),
            "nested": [1, 2.5, "a", None, True, (torch.tensor(1), {"x": []})],
            "nan": float("nan"),
        }
        checkpoint.save(state, tmp_path / "a.pt")
        assert equal(checkpoint.load(tmp_path / "a.pt"), state)
        assert os.listdir(tmp_path) == ["a.pt"]

    @pytest.mark.parametrize("moment", ["torch.save", "os.fsync", "os.replace"])
    def test_a_crash_while_writing_leaves_the_old_one_whole(self, tmp_path, monkeypatch, moment):
        path = tmp_path / "a.pt"
        checkpoint.save({"epoch": 1}, path)
        module, name = moment.split(".")
        owner = {"torch": torch, "os": os}[module]
        original = getattr(owner, name)

        def crash(*args):
            if name == "save":
                args[1].write(b"half a checkpoint")
            if name == "fsync":
                original(*args)
            raise KeyboardInterrupt  # as a kill would, this leaves the temporary file

        monkeypatch.setattr(owner, name, crash)
        with pytest.raises(KeyboardInterrupt):
            checkpoint.save({"epoch": 2}, path)
        monkeypatch.undo()
        assert checkpoint.load(path) == {"epoch": 1}
        checkpoint.save({"epoch": 3}, path)  # and the next one does not mind what lies about
        assert checkpoint.load(path) == {"epoch": 3}
        assert os.listdir(tmp_path) == ["a.pt"]

    def test_a_full_disk_gives_a_clear_error_and_keeps_the_old_one(self, tmp_path):
        path = tmp_path / "a.pt"
        checkpoint.save({"epoch": 1}, path)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
            with pytest.raises(OSError, match=r"could not be written .*still whole"):
                checkpoint.save({"big": torch.zeros(100_000)}, path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            signal.signal(signal.SIGXFSZ, previous)
        assert checkpoint.load(path) == {"epoch": 1}
        assert os.listdir(tmp_path) == ["a.pt"]

    def test_a_place_that_cannot_be_written_is_noticed_before_training(self, tmp_path):
        (tmp_path / "file").write_text("")
        model, steps = nn.Linear(1, 1), []
        model.register_forward_hook(lambda *_: steps.append(1))
        X = torch.zeros(2, 1)
        for path in (tmp_path / "file" / "run.pt", tmp_path):
            with pytest.raises(OSError, match="checkpoints cannot be written to"):
                fit(
                    model, [(X, X)], loss_fn=nn.MSELoss(), optimizer=torch.optim.SGD(model.parameters()), epochs=1,
                    checkpoint=path, device="cpu",
                )  # fmt: skip
        assert steps == []

    @pytest.mark.parametrize("cut", [0, 1, 100, 0.5, -1])
    def test_a_damaged_file_is_refused(self, tmp_path, cut):
        path = tmp_path / "a.pt"
        checkpoint.save({"w": torch.zeros(1000)}, path)
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * cut) if isinstance(cut, float) else cut])
        with pytest.raises(ValueError, match="cannot be read as a checkpoint"):
            checkpoint.load(path)

    def test_code_in_a_checkpoint_is_not_run(self, tmp_path):
        class Evil:
            def __reduce__(self):
                return (os.mkdir, (str(tmp_path / "evil"),))

        torch.save({"model": Evil()}, tmp_path / "a.pt")
        with pytest.raises(ValueError, match="cannot be read as a checkpoint"):
            checkpoint.load(tmp_path / "a.pt")
        assert not (tmp_path / "evil").exists()
        pickle.load(io.BytesIO(pickle.dumps(Evil())))  # the oracle: unpickling does run it
        assert (tmp_path / "evil").exists()

    def test_a_missing_file(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="no checkpoint at"):
            checkpoint.load(tmp_path / "a.pt")


def test_random_state_brings_every_generator_back():
    def draw():
        return random.random(), np.random.rand(), torch.rand(3).tolist()  # noqa: NPY002

    state = checkpoint.random_state()
    first = draw()
    assert draw() != first
    checkpoint.set_random_state(state)
    assert draw() == first


@pytest.mark.parametrize("kind", ["plain", "generator", "book"])
def test_resume_from_every_single_step_is_bit_identical(tmp_path, monkeypatch, kind):
    path = tmp_path / "run.pt"
    copies = []
    original = checkpoint.save

    def save_and_copy(state, where):
        original(state, where)
        copies.append(where.with_name(f"copy{len(copies)}.pt") if isinstance(where, Path) else None)
        copies[-1].write_bytes(where.read_bytes())

    monkeypatch.setattr(checkpoint, "save", save_and_copy)
    log = tmp_path / "log"
    training_runs.train(path, kind=kind, log=log, resume=False, epochs=2)
    monkeypatch.undo()
    expected = read(path)
    order = log.read_text().splitlines()
    assert len(order) == 22
    assert len(set(order)) == 22
    places = [(state["epoch"], state["step"]) for state in map(read, copies)]
    assert places[:8] == [(0, 1), (0, 2), (0, 3), (0, 4), (0, 5), (0, 6), (1, 0), (1, 1)]
    assert len(places) == 2 * 7
    for i, copy in enumerate(copies):
        again = tmp_path / f"log{i}"
        training_runs.train(copy, kind=kind, log=again, epochs=2)
        assert equal(read(copy), expected), places[i]
        made = again.read_text().splitlines() if again.exists() else []
        assert made == order[len(order) - len(made) :], places[i]


@pytest.mark.slow
def test_resume_with_worker_processes_is_bit_identical(tmp_path):
    straight, resumed = tmp_path / "a.pt", tmp_path / "b.pt"
    training_runs.train(straight, workers=2, every=None, epochs=3)
    with pytest.raises(ZeroDivisionError):
        interrupted(resumed, steps=8, workers=2, every=4)
    training_runs.train(resumed, workers=2, every=None, epochs=3)
    assert equal(read(resumed), read(straight))


def interrupted(path, *, steps, **kwargs):
    """Train until the given number of checkpoints by step were written, then break."""
    original = checkpoint.save

    def save(state, where):
        original(state, where)
        if state["epoch"] * 6 + state["step"] >= steps and state["step"]:
            raise ZeroDivisionError

    checkpoint.save = save
    try:
        training_runs.train(path, **kwargs)
    finally:
        checkpoint.save = original


class TestResume:
    def test_true_starts_where_there_is_no_checkpoint_and_goes_on_where_there_is(self, tmp_path):
        path = tmp_path / "deep" / "run.pt"
        X = torch.arange(6.0)[:, None]

        def run(epochs, **kwargs):
            torch.manual_seed(0)
            model = nn.Linear(1, 1)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
            kwargs = {"loss_fn": nn.MSELoss(), "checkpoint": path, "device": "cpu", "progress": False} | kwargs
            return fit(model, [(X, 2 * X)], optimizer=optimizer, epochs=epochs, **kwargs)

        assert len(run(2, resume=True).steps["loss"]) == 2
        longer = run(5, resume=True)
        assert longer["epoch"] == [1, 2, 3, 4, 5]
        assert longer["train_loss"] == run(5, checkpoint=None)["train_loss"]
        assert run(5, resume=True)["epoch"] == [1, 2, 3, 4, 5]  # nothing left to do
        assert len(run(1)) == 1  # resume=False starts anew
        with pytest.raises(FileNotFoundError, match="no checkpoint at"):
            run(2, resume=tmp_path / "absent.pt")

    def test_a_run_that_stopped_early_stays_stopped(self, tmp_path):
        X = torch.arange(6.0)[:, None]

        def run():
            torch.manual_seed(0)
            model = nn.Linear(1, 1)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.01, maximize=True)
            history = fit(
                model, [(X, 2 * X)], [(X, 2 * X)], loss_fn=nn.MSELoss(), optimizer=optimizer, epochs=50, device="cpu",
                early_stopping=3, checkpoint=tmp_path / "run.pt", resume=True, progress=False,
            )  # fmt: skip
            return history, model.weight.item()

        first, second = run(), run()
        assert first[0].stopped == "early stopping"
        assert (len(second[0]), second[0].best_epoch) == (4, 1)
        assert first[1] == second[1]  # the best weights, out of the checkpoint
        other = checkpoint.load_weights(nn.Linear(1, 1), tmp_path / "run.pt")
        assert other.weight.item() == first[1]
        latest = checkpoint.load_weights(nn.Linear(1, 1), tmp_path / "run.pt", best=False)
        assert latest.weight.item() != first[1]

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"model": lambda: nn.Linear(1, 2)}, "another architecture"),
            (
                {"optimizer": lambda m: torch.optim.SGD([{"params": [m.weight]}, {"params": [m.bias]}])},
                "another optimizer",
            ),
            ({"scheduler": lambda o: torch.optim.lr_scheduler.StepLR(o, 1)}, "without a scheduler"),
        ],
    )
    def test_a_checkpoint_of_another_run_is_refused(self, tmp_path, change, words):
        X = torch.arange(6.0)[:, None]

        def run(
            model=lambda: nn.Linear(1, 1), optimizer=lambda m: torch.optim.SGD(m.parameters()), scheduler=lambda o: None
        ):
            made = model()
            opt = optimizer(made)
            fit(
                made, [(X, X.expand(6, made.out_features))], loss_fn=nn.MSELoss(), optimizer=opt, epochs=2,
                device="cpu", scheduler=scheduler(opt), checkpoint=tmp_path / "run.pt", resume=True, progress=False,
            )  # fmt: skip

        run()
        with pytest.raises(ValueError, match=words):
            run(**change)

    def test_a_foreign_file_is_refused(self, tmp_path):
        torch.save({"some": "thing"}, tmp_path / "run.pt")
        with pytest.raises(ValueError, match="no checkpoint of this version"):
            training_runs.train(tmp_path / "run.pt")

    def test_another_batch_size_in_the_middle_of_an_epoch_is_refused(self, tmp_path, monkeypatch):
        with pytest.raises(ZeroDivisionError):
            interrupted(tmp_path / "run.pt", steps=8, every=1)
        monkeypatch.setattr(training_runs, "N", 63)
        with pytest.raises(ValueError, match="in the middle of an epoch of 6 steps, but now there are 4"):
            training_runs.train(tmp_path / "run.pt", epochs=9)


def test_wrong_interval():
    with pytest.raises(ValueError, match="at least 1"):
        checkpoint.Checkpoint("run.pt", every=0)


@pytest.mark.skipif(not sys.platform.startswith("linux") or torch.cuda.is_initialized(), reason="forks, and kills")
@pytest.mark.parametrize(
    "kills", [5, pytest.param(int(os.environ.get("BOOK_KILLS", 25)), marks=pytest.mark.slow)], ids=["few", "many"]
)
def test_killed_at_random_moments_the_run_ends_bit_identical(tmp_path, kills):
    """SIGKILL gives no time to tidy up. Each life is killed soon after it has written its first checkpoint or two."""
    context = multiprocessing.get_context("fork")
    epochs, every = 4 * kills, 3
    straight, path, log = tmp_path / "straight.pt", tmp_path / "run.pt", tmp_path / "log"
    # in a process of its own too: bit-identical sums need the same number of threads
    uninterrupted = (straight, str(tmp_path / "straight.log"), epochs, every, "plain")
    process = context.Process(target=training_runs.unfinished, args=uninterrupted)
    process.start()
    process.join(120)
    assert process.exitcode == 0

    rng = random.Random(kills)
    killed, in_the_middle = 0, 0
    while True:
        stamp = path.stat().st_mtime_ns if path.exists() else None
        process = context.Process(target=training_runs.unfinished, args=(path, str(log), epochs, every, "plain"))
        process.start()
        wait_until(lambda p=process, s=stamp: not p.is_alive() or (path.exists() and path.stat().st_mtime_ns != s))
        if killed < kills or not in_the_middle:  # of an epoch: once at least, however long that takes
            process.join(rng.uniform(0.0, 0.06) if killed < kills else 0.0)
            process.kill()
        process.join(120)
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
        killed += 1
        in_the_middle += checkpoint.load(path)["step"] > 0
    assert killed >= kills
    assert in_the_middle > 0
    assert equal(read(path), read(straight))

    expected = dict(line.split() for line in (tmp_path / "straight.log").read_text().splitlines())
    seen = {}
    for line in log.read_text().splitlines():
        parts = line.split()
        with contextlib.suppress(ValueError):  # a line that the kill cut off
            step, examples = parts
            if line.count(",") >= 2 and examples.count(",") == expected[step].count(","):
                assert seen.setdefault(step, examples) == examples or seen[step].startswith(examples)
    assert seen == expected


def wait_until(condition, seconds=120):
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "nothing happened"
        time.sleep(0.002)


@pytest.mark.accelerator
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_resume_on_a_gpu_with_deterministic_algorithms_is_bit_identical(tmp_path, monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    try:
        straight, resumed = tmp_path / "a.pt", tmp_path / "b.pt"
        training_runs.train(straight, every=4, device="cuda")
        with pytest.raises(ZeroDivisionError):
            interrupted(resumed, steps=8, every=4, device="cuda")
        training_runs.train(resumed, every=4, device="cuda")
        assert equal(read(resumed), read(straight))
    finally:
        torch.use_deterministic_algorithms(False)


def test_history_in_a_checkpoint_is_a_history(tmp_path):
    _, _, history = training_runs.train(tmp_path / "run.pt", epochs=1)
    stored = History.from_dict(checkpoint.load(tmp_path / "run.pt")["history"])
    assert stored.epochs == history.epochs
    assert stored.steps == history.steps
