"""A web server on this machine that serves fixtures, and misbehaves on request; and files in the IDX format."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import http.server
import threading
from collections import Counter

import numpy as np

PARTS = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


class Server:
    """`files` maps a path to its bytes; `faults` maps a path to what happens first, each entry once.

    A fault is a status code, ``"short"`` (the connection breaks off half-way), ``"junk"`` (other bytes), ``"slow"`` (a
    pause of two seconds in the middle), or ``"hang"`` (half of the bytes, then nothing until the test ends).
    """

    def __init__(self):
        self.files: dict[str, bytes] = {}
        self.faults: dict[str, list] = {}
        self.hits: Counter[str] = Counter()
        self.hanging = threading.Event()
        self.done = threading.Event()
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                owner.answer(self)

            def log_message(self, *args):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/"

    def answer(self, request):
        path = request.path.lstrip("/")
        self.hits[path] += 1
        queue = self.faults.get(path, [])
        fault = queue.pop(0) if queue else None
        body = self.files.get(path)
        if isinstance(fault, int) or body is None:
            return request.send_error(fault if isinstance(fault, int) else 404)
        request.send_response(200)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        if fault == "junk":
            body = bytes(len(body))
        half = len(body) // 2
        if fault in ("short", "hang"):
            body = body[:half]
        if fault == "slow":
            request.wfile.write(body[:half])
            body = body[half:]
            self.done.wait(2)
        request.wfile.write(body)
        request.wfile.flush()
        if fault == "hang":
            self.hanging.set()
            self.done.wait(60)
        return None


@contextlib.contextmanager
def serving():
    server = Server()
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.done.set()
        server.http.shutdown()
        thread.join()
        server.http.server_close()


def idx(array: np.ndarray) -> bytes:
    """An array of bytes as an IDX file."""
    return b"\0\0\x08" + bytes([array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.astype(np.uint8).tobytes()


def image_files(n: int = 30, n_test: int = 10, seed: int = 0) -> dict[str, bytes]:
    """The four files of a small made-up image set."""
    random = np.random.default_rng(seed)
    arrays = []
    for size in (n, n_test):
        arrays += [random.integers(0, 256, (size, 28, 28)), random.integers(0, 10, size)]
    return dict(zip(PARTS, map(idx, arrays), strict=True))


def serve_images(server: Server, folder: str, files: dict[str, bytes]) -> dict[str, str]:
    """Put the packed files on the server; returns the SHA-256 of each by its name there."""
    digests = {}
    for name, content in files.items():
        packed = gzip.compress(content, mtime=0)
        server.files[f"{folder}/{name}.gz"] = packed
        digests[f"{folder}/{name}.gz"] = hashlib.sha256(packed).hexdigest()
    return digests
