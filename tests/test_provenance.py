"""A page says truly which versions, machine, day and commit its numbers come from."""

import importlib.metadata
import subprocess

import pytest

from tools import provenance


def git(folder, *arguments):
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path, monkeypatch):
    monkeypatch.delenv("BOOK_COMMIT", raising=False)
    git(tmp_path, "init", "-q")
    (tmp_path / "file").write_text("1")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "-q", "-m", "first")
    return tmp_path


def test_the_commit_is_named_and_whether_the_files_differ(repository, monkeypatch):
    clean = provenance.commit(repository)
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=repository, capture_output=True, text=True, check=True)
    assert len(clean) == 9
    assert head.stdout.startswith(clean)
    (repository / "file").write_text("2")
    assert provenance.commit(repository) == f"{clean} with changes"
    monkeypatch.setenv("BOOK_COMMIT", "0123456789abcdef")
    assert provenance.commit(repository) == "012345678"


def test_without_a_repository_or_git_there_is_no_commit(tmp_path, monkeypatch):
    monkeypatch.delenv("BOOK_COMMIT", raising=False)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert provenance.commit(tmp_path) == ""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert provenance.commit(tmp_path) == ""


def test_the_processor_has_a_name_on_every_system(tmp_path):
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\nmodel name\t: Fast One 3000\nmodel name\t: other\n")
    assert provenance.processor(info) == "Fast One 3000"
    assert provenance.processor(tmp_path / "absent")


def test_a_run_names_what_is_installed():
    run = provenance.of_this_run()
    assert f"PyTorch {importlib.metadata.version('torch')}" in run["versions"]
    assert "core" in run["machine"]
    assert provenance.sentence(run | {"commit": ""}).endswith(").")
