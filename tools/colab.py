"""Make the copies of the notebooks that the launch buttons open in Colab.

    python -m tools.colab --repository owner/name --commit SHA --out DIR

Each copy begins with a cell that installs `helpers` from that commit of that repository, and nothing that Colab has
already: torch and numpy stay as they are, and the kernel is not restarted. The code of the chapter is not touched.
"""

from __future__ import annotations

import argparse
import copy
import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell
from pybtex.database import BibliographyData, Entry, parse_file
from pybtex.richtext import Text

from tools import colab_text, myst, practice
from tools.chapter import ROOT, Chapter, find, read
from tools.notebook_mend import write

INSTALL_ID = "install-helpers"
BRANCH = "colab"

_OWNER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+")
_ADDRESS = re.compile(r"(https|file|ssh)://[\w.@:/~%+-]+")
_COMMIT = re.compile(r"[0-9a-f]{40}")

_FIRST_CELL = Path(__file__).with_name("colab_first_cell.py")
_TITLE = "# @title Install the book's helpers (run this cell first)\n"


def colab_copy(
    nb: nbformat.NotebookNode,
    *,
    repository: str,
    commit: str,
    pages: Mapping[str, tuple[str, str]] | None = None,
    works: BibliographyData | None = None,
) -> nbformat.NotebookNode:
    """A copy of a chapter for Colab.

    Parameters
    ----------
    nb : NotebookNode
        The chapter as it is stored. It is not changed, and neither is any of its code.
    repository : str
        ``owner/name`` on GitHub, or the ``https://``, ``ssh://`` or ``file://`` address of a git repository.
    commit : str
        The full SHA of the commit whose `helpers` the copy installs, 40 hexadecimal digits.
    pages : mapping of str to (str, str), optional
        Title and address of every page that ``{doc}`` may name, by the last part of its document name.
    works : BibliographyData, optional
        The sources that ``{cite:t}`` may name.

    Returns
    -------
    NotebookNode
        The copy: a first cell that installs `helpers`, the text in plain Markdown, captions below the figures.

    Raises
    ------
    ValueError
        If `repository` or `commit` is not of the form given above.
    """
    address = repository_address(repository)
    if not _COMMIT.fullmatch(commit):
        raise ValueError(f"commit must be the full SHA of a commit, 40 hexadecimal digits, got {commit!r}")
    code = _FIRST_CELL.read_text(encoding="utf-8")
    for place, value in (("{ADDRESS}", address), ("{COMMIT}", commit), ('["{ALSO}"]', json.dumps(_shown(nb)))):
        code = code.replace(place, value)
    install = new_code_cell(_TITLE + code.rstrip("\n"), id=INSTALL_ID, metadata={"cellView": "form"})
    said = "This is the Colab copy of a chapter of *Deep Learning, Worked Out*. Run the cells in order, from the first."
    out = plain_copy(nb, said, pages=pages, works=works)
    out.cells.insert(0, install)
    return out


def practice_copy(
    nb: nbformat.NotebookNode,
    *,
    pages: Mapping[str, tuple[str, str]] | None = None,
    works: BibliographyData | None = None,
) -> nbformat.NotebookNode:
    """A copy to work in, without solutions and in plain Markdown; `pages` and `works` as for :func:`colab_copy`."""
    said = (
        "This is a chapter of *Deep Learning, Worked Out* without the solutions of its exercises, to be run where the "
        "book's `helpers` are installed. Run the cells in order, from the first."
    )
    return plain_copy(practice.without_solutions(nb), said, pages=pages, works=works)


def plain_copy(
    nb: nbformat.NotebookNode,
    said: str,
    *,
    pages: Mapping[str, tuple[str, str]] | None = None,
    works: BibliographyData | None = None,
) -> nbformat.NotebookNode:
    """A copy of a chapter in plain Markdown, captions below the figures, that begins with what is `said` of it."""
    out = copy.deepcopy(nb)
    links = _links(nb, pages or {}, works)
    cells = [new_markdown_cell(said + _about_glue(nb), id="about-this-copy")]
    for node in out.cells:
        if node.cell_type != "markdown":
            cells.append(node)
            cells += _caption(node, links)
            continue
        node.source = colab_text.plain(node.source, links)
        if node.source.strip():
            cells.append(node)
    out.cells = cells
    return out


def repository_address(repository: str) -> str:
    """The address from which git can clone `repository`.

    Examples
    --------
    >>> repository_address("ada/deep-learning")
    'https://github.com/ada/deep-learning'
    """
    if _OWNER_NAME.fullmatch(repository) and not repository.endswith((".", "..")):
        return f"https://github.com/{repository}"
    if _ADDRESS.fullmatch(repository):
        return repository
    raise ValueError(f"repository must be owner/name, or an https://, ssh:// or file:// address, got {repository!r}")


def _shown(nb: nbformat.NotebookNode) -> list[str]:
    """The packages of others that a chapter shows and Colab lacks, as requirements.txt lists them: d2l, or nothing."""
    if not any("d2l_compat" in cell.source for cell in nb.cells if cell.cell_type == "code"):
        return []
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.startswith("d2l")]


def _about_glue(nb: nbformat.NotebookNode) -> str:
    """Where the numbers stand that were glued, if there are any."""
    glued = [content for cell in Chapter(ROOT, nb).text for role, content in myst.roles(cell.source) if "glue" in role]
    if not glued:
        return ""
    name = glued[0].split(":")[0]
    return f" A name in a sentence, such as `{name}`, stands for the number that a cell prints as `{name} = …`."


def _caption(node: nbformat.NotebookNode, links: colab_text.Links) -> list[nbformat.NotebookNode]:
    """The caption of a code cell's figure as a cell of its own; nothing for a cell without a figure."""
    figure = node.metadata.get("mystnb", {}).get("figure", {})
    if "name" not in figure or node.cell_type != "code":
        return []
    text = f"**Figure {links.figures[figure['name']]}.** {colab_text.plain(figure.get('caption', ''), links)}"
    return [new_markdown_cell(text, id=f"caption-{figure['name']}"[:64])]


def _links(
    nb: nbformat.NotebookNode, pages: Mapping[str, tuple[str, str]], works: BibliographyData | None
) -> colab_text.Links:
    chapter = Chapter(ROOT, nb)
    figures = [cell.node.metadata.get("mystnb", {}).get("figure", {}).get("name") for cell in chapter.code]
    equations = [label for cell in chapter.text for label in colab_text.labels(cell.source)]
    equations += [block.label for _, block in chapter.named("math") if block.label]
    exercises = {block.label: block.argument for _, block in chapter.named("exercise", "exercise-start")}
    return colab_text.Links(
        figures={name: number for number, name in enumerate(filter(None, figures), start=1)},
        equations={label: number for number, label in enumerate(equations, start=1)},
        exercises=exercises,
        pages=pages,
        works={key: _work(entry) for key, entry in works.entries.items()} if works else {},
    )


def _work(entry: Entry) -> tuple[str, str, str]:
    """Authors, year and address of a bibliography's entry."""
    people = entry.persons.get("author") or entry.persons.get("editor") or []
    names = [str(Text.from_latex(" ".join([*person.prelast_names, *person.last_names]))) for person in people]
    fields = entry.fields
    if len(names) > 2:
        authors = f"{names[0]} et al."
    else:
        authors = " and ".join(names) or str(Text.from_latex(fields.get("title", entry.key)))
    address = fields.get("url", "")
    if "doi" in fields:
        address = f"https://doi.org/{fields['doi']}"
    elif "eprint" in fields:
        address = f"https://arxiv.org/abs/{fields['eprint']}"
    return authors, fields.get("year", ""), address


def book_pages(repository: str) -> dict[str, tuple[str, str]]:
    """Title and address of every page of the book, by the last part of its document name.

    A chapter's address opens its copy in Colab where `repository` is on GitHub, and is the file beside it otherwise.
    """
    on_github = _OWNER_NAME.fullmatch(repository)
    base = f"https://colab.research.google.com/github/{repository}/blob/{BRANCH}/notebooks/" if on_github else ""
    pages = {}
    for path in find([]):
        title = next((heading.text for _, heading in read(path).headings if heading.level == 1), path.stem)
        pages[path.stem] = (title, f"{base}{path.name}")
    for path in sorted((ROOT / "book").glob("*.md")):
        titles = [heading.text for heading in myst.headings(path.read_text(encoding="utf-8"))]
        pages[path.stem] = (titles[0] if titles else path.stem, "")
    return pages


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the copies to ``DIR/notebooks``, those without solutions to ``DIR/practice``; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.colab", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repository", required=True, help="owner/name, or the address of a git repository")
    parser.add_argument("--commit", required=True, help="full SHA of the commit whose helpers are installed")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR")
    options = parser.parse_args(arguments)
    try:
        works = parse_file(str(ROOT / "book" / "references.bib"), bib_format="bibtex")
        pages = book_pages(options.repository)
        chapters = [path for path in find([]) if not path.name.startswith("_")]
        folder = options.out / "notebooks"
        for path in chapters:
            nb = read(path).nb
            for to, source in ((folder, nb), (options.out / practice.FOLDER, practice.without_solutions(nb))):
                to.mkdir(parents=True, exist_ok=True)
                made = colab_copy(
                    source, repository=options.repository, commit=options.commit, pages=pages, works=works
                )
                write(made, to / path.name)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print(f"wrote {len(chapters)} notebooks to {folder}, and as many without solutions beside it")
    return 0


if __name__ == "__main__":
    sys.exit(main())
