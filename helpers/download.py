"""Where data files lie, and how they get there: hashed, retried, atomic, safe with two processes at once.

A file has its name only once it is complete and checked. It is written under a temporary name in the same folder and
renamed (`os.replace`, which is atomic), so whatever interrupts a download leaves no file that could be taken for whole.
"""

from __future__ import annotations

import contextlib
import difflib
import errno
import gzip
import hashlib
import http.client
import math
import os
import socket
import ssl
import tempfile
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

MODES = ("embedded", "auto", "full")
TIMEOUT = 20.0
"""Seconds without an answer after which an attempt counts as failed."""
PAUSES = (0.0, 1.0, 3.0)
"""Seconds to wait before each attempt; its length is the number of attempts."""

_PERMANENT = {400, 401, 403, 404, 410, 451}  # statuses that the same request will get again


class DataUnavailable(RuntimeError):
    """A real data set cannot be had here; the message says why, and what to do."""


def mode(value: str | None = None) -> str:
    """Where data may come from: `value`, else the environment variable ``BOOK_DATA``, else ``"auto"``.

    ``embedded`` uses only what is installed (no network, no disk), ``auto`` prefers the real set and falls back,
    ``full`` insists on the real set.

    Raises
    ------
    ValueError
        If the value is none of the three.

    Examples
    --------
    >>> mode("full")
    'full'
    """
    chosen = value if value is not None else os.environ.get("BOOK_DATA") or "auto"
    if chosen not in MODES:
        name = "BOOK_DATA" if value is None else "mode"
        raise ValueError(f"{name} is {chosen!r}, but must be {one_of(MODES, chosen)}")
    return chosen


def one_of(choices: Sequence[str], given: str) -> str:
    """List the valid choices, and the one that was probably meant.

    >>> one_of(("auto", "full"), "ful")
    "'auto' or 'full' (did you mean 'full'?)"
    """
    close = difflib.get_close_matches(str(given), choices, n=1)
    listed = ", ".join(map(repr, choices[:-1])) + f" or {choices[-1]!r}"
    return listed + (f" (did you mean {close[0]!r}?)" if close else "")


def folder(root: str | os.PathLike | None = None) -> Path:
    """The folder that holds data files: `root`, else ``BOOK_DATA_DIR``, else the user's cache folder.

    The cache folder is the platform's own: ``~/.cache/deep-learning-worked-out`` on Linux (or under
    ``XDG_CACHE_HOME``), ``~/Library/Caches/...`` on macOS, ``%LOCALAPPDATA%\\...\\Cache`` on Windows.

    Examples
    --------
    >>> folder("somewhere").name
    'somewhere'
    """
    chosen = root if root is not None else os.environ.get("BOOK_DATA_DIR")
    if chosen:
        return Path(chosen).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("deep-learning-worked-out", appauthor=False)


def read_idx(path: Path) -> np.ndarray:
    """Read an IDX file of bytes, the format of MNIST.

    Two zero bytes, 0x08 for unsigned bytes, the number of axes, the length of each axis as a big-endian 32-bit
    number, then the data. Format: Y. LeCun, C. Cortes, C. Burges, *The MNIST database of handwritten digits*.

    Returns
    -------
    numpy.ndarray
        uint8, of the shape that the header gives.

    Raises
    ------
    DataUnavailable
        If the file is missing, is no IDX file, or is not as long as its header says.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise DataUnavailable(f"{path} does not exist") from None
    except OSError as error:
        raise DataUnavailable(f"{path} cannot be read ({error.strerror}): check its permissions") from error
    if len(data) < 4 or data[:3] != b"\0\0\x08":
        raise DataUnavailable(
            f"{path} is damaged (it does not begin like an IDX file of bytes): delete it and run again"
        )
    start = 4 + 4 * data[3]
    shape = np.frombuffer(data[4:start].ljust(start - 4, b"\0"), ">u4").tolist()
    promised = start + math.prod(shape)
    if len(data) != promised:
        raise DataUnavailable(
            f"{path} is damaged (its header promises {promised:,} bytes, it has {len(data):,}): delete it and run again"
        )
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def fetch(
    urls: Sequence[str], *, digest: str, packed: bool = False, normalise: Callable[[bytes], bytes] = bytes
) -> bytes:
    """Download a gzip file and unpack it in memory; give it back only if its hash is right.

    Parameters
    ----------
    urls : sequence of str
        Addresses of the same file, tried in turn. Each is tried again after a passing fault (a broken connection,
        a damaged file, a server error), never after a lasting one (not found, no such host).
    digest : str
        SHA-256 of `normalise` applied to the unpacked content, or of the compressed file if `packed`.

    Returns
    -------
    bytes
        The unpacked content.

    Raises
    ------
    DataUnavailable
        If no address gave the right content; the message gives the reason of each.
    """
    alive, reasons = list(urls), {}
    for pause in PAUSES:
        time.sleep(pause)
        for url in tuple(alive):
            try:
                content = _unpacked(_download(url), digest, packed, normalise)
                if content is not None:
                    return content
                reasons[url] = f"{url} holds other data than expected (its sha256 differs)"
            except (OSError, EOFError, zlib.error, http.client.HTTPException) as error:
                reasons[url], lasting = _reason(url, error)
                if lasting:
                    alive.remove(url)
        if not alive:
            break
    raise DataUnavailable("; ".join(reasons.values()))


def _unpacked(file: bytes, digest: str, packed: bool, normalise: Callable[[bytes], bytes]) -> bytes | None:
    """The content of a gzip file, or None if its hash is another one; as `fetch`."""
    if packed and hashlib.sha256(file).hexdigest() != digest:
        return None
    content = gzip.decompress(file)
    return content if packed or hashlib.sha256(normalise(content)).hexdigest() == digest else None


def _download(url: str) -> bytes:
    """The bytes behind an address, with a progress bar where there is much to come."""
    from tqdm.auto import tqdm

    request = urllib.request.Request(url, headers={"User-Agent": "deep-learning-worked-out"})
    with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
        total = int(response.headers.get("Content-Length") or 0)
        parts, name = [], url.rpartition("/")[2]
        with tqdm(total=total or None, unit="B", unit_scale=True, desc=name, leave=False, disable=total < 1e6) as bar:
            while part := response.read(1 << 16):
                parts.append(part)
                bar.update(len(part))
    data = b"".join(parts)
    if len(data) < total:
        raise http.client.IncompleteRead(data, total - len(data))
    return data


def _reason(url: str, error: Exception) -> tuple[str, bool]:
    """Say in words why a download failed, and whether trying again is pointless."""
    if isinstance(error, urllib.error.HTTPError):
        return f"{url} answered {error.code} {error.reason}", error.code in _PERMANENT
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, socket.gaierror):
        return f"no network ({url.split('/')[2]} cannot be found)", True
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"the certificate of {url.split('/')[2]} cannot be checked (update your system's certificates)", True
    if isinstance(cause, TimeoutError):
        return f"{url} did not answer within {TIMEOUT:g} s", False
    if isinstance(cause, http.client.IncompleteRead):
        return f"{url} broke off after {len(cause.partial):,} bytes", False
    if isinstance(cause, (gzip.BadGzipFile, EOFError, zlib.error)):
        return f"{url} sent a damaged gzip file", False
    return f"{url} cannot be reached ({getattr(cause, 'strerror', None) or cause})", False


@contextlib.contextmanager
def writing(directory: Path) -> Iterator[None]:
    """Hold the folder for this process alone, and turn disk faults into sentences.

    Creates the folder. A second process waits here; when its turn comes the files are there.

    Raises
    ------
    DataUnavailable
        If the folder cannot be written, its disk is full, or another process holds it for 15 minutes.
    """
    import filelock

    try:
        directory.mkdir(parents=True, exist_ok=True)
        try:
            held = filelock.FileLock(directory / ".lock").acquire(timeout=900)
        except NotImplementedError:  # some network drives cannot lock; the renames are atomic without it, too
            held = contextlib.nullcontext()
        with held:
            yield
    except filelock.Timeout:
        raise DataUnavailable(f"another process has been writing to {directory} for 15 minutes: end it first") from None
    except OSError as error:
        if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
            what = f"the disk that holds {directory} is full: free some space (200 MB are enough)"
        else:
            what = f"{directory} cannot be written ({error.strerror or error}): make it a writable folder"
        raise DataUnavailable(f"{what}, or set BOOK_DATA_DIR to a folder elsewhere") from error


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that it is either there in full or not there at all, whatever happens meanwhile.

    Raises
    ------
    OSError
        As the file system says; then nothing is left behind.
    """
    for stray in path.parent.glob(f".{path.name}.*.tmp"):
        if time.time() - stray.stat().st_mtime > 3600:  # left by a process that was killed
            stray.unlink(missing_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
