"""Fixtures that several test modules share."""

from __future__ import annotations

import os

import pytest

from tools import chromium


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
