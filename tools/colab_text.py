"""Turns the book's MyST Markdown into Markdown that Colab and GitHub show as meant.

Boxes become quotes or folding sections, roles become words and links, labelled equations and figures get numbers. The
text stays the author's; only the mark-up changes.
"""

from __future__ import annotations

import html
import re
import textwrap
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tools import myst

_ROLE = re.compile(r"(?<![`\\])\{(?P<name>[a-z][\w:+.-]*)\}`(?P<content>[^`]+)`")
_EXPLICIT = re.compile(r"(?P<text>.*?)\s*<(?P<target>[^<>]+)>", re.DOTALL)
_LABELLED = re.compile(r"\$\$(?P<tex>(?:(?!\$\$).)+)\$\$[ \t]*\((?P<label>[\w:.-]+)\)[ \t]*$", re.DOTALL | re.MULTILINE)
_QUOTED = frozenset(
    {"admonition", "note", "tip", "warning", "important", "caution", "attention", "seealso", "topic", "margin"}
)
_DROPPED = frozenset({"bibliography", "solution-end", "exercise-end", "raw", "tableofcontents"})


class MarkupWarning(UserWarning):
    """Some MyST in a notebook has no form in plain Markdown that this module knows."""


@dataclass(frozen=True)
class Links:
    """What the roles of one notebook refer to.

    Attributes
    ----------
    figures, equations : mapping of str to int
        The number of each name in this notebook.
    exercises : mapping of str to str
        The title of each exercise by its label.
    pages : mapping of str to (str, str)
        Title and address of a page by its document name, such as ``03_gradient_descent``; the address may be empty.
    works : mapping of str to (str, str, str)
        Authors, year and address of a source by its key.
    """

    figures: Mapping[str, int] = field(default_factory=dict)
    equations: Mapping[str, int] = field(default_factory=dict)
    exercises: Mapping[str, str] = field(default_factory=dict)
    pages: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    works: Mapping[str, tuple[str, str, str]] = field(default_factory=dict)


def labels(text: str) -> list[str]:
    """The labels of the equations in `text`, in order."""
    return [match["label"] for match in _LABELLED.finditer(text)]


def plain(text: str, links: Links) -> str:
    """`text` with every piece of MyST put into plain Markdown.

    Examples
    --------
    >>> links = Links(figures={"fig-03-path": 2})
    >>> print(plain("```{admonition} Convention: the mean\\nSee {numref}`fig-03-path`.\\n```", links))
    > **Convention: the mean**
    >
    > See Figure 2.
    """
    lines = text.splitlines()
    out, done = [], 0
    fences = [token for token in myst.parse(text) if token.type in {"fence", "colon_fence"} and token.map]
    found = {directive.lines: directive for directive in myst.directives(text)}
    for token in fences:
        first, last = token.map
        out.append(_prose("\n".join(lines[done:first]), links))
        block = found.get((first, last))
        if block is None:
            out.append("\n".join(lines[first:last]))
        else:
            indent = lines[first][: len(lines[first]) - len(lines[first].lstrip())]
            out.append("\n" + textwrap.indent(_block(block, links), indent) + "\n")
        done = last
    out.append(_prose("\n".join(lines[done:]), links))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(out)).strip("\n")


def _prose(text: str, links: Links) -> str:
    kept = []
    for line in text.splitlines():
        if match := re.fullmatch(r"\(([\w.-]+)\)=\s*", line):
            kept.append(f'<a name="{match[1]}"></a>\n')
        elif not re.match(r"%( |$)|\+\+\+\s*$", line):
            kept.append(line)
    text = _LABELLED.sub(lambda m: _equation(m["tex"], m["label"], links), "\n".join(kept))
    return _ROLE.sub(lambda m: _role(m["name"], m["content"], links), text)


def _equation(tex: str, label: str, links: Links) -> str:
    number = links.equations.get(label)
    tag = f" \\tag{{{number}}}" if number else ""
    return f"$${tex.rstrip()}{tag}\n$$"


def _block(block: myst.Directive, links: Links) -> str:
    if block.name in _DROPPED:
        return ""
    if block.name in _CONVERTERS:
        return _CONVERTERS[block.name](block, links)
    if block.name in _QUOTED:
        title = _prose(block.argument, links) or block.name.capitalize()
        body = plain(block.body, links)
        return _fold(title, body) if "dropdown" in block.classes else _quote(f"**{title}**\n\n{body}")
    warnings.warn(
        f"the directive {{{block.name}}} has no plain form; its text is kept as a quote", MarkupWarning, stacklevel=2
    )
    return _quote("\n\n".join(part for part in (_prose(block.argument, links), plain(block.body, links)) if part))


def _quote(text: str) -> str:
    return "\n".join(f"> {line}".rstrip() for line in text.strip("\n").splitlines())


def _fold(title: str, body: str) -> str:
    return f"<details><summary><b>{_inline_html(title)}</b></summary>\n\n{body}\n\n</details>"


def _inline_html(text: str) -> str:
    """A title for an HTML element, inside which Markdown is not read: code and emphasis become tags."""
    escaped = html.escape(text, quote=False)
    escaped = re.sub(r"`([^`]+)`", r"<code>\1</code>", escaped)
    return re.sub(r"(?<!\*)\*([^*]+)\*(?!\*)", r"<em>\1</em>", escaped)


def _exercise(block: myst.Directive, links: Links) -> str:
    title = _prose(block.argument, links)
    return f"### Exercise {_last_number(block.label)}: {title}\n\n{plain(block.body, links)}".rstrip()


def _solution(block: myst.Directive, links: Links) -> str:
    title = _prose(links.exercises.get(block.argument, ""), links)
    name = f"Solution of exercise {_last_number(block.argument)}" + (f": {title}" if title else "")
    return f"#### {name}\n\nTry it yourself first; the cells down to the next heading are the solution."


def _hint(block: myst.Directive, links: Links) -> str:
    return _fold(_prose(block.argument, links) or "Hint", plain(block.body, links))


def _dropdown(block: myst.Directive, links: Links) -> str:
    return _fold(_prose(block.argument, links) or "More", plain(block.body, links))


def _quiz(block: myst.Directive, links: Links) -> str:
    asked = myst.question(block.body)
    parts = [f"**Question {_last_number(block.label)}.** {plain(asked.text, links)}"]
    for answer in asked.answers:
        verdict = "Right." if answer.right else "Not this one."
        parts.append(_answer(plain(answer.text, links), f"{verdict} {plain(answer.explanation, links)}"))
    return "\n\n".join(parts)


def _answer(text: str, why: str) -> str:
    """One answer of a quiz: its text stays Markdown, so that formulas show, and the reason folds below it."""
    first = textwrap.indent(text, "  ").lstrip()
    fold = f"<details><summary>Choose this answer</summary>\n\n{why}\n\n</details>"
    return f"- {first}\n\n{textwrap.indent(fold, '  ')}"


def _math(block: myst.Directive, links: Links) -> str:
    return _equation(f"\n{block.body}\n", block.label, links)


def _code(block: myst.Directive, links: Links) -> str:
    return f"```{block.argument}\n{block.body}\n```"


def _figure(block: myst.Directive, links: Links) -> str:
    caption = plain(block.body, links) or block.options.get("alt", "")
    return f"*A drawing of the book's page: {caption}*" if caption else ""


_CONVERTERS: dict[str, Callable[[myst.Directive, Links], str]] = {
    "exercise": _exercise,
    "exercise-start": _exercise,
    "solution": _solution,
    "solution-start": _solution,
    "hint": _hint,
    "dropdown": _dropdown,
    "quiz": _quiz,
    "math": _math,
    "code": _code,
    "code-block": _code,
    "figure": _figure,
    "image": _figure,
    "drawing": _figure,
}


def _last_number(label: str) -> str:
    return label.rsplit("-", 1)[-1]


def _role(name: str, content: str, links: Links) -> str:
    match = _EXPLICIT.fullmatch(content)
    text, target = (match["text"], match["target"]) if match else ("", content)
    if name == "numref":
        number = links.figures.get(target)
        shown = f"Figure {number}" if number else "the figure"
        return re.sub(r"%s|\{number\}", str(number or ""), text) if text else shown
    if name == "eq":
        return f"({links.equations[target]})" if target in links.equations else "the equation"
    if name == "doc":
        title, address = links.pages.get(target.rsplit("/", 1)[-1], ("", ""))
        shown = text or title or target.rsplit("/", 1)[-1].replace("_", " ")
        return f"[{shown}]({address})" if address else f"*{shown}*"
    if name == "ref":
        return text or (f"“{links.exercises[target]}”" if target in links.exercises else target.replace("-", " "))
    if name.startswith("cite"):
        return _citation(name, content, links)
    if name.startswith("glue"):
        return f"`{content.split(':')[0]}`"
    if name == "math":
        return f"${content}$"
    if name in {"term", "abbr", "kbd", "sub", "sup", "download", "menuselection", "guilabel"}:
        return text or content
    warnings.warn(f"the role {{{name}}} has no plain form; its text is kept", MarkupWarning, stacklevel=2)
    return text or content


def _citation(role: str, keys: str, links: Links) -> str:
    parts = []
    for key in (key.strip() for key in keys.split(",")):
        if links.works and key not in links.works:
            warnings.warn(f"the source {key!r} is not in the bibliography", MarkupWarning, stacklevel=2)
        authors, year, address = links.works.get(key, (key, "", ""))
        inner = f"{authors}, {year}" if role == "cite:p" else f"{authors} ({year})"
        inner = inner if year else authors
        parts.append(f"[{inner}]({address})" if address else inner)
    joined = "; ".join(parts)
    return f"({joined})" if role == "cite:p" else joined
