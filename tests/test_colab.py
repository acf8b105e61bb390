"""The Colab copies: what their text becomes, that their code is untouched, and that they install and run elsewhere."""

import copy
import json
import os
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from pybtex.database import parse_string

from tools import colab, colab_text
from tools.chapter import ROOT, TEMPLATE, find, read

SHA = "0123456789abcdef0123456789abcdef01234567"
WORKS = parse_string(
    """
    @article{one, author = {G{\\"o}del, Kurt}, title = {T}, year = 1931, doi = {10.1007/BF01700692}}
    @article{two, author = {Ada, A. and Bob, B.}, title = {T}, year = 1990, eprint = {1234.5678}}
    @article{three, author = {Ada, A. and Bob, B. and Cyd, C.}, title = {T}, year = 2001}
    """,
    "bibtex",
)


def plain(text, **links):
    """`text` in plain Markdown; what is not understood is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return colab_text.plain(text, colab_text.Links(**links))


def make(nb, **options):
    """The Colab copy of `nb`, from a repository and a commit that nothing looks at."""
    return colab.colab_copy(nb, **{"repository": "ada/book", "commit": SHA} | options)


def small(*cells):
    """A notebook of `cells`."""
    return new_notebook(cells=list(cells))


@pytest.mark.parametrize(
    ("myst", "expected"),
    [
        ("```{note}\nBody with $x$.\n```", "> **Note**\n>\n> Body with $x$."),
        (
            ":::{admonition} Think *first*: is `a < b`?\n:class: think dropdown\n\nYes.\n:::",
            "<details><summary><b>Think <em>first</em>: is <code>a &lt; b</code>?</b></summary>\n\nYes.\n\n</details>",
        ),
        ("````{note}\n```{tip} Inner\nDeep.\n```\n````", "> **Note**\n>\n> > **Inner**\n> >\n> > Deep."),
        (":::{warning}\nCareful.\n:::", "> **Warning**\n>\n> Careful."),
        ("Before.\n```{note}\nIn.\n```\nAfter.", "Before.\n\n> **Note**\n>\n> In.\n\nAfter."),
        ("```{exercise} Sum it\n:label: ex-07-2\n\nDo.\n```", "### Exercise 2: Sum it\n\nDo."),
        ("```{hint}\n:class: dropdown\nTry.\n```", "<details><summary><b>Hint</b></summary>\n\nTry.\n\n</details>"),
        ("```{solution-end}\n```", ""),
        ("(m27)=\n## Title", '<a name="m27"></a>\n\n## Title'),
        ("% a comment\nText.", "Text."),
        ("```{math}\n:label: eq-07-a\nx = 1\n```", "$$\nx = 1 \\tag{1}\n$$"),
        ("$$\nx = 1\n$$ (eq-07-a)\n\nSee {eq}`eq-07-a`.", "$$\nx = 1 \\tag{1}\n$$\n\nSee (1)."),
        ("See {numref}`fig-07-b`.", "See Figure 2."),
        ("See {numref}`picture %s <fig-07-b>`.", "See picture 2."),
        ("It is {glue:text}`07-loss:.2f`.", "It is `07-loss`."),
        ("{doc}`04_batches` and {doc}`that <../notebooks/04_batches>`", "[Batches](x.ipynb) and [that](x.ipynb)"),
        ("{doc}`/book/notation`", "*Notation*"),
        ("{ref}`the box <m27>`", "the box"),
        ("{math}`x^2` and {term}`epoch`", "$x^2$ and epoch"),
        ("```python\nx = {numref}`fig-07-b`\n```", "```python\nx = {numref}`fig-07-b`\n```"),
        ("A literal ``{numref}`fig-07-b` `` stays.", "A literal ``{numref}`fig-07-b` `` stays."),
        ("```{figure} ../x.svg\n:alt: a net\nThe net.\n```", "*A drawing of the book's page: The net.*"),
        ("```{code-block} python\nx = 1\n```", "```python\nx = 1\n```"),
        ("Plain *text* with $a_1 * b_2$.\n\n- so\n- it is", "Plain *text* with $a_1 * b_2$.\n\n- so\n- it is"),
    ],
)  # fmt: skip
def test_myst_becomes_plain_markdown(myst, expected):
    links = {
        "figures": {"fig-07-a": 1, "fig-07-b": 2},
        "equations": {"eq-07-a": 1},
        "pages": {"04_batches": ("Batches", "x.ipynb"), "notation": ("Notation", "")},
    }
    assert plain(myst, **links) == expected


def test_citations_become_names_years_and_links():
    nb = small(new_markdown_cell("{cite:t}`one` and {cite:p}`two,three` and {cite:t}`three`."))
    text = make(nb, works=WORKS).cells[-1].source
    assert text == (
        "[Gödel (1931)](https://doi.org/10.1007/BF01700692) and "
        "([Ada and Bob, 1990](https://arxiv.org/abs/1234.5678); Ada et al., 2001) and Ada et al. (2001)."
    )


def test_a_quiz_becomes_folding_answers():
    text = plain("```{quiz}\n:label: quiz-07-2\nWhat is $1 + 1$?\n\n- [ ] $3$\n  : Too many.\n- [x] $2$\n  : Yes.\n```")
    assert text.startswith(
        "**Question 2.** What is $1 + 1$?\n\n- $3$\n\n  <details><summary>Choose this answer</summary>"
    )
    assert "\n\n  Not this one. Too many.\n\n  </details>\n\n- $2$" in text
    assert "\n\n  Right. Yes.\n\n" in text
    assert "[x]" not in text


@pytest.mark.parametrize("myst", ["```{embed} x\nBody.\n```", "{unheard}`of`"])
def test_unknown_myst_is_kept_and_reported(myst):
    with pytest.warns(colab_text.MarkupWarning, match="no plain form"):
        text = colab_text.plain(myst, colab_text.Links())
    assert "Body." in text or text == "of"


def test_a_source_that_is_not_in_the_bibliography_is_reported():
    with pytest.warns(colab_text.MarkupWarning, match="'four' is not in the bibliography"):
        make(small(new_markdown_cell("{cite:t}`four`")), works=WORKS)


def test_a_copy_begins_with_the_installation_and_keeps_all_code():
    nb = read(TEMPLATE).nb
    before = copy.deepcopy(nb)
    made = make(nb)
    assert nb == before, "the notebook that was copied is changed"
    first = made.cells[0]
    assert first.cell_type == "code"
    assert "https://github.com/ada/book" in first.source
    assert SHA in first.source
    assert "{" + "ADDRESS}" not in first.source
    compile(first.source, "first cell", "exec")
    assert [cell for cell in made.cells[1:] if cell.cell_type == "code"] == [
        cell for cell in nb.cells if cell.cell_type == "code"
    ]
    nbformat.validate(made)
    assert len({cell.id for cell in made.cells}) == len(made.cells)


def test_figures_are_numbered_and_captioned():
    figure = {
        "mystnb": {"figure": {"caption": "A path with $\\eta$.", "name": "fig-07-path"}, "image": {"alt": "path"}}
    }
    nb = small(new_markdown_cell("See {numref}`fig-07-path`."), new_code_cell("plt.show()", metadata=figure))
    made = make(nb)
    assert [cell.source for cell in made.cells[2:]] == [
        "See Figure 1.",
        "plt.show()",
        "**Figure 1.** A path with $\\eta$.",
    ]


def test_glued_numbers_are_explained_where_there_are_any():
    assert "`07-loss = …`" in make(small(new_markdown_cell("It is {glue:text}`07-loss`."))).cells[1].source
    assert "stands for" not in make(small(new_markdown_cell("It is 3."))).cells[1].source


@pytest.mark.parametrize(
    "repository",
    [
        "",
        "book",
        "ada/",
        "ada/book/tree",
        "ada/..",
        'ada/book"; import os',
        "ada/book\n",
        "git@host:ada/book",
        "http://x/y",
    ],
)
def test_a_repository_that_cannot_be_one_is_refused(repository):
    with pytest.raises(ValueError, match="owner/name"):
        make(small(), repository=repository)


@pytest.mark.parametrize("commit", ["", "main", SHA[:7], SHA.upper(), SHA + "0", SHA[:-1] + "\n", SHA[:-1] + '"'])
def test_a_commit_that_cannot_be_one_is_refused(commit):
    with pytest.raises(ValueError, match="40 hexadecimal digits"):
        make(small(), commit=commit)


def test_the_command_line_copies_every_chapter(tmp_path, capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("error", colab_text.MarkupWarning)
        assert colab.main(["--repository", "ada/book", "--commit", SHA, "--out", str(tmp_path)]) == 0
    chapters = [path.name for path in find([]) if not path.name.startswith("_")]
    assert sorted(path.name for path in (tmp_path / "notebooks").iterdir()) == chapters
    assert sorted(path.name for path in (tmp_path / "practice").iterdir()) == chapters
    for name in chapters:
        text = "\n".join(cell.source for cell in read(tmp_path / "notebooks" / name).text)
        assert "```{" not in text
        assert "{numref}" not in text
        assert "{doc}" not in text
        assert "{cite" not in text
        assert "{glue" not in text
    assert f"wrote {len(chapters)} notebooks" in capsys.readouterr().out
    assert colab.main(["--repository", "ada/book", "--commit", "main", "--out", str(tmp_path)]) == 2
    assert "40 hexadecimal digits" in capsys.readouterr().err


def test_a_chapter_that_shows_d2l_has_it_installed_and_no_other_has():
    for path in find([]):
        nb = read(path).nb
        uses = any("d2l_compat" in cell.source for cell in nb.cells if cell.cell_type == "code")
        assert ('ALSO = ["d2l>=0.17,<1"]  #' if uses else "ALSO = []  #") in make(nb).cells[0].source, path.name


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """A Python that has everything this one has except the book's own package, as a Colab machine would."""
    folder = tmp_path_factory.mktemp("elsewhere")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "env"], check=True)
    python = folder / "env" / "bin" / "python"
    here = Path(shutil.__file__).parent  # the standard library, to be sure that no path below means it
    asked = "import site, json; print(json.dumps(site.getsitepackages()[0]))"
    target = Path(json.loads(subprocess.check_output([python, "-c", asked], text=True)))
    source = Path(nbformat.__file__).parent.parent
    assert source != here
    for entry in source.iterdir():
        own = "deep_learning_worked_out" in entry.name or "deep-learning-worked-out" in entry.name
        if not own and entry.suffix != ".pth":
            (target / entry.name).symlink_to(entry)
    return python


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A git repository with the package as it is now; its address and the SHA of its commit."""
    folder = tmp_path_factory.mktemp("repository")
    shutil.copytree(ROOT / "helpers", folder / "helpers", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    (folder / "README.md").write_text("The package, as it is being worked on.\n", encoding="utf-8")
    env = os.environ | {
        f"GIT_{who}_{what}": "test@example.invalid" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    }
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "as it is now"]):
        subprocess.run(["git", *command], cwd=folder, check=True, env=env)
    sha = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=folder, text=True).strip()
    return folder.as_uri(), sha


needs_links = pytest.mark.skipif(os.name == "nt", reason="makes symbolic links, which Windows allows to few")


@needs_links
def test_a_copy_installs_its_helpers_and_runs_where_they_are_not(elsewhere, repository, tmp_path, monkeypatch):
    missing = subprocess.run(
        [elsewhere, "-c", "import helpers"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert "No module named 'helpers'" in missing.stderr, "helpers is there already: the test would show nothing"
    address, sha = repository
    made = make(read(TEMPLATE).nb, repository=address, commit=sha)
    again = new_code_cell(made.cells[0].source, id="install-again")
    look = "import helpers, os, sys\nprint(helpers.__file__, torch is sys.modules['torch'], os.getpid() == before)"
    made.cells.insert(1, new_code_cell("import os, torch\nbefore = os.getpid()", id="before"))
    made.cells += [again, new_code_cell(look, id="look")]

    spec = tmp_path / "kernels" / "elsewhere"
    spec.mkdir(parents=True)
    kernel = {
        "argv": [str(elsewhere), "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": "elsewhere",
        "language": "python",
        "env": {"PIP_NO_BUILD_ISOLATION": "0", "PIP_NO_INDEX": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": ""},
    }
    (spec / "kernel.json").write_text(json.dumps(kernel), encoding="utf-8")
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(made, timeout=300, kernel_name="elsewhere", resources=resources).execute()

    printed = {
        cell.id: "".join(out.get("text", "") for out in cell.outputs) for cell in made.cells if "outputs" in cell
    }
    assert printed[colab.INSTALL_ID] == f"Installed the book's helpers, version {sha[:7]}.\n"
    assert printed["install-again"] == "The book's helpers are installed already.\n"
    assert "= autograd" in printed["gradient-three-ways"]
    where, same_torch, same_kernel = printed["look"].split()
    assert Path(where).is_relative_to(elsewhere.parent.parent)
    assert (same_torch, same_kernel) == ("True", "True")


@needs_links
def test_without_a_connection_the_cell_says_so_in_a_sentence(elsewhere, tmp_path):
    made = make(small(), repository=(tmp_path / "nowhere").as_uri())
    script = tmp_path / "first_cell.py"
    script.write_text(made.cells[0].source, encoding="utf-8")
    env = os.environ | {"PIP_NO_BUILD_ISOLATION": "0", "PIP_NO_INDEX": "1", "PYTHONPATH": ""}
    done = subprocess.run([elsewhere, script], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(
        "RuntimeError: The book's helpers could not be installed. Check that this machine has a network"
    )
    assert re.search(r"\(pip said: (fatal|error).*nowhere", last, re.IGNORECASE), last
