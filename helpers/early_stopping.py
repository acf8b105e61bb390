"""Stop when the validation set stops gaining, and go back to the best weights."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class EarlyStopping:
    """When `helpers.training.fit` gives up.

    Parameters
    ----------
    patience : int
        Epochs without a gain that are put up with.
    monitor : str
        The number to watch: ``"valid_loss"``, ``"valid_accuracy"``, any per-epoch number of the `History`.
    mode : {"min", "max"}, optional
        Whether less or more is better; by default less for a loss or an error and more for everything else.
    min_delta : float
        What counts as a gain: a change by more than this.

    Raises
    ------
    ValueError
        For a patience below 1, a mode that is neither, or a negative `min_delta`.

    Notes
    -----
    Lutz Prechelt, *Early Stopping - But When?* (1998), compares criteria; this is his third, patience.

    Examples
    --------
    >>> EarlyStopping(patience=3, monitor="valid_accuracy").lower_is_better
    False
    """

    patience: int = 5
    monitor: str = "valid_loss"
    mode: str | None = None
    min_delta: float = 0.0

    def __post_init__(self) -> None:
        """Check the values."""
        if not isinstance(self.patience, int) or self.patience < 1:
            raise ValueError(f"patience counts epochs and is at least 1, not {self.patience}")
        if self.mode not in (None, "min", "max"):
            raise ValueError(f'mode is "min" or "max", not {self.mode!r}')
        if not 0 <= self.min_delta < math.inf:
            raise ValueError(f"min_delta is finite and not negative: {self.min_delta} would call a loss a gain")

    @property
    def lower_is_better(self) -> bool:
        """Whether a smaller value is a gain."""
        if self.mode is not None:
            return self.mode == "min"
        return self.monitor.endswith(("loss", "error"))


class Stopper:
    """The state of early stopping during one run: the best value so far, and the weights that reached it.

    Parameters
    ----------
    rule : EarlyStopping or int or None
        A number is the patience; None never stops.
    """

    def __init__(self, rule: EarlyStopping | int | None):
        self.rule = EarlyStopping(patience=rule) if isinstance(rule, int) else rule
        self.best_epoch: int | None = None
        self.value = math.nan
        self.weights: dict[str, Tensor] | None = None

    def check(self, names: list[str]) -> None:
        """Raise a `ValueError` if the number to watch will not be among those recorded, called `names`."""
        if self.rule is not None and self.rule.monitor not in names:
            hint = "; give fit validation data" if self.rule.monitor.startswith("valid") else ""
            raise ValueError(
                f"early stopping watches {self.rule.monitor!r}, but there is only {', '.join(names)}{hint}"
            )

    def update(self, row: dict[str, float], model: nn.Module) -> bool:
        """Look at the numbers of a finished epoch, and return whether to stop."""
        if self.rule is None:
            return False
        value = row[self.rule.monitor]
        gain = self.value - value if self.rule.lower_is_better else value - self.value
        if self.best_epoch is None or gain > self.rule.min_delta:
            self.best_epoch, self.value = int(row["epoch"]), value
            self.weights = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
        return row["epoch"] - self.best_epoch >= self.rule.patience

    def restore(self, model: nn.Module) -> int | None:
        """Load the best weights into `model`, and return their epoch; without early stopping do nothing."""
        if self.weights is not None:
            model.load_state_dict(self.weights)
        return self.best_epoch

    def state_dict(self) -> dict | None:
        """Return everything that decides when to stop."""
        return {"epoch": self.best_epoch, "value": self.value, "weights": self.weights} if self.rule else None

    def load_state_dict(self, state: dict | None) -> None:
        """Go on from what `state_dict` returned."""
        if state is not None:
            self.best_epoch, self.value, self.weights = state["epoch"], state["value"], state["weights"]
