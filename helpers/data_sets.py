"""What the loaders of :mod:`helpers.data` give back: tensors, with their meaning, source and licence."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, eq=False, repr=False)
class ImageSet:
    """Labelled images, in a training and a test part.

    Attributes
    ----------
    X, X_test : torch.Tensor
        Shape (n, 1, H, W), float32, from 0 (background) to 1.
    y, y_test : torch.Tensor
        Shape (n,), int64: the index into `classes`.
    classes : tuple of str
        What each label means.
    name, source, licence : str
        What the set is called, who made it, under which licence it may be used.
    """

    X: Tensor
    y: Tensor
    X_test: Tensor
    y_test: Tensor
    classes: tuple[str, ...]
    name: str
    source: str
    licence: str

    def __repr__(self) -> str:
        size = " x ".join(map(str, self.X.shape[1:]))
        return (
            f"{self.name}: {len(self.X):,} training and {len(self.X_test):,} test images of {size}, "
            f"{len(self.classes)} classes ({self.source}; {self.licence})"
        )


@dataclass(frozen=True, eq=False, repr=False)
class TableSet:
    """A table with a yes-or-no label.

    Attributes
    ----------
    X : torch.Tensor
        Shape (n, d), float32; each feature scaled to about -1 ... 1 over the whole table.
    y : torch.Tensor
        Shape (n,), int64: the index into `classes`. A binary loss wants ``y[:, None].float()`` beside (n, 1) logits.
    features, classes : tuple of str
        The names of the d columns and of the two labels.
    name, source, licence : str
        What the set is called, who made it, under which licence it may be used.
    """

    X: Tensor
    y: Tensor
    features: tuple[str, ...]
    classes: tuple[str, str]
    name: str
    source: str
    licence: str

    def __repr__(self) -> str:
        size = "{:,} rows, {} features".format(*self.X.shape)
        return f"{self.name}: {size}, {' or '.join(self.classes)} ({self.source}; {self.licence})"


@dataclass(frozen=True, eq=False, repr=False)
class NameSet:
    """Surnames and the language each comes from, in a training and a test part.

    Attributes
    ----------
    names, names_test : tuple of str
        The surnames. Ordered by language in the real set: shuffle them.
    y, y_test : torch.Tensor
        Shape (n,), int64: the index into `languages`.
    languages : tuple of str
        In alphabetical order.
    name, source, licence : str
        What the set is called, who made it, under which licence it may be used.
    """

    names: tuple[str, ...]
    y: Tensor
    names_test: tuple[str, ...]
    y_test: Tensor
    languages: tuple[str, ...]
    name: str
    source: str
    licence: str

    def __repr__(self) -> str:
        sizes = f"{len(self.names):,} training and {len(self.names_test):,} test names"
        return f"{self.name}: {sizes}, {len(self.languages)} languages ({self.source}; {self.licence})"
