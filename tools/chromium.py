"""Find and start the Chromium that is installed on this machine; nothing is downloaded."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from pathlib import Path

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
_PLACES = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "C:/Program Files/Google/Chrome/Application/chrome.exe",
    "C:/Program Files (x86)/Google/Chrome/Application/chrome.exe",
    "C:/Program Files (x86)/Microsoft/Edge/Application/msedge.exe",
)
_FLAGS = ("--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync")


class NoChromium(RuntimeError):
    """There is no browser to check the site with."""


def find() -> str:
    """Path of Chromium, Chrome or Edge on this machine; the environment variable CHROMIUM goes first.

    Raises
    ------
    NoChromium
        If there is none.
    """
    named = os.environ.get("CHROMIUM")
    found = named or next(filter(None, map(shutil.which, _NAMES)), None)
    found = found or next((place for place in _PLACES if Path(place).exists()), None)
    if found is None:
        raise NoChromium(
            "no Chromium, Chrome or Edge was found: install one, or put its path into the variable CHROMIUM"
        )
    return found


def sandbox() -> list[str]:
    """What to tell Chromium about its sandbox, which refuses to run for root, as in containers."""
    return ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []


@contextmanager
def launched():
    """Start a browser without windows; yields Playwright's ``Browser``."""
    from playwright.sync_api import sync_playwright

    path = find()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=[*_FLAGS, *sandbox()])
        yield browser
        browser.close()
