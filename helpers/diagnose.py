"""Say what is wrong with a training run in one clear sentence, before it starts and at its first batch.

What breaks later is explained by `helpers.failures`.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

_ELEMENTWISE = (
    "MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss", "BCELoss", "BCEWithLogitsLoss",
    "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits",
)  # fmt: skip
_CLASSES = ("CrossEntropyLoss", "NLLLoss", "cross_entropy", "nll_loss")
_SUM_TO_ONE = 1e-2  # rows of bfloat16 probabilities miss 1 by up to about this; nothing but a softmax comes so near


def reduction(loss_fn: Callable) -> str:
    """Return ``"mean"`` or ``"sum"``: how `loss_fn` makes one number of a batch.

    Read from ``loss_fn.reduction`` (loss modules) or from the keyword of a `functools.partial`; a plain function
    counts as a mean, which is what the functions of `torch.nn.functional` do by default.

    Raises
    ------
    ValueError
        If the reduction is ``"none"``.

    Examples
    --------
    >>> reduction(nn.MSELoss(reduction="sum")), reduction(nn.functional.cross_entropy)
    ('sum', 'mean')
    """
    kind = getattr(loss_fn, "reduction", None) or (getattr(loss_fn, "keywords", None) or {}).get("reduction", "mean")
    if kind == "none":
        raise ValueError('the loss must be one number per batch: use reduction="mean" or "sum", not "none"')
    return "sum" if kind == "sum" else "mean"


def check_setup(model: nn.Module, train: Iterable, optimizer: torch.optim.Optimizer, scheduler: object = None) -> None:
    """Check before the first step that something can be learned.

    Raises
    ------
    ValueError
        If the model has no trainable parameter, the optimizer holds parameters that are not the model's, the scheduler
        belongs to another optimizer, or the loader is empty.

    Warns
    -----
    UserWarning
        If some trainable parameters of the model are not in the optimizer.
    """
    trainable = {id(p): name for name, p in model.named_parameters() if p.requires_grad}
    if not trainable:
        total = sum(1 for _ in model.parameters())
        why = f"all {total} are frozen (requires_grad is False)" if total else "it has no parameters at all"
        raise ValueError(f"the model has no trainable parameters: {why}, so there is nothing to learn")
    own = {id(p) for p in model.parameters()}
    held = [p for group in optimizer.param_groups for p in group["params"]]
    foreign = sum(id(p) not in own for p in held)
    if foreign:
        raise ValueError(
            f"the optimizer holds {foreign} parameter tensors that are not the model's ({len(held)} in all): build it "
            "from model.parameters() after the model, and again whenever the model is built again"
        )
    missing = [trainable[i] for i in trainable if i not in {id(p) for p in held}]
    if missing:
        names = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        warnings.warn(
            f"{len(missing)} trainable parameter tensors are not in the optimizer and will not change: {names}. If "
            "that is intended, set requires_grad to False for them, which also saves their gradients.",
            stacklevel=3,
        )
    if scheduler is not None and getattr(scheduler, "optimizer", optimizer) is not optimizer:
        raise ValueError("the scheduler belongs to another optimizer: build it from the one that fit is given")
    check_not_empty(train)


def check_not_empty(loader: Iterable, name: str = "train") -> None:
    """Raise a `ValueError` if `loader` says that it has no batch."""
    try:
        n_batches = len(loader)
    except TypeError:  # a stream does not know its length
        return
    if n_batches:
        return
    data, batch_size = getattr(loader, "dataset", None), getattr(loader, "batch_size", None)
    examples = f": the data set has {len(data)} examples" if hasattr(data, "__len__") else ""
    dropped = f", fewer than one batch of {batch_size}, and drop_last=True drops the rest"
    raise ValueError(f"{name} has no batch{examples}{dropped if examples and len(data) else ''}")


class BatchChecks:
    """Look at the first batch, and at every later one whose outputs or targets have a shape not met before.

    Parameters
    ----------
    active : bool
        False: let everything pass.
    """

    def __init__(self, active: bool = True):
        self.active, self.met = active, set()

    def __call__(self, model: nn.Module, outputs: object, target: object, loss_fn: Callable) -> None:
        """Raise the errors of `check_first_batch`."""
        shapes = (getattr(outputs, "shape", None), getattr(target, "shape", None))
        if self.active and shapes not in self.met:
            self.met.add(shapes)
            check_first_batch(model, outputs, target, loss_fn)


def check_first_batch(model: nn.Module, outputs: object, target: object, loss_fn: Callable) -> None:
    """Look at the first outputs and targets for the mistakes that PyTorch lets pass or words badly.

    Parameters
    ----------
    model : torch.nn.Module
    outputs : Tensor
        What the model made of the first batch.
    target : Tensor
    loss_fn : callable
        Only PyTorch's own losses are checked; any other is trusted.

    Raises
    ------
    ValueError
        For a softmax (or sigmoid) before a loss that applies it itself, outputs and targets whose shapes broadcast,
        class numbers outside the range of the outputs.
    TypeError
        For class numbers that are floats, or regression targets that are integers or of another precision.
    """
    name = getattr(getattr(loss_fn, "func", loss_fn), "__name__", type(loss_fn).__name__)
    if not isinstance(outputs, Tensor) or not isinstance(target, Tensor):
        return
    if name in _CLASSES:
        _check_classes(name, outputs.detach(), target, getattr(loss_fn, "ignore_index", -100))
    elif name in _ELEMENTWISE:
        _check_elementwise(name, outputs, target)
        last = [module for module in model.modules() if not list(module.children())][-1]
        if name in ("BCEWithLogitsLoss", "binary_cross_entropy_with_logits") and isinstance(last, nn.Sigmoid):
            raise ValueError(f"{name} applies the sigmoid itself, and the model ends in one: remove nn.Sigmoid")


def _check_classes(name: str, outputs: Tensor, target: Tensor, ignore_index: int) -> None:
    shape, n_classes = tuple(outputs.shape), outputs.shape[1] if outputs.ndim > 1 else len(outputs)
    expected = (shape[0], *shape[2:]) if outputs.ndim > 1 else ()
    if target.shape == outputs.shape and target.is_floating_point():
        pass  # probabilities of the classes
    elif tuple(target.shape) != expected:
        hint = ""
        if tuple(target.shape) == (shape[0], 1):
            hint = ": drop the last dimension with target.squeeze(1)"
        elif target.shape == outputs.shape:
            hint = ": one-hot rows become class numbers with target.argmax(1)"
        raise ValueError(
            f"{name} got logits of shape {shape} and targets of shape {tuple(target.shape)}; it expects class numbers "
            f"of shape {expected}{hint}"
        )
    elif target.is_floating_point():
        raise TypeError(
            f"{name} expects class numbers as integers (torch.long), but the targets are {target.dtype}: use "
            "target.long() (or, for numbers that are not classes, a regression loss such as MSELoss)"
        )
    elif bool(wrong := target[(target != ignore_index) & ((target < 0) | (target >= n_classes))].numel()):
        raise ValueError(
            f"{wrong} of {target.numel()} class numbers lie outside 0 to {n_classes - 1}, the range of the "
            f"{n_classes} outputs (the smallest is {target.min()}, the largest {target.max()}): count classes from 0, "
            "and give the last layer one output per class"
        )
    if name in ("CrossEntropyLoss", "cross_entropy") and outputs.ndim > 1 and n_classes > 1:
        total = outputs.float().sum(dim=1)
        if bool((outputs >= 0).all()) and bool(((total - 1).abs() < _SUM_TO_ONE).all()):
            raise ValueError(
                f"the model's outputs are already probabilities (every row sums to 1), but {name} applies the softmax "
                "itself: remove the softmax from the model, and apply it only to read off probabilities"
            )


def _check_elementwise(name: str, outputs: Tensor, target: Tensor) -> None:
    a, b = tuple(outputs.shape), tuple(target.shape)
    if a != b:
        try:
            pairs = math.prod(torch.broadcast_shapes(a, b))
        except RuntimeError:
            raise ValueError(
                f"{name} compares outputs of shape {a} with targets of shape {b}: they must agree"
            ) from None
        fix = {(len(a), len(b)) == (2, 1): "target.unsqueeze(1)", (len(a), len(b)) == (1, 2): "target.squeeze(1)"}
        hint = f"; use {fix[True]}" if True in fix else ""
        raise ValueError(
            f"{name} compares outputs of shape {a} with targets of shape {b}: PyTorch would broadcast them to {pairs} "
            f"pairs and average over all of them, which trains towards the mean{hint}"
        )
    if not target.is_floating_point():
        raise TypeError(f"{name} expects targets of {outputs.dtype}, not {target.dtype}: use target.float()")
    if target.dtype == torch.float64 and outputs.dtype != torch.float64:
        raise TypeError(
            f"the targets are float64 and the outputs {outputs.dtype}: NumPy's default is float64, PyTorch's float32; "
            "use target.float()"
        )
