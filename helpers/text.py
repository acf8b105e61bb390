"""From strings to tensors of equal length: a vocabulary, padding, and the mask that says what is padding.

Packing is PyTorch's own: :func:`torch.nn.utils.rnn.pack_padded_sequence` takes the `data` and the `lengths` that
:func:`pad` returns.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from helpers import expect

__all__ = ["PADDING", "UNKNOWN", "Padded", "Vocabulary", "collate", "mask", "pad"]

PADDING = 0
"""The index that fills up short sequences; ``nn.Embedding(..., padding_idx=PADDING)`` keeps its row at zero."""

UNKNOWN = 1
"""The index of every token that the vocabulary does not have."""

_SPECIAL = ("", "\N{REPLACEMENT CHARACTER}")
"""How padding and an unknown token are written by `Vocabulary.decode`."""


@dataclass(frozen=True, init=False, repr=False)
class Vocabulary:
    """A fixed numbering of tokens, which may be characters or words.

    Index 0 is padding and index 1 stands for every unknown token; the tokens follow in sorted order, so that the
    numbering depends on the set of tokens only.

    Parameters
    ----------
    tokens : iterable of str
        Repetitions are allowed: ``Vocabulary(text)`` numbers the characters of a text, ``Vocabulary(text.split())``
        its words. Take them from the training set alone.

    Attributes
    ----------
    tokens : tuple of str
        The text of every index, the two special ones included.

    Raises
    ------
    TypeError, ValueError
        If a token is not a string, is empty or is the sign for unknown tokens, or if there is none.

    Examples
    --------
    >>> vocabulary = Vocabulary("banana")
    >>> len(vocabulary), vocabulary.encode("bandana"), vocabulary.decode([3, 2, 4, 1, 0, 0])
    (5, tensor([3, 2, 4, 1, 2, 4, 2]), 'ban�')
    """

    tokens: tuple[str, ...]
    _index: dict[str, int] = field(compare=False)

    def __init__(self, tokens: Iterable[str]):
        known = set()
        for token in tokens:
            if not isinstance(token, str):
                raise TypeError(f"a token is a string, not {type(token).__name__}: {token!r:.40}")
            if token in _SPECIAL:
                raise ValueError(f"a token cannot be {token!r}: that is how padding and unknown tokens are written")
            known.add(token)
        if not known:
            raise ValueError("there are no tokens: give the characters or the words of the training set")
        object.__setattr__(self, "tokens", (*_SPECIAL, *sorted(known)))
        object.__setattr__(self, "_index", {token: i for i, token in enumerate(self.tokens) if i > UNKNOWN})

    def __len__(self) -> int:
        """Count the indices, padding and unknown included: the ``num_embeddings`` of `torch.nn.Embedding`."""
        return len(self.tokens)

    def __contains__(self, token: object) -> bool:
        return token in self._index

    def __repr__(self) -> str:
        return f"<Vocabulary of {len(self) - 2} tokens, padding and unknown>"

    def encode(self, tokens: Iterable[str]) -> Tensor:
        """Give the index of every token, shape (T,), int64; those not in the vocabulary get `UNKNOWN`.

        Raises
        ------
        TypeError
            If a token is not a string.
        """
        tokens = list(tokens)
        if wrong := [token for token in tokens if not isinstance(token, str)]:
            raise TypeError(f"encode takes strings, not {type(wrong[0]).__name__}: {wrong[0]!r:.40}")
        return torch.tensor([self._index.get(token, UNKNOWN) for token in tokens], dtype=torch.int64)

    def decode(self, indices: Iterable[int] | Tensor, *, separator: str = "") -> str:
        """Write the tokens of one sequence one after the other; padding is left out.

        Parameters
        ----------
        indices : iterable of int, or Tensor of shape (T,)
        separator : str
            What stands between two tokens: nothing between characters, a space between words.

        Raises
        ------
        ValueError, TypeError
            If an index lies outside the vocabulary, or `indices` is not one sequence of whole numbers.
        """
        try:
            given = indices.tolist() if isinstance(indices, Tensor) else indices
            numbers = [operator.index(index) for index in given]
        except TypeError as error:
            raise TypeError(f"decode takes one sequence of whole numbers, not {indices!r:.60}") from error
        for index in numbers:
            if not 0 <= index < len(self):
                raise ValueError(f"there is no index {index} in a vocabulary of {len(self)}: 0 to {len(self) - 1}")
        return separator.join(self.tokens[index] for index in numbers if index != PADDING)


class Padded(NamedTuple):
    """Sequences of different lengths in one tensor.

    Attributes
    ----------
    data : Tensor
        Shape (B, T, ...) or, time first, (T, B, ...); `T` is the longest length.
    lengths : Tensor
        Shape (B,), int64, on the CPU, where ``pack_padded_sequence`` wants it.
    """

    data: Tensor
    lengths: Tensor


def pad(sequences: Sequence[Tensor], *, batch_first: bool = True, value: float = PADDING) -> Padded:
    """Fill sequences up to the longest one, and keep their lengths.

    Parameters
    ----------
    sequences : sequence of Tensor
        Shapes (T_i, ...) with equal trailing axes and at least one step each.
    batch_first : bool
        The order of the first two axes of the result. Beware: PyTorch's own functions have ``False`` as default.
    value : float
        What to fill up with.

    Returns
    -------
    Padded
        ``(data, lengths)``, in the order of `sequences`.

    Raises
    ------
    TypeError, ValueError
        If there is no sequence, one of them is not a tensor or has no step, or the trailing axes differ.

    Examples
    --------
    >>> pad([torch.tensor([5, 6]), torch.tensor([7, 8, 9])])
    Padded(data=tensor([[5, 6, 0],
            [7, 8, 9]]), lengths=tensor([2, 3]))
    """
    sequences = list(sequences)
    if not sequences:
        raise ValueError("there is nothing to pad: give at least one sequence")
    for number, sequence in enumerate(sequences):
        if not isinstance(sequence, Tensor) or sequence.ndim == 0:
            kind = "a number without axes" if isinstance(sequence, Tensor) else f"a {type(sequence).__name__}"
            raise TypeError(f"sequence {number} is {kind}; pad takes tensors whose first axis is time")
        if len(sequence) == 0:
            raise ValueError(f"sequence {number} has no step; a recurrent layer needs one or more")
        if sequence.shape[1:] != sequences[0].shape[1:]:
            given, first = tuple(sequence.shape[1:]), tuple(sequences[0].shape[1:])
            raise ValueError(f"a step of sequence {number} has shape {given}, one of sequence 0 has {first}")
        expect.numbers(**{"sequence_0": sequences[0], f"sequence_{number}": sequence})
        if sequence.dtype != sequences[0].dtype:
            raise TypeError(f"sequence {number} holds {sequence.dtype}, sequence 0 {sequences[0].dtype}: use one dtype")
    lengths = torch.tensor([len(sequence) for sequence in sequences], device="cpu")
    return Padded(pad_sequence(sequences, batch_first=batch_first, padding_value=value), lengths)


def mask(lengths: Tensor | Sequence[int], n_steps: int | None = None, *, batch_first: bool = True) -> Tensor:
    """Say which places of padded sequences are real.

    Parameters
    ----------
    lengths : Tensor or sequence of int, shape (B,)
    n_steps : int, optional
        Length of the padded axis; by default the longest length.
    batch_first : bool
        As for :func:`pad`.

    Returns
    -------
    Tensor of bool, shape (B, T), or (T, B) with time first
        True where there is data, False where there is padding.

    Raises
    ------
    ValueError
        If `lengths` is not one row of numbers, none of them negative or longer than `n_steps`.

    Examples
    --------
    >>> mask([2, 3]).int()
    tensor([[1, 1, 0],
            [1, 1, 1]], dtype=torch.int32)
    """
    lengths = torch.as_tensor(lengths)
    expect.numbers(lengths=lengths)
    whole = not lengths.is_floating_point() and lengths.dtype != torch.bool
    if lengths.ndim != 1 or not len(lengths) or not whole:
        raise ValueError(f"lengths is one row of whole numbers, not {lengths.dtype} of shape {tuple(lengths.shape)}")
    longest = int(lengths.max())
    n_steps = longest if n_steps is None else n_steps
    if isinstance(n_steps, bool) or not isinstance(n_steps, int):
        raise TypeError(f"n_steps is a whole number or None, not {n_steps!r}")
    if int(lengths.min()) < 0 or longest > n_steps:
        raise ValueError(f"lengths go from {int(lengths.min())} to {longest}; they must lie in 0 to {n_steps}")
    real = torch.arange(n_steps, device=lengths.device) < lengths[:, None]  # (B, T)
    return real if batch_first else real.T


def collate(batch: Sequence[tuple[Tensor, int | Tensor]]) -> tuple[Tensor, Tensor, Tensor]:
    """Make one batch of labelled sequences; the ``collate_fn`` of a `torch.utils.data.DataLoader`.

    Parameters
    ----------
    batch : sequence of (Tensor, label)
        Sequences of shape (T_i, ...), each with its label: a number, or a tensor of a fixed shape.

    Returns
    -------
    data : Tensor, shape (B, T, ...)
        Padded to the longest sequence *of this batch*.
    lengths : Tensor, shape (B,)
    labels : Tensor, shape (B, ...)

    Examples
    --------
    >>> data, lengths, labels = collate([(torch.tensor([5, 6]), 1), (torch.tensor([7, 8, 9]), 0)])
    >>> data.shape, lengths, labels
    (torch.Size([2, 3]), tensor([2, 3]), tensor([1, 0]))
    """
    sequences, labels = zip(*batch, strict=True)
    return *pad(sequences), torch.stack([torch.as_tensor(label) for label in labels])
