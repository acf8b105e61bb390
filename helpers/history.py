"""What a training run leaves behind: one number per epoch and per step, that plots itself and survives as JSON."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_FORMAT = 1
_HIDDEN = ("seconds",)  # clock time differs from run to run: kept in the data, left out of what is displayed
_SHOWN_ROWS = 12
_PARTS = ("epochs", "steps")


@dataclass
class History:
    """The record of one call of `helpers.training.fit`.

    Attributes
    ----------
    epochs : dict of str to list of float
        One value per finished epoch: ``epoch`` (from 1), ``train_loss``, ``valid_loss``, ``train_<metric>``,
        ``valid_<metric>``, ``lr``, ``seconds``. Losses are means over examples, whatever the loss function's reduction.
    steps : dict of str to list of float
        One value per optimizer step: ``loss`` (mean over the step's examples), ``lr`` (the rate the step was made
        with), and ``grad_norm`` (before clipping) if gradients were clipped.
    stopped : str
        Why training ended: ``"finished"``, ``"early stopping"`` or ``"interrupted"``; empty while it runs.
    best_epoch : int or None
        With early stopping, the epoch whose weights the model holds now.

    Examples
    --------
    >>> history = History()
    >>> history.add_epoch({"epoch": 1, "train_loss": 0.9, "valid_loss": 1.1})
    >>> history.add_epoch({"epoch": 2, "train_loss": 0.5, "valid_loss": 0.8})
    >>> history["valid_loss"]
    [1.1, 0.8]
    >>> history.last
    {'epoch': 2, 'train_loss': 0.5, 'valid_loss': 0.8}
    >>> history
    History: 2 epochs
      epoch  train_loss  valid_loss
          1      0.9000      1.1000
          2      0.5000      0.8000
    >>> History.from_json(history.to_json()) == history
    True
    """

    epochs: dict[str, list[float]] = field(default_factory=dict)
    steps: dict[str, list[float]] = field(default_factory=dict)
    stopped: str = ""
    best_epoch: int | None = None

    def add_epoch(self, row: dict[str, float]) -> None:
        """Append the numbers of one epoch; a name that is new gets NaN for the epochs before."""
        n = len(self)
        for name in dict.fromkeys((*self.epochs, *row)):
            self.epochs.setdefault(name, [math.nan] * n).append(row.get(name, math.nan))

    def add_steps(self, **values: list[float]) -> None:
        """Append the numbers of some optimizer steps."""
        for name, new in values.items():
            self.steps.setdefault(name, []).extend(new)

    def __len__(self) -> int:
        """Count the finished epochs."""
        return len(next(iter(self.epochs.values()), []))

    def __getitem__(self, name: str) -> list[float]:
        """Return the values per epoch of one name, for example ``history["valid_loss"]``."""
        if name not in self.epochs:
            known = ", ".join(self.epochs) or "nothing yet: no epoch has finished"
            raise KeyError(f"{name!r} was not recorded per epoch; recorded: {known}")
        return self.epochs[name]

    @property
    def last(self) -> dict[str, float]:
        """The numbers of the last finished epoch, without the clock time."""
        return {name: values[-1] for name, values in self.epochs.items() if name not in _HIDDEN and values}

    def plot(self, ax: Axes | None = None, *, metric: str = "loss") -> Axes:
        """Draw one metric over the epochs, for training and validation data.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.
        metric : str
            ``"loss"`` or the name of a metric that `fit` was given. The loss of the single steps is drawn behind it.

        Returns
        -------
        matplotlib Axes

        Raises
        ------
        KeyError
            If nothing of that name was recorded.
        """
        from helpers.plotting_training import plot_history

        return plot_history(self, ax=ax, metric=metric)

    def to_frame(self, level: str = "epoch") -> pd.DataFrame:
        """Return a pandas DataFrame with one row per epoch, or per step with ``level="step"`` (indexed from 1)."""
        import pandas as pd

        if level == "epoch":
            frame = pd.DataFrame(self.epochs)
            return frame.astype({"epoch": int}).set_index("epoch") if "epoch" in frame else frame
        if level == "step":
            frame = pd.DataFrame(self.steps)
            return frame.set_index(pd.RangeIndex(1, len(frame) + 1, name="step"))
        raise ValueError(f'level is "epoch" or "step", not {level!r}')

    def to_json(self, path: str | Path | None = None) -> str:
        """Return the history as JSON text, and write it to `path` if one is given.

        JSON knows no NaN and no infinity: they are written as the strings ``"nan"``, ``"inf"``, ``"-inf"``.
        """
        text = json.dumps({"format": _FORMAT, **_plain(asdict(self))}, allow_nan=False)
        if path is not None:
            Path(path).write_text(text, encoding="utf-8")
        return text

    @classmethod
    def from_json(cls, text_or_path: str | Path) -> History:
        """Read what `to_json` wrote, from its text or from a file.

        Raises
        ------
        ValueError
            If it is not the JSON of a `History`.
        """
        is_text = isinstance(text_or_path, str) and text_or_path.lstrip().startswith("{")
        text = text_or_path if is_text else Path(text_or_path).read_text(encoding="utf-8")
        try:
            data = json.loads(text)
            if data["format"] != _FORMAT:
                raise ValueError(f"format {data['format']!r} is not {_FORMAT}")
            return cls.from_dict(data)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"this is not the JSON of a History: {error}") from error

    @classmethod
    def from_dict(cls, data: dict) -> History:
        """Build a history from what `to_dict` returned; sequences may also be arrays or tensors."""
        epochs, steps = ({k: [_number(v) for v in _listed(vs)] for k, vs in data[part].items()} for part in _PARTS)
        return cls(epochs, steps, data["stopped"], data["best_epoch"])

    def to_dict(self) -> dict:
        """Return a copy as plain dictionaries and lists."""
        return asdict(self)

    def _table(self) -> tuple[list[str], list[list[str]]]:
        names = [name for name in self.epochs if name not in _HIDDEN]
        rows = [[_format(name, self.epochs[name][i]) for name in names] for i in range(len(self))]
        if len(rows) > _SHOWN_ROWS:
            head = _SHOWN_ROWS // 2
            rows = [*rows[:head], ["..."] * len(names), *rows[-(_SHOWN_ROWS - head) :]]
        return names, rows

    def _title(self) -> str:
        text = f"History: {len(self)} epoch{'' if len(self) == 1 else 's'}"
        if self.stopped and self.stopped != "finished":
            text += f", {self.stopped}"
        return text + (f", weights of epoch {self.best_epoch}" if self.best_epoch is not None else "")

    def __repr__(self) -> str:
        names, rows = self._table()
        widths = [max(len(cell) for cell in column) for column in zip(names, *rows, strict=True)] if names else []
        lines = ["  ".join(cell.rjust(w) for cell, w in zip(row, widths, strict=True)) for row in [names, *rows]]
        return "\n".join([self._title(), *(f"  {line}" for line in lines if names)])

    def _repr_html_(self) -> str:
        names, rows = self._table()
        header = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in names)
        body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
        return (
            f'<table class="history"><caption>{html.escape(self._title())}</caption>'
            f"<thead><tr>{header}</tr></thead><tbody>{body}</tbody></table>"
        )


def _format(name: str, value: float) -> str:
    if name == "epoch":
        return f"{value:.0f}"
    return f"{value:.4g}" if name == "lr" else f"{value:.4f}"


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _listed(values: Sequence) -> list:
    return values.tolist() if hasattr(values, "tolist") else list(values)


def _number(value: float | str) -> float:
    return float(value) if isinstance(value, str) else value
