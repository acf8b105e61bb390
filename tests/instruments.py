"""What the tests of instruments share, the figures that compute in the page: a page that holds one, as on the site."""

import shutil
from pathlib import Path

PAGE = """<!doctype html><html lang="en" data-theme="light"><head><meta charset="utf-8"><title>Test</title>
<meta http-equiv="Content-Security-Policy" content="default-src 'self'; style-src 'self' 'unsafe-inline'">
<meta name="viewport" content="width=device-width"><link rel="stylesheet" href="explore.css">
<link rel="stylesheet" href="{name}.css"></head><body>{body}<script src="{name}.js"></script></body></html>"""


def write_pages(folder: Path, name: str, web: Path, built: str, live: str) -> Path:
    """Write ``site.html`` with what a build makes of the instrument, and ``live.html`` with two of a notebook's."""
    for file in ("explore.css", f"{name}.css", f"{name}.js"):
        shutil.copy(web / file, folder / file)
    (folder / "site.html").write_text(PAGE.format(name=name, body=built), encoding="utf-8")
    (folder / "live.html").write_text(f"<!doctype html><meta charset='utf-8'>{live}{live}", encoding="utf-8")
    return folder
