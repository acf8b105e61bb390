import json
import os
import subprocess
import sys

import nbformat
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from nbclient import NotebookClient

from helpers import check
from helpers.check_words import difference, written

MATRIX = torch.arange(1.0, 10.0, dtype=torch.float64).reshape(3, 3) ** 1.5
VECTOR = torch.tensor([0.3, -1.7, 2.9, 4.1], dtype=torch.float64)


def told(yours, truth, **more) -> str:
    return difference(torch.as_tensor(yours), torch.as_tensor(truth), atol=1e-9, rtol=1e-9, **more)


def test_equal_prints_one_line(capsys):
    check.equal("dL/dw5", by_hand=0.0821670, formula=0.08216704, autograd=torch.tensor(0.08216704).double(), atol=1e-7)
    line = "by hand 0.0821670 = formula 0.0821670 = autograd 0.0821670  (largest difference 4.0e-08, allowed 1e-07)"
    assert capsys.readouterr().out == f"dL/dw5: {line}\n"


def test_equal_names_keep_their_order_and_lose_underscores(capsys):
    check.equal("x", z_last=1.0, a_first=1.0)
    assert capsys.readouterr().out.startswith("x: z last 1 = a first 1  (")


@pytest.mark.parametrize(
    "value",
    [2.5, [1.0, 2.0], (1, 2), np.eye(2), torch.eye(2, requires_grad=True), torch.tensor(3), True, [[1, 2], [3, 4]]],
)
def test_equal_takes_numbers_lists_arrays_and_tensors(value, capsys):
    check.equal("x", a=value, b=value)
    assert capsys.readouterr().out.count("\n") == 1


def test_one_number_in_a_tensor_is_that_number(capsys):
    check.equal("x", by_hand=0.5, autograd=torch.tensor([[0.5]]))
    assert "by hand 0.5 = autograd 0.5" in capsys.readouterr().out


def test_large_tensors_are_written_by_their_shape(capsys):
    check.equal("W", code=torch.zeros(30, 40), autograd=torch.zeros(30, 40))
    assert capsys.readouterr().out == ("W: code with shape (30, 40) = autograd with shape (30, 40)  (within 1e-09)\n")


def test_the_printed_line_does_not_depend_on_the_last_bits(capsys):
    for noise in (0.0, 1e-16, 2e-16):
        check.equal("x", a=[0.7 + noise, noise], b=[0.7, 0.0])
    assert len(set(capsys.readouterr().out.splitlines())) == 1


@pytest.mark.parametrize(
    ("atol", "rtol", "fits"), [(1e-3, 0, True), (9e-4, 0, False), (0, 1e-3, True), (0, 4e-4, False)]
)
def test_the_tolerance_is_atol_plus_rtol_times_the_reference(atol, rtol, fits):
    values = {"by_hand": 2.00099, "autograd": 2.0}
    if fits:
        check.equal("x", **values, atol=atol, rtol=rtol)
    else:
        with pytest.raises(check.Mismatch):
            check.equal("x", **values, atol=atol, rtol=rtol)


def test_every_pair_is_compared():
    with pytest.raises(check.Mismatch, match="further than"):
        check.equal("x", a=0.9, b=1.1, c=1.0, atol=0.15)
    with pytest.raises(check.Mismatch, match="formula 2 is not autograd 1"):
        check.equal("x", by_hand=1.0, formula=2.0, autograd=1.0)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=5), st.floats(1e-6, 1e-2), st.data())
def test_equal_agrees_with_torch_allclose(values, atol, data):
    other = [value + data.draw(st.floats(-2e-2, 2e-2)) for value in values]
    a, b = (torch.tensor(each, dtype=torch.float64) for each in (values, other))
    if torch.allclose(a, b, atol=atol, rtol=0):
        check.equal("x", a=a, b=b, atol=atol)
    else:
        with pytest.raises(check.Mismatch):
            check.equal("x", a=a, b=b, atol=atol)


@pytest.mark.parametrize(
    ("yours", "truth", "words"),
    [
        (2 * VECTOR, VECTOR, "yours is twice the right one"),
        (VECTOR / 2, VECTOR, "yours is half of the right one"),
        (-VECTOR, VECTOR, "the right size and the wrong sign"),
        (-2 * VECTOR, VECTOR, "twice the right one, with the wrong sign"),
        (4 * VECTOR, VECTOR, "4 times the right one: is it a sum over 4 examples"),
        (VECTOR / 4, VECTOR, "divided by 4: is it a mean over 4 examples"),
        (32 * VECTOR, VECTOR, "32 times the right one$"),
        (3.3 * VECTOR, VECTOR, "every entry of yours is 3.3 times"),
        (VECTOR / np.log(2), VECTOR, "logarithm to base 2"),
        (VECTOR + 0.5, VECTOR, "every entry of yours is above the right one by 0.5"),
        (VECTOR.abs(), VECTOR, "the wrong sign in 1 of 4 entries, first at index 1"),
        (VECTOR.flip(0), VECTOR, "the right entries in another order"),
        (VECTOR + torch.eye(4, dtype=torch.float64)[2], VECTOR, "only the entry at index 2 differs, 3.9 against 2.9"),
        (VECTOR**3, VECTOR, "every entry differ"),
        (MATRIX.T, MATRIX, "the transpose of"),
        (torch.cat([MATRIX[:1], MATRIX[1:2] ** 2, MATRIX[2:]]), MATRIX, "only row 1 differs"),
        (torch.cat([MATRIX[:, :2], MATRIX[:, 2:] ** 2], 1), MATRIX, "only column 2 differs"),
        (MATRIX[:2].T, MATRIX[:2], r"shape \(3, 2\), the right one \(2, 3\); yours is transposed"),
        (VECTOR[:, None], VECTOR, r"would broadcast to \(4, 4\), so drop the axis of length 1"),
        (VECTOR[:, None] - VECTOR, VECTOR, r"shapes \(4, 1\) and \(4,\) broadcast"),
        (MATRIX, MATRIX.sum(0), "the sum over its first axis would be right"),
        (MATRIX[:2], MATRIX[:2].mean(0), "the mean over its first axis would be right"),
        (VECTOR[:3], VECTOR, r"shape \(3,\), the right one \(4,\)$"),
        (VECTOR * float("nan"), VECTOR, "yours is NaN in every entry"),
        (VECTOR.sqrt(), VECTOR, "yours is NaN in 1 of 4 entries, first at index 1"),
        (VECTOR, VECTOR / 0, "the right one is infinite"),
        (float("nan"), 1.0, "^yours is NaN$"),
        (6.25, 2.5, "the square of"),
        (0.4, 2.5, "1 divided by"),
        (1.5811388300841898, 2.5, "the square root of"),
        (3.5, 2.5, "plus 1"),
        (2.6, 2.5, "they differ by 0.1"),
        (0.0, 2.5, "they differ by 2.5"),
        (1.0, 0.0, "the right one plus 1"),
        (torch.zeros(4), VECTOR, "differ"),
    ],
)
def test_the_difference_is_named(yours, truth, words):
    import re

    assert re.search(words, told(yours, truth)), told(yours, truth)


def test_a_batch_size_explains_a_factor():
    assert "a mean over 7 examples where the sum was meant" in told(0.5, 3.5, batch_size=7)
    assert "a sum over 2 examples" in told(7.0, 3.5, batch_size=2)


def test_float32_rounding_is_recognised():
    a = torch.tensor([0.1, 0.7])
    assert "float32 rounding" in difference(a, a.double() + 2e-9, atol=1e-12, rtol=0)
    assert "float32" not in difference(a.double(), a.double() + 2e-9, atol=1e-12, rtol=0)


@given(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3))
def test_no_words_only_when_numbers_agree(x, y):
    assert bool(told(x, y)) == (not np.isclose(x, y, atol=1e-9, rtol=1e-9))


@given(st.floats(1e-8, 1e8), st.sampled_from([1e-3, 1e-6, 1e-9]))
def test_numbers_are_written_as_exactly_as_the_tolerance_allows(value, atol):
    text = written([torch.tensor(value, dtype=torch.float64)], atol)[0]
    if value <= 1e-3 * atol:
        assert text == "0"
        return
    assert float(text) == pytest.approx(value, rel=0.06, abs=0)
    assert float(text) == pytest.approx(value, rel=1e-6, abs=10 * atol)


@pytest.mark.parametrize(
    ("values", "error", "words"),
    [
        ({"a": 1.0}, ValueError, "two or more"),
        ({"a": None, "grad": 1.0}, TypeError, "a is None; a gradient is None until backward"),
        ({"a": "1", "b": 1.0}, TypeError, "must be a number"),
        ({"a": [[1], [1, 2]], "b": 1.0}, TypeError, "must be a number"),
        ({"a": torch.tensor(1j), "b": 1.0}, TypeError, "real numbers"),
        ({"a": 1.0, "b": 1.0, "atol": -1}, ValueError, "not negative"),
        ({"a": 1.0, "b": 1.0, "rtol": float("nan")}, ValueError, "finite"),
    ],
)
def test_what_cannot_be_compared_is_an_error(values, error, words):
    with pytest.raises(error, match=words):
        check.equal("x", **values)


def test_answer_says_right_or_what_is_wrong(capsys):
    check.answer(2.5000001, 2.5)
    check.answer("Saddle ", "saddle")
    check.answer([1, 2], torch.tensor([1.0, 2.0]))
    check.answer(..., 2.5)
    out = capsys.readouterr().out.splitlines()
    assert out == [
        "Right: 2.5.",
        "Right: saddle.",
        "Right: [1, 2].",
        "Not answered yet: put your answer in place of the three dots.",
    ]


@pytest.mark.parametrize(
    ("yours", "truth", "words"),
    [
        (5.0, 2.5, r"twice the right one\. Did you average\?"),
        (-7.0, 2.5, "wrong sign, and not only that"),
        (2.6, 2.4567, "too large"),
        (2.46, 2.4567, "close but not exact: round later"),
        ("minimum", "saddle", r"'minimum' is not it\. Look at both curvatures\."),
        (3, "saddle", "a word in quotes"),
        ("abc", 2.5, "must be a number"),
        (None, 2.5, "None"),
        ([1.0, 2.0, 9.0], [1.0, 2.0, 3.3], "only the entry at index 2 differs"),
    ],
)
def test_a_wrong_answer_is_explained_and_the_right_one_kept(yours, truth, words):
    hints = {5.0: "Did you average?", "minimum": "Look at both curvatures."}
    hints = {key: text for key, text in hints.items() if isinstance(key, str) == isinstance(truth, str)}
    with pytest.raises(check.Mismatch, match=words) as caught:
        check.answer(yours, truth, hints=hints)
    for secret in ("2.4567", "3.3"):
        assert secret not in str(caught.value)


def test_an_answer_is_right_up_to_its_tolerance_and_no_further():
    check.answer(2.0009, 2.0, atol=1e-3, rtol=0)
    with pytest.raises(check.Mismatch):
        check.answer(2.0011, 2.0, atol=1e-3, rtol=0)


TRIALS = {
    "at 3": (lambda f: f(torch.tensor(3.0)), 9.0),
    "its name": (lambda f: f.__name__, "square"),
    "its shape": (lambda f: list(f(torch.ones(2, 3)).shape), [2, 3]),
}


def square(x):
    return x**2


def test_a_readers_code_is_tried_and_called_right(capsys):
    check.function(square, TRIALS)
    check.function(..., TRIALS)
    assert capsys.readouterr().out.splitlines() == [
        "Right: at 3; its name; its shape.",
        "Not answered yet: put your code in place of the three dots.",
    ]


@pytest.mark.parametrize(
    ("yours", "words"),
    [
        (
            lambda x: 2 * square(x),
            r"^Not yet, at 3: the result of your code is twice the right one\. Once, not twice\.$",
        ),
        (square.__call__, r"^Not yet, its name: the result of your code is '__call__'\.$"),
        (lambda x: None, r"at 3: the result of your code is None\."),
        (lambda: 9.0, r"at 3: your code raised TypeError: .*positional argument"),
        (lambda x: "nine", r"at 3: the result of your code must be a number"),
        (9.0, r"at 3: your code raised TypeError: 'float' object is not callable\. Once"),
    ],
)
def test_a_readers_wrong_code_is_told_where_it_fails(yours, words):
    with pytest.raises(check.Mismatch, match=words) as caught:
        check.function(yours, TRIALS, hints={"at 3": "Once, not twice."})
    assert "9" not in str(caught.value)


@pytest.mark.parametrize(
    ("trials", "options"), [({}, {}), (TRIALS, {"hints": {"at 4": "?"}}), (TRIALS, {"atol": float("nan")})]
)
def test_trials_that_judge_nothing_are_an_error_of_the_author(trials, options):
    with pytest.raises(ValueError, match=r"trials|finite"):
        check.function(square, trials, **options)


def test_a_mismatch_fails_pytest_and_hides_its_traceback_in_notebooks():
    with pytest.raises(AssertionError) as caught:
        check.answer(1.0, 2.0)
    assert caught.value._render_traceback_() == [f"Mismatch: {caught.value}"]


def test_glue_is_silent_outside_a_notebook(capsys):
    check.glue("03-loss", 0.5, "{:.2f}")
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


@pytest.mark.parametrize(
    ("name", "value", "spec", "words"),
    [
        ("a b", 1, "{}", "glue name"),
        ("a:b", 1, "{}", "glue name"),
        ("a", "x", "{:.2f}", "does not fit"),
        ("a", 1.0, "{:.2f} {}", "does not fit"),
        ("a", torch.ones(2), "{}", "one number"),
    ],
)
def test_glue_refuses_what_it_cannot_write(name, value, spec, words):
    with pytest.raises(ValueError, match=words):
        check.glue(name, value, spec)


@pytest.fixture(scope="module")
def glued(tmp_path_factory):
    """A notebook that glues, run while building and run live."""
    code = (
        "from helpers import check\nimport torch\n"
        "check.glue('03-loss', torch.tensor(0.12345678), '{:.4f}')\ncheck.glue('03-slope', -2.5, '{:.1f}')\n"
        "check.glue('03-count', 206410, '{:,}')\ncheck.glue('03-half', 0.5, '{:.2f}')\ncheck.glue('03-word', \"it's\")"
    )
    names = ("loss", "slope", "count", "half", "word")
    text = "# Test\n\n" + ", ".join(f"{{glue:text}}`03-{name}`" for name in names)
    runs = {}
    for building in ("1", "0"):
        cells = [nbformat.v4.new_markdown_cell(text), nbformat.v4.new_code_cell(code)]
        metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        book = nbformat.v4.new_notebook(cells=cells, metadata=metadata)
        NotebookClient(book, timeout=120).execute(env={**os.environ, "BOOK_BUILD": building})
        runs[building] = book
    return runs


def test_glued_numbers_reach_the_text_of_the_page(glued, tmp_path):
    source, out = tmp_path / "source", tmp_path / "out"
    source.mkdir()
    nbformat.write(glued["1"], source / "index.ipynb")
    glued["0"].metadata["orphan"] = True
    nbformat.write(glued["0"], source / "live.ipynb")
    (source / "conf.py").write_text("extensions = ['myst_nb']\nnb_execution_mode = 'off'\n")
    command = [sys.executable, "-m", "sphinx", "-W", "-q", "-b", "html", str(source), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name in ("index.html", "live.html"):
        page = (out / name).read_text(encoding="utf-8")
        for text in ("0.1235", "−2.5", "206,410", "0.50", "it’s"):
            assert f'<span class="pasted-text">{text}</span>' in page, text


def test_a_live_notebook_shows_what_was_glued_and_a_page_does_not(glued):
    shown = [output["data"].get("text/plain") for output in glued["0"].cells[1].outputs]
    assert [text for text in shown if text][:3] == ["03-loss = 0.1235", "03-slope = −2.5", "03-count = 206,410"]
    assert all(set(output["data"]) == {check.GLUE_PREFIX + "text/plain"} for output in glued["1"].cells[1].outputs)


def test_helpers_do_not_import_myst_nb():
    code = "import sys, helpers.check; print('myst_nb' in sys.modules or 'matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.strip().lower()) is False


def test_whole_numbers_that_differ_within_the_tolerance_are_not_called_equal(capsys):
    check.equal("steps", predicted=145, taken=149, atol=10)
    assert "exactly" not in capsys.readouterr().out
    check.equal("steps", predicted=145, taken=145, atol=10)
    assert "exactly equal" in capsys.readouterr().out
