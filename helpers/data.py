"""The data sets of the book: images, a medical table, surnames, and the loader that feeds them to a model.

Each ``load_*`` gives the real set where it is on disk or can be downloaded, else a small one that is installed already,
and says so in one line. The environment variable ``BOOK_DATA`` chooses: ``embedded`` (never leave this machine),
``auto`` (the default, as above) or ``full`` (the real set or an error); ``BOOK_DATA_DIR`` is the folder of
the files. Made-up data are in :mod:`helpers.toy`.
"""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike
from typing import TypeVar

from . import data_sources as sources
from . import download
from .data_sets import ImageSet, NameSet, TableSet
from .download import DataUnavailable
from .loading import loader

__all__ = ["DataUnavailable", "ImageSet", "NameSet", "TableSet", "load_diabetes", "load_images", "load_names", "loader"]

_Set = TypeVar("_Set", ImageSet, TableSet, NameSet)


def load_images(name: str = "auto", *, root: str | PathLike | None = None, mode: str | None = None) -> ImageSet:
    """Load small greyscale images with ten classes.

    Parameters
    ----------
    name : {"auto", "fashion-mnist", "mnist", "digits"}
        ``"digits"`` are the 1,797 handwritten digits of 8 x 8 pixels that scikit-learn brings along, a fifth of each
        class set aside for the test. ``"auto"`` is Fashion-MNIST, or MNIST where only that is to be had, or the digits.
        A set asked for by its name is never replaced by another.
    root : path, optional
        Folder of the files, in torchvision's layout. Default: ``BOOK_DATA_DIR``, else the user's cache folder.
    mode : {"embedded", "auto", "full"}, optional
        Overrides ``BOOK_DATA``. With ``"full"`` the real set must be complete: 60,000 + 10,000 images.

    Returns
    -------
    ImageSet
        Images of shape (n, 1, 28, 28), or (n, 1, 8, 8) for the digits, with values in [0, 1].

    Raises
    ------
    DataUnavailable
        If the set asked for cannot be had.
    ValueError
        If `name` or the mode is unknown.

    Examples
    --------
    >>> images = load_images("digits")
    >>> images
    Digits: 1,437 training and 360 test images of 1 x 8 x 8, 10 classes (Alpaydin and Kaynak 1998, UCI; CC BY 4.0)
    >>> images.X.dtype, images.y[:5].tolist()
    (torch.float32, [0, 1, 2, 3, 4])
    """
    names = ("auto", *sources.IMAGES, "digits")
    if name not in names:
        raise ValueError(f"there are no images called {name!r}: name must be {download.one_of(names, name)}")
    chosen, where = download.mode(mode), download.folder(root)
    if name == "digits":
        return sources.digits()
    if name == "auto":
        wanted = sources.IMAGES["fashion-mnist"], sources.IMAGES["mnist"]
        return _choose(
            chosen,
            lambda: sources.real_images(wanted, where, whole=chosen == "full"),
            sources.digits,
            "Fashion-MNIST",
            "scikit-learn's 8 x 8 digits",
        )
    title = sources.IMAGES[name].title
    if chosen == "embedded":
        raise DataUnavailable(
            f"{title} is not among the installed sets, and BOOK_DATA=embedded forbids to look further: "
            'set BOOK_DATA=auto, or ask for load_images("auto")'
        )
    try:
        return sources.real_images((sources.IMAGES[name],), where, whole=chosen == "full")
    except DataUnavailable as error:
        raise DataUnavailable(
            f'{title} is not to be had here (load_images("auto") would go on without it): {error}'
        ) from error


def load_diabetes(*, root: str | PathLike | None = None, mode: str | None = None) -> TableSet:
    """Load a medical table with a yes-or-no label.

    The real one is the Pima Indians diabetes study: 759 women, 8 features, already scaled to -1 ... 1. Its label is
    1 for *no* diabetes (496 rows) and 0 for diabetes, the reverse of the original publication. Where it cannot be had,
    scikit-learn's breast-cancer table takes its place: 569 rows, 30 features, here scaled to -1 ... 1 as well, and
    again 1 for the healthy side. Both are scaled over all rows; a fair test would scale by the training rows alone.

    Parameters
    ----------
    root, mode
        As in :func:`load_images`.

    Returns
    -------
    TableSet
        X of shape (759, 8) or (569, 30), y of shape (n,).

    Raises
    ------
    DataUnavailable
        With ``BOOK_DATA=full``, if the real table cannot be had.

    Examples
    --------
    >>> table = load_diabetes(mode="embedded")
    >>> tuple(table.X.shape), table.y.bincount().tolist(), table.classes
    ((569, 30), [212, 357], ('malignant', 'benign'))
    """
    return _choose(
        download.mode(mode),
        lambda: sources.diabetes(download.folder(root)),
        sources.breast_cancer,
        "The diabetes table",
        "scikit-learn's breast-cancer table",
    )


def load_names(*, root: str | PathLike | None = None, mode: str | None = None) -> NameSet:
    """Load surnames labelled with the language they come from.

    The real set has 13,374 + 6,700 names in 18 languages, very uneven: 6,272 Russian names against 48 Vietnamese.
    Where it cannot be had, about 1,700 names in 16 languages that ship with the book take its place, a fifth of each
    language set aside for the test. Both are spelt with English letters and the apostrophe (and, in the real set, the
    space); a name may stand in several languages.

    Parameters
    ----------
    root, mode
        As in :func:`load_images`.

    Raises
    ------
    DataUnavailable
        With ``BOOK_DATA=full``, if the real set cannot be had.

    Examples
    --------
    >>> names = load_names(mode="embedded")
    >>> len(names.languages), names.names[0], names.languages[names.y[0]]
    (16, 'Abadi', 'Arabic')
    """
    return _choose(
        download.mode(mode),
        lambda: sources.names(download.folder(root)),
        sources.shipped_names,
        "The list of 20,000 surnames",
        "the 1,730 that ship with the book",
    )


def _choose(mode: str, real: Callable[[], _Set], bundled: Callable[[], _Set], title: str, instead: str) -> _Set:
    """Load what `mode` asks for, and say so where the real set has to be replaced."""
    if mode == "embedded":
        return bundled()
    try:
        return real()
    except DataUnavailable as error:
        if mode == "full":
            raise DataUnavailable(
                f"{title} is not to be had here (BOOK_DATA=auto would go on with {instead}): {error}"
            ) from error
        print(f"{title} is not to be had here, so you get {instead}: {error}.")
        return bundled()
