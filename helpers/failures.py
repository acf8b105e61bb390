"""Explain what broke during training: the errors of PyTorch, and losses that are not finite, in words that help."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice

import torch
from torch import Tensor, nn

_SHAPE = r"shapes cannot be multiplied|expected input\[.*channels|size mismatch|must match the size|Expected [234]D"
_DTYPE = r"same dtype|should be the same|Found dtype|expected scalar type|not implemented for '(Byte|Char|Int|Long)'"
_RULES: tuple[tuple[str, type[Exception], str], ...] = (
    (r"same device|on the expected device", RuntimeError,
     "some tensors are on another device: fit moves the model's parameters and buffers and every batch to {device}, "
     "but not a tensor that the model or the loss keeps as a plain attribute; register it with self.register_buffer"),
    (r"device-side assert|out of bounds|index out of range", ValueError,
     "a class number or an index lies outside its range: class numbers go from 0 to the number of outputs less one, "
     'indices of an embedding from 0 to num_embeddings less one; device="cpu" names the culprit'),
    (r"does not require grad", ValueError,
     "the loss does not depend on the parameters: somewhere between the model and the loss the graph is cut, by "
     ".detach(), .item(), .numpy(), torch.no_grad() or a step function such as argmax"),
    (r"implicitly created only for scalar", ValueError,
     'the loss of a batch must be one number: use reduction="mean" or "sum"'),
    (r"second time", ValueError,
     "a tensor of an earlier step is used again, for example a recurrent state carried from batch to batch: "
     "call .detach() on it"),
    (r"more than 1 value per channel", ValueError,
     "batch normalisation cannot train on a batch of one example: choose another batch size, or drop_last=True in the "
     "training loader"),
    (_SHAPE, ValueError, "{layer} does not fit its input of shape {shape}{hint}"),
    (_DTYPE, TypeError,
     "{layer} got {dtype}, but its weights are {weights}: give inputs and targets as float32 (X.float(); for images of "
     "whole numbers X.float() / 255)"),
)  # fmt: skip


def explain(error: Exception, model: nn.Module, inputs: tuple, *, precision: str = "fp32") -> Exception | None:
    """Find words for an error that training raised.

    Parameters
    ----------
    error : Exception
    model : torch.nn.Module
        Run once more on `inputs` to find the layer at which shapes or types do not fit.
    inputs : tuple
        The inputs of the batch at which it happened; empty if there was none.
    precision : str

    Returns
    -------
    Exception or None
        An error with a clear message, to be raised ``from error``; None if the error is none of the usual ones.
    """
    if getattr(error, "explained", False):
        return None
    found = _explained(error, model, inputs, precision=precision)
    if found is not None:
        found.explained = True  # the words quote PyTorch, and must not be taken for its error once more
    return found


@contextmanager
def in_words(model: nn.Module, inputs: tuple, *, precision: str = "fp32") -> Iterator[None]:
    """Raise what `explain` makes of an error inside the block, from it."""
    try:
        yield
    except Exception as error:
        found = explain(error, model, inputs, precision=precision)
        if found is None:
            raise
        raise found from error


def _explained(error: Exception, model: nn.Module, inputs: tuple, *, precision: str = "fp32") -> Exception | None:
    text = str(error)
    first = inputs[0] if inputs and isinstance(inputs[0], Tensor) else None
    if isinstance(error, torch.cuda.OutOfMemoryError) or "out of memory" in text or "can't allocate memory" in text:
        size = f" of {len(first)} examples" if first is not None else ""
        half = "" if precision in ("bf16", "fp16") else ' precision="bf16" (on a GPU that has it) halves activations;'
        return MemoryError(
            f"the device ran out of memory at a batch{size}: halve the batch size and set accumulate=2, which gives "
            f"the same gradient;{half} a smaller model is the last resort"
        )
    rule = next((rule for rule in _RULES if re.search(rule[0], text)), None)
    if rule is None:
        return None
    pattern, kind, message = rule
    name, module, got = "the loss", None, first
    if pattern in (_SHAPE, _DTYPE) and first is not None:
        name, module, got = _failing_layer(model, inputs) or (name, None, None)
    weight = next(iter(module.parameters(recurse=False)), None) if module is not None else None
    if pattern in (_SHAPE, _DTYPE) and (got is None or (pattern == _DTYPE and weight is None)):
        return kind(f"shapes or types of outputs and targets do not fit the loss: {text.splitlines()[0]}")
    return kind(
        message.format(
            device=next(model.parameters()).device,
            layer=name,
            shape=tuple(got.shape) if got is not None else None,
            dtype=got.dtype if got is not None else None,
            weights=weight.dtype if weight is not None else None,
            hint=_shape_hint(module, got),
        )
        + f" [PyTorch: {text.splitlines()[0]}]"
    )


def _failing_layer(model: nn.Module, inputs: tuple) -> tuple[str, nn.Module, Tensor | None] | None:
    """Run the model once more and return the innermost layer that was entered and not left."""
    entered: list[tuple[str, nn.Module, Tensor | None]] = []
    handles = []
    for name, module in model.named_modules():

        def enter(module: nn.Module, args: tuple, name: str = name) -> None:
            label = f"layer {name!r}, {module}" if name else f"the model, {type(module).__name__},"
            entered.append((label, module, next((a for a in args if isinstance(a, Tensor)), None)))

        handles += [
            module.register_forward_pre_hook(enter),
            module.register_forward_hook(lambda *_: entered.pop() and None),
        ]
    try:
        with torch.no_grad():
            model(*inputs)
    except (RuntimeError, ValueError, TypeError, IndexError):
        return entered[-1] if entered else None
    finally:
        for handle in handles:
            handle.remove()
    return None


def _shape_hint(module: nn.Module | None, got: Tensor | None) -> str:
    if isinstance(module, nn.Linear) and got is not None:
        flat = math.prod(got.shape[1:])
        hint = f": it expects {module.in_features} features in the last dimension"
        if got.ndim > 2 and flat == module.in_features:
            return hint + "; put nn.Flatten() before it"
        return hint + (f"; with nn.Flatten() there would be {flat}" if got.ndim > 2 else "")
    if isinstance(module, nn.modules.conv._ConvNd) and got is not None:
        return (
            f": it expects (examples, {module.in_channels} channels, ...); grey images get their channel with "
            "X.unsqueeze(1), channels-last arrays are turned with X.permute(0, 3, 1, 2)"
        )
    return ""


def nonfinite_loss(
    loss: float, *, epoch: int, step: int, lr: float, precision: str = "fp32", inputs: Iterable | None = None
) -> FloatingPointError:
    """Make the error for a loss that is NaN or infinite.

    Parameters
    ----------
    loss : float
        The first loss that was not finite.
    epoch, step : int
        Where it appeared, both counted from 1, the step within its epoch.
    lr : float
        The learning rate of the step before.
    precision : str
    inputs : iterable of batches, optional
        The training data, searched for NaN and infinity.

    Returns
    -------
    FloatingPointError
        To be raised by the caller.

    Examples
    --------
    >>> print(nonfinite_loss(float("nan"), epoch=2, step=7, lr=0.5))
    the loss became nan in epoch 2, step 7, at learning rate 0.5. Usual causes: a learning rate that is too high (try
    0.05, or see helpers.training.find_lr; clip_norm=1.0 tames rare large gradients); a log, square root or division
    that meets 0; targets on a wild scale (standardise them).
    """
    bad = _count_nonfinite(inputs) if inputs is not None else ""
    if bad:
        return FloatingPointError(
            f"the loss became {loss} in epoch {epoch}, step {step}, at learning rate {lr:.3g}, and the data are the "
            f"reason: {bad}. Clean them first, for example with torch.nan_to_num or by leaving those examples out."
        )
    half = " fp16 overflows above 65504 (try precision='bf16' or 'fp32');" if precision == "fp16" else ""
    return FloatingPointError(
        f"the loss became {loss} in epoch {epoch}, step {step}, at learning rate {lr:.3g}. Usual causes: a learning "
        f"rate that is too high (try {lr / 10:.3g}, or see helpers.training.find_lr; clip_norm=1.0 tames rare large "
        f"gradients);{half} a log, square root or division that meets 0; targets on a wild scale (standardise them)."
    )


def _count_nonfinite(inputs: Iterable, limit: int = 10_000) -> str:
    bad = total = 0
    for batch in islice(inputs, limit):
        rows = [
            ~torch.isfinite(part).reshape(len(part), -1).all(1).cpu()
            for part in batch
            if isinstance(part, Tensor) and part.ndim and part.is_floating_point()
        ]
        if rows:
            bad += int(torch.stack(rows).any(0).sum())
            total += len(rows[0])
    return f"{bad} of {total} examples hold NaN or infinity" if bad else ""
