"""``make serve``: serve the book on this machine and rebuild the page that is being edited."""

from __future__ import annotations

import argparse
import sys

from tools.build import ROOT, build

WATCHED = ("book", "notebooks", "helpers")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8000)
    port = parser.parse_args().port
    if build():
        return 1
    from livereload import Server  # here: it is needed only when the first build succeeded

    server = Server()
    for folder in WATCHED:
        server.watch(str(ROOT / folder), lambda: build(quiet=True), delay=1)
    server.serve(port=port, root=str(ROOT / "_build" / "html"), host="127.0.0.1")
    return 0


if __name__ == "__main__":
    sys.exit(main())
