"""``make book``: execute the notebooks, build the site so that any warning fails, say where to open it."""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from filelock import FileLock, Timeout

ROOT = Path(__file__).resolve().parent.parent
SITE = ROOT / "_build" / "html"
LEAST_FREE = 2**20
"""Bytes: a disk with less than this is taken for full when a build has failed."""
MAKERS = ("book/_ext", "book/_static", "book/_templates", "helpers/web", "tools")


class Obstacle(Exception):
    """The build can't start; the message is one sentence that says what to do."""


def guard(folder: Path) -> FileLock:
    """Lock the build folder for this process.

    Parameters
    ----------
    folder : Path
        ``_build`` of the book.

    Returns
    -------
    FileLock
        Acquired; the operating system frees it when the process ends, however it ends.

    Raises
    ------
    Obstacle
        If another build holds it, or if the folder can't be written.
    """
    cache = folder / ".cache"
    try:
        cache.mkdir(parents=True, exist_ok=True)
        lock = FileLock(cache / "build.lock", timeout=0)
        lock.acquire()
    except Timeout:
        raise Obstacle("another build of this book is running; wait until it has ended, then build again.") from None
    except OSError as error:
        raise Obstacle(
            f"the folder {folder} can't be written ({error.strerror}); make it writable or remove it."
        ) from None
    return lock


def fingerprint() -> str:
    """Hash of what turns sources into pages: configuration, extensions, templates, tools, styles and scripts.

    Sphinx does not look at the last two when no page has changed, and pages name them with a hash of what they hold.
    """
    made = (p for d in MAKERS for p in (ROOT / d).rglob("*") if p.suffix in (".py", ".html", ".css", ".js"))
    files = [ROOT / "_config.yml", *made]
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def begin(folder: Path, *outputs: Path) -> None:
    """Keep what the last build left only if it ended well and the same tools made it."""
    finished = folder / ".cache" / "finished"
    if not finished.exists() or finished.read_bytes() != fingerprint().encode():  # it may be damaged
        for output in outputs:
            shutil.rmtree(output, ignore_errors=True)
            output.mkdir(parents=True, exist_ok=True)
    finished.unlink(missing_ok=True)


def end(folder: Path) -> None:
    """Record that the build ended without error and without warning."""
    (folder / ".cache" / "finished").write_text(fingerprint(), encoding="utf-8")


def why_it_failed(folder: Path) -> str:
    """The sentence with which a failed build ends, after all that Sphinx said."""
    if folder.exists() and shutil.disk_usage(folder).free < LEAST_FREE:
        return f"The book was not built: the disk that holds {folder} is full; free some space there and build again."
    return "The book was not built; the messages above say why."


def build(*, quiet: bool = False) -> int:
    """Build the strict site into ``_build/html``.

    Parameters
    ----------
    quiet : bool
        Show Sphinx's output only where it warns.

    Returns
    -------
    int
        0, or Sphinx's exit status.
    """
    try:
        guard(
            ROOT / "_build"
        ).release()  # the extension takes it for the build itself; asked here, it needs no traceback
    except Obstacle as obstacle:
        print(obstacle, file=sys.stderr)
        return 1
    command_line = "from jupyter_book.cli.main import main; main()"
    jupyter_book = [sys.executable, "-c", command_line, "build", ".", "-W", "-n", "--keep-going"]
    env = dict(os.environ, PYTHONPATH=str(ROOT), BOOK_DATA=os.environ.get("BOOK_DATA", "embedded"))
    return subprocess.run(jupyter_book + ["-q"] * quiet, cwd=ROOT, env=env, check=False).returncode


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quiet", action="store_true")
    start = time.perf_counter()
    status = build(quiet=parser.parse_args().quiet)
    if status:
        print(f"\n{why_it_failed(ROOT / '_build')}", file=sys.stderr)
        return status
    seconds = time.perf_counter() - start
    print(f"\nThe book is in {SITE.relative_to(ROOT)} ({seconds:.0f} s). Open {SITE.as_uri()}/index.html")
    return 0


if __name__ == "__main__":
    sys.exit(main())
