"""What a machine does to data, checkpoints and imports: kills, no space, no rights, odd names, an old locale."""

import gzip
import hashlib
import multiprocessing
import os
import random
import subprocess
import sys

import pytest
from local_server import serving
from small_book import KILLS, ODD, PLAIN_C, ROOT, isolated, posix, run

from helpers import download

DISKS = """
import pathlib, sys
import torch
from helpers import checkpoint, data, download
for disk in map(pathlib.Path, sys.argv[1:]):
    try:
        with download.writing(disk / "data"):
            download.write_atomically(disk / "data" / "table", bytes(10**6))
    except data.DataUnavailable as error:
        print(error)
    try:
        for size in (10, 10**5):
            checkpoint.ensure_writable(disk / "run.pt")
            checkpoint.save({"w": torch.ones(size)}, disk / "run.pt")
    except OSError as error:
        print(error)
    print(checkpoint.load(disk / "run.pt")["w"].shape if (disk / "run.pt").exists() else "none", disk.name)
"""


@posix
def test_a_disk_that_takes_nothing_is_named_and_keeps_what_it_has(tmp_path):
    closed, full = tmp_path / f"{ODD} zu", tmp_path / f"{ODD} voll"
    closed.mkdir()
    full.mkdir()
    before = isolated(closed=(closed, "ro"), full=(full, "size=64k"))
    said = run(*before, sys.executable, "-c", DISKS, closed, full).splitlines()
    elsewhere = "or set BOOK_DATA_DIR to a folder elsewhere"
    assert said[0] == (
        f"{closed / 'data'} cannot be written (Read-only file system): make it a writable folder, {elsewhere}"
    )
    assert said[1].startswith(f"checkpoints cannot be written to {closed / 'run.pt'}: ")
    assert said[2] == f"none {closed.name}"
    assert said[3].startswith(f"the disk that holds {full / 'data'} is full: free some space")
    assert said[3].endswith(elsewhere)
    assert said[4].startswith(f"the checkpoint {full / 'run.pt'} could not be written")
    assert said[5] == f"torch.Size([10]) {full.name}"


CONTENT = [bytes([number]) * 200_000 for number in range(40)]


def unfinished_downloads(where, urls):
    """The body of a process that will be killed: fetch what is not there yet, one file after the other."""
    download.PAUSES = (0.0,)
    for number, url in enumerate(urls):
        with download.writing(where):
            if not (where / str(number)).exists():
                digest = hashlib.sha256(CONTENT[number]).hexdigest()
                download.write_atomically(where / str(number), download.fetch([url], digest=digest))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="forks, and kills")
@pytest.mark.parametrize("kills", KILLS, ids=["few", "many"])
def test_killed_at_random_moments_a_download_is_whole_or_absent(tmp_path, kills):
    where, rng = tmp_path / ODD, random.Random(kills)
    context = multiprocessing.get_context("fork")
    with serving() as server:
        for number, content in enumerate(CONTENT):
            server.files[str(number)] = gzip.compress(content, 0)
        arguments = (where, [server.url + str(number) for number in range(len(CONTENT))])
        for _ in range(kills):
            process = context.Process(target=unfinished_downloads, args=arguments)
            process.start()
            process.join(rng.uniform(0, 0.1))
            process.kill()
            process.join(60)
            here = list(where.glob("[0-9]*"))
            assert all(p.read_bytes() == CONTENT[int(p.name)] for p in here)
        process = context.Process(target=unfinished_downloads, args=arguments)
        process.start()
        process.join(120)
    assert process.exitcode == 0
    assert [(where / str(number)).read_bytes() for number in range(len(CONTENT))] == CONTENT


LOCALE = """
import importlib, pathlib, sys
assert sys.flags.utf8_mode == 0 and "utf" not in sys.stdout.encoding.lower(), sys.stdout.encoding
for path in sorted(pathlib.Path("helpers").glob("[a-z]*.py")):
    importlib.import_module(f"helpers.{path.stem}")
from helpers import activations, corpus, data, history, runtime, style
style.use_style()
folder = pathlib.Path(sys.argv[1])
kept = history.History(stopped="\\u00dcberlauf")
kept.to_json(folder / "run.json")
assert history.History.from_json(folder / "run.json") == kept
print(len(corpus.load_text()), len(data.load_names(mode="embedded").names), len(activations.table()) > 500)
from tools import notebooks
sys.exit(notebooks.main(["check", *sys.argv[2:]]))
"""


def test_helpers_and_the_rules_work_in_a_locale_without_utf_8(tmp_path):
    (tmp_path / ODD).mkdir()
    chapters = sorted((ROOT / "notebooks").glob("0[1-3]*.ipynb"))
    env = {**os.environ, **PLAIN_C, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", LOCALE, str(tmp_path / ODD), *map(str, chapters)]
    ran = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, check=False, timeout=300)
    assert ran.stdout.startswith(b"16348 13"), ran.stderr.decode(errors="replace")
    assert b"3 notebooks checked" in ran.stdout
    assert b"Traceback" not in ran.stderr  # a rule may be broken while somebody writes; then it must be printable
