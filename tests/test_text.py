"""Vocabulary, padding and masks, held against `torch.nn.utils.rnn` and against recurrent layers of PyTorch."""

import dataclasses
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pack_sequence, pad_packed_sequence
from torch.utils.data import DataLoader

from helpers import text
from helpers.text import PADDING, UNKNOWN, Vocabulary

LENGTHS = st.lists(st.integers(1, 9), min_size=1, max_size=6)
CHARACTERS = st.characters(exclude_characters="\N{REPLACEMENT CHARACTER}", exclude_categories=("Cs",))


def sequences(lengths, *shape, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(n, *shape, generator=generator, dtype=dtype) for n in lengths]


# ---- vocabulary ------------------------------------------------------------------------------------------------------


@given(st.text(CHARACTERS, min_size=1, max_size=40))
def test_decode_undoes_encode(words):
    vocabulary = Vocabulary(words)
    indices = vocabulary.encode(words)
    assert vocabulary.decode(indices) == words
    assert indices.dtype == torch.int64
    assert sorted(set(indices.tolist())) == list(range(2, len(vocabulary)))


@given(st.lists(st.text(CHARACTERS, min_size=1, max_size=5), min_size=1), st.randoms())
def test_the_numbering_depends_on_the_set_of_tokens_only(tokens, random):
    again = [*tokens, tokens[0]]
    random.shuffle(again)
    assert Vocabulary(again) == Vocabulary(tokens)
    assert hash(Vocabulary(again)) == hash(Vocabulary(tokens))
    assert Vocabulary(tokens).tokens[2:] == tuple(sorted(set(tokens)))


def test_words_are_tokens_too():
    vocabulary = Vocabulary(["it", "never", "rains", "but", "it", "pours"])
    indices = vocabulary.encode(["it", "rains", "today"])
    assert indices[-1] == UNKNOWN
    assert vocabulary.decode([*indices, PADDING], separator=" ") == "it rains �"
    assert "rains" in vocabulary
    assert "" not in vocabulary


def test_a_vocabulary_does_not_change():
    vocabulary = Vocabulary("ab")
    with pytest.raises(dataclasses.FrozenInstanceError):
        vocabulary.tokens = ()
    assert pickle.loads(pickle.dumps(vocabulary)).encode("ba").tolist() == [3, 2]
    assert repr(vocabulary) == "<Vocabulary of 2 tokens, padding and unknown>"


def test_an_empty_sequence_has_no_index():
    assert Vocabulary("a").encode("").shape == (0,)
    assert Vocabulary("a").encode("").dtype == torch.int64


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: Vocabulary(""), ValueError, "there are no tokens"),
        (lambda: Vocabulary([1, 2]), TypeError, "not int: 1"),
        (lambda: Vocabulary(["a", ""]), ValueError, "cannot be ''"),
        (lambda: Vocabulary("a�"), ValueError, "cannot be '�'"),
        (lambda: Vocabulary("a").encode([3]), TypeError, "not int: 3"),
        (lambda: Vocabulary("a").decode([3]), ValueError, "no index 3 in a vocabulary of 3: 0 to 2"),
        (lambda: Vocabulary("a").decode([-1]), ValueError, "no index -1"),
        (lambda: Vocabulary("a").decode(torch.tensor([[2]])), TypeError, "whole numbers, not tensor"),
        (lambda: Vocabulary("a").decode([2.0]), TypeError, r"not \[2\.0\]"),
    ],
)
def test_mistakes_with_a_vocabulary_are_named(call, error, words):
    with pytest.raises(error, match=words):
        call()


# ---- padding, masks, batches -----------------------------------------------------------------------------------------


@given(LENGTHS, st.booleans(), st.sampled_from([(), (2,), (2, 3)]), st.floats(-3, 3, width=32))
def test_padding_is_what_packing_and_unpacking_gives(lengths, batch_first, shape, value):
    parts = sequences(lengths, *shape)
    padded = text.pad(parts, batch_first=batch_first, value=value)
    packed = pack_sequence(parts, enforce_sorted=False)
    expected, expected_lengths = pad_packed_sequence(packed, batch_first=batch_first, padding_value=value)
    assert torch.equal(padded.data, expected)
    assert torch.equal(padded.lengths, expected_lengths)


@given(LENGTHS, st.booleans(), st.integers(0, 3))
def test_the_mask_is_true_where_something_was_written(lengths, batch_first, more):
    ones = [torch.ones(n) for n in lengths]
    n_steps = max(lengths) + more
    packed = pack_sequence(ones, enforce_sorted=False)
    expected, _ = pad_packed_sequence(packed, batch_first=batch_first, total_length=n_steps)
    assert torch.equal(text.mask(lengths, n_steps, batch_first=batch_first), expected.bool())
    assert text.mask(lengths, n_steps).sum(dim=1).tolist() == lengths


@settings(deadline=None, max_examples=12)
@given(LENGTHS, st.sampled_from([nn.RNN, nn.GRU, nn.LSTM]), st.booleans())
def test_a_packed_batch_gives_what_each_sequence_gives_alone(lengths, layer, bidirectional):
    torch.manual_seed(0)
    net = layer(2, 3, num_layers=2, batch_first=True, bidirectional=bidirectional, dtype=torch.float64)
    parts = sequences(lengths, 2)
    padded, lengths_ = text.pad(parts)
    output, _ = net(pack_padded_sequence(padded, lengths_, batch_first=True, enforce_sorted=False))
    output, _ = pad_packed_sequence(output, batch_first=True)
    for i, part in enumerate(parts):
        torch.testing.assert_close(output[i, : len(part)], net(part)[0])
    assert not output[~text.mask(lengths_)].any()


def test_a_data_loader_pads_each_batch_to_its_own_longest():
    vocabulary = Vocabulary("abc")
    names = ["abc", "a", "cc", "bbbbb"]
    pairs = [(vocabulary.encode(name), torch.tensor(i)) for i, name in enumerate(names)]
    seen = list(DataLoader(pairs, batch_size=3, collate_fn=text.collate))
    assert [tuple(X.shape) for X, _, _ in seen] == [(3, 3), (1, 5)]
    assert [vocabulary.decode(row) for X, _, _ in seen for row in X] == names
    assert torch.equal(torch.cat([lengths for _, lengths, _ in seen]), torch.tensor([3, 1, 2, 5]))
    assert torch.equal(torch.cat([y for _, _, y in seen]), torch.arange(4))


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: text.pad([]), ValueError, "nothing to pad"),
        (lambda: text.pad([[1, 2]]), TypeError, "sequence 0 is a list"),
        (lambda: text.pad([torch.ones(1), torch.tensor(1.0)]), TypeError, "sequence 1 is a number without axes"),
        (lambda: text.pad([torch.ones(1), torch.ones(0)]), ValueError, "sequence 1 has no step"),
        (lambda: text.pad([torch.ones(1, 2), torch.ones(1, 3)]), ValueError, r"shape \(3,\), one of .* \(2,\)"),
        (lambda: text.mask([2, 3], 2), ValueError, "from 2 to 3; they must lie in 0 to 2"),
        (lambda: text.mask([-1]), ValueError, "from -1"),
        (lambda: text.mask([1.5]), ValueError, "whole numbers"),
        (lambda: text.mask([]), ValueError, r"shape \(0,\)"),
        (lambda: text.mask(torch.ones(1, 1, dtype=torch.int64)), ValueError, r"shape \(1, 1\)"),
    ],
)
def test_mistakes_with_padding_are_named(call, error, words):
    with pytest.raises(error, match=words):
        call()
