"""The rules of a chapter's text: its opening and close, its length, its boxes.

A rule is a function that takes a `Chapter` and yields a `Problem` for each place that breaks it. `RULES` lists every
rule, those of exercises, code and figures included; `LENGTHS` names the ones that the template need not keep.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from tools import myst
from tools.chapter import Chapter, Finding, Problem
from tools.notebook_code_rules import CODE_LENGTHS, CODE_RULES
from tools.notebook_figure_rules import FIGURE_RULES
from tools.notebook_task_rules import TASK_RULES

Rule = Callable[[Chapter], Iterator[Problem]]

WORDS = (1_800, 3_500)
OBJECTIVES = (3, 5)

PROMISE = "You will be able to"
RECAP = "What you can do now"
SOURCES = "Sources and what to read next"
AUTHORS_NOTE = "For the author"

_EMOJI = re.compile("[\U0001f000-\U0001faff\u2705\u2728\u274c\u274e\u26a0\u26a1\u2b50\ufe0f]")
_LEFT_OVER = re.compile(rf"\b(TODO|FIXME|XXX|TBD|[Ll]orem ipsum|{AUTHORS_NOTE})\b")


def check(chapter: Chapter) -> list[Finding]:
    """Everything in `chapter` that breaks a rule."""
    rules = [rule for rule in RULES if not (chapter.is_template and rule in LENGTHS)]
    return [Finding(chapter.path, rule.__name__, problem) for rule in rules for problem in rule(chapter)]


def check_book(chapters: list[Chapter]) -> list[Finding]:
    """Everything that `chapters` break together: a label or a figure's name that two places use."""
    seen: dict[str, str] = {}
    findings = []
    for chapter in (chapter for chapter in chapters if not chapter.is_template):
        for cell, name in _names(chapter):
            place = f"{chapter.path.name}, {cell}"
            if name in seen:
                problem = Problem(
                    cell, f"the name {name!r} is already used in {seen[name]}.", "Names are unique in the book."
                )
                findings.append(Finding(chapter.path, "unique_names", problem))
            seen.setdefault(name, place)
    return findings


def _names(chapter: Chapter) -> Iterator[tuple]:
    for cell in chapter.cells:
        if name := cell.node.metadata.get("mystnb", {}).get("figure", {}).get("name"):
            yield cell, name
        for directive in cell.directives:
            if directive.label:
                yield cell, directive.label
        if not cell.is_code:
            yield from ((cell, name) for name in myst.targets(cell.source))


def opening(chapter: Chapter) -> Iterator[Problem]:
    """The first cell has the title, the question, and three to five points that the reader will be able to do."""
    first = chapter.cells[0] if chapter.cells else None
    if first is None or first.is_code:
        yield Problem(first, "the notebook does not begin with text.", "Begin with a Markdown cell that has the title.")
        return
    levels = [heading.level for heading in myst.headings(first.source)]
    if levels[:1] != [1] or not first.source.lstrip().startswith("# "):
        yield Problem(first, "the first cell has no title.", "Begin it with `# Title`.")
    if PROMISE.lower() not in first.source.lower():
        yield Problem(first, f"the first cell does not say “{PROMISE} …”.", "Name what the reader will be able to do.")
    low, high = OBJECTIVES
    if not low <= (count := myst.list_items(first.source)) <= high:
        yield Problem(first, f"the first cell has {count} objectives.", f"List {low} to {high}.")


def one_title(chapter: Chapter) -> Iterator[Problem]:
    """There is one first-level heading, and no level is skipped on the way down."""
    previous = 0
    for cell, heading in chapter.headings:
        if heading.level == 1 and previous:
            yield Problem(cell, f"a second title, {heading.text!r}.", "Use `##` for sections: a chapter has one title.")
        if heading.level > previous + 1 and previous:
            what = f"the heading {heading.text!r} is of level {heading.level} right after one of level {previous}."
            yield Problem(cell, what, "Do not skip a level: screen readers and the table of contents rely on them.")
        previous = heading.level


def recap(chapter: Chapter) -> Iterator[Problem]:
    """The recap answers as many points as the opening promised."""
    text = chapter.section(RECAP)
    if text is None:
        yield Problem(None, f"there is no section `## {RECAP}`.", "Close the chapter with it, then with the sources.")
    elif chapter.cells and (answers := myst.list_items(text)) != (points := myst.list_items(chapter.cells[0].source)):
        what = f"the section `## {RECAP}` has {answers} points, the opening has {points}."
        yield Problem(None, what, "Answer the objectives one by one, as a list.")


def sources(chapter: Chapter) -> Iterator[Problem]:
    """The last section names the sources and what to read next."""
    sections = [heading.text.strip() for _, heading in chapter.headings if heading.level == 2]
    if sections[-1:] != [SOURCES]:
        yield Problem(None, f"the last section is not `## {SOURCES}`.", "Put it at the very end.")
    elif not any(name.startswith("cite") for name, _ in myst.roles(chapter.section(SOURCES) or "")):
        yield Problem(
            None, f"the section `## {SOURCES}` cites nothing.", "Cite from book/references.bib with {cite:t}`key`."
        )


def word_count(chapter: Chapter) -> Iterator[Problem]:
    """The prose is long enough to explain and short enough to read at one sitting."""
    low, high = WORDS
    count = sum(myst.words(cell.source) for cell in chapter.text)
    if not low <= count <= high:
        what = f"{count:,} words of prose (code, mathematics and roles are not counted)."
        yield Problem(None, what, f"A chapter has {low:,} to {high:,}: explain more, or cut what is not earned.")


def leftovers(chapter: Chapter) -> Iterator[Problem]:
    """No note to oneself, no advice of the template, no emoji is left."""
    for cell in chapter.cells:
        text = cell.source if cell.is_code else myst.prose(cell.source)
        if (match := _LEFT_OVER.search(text)) and not (chapter.is_template and match[0] == AUTHORS_NOTE):
            yield Problem(cell, f"{match[0]!r} is left over.", "Do what it says, then delete it.")
        if match := _EMOJI.search(text):
            yield Problem(cell, f"there is an emoji, {match[0]!r}.", "Say it in words.")


def boxes(chapter: Chapter) -> Iterator[Problem]:
    """There is a convention box and a common-mistake box, each mistake followed by code that shows it."""
    found = {name for _, directive in chapter.directives for name in directive.classes}
    for name, title in (("convention", "Convention: …"), ("mistake", "Common mistake: …")):
        if name not in found:
            mend = f"Add ```{{admonition}} {title}``` with `:class: {name}`."
            yield Problem(None, f"there is no box of the class {name!r}.", mend)
    for cell, directive in chapter.named("admonition"):
        if "mistake" in directive.classes and not _code_follows(chapter, cell.place):
            what = f"no code follows the box {directive.argument!r} before the next section."
            yield Problem(cell, what, "Let the counter-example run right after it.")


def _code_follows(chapter: Chapter, place: int) -> bool:
    for cell in chapter.cells[place:]:
        if cell.runs:
            return True
        if not cell.is_code and any(heading.level <= 2 for heading in myst.headings(cell.source)):
            return False
    return False


def fences(chapter: Chapter) -> Iterator[Problem]:
    """No directive opened with backticks has a backtick in its title: Markdown would not take it for a directive."""
    for cell in chapter.text:
        for line in myst.prose(cell.source).splitlines():
            if match := re.match(r"\s*```+(\{[\w:-]+\})[^`]*`", line):
                mend = "Write the title without code, or open and close the directive with colons, `:::`."
                yield Problem(cell, f"a backtick in the title keeps {match[1]} from being a directive.", mend)


def misconceptions(chapter: Chapter) -> Iterator[Problem]:
    """A target such as ``(m27)=`` and a code cell with the tag ``M27`` belong together."""
    numbers = {
        name.upper(): cell
        for cell in chapter.text
        for name in myst.targets(cell.source)
        if re.fullmatch(r"m\d\d", name)
    }
    tagged = {tag: cell for cell in chapter.code for tag in cell.tags if re.fullmatch(r"M\d\d", tag)}
    for tag in sorted(tagged.keys() - numbers.keys()):
        yield Problem(
            tagged[tag], f"the tag {tag} has no target.", f"Put `({tag.lower()})=` before its heading or box."
        )
    for tag in sorted(numbers.keys() - tagged.keys()):
        mend = f"Give the tag {tag} to the code cell with the counter-example."
        yield Problem(numbers[tag], f"no code cell shows the misconception {tag}.", mend)


LENGTHS: frozenset[Rule] = frozenset({word_count, *CODE_LENGTHS})
"""The rules of length, which the template need not keep."""

RULES: list[Rule] = [
    opening,
    one_title,
    recap,
    sources,
    word_count,
    leftovers,
    boxes,
    fences,
    misconceptions,
    *TASK_RULES,
    *CODE_RULES,
    *FIGURE_RULES,
]
"""Every rule, in the order in which findings are shown."""
