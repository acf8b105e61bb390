"""The built site, page by page, in the eyes of axe-core: in the light and in the dark, with every fold open."""

import pytest
from axe_playwright_python.sync_playwright import Axe

from tools.site import opened, pages

pytestmark = pytest.mark.site
PREPARED = """() => {
    document.querySelectorAll("details").forEach(fold => fold.open = true);
    document.head.insertAdjacentHTML("beforeend", "<style>* { transition: none !important; }</style>");
    document.querySelectorAll(".katex-html, svg > *:not(title, desc)").forEach(part => part.remove());
    const seen = {};
    document.querySelectorAll("div.highlight span[class]").forEach(token => {
        seen[token.className] = (seen[token.className] ?? 0) + 1;
        if (seen[token.className] > 2) token.replaceWith(...token.childNodes);
    });
}"""
"""Opens every fold, lets colours change at once, and leaves out what would only take long: the parts of formulas and
drawings, which have a text of their own for screen readers, and the hundredth token of one colour in the code."""
VIOLATIONS = {"resultTypes": ["violations"]}
COLOURS = {**VIOLATIONS, "runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}}
IN_THE_DARK = "() => { document.documentElement.dataset.theme = 'dark'; }"


def test_no_accessibility_violation_that_is_more_than_minor(base, chromium_browser):
    found = []
    for page in pages():
        with opened(chromium_browser, base + page) as (tab, _):
            tab.evaluate(PREPARED)
            results = {"light": Axe().run(tab, options=VIOLATIONS)}
            tab.evaluate(IN_THE_DARK)  # a theme changes colours only, so the other rules need to be run once
            results["dark"] = Axe().run(tab, options=COLOURS)
            for theme, result in results.items():
                for violation in result.response["violations"]:
                    if violation["impact"] != "minor":
                        where = [n["target"] for n in violation["nodes"][:3]]
                        found.append(f"{page}, {theme}: {violation['id']} ({len(violation['nodes'])} times) at {where}")
    assert found == []
