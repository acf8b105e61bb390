"""``make check NB=03``: the rules, the style and the execution of one chapter, in under a minute."""

from __future__ import annotations

import subprocess
import sys

from tools.build import ROOT


def find(number: str) -> str:
    """Path of the chapter whose file name begins with ``number``, relative to the book's folder.

    Raises
    ------
    ValueError
        If there is none, or more than one; the message lists the chapters.
    """
    chapters = sorted(p.name for p in (ROOT / "notebooks").glob("[0-9]*.ipynb"))
    found = [name for name in chapters if number and name.startswith(number)]
    if len(found) != 1:
        listing = "\n  ".join(chapters)
        raise ValueError(f"NB={number!r} names {len(found)} chapters. Say for example: make check NB=03\n  {listing}")
    return f"notebooks/{found[0]}"


def main(arguments: list[str]) -> int:
    try:
        path = find(arguments[0] if arguments else "")
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    steps = (
        ["tools.notebooks", "check", path],
        ["ruff", "check", path],
        ["pytest", "-q", "--nbval-lax", "-p", "no:cacheprovider", "--no-header", path],
    )
    status = [subprocess.run([sys.executable, "-m", *step], cwd=ROOT, check=False).returncode for step in steps]
    return max(status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
