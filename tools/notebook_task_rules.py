"""The rules of a chapter's exercises, their hints and solutions, and its quiz."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tools import myst
from tools.chapter import Chapter, Problem, callee

EXERCISES = 4
QUESTIONS = 3
CHECKERS = {"check.answer", "check.function"}


def exercise_count(chapter: Chapter) -> Iterator[Problem]:
    """There are four exercises: predict, modify, derive, build."""
    if (count := len(chapter.named("exercise", "exercise-start"))) != EXERCISES:
        yield Problem(None, f"there are {count} exercises.", f"Give {EXERCISES}: predict, modify, derive, build.")


def exercises(chapter: Chapter) -> Iterator[Problem]:
    """Every exercise has a title, a label, a folded hint and a solution of its own."""
    solved = {directive.argument for _, directive in chapter.named("solution-start")}
    steps = chapter.named("exercise", "exercise-start", "hint")
    for i, (cell, directive) in enumerate(steps):
        if directive.name == "hint":
            if "dropdown" not in directive.classes:
                yield Problem(cell, "this hint is open to everyone.", "Add `:class: dropdown`.")
            continue
        if not re.fullmatch(rf"ex-{chapter.number}-\d", directive.label):
            what = f"the exercise has the label {directive.label!r}."
            yield Problem(
                cell, what, f"Number the exercises of this chapter `:label: ex-{chapter.number}-1` to `-{EXERCISES}`."
            )
        if not directive.argument:
            yield Problem(cell, f"the exercise {directive.label} has no title.", "Write ```{exercise} Short title```.")
        if not (i + 1 < len(steps) and steps[i + 1][1].name == "hint"):
            yield Problem(
                cell, f"the exercise {directive.label} has no hint.", "Add a ```{hint}``` with `:class: dropdown`."
            )
        if directive.label not in solved:
            mend = f"Add ```{{solution-start}} {directive.label}``` … ```{{solution-end}}``` around its cells."
            yield Problem(cell, f"the exercise {directive.label} has no solution.", mend)


def gates(chapter: Chapter) -> Iterator[Problem]:
    """Gates come in pairs, each alone in its cell, and never one inside another."""
    open_gate = None
    gated = [item for item in chapter.directives if re.fullmatch(r"(exercise|solution)(-start|-end)?", item[1].name)]
    for cell, directive in gated:
        kind, _, side = directive.name.partition("-")
        if kind == "solution" and not side:
            mend = "Use ```{solution-start} …``` and ```{solution-end}``` in cells of their own around code cells."
            yield Problem(cell, "this solution has no code that runs.", mend)
        if side and len(cell.source.strip().splitlines()) != directive.lines[1] - directive.lines[0]:
            yield Problem(
                cell, f"the gate {{{directive.name}}} is not alone in its cell.", "Move the rest to another cell."
            )
        if side == "start" and open_gate:
            yield Problem(
                cell, f"{open_gate[1].argument or open_gate[1].label} is not closed before this.", "Close it first."
            )
        if side == "start":
            open_gate = (cell, directive)
        elif side == "end":
            if not open_gate or open_gate[1].name != f"{kind}-start":
                yield Problem(cell, f"{{{directive.name}}} closes nothing.", f"Open it with {{{kind}-start}}.")
            open_gate = None
    if open_gate:
        yield Problem(open_gate[0], f"{{{open_gate[1].name}}} is never closed.", "Close it in a cell of its own.")


def solutions(chapter: Chapter) -> Iterator[Problem]:
    """Every solution is folded, labelled, runs, and stands up to the checker of its exercise."""
    for cell, directive in chapter.named("solution-start"):
        code = []
        for following in chapter.cells[cell.place :]:
            if any(inner.name == "solution-end" for inner in following.directives):
                break
            code += [following] if following.runs else []
        name = directive.argument
        if directive.label != name.replace("ex-", "sol-", 1) or not name.startswith("ex-"):
            what = f"the solution of {name!r} has the label {directive.label!r}."
            yield Problem(
                cell, what, f"Write ```{{solution-start}} {name}``` with `:label: {name.replace('ex-', 'sol-', 1)}`."
            )
        if "dropdown" not in directive.classes:
            yield Problem(cell, f"the solution of {name} is open to everyone.", "Add `:class: dropdown`.")
        if not code:
            yield Problem(cell, f"the solution of {name} has no code cell that is executed.", "Let the solution run.")
        elif not any(callee(call) in CHECKERS for part in code for call in part.calls):
            what = f"the solution of {name} is not put to the exercise's own checker."
            yield Problem(cell, what, "End it with the check.answer or check.function of the answer cell.")


def checkers(chapter: Chapter) -> Iterator[Problem]:
    """Every exercise has a cell for the reader's answer, which is judged there, before the solution."""
    answered, last = {}, None
    for cell in chapter.cells:
        for directive in cell.directives:
            if directive.name in {"exercise", "exercise-start"}:
                last, answered[directive.label] = directive.label, (cell, False)
            elif directive.name == "solution-start":
                last = None
        if last and cell.asks and any(callee(call) in CHECKERS for call in cell.calls):
            answered[last] = (cell, True)
    for label, (cell, judged) in answered.items():
        if not judged:
            what = f"the exercise {label} has no cell that judges the reader's answer."
            mend = "Put `yours = ...` and check.answer or check.function into a cell between hint and solution."
            yield Problem(cell, what, mend)


def quiz_count(chapter: Chapter) -> Iterator[Problem]:
    """There are three quiz questions."""
    if (count := len(chapter.named("quiz"))) != QUESTIONS:
        yield Problem(None, f"there are {count} quiz questions.", f"Ask {QUESTIONS}, under `## Quiz`.")


def quiz(chapter: Chapter) -> Iterator[Problem]:
    """Every question has one right answer, at least two wrong ones, and says of each answer why."""
    for cell, directive in chapter.named("quiz"):
        name, asked = directive.label or "without label", myst.question(directive.body)
        if not re.fullmatch(rf"quiz-{chapter.number}-\d", directive.label):
            yield Problem(cell, f"the question is {name}.", f"Number it `:label: quiz-{chapter.number}-1` and so on.")
        if not asked.text:
            yield Problem(cell, f"the question {name} asks nothing.", "Write the question above the answers.")
        if (right := sum(answer.right for answer in asked.answers)) != 1:
            yield Problem(cell, f"the question {name} has {right} right answers.", "Mark exactly one with `- [x]`.")
        if len(asked.answers) < 3:
            yield Problem(cell, f"the question {name} offers {len(asked.answers)} answers.", "Offer at least three.")
        for answer in asked.answers:
            if not answer.explanation:
                what = f"the answer “{answer.text}” of the question {name} is not explained."
                yield Problem(cell, what, "Say why under it, in a line that begins with `  : `.")


TASK_RULES = [exercise_count, exercises, checkers, gates, solutions, quiz_count, quiz]
