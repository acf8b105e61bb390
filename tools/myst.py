"""Reads MyST Markdown as far as the tools need it: directives, headings, lists, roles, prose words and quiz questions.

Blocks are found with markdown-it and the same plugins that MyST itself builds upon, never with line patterns, so that a
directive shown as an example inside a longer fence is not mistaken for a real one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from markdown_it import MarkdownIt
from markdown_it.token import Token
from mdit_py_plugins.colon_fence import colon_fence_plugin
from mdit_py_plugins.dollarmath import dollarmath_plugin
from mdit_py_plugins.myst_blocks import myst_block_plugin
from mdit_py_plugins.myst_role import myst_role_plugin

TITLED = frozenset({"admonition", "exercise", "dropdown", "tip", "note", "warning", "important", "caution", "seealso"})
"""Directives whose argument is a title that is read as prose."""

_NOT_PROSE = frozenset({"bibliography", "code", "code-block", "code-cell", "drawing", "figure", "image", "math", "raw"})
_DIRECTIVE = re.compile(r"\{(?P<name>[\w:.+-]+)\}[ \t]*(?P<argument>.*)")
_OPTION = re.compile(r":(?P<key>[\w-]+):[ \t]*(?P<value>.*)")
_ANSWER = re.compile(r"- \[(?P<mark>[ x])\] (?P<text>.*)")
_EXPLANATION = re.compile(r"\s+: (?P<text>.*)")
_WORD = re.compile(r"[^\W\d_]")


@dataclass(frozen=True)
class Directive:
    """A MyST directive: its name, argument, options, body, and the half-open range of lines that it covers."""

    name: str
    argument: str
    options: dict[str, str]
    body: str
    lines: tuple[int, int]

    @property
    def classes(self) -> list[str]:
        """The names given in the option ``class``."""
        return self.options.get("class", "").split()

    @property
    def label(self) -> str:
        """The option ``label``, or ``name`` where a directive uses that; empty if neither is there."""
        return self.options.get("label", self.options.get("name", ""))


@dataclass(frozen=True)
class Heading:
    """A Markdown heading with its level (1 for ``#``) and its text as written."""

    level: int
    text: str


@dataclass(frozen=True)
class Answer:
    """One offered answer of a quiz question."""

    text: str
    right: bool
    explanation: str


@dataclass(frozen=True)
class Question:
    """A quiz question and its answers, in the order in which they are offered."""

    text: str
    answers: tuple[Answer, ...]


@lru_cache(maxsize=1)
def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark").enable("table")
    for plugin in (myst_block_plugin, myst_role_plugin, colon_fence_plugin):
        parser.use(plugin)
    return parser.use(dollarmath_plugin, allow_labels=True, allow_space=True, allow_digits=True, double_inline=True)


@lru_cache(maxsize=4096)
def parse(text: str) -> tuple[Token, ...]:
    """The block tokens of `text`."""
    return tuple(_parser().parse(text))


def directives(text: str) -> list[Directive]:
    """The outermost directives of `text`, in order.

    Examples
    --------
    >>> found = directives("Read on.\\n\\n```{admonition} Convention: the mean\\n:class: convention\\nBody.\\n```")
    >>> found[0].name, found[0].argument, found[0].classes, found[0].body, found[0].lines
    ('admonition', 'Convention: the mean', ['convention'], 'Body.', (2, 6))
    """
    found = []
    for token in parse(text):
        if token.type in {"fence", "colon_fence"} and (match := _DIRECTIVE.fullmatch(token.info.strip())):
            options, body = _split_options(token.content)
            first, last = token.map or (0, 0)
            found.append(Directive(match["name"], match["argument"].strip(), options, body, (first, last)))
    return found


def walk(text: str) -> Iterator[Directive]:
    """Every directive of `text`, those inside the bodies of others included."""
    for directive in directives(text):
        yield directive
        if directive.name not in _NOT_PROSE:
            yield from walk(directive.body)


def headings(text: str) -> list[Heading]:
    """The headings of `text`.

    Examples
    --------
    >>> headings("# Batches\\n\\nWhy?\\n\\n## The mean of a batch")
    [Heading(level=1, text='Batches'), Heading(level=2, text='The mean of a batch')]
    """
    tokens = parse(text)
    return [
        Heading(int(token.tag[1]), tokens[i + 1].content)
        for i, token in enumerate(tokens)
        if token.type == "heading_open"
    ]


def list_items(text: str) -> int:
    """How many items the outermost lists of `text` have."""
    return sum(token.type == "list_item_open" and token.level == 1 for token in parse(text))


def targets(text: str) -> list[str]:
    """The names of the targets ``(name)=`` in `text`."""
    return [token.content for token in parse(text) if token.type == "myst_target"]


def roles(text: str) -> list[tuple[str, str]]:
    """Every role in `text` as (name, content), those inside directives included.

    Examples
    --------
    >>> roles("See {numref}`fig-03-path` in {doc}`03_gradient_descent`.")
    [('numref', 'fig-03-path'), ('doc', '03_gradient_descent')]
    """
    found = [(token.meta["name"], token.content) for token in _inline(text) if token.type == "myst_role"]
    for directive in directives(text):
        if directive.name not in _NOT_PROSE:
            found.extend(roles(f"{directive.argument}\n\n{directive.body}"))
    return found


def words(text: str) -> int:
    """How many words of prose `text` has: no code, no mathematics, no roles, no directive options.

    Examples
    --------
    >>> words("The loss $L = (w - 2)^2$ has slope `2 * (w - 2)`.\\n\\n```python\\nignored = True\\n```")
    4
    """
    count = sum(
        bool(_WORD.search(word)) for token in _inline(text) if token.type == "text" for word in token.content.split()
    )
    for directive in directives(text):
        if directive.name in TITLED:
            count += words(directive.argument)
        if directive.name not in _NOT_PROSE:
            count += words(directive.body)
    return count


def prose(text: str) -> str:
    """`text` without fenced code that is not a directive, as it is searched for left-over notes and the like."""
    lines = text.splitlines()
    for token in parse(text):
        if token.type == "fence" and not _DIRECTIVE.fullmatch(token.info.strip()) and token.map:
            lines[token.map[0] : token.map[1]] = [""] * (token.map[1] - token.map[0])
    return "\n".join(lines)


def question(body: str) -> Question:
    """The quiz question in the body of a ``{quiz}`` directive.

    Examples
    --------
    >>> asked = question("What is $1 + 1$?\\n\\n- [ ] $3$\\n  : One too many.\\n- [x] $2$\\n  : Yes.")
    >>> asked.text, [answer.right for answer in asked.answers], asked.answers[0].explanation
    ('What is $1 + 1$?', [False, True], 'One too many.')
    """
    text, answers, current = [], [], None
    for line in body.splitlines():
        if match := _ANSWER.match(line):
            current = {"right": match["mark"] == "x", "text": [match["text"]], "explanation": []}
            answers.append(current)
        elif current is None:
            text.append(line)
        elif match := _EXPLANATION.match(line):
            current["explanation"].append(match["text"])
        else:
            current["explanation" if current["explanation"] else "text"].append(line.strip())
    return Question(
        "\n".join(text).strip(),
        tuple(Answer("\n".join(a["text"]).strip(), a["right"], "\n".join(a["explanation"]).strip()) for a in answers),
    )


def _inline(text: str) -> Iterator[Token]:
    for token in parse(text):
        yield from token.children or ()


def _split_options(content: str) -> tuple[dict[str, str], str]:
    """Split a directive's content into its options (``:key: value`` lines, or a block between ``---``) and its body."""
    lines = content.splitlines()
    options: dict[str, str] = {}
    start = 0
    if lines and lines[0].strip() == "---" and "---" in [line.strip() for line in lines[1:]]:
        end = [line.strip() for line in lines[1:]].index("---") + 1
        for line in lines[1:end]:
            key, _, value = line.partition(":")
            options[key.strip()] = value.strip()
        start = end + 1
    else:
        while start < len(lines) and (match := _OPTION.fullmatch(lines[start].strip())):
            options[match["key"]] = match["value"].strip()
            start += 1
    return options, "\n".join(lines[start:]).strip("\n")
