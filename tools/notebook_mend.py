"""What puts a notebook in order: normal form, readable ids, fresh worked numbers, a new chapter from the template."""

from __future__ import annotations

import copy
import difflib
import os
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbstripout import strip_output

from tools import myst
from tools.chapter import NOTEBOOKS, STORED_TAGS, TEMPLATE, Chapter, read, shown
from tools.notebook_code_rules import CELL_METADATA, KERNEL, LANGUAGE, NOTEBOOK_METADATA, RANDOM_ID, is_text

CELL_TIMEOUT = 120
"""Seconds after which a cell that does not end is stopped."""

_ID_LENGTH = 48


@dataclass(frozen=True)
class Change:
    """The stored output of one cell before and after a run."""

    cell: str
    old: str
    new: str

    def __str__(self) -> str:
        lines = difflib.unified_diff(self.old.splitlines(), self.new.splitlines(), "old", "new", lineterm="", n=1)
        return "\n".join([self.cell, *(f"    {line}" for line in lines)])


def fix(chapter: Chapter) -> tuple[nbformat.NotebookNode, list[str]]:
    """The notebook of `chapter` in normal form, and a line for everything that was changed.

    Outputs stay only in cells that carry both tags; execution counts, widget state and the metadata of programs go;
    the kernelspec is the plain one; tags are sorted; an id that is missing, double or random is made from what the cell
    says.
    """
    nb, done = copy.deepcopy(chapter.nb), []
    if nb.nbformat_minor != 5:
        done.append(f"format 4.{nb.nbformat_minor} -> 4.5")
        nb.nbformat_minor = 5
    if extra := sorted(set(nb.metadata) - NOTEBOOK_METADATA):
        done.append(f"notebook metadata removed: {', '.join(extra)}")
    metadata = {"kernelspec": KERNEL, "language_info": LANGUAGE}
    done += [f"{key} normalised" for key, value in metadata.items() if dict(nb.metadata.get(key, {})) != value]
    kept = {key: value for key, value in nb.metadata.items() if key in NOTEBOOK_METADATA}
    nb.metadata = nbformat.from_dict({**kept, **metadata})
    for cell, node in zip(chapter.cells, nb.cells, strict=True):
        done += [f"{cell}: {what}" for what in _fix_metadata(node)]
    before = copy.deepcopy(nb.cells)
    for node in nb.cells:
        if node.cell_type == "code" and not set(node.metadata.get("tags", [])) >= STORED_TAGS:
            node.outputs = []
    strip_output(nb, keep_output=False, keep_count=False, keep_id=True)
    for cell, old, new in zip(chapter.cells, before, nb.cells, strict=True):
        if old.get("outputs") and not new.outputs:
            done.append(f"{cell}: output removed")
        if old.get("execution_count") is not None:
            done.append(f"{cell}: execution count cleared")
    return nb, done + _fix_ids(nb)


def _fix_metadata(node: nbformat.NotebookNode) -> list[str]:
    done = []
    if extra := sorted(set(node.metadata) - CELL_METADATA):
        done.append(f"metadata removed: {', '.join(extra)}")
        for key in extra:
            del node.metadata[key]
    tags = list(node.metadata.get("tags", []))
    if tags != sorted(set(tags)):
        done.append("tags sorted")
        node.metadata["tags"] = sorted(set(tags))
    if not tags:
        node.metadata.pop("tags", None)
    if node.cell_type != "code":  # some programs leave these on a cell whose type was changed
        present = [key for key in ("outputs", "execution_count") if key in node]
        done += [f"{key} removed" for key in present if node.pop(key) is not None]
    return done


def _fix_ids(nb: nbformat.NotebookNode) -> list[str]:
    good, seen = [], set()
    for node in nb.cells:
        name = node.get("id", "")
        good.append(bool(name) and name not in seen and not RANDOM_ID.fullmatch(name))
        seen |= {name} if good[-1] else set()
    done = []
    for place, (node, keep) in enumerate(zip(nb.cells, good, strict=True), start=1):
        if keep:
            continue
        base = name = readable_id(node)
        number = 1
        while name in seen:
            number += 1
            name = f"{base}-{number}"
        seen.add(name)
        done.append(f"cell {place}: id {node.get('id', 'missing')} -> {name}")
        node["id"] = name
    return done


def readable_id(node: nbformat.NotebookNode) -> str:
    """An id made from what a cell says: its figure's name, a directive's label, its heading, or its first words.

    Examples
    --------
    >>> readable_id(nbformat.v4.new_markdown_cell("## What η does\\n\\nTry it."))
    'what-e-does'
    >>> readable_id(nbformat.v4.new_code_cell("loss = (w - 2) ** 2"))
    'loss-w-2-2'
    """
    if node.cell_type == "code":
        figure = node.metadata.get("mystnb", {}).get("figure", {}).get("name")
        lines = [line for line in node.source.splitlines() if line.strip()]
        text = figure or (lines or ["empty"])[0]
    else:
        headings, boxes = myst.headings(node.source), myst.directives(node.source)
        if headings:
            text = headings[0].text
        elif boxes and boxes[0].lines[0] == 0:
            text = boxes[0].label or f"{boxes[0].name} {boxes[0].argument}"
        else:
            text = " ".join(node.source.split()[:7])
    slug = re.sub(r"[^a-z0-9]+", "-", _ascii(text).lower()).strip("-")[:_ID_LENGTH].strip("-") or node.cell_type
    return f"{slug}-cell" if RANDOM_ID.fullmatch(slug) else slug


def _ascii(text: str) -> str:
    """`text` in ASCII: accents dropped, a Greek letter by the first letter of its name (η is "eta": e)."""
    out = []
    for char in unicodedata.normalize("NFKD", text):
        name = unicodedata.name(char, "")
        if char.isascii():
            out.append(char)
        elif match := re.match(r"GREEK (?:SMALL|CAPITAL) LETTER (\w)", name):
            out.append(match[1])
        elif not unicodedata.combining(char):
            out.append(" ")
    return "".join(out)


def write(nb: nbformat.NotebookNode, path: Path) -> None:
    """Store `nb` in one step, so that an interrupted run leaves the old file whole.

    Raises
    ------
    OSError
        If the folder cannot be written.
    """
    nbformat.validate(nb)
    partial = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        partial.write_text(nbformat.v4.writes(nb).rstrip("\n") + "\n", encoding="utf-8", newline="\n")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def refresh_outputs(chapter: Chapter) -> list[Change]:
    """Execute the notebook and store what the cells with both tags print now.

    Returns
    -------
    list of Change
        The cells whose stored text changed.

    Raises
    ------
    RuntimeError
        If a cell fails, or if a cell that keeps its output shows anything but text. Nothing is stored then.
    """
    run = copy.deepcopy(chapter.nb)
    for node in run.cells:
        if node.cell_type == "code":
            node.outputs, node.execution_count = [], None
    resources = {"metadata": {"path": str(chapter.path.resolve().parent)}}
    client = NotebookClient(
        run, timeout=CELL_TIMEOUT, kernel_name="python3", resources=resources, coalesce_streams=True
    )
    env = {key: value for key, value in os.environ.items() if key != "BOOK_BUILD"}
    try:
        client.execute(env=env)
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        reason = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip()
        raise RuntimeError(f"{shown(chapter.path)} does not run, so nothing was stored:\n{reason}") from None
    changes, nb = [], copy.deepcopy(chapter.nb)
    for cell, node, ran in zip(chapter.cells, nb.cells, run.cells, strict=True):
        if not (cell.is_code and set(cell.tags) >= STORED_TAGS):
            continue
        if not ran.outputs or not all(is_text(output) for output in ran.outputs):
            kinds = ", ".join(sorted({output.get("name", output.output_type) for output in ran.outputs})) or "nothing"
            raise RuntimeError(
                f"{shown(chapter.path)}, {cell} keeps its output, but shows {kinds}; it may only print text."
            )
        for output in ran.outputs:
            if "execution_count" in output:
                output["execution_count"] = None
        old, new = printed(cell.node), printed(ran)
        node.outputs = ran.outputs
        if old != new:
            changes.append(Change(str(cell), old, new))
    if nb != chapter.nb:
        write(nb, chapter.path)
    return changes


def printed(node: nbformat.NotebookNode) -> str:
    """The text of a cell's outputs."""
    parts = [out.get("text") or out.get("data", {}).get("text/plain", "") for out in node.get("outputs", [])]
    return "".join(parts)


def new_chapter(name: str, title: str, *, folder: Path = NOTEBOOKS, toc: Path | None = None) -> Path:
    """Make the chapter `name`, such as ``28_attention``, from the template, and list it in the table of contents.

    Raises
    ------
    ValueError
        If the name is not of that form, the title is empty, the number is taken, or the table of contents has no place
        for it.
    """
    toc = toc or folder.parent / "_toc.yml"
    if not re.fullmatch(r"\d\d_[a-z0-9]+(_[a-z0-9]+)*", name):
        raise ValueError(f"a chapter is named like 28_attention (two digits, then words in lower case), got {name!r}")
    title = " ".join(title.split())
    if not title:
        raise ValueError('the chapter needs a title: make new NB=28_attention TITLE="Attention"')
    if taken := sorted(folder.glob(f"{name[:2]}_*.ipynb")):
        raise ValueError(f"the number {name[:2]} is taken by {shown(taken[0])}; choose another")
    text = with_entry(toc.read_text(encoding="utf-8"), name, folder=folder.name)
    nb = read(folder / TEMPLATE.name).nb
    del nb.metadata["book"]
    for node in nb.cells:
        node.source = re.sub(r"(?<![\w-])((?:fig|ex|sol|quiz|eq)-)?00-(?=[a-z0-9])", rf"\g<1>{name[:2]}-", node.source)
        figure = node.metadata.get("mystnb", {}).get("figure", {})
        if "name" in figure:
            figure["name"] = figure["name"].replace("fig-00-", f"fig-{name[:2]}-")
        node["id"] = node["id"].replace("-00-", f"-{name[:2]}-")
        if set(node.metadata.get("tags", [])) >= STORED_TAGS:
            for output in node.outputs:
                if "text" in output:
                    output["text"] = output["text"].replace("00-", f"{name[:2]}-")
    nb.cells[0].source = re.sub(r"\A# .*", lambda _: f"# {title}", nb.cells[0].source)
    path = folder / f"{name}.ipynb"
    write(nb, path)
    toc.write_text(text, encoding="utf-8", newline="\n")
    return path


def with_entry(toc: str, name: str, *, folder: str = "notebooks") -> str:
    """The table of contents `toc` with an entry for the chapter `name`, in order of number; all else stays as it is.

    Raises
    ------
    ValueError
        If the chapter is listed already, or no chapter is listed beside which it could stand.

    Examples
    --------
    >>> print(with_entry("chapters:\\n  - file: notebooks/03_descent  # first\\n", "04_batches"), end="")
    chapters:
      - file: notebooks/03_descent  # first
      - file: notebooks/04_batches
    """
    lines = toc.splitlines()
    pattern = re.compile(rf"(?P<indent>\s*- )file: {re.escape(folder)}/(?P<name>\d\d_\w+)(\.ipynb)?\s*(#.*)?")
    entries = [(i, match) for i, line in enumerate(lines) if (match := pattern.fullmatch(line))]
    if any(match["name"] == name for _, match in entries):
        raise ValueError(f"_toc.yml lists {folder}/{name} already")
    if not entries:
        raise ValueError(f"_toc.yml lists no chapter of {folder}/ yet; add the line `- file: {folder}/{name}` by hand")
    before = [(match["name"], i, match) for i, match in entries if match["name"] < name]
    if before:
        _, place, match = max(before, key=lambda entry: entry[0])
        width = len(match["indent"]) - 2
        place += 1
        while place < len(lines) and len(lines[place]) - len(lines[place].lstrip()) > width and lines[place].strip():
            place += 1  # what belongs to the entry before: its title, its sections
    else:
        place, match = min(entries, key=lambda entry: entry[1]["name"])
    lines.insert(place, f"{match['indent']}file: {folder}/{name}")
    return "\n".join(lines) + "\n"
