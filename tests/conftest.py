"""Fixtures that several test modules share."""

from __future__ import annotations

import os

import pytest

from tools import chromium
from tools.site import SITE, served


@pytest.fixture(scope="session")
def chromium_browser():
    """A Chromium without windows; tests that need it are skipped where there is none.

    With ``BOOK_REQUIRE_CHROMIUM=1``, as in the continuous integration, a missing browser is a failure.
    """
    try:
        chromium.find()
    except chromium.NoChromium as missing:
        if os.environ.get("BOOK_REQUIRE_CHROMIUM") == "1":
            raise
        pytest.skip(f"the built pages were not checked in a browser: {missing}")
    with chromium.launched() as browser:
        yield browser


@pytest.fixture
def visit(folder, chromium_browser):
    """Open a page of the test module's own `folder`, offline; afterwards nothing may have been said on the console."""
    contexts, problems = [], []

    def go(page="site", **options):
        context = chromium_browser.new_context(offline=True, **options)
        contexts.append(context)
        tab = context.new_page()
        tab.on("console", lambda message: problems.append(message.text))
        tab.on("pageerror", lambda error: problems.append(str(error)))
        tab.goto((folder / f"{page}.html").as_uri())
        return tab

    yield go
    for context in contexts:
        context.close()
    assert problems == []


@pytest.fixture(scope="session")
def built_site():
    """The folder of the built site; tests that look at it are skipped where it was not built."""
    if not (SITE / "index.html").exists():
        pytest.skip("the site is not built; run make book first")
    return SITE


@pytest.fixture(scope="session")
def base(built_site):
    """The address at which the built site is served."""
    with served() as address:
        yield address
