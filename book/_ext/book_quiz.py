"""Sphinx extension: the ``{quiz}`` directive, a question that answers back in the page with neither kernel nor script.

The source is a list that also reads well in a notebook::

    ```{quiz}
    :label: quiz-03-1
    What happens at $\\eta = 2/\\lambda$?

    - [ ] It converges.
      : why this is wrong
    - [x] It jumps between two points for ever.
      : why this is right
    ```

Every answer becomes a ``<details>`` element: choosing it opens the verdict and the reason.
"""

from __future__ import annotations

import sys
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import directives
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:  # `jupyter-book build .` does not put the book's folder on the path
    sys.path.insert(0, str(ROOT))

from tools.myst import Question, question  # noqa: E402


class quiz(nodes.General, nodes.Element):
    """A question; children are its text and its :class:`quiz_answer` nodes."""


class quiz_answer(nodes.General, nodes.Element):
    """One answer; ``right`` says whether it is correct; children are ``quiz_choice`` and ``quiz_reason``."""


class quiz_choice(nodes.General, nodes.Element):
    pass


class quiz_reason(nodes.General, nodes.Element):
    pass


def checked_question(body: str) -> Question:
    """The question in the directive's body.

    Raises
    ------
    ValueError
        If there are fewer than two answers, not exactly one right one, or an answer without a reason.

    Examples
    --------
    >>> checked_question("Why?\\n\\n- [x] So.\\n  : Because.\\n- [ ] No.\\n  : Not so.").answers[0].text
    'So.'
    >>> checked_question("Why?\\n\\n- [x] So.\\n  : Because.\\n- [ ] No.")
    Traceback (most recent call last):
    ValueError: the answer «No.» has no reason; write one under it as «  : because …»
    """
    asked = question(body)
    if len(asked.answers) < 2:
        raise ValueError("a quiz needs at least two answers, written as «- [ ] answer»")
    if (right := sum(answer.right for answer in asked.answers)) != 1:
        raise ValueError(f"a quiz needs exactly one right answer «- [x] …», this one has {right}")
    for answer in asked.answers:
        if not answer.explanation:
            raise ValueError(f"the answer «{answer.text}» has no reason; write one under it as «  : because …»")
    return asked


class QuizDirective(SphinxDirective):
    has_content = True
    option_spec = {"label": directives.unchanged_required}  # noqa: RUF012 (docutils' own form)

    def run(self):
        label = self.options.get("label")
        if not label:
            raise self.error("a quiz needs a label: write :label: quiz-NN-1 on its second line")
        try:
            asked = checked_question("\n".join(self.content))
        except ValueError as error:
            raise self.error(f"{label}: {error}") from None
        node = quiz(ids=[nodes.make_id(label)], number=int(label.rsplit("-", 1)[-1]))
        self.set_source_info(node)
        node += self._parse(asked.text)
        for answer in asked.answers:
            choice = quiz_choice("", *self._parse(answer.text)[0].children)
            node += quiz_answer("", choice, quiz_reason("", *self._parse(answer.explanation)), right=answer.right)
        return [node]

    def _parse(self, text):
        holder = nodes.Element()
        self.state.nested_parse(
            StringList(text.splitlines(), self.state.document.current_source), self.content_offset, holder
        )
        return holder.children


def visit_quiz(self, node):
    number = node["number"]
    self.body.append(self.starttag(node, "section", CLASS="quiz", **{"aria-label": f"Quiz question {number}"}))
    self.body.append(f'<p class="quiz-title">Question {number}</p>\n')


def depart_quiz(self, node):
    self.body.append("</section>\n")


def visit_answer(self, node):
    self.body.append(f'<details class="quiz-answer quiz-{"right" if node["right"] else "wrong"}">')


def depart_answer(self, node):
    self.body.append("</details>\n")


def visit_choice(self, node):
    # axe and some screen readers take a summary that holds nothing but MathML for an empty one: say its TeX
    spoken = "".join(child.astext() for child in node.children if not isinstance(child, nodes.math))
    label = "" if any(c.isalnum() for c in spoken) else f' aria-label="{self.attval(node.astext())}"'
    self.body.append(f"<summary{label}>")


def depart_choice(self, node):
    self.body.append("</summary>\n")


def visit_reason(self, node):
    verdict = "Right." if node.parent["right"] else "Not this one."
    self.body.append(f'<div class="quiz-reason"><p class="quiz-verdict">{verdict}</p>\n')


def depart_reason(self, node):
    self.body.append("</div>\n")


def _plain(self, node):
    """Other builders print question, answers and reasons as running text."""


def setup(app):
    pairs = {
        quiz: (visit_quiz, depart_quiz),
        quiz_answer: (visit_answer, depart_answer),
        quiz_choice: (visit_choice, depart_choice),
        quiz_reason: (visit_reason, depart_reason),
    }
    for node, html in pairs.items():
        app.add_node(node, html=html, latex=(_plain, _plain), text=(_plain, _plain))
    app.add_directive("quiz", QuizDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
