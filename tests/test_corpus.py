"""The text that ships: cut without loss, the same everywhere, and nothing of the test known in advance."""

import ast
import calendar
import dataclasses
import hashlib
import string
from importlib import resources
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import corpus

RAW = (resources.files("helpers") / "assets" / "shore_year.txt").read_bytes()
MONTHS = list(calendar.month_name)[1:]


def headings(part):
    return [line for line in part.splitlines() if line in MONTHS]


@given(st.integers(0, 11), st.integers(0, 11))
def test_the_parts_follow_one_another_and_lose_nothing(n_valid, n_test):
    if n_valid + n_test > 11:
        with pytest.raises(ValueError, match="leave none to train on: there are 12"):
            corpus.load_text(n_valid=n_valid, n_test=n_test)
        return
    text = corpus.load_text(n_valid=n_valid, n_test=n_test)
    whole = text.train + text.valid + text.test
    assert whole.encode("ascii") == RAW.replace(b"\r\n", b"\n")
    assert len(text) == len(whole)
    n_train = 12 - n_valid - n_test
    assert headings(text.train) == MONTHS[:n_train]
    assert headings(text.valid) == MONTHS[n_train : n_train + n_valid]
    assert headings(text.test) == MONTHS[n_train + n_valid :]


def test_it_is_the_same_text_everywhere():
    """A change of one character changes every measured number of the last chapter; then renew this sum too."""
    text = corpus.load_text()
    digest = hashlib.sha256((text.train + text.valid + text.test).encode()).hexdigest()
    assert digest == "50fe93ba930e8af890c401d750d3264cde2ff07d9275c9068c5e019545f23afb"
    assert corpus.load_text() == text
    with pytest.raises(dataclasses.FrozenInstanceError):
        text.train = ""


def test_nothing_held_out_is_known_in_advance():
    text = corpus.load_text()
    seen = set(text.train.splitlines())
    held_out = [line for line in (text.valid + text.test).splitlines() if line]
    assert len(set(held_out)) == len(held_out) > 40
    assert not seen & set(held_out)
    assert set(text.valid + text.test) <= set(text.train)  # but every character is


def test_it_is_written_in_few_characters_and_in_sentences():
    text = corpus.load_text()
    assert set(text.train) <= set(string.ascii_letters + " \n.,:")
    assert set(text.train.lower()) >= set(string.ascii_lowercase)
    for month in (text.train + text.valid + text.test).strip().split("\n\n"):
        heading, *sentences = month.split("\n")
        assert heading in MONTHS
        assert len(sentences) >= 18
        for sentence in sentences:
            assert sentence[0].isupper(), sentence
            assert sentence.endswith("."), sentence
            assert "  " not in sentence
            assert sentence == sentence.strip()
            assert len(sentence) < 100


def test_it_says_where_it_comes_from():
    text = corpus.load_text()
    assert (text.source, text.licence) == ("written for this book", "MIT")
    assert repr(text).endswith("(written for this book; MIT)")
    assert "13,607 training" in repr(text)


def test_it_needs_neither_torch_nor_a_network():
    imported = {
        alias.name if isinstance(node, ast.Import) else node.module
        for node in ast.walk(ast.parse(Path(corpus.__file__).read_text(encoding="utf-8")))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert imported == {"__future__", "dataclasses", "pathlib"}


@pytest.mark.parametrize(
    ("wish", "error", "words"),
    [
        ({"n_test": -1}, ValueError, "n_test cannot be negative, and it is -1"),
        ({"n_valid": -3}, ValueError, "n_valid cannot be negative"),
        ({"n_valid": 1.0}, TypeError, r"n_valid is a number of months, not 1\.0"),
        ({"n_test": True}, TypeError, "n_test is a number of months, not True"),
        ({"n_test": "1"}, TypeError, "not '1'"),
        ({"n_valid": 6, "n_test": 6}, ValueError, "6 months for validation and 6 for the test leave none"),
    ],
)
def test_mistakes_are_named(wish, error, words):
    with pytest.raises(error, match=words):
        corpus.load_text(**wish)
