"""Show how far training is, in the form that the place can bear: a bar, a line per epoch, or nothing."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TextIO

MODES = ("bar", "log", "off")


def choose(progress: bool | str, stream: TextIO | None = None) -> str:
    """Choose how progress is shown.

    Parameters
    ----------
    progress : bool or str
        ``False`` shows nothing; ``"bar"``, ``"log"`` or ``"off"`` is taken at its word; ``True`` looks around:

        - nothing while the book is built (``BOOK_BUILD=1``) or checked (pytest, nbval), so that pages and stored
          outputs do not depend on the clock;
        - a bar in a notebook and in a terminal;
        - else, for a log file or a pipe, one line per epoch without control characters.
    stream : text file, optional
        Where the bar or the lines would go; standard error by default.

    Returns
    -------
    str
        ``"bar"``, ``"log"`` or ``"off"``.

    Raises
    ------
    ValueError
        If `progress` is none of these.

    Examples
    --------
    >>> choose(False), choose("log")
    ('off', 'log')
    """
    if progress in MODES:
        return str(progress)
    if not isinstance(progress, bool):
        raise ValueError(f"progress is True, False or one of {MODES}, not {progress!r}")
    if not progress or os.environ.get("BOOK_BUILD") == "1" or "PYTEST_VERSION" in os.environ:
        return "off"
    stream = sys.stderr if stream is None else stream
    return "bar" if _in_notebook() or stream.isatty() else "log"


class Progress:
    """The progress of one training run.

    Parameters
    ----------
    mode : str
        What `choose` returned.
    epochs : int
        The number of epochs of the whole run.
    steps : int or None
        Optimizer steps per epoch, if known.
    done : int
        Optimizer steps that an earlier, resumed run has made.
    stream : text file, optional
        Standard error by default.
    """

    def __init__(self, mode: str, epochs: int, steps: int | None, done: int = 0, stream: TextIO | None = None):
        self.epochs = epochs
        self.stream = stream
        self.lines = mode == "log"
        self.bar = _bar(epochs * steps if steps else None, done, stream) if mode == "bar" else None
        self.step: Callable[[], object] = self.bar.update if self.bar is not None else _nothing
        """Call it once per optimizer step."""

    def epoch(self, row: dict[str, float]) -> None:
        """Show the numbers of a finished epoch (a row of a `History`)."""
        numbers = {name: value for name, value in row.items() if name not in ("epoch", "lr", "seconds")}
        text = "  ".join(f"{name} {value:.4f}" for name, value in numbers.items())
        if self.bar is not None:
            self.bar.set_postfix_str(text, refresh=False)
            self.bar.set_description(f"epoch {row['epoch']}/{self.epochs}", refresh=False)
        elif self.lines:
            self.say(f"epoch {row['epoch']}/{self.epochs}  {text}  ({row['seconds']:.1f} s)")

    def say(self, text: str) -> None:
        """Write one line, above the bar if there is one."""
        if self.bar is not None:
            self.bar.write(text, file=sys.stderr if self.stream is None else self.stream)
        elif self.lines:
            print(text, file=sys.stderr if self.stream is None else self.stream, flush=True)

    def close(self) -> None:
        """Take the bar away."""
        if self.bar is not None:
            self.bar.close()


def _nothing() -> None:
    return None


def _bar(total: int | None, done: int, stream: TextIO | None):
    if _in_notebook() and stream is None:
        from tqdm.auto import tqdm
    else:
        from tqdm import tqdm
    return tqdm(total=total, initial=done, unit="step", leave=False, file=stream, dynamic_ncols=True, mininterval=0.2)


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and hasattr(shell, "kernel")
