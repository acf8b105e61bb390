"""The working tree, as far as git would take it, in a new repository: for checks that start from a clean clone."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tools.chapter import ROOT

_NOBODY = {
    f"GIT_{role}_{what}": "nobody@example.invalid" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
}


def snapshot(folder: Path, source: Path = ROOT) -> str:
    """Commit what is tracked, changed or new in `source` to a new repository in `folder`; return the commit's SHA."""
    folder.mkdir(parents=True, exist_ok=True)
    listed = subprocess.check_output(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=source, text=True)
    for name in filter(None, listed.split("\0")):
        if (source / name).is_file():  # a file that was removed is still listed
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source / name, folder / name)
    for command in ("init --quiet", "add --all --force", "commit --quiet --message snapshot"):
        subprocess.run(["git", *command.split()], cwd=folder, check=True, env=os.environ | _NOBODY)
    return subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=folder, text=True).strip()
