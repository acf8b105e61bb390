"""Broadcasting and memory: the rule against PyTorch's own, strides against addresses, and what the drawings show."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

from helpers import shapes

SHAPES = st.lists(st.sampled_from([0, 1, 1, 2, 3]), max_size=4).map(tuple)


def pytorch_shape(a, b):
    """What PyTorch itself makes of two shapes."""
    try:
        return tuple((torch.zeros(a) + torch.zeros(b)).shape)
    except RuntimeError:
        return None


@settings(deadline=None)
@given(SHAPES, SHAPES)
def test_the_rule_is_that_of_pytorch(a, b):
    assert shapes.align(a, b).shape == pytorch_shape(a, b)


@settings(deadline=None)
@given(SHAPES, SHAPES)
def test_the_order_does_not_matter(a, b):
    assert shapes.align(a, b).shape == shapes.align(b, a).shape


@pytest.mark.parametrize("bad", [(2, -1), (2.0,), (True,), ("3",)])
def test_what_is_no_shape_is_refused(bad):
    with pytest.raises(ValueError, match="a shape is a sequence of whole numbers"):
        shapes.align(bad, (1,))


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        ((2, 3), (2, 3), "a partner of its own"),
        ((2, 3), (3,), "B gets a new dimension of size 2"),
        ((2, 1), (2, 3), "A is stretched from 1 to 3"),
        ((3,), (2,), "dimension −1, 3 meets 2"),
        ((4, 3), (2, 1), "dimension −2, 4 meets 2"),
    ],
)
def test_the_words_say_what_happens(a, b, words):
    assert words in shapes.align(a, b).text


VIEWS = {
    "itself": lambda t: t,
    "transposed": lambda t: t.T,
    "column": lambda t: t[:, 1],
    "every other": lambda t: t[:, ::2],
    "expanded": lambda t: t[0].expand(2, 3),
    "copied": lambda t: t.T.reshape(-1),
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_slots_are_where_the_entries_lie(view):
    tensor = view(torch.arange(6).view(2, 3))
    reading = shapes.read_memory(tensor)
    assert torch.equal(reading.values[reading.slots], tensor)
    start = tensor.untyped_storage().data_ptr()
    addresses = [(entry.data_ptr() - start) // tensor.element_size() for row in tensor for entry in row.reshape(-1)]
    assert reading.slots.flatten().tolist() == addresses
    assert reading.contiguous == (addresses == list(range(addresses[0], addresses[0] + len(addresses))))


def test_a_row_in_the_middle_of_memory_is_read_there():
    reading = shapes.read_memory(torch.arange(6).view(2, 3)[1])
    assert reading.slots.tolist() == [3, 4, 5]
    assert reading.values.tolist() == list(range(6))


def test_tracked_tensors_can_be_read():
    assert shapes.read_memory(torch.ones(2, requires_grad=True)).values.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("shape", [(), (1, 2, 3)])
def test_other_dimensions_are_refused(shape):
    with pytest.raises(ValueError, match="one or two dimensions"):
        shapes.read_memory(torch.zeros(shape))


def texts(ax):
    return [text.get_text() for text in ax.texts]


def test_the_drawing_shows_the_numbers_that_meet():
    ax = Figure().subplots()
    shapes.plot_broadcast(torch.tensor([[10], [20]]), torch.tensor([1, 2, 3]), ax)
    shown = texts(ax)
    for number in ("11", "12", "13", "21", "22", "23"):
        assert shown.count(number) == 1
    assert [shown.count("10"), shown.count("20")] == [3, 3]
    dashed = [patch for patch in ax.patches if patch.get_linestyle() not in ("solid", "-")]
    assert len(dashed) == 4 + 3 + 2  # repeats of A, repeats of B, the missing dimension and its key


def test_the_drawing_of_a_failure_has_no_sum():
    ax = Figure().subplots()
    shapes.plot_broadcast(torch.tensor([10, 20, 30]), torch.tensor([1, 2]), ax)
    assert {"no sum", "?"} <= set(texts(ax))
    assert "11" not in texts(ax)


def test_the_drawing_of_memory_names_the_strides():
    ax = Figure().subplots()
    shapes.plot_memory(shapes.read_memory(torch.arange(6).view(2, 3).T), ax)
    assert {"next row: +1", "next column: +3"} <= set(texts(ax))
    ax = Figure().subplots()
    shapes.plot_memory(shapes.read_memory(torch.arange(3).expand(2, 3)), ax)
    assert {"next row: stays", "next column: +1"} <= set(texts(ax))
