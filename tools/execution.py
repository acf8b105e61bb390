"""Run the book's notebooks: in parallel, in fresh kernels, cached by everything that can change their outputs.

A notebook's *key* is a hash of its cells, of every file in ``helpers/``, of the Python version and of every installed
distribution with its version. Jupyter Book's own cache looks at the cells alone, so an edit in ``helpers/`` would leave
old numbers on the page; here it re-executes.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

from tools import provenance, warm_kernels

ROOT = Path(__file__).resolve().parent.parent
CELL_TIMEOUT = 300
"""Seconds after which one cell is stopped and its chapter named."""

WORTH_WARMING = 3
"""From this many notebooks on, kernels come out of `tools.warm_kernels`: its own start costs as much as a kernel's."""

_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


class ExecutionError(Exception):
    """One or more notebooks failed; the message shows chapter, cell and traceback of each."""


@dataclass(frozen=True)
class Executed:
    """A notebook with its outputs.

    Attributes
    ----------
    path : Path
        The source notebook.
    key : str
        Hash of everything that its outputs depend on.
    text : str
        The executed notebook as JSON.
    seconds : float
        Wall-clock time of the run that made the outputs.
    cached : bool
        Whether that run happened earlier.
    run : dict
        What `provenance.of_this_run` said when the outputs were made.
    """

    path: Path
    key: str
    text: str
    seconds: float
    cached: bool
    run: dict[str, str] = field(default_factory=dict)


def _hash(*parts: str) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode())
        digest.update(b"\0")
    return digest.hexdigest()


def environment_key(helpers: Path = ROOT / "helpers") -> str:
    """Hash of what every notebook depends on: ``helpers/``, the interpreter, the installed versions, ``BOOK_DATA``."""
    files = sorted(p for p in helpers.rglob("*") if p.is_file() and "__pycache__" not in p.parts and p.suffix != ".md")
    contents = [f"{p.relative_to(helpers).as_posix()}:{hashlib.sha256(p.read_bytes()).hexdigest()}" for p in files]
    return _hash(_installed(), os.environ.get("BOOK_DATA", ""), *contents)


@cache
def _installed() -> str:
    names = {(d.metadata["Name"] or "").lower(): d.version for d in importlib.metadata.distributions()}
    return "\n".join([sys.version, *(f"{name}=={names[name]}" for name in sorted(names))])


def notebook_key(notebook: Path, environment: str) -> str:
    """Hash of one notebook's cells and of the environment they run in.

    Parameters
    ----------
    notebook : Path
        An ``.ipynb`` file.
    environment : str
        What :func:`environment_key` returned.
    """
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    essence = [[c["cell_type"], c["source"], c.get("metadata", {})] for c in cells]
    return _hash(environment, json.dumps(essence, sort_keys=True))


def execute(
    notebooks: Iterable[Path],
    cache_dir: Path,
    *,
    workers: int | None = None,
    threads: int | None = None,
    say: Callable[[str], None] = print,
    helpers: Path = ROOT / "helpers",
) -> list[Executed]:
    """Bring every notebook's outputs up to date and return them in the order given.

    Parameters
    ----------
    notebooks : iterable of Path
    cache_dir : Path
        Where executed notebooks are kept, one file for each key. Only complete files are ever found there.
    workers : int, optional
        Kernels at a time. The default is one for each core, at most four.
    threads : int, optional
        Of each kernel. By default the cores are shared out, so that threads do not get in each other's way.
    say : callable
        Receives one line of progress at a time.
    helpers : Path
        The package that the notebooks import.

    Raises
    ------
    ExecutionError
        If a cell fails, outlasts ``CELL_TIMEOUT`` seconds or kills its kernel. All notebooks are tried first.
    """
    paths = list(notebooks)
    environment = environment_key(helpers)
    keys = {path: notebook_key(path, environment) for path in paths}
    cache_dir.mkdir(parents=True, exist_ok=True)
    results = {path: hit for path in paths if (hit := _from_cache(path, keys[path], cache_dir))}
    todo = [path for path in paths if path not in results]
    if todo:
        cores = provenance.cores()
        workers = max(1, min(workers or min(cores, 4), len(todo)))
        threads = threads or max(1, cores // workers)
        if len(todo) >= WORTH_WARMING:
            warm_kernels.use(threads)
        say(f"executing {len(todo)} of {len(paths)} notebooks ({workers} at a time, {threads} thread(s) each)")
        results |= _run_all(todo, keys, cache_dir, workers, threads, say)
    return [results[path] for path in paths]


def _run_all(todo, keys, cache_dir, workers, threads, say) -> dict[Path, Executed]:
    results, failures, run = {}, [], provenance.of_this_run()
    slowest_first = sorted(todo, key=lambda path: -_last_seconds(path, cache_dir))
    with ThreadPoolExecutor(workers) as pool:
        futures = {pool.submit(_run, path, threads): path for path in slowest_first}
        for done, future in enumerate(as_completed(futures), start=1):
            path = futures[future]
            try:
                text, seconds = future.result()
            except ExecutionError as error:
                failures.append(str(error))
                say(f"[{done}/{len(todo)}] {path.stem} FAILED")
                continue
            results[path] = Executed(path, keys[path], text, seconds, cached=False, run=run)
            _to_cache(results[path], cache_dir)
            say(f"[{done}/{len(todo)}] {path.stem} {seconds:.1f} s")
    if failures:
        raise ExecutionError("\n\n".join(failures))
    return results


def _run(path: Path, threads: int) -> tuple[str, float]:
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    client = NotebookClient(
        notebook,
        timeout=CELL_TIMEOUT,
        kernel_name="python3",
        coalesce_streams=True,  # else a line is cut in two now and then, by the clock
        extra_arguments=["--log-level=ERROR"],
        resources={"metadata": {"path": str(path.parent)}},
    )
    env = dict(os.environ, BOOK_BUILD="1", PYTHONHASHSEED="0", MPLBACKEND="module://matplotlib_inline.backend_inline")
    env["SOURCE_DATE_EPOCH"] = "0"  # the date in an SVG of a library that saves figures in its own way, as d2l does
    env |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
    start = time.perf_counter()
    try:
        client.execute(env=env)
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        raise ExecutionError(_explain(path, notebook, error)) from None
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # time stamps: two builds of one commit are to be equal
    return nbformat.writes(notebook), time.perf_counter() - start


def _explain(path: Path, notebook, error: Exception) -> str:
    codes = [(i, c) for i, c in enumerate(notebook.cells) if c.cell_type == "code"]
    failed = [(i, c) for i, c in codes if any(o.output_type == "error" for o in c.outputs)]
    started = [(i, c) for i, c in codes if c.execution_count is not None]
    index, cell = (failed or started or codes)[-1]
    reason = _ANSI.sub("", str(error)).strip()
    if isinstance(error, CellTimeoutError):
        reason = f"The cell ran longer than {CELL_TIMEOUT} seconds and was stopped."
    elif isinstance(error, DeadKernelError):
        reason = "The kernel died (out of memory?)."
    return f"notebooks/{path.name}, cell {index + 1} (id {cell.get('id')}):\n{reason}"


def _cache_file(path: Path, key: str, cache_dir: Path) -> Path:
    return cache_dir / f"{path.stem}-{key[:32]}.json"


def _from_cache(path: Path, key: str, cache_dir: Path) -> Executed | None:
    try:
        stored = json.loads(_cache_file(path, key, cache_dir).read_text(encoding="utf-8"))
        json.loads(stored["notebook"])["cells"]
        return Executed(path, key, stored["notebook"], float(stored["seconds"]), cached=True, run=stored["run"])
    except (OSError, ValueError, KeyError, TypeError):  # absent or damaged: run it again
        return None


def _to_cache(result: Executed, cache_dir: Path) -> None:
    target = _cache_file(result.path, result.key, cache_dir)
    partial = target.with_suffix(f".{os.getpid()}.tmp")
    stored = {"seconds": result.seconds, "run": result.run, "notebook": result.text}
    try:
        partial.write_text(json.dumps(stored), encoding="utf-8")
        os.replace(partial, target)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise ExecutionError(f"{target} can't be written ({error.strerror}): free some space on that disk.") from error
    for old in cache_dir.glob(f"{result.path.stem}-*.json"):
        if old != target:
            old.unlink(missing_ok=True)


def _last_seconds(path: Path, cache_dir: Path) -> float:
    """Duration of the last run whatever its key, so that long chapters start first; unknown ones before all."""
    for old in cache_dir.glob(f"{path.stem}-*.json"):
        try:
            return float(json.loads(old.read_text(encoding="utf-8"))["seconds"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return float("inf")
