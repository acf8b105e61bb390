"""The built site, page by page, in the eyes of axe-core: in the light and in the dark, with every fold open."""

import pytest
from axe_playwright_python.sync_playwright import Axe

from tools.site import opened, pages

pytestmark = pytest.mark.site
WITHOUT_FORMULAS = {"exclude": [[".katex"], ["svg"]]}
"""KaTeX's thousands of spans are hidden from readers of the page by MathML; a drawing is one image."""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_serious_accessibility_violation(base, chromium_browser, theme):
    found = []
    for page in pages():
        with opened(chromium_browser, base + page, theme=theme) as (tab, _):
            tab.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
            for violation in Axe().run(tab, context=WITHOUT_FORMULAS).response["violations"]:
                if violation["impact"] in ("serious", "critical"):
                    where = [n["target"] for n in violation["nodes"][:3]]
                    found.append(f"{page}: {violation['id']} ({len(violation['nodes'])} times) at {where}")
    assert found == []
