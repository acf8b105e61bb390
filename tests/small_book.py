"""A book with one small chapter, built with the real configuration, extensions and tools; and places that go wrong."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[1]
TOC = "format: jb-book\nroot: book/intro\nchapters:\n  - file: notebooks/01_small\n  - file: book/references\n"
posix = pytest.mark.skipif(os.name != "posix", reason="kills process groups, mounts file systems")
PLAIN_C = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
ODD = "Ein Buch über 数, mit Leerzeichen"
KILLS = [3, pytest.param(int(os.environ.get("BOOK_KILLS", 20)), marks=pytest.mark.slow)]
LOOPBACK = (  # a fresh network namespace has a loopback that is down, and kernels talk over it
    "import fcntl, socket, struct; s = socket.socket();"
    "fcntl.ioctl(s, 0x8914, struct.pack('16sh14x', b'lo', 0x1 | 0x40))"
)


def write_notebook(book, *cells):
    made = [
        nbformat.v4.new_markdown_cell(text, id=f"c{i}")
        if text.startswith("#")
        else nbformat.v4.new_code_cell(text, id=f"c{i}")
        for i, text in enumerate(cells)
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    nbformat.write(nbformat.v4.new_notebook(cells=made, metadata=kernel), book / "notebooks" / "01_small.ipynb")


def make(folder):
    """Copy the book's configuration and extensions to `folder`, with one small chapter."""
    for name in ("book", "tools", "helpers"):
        shutil.copytree(ROOT / name, folder / name)
    for name in ("_config.yml", "CHANGELOG.md"):
        shutil.copy(ROOT / name, folder)
    (folder / "_toc.yml").write_text(TOC)
    (folder / "book" / "intro.md").write_text("# Small\n\nWith $x^2$ and {doc}`../notebooks/01_small`.\n")
    (folder / "notebooks").mkdir()
    write_notebook(folder, "# One", "print(6 * 7)")
    return folder


def start(book, *before, **more):
    """Start a build in a process group of its own; `before` is a command that is to run it."""
    env = dict(os.environ, PYTHONPATH=str(book), PYTHONUNBUFFERED="1", NO_COLOR="1", **more)
    return subprocess.Popen(
        [*before, sys.executable, "-m", "tools.build"],
        cwd=book,
        env=env,
        text=True,
        encoding="utf-8",
        errors="replace",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # so that a test can kill the build with its kernels
    )


def build(book, *before, **more):
    process = start(book, *before, **more)
    output, _ = process.communicate(timeout=300)
    return process.returncode, output


@functools.cache
def _isolation():
    """The command that gives what follows it a network and mounts of its own; None where that is forbidden."""
    own_user = [] if hasattr(os, "geteuid") and os.geteuid() == 0 else ["--map-root-user"]
    command = ("unshare", "--mount", "--net", *own_user)
    try:
        tried = subprocess.run([*command, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, check=False)
    except FileNotFoundError:
        return None
    return command if tried.returncode == 0 else None


def isolated(*, network=True, **mounts):
    """A command that runs what follows it without a network but the loopback, or with other file systems.

    Parameters
    ----------
    network : bool
        Whether the network stays reachable.
    **mounts : (Path, str)
        A folder and the options of an empty tmpfs that hides it, such as ``"ro"`` or ``"size=64k"``.
    """
    command = _isolation()
    if command is None:
        pytest.skip("this machine forbids namespaces (unshare), so its disk can't be filled nor its network cut")
    command = [word for word in command if not (network and word == "--net")]
    script = "".join(f'mount -t tmpfs -o {options} tmpfs "{folder}" && ' for folder, options in mounts.values())
    if not network:
        script += f'"{sys.executable}" -c "{LOOPBACK}" && '
    return [*command, "sh", "-c", script + 'exec "$@"', "sh"]


def run(*command, limit=300, **more):
    """The output of a command that must succeed."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", **{name: str(value) for name, value in more.items()}}
    words = [str(word) for word in command]
    ran = subprocess.run(words, cwd=ROOT, env=env, capture_output=True, check=False, timeout=limit)
    assert ran.returncode == 0, ran.stderr.decode(errors="replace")
    return ran.stdout.decode(errors="replace").strip()
