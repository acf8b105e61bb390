"""Cases for `hostile`: data, loaders, models and training, with sizes and values that make no sense."""

import copy
import math

import torch
import torch.nn.functional as F
from hostile import Case, double, finite, normal, whole
from torch import nn

from helpers import (
    cheatsheets,
    checkpoint,
    convolution,
    corpus,
    download,
    early_stopping,
    loading,
    lr_finder,
    residual,
    resnet,
    runtime,
    text,
    toy,
    training,
)


def made(draw):
    """What a maker of data made: the shapes, and whether all numbers are finite."""
    return lambda **options: [(tuple(t.shape), bool(t.isfinite().all())) for t in draw(**options)]


def points(n, *shapes, noise=0.1, **more):
    whole(n)
    whole(more.pop("seed"), least=0)
    finite(noise, least=0)
    finite(*more.values())
    return [((n, *shape), True) for shape in shapes]


def right_stack(stack, X, y):
    other = copy.deepcopy(stack).double()
    X, y = (X[0] if X.dim() == 3 else X), (y[0] if y.dim() == 2 else y)  # an axis for the one network
    assert X.dim() == 2
    assert y.shape == X.shape[:1]
    assert y.dtype == torch.int64
    return F.cross_entropy(other(double(X))[0], y)[None], other


STACK = residual.DenseStack(6, skip="pre-activation", norm="none", width=4, inputs=3, classes=3)
STACK_DATA = {"X": normal(5, 3), "y": torch.tensor([0, 1, 2, 1, 0])}


def right_norms(X, y):
    loss, other = right_stack(STACK, X, y)
    g = torch.autograd.grad(loss.sum(), (other.stem, other.weight, other.head))
    return torch.stack([m.norm() for m in (g[0], *g[1], g[2])])[None]


def right_paths(X, y):
    _, other = right_stack(STACK, X, y)
    y = y[0] if y.dim() == 2 else y
    assert X.dim() == 2
    first = other.signals(double(X))[0].detach().requires_grad_()
    x = first
    for k in range(other.n_blocks):
        x = x + other.branch(k, x)
    return torch.autograd.grad(F.cross_entropy(other.readout(x)[0], y), first)[0]


def pairs_up(X, y):
    """Whether a layer from three features to one takes X to the shape of y, at least one example of it."""
    return X.dtype == torch.float32 and y.is_floating_point() and y.shape == (*X.shape[:-1], 1) and y.numel()


def right_prediction(X, batch_size):
    whole(batch_size)
    assert X.dtype == torch.float32
    return TWIN(double(X))


def fitted(X, y, epochs, accumulate, clip_norm, lr):
    torch.manual_seed(0)
    model = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    training.fit(
        model, loading.loader(X, y, batch_size=2, shuffle=False), loss_fn=nn.MSELoss(), optimizer=optimizer,
        epochs=epochs,
        accumulate=accumulate, clip_norm=clip_norm, device="cpu", progress=False,
    )  # fmt: skip
    return model.weight


def right_fitted(X, y, epochs, accumulate, clip_norm, lr):
    whole(epochs, accumulate)
    assert clip_norm > 0
    finite(lr, least=0)
    torch.manual_seed(0)
    model = nn.Linear(3, 1).double()
    assert pairs_up(X, y)
    for _ in range(epochs):
        for i in range(0, len(X), 2 * accumulate):
            rows = slice(i, i + 2 * accumulate)
            loss = F.mse_loss(model(double(X)[rows]), double(y)[rows])
            assert math.isfinite(loss.item())
            model.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
            with torch.no_grad():
                for p in model.parameters():
                    p -= lr * p.grad
    return model.weight


def measured(X, y):
    with torch.no_grad():
        return training.evaluate(MODEL, [(X, y)], loss_fn=nn.MSELoss(), device="cpu")["loss"]


MODEL = nn.Linear(3, 1)
TWIN = copy.deepcopy(MODEL).double()


def right_measured(X, y):
    assert pairs_up(X, y)
    return F.mse_loss(TWIN(double(X)), double(y))


def batched(X, y, batch_size, seed):
    parts = list(loading.loader(X, y, batch_size=batch_size, seed=seed, shuffle=False))
    return [torch.cat(column) for column in zip(*parts, strict=True)], len(parts)


def right_batched(X, y, batch_size, seed):
    whole(batch_size)
    whole(seed, least=0)
    assert len(X) == len(y) > 0
    assert not X.is_meta
    assert not y.is_meta
    return [X, y], -(-len(X) // batch_size)


def shape_of(make, *size):
    """Of what a model makes of a batch of zeros, with as many channels as it wants."""
    return lambda **options: tuple(
        make(**options).eval()(torch.zeros(2, *([options["c_in"]] if "c_in" in options else []), *size)).shape
    )


def right_stack_shape(depth, width, classes, n_models):
    whole(width, classes, n_models)
    whole(depth, least=4)
    assert depth % 2 == 0
    return n_models, 2, classes


def right_block(c_in, width, stride, kind, grow=1):
    whole(c_in, width, stride)
    assert kind in ("padding", "projection")
    assert kind == "projection" or grow * width >= c_in
    return 2, grow * width, -(-8 // stride), -(-8 // stride)


def right_resnet(counts, classes):
    whole(*counts, classes)
    assert len(counts) == 4
    return 2, classes


def right_rates(lr_min, lr_max, steps, smoothing):
    finite(lr_min, lr_max, above=0)
    finite(smoothing, least=0)
    whole(steps, least=10)
    assert lr_min < lr_max
    assert smoothing < 1
    return [lr_min * (lr_max / lr_min) ** (i / (steps - 1)) for i in range(3)]


def rates(**options):
    model = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    found = lr_finder.find_lr(
        model,
        [(STACK_DATA["X"], STACK_DATA["X"][:, :1])],
        loss_fn=nn.MSELoss(),
        optimizer=optimizer,
        device="cpu",
        **options,
    )
    return found.lr[:3]


def right_collated(x):
    assert x.dtype == torch.float32
    assert x.dim() == 1
    assert len(double(x))
    return torch.tensor([len(x), 2]), torch.tensor([1, 0])


def known(value, *names):
    assert value in names
    return ...


SEEDED = {"n": 6, "noise": 0.1, "seed": 0}
CASES = [
    Case(
        "toy.line",
        made(toy.line),
        SEEDED | {"w": (1.0, 2.0), "b": 0.5},
        lambda n, w, b, **more: finite(*w, b) or (1 / len(w) and points(n, (len(w),), (1,), **more)),
    ),
    Case(
        "toy.polynomial",
        made(toy.polynomial),
        SEEDED | {"coefficients": (1.0, 2.0), "low": -2.0, "high": 2.0},
        lambda n, coefficients, low, high, **more: (
            finite(*coefficients)
            or (low <= high and coefficients and points(n, (1,), (1,), low=low, high=high, **more))
            or 1 / 0
        ),
    ),
    Case(
        "toy.high_dimensional_linear",
        made(toy.high_dimensional_linear),
        SEEDED | {"d": 4, "w": 0.1, "b": 0.1},
        lambda n, d, **more: whole(d) or points(n, (d,), (1,), **more),
    ),
    Case(
        "toy.adding_problem",
        made(toy.adding_problem),
        {"n": 6, "length": 5, "seed": 0},
        lambda n, length, seed: whole(length, least=2) or points(n, (length, 2), (1,), seed=seed),
    ),
    Case("toy.moons toy_classes.normal_noise", made(toy.moons), SEEDED, lambda n, **more: points(n, (2,), (), **more)),
    Case(
        "toy.spirals toy_classes.generator",
        made(toy.spirals),
        SEEDED | {"classes": 3, "turns": 0.5},
        lambda n, classes, **more: whole(classes) or (1 / (n >= classes) and points(n, (2,), (), **more)),
    ),
    Case(
        "toy.blobs",
        made(toy.blobs),
        SEEDED | {"classes": 3},
        lambda n, classes, **more: whole(classes) or (1 / (n >= classes) and points(n, (2,), (), **more)),
    ),
    Case(
        "loading.loader loading.Order loading.Rows loading.TensorSet loading.Batches loading.TensorLoader",
        batched,
        {"X": normal(5, 3), "y": torch.arange(5), "batch_size": 2, "seed": 0},
        right_batched,
    ),
    Case(
        "residual.losses",
        lambda X, y: residual.losses(STACK, X, y),
        STACK_DATA,
        lambda X, y: right_stack(STACK, X, y)[0],
    ),
    Case("residual.gradient_norms", lambda X, y: residual.gradient_norms(STACK, X, y), STACK_DATA, right_norms),
    Case("residual.path_gradients", lambda X, y: residual.path_gradients(STACK, X, y).sum(0), STACK_DATA, right_paths),
    Case(
        "residual.DenseStack",
        shape_of(residual.DenseStack, 64),
        {"depth": 4, "width": 3, "classes": 2, "n_models": 2},
        right_stack_shape,
    ),
    *(
        Case(
            f"resnet.{block.__name__}{also}",
            shape_of(block, 8, 8),
            {"c_in": 3, "width": 4, "stride": 2, "kind": "padding"},
            lambda block=block, **options: right_block(grow=block.expansion, **options),
        )
        for block, also in (
            (resnet.BasicBlock, " resnet.conv resnet.shortcut resnet.PadShortcut"),
            (resnet.Bottleneck, ""),
            (resnet.PreActivationBlock, ""),
        )
    ),
    Case("resnet.resnet", shape_of(resnet.resnet, 3, 32, 32), {"counts": (1, 1, 1, 1), "classes": 2}, right_resnet),
    Case(
        "training.fit",
        fitted,
        {"X": normal(5, 3), "y": normal(5, 1), "epochs": 2, "accumulate": 2, "clip_norm": 10.0, "lr": 0.1},
        right_fitted,
        errors=(FloatingPointError,),
        leave_out="10,000|lr",
    ),
    Case("training.evaluate", measured, {"X": normal(5, 3), "y": normal(5, 1)}, right_measured),
    Case(
        "training.predict",
        lambda X, batch_size: training.predict(MODEL, X, batch_size=batch_size, device="cpu"),
        {"X": normal(5, 3), "batch_size": 2},
        right_prediction,
    ),
    Case("lr_finder.find_lr", rates, {"lr_min": 1e-4, "lr_max": 1.0, "steps": 12, "smoothing": 0.5}, right_rates),
    Case(
        "early_stopping.EarlyStopping",
        early_stopping.EarlyStopping,
        {"patience": 3, "min_delta": 0.1, "mode": "min"},
        lambda patience, min_delta, mode: whole(patience) or finite(min_delta, least=0) or known(mode, "min", "max"),
    ),
    Case(
        "checkpoint.Checkpoint",
        lambda every: checkpoint.Checkpoint("run.pt", every=every),
        {"every": 5},
        lambda every: whole(every) or {"every": every},
    ),
    Case(
        "runtime.set_seed",
        lambda seed: runtime.set_seed(seed) or torch.initial_seed(),
        {"seed": 5},
        lambda seed: whole(seed, least=0) or seed,
    ),
    Case("runtime.limit_threads", runtime.limit_threads, {"n": 1}, lambda n: whole(n) or 1),
    Case(
        "runtime.pick_device",
        lambda prefer: runtime.pick_device(prefer).type,
        {"prefer": "cpu"},
        lambda prefer: known(prefer, "cpu"),
    ),
    Case("runtime.pick_precision", runtime.pick_precision, {"device": "cpu"}, lambda device: known(device, "cpu")),
    Case("download.mode download.one_of", download.mode, {"value": "auto"}, lambda value: known(value, "auto")),
    Case(
        "corpus.load_text",
        lambda n_valid, n_test: len(corpus.load_text(n_valid=n_valid, n_test=n_test)),
        {"n_valid": 1, "n_test": 2},
        lambda n_valid, n_test: whole(n_valid, n_test, least=0) or 16348,
    ),
    Case(
        "text.Vocabulary",
        lambda tokens: len(text.Vocabulary(tokens)),
        {"tokens": ["a", "b"]},
        lambda tokens: 2 + len({*tokens}) if tokens else 1 / 0,
    ),
    Case(
        "text.collate",
        lambda x: text.collate([(x, 1), (normal(2), 0)])[1:],
        {"x": normal(3)},
        right_collated,
    ),
    Case(
        "convolution.layer_table convolution.summary",
        lambda shape: convolution.layer_table(nn.Linear(4, 3), shape)[0].multiply_adds,
        {"shape": (2, 4)},
        lambda shape: whole(*shape) or (1 / (shape[-1] == 4) and math.prod(shape) * 3),
    ),
    Case(
        "cheatsheets.windows",
        lambda size: len(cheatsheets.windows(size).splitlines()),
        {"size": 28},
        lambda size: whole(size) or 11,
    ),
    Case(
        "cheatsheets.costs",
        lambda **sizes: len(cheatsheets.costs(**sizes).splitlines()),
        {"size": 5, "channels": 3, "maps": 4},
        lambda **sizes: whole(*sizes.values()) or 7,
    ),
    Case(
        "cheatsheets.decay",
        lambda **options: len(cheatsheets.decay(**options).splitlines()),
        {"lr": 0.1, "strength": 0.1},
        lambda **options: finite(*options.values(), least=0) or 7,
        leave_out="yes",
    ),
]
