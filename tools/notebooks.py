"""Check, mend and create the book's notebooks.

    python -m tools.notebooks check [FILE | NN ...]      the rules; exit status 1 if one is broken
    python -m tools.notebooks fix [FILE | NN ...]        the normal form: no stray outputs, readable ids, plain metadata
    python -m tools.notebooks outputs FILE | NN ...      run, and store the worked numbers that the notebook keeps
    python -m tools.notebooks new NN_topic "Title"       a new chapter from notebooks/_template.ipynb

Without a file, `check` and `fix` take every notebook of the book.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tools import notebook_mend as mend
from tools.chapter import NOTEBOOKS, find, read, shown
from tools.notebook_rules import check, check_book


def check_notebooks(paths: Sequence[Path]) -> int:
    """Print what breaks a rule in `paths`, or between them and the rest of the book; 1 if anything does."""
    chapters = [read(path) for path in paths]
    chosen = {chapter.path.resolve() for chapter in chapters}
    drafts = {chapter.number for chapter in chapters if chapter.path.resolve().parent != NOTEBOOKS}
    others = [read(path) for path in find([]) if path.resolve() not in chosen]
    others = [chapter for chapter in others if chapter.number not in drafts]  # a draft elsewhere stands in for them
    mine = {chapter.path for chapter in chapters}
    findings = [finding for chapter in chapters for finding in check(chapter)]
    findings += [finding for finding in check_book(others + chapters) if finding.path in mine]
    for finding in findings:
        print(finding)
    noun = "notebook" if len(chapters) == 1 else "notebooks"
    print(f"{len(chapters)} {noun} checked: " + (f"{len(findings)} to mend" if findings else "every rule holds"))
    return 1 if findings else 0


def fix_notebooks(paths: Sequence[Path]) -> int:
    """Bring `paths` into normal form and print what was changed."""
    for path in paths:
        chapter = read(path)
        nb, done = mend.fix(chapter)
        before = path.read_bytes()
        mend.write(nb, path)
        if not done and path.read_bytes() != before:
            done = ["file layout normalised"]
        print("\n    ".join([f"{shown(path)}: {'changed' if done else 'nothing to change'}", *done]))
    return 0


def refresh(paths: Sequence[Path]) -> int:
    """Run `paths`, store the outputs that they keep, and print what changed."""
    for path in paths:
        changes = mend.refresh_outputs(read(path))
        print(f"{shown(path)}: {len(changes)} stored outputs changed", *changes, sep="\n")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.notebooks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, files in (("check", "*"), ("fix", "*"), ("outputs", "+")):
        commands.add_parser(name).add_argument("files", nargs=files, metavar="FILE|NN")
    new = commands.add_parser("new")
    new.add_argument("name", metavar="NN_topic")
    new.add_argument("title")
    options = parser.parse_args(arguments)
    try:
        if options.command == "new":
            path = mend.new_chapter(options.name, options.title)
            print(f"made {shown(path)} and listed it in _toc.yml; open it with `make lab`, check it with", end=" ")
            print(f"`make check NB={path.name[:2]}`")
            return 0
        paths = find(options.files)
        if not paths:
            raise ValueError(f"there are no notebooks in {shown(NOTEBOOKS)}")
        run = {"check": check_notebooks, "fix": fix_notebooks, "outputs": refresh}[options.command]
        return run(paths)
    except (ValueError, RuntimeError, OSError) as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
