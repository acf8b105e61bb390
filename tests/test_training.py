"""`fit`, `evaluate` and `predict` against loops written out by hand, and against full-batch formulas in float64."""

import math
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from helpers import data, training
from helpers.training import EarlyStopping, accuracy, evaluate, fit, predict

N, D, C = 103, 5, 3  # 103 examples in batches of 10: the last batch has 3


@pytest.fixture
def Xy():
    g = torch.Generator().manual_seed(7)
    X = torch.randn(N, D, generator=g)
    return X, (X @ torch.randn(D, C, generator=g)).argmax(1)


def make_model(dtype=torch.float32, dropout=0.0):
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(D, 8), nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, C)).to(dtype)


def sgd(model, lr=0.1, **kwargs):
    return torch.optim.SGD(model.parameters(), lr=lr, **kwargs)


def same(a, b):
    return all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


def quiet(**kwargs):
    return {"loss_fn": nn.CrossEntropyLoss(), "device": "cpu", "progress": False} | kwargs


@pytest.mark.parametrize("kind", ["book", "plain"])
def test_fit_is_the_loop_written_out_by_hand_bit_for_bit(Xy, kind):
    X, y = Xy

    def loaders():
        if kind == "book":
            return data.loader(X, y, batch_size=10, seed=3)
        return DataLoader(TensorDataset(X, y), batch_size=10, shuffle=True)  # draws from the global generator

    by_hand = make_model(dropout=0.3)
    optimizer, train, losses = sgd(by_hand, momentum=0.9), loaders(), []
    torch.manual_seed(5)
    for _ in range(3):
        for xb, yb in train:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(by_hand(xb), yb)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())

    model = make_model(dropout=0.3)
    torch.manual_seed(5)
    history = fit(model, loaders(), optimizer=sgd(model, momentum=0.9), epochs=3, **quiet())
    assert same(model, by_hand)
    assert history.steps["loss"] == losses
    assert history.stopped == "finished"
    assert history["epoch"] == [1, 2, 3]


def test_seed_makes_runs_equal_and_without_it_the_order_goes_on(Xy):
    train = data.loader(*Xy, batch_size=10)
    runs = []
    for seed in (0, 0, None):
        model = make_model(dropout=0.5)
        runs.append(fit(model, train, optimizer=sgd(model), epochs=2, seed=seed, **quiet()).steps["loss"])
    assert runs[0] == runs[1]
    assert runs[1] != runs[2]


def share_wrong(outputs, targets):  # a metric that returns the mean over the batch
    return (outputs.argmax(1) != targets).double().mean()


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("batch_size", [1, 10, 64, 200])
def test_means_count_every_example_once(Xy, reduction, batch_size):
    X, y = Xy[0].double(), Xy[1]
    model = make_model(torch.float64)
    batches = DataLoader(TensorDataset(X, y), batch_size=batch_size)
    metrics = {"accuracy": accuracy, "error": share_wrong}
    measured = evaluate(model, batches, loss_fn=nn.CrossEntropyLoss(reduction=reduction), metrics=metrics, device="cpu")
    with torch.no_grad():
        logits = model(X)
    assert measured["loss"] == pytest.approx(nn.functional.cross_entropy(logits, y).item(), rel=1e-12)
    right = int((logits.argmax(1) == y).sum())
    assert measured["accuracy"] == right / N
    assert measured["error"] == pytest.approx(1 - right / N, abs=1e-12)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_training_means_of_frozen_weights_equal_evaluation(Xy, reduction):
    model = make_model()
    loader = data.loader(*Xy, batch_size=10, shuffle=False)
    loss_fn = nn.CrossEntropyLoss(reduction=reduction)
    arguments = quiet(loss_fn=loss_fn, metrics=[accuracy])
    history = fit(model, loader, loader, optimizer=sgd(model, lr=0.0), epochs=1, **arguments)
    row = history.last
    assert row["train_loss"] == row["valid_loss"]
    assert row["train_accuracy"] == row["valid_accuracy"]
    sizes = [10] * 10 + [3]
    assert_close(np.average(history.steps["loss"], weights=sizes), row["train_loss"], rtol=1e-12, atol=0)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("accumulate", [2, 3, 4, 20])
def test_accumulated_steps_are_the_steps_of_the_joint_batch(Xy, reduction, accumulate):
    """11 batches, the last of 3 examples: no group size here divides them evenly."""
    X, y = Xy[0].double(), Xy[1]
    loss_fn = nn.CrossEntropyLoss(reduction=reduction)
    lr = 0.1 if reduction == "mean" else 0.002
    joint = make_model(torch.float64)
    optimizer = sgd(joint, lr=lr, momentum=0.9)
    for _ in range(2):
        for start in range(0, N, 10 * accumulate):
            part = slice(start, start + 10 * accumulate)
            optimizer.zero_grad()
            loss_fn(joint(X[part]), y[part]).backward()
            optimizer.step()

    model = make_model(torch.float64)
    loader = DataLoader(TensorDataset(X, y), batch_size=10)
    arguments = quiet(loss_fn=loss_fn, accumulate=accumulate)
    history = fit(model, loader, optimizer=sgd(model, lr=lr, momentum=0.9), epochs=2, **arguments)
    assert len(history.steps["loss"]) == 2 * math.ceil(11 / accumulate)
    for p, q in zip(model.parameters(), joint.parameters(), strict=True):
        assert_close(p, q, rtol=1e-12, atol=1e-14)


def test_gradients_left_over_from_before_are_not_used(Xy):
    clean, model = make_model(), make_model()
    fit(clean, data.loader(*Xy, batch_size=64), optimizer=sgd(clean), epochs=1, **quiet())
    model(Xy[0]).sum().backward()
    fit(model, data.loader(*Xy, batch_size=64), optimizer=sgd(model), epochs=1, **quiet())
    assert same(model, clean)


class CountReads(TorchDispatchMode):
    """Count how often a tensor becomes a Python number, which on a GPU waits for the device."""

    reads = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.reads += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


def test_no_step_waits_for_the_device(Xy):
    model = make_model()
    train = [(Xy[0][i : i + 10], Xy[1][i : i + 10]) for i in range(0, N, 10)]
    arguments = quiet(metrics=[accuracy], checks=False, clip_norm=1.0)
    with CountReads() as counter:
        fit(model, train, train, optimizer=sgd(model), epochs=3, **arguments)
    assert counter.reads == 0  # `nn.CrossEntropyLoss()(...).item()` would count one


def test_modes_are_restored_even_if_mixed_and_after_an_error(Xy):
    model = make_model()
    model.eval()
    model[2].train()
    loader = data.loader(*Xy, batch_size=10)
    seen = []

    def loss_fn(outputs, targets):
        seen.append([m.training for m in model])
        if len(seen) == 30:
            raise ZeroDivisionError
        return nn.functional.cross_entropy(outputs, targets)

    with pytest.raises(ZeroDivisionError):
        fit(model, loader, loader, optimizer=sgd(model), epochs=5, **quiet(loss_fn=loss_fn))
    assert all(all(modes) for modes in seen[:11])  # training
    assert not any(any(modes) for modes in seen[11:22])  # validation
    assert [m.training for m in (model, *model)] == [False, False, False, True, False]
    evaluate(model, loader, loss_fn=nn.CrossEntropyLoss(), device="cpu")
    predict(model, Xy[0], device="cpu")
    assert [m.training for m in (model, *model)] == [False, False, False, True, False]


def test_clipping_is_that_of_torch_and_the_norms_are_recorded(Xy):
    loader = DataLoader(TensorDataset(*Xy), batch_size=10)
    by_hand, norms = make_model(), []
    optimizer = sgd(by_hand)
    for xb, yb in loader:
        optimizer.zero_grad()
        nn.functional.cross_entropy(by_hand(xb), yb).backward()
        norms.append(nn.utils.clip_grad_norm_(by_hand.parameters(), 0.2).item())
        optimizer.step()
    model = make_model()
    history = fit(model, loader, optimizer=sgd(model), epochs=1, clip_norm=0.2, **quiet())
    assert same(model, by_hand)
    assert history.steps["grad_norm"] == norms
    assert max(norms) > 0.2


class TestSchedulers:
    def run(self, Xy, make, *, epochs=3, valid=False, **kwargs):
        model = make_model()
        optimizer = sgd(model)
        loader = data.loader(*Xy, batch_size=52, shuffle=False)  # two steps an epoch
        scheduler = make(optimizer)
        arguments = quiet(scheduler=scheduler, **kwargs)
        return fit(model, loader, loader if valid else None, optimizer=optimizer, epochs=epochs, **arguments)

    def test_once_an_epoch(self, Xy):
        history = self.run(Xy, lambda o: torch.optim.lr_scheduler.StepLR(o, 1, gamma=0.5))
        assert history.steps["lr"] == [0.1, 0.1, 0.05, 0.05, 0.025, 0.025]
        assert history["lr"] == [0.1, 0.05, 0.025]

    def test_at_every_step_if_asked(self, Xy):
        history = self.run(Xy, lambda o: torch.optim.lr_scheduler.StepLR(o, 1, gamma=0.5), scheduler_every="step")
        assert history.steps["lr"] == [0.1 * 0.5**i for i in range(6)]

    def test_one_cycle_at_every_step(self, Xy):
        reference = torch.optim.lr_scheduler.OneCycleLR(sgd(make_model()), max_lr=1.0, total_steps=6)
        expected = []
        for _ in range(6):
            expected.append(reference.get_last_lr()[0])
            reference.optimizer.step()
            reference.step()
        history = self.run(Xy, lambda o: torch.optim.lr_scheduler.OneCycleLR(o, max_lr=1.0, total_steps=6))
        assert history.steps["lr"] == expected

    def test_one_cycle_that_is_too_short_is_refused_at_once(self, Xy):
        with pytest.raises(ValueError, match="total_steps=6"):
            self.run(Xy, lambda o: torch.optim.lr_scheduler.OneCycleLR(o, max_lr=1.0, total_steps=5))

    def test_plateau_looks_at_the_validation_loss(self, Xy):
        def make(optimizer):
            return torch.optim.lr_scheduler.ReduceLROnPlateau(
                optimizer, patience=0, threshold=1e9, threshold_mode="abs"
            )

        assert self.run(Xy, make, valid=True)["lr"] == pytest.approx([0.1, 0.1, 0.01])

    def test_of_another_optimizer_is_refused(self, Xy):
        with pytest.raises(ValueError, match="another optimizer"):
            self.run(Xy, lambda _: torch.optim.lr_scheduler.StepLR(sgd(make_model()), 1))


class TestEarlyStopping:
    def run(self, Xy, values, rule, epochs=10):
        model = make_model()
        kept = []

        def loss_fn(outputs, targets):
            if not model.training:
                kept.append([p.detach().clone() for p in model.parameters()])
            return nn.functional.cross_entropy(outputs, targets)

        full = [(Xy[0], Xy[1])]
        script = iter(values)

        def scripted(outputs, targets):
            return torch.tensor(0.0 if model.training else next(script))

        arguments = quiet(loss_fn=loss_fn, metrics={"score": scripted}, early_stopping=rule)
        history = fit(model, full, full, optimizer=sgd(model), epochs=epochs, **arguments)
        return history, model, kept

    def test_stops_after_patience_and_restores_the_best_weights(self, Xy):
        rule = EarlyStopping(patience=2, monitor="valid_score")
        history, model, kept = self.run(Xy, [0.1, 0.5, 0.4, 0.3, 0.9], rule)
        assert history.stopped == "early stopping"
        assert (len(history), history.best_epoch) == (4, 2)
        assert all(torch.equal(p, q) for p, q in zip(model.parameters(), kept[1], strict=True))
        assert not torch.equal(kept[1][0], kept[3][0])

    def test_restores_the_best_weights_when_the_epochs_run_out_first(self, Xy):
        rule = EarlyStopping(patience=5, monitor="valid_score", mode="min")
        history, model, kept = self.run(Xy, [3.0, 1.0, 2.0], rule, epochs=3)
        assert (history.stopped, history.best_epoch) == ("finished", 2)
        assert all(torch.equal(p, q) for p, q in zip(model.parameters(), kept[1], strict=True))

    def test_a_small_change_is_no_gain(self, Xy):
        rule = EarlyStopping(patience=2, monitor="valid_score", min_delta=0.1)
        history, _, _ = self.run(Xy, [0.5, 0.55, 0.59, 0.9], rule)
        assert (len(history), history.best_epoch) == (3, 1)

    def test_a_number_is_the_patience_on_the_validation_loss(self, Xy):
        model = make_model()
        full = [(Xy[0], Xy[1])]
        arguments = quiet(early_stopping=1)
        history = fit(model, full, full, optimizer=sgd(model, maximize=True), epochs=9, **arguments)
        assert (len(history), history.best_epoch) == (2, 1)  # uphill: the first epoch was the best

    def test_without_validation_data_is_refused_before_training(self, Xy):
        model = make_model()
        with pytest.raises(ValueError, match="give fit validation data"):
            fit(model, [Xy], optimizer=sgd(model), epochs=2, **quiet(early_stopping=3))

    @pytest.mark.parametrize("wrong", [{"patience": 0}, {"mode": "up"}, {"min_delta": -1.0}])
    def test_wrong_values(self, wrong):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            EarlyStopping(**wrong)


def test_keyboard_interrupt_keeps_history_and_last_checkpoint(Xy, tmp_path):
    model = make_model()
    loader = data.loader(*Xy, batch_size=10)
    calls = []

    def loss_fn(outputs, targets):
        calls.append(1)
        if len(calls) == 11 + 11 + 5:
            raise KeyboardInterrupt
        return nn.functional.cross_entropy(outputs, targets)

    path = tmp_path / "run.pt"
    arguments = quiet(loss_fn=loss_fn, checkpoint=path)
    history = fit(model, loader, optimizer=sgd(model), epochs=9, **arguments)
    assert history.stopped == "interrupted"
    assert len(history) == 2
    assert len(history.steps["loss"]) == 26
    assert "interrupted" in repr(history)

    loss_fn = nn.functional.cross_entropy
    torch.manual_seed(0)
    other = make_model()
    resumed = fit(other, data.loader(*Xy, batch_size=10), optimizer=sgd(other), epochs=4, resume=path, **quiet())
    straight = make_model()
    fit(straight, data.loader(*Xy, batch_size=10), optimizer=sgd(straight), epochs=4, **quiet())
    assert len(resumed) == 4
    assert same(other, straight)


def test_interrupt_in_the_middle_of_an_accumulated_step(Xy):
    model = make_model()
    calls = []

    def loss_fn(outputs, targets):
        calls.append(1)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return nn.functional.cross_entropy(outputs, targets)

    arguments = quiet(loss_fn=loss_fn, accumulate=4)
    history = fit(model, data.loader(*Xy, batch_size=10), optimizer=sgd(model), epochs=2, **arguments)
    assert len(history.steps["loss"]) == 1
    assert len(history) == 0


class TwoInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(D, C), nn.Linear(2, C)

    def forward(self, first, second):
        return self.a(first) + self.b(second)


def test_models_with_several_inputs(Xy):
    X, y = Xy
    torch.manual_seed(0)
    model = TwoInputs()
    loader = DataLoader(TensorDataset(X, X[:, :2], y), batch_size=10)
    history = fit(model, loader, loader, optimizer=sgd(model), epochs=5, **quiet())
    assert history["train_loss"][-1] < history["train_loss"][0]
    with torch.no_grad():
        assert_close(predict(model, loader, device="cpu"), model(X, X[:, :2]))


class Stream(IterableDataset):
    def __init__(self, X, y):
        self.X, self.y = X, y

    def __iter__(self):
        return zip(self.X, self.y, strict=True)


def test_a_stream_of_unknown_length_equals_the_loader(Xy):
    a, b = make_model(), make_model()
    fit(a, DataLoader(Stream(*Xy), batch_size=10), optimizer=sgd(a), epochs=2, **quiet())
    fit(b, DataLoader(TensorDataset(*Xy), batch_size=10), optimizer=sgd(b), epochs=2, **quiet())
    assert same(a, b)


def test_long_epochs_are_read_in_between_without_changing_a_number(Xy, monkeypatch):
    histories = []
    for every in (1000, 3):
        monkeypatch.setattr("helpers.run.READ_EVERY", every)
        model = make_model()
        arguments = quiet(metrics=[accuracy], clip_norm=1.0, accumulate=2)
        histories.append(fit(model, data.loader(*Xy, batch_size=10), optimizer=sgd(model), epochs=2, **arguments))
    for history in histories:
        del history.epochs["seconds"]
    assert histories[0] == histories[1]


@pytest.mark.parametrize("precision", ["bf16", "fp32", "no"])
def test_precision_on_request(Xy, precision):
    kinds = []

    def loss_fn(outputs, targets):
        kinds.append(outputs.dtype)
        return nn.functional.cross_entropy(outputs.float(), targets)

    model = make_model()
    fit(model, [Xy], optimizer=sgd(model), epochs=1, **quiet(loss_fn=loss_fn, precision=precision))
    assert kinds == [torch.bfloat16 if precision == "bf16" else torch.float32]
    assert all(p.dtype == torch.float32 for p in model.parameters())
    assert not torch.is_autocast_enabled("cpu")


def test_float32_matmul_setting_is_put_back(Xy):
    before = torch.get_float32_matmul_precision()
    inside = []

    def loss_fn(outputs, targets):
        inside.append(torch.get_float32_matmul_precision())
        return nn.functional.cross_entropy(outputs, targets)

    model = make_model()
    fit(model, [Xy], optimizer=sgd(model), epochs=1, **quiet(loss_fn=loss_fn, precision="tf32"))
    assert inside == ["high"]
    assert torch.get_float32_matmul_precision() == before


class TestPredict:
    def test_keeps_the_order_and_takes_tensors_and_loaders(self, Xy):
        model = make_model(dropout=0.9)
        model.train()
        with torch.no_grad():
            expected = make_model().eval()(Xy[0])
        for given in (Xy[0], data.loader(*Xy, batch_size=10, shuffle=False), DataLoader(Xy[0], batch_size=7)):
            assert_close(predict(model, given, batch_size=10, device="cpu"), expected)
        assert model.training

    @pytest.mark.parametrize(
        "make", [data.loader, lambda X, y, **k: DataLoader(TensorDataset(X, y), shuffle=True, **k)]
    )
    def test_refuses_a_loader_that_shuffles(self, Xy, make):
        with pytest.raises(ValueError, match="shuffle=False"):
            predict(make_model(), make(*Xy, batch_size=10), device="cpu")

    def test_of_nothing(self):
        with pytest.raises(ValueError, match="nothing to predict"):
            predict(make_model(), [], device="cpu")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"epochs": 0}, "epochs is a whole number"),
        ({"epochs": 2.5}, "epochs is a whole number"),
        ({"accumulate": 0}, "accumulate is a whole number"),
        ({"precision": "fp8"}, "precision is one of"),
        ({"device": "tpu"}, "tpu"),
        ({"progress": "loud"}, "progress is True, False"),
        ({"resume": True}, "checkpoint="),
        ({"scheduler_every": "day"}, "scheduler_every"),
    ],
)
def test_wrong_arguments(Xy, wrong, words):
    model = make_model()
    with pytest.raises(ValueError, match=words):
        fit(model, [Xy], optimizer=sgd(model), **quiet(**({"epochs": 1} | wrong)))


LOG_SCRIPT = """
import torch
from torch import nn
from helpers.training import fit
torch.manual_seed(0)
model = nn.Linear(2, 1)
X = torch.randn(8, 2)
fit(model, [(X, X.sum(1, keepdim=True))], loss_fn=nn.MSELoss(), device="cpu",
    optimizer=torch.optim.SGD(model.parameters(), lr=0.1), epochs=3)
"""


def test_a_log_file_gets_one_line_an_epoch_and_no_control_characters():
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST") and k != "BOOK_BUILD"}
    done = subprocess.run([sys.executable, "-c", LOG_SCRIPT], capture_output=True, text=True, env=env, check=True)
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]
    assert all("train_loss" in line and line.isprintable() for line in lines)


def test_nothing_is_shown_under_pytest_and_in_the_built_book(Xy, capfd):
    model = make_model()
    fit(model, [Xy], optimizer=sgd(model), epochs=2, **quiet(progress=True))
    assert capfd.readouterr() == ("", "")


def test_the_bar_of_a_terminal_ends_on_a_clean_line(Xy, capfd):
    model = make_model()
    fit(model, data.loader(*Xy, batch_size=10), optimizer=sgd(model), epochs=2, **quiet(progress="bar"))
    shown = capfd.readouterr().err
    assert "22" in shown  # steps in all
    assert shown.rsplit("\r", 2)[1].strip() == ""  # tqdm wipes its line


@pytest.mark.accelerator
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16", "fp16"])
def test_gpu_agrees_with_the_cpu(Xy, precision):
    losses = {}
    for device, kind in (("cpu", "fp32"), ("cuda", precision)):
        model = make_model()
        arguments = quiet(device=device, precision=kind, metrics=[accuracy], clip_norm=1.0)
        losses[device] = fit(model, data.loader(*Xy, batch_size=10), optimizer=sgd(model), epochs=3, **arguments)
    tolerance = {"fp32": 1e-5, "tf32": 1e-2, "bf16": 5e-2, "fp16": 2e-2}[precision]
    assert_close(losses["cuda"]["train_loss"], losses["cpu"]["train_loss"], rtol=tolerance, atol=0)


def test_public_names():
    assert training.find_lr.__module__ == "helpers.lr_finder"


@pytest.mark.parametrize("part", ["train", "valid", "evaluate"])
def test_shapes_that_broadcast_are_seen_in_a_later_batch_too(part):
    X, model = torch.ones(2, 1), nn.Linear(1, 1)
    good, ragged = [(X, X)], [(X, X), (X, X[:1])]
    loss = {"loss_fn": nn.MSELoss(), "device": "cpu"}
    more = loss | {"optimizer": torch.optim.SGD(model.parameters()), "epochs": 1, "progress": False}
    attempts = {
        "train": lambda: fit(model, ragged, **more),
        "valid": lambda: fit(model, good, ragged, **more),
        "evaluate": lambda: evaluate(model, ragged, **loss),
    }
    with pytest.raises(ValueError, match=r"\(2, 1\) with targets of shape \(1, 1\): PyTorch would broadcast"):
        attempts[part]()
