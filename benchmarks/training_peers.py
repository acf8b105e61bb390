"""The training loops that `benchmarks.training` compares: each trains one epoch and then measures loss and accuracy.

Every function gets (model, train, valid, lr, device) and leaves the model trained. Loaders come from outside, so that
each library can be timed both on the loader its own documentation shows and on ours.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Callable
from importlib.metadata import version

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks import training_d2l
from helpers import training


def ours(model, train, valid, lr, device, **kwargs):
    """`helpers.training.fit`."""
    training.fit(
        model, train, valid, loss_fn=nn.CrossEntropyLoss(), optimizer=torch.optim.SGD(model.parameters(), lr=lr),
        epochs=1, metrics={"accuracy": training.accuracy}, progress=False, device=device, precision="fp32", **kwargs,
    )  # fmt: skip


def near_limit(model, X, y, X_valid, y_valid, batch_size, lr):
    """A loop by hand, as near to the limit as `torch.optim` allows: data on the device, nothing read in between."""
    optimizer, loss_fn = torch.optim.SGD(model.parameters(), lr=lr), nn.CrossEntropyLoss()
    losses, hits = [], []
    model.train()
    for rows in torch.randperm(len(X), device=X.device).split(batch_size):
        xb, yb = X.index_select(0, rows), y.index_select(0, rows)
        optimizer.zero_grad()
        outputs = model(xb)
        loss = loss_fn(outputs, yb)
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
        hits.append(outputs.detach().argmax(1) == yb)
    model.eval()
    with torch.inference_mode():
        for xb, yb in zip(X_valid.split(batch_size), y_valid.split(batch_size), strict=True):
            outputs = model(xb)
            losses.append(loss_fn(outputs, yb))
            hits.append(outputs.argmax(1) == yb)
    return torch.stack(losses).mean().item(), torch.cat(hits).float().mean().item()


def plain(model, train, valid, lr, device):
    """The loop of the common tutorial: running sums with `.item()` at every step."""
    optimizer, loss_fn = torch.optim.SGD(model.parameters(), lr=lr), nn.CrossEntropyLoss()
    model.to(device).train()
    total = right = n = 0
    for xb, yb in train:
        xb, yb = xb.to(device), yb.to(device)
        optimizer.zero_grad()
        outputs = model(xb)
        loss = loss_fn(outputs, yb)
        loss.backward()
        optimizer.step()
        total += loss.item() * len(yb)
        right += (outputs.argmax(1) == yb).sum().item()
        n += len(yb)
    model.eval()
    with torch.no_grad():
        for xb, yb in valid:
            xb, yb = xb.to(device), yb.to(device)
            outputs = model(xb)
            total += loss_fn(outputs, yb).item() * len(yb)
            right += (outputs.argmax(1) == yb).sum().item()


def accelerate(model, train, valid, lr, device):
    """The plain loop of Accelerate's documentation: everything prepared, `accelerator.backward`."""
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=device == "cpu")
    optimizer, loss_fn = torch.optim.SGD(model.parameters(), lr=lr), nn.CrossEntropyLoss()
    model, optimizer, train, valid = accelerator.prepare(model, optimizer, train, valid)
    total = torch.zeros((), device=accelerator.device)
    right = torch.zeros((), device=accelerator.device)
    model.train()
    for xb, yb in train:
        optimizer.zero_grad()
        outputs = model(xb)
        loss = loss_fn(outputs, yb)
        accelerator.backward(loss)
        optimizer.step()
        total += loss.detach() * len(yb)
        right += (outputs.argmax(1) == yb).sum()
    model.eval()
    with torch.no_grad():
        for xb, yb in valid:
            outputs = model(xb)
            outputs, yb = accelerator.gather_for_metrics((outputs, yb))
            total += loss_fn(outputs, yb) * len(yb)
            right += (outputs.argmax(1) == yb).sum()
    return total.item(), right.item()


def d2l_mlp(model, train, valid, lr, device):
    """`d2l.train_ch3` of version 0.17, which draws the curves as it goes."""
    from helpers import d2l_compat

    d2l = d2l_compat.load()
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    d2l.train_ch3(model, train, valid, nn.CrossEntropyLoss(), 1, optimizer)
    d2l.plt.close("all")


def d2l_cnn(model, train, valid, lr, device):
    """`d2l.train_ch6` of version 0.17."""
    from helpers import d2l_compat

    d2l = d2l_compat.load()
    d2l.train_ch6(model, train, valid, 1, lr, torch.device(device))
    d2l.plt.close("all")


def lightning(model, train, valid, lr, device):
    """`Trainer.fit` of Lightning, with progress bar, logger and checkpoints off."""
    import lightning as L

    class Module(L.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = model

        def _step(self, batch, name):
            outputs = self.net(batch[0])
            loss = F.cross_entropy(outputs, batch[1])
            hits = (outputs.argmax(1) == batch[1]).float().mean()
            self.log_dict({f"{name}_loss": loss, f"{name}_acc": hits}, on_step=False, on_epoch=True)
            return loss

        def training_step(self, batch, _):
            return self._step(batch, "train")

        def validation_step(self, batch, _):
            self._step(batch, "valid")

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=lr)

    for name in ("lightning", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    trainer = L.Trainer(
        max_epochs=1, accelerator="gpu" if device == "cuda" else "cpu", devices=1, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
    )  # fmt: skip
    trainer.fit(Module(), train, valid)


def _pairs(inputs, targets, outputs, loss):
    return outputs, targets


def ignite(model, train, valid, lr, device):
    """`create_supervised_trainer` and `create_supervised_evaluator` of PyTorch-Ignite."""
    from ignite.engine import create_supervised_evaluator, create_supervised_trainer
    from ignite.metrics import Accuracy, Loss

    model.to(device)
    loss_fn = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    trainer = create_supervised_trainer(model, optimizer, loss_fn, device=device, output_transform=_pairs)
    Accuracy().attach(trainer, "accuracy")
    metrics = {"loss": Loss(loss_fn), "accuracy": Accuracy()}
    evaluator = create_supervised_evaluator(model, metrics=metrics, device=device)
    trainer.run(train, max_epochs=1)
    evaluator.run(valid)


def skorch(model, train, valid, lr, device):
    """`NeuralNetClassifier` of skorch on the arrays behind the loaders."""
    from skorch import NeuralNetClassifier
    from skorch.helper import predefined_split

    net = NeuralNetClassifier(
        model, classes=list(range(10)), criterion=nn.CrossEntropyLoss, optimizer=torch.optim.SGD,
        lr=lr, max_epochs=1, verbose=0, device=device,
        train_split=predefined_split(valid.dataset), batch_size=train.batch_size or train.batch_sampler.batch_size,
        iterator_train=lambda *_, **__: train, iterator_valid=lambda *_, **__: valid,
    )  # fmt: skip
    net.fit(train.dataset, None)


def fastai(model, train, valid, lr, device):
    """`Learner.fit` of fastai."""
    from fastai.data.core import DataLoaders
    from fastai.learner import Learner
    from fastai.metrics import accuracy

    def sgd(params, lr):
        from fastai.optimizer import OptimWrapper

        return OptimWrapper(params, torch.optim.SGD, lr=lr)

    learner = Learner(
        DataLoaders(train, valid, device=torch.device(device)), model, loss_func=nn.CrossEntropyLoss(), opt_func=sgd,
        metrics=accuracy,
    )  # fmt: skip
    with learner.no_logging():  # the progress bar comes only with fastai.callback.progress
        learner.fit(1, lr=lr)


def keras(model, train, valid, lr, device):
    """`Model.fit` of Keras on the torch backend, with the same layers as `model` (the MLP only)."""
    import keras as K

    net = K.Sequential([K.layers.Flatten(), *(K.layers.Dense(n, activation=a) for n, a in KERAS_LAYERS)])
    loss = K.losses.SparseCategoricalCrossentropy(from_logits=True)
    net.compile(optimizer=K.optimizers.SGD(lr), loss=loss, metrics=["accuracy"])
    net.fit(train, validation_data=valid, epochs=1, verbose=0)


KERAS_LAYERS = ((256, "relu"), (128, "relu"), (10, None))

PEERS: dict[str, tuple[str, Callable, str]] = {
    "tutorial loop": ("torchvision", plain, "both"),
    "Accelerate, plain loop": ("accelerate", accelerate, "both"),
    "d2l train_ch3": ("d2l", d2l_mlp, "mlp"),
    "d2l train_ch6": ("d2l", d2l_cnn, "lenet"),
    "d2l 1 Trainer": (training_d2l.PACKAGE, training_d2l.trainer, "both"),
    "Ignite": ("pytorch-ignite", ignite, "both"),
    "fastai": ("fastai", fastai, "both"),
    "skorch": ("skorch", skorch, "both"),
    "Lightning": ("lightning", lightning, "both"),
    "Keras on torch": ("keras", keras, "mlp"),
}
"""Name in the table: (package, function, the models it is timed on)."""


def installed(package: str) -> str | None:
    """Return the version of a package, or None."""
    if package == training_d2l.PACKAGE:
        return training_d2l.installed()
    try:
        return version(package)
    except ImportError:
        return None


@contextlib.contextmanager
def quiet():
    """Keep the libraries' own output and advice out of the table."""
    sink = io.StringIO()
    with warnings.catch_warnings(), contextlib.redirect_stdout(sink), contextlib.redirect_stderr(sink):
        warnings.simplefilter("ignore")
        yield
