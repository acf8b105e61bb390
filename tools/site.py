"""What looking at the built site needs: the pages, a server on this machine, and a browser that may go nowhere else."""

from __future__ import annotations

import functools
import gzip
import http.server
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

from tools.build import SITE


def pages() -> list[str]:
    """Addresses of the pages a reader opens, relative to the site's root."""
    found = sorted(p.relative_to(SITE).as_posix() for p in SITE.rglob("*.html"))
    return [p for p in found if not p.startswith(("_static/", "_sources/")) and p != "index.html"]


POLICY = (
    "default-src 'self'; script-src 'self' 'sha256-FCKNsYydxWQNdz/yEIF+bNBRokFI9npyxgPAtL1qrTM='; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'"
)
"""The Content-Security-Policy of the finished site; the hash is that of the script that chooses the colours."""


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files under the policy, and says nothing of it."""

    def log_message(self, *_):
        pass

    def end_headers(self):
        self.send_header("Content-Security-Policy", POLICY)
        super().end_headers()


class _Server(http.server.ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        """Say nothing when a browser hangs up in the middle of a file; anything else is an error of ours."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def served(handler=Quiet):
    """Serve the site on a free port of this machine, each request by `handler`; yields its address."""
    handler = functools.partial(handler, directory=SITE)
    with _Server(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@contextmanager
def opened(browser, address, *, theme="light", width=1200, before=""):
    """Open a page in a fresh context, so with an empty cache.

    Yields the page and a record: its ``requests``, the ``foreign`` (all refused) and ``failed`` ones, and ``errors``.
    """
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
    record = {"requests": [], "foreign": [], "failed": [], "errors": []}
    host = address.split("/")[2]

    def decide(route):
        url = route.request.url
        if url.startswith("data:") or url.split("/")[2] == host:
            record["requests"].append(url)
            route.continue_()
        else:
            record["foreign"].append(url)
            route.abort()

    context.route("**/*", decide)
    context.add_init_script(f"localStorage.mode = localStorage.theme = '{theme}'; {before}")
    page = context.new_page()
    page.on("console", lambda m: m.type == "error" and record["errors"].append(m.text))
    page.on("pageerror", lambda e: record["errors"].append(str(e)))
    page.on("response", lambda r: r.status >= 400 and record["failed"].append(r.url))
    try:
        page.goto(address, wait_until="load")
        yield page, record
    finally:
        context.close()


COMPRESSIBLE = {".html", ".css", ".js", ".svg", ".json", ".txt", ".xml"}


@functools.cache
def transferred(path: str) -> int:
    """Bytes of one file of the site over the wire: gzipped where a server would do so."""
    data = (SITE / path).read_bytes()
    return len(gzip.compress(data, 6)) if Path(path).suffix in COMPRESSIBLE else len(data)


def weight(requests: list[str], base: str, cached: frozenset[str] = frozenset()) -> tuple[int, frozenset[str]]:
    """Bytes that these requests transfer, and the files they leave in the cache."""
    files = {url.removeprefix(base).split("?")[0].split("#")[0] for url in requests if url.startswith(base)}
    return sum(transferred(f) for f in files - cached), frozenset(files | cached)
