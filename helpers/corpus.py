"""The text that ships with the book: a year on a shore, cut into training, validation and test months."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["Corpus", "load_text"]

_FILE = Path(__file__).parent / "assets" / "shore_year.txt"


@dataclass(frozen=True, repr=False)
class Corpus:
    """A text in three parts that follow one another: ``train + valid + test`` is the whole of it.

    Attributes
    ----------
    train, valid, test : str
        Whole sections, each of them ended by an empty line (the last one by the end of the text). Only what is chosen
        on `valid` may look at `valid`; nothing may look at `test` before the last number is reported.
    name, source, licence : str
        What the text is called, who made it, under which licence it may be used.
    """

    train: str
    valid: str
    test: str
    name: str
    source: str
    licence: str

    def __len__(self) -> int:
        """Count the characters of the whole text."""
        return len(self.train) + len(self.valid) + len(self.test)

    def __repr__(self) -> str:
        sizes = f"{len(self.train):,} training, {len(self.valid):,} validation and {len(self.test):,} test characters"
        return f"{self.name}: {sizes} ({self.source}; {self.licence})"


def load_text(*, n_valid: int = 1, n_test: int = 1) -> Corpus:
    """Load the text that ships with the book: twelve months on a shore, one section each, 16,348 characters.

    It is plain English prose of short lines, ASCII throughout, with letters, spaces, line breaks and the marks ``.``
    ``,`` and ``:`` only. No line of the last two months stands anywhere else in it.

    Parameters
    ----------
    n_valid, n_test : int
        How many months are kept for validation and for the test. They are the last ones, the test after the
        validation, so that nothing is learned from what comes later.

    Returns
    -------
    Corpus
        The same on every machine: nothing is drawn at random and nothing is downloaded.

    Raises
    ------
    TypeError, ValueError
        If a number of months is not a whole number, is negative, or leaves no month to train on.

    Notes
    -----
    Written for this book; nothing is taken from another text. Licence: that of the book (MIT).

    Examples
    --------
    >>> text = load_text()
    >>> text
    A year on the shore: 13,607 training, 1,333 validation and 1,408 test characters (written for this book; MIT)
    >>> text.test.splitlines()[:2]
    ['December', 'The sea is grey in the morning, and in the evening it is black.']
    """
    months = _sections(_FILE.read_text(encoding="utf-8"))
    for name, number in (("n_valid", n_valid), ("n_test", n_test)):
        if isinstance(number, bool) or not isinstance(number, int):
            raise TypeError(f"{name} is a number of months, not {number!r:.40}")
        if number < 0:
            raise ValueError(f"{name} cannot be negative, and it is {number}")
    if n_valid + n_test >= len(months):
        raise ValueError(
            f"{n_valid} months for validation and {n_test} for the test leave none to train on: there are {len(months)}"
        )
    n_train = len(months) - n_valid - n_test
    parts = months[:n_train], months[n_train : n_train + n_valid], months[n_train + n_valid :]
    return Corpus(
        *("".join(part) for part in parts), name="A year on the shore", source="written for this book", licence="MIT"
    )


def _sections(text: str) -> list[str]:
    """Cut a text after every empty line; the pieces add up to the text."""
    blocks = text.split("\n\n")
    return [block + "\n\n" for block in blocks[:-1]] + [blocks[-1]]
