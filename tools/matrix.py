"""``make matrix``: the suite on every Python, on the oldest, the locked and the newest releases, with either d2l.

    python -m tools.matrix [--only NAME ...] [--folder DIR] [--keep] [--list]

A combination is named after its parts, such as ``py312-lowest`` or ``py313-locked-d2l1``. Each gets a virtual
environment made by uv, and in it the tests with their doctests and every notebook through nbval. The site is not built,
and the tests that look at the built one are left out: ``make test`` has those. What fails does not stop the rest; one
table says how each ended, and the exit status is 1 if any failed or none could run.

`lowest` takes for each line of requirements.txt the oldest release that it admits, and that has a wheel for the Python
at hand: what would have to be compiled is passed over. `highest` takes the newest, `locked` takes requirements.lock.
This module needs nothing but Python and uv.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "_build" / "matrix"
PYTHONS = ("3.11", "3.12", "3.13")
RELEASES = ("lowest", "locked", "highest")
PROJECT = "deep-learning-worked-out"
"""What `pyproject.toml` calls the book; it is installed from its folder, which counts as building."""
D2L_1 = "d2l==1.0.3"
"""Its pins ask for a numpy of 2022, so it is installed without them."""

PATHS = ("tests", "helpers", "book/_ext/book_quiz.py", "notebooks")
SHOWN = ("torch", "numpy", "d2l")
_VERSIONS = "import importlib.metadata as m, json, sys; print(json.dumps({n: m.version(n) for n in sys.argv[1:]}))"


@dataclass(frozen=True)
class Combination:
    """One environment: a Python such as ``"3.12"``, one of `RELEASES`, and whether d2l is 1.0.3 instead of 0.17."""

    python: str
    releases: str
    d2l_1: bool = False

    @property
    def name(self) -> str:
        return f"py{self.python.replace('.', '')}-{self.releases}{'-d2l1' if self.d2l_1 else ''}"


COMBINATIONS = tuple(Combination(*parts) for parts in product(PYTHONS, RELEASES, (False, True)))


@dataclass
class Outcome:
    """How a combination ended: in a word, pytest's closing line or the step that failed, versions and seconds."""

    name: str
    result: str
    detail: str = ""
    versions: dict[str, str] | None = None
    seconds: float = 0.0


class StepFailed(Exception):
    """A command on the way to the tests failed; the message is the last it said."""


def choose(names: Sequence[str]) -> list[Combination]:
    """The combinations of these names, dots in them allowed; all without any.

    Raises
    ------
    ValueError
        For a name that there is not; the message lists those there are.
    """
    known = {combination.name: combination for combination in COMBINATIONS}
    wanted = [name.replace(".", "") for name in names]
    if unknown := [name for name in wanted if name not in known]:
        raise ValueError(f"no combination is called {', '.join(unknown)}; there are\n  " + "\n  ".join(known))
    return [known[name] for name in wanted] if wanted else list(COMBINATIONS)


def uv_command() -> list[str]:
    """How to call uv: as a module of this Python, else as a program.

    Raises
    ------
    ValueError
        If there is neither.
    """
    if importlib.util.find_spec("uv"):
        return [sys.executable, "-m", "uv"]
    if program := shutil.which("uv"):
        return [program]
    raise ValueError("uv makes the environments and is not installed: python -m pip install uv")


def find_python(version: str, uv: Sequence[str]) -> str | None:
    """The path of an installed Python of this version, as uv or pyenv know it; None if there is none."""
    command = [*uv, "python", "find", "--system", "--no-project", version]
    found = subprocess.run(command, capture_output=True, text=True, env=_clean_environment(), check=False)
    folder = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    candidates = [found.stdout.strip()] if found.returncode == 0 else []
    candidates += [str(path) for path in sorted(folder.glob(f"{version}.*/bin/python3"))]
    asked = "import sys; print('%d.%d' % sys.version_info[:2])"
    for path in filter(os.path.isfile, candidates):
        said = subprocess.run([path, "-c", asked], capture_output=True, text=True, check=False)
        if said.stdout.strip() == version:
            return path
    return None


def install_steps(combination: Combination, python: str, env: Path, uv: Sequence[str]) -> list[list[str]]:
    """The commands that make the environment of a combination in the folder `env`."""
    install = [*uv, "pip", "install", "--quiet", "--python", str(env)]
    steps = [[*uv, "venv", "--quiet", "--clear", "--seed", "--python", python, str(env)]]
    if combination.releases == "locked":
        steps += [[*install, "-r", "requirements.lock"], [*install, "--no-deps", "-e", "."]]
    else:
        resolution = {"lowest": "lowest-direct", "highest": "highest"}[combination.releases]
        wheels = ["--only-binary", ":all:", "--no-binary", PROJECT]
        steps.append([*install, "--resolution", resolution, *wheels, "-r", "requirements.txt"])
    if combination.d2l_1:
        steps.append([*install, "--no-deps", D2L_1])
    return steps


def suite(processes: int) -> list[str]:
    """The arguments of pytest: everything but what needs the built site, and slow tests only with ``BOOK_SLOW=1``."""
    marks = "not site" if os.environ.get("BOOK_SLOW") == "1" else "not site and not slow"
    share = ["--numprocesses", str(processes), "--dist=loadfile", "--no-loadscope-reorder"]
    return [*PATHS, "--nbval-lax", "-q", "-m", marks, "-p", "no:cacheprovider", *share]


def run(combination: Combination, python: str, folder: Path, uv: Sequence[str], processes: int) -> Outcome:
    """Make the environment, run the suite in it, keep what they said in ``NAME.log``."""
    start, env = time.perf_counter(), folder / combination.name
    outcome = Outcome(combination.name, "failed")
    with (folder / f"{combination.name}.log").open("w", encoding="utf-8") as log:
        try:
            for step in install_steps(combination, python, env, uv):
                _call(step, log, _clean_environment())
            interpreter = next(path for path in (env / "bin/python", env / "Scripts/python.exe") if path.exists())
            outcome.versions = versions(interpreter)
            inside = _clean_environment() | {"BOOK_DATA": "embedded", "OMP_NUM_THREADS": "1", "PYTHONUTF8": "1"}
            inside["PATH"] = os.pathsep.join([str(interpreter.parent), inside.get("PATH", "")])
            _call([str(interpreter), "-m", "pytest", *suite(processes)], log, inside)
            outcome.result = "passed"
        except StepFailed as failed:
            outcome.detail = str(failed)
    if outcome.result == "passed":
        outcome.detail = last_line(folder / f"{combination.name}.log")
    outcome.seconds = time.perf_counter() - start
    return outcome


def versions(interpreter: Path) -> dict[str, str]:
    """What is installed of `SHOWN` beside an interpreter."""
    said = subprocess.run([interpreter, "-c", _VERSIONS, *SHOWN], capture_output=True, text=True, check=True)
    return json.loads(said.stdout)


def last_line(log: Path) -> str:
    """The last line of a log that is not empty, without the frame that pytest draws."""
    lines = [line.strip("= \n") for line in log.read_text(encoding="utf-8", errors="replace").splitlines()]
    return next((line for line in reversed(lines) if line), "nothing was printed")


def table(outcomes: Sequence[Outcome]) -> str:
    """One row for each combination.

    Examples
    --------
    >>> print(table([Outcome("py311-locked", "passed", "9 passed", {"torch": "2.15.0"}, 90.0)]))
    combination   result  torch   numpy  d2l  min  last line
    py311-locked  passed  2.15.0                2  9 passed
    """
    rows = [("combination", "result", *SHOWN, "min", "last line")]
    for one in outcomes:
        versions = [(one.versions or {}).get(name, "") for name in SHOWN]
        rows.append((one.name, one.result, *versions, f"{one.seconds / 60:.0f}" if one.seconds else "", one.detail))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)]
    lines = []
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        cells[-1] = row[-2].rjust(widths[-1])
        lines.append("  ".join([*cells, row[-1]]).rstrip())
    return "\n".join(lines)


def _clean_environment() -> dict[str, str]:
    away = ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "UV_PYTHON")
    return {key: value for key, value in os.environ.items() if key not in away} | {"UV_PYTHON_DOWNLOADS": "never"}


def _call(command: Sequence[str], log, env: dict[str, str]) -> None:
    print("$", *command, file=log, flush=True)
    if subprocess.run(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, env=env, check=False).returncode:
        raise StepFailed(last_line(Path(log.name)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.matrix", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="these combinations and no others")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where environments and logs are put")
    parser.add_argument("--keep", action="store_true", help="keep the environments, several GB each")
    parser.add_argument("--processes", type=int, default=max(1, min(4, os.cpu_count() or 1)), metavar="N")
    parser.add_argument("--list", action="store_true", help="print the names and end")
    options = parser.parse_args(arguments)
    try:
        chosen, uv = choose(options.only), [] if options.list else uv_command()
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    if options.list:
        print(*(combination.name for combination in chosen), sep="\n")
        return 0
    options.folder.mkdir(parents=True, exist_ok=True)
    folder, outcomes = options.folder.resolve(), []
    pythons = {version: find_python(version, uv) for version in {combination.python for combination in chosen}}
    for combination in chosen:
        python, name = pythons[combination.python], combination.name
        if python is None:
            outcomes.append(Outcome(name, "LEFT OUT", f"Python {combination.python} is not installed"))
            continue
        print(f"=== {name}: {folder / name}.log", flush=True)
        outcomes.append(run(combination, python, folder, uv, options.processes))
        if not options.keep:
            shutil.rmtree(folder / name, ignore_errors=True)
        if outcomes[-1].result == "failed":
            print(*(folder / f"{name}.log").read_text(encoding="utf-8").splitlines()[-40:], sep="\n", flush=True)
    print("\n" + table(outcomes))
    if missing := sorted(version for version, python in pythons.items() if python is None):
        print(f"\nNOT TESTED, because it is not installed: Python {', '.join(missing)}", file=sys.stderr)
    results = {outcome.result for outcome in outcomes}
    return 0 if results <= {"passed", "LEFT OUT"} and "passed" in results else 1


if __name__ == "__main__":
    sys.exit(main())
