"""The built site, page by page, in the eyes of axe-core: in the light and in the dark, with every fold open."""

import pytest
from axe_playwright_python.sync_playwright import Axe

from tools.site import opened, pages

pytestmark = pytest.mark.site
PREPARED = """() => {
    document.querySelectorAll("details").forEach(fold => fold.open = true);
    document.querySelectorAll(".katex-html, svg > *:not(title, desc)").forEach(part => part.remove());
    const seen = {};
    document.querySelectorAll("div.highlight span[class]").forEach(token => {
        seen[token.className] = (seen[token.className] ?? 0) + 1;
        if (seen[token.className] > 2) token.replaceWith(...token.childNodes);
    });
}"""
"""Opens every fold and leaves out what would only take long: the parts of formulas and drawings, which have a text of
their own for screen readers, and the hundredth token of one colour in the code."""
VIOLATIONS = {"resultTypes": ["violations"]}
COLOURS = {**VIOLATIONS, "runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}}


# a theme changes colours only, so that the other rules need to be run once
@pytest.mark.parametrize(("theme", "options"), [("light", VIOLATIONS), ("dark", COLOURS)], ids=["light", "dark"])
def test_no_serious_accessibility_violation(base, chromium_browser, theme, options):
    found = []
    for page in pages():
        with opened(chromium_browser, base + page, theme=theme) as (tab, _):
            tab.evaluate(PREPARED)
            for violation in Axe().run(tab, options=options).response["violations"]:
                if violation["impact"] in ("serious", "critical"):
                    where = [n["target"] for n in violation["nodes"][:3]]
                    found.append(f"{page}: {violation['id']} ({len(violation['nodes'])} times) at {where}")
    assert found == []
