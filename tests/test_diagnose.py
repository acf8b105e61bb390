"""Each usual mistake gives one clear sentence, and the right way beside it passes."""

import math

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from helpers import diagnose, failures
from helpers.training import evaluate, fit

X = torch.randn(12, 4, generator=torch.Generator().manual_seed(0))
classes = torch.arange(12) % 3
heights = X.sum(1, keepdim=True)
CE, MSE = nn.CrossEntropyLoss(), nn.MSELoss()


def run(model, data, loss_fn, *, lr=0.01, **kwargs):
    optimizer = kwargs.pop("optimizer", None) or torch.optim.SGD(model.parameters(), lr=lr)
    train = data if not isinstance(data, tuple) else [data]
    arguments = {"loss_fn": loss_fn, "epochs": 1, "device": "cpu", "progress": False} | kwargs
    return fit(model, train, optimizer=optimizer, **arguments)


def classifier(*more):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 3), *more)


FIRST_BATCH = {
    "softmax before cross-entropy": (classifier(nn.Softmax(1)), classes, CE, ValueError, "remove the softmax"),
    "softmax before the function": (
        classifier(nn.Softmax(1)), classes, nn.functional.cross_entropy, ValueError, "remove the softmax",
    ),
    "float labels": (classifier(), classes.float(), CE, TypeError, r"target\.long\(\)"),
    "labels (n, 1)": (classifier(), classes[:, None], CE, ValueError, r"target\.squeeze\(1\)"),
    "one-hot integers": (classifier(), nn.functional.one_hot(classes), CE, ValueError, r"target\.argmax\(1\)"),
    "classes counted from 1": (classifier(), classes + 1, CE, ValueError, "4 of 12 class numbers lie outside 0 to 2"),
    "labels of another length": (classifier(), torch.zeros(12, 2).long(), CE, ValueError, r"shape \(12,\)"),
    "(n,) against (n, 1)": (nn.Linear(4, 1), heights[:, 0], MSE, ValueError, r"144 pairs .*target\.unsqueeze\(1\)"),
    "(n, 1) against (n,)": (
        nn.Sequential(nn.Linear(4, 1), nn.Flatten(0)), heights, nn.L1Loss(), ValueError, r"target\.squeeze\(1\)",
    ),
    "shapes that cannot be compared": (nn.Linear(4, 2), heights.expand(-1, 3), MSE, ValueError, "must agree"),
    "integer targets of a regression": (nn.Linear(4, 1), classes[:, None], MSE, TypeError, r"target\.float\(\)"),
    "float64 targets": (nn.Linear(4, 1), heights.double(), MSE, TypeError, "NumPy's default is float64"),
    "sigmoid before the loss with logits": (
        nn.Sequential(nn.Linear(4, 1), nn.Sigmoid()), (heights > 0).float(), nn.BCEWithLogitsLoss(), ValueError,
        "remove nn.Sigmoid",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FIRST_BATCH)
def test_first_batch(name):
    model, target, loss_fn, kind, words = FIRST_BATCH[name]
    with pytest.raises(kind, match=words):
        run(model, (X, target), loss_fn)


@pytest.mark.parametrize(
    ("model", "target", "loss_fn"),
    [
        (classifier(), classes, CE),
        (classifier(nn.LogSoftmax(1)), classes, nn.NLLLoss()),
        (classifier(nn.LogSoftmax(1)), classes, CE),  # harmless: log-softmax of a log-softmax is itself
        (classifier(), torch.softmax(torch.randn(12, 3), 1), CE),  # probabilities as targets
        (classifier(nn.ReLU()), classes, CE),
        (classifier(), torch.where(classes == 0, -100, classes), CE),  # -100 is ignored
        (classifier(nn.Unflatten(1, (3, 1))), classes[:, None], CE),  # one class for each position
        (nn.Linear(4, 1), heights, MSE),
        (nn.Sequential(nn.Linear(4, 1), nn.Sigmoid()), (heights > 0).float(), nn.BCELoss()),
        (nn.Linear(4, 1), heights[:, 0], lambda outputs, target: ((outputs[:, 0] - target) ** 2).mean()),
    ],
)
def test_what_is_right_passes(model, target, loss_fn):
    assert math.isfinite(run(model, (X, target), loss_fn)["train_loss"][0])


def test_checks_can_be_switched_off_for_an_experiment():
    history = run(classifier(nn.Softmax(1)), (X, classes), CE, checks=False)
    assert history["train_loss"][0] > 0.5


class TestSetup:
    def test_frozen_model(self):
        model = classifier().requires_grad_(False)
        with pytest.raises(ValueError, match="all 2 are frozen"):
            run(model, (X, classes), CE)

    def test_model_without_parameters(self):
        other = nn.Linear(1, 1)
        with pytest.raises(ValueError, match="no parameters at all"):
            run(nn.Flatten(), (X, classes), CE, optimizer=torch.optim.SGD(other.parameters()))

    def test_optimizer_of_a_model_built_before(self):
        optimizer = torch.optim.SGD(classifier().parameters(), lr=0.1)
        with pytest.raises(ValueError, match=r"holds 2 parameter tensors that are not the model's \(2 in all\)"):
            run(classifier(), (X, classes), CE, optimizer=optimizer)

    def test_optimizer_of_a_part_warns(self):
        model = classifier()
        with pytest.warns(UserWarning, match=r"1 trainable parameter .* will not change: 0.bias"):
            run(model, (X, classes), CE, optimizer=torch.optim.SGD([model[0].weight], lr=0.1))

    def test_a_frozen_part_is_no_reason_to_warn(self, recwarn):
        model = classifier()
        model[0].bias.requires_grad_(False)
        run(model, (X, classes), CE, optimizer=torch.optim.SGD([model[0].weight], lr=0.1))
        assert not [w for w in recwarn if "optimizer" in str(w.message)]

    @pytest.mark.parametrize("drop_last", [True, False])
    def test_empty_loader(self, drop_last):
        n = 12 if drop_last else 0
        loader = DataLoader(TensorDataset(X[:n], classes[:n]), batch_size=64, drop_last=drop_last)
        words = "12 examples, fewer than one batch of 64" if drop_last else "0 examples$"
        for attempt in (
            lambda: run(classifier(), loader, CE),
            lambda: run(classifier(), (X, classes), CE, valid=loader),
            lambda: evaluate(classifier(), loader, loss_fn=CE, device="cpu"),
        ):
            with pytest.raises(ValueError, match=words):
                attempt()

    def test_a_generator_that_is_used_up(self):
        with pytest.raises(ValueError, match="used up"):
            run(classifier(), ((X, classes) for _ in range(2)), CE, epochs=2)

    def test_no_targets(self):
        with pytest.raises(TypeError, match=r"tuple \(inputs, target\)"):
            run(classifier(), [X], CE)

    def test_reduction_none(self):
        with pytest.raises(ValueError, match='not "none"'):
            run(classifier(), (X, classes), nn.CrossEntropyLoss(reduction="none"))


class Attribute(nn.Module):
    """A model that uses its parameters only behind `cut`."""

    def __init__(self, cut):
        super().__init__()
        self.layer, self.cut = nn.Linear(4, 3), cut

    def forward(self, x):
        return self.cut(self.layer(x))


class Carried(nn.Module):
    """A recurrent model that carries its state, graph and all, from one batch to the next."""

    def __init__(self):
        super().__init__()
        self.layer, self.state = nn.Linear(4, 3), 0

    def forward(self, x):
        self.state = torch.tanh(self.layer(x)) + self.state
        return self.state


conv = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Flatten())
images = torch.randn(2, 8, 8)
BROKEN = {
    "images into a linear layer": (
        nn.Sequential(nn.Linear(64, 3)), (images, classes[:2]), ValueError,
        r"layer '0', Linear.* does not fit its input of shape \(2, 8, 8\): it expects 64 features .*Flatten",
    ),
    "wrong width": (
        nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(6, 3)), (X, classes), ValueError,
        r"layer '2', Linear\(in_features=6.*shape \(12, 5\)",
    ),
    "image without channels": (
        conv, (images[:, None].permute(0, 2, 3, 1), classes[:2]), ValueError, r"X\.permute\(0, 3, 1, 2\)",
    ),
    "float64 inputs": (classifier(), (X.double(), classes), TypeError, r"float64, but its weights are torch.float32"),
    "bytes": (classifier(), ((X * 9).to(torch.uint8), classes), TypeError, r"X\.float\(\) / 255"),
    "detached": (Attribute(torch.Tensor.detach), (X, classes), ValueError, "the graph is cut"),
    "carried state": (Carried(), [(X, classes)] * 2, ValueError, r"call \.detach\(\) on it"),
    "batch norm on one example": (
        classifier(nn.BatchNorm1d(3)), (X[:1], classes[:1]), ValueError, "drop_last=True",
    ),
    "bad class in a later batch": (
        classifier(), [(X, classes), (X, classes + 7)], ValueError, "class numbers go from 0",
    ),
    "bad index": (
        nn.Sequential(nn.Embedding(5, 3), nn.Flatten(), nn.LazyLinear(3)), (classes[:, None] + 9, classes), ValueError,
        "num_embeddings",
    ),
    "a tensor left on another device": (
        Attribute(lambda x: x + torch.zeros(3, device="meta")), (X, classes), RuntimeError, "self.register_buffer",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_errors_of_pytorch_are_explained(name):
    model, data, kind, words = BROKEN[name]
    if name == "bad index":
        model(torch.zeros(2, 1, dtype=torch.long))  # gives the lazy layer its shape
    with pytest.raises(kind, match=words) as caught:
        run(model, data, CE)
    assert caught.value.__cause__ is not None  # the original is kept


def test_running_out_of_memory_names_the_remedies():
    def loss_fn(outputs, target):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB")

    with pytest.raises(MemoryError, match=r"batch of 12 examples.*accumulate=2.*precision="):
        run(classifier(), (X, classes), loss_fn)


def test_really_running_out_of_memory():
    def loss_fn(outputs, target):
        return torch.zeros(2**55).sum()

    with pytest.raises(MemoryError, match="halve the batch size"):
        run(classifier(), (X, classes), loss_fn)


def test_other_errors_pass_unchanged():
    class Own(RuntimeError):
        pass

    def loss_fn(outputs, target):
        raise Own("mine")

    with pytest.raises(Own, match="mine"):
        run(classifier(), (X, classes), loss_fn)


class TestNonFinite:
    def test_a_learning_rate_that_is_too_high(self):
        loader = DataLoader(TensorDataset(X, heights), batch_size=4)
        with pytest.raises(FloatingPointError) as caught:
            run(nn.Linear(4, 1), loader, MSE, lr=1e4, epochs=50)
        error = caught.value
        losses = error.history.steps["loss"]
        assert all(map(math.isfinite, losses[:-1]))
        assert not math.isfinite(losses[-1])
        epoch, step = divmod(len(losses) - 1, 3)
        assert f"became {losses[-1]} in epoch {epoch + 1}, step {step + 1}, at learning rate 1e+04" in str(error)
        assert "try 1e+03" in str(error)

    @pytest.mark.parametrize("bad", [math.nan, math.inf])
    def test_bad_data_are_found(self, bad):
        spoilt = X.clone()
        spoilt[[2, 7], 1] = bad
        loader = DataLoader(TensorDataset(spoilt, classes), batch_size=4)
        with pytest.raises(FloatingPointError, match=r"epoch 1, step 1,.*2 of 12 examples hold NaN or infinity"):
            run(classifier(), loader, CE)

    def test_noticed_within_a_long_epoch(self, monkeypatch):
        monkeypatch.setattr("helpers.run.READ_EVERY", 5)
        calls = []

        def loss_fn(outputs, target):
            calls.append(1)
            return MSE(outputs, target) * (math.nan if len(calls) == 7 else 1)

        with pytest.raises(FloatingPointError, match="epoch 1, step 7"):
            run(nn.Linear(4, 1), [(X, heights)] * 100, loss_fn)
        assert len(calls) == 10

    def test_no_checkpoint_is_written_of_it(self, tmp_path):
        calls = []

        def loss_fn(outputs, target):
            calls.append(1)
            return MSE(outputs, target) * (math.nan if len(calls) == 3 else 1)

        with pytest.raises(FloatingPointError, match="epoch 3, step 1"):
            run(nn.Linear(4, 1), (X, heights), loss_fn, epochs=9, checkpoint=tmp_path / "run.pt")
        state = torch.load(tmp_path / "run.pt", weights_only=True)
        assert state["epoch"] == 2
        assert all(torch.isfinite(w).all() for w in state["model"].values())

    def test_half_precision_is_named_as_a_cause(self):
        error = failures.nonfinite_loss(math.inf, epoch=1, step=1, lr=0.1, precision="fp16")
        assert "65504" in str(error)


def test_reduction_of_a_partial():
    from functools import partial

    assert diagnose.reduction(partial(nn.functional.mse_loss, reduction="sum")) == "sum"
