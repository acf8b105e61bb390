"""Compare numbers that must agree, and say in words how they differ when they do not.

`equal` is the book's proof that a result by hand, in code and by autograd is one and the same; `answer` looks at a
reader's number and `function` at a reader's code; `glue` hands a measured number to the text around it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch

from helpers import check_words
from helpers.glue import GLUE_PREFIX, glue

__all__ = ["GLUE_PREFIX", "Mismatch", "answer", "as_tensor", "equal", "function", "glue"]


class Mismatch(AssertionError):
    """Two numbers that should agree do not; the message says how they differ."""

    def _render_traceback_(self) -> list[str]:
        return [f"Mismatch: {self}"]  # in a notebook the sentence helps, the traceback does not


def equal(what: str, /, *, atol: float = 1e-9, rtol: float = 0.0, batch_size: int | None = None, **values: Any) -> None:
    """Check that two or more values agree, and print them on one line.

    Parameters
    ----------
    what : str
        The quantity, such as ``"dL/dw5"``.
    atol, rtol : float
        The values agree when, entry by entry, the largest and the smallest of them are at most
        ``atol + rtol * abs(last value)`` apart.
    batch_size : int, optional
        Lets the message recognise a sum that should have been a mean.
    **values : number, sequence, array or tensor
        The values under their names, with underscores for spaces: ``by_hand=0.08, autograd=w.grad``. The last one
        counts as the reference.

    Raises
    ------
    Mismatch
        If they differ; the message says how.
    TypeError, ValueError
        If a value is not a number or there are fewer than two.

    Examples
    --------
    >>> equal("dL/dw5", by_hand=0.0821670, autograd=0.08216704, atol=1e-7)
    dL/dw5: by hand 0.0821670 = autograd 0.0821670  (largest difference 4.0e-08, allowed 1e-07)
    >>> equal("slope", by_hand=[3.0, 5.0], autograd=[6.0, 10.0])
    Traceback (most recent call last):
    helpers.check.Mismatch: slope: by hand [3, 5] is not autograd [6, 10]: by hand is half of autograd...
    """
    if len(values) < 2:
        raise ValueError("equal compares two or more named values, such as by_hand=0.5, autograd=w.grad")
    _allowed(atol, rtol)
    named = {name.replace("_", " "): as_tensor(value, name) for name, value in values.items()}
    names, tensors = list(named), list(named.values())
    reference = tensors[-1]
    for name, tensor in list(named.items())[:-1]:
        if problem := check_words.difference(
            tensor, reference, atol=atol, rtol=rtol, names=(name, names[-1]), batch_size=batch_size
        ):
            shown = check_words.written([tensor, reference], atol)
            raise Mismatch(f"{what}: {name} {shown[0]} is not {names[-1]} {shown[1]}: {problem}")
    flat = torch.stack([tensor.reshape(-1).to(torch.float64) for tensor in tensors])
    spread = (flat.amax(0) - flat.amin(0)).nan_to_num(0.0)
    if bool((spread > atol + rtol * flat[-1].abs()).any()):
        raise Mismatch(f"{what}: each value is close to {names[-1]}, but they are further than {atol:.0e} apart")
    shown = check_words.written(tensors, atol)
    line = " = ".join(f"{name} {text}" for name, text in zip(names, shown, strict=True))
    print(f"{what}: {line}  ({check_words.closeness(spread, tensors, atol, rtol)})")


def answer(
    yours: Any,
    truth: Any,
    *,
    hints: Mapping[Any, str] | None = None,
    atol: float = 1e-6,
    rtol: float = 1e-5,
    batch_size: int | None = None,
) -> None:
    """Look at the answer to an exercise: say that it is right, or what is wrong with it.

    Parameters
    ----------
    yours, truth : number, str, sequence, array or tensor
        The reader's answer and the right one. Words are compared without regard to case. An answer that is still
        ``...`` is not judged.
    hints : mapping, optional
        From a likely wrong answer to what led there, such as ``{0.5: "That is the slope before the update."}``.
    atol, rtol : float
        Right means within ``atol + rtol * abs(truth)``.
    batch_size : int, optional
        Lets the message recognise a sum that should have been a mean.

    Raises
    ------
    Mismatch
        If the answer is wrong.

    Examples
    --------
    >>> answer(2.5, 2.5)
    Right: 2.5.
    >>> answer(-2.5, 2.5)
    Traceback (most recent call last):
    helpers.check.Mismatch: Not yet: your answer has the right size and the wrong sign.
    >>> answer(5.0, 2.5, hints={5.0: "Did you average over the batch?"})
    Traceback (most recent call last):
    helpers.check.Mismatch: Not yet: your answer is twice the right one. Did you average over the batch?
    """
    _allowed(atol, rtol)
    if yours is ...:
        print("Not answered yet: put your answer in place of the three dots.")
        return
    if isinstance(truth, str):
        _judge_words(yours, truth, hints or {})
        return
    try:
        mine = as_tensor(yours, "your answer")
    except TypeError as error:
        raise Mismatch(f"Not yet: {error}.") from error
    if problem := _problem(mine, truth, "your answer", atol, rtol, batch_size):
        hint = next((f" {text}" for wrong, text in (hints or {}).items() if _same(mine, wrong, atol, rtol)), "")
        raise Mismatch(f"Not yet: {_ended(problem)}{hint}")
    print(f"Right: {check_words.written([as_tensor(truth, 'truth')], atol)[0]}.")


def function(
    yours: Any,
    trials: Mapping[str, tuple[Callable[[Any], Any], Any]],
    *,
    hints: Mapping[str, str] | None = None,
    atol: float = 1e-6,
    rtol: float = 1e-5,
) -> None:
    """Try the function, class or module that a reader wrote: say that it does what it should, or where it does not.

    Parameters
    ----------
    yours : callable
        What the reader wrote. One that is still ``...`` is not judged.
    trials : mapping
        From what is tried to a pair: how to try it, a function of `yours`, and the result that it should have, a
        number, text, array or tensor.
    hints : mapping, optional
        From what is tried to a sentence for the reader whose result is wrong there.
    atol, rtol : float
        Right means within ``atol + rtol * abs(wanted)``.

    Raises
    ------
    Mismatch
        At the first trial whose result is wrong or that raises an error.
    ValueError
        If there are no trials, or a hint belongs to none of them.

    Examples
    --------
    >>> trials = {"at 3": (lambda f: f(3.0), 9.0), "at -1": (lambda f: f(-1.0), 1.0)}
    >>> function(lambda x: x**2, trials)
    Right: at 3; at -1.
    >>> function(lambda x: 3 * x, trials, hints={"at -1": "A square is never negative."})
    Traceback (most recent call last):
    helpers.check.Mismatch: Not yet, at -1: the result of your code has the wrong sign, ... A square is never negative.
    """
    _allowed(atol, rtol)
    if not trials or set(hints or {}) - set(trials):
        raise ValueError(f"give trials, and hints for them only, not {sorted(set(hints or {}) - set(trials))}")
    if yours is ...:
        print("Not answered yet: put your code in place of the three dots.")
        return
    for what, (attempt, wanted) in trials.items():
        try:
            result = attempt(yours)
        except Exception as error:
            problem = f"your code raised {type(error).__name__}: {error}"
        else:
            problem = _problem(result, wanted, "the result of your code", atol, rtol)
        if problem:
            hint = f" {hints[what]}" if hints and what in hints else ""
            raise Mismatch(f"Not yet, {what}: {_ended(problem)}{hint}")
    print(f"Right: {'; '.join(trials)}.")


def as_tensor(value: Any, name: str) -> torch.Tensor:
    """A number, list, array or tensor as a detached tensor on the CPU; `name` appears in the error."""
    shown = name.replace("_", " ")
    if value is None:
        raise TypeError(f"{shown} is None; a gradient is None until backward() has run on a loss that depends on it")
    try:
        tensor = value.detach().cpu() if isinstance(value, torch.Tensor) else _from_python(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{shown} must be a number, a list of numbers or a tensor, not {value!r:.80}") from error
    if tensor.is_complex() or tensor.is_quantized or tensor.is_sparse:
        raise TypeError(f"{shown} must hold real numbers in a dense tensor, not {tensor.dtype}")
    return tensor


def _from_python(value: Any) -> torch.Tensor:
    if isinstance(value, str | bytes):
        raise TypeError("text is not a number")
    if isinstance(value, list | tuple) and any(isinstance(each, torch.Tensor | list | tuple) for each in value):
        return torch.stack([as_tensor(each, "an entry").to(torch.float64) for each in value])
    dtype = torch.float64 if isinstance(value, float | list | tuple) else None
    return torch.as_tensor(value, dtype=dtype)


def _same(mine: torch.Tensor, wrong: Any, atol: float, rtol: float) -> bool:
    other = as_tensor(wrong, "a key of hints").to(torch.float64)
    mine = mine.to(torch.float64)
    return mine.squeeze().shape == other.squeeze().shape and torch.allclose(
        mine.squeeze(), other.squeeze(), atol=atol, rtol=rtol
    )


def _problem(mine: Any, right: Any, name: str, atol: float, rtol: float, batch_size: int | None = None) -> str:
    if isinstance(right, str):
        return "" if _same_words(mine, right) else f"{name} is {mine!r:.60}"
    if mine is None:
        return f"{name} is None"
    names = (name, "the right one")
    right = as_tensor(right, "truth")
    try:
        mine = as_tensor(mine, name)
    except TypeError as error:
        return str(error)
    return check_words.difference(mine, right, atol=atol, rtol=rtol, names=names, batch_size=batch_size, secret=True)


def _judge_words(yours: Any, truth: str, hints: Mapping[Any, str]) -> None:
    if not isinstance(yours, str):
        raise Mismatch(f"Not yet: the answer is a word in quotes, not {yours!r:.40}.")
    if not _same_words(yours, truth):
        hint = next((f" {text}" for wrong, text in hints.items() if _same_words(yours, wrong)), "")
        raise Mismatch(f"Not yet: {yours!r} is not it.{hint}")
    print(f"Right: {truth}.")


def _ended(sentence: str) -> str:
    return sentence if sentence.endswith(("?", ".", "!")) else f"{sentence}."


def _same_words(a: Any, b: Any) -> bool:
    return str(a).strip().casefold() == str(b).strip().casefold()


def _allowed(atol: float, rtol: float) -> None:
    if not (math.isfinite(atol) and math.isfinite(rtol) and atol >= 0 and rtol >= 0):
        raise ValueError(f"atol and rtol are finite and not negative, got atol={atol}, rtol={rtol}")
