"""For `book_site`: one script stands in a page, the same in all, so that a policy can forbid every other.

The theme and its extensions set their options by small scripts in every page. They move to files of the site; what no
page uses (the page's name for a list of versions, the settings of live kernels) goes. Options that are set one by one
become one file. A file is named after what it holds, so that browsers keep it across pages. The script that chooses
the colours stays, for it must have run before anything shows, also where no file of a script arrives; a
Content-Security-Policy allows it by its hash (``tools.site.POLICY``).
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

PATTERN = re.compile(r"[ \t]*<script>(.*?)</script>\n?", re.DOTALL)
"""A script in a page, but for the theme's choice of colours, which has an attribute."""
KERNELS = re.compile(r'[ \t]*<script type="text/x-thebe-config">.*?</script>\n?', re.DOTALL)
FILES = re.compile(r'src="([^"]*)_static/documentation_options\.js')
"""How a page calls the site's own scripts; the folder before it depends on where the page lies."""
UNUSED = ("DOCUMENTATION_OPTIONS.pagename", "kernelName")
OPTIONS = ("let toggle", "var toggle", "DOCUMENTATION_OPTIONS.")


def into_files(text: str, static: Path) -> str:
    """The page without these scripts; writes them into files in the folder `static`.

    Each is called where it stood, in the same order, and not deferred, for the page's other scripts read what it sets.
    """
    called = FILES.search(text)
    if called is None:  # a page that only leads to another one
        return text
    codes = [code.strip() for code in PATTERN.findall(text)]
    codes = [code for code in dict.fromkeys(codes) if code and not code.startswith(UNUSED)]
    options = "\n".join(code for code in codes if code.startswith(OPTIONS))
    written = set()

    def moved(match: re.Match) -> str:
        code = options if match[1].strip().startswith(OPTIONS) else match[1].strip()
        if match[1].strip() not in codes or code in written:
            return ""
        written.add(code)
        name = f"page-{hashlib.sha256(code.encode()).hexdigest()[:8]}.js"
        (static / name).write_text(code + "\n", encoding="utf-8")
        return f'    <script src="{called[1]}_static/{name}"></script>\n'

    return PATTERN.sub(moved, KERNELS.sub("", text))
