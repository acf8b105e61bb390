"""The built site, page by page, in the eyes of axe-core: in the light and in the dark, with every fold open."""

import pytest
from axe_playwright_python.sync_playwright import Axe

from tools.site import opened, pages

pytestmark = pytest.mark.site
PREPARED = """() => {
    document.querySelectorAll("details").forEach(fold => fold.open = true);
    const still = "<style>* { transition: none !important; animation: none !important; }</style>";
    document.head.insertAdjacentHTML("beforeend", still);
    document.querySelectorAll(".katex-html, svg > *:not(title, desc)").forEach(part => part.remove());
    const seen = {};
    document.querySelectorAll("div.highlight span[class]").forEach(token => {
        seen[token.className] = (seen[token.className] ?? 0) + 1;
        if (seen[token.className] > 2) token.replaceWith(...token.childNodes);
    });
}"""
"""Opens every fold, lets colours change at once, and leaves out what would only take long: the parts of formulas and
drawings, which have a text of their own for screen readers, and the hundredth token of one colour in the code."""
THINNED = """() => {
    const seen = new Set();
    const names = / (id|href|title|tabindex|data-[\\w-]+)="[^"]*"/g;
    document.querySelectorAll(".katex").forEach(formula => formula.replaceWith("x"));
    for (const block of document.querySelectorAll(".bd-article :is(p, li, dt, dd, pre, summary)")) {
        let key = block.outerHTML.replace(/>[^<]*</g, "><").replace(names, "");
        for (let up = block.parentElement; up && !up.matches(".bd-article"); up = up.parentElement) {
            key += `|${up.tagName}.${up.className}`;
        }
        if (seen.has(key)) block.remove();
        seen.add(key);
    }
}"""
"""Leaves one of all paragraphs that differ in nothing but their words, since those have the same colours,
and no formulas."""
IN_THE_DARK = "() => { document.documentElement.dataset.theme = 'dark'; }"
COLOUR_RULES = ["color-contrast", "link-in-text-block"]
COLOURS = {"resultTypes": ["violations"], "runOnly": {"type": "rule", "values": COLOUR_RULES}}
STRUCTURE = {"resultTypes": ["violations"], "rules": {rule: {"enabled": False} for rule in COLOUR_RULES}}


def test_no_accessibility_violation_that_is_more_than_minor(base, chromium_browser):
    found = []
    for page in pages():
        with opened(chromium_browser, base + page) as (tab, _):
            tab.evaluate(PREPARED)
            results = {"structure": Axe().run(tab, options=STRUCTURE)}
            tab.evaluate(THINNED)
            results["light"] = Axe().run(tab, options=COLOURS)
            tab.evaluate(IN_THE_DARK)
            results["dark"] = Axe().run(tab, options=COLOURS)
        for run, result in results.items():
            for violation in result.response["violations"]:
                if violation["impact"] != "minor":
                    where = [n["target"] for n in violation["nodes"][:3]]
                    found.append(f"{page}, {run}: {violation['id']} ({len(violation['nodes'])} times) at {where}")
    assert found == []
