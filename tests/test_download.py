import errno
import gzip
import hashlib
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from local_server import idx, serving

from helpers import download
from helpers.download import DataUnavailable

CONTENT = b"1,2\n3,4\n" * 500
SHA = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server():
    with serving() as server:
        server.files["table.gz"] = gzip.compress(CONTENT)
        server.files["other.gz"] = gzip.compress(b"something else")
        yield server


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(download, "PAUSES", (0.0, 0.0, 0.0))


def fetch(*urls, digest=SHA):
    return download.fetch(urls, digest=digest)


class TestSettings:
    def test_mode_follows_the_environment(self, monkeypatch):
        monkeypatch.delenv("BOOK_DATA", raising=False)
        assert download.mode() == "auto"
        monkeypatch.setenv("BOOK_DATA", "embedded")
        assert download.mode() == "embedded"
        assert download.mode("full") == "full"

    def test_bad_book_data_names_the_value_and_the_choices(self, monkeypatch):
        monkeypatch.setenv("BOOK_DATA", "embeded")
        expected = "BOOK_DATA is 'embeded', but must be 'embedded', 'auto' or 'full' (did you mean 'embedded'?)"
        with pytest.raises(ValueError, match=re.escape(expected)):
            download.mode()

    def test_bad_argument_is_called_mode(self):
        with pytest.raises(ValueError, match=r"^mode is 'no'"):
            download.mode("no")

    def test_folder(self, monkeypatch, tmp_path):
        monkeypatch.setenv("BOOK_DATA_DIR", str(tmp_path))
        assert download.folder() == tmp_path
        assert download.folder("elsewhere") == Path("elsewhere")
        monkeypatch.delenv("BOOK_DATA_DIR")
        assert "deep-learning-worked-out" in str(download.folder())


class TestReadIdx:
    @given(st.lists(st.integers(0, 5), min_size=1, max_size=4), st.integers(0, 99))
    @settings(max_examples=30, deadline=None)
    def test_reads_what_was_written(self, tmp_path_factory, shape, seed):
        array = np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)
        path = tmp_path_factory.mktemp("idx") / "file"
        path.write_bytes(idx(array))
        np.testing.assert_array_equal(download.read_idx(path), array)

    @pytest.mark.parametrize("cut", [0, 3, 4, 9, 15, 16, 17, 99])
    def test_a_truncated_file_is_refused_wherever_it_ends(self, tmp_path, cut):
        path = tmp_path / "images"
        path.write_bytes(idx(np.ones((3, 5, 6)))[:cut])
        with pytest.raises(DataUnavailable, match=r"images is damaged .*: delete it and run again"):
            download.read_idx(path)

    def test_a_file_that_is_too_long_is_refused(self, tmp_path):
        path = tmp_path / "images"
        path.write_bytes(idx(np.ones(7)) + b"x")
        with pytest.raises(DataUnavailable, match="promises 15 bytes, it has 16"):
            download.read_idx(path)

    def test_missing(self, tmp_path):
        with pytest.raises(DataUnavailable, match="does not exist"):
            download.read_idx(tmp_path / "nothing")

    def test_unreadable(self, tmp_path):
        with pytest.raises(DataUnavailable, match=r"cannot be read \(Is a directory\)"):
            download.read_idx(tmp_path)


class TestFetch:
    def test_good(self, server):
        assert fetch(server.url + "table.gz") == CONTENT
        assert server.hits["table.gz"] == 1

    def test_the_hash_may_be_that_of_the_packed_file(self, server):
        digest = hashlib.sha256(server.files["table.gz"]).hexdigest()
        assert download.fetch([server.url + "table.gz"], digest=digest, packed=True) == CONTENT
        with pytest.raises(DataUnavailable, match="its sha256 differs"):
            download.fetch([server.url + "table.gz"], digest=digest)

    @pytest.mark.parametrize("fault", [500, 503, "short", "junk"])
    def test_a_passing_fault_is_tried_again(self, server, fault):
        server.faults["table.gz"] = [fault]
        assert fetch(server.url + "table.gz") == CONTENT
        assert server.hits["table.gz"] == 2

    @pytest.mark.parametrize(
        ("fault", "said"),
        [
            (503, "answered 503 Service Unavailable"),
            ("short", r"broke off after \d+ bytes"),
            ("junk", "sent a damaged gzip file"),
        ],
    )
    def test_a_fault_that_stays_is_named(self, server, fault, said):
        server.faults["table.gz"] = [fault] * 9
        with pytest.raises(DataUnavailable, match=said):
            fetch(server.url + "table.gz")
        assert server.hits["table.gz"] == 3

    def test_not_found_is_not_tried_again(self, server):
        with pytest.raises(DataUnavailable, match=r"gone\.gz answered 404 Not Found"):
            fetch(server.url + "gone.gz")
        assert server.hits["gone.gz"] == 1

    def test_wrong_hash(self, server):
        with pytest.raises(DataUnavailable, match=r"other\.gz holds other data than expected \(its sha256 differs\)"):
            fetch(server.url + "other.gz")

    def test_the_next_mirror_is_asked(self, server):
        urls = [server.url + name for name in ("gone.gz", "other.gz", "table.gz")]
        assert fetch(*urls) == CONTENT

    def test_all_reasons_are_given(self, server):
        with pytest.raises(DataUnavailable, match=r"gone\.gz answered 404 Not Found; .*other\.gz holds other data"):
            fetch(server.url + "gone.gz", server.url + "other.gz")

    def test_no_network(self, monkeypatch):
        asked = []

        def unresolved(host, *args, **kwargs):
            asked.append(host)
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        monkeypatch.setattr(socket, "getaddrinfo", unresolved)
        with pytest.raises(DataUnavailable, match=r"^no network \(data\.example cannot be found\)$"):
            fetch("http://data.example/table.gz")
        assert asked == ["data.example"]

    def test_nobody_listens(self):
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            port = unused.getsockname()[1]
        with pytest.raises(DataUnavailable, match=r"cannot be reached \(Connection refused\)"):
            fetch(f"http://127.0.0.1:{port}/table.gz")

    def test_no_answer(self, server, monkeypatch):
        monkeypatch.setattr(download, "TIMEOUT", 0.2)
        server.faults["table.gz"] = ["hang"] * 3
        with pytest.raises(DataUnavailable, match=r"did not answer within 0\.2 s"):
            fetch(server.url + "table.gz")

    def test_a_mistake_of_ours_is_not_taken_for_a_fault_of_the_network(self, monkeypatch):
        def broken(*args, **kwargs):
            raise KeyError("a bug")

        monkeypatch.setattr(urllib.request, "urlopen", broken)
        with pytest.raises(KeyError):
            fetch("http://127.0.0.1/table.gz")


class TestWrite:
    def test_writes_and_replaces(self, tmp_path):
        path = tmp_path / "file"
        for content in (b"old", b"new"):
            download.write_atomically(path, content)
            assert path.read_bytes() == content
        assert [p.name for p in tmp_path.iterdir()] == ["file"]

    @pytest.mark.parametrize("step", ["fsync", "replace"])
    def test_a_failure_keeps_the_old_file_and_leaves_nothing(self, tmp_path, monkeypatch, step):
        path = tmp_path / "file"
        path.write_bytes(b"old")

        def full(*args):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, step, full)
        with pytest.raises(OSError, match="No space left"):
            download.write_atomically(path, b"new")
        assert path.read_bytes() == b"old"
        assert [p.name for p in tmp_path.iterdir()] == ["file"]

    def test_only_old_leftovers_are_cleared_away(self, tmp_path):
        killed, running = tmp_path / ".file.a.tmp", tmp_path / ".file.b.tmp"
        killed.write_bytes(b"")
        running.write_bytes(b"")
        os.utime(killed, (time.time() - 4000,) * 2)
        download.write_atomically(tmp_path / "file", b"")
        assert not killed.exists()
        assert running.exists()


class TestWriting:
    @pytest.mark.parametrize(
        ("number", "said"),
        [
            (errno.ENOSPC, r"the disk that holds .* is full: free some space .*, or set BOOK_DATA_DIR"),
            (errno.EROFS, r"cannot be written \(Read-only file system\): make it .*, or set BOOK_DATA_DIR"),
            (errno.EACCES, r"cannot be written \(Permission denied\): make it .*, or set BOOK_DATA_DIR"),
        ],
    )
    def test_disk_faults_become_sentences(self, tmp_path, number, said):
        with pytest.raises(DataUnavailable, match=said), download.writing(tmp_path):
            raise OSError(number, os.strerror(number))

    def test_a_file_where_the_folder_should_be(self, tmp_path):
        (tmp_path / "file").write_bytes(b"")
        with pytest.raises(DataUnavailable, match="cannot be written"), download.writing(tmp_path / "file" / "data"):
            pass

    def test_another_process_that_never_ends(self, tmp_path, monkeypatch):
        filelock = pytest.importorskip("filelock")

        def busy(self, timeout):
            raise filelock.Timeout(self.lock_file)

        monkeypatch.setattr(filelock.FileLock, "acquire", busy)
        with pytest.raises(DataUnavailable, match=r"another process has been writing .*: end it first"):
            download.writing(tmp_path).__enter__()

    def test_a_drive_that_cannot_lock_is_used_without(self, tmp_path, monkeypatch):
        filelock = pytest.importorskip("filelock")

        def unsupported(self, timeout):
            raise NotImplementedError

        monkeypatch.setattr(filelock.FileLock, "acquire", unsupported)
        with download.writing(tmp_path):
            download.write_atomically(tmp_path / "file", b"x")
        assert (tmp_path / "file").read_bytes() == b"x"


WORKER = """
import sys
from pathlib import Path
from helpers import download
where, url, digest = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
with download.writing(where):
    if not (where / "table").exists():
        download.write_atomically(
            where / "table", download.fetch([url], digest=digest)
        )
print((where / "table").stat().st_size)
"""


def worker(where, server):
    command = [sys.executable, "-c", WORKER, str(where), server.url + "table.gz", SHA]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1])


def test_two_processes_at_once_download_once(server, tmp_path):
    server.faults["table.gz"] = ["slow"]
    both = [worker(tmp_path, server) for _ in range(2)]
    assert [int(process.communicate(timeout=60)[0]) for process in both] == [len(CONTENT)] * 2
    assert server.hits["table.gz"] == 1


def test_a_killed_download_leaves_nothing_that_looks_complete(server, tmp_path):
    server.faults["table.gz"] = ["hang"]
    first = worker(tmp_path, server)
    assert server.hanging.wait(60)
    first.kill()
    first.communicate()
    assert not (tmp_path / "table").exists()
    second = worker(tmp_path, server)  # nor does the dead process hold the lock
    assert int(second.communicate(timeout=60)[0]) == len(CONTENT)
