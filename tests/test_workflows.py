"""The workflows: they parse, ask for little, pin what they use, and call only what the project has."""

import re

import pytest
import yaml

from tools.chapter import ROOT

FILES = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
WRITES = {
    ("deploy.yml", "colab"): {"contents": "write"},
    ("deploy.yml", "deploy"): {"pages": "write", "id-token": "write"},
}
"""The only jobs that may change anything, and what."""

files = pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)


def load(path):
    """The workflow in `path`; YAML 1.1 reads its key `on` as true."""
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    workflow["on"] = workflow.pop(True)
    return workflow


def jobs(path):
    """The jobs of a workflow."""
    return load(path)["jobs"].items()


def commands(path):
    """Every shell command of a workflow."""
    return [step["run"] for _, job in jobs(path) for step in job.get("steps", []) if "run" in step]


def make_targets():
    """The targets that the Makefile defines."""
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z][\w-]*):(?!=)", text, re.MULTILINE))


def test_the_three_workflows_are_there():
    assert [path.name for path in FILES] == ["deploy.yml", "test.yml", "weekly.yml"]


@files
def test_permissions_are_the_least_that_do(path):
    assert load(path)["permissions"] == {"contents": "read"}
    for name, job in jobs(path):
        assert job.get("permissions") == WRITES.get((path.name, name)), f"{name} asks for more or less than it needs"


@files
def test_no_workflow_runs_a_strangers_code_with_our_rights(path):
    assert not {"pull_request_target", "workflow_run", "issue_comment"} & set(load(path)["on"])
    for command in commands(path):
        assert "${{" not in command, f"pass values to the shell through env, not into its text: {command}"


@files
def test_every_action_is_pinned_to_a_commit_and_says_its_version(path):
    lines = re.findall(r"uses: (.+)", path.read_text(encoding="utf-8"))
    for line in (line for line in lines if not line.startswith("./")):
        assert re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line), line


def test_an_action_has_one_pin_everywhere():
    pins = {}
    for path in FILES:
        for action, pin in re.findall(r"uses: ([\w/-]+)@(.+)", path.read_text(encoding="utf-8")):
            pins.setdefault(action, set()).add(pin)
    assert pins
    assert {action: found for action, found in pins.items() if len(found) > 1} == {}


@files
def test_no_checkout_leaves_its_token_behind(path):
    for _, job in jobs(path):
        for step in job.get("steps", []):
            if "checkout" in step.get("uses", ""):
                assert step["with"]["persist-credentials"] is False


@files
def test_runs_end_and_do_not_pile_up(path):
    workflow = load(path)
    assert workflow["concurrency"]["group"]
    for name, job in jobs(path):
        if str(job.get("uses", "")).startswith("./"):
            assert (ROOT / job["uses"]).is_file()
        else:
            assert 0 < job["timeout-minutes"] <= 60, name


def test_a_called_workflow_does_not_wait_for_its_caller():
    """With one concurrency group for both, the run would wait for itself and be cancelled."""
    assert load(ROOT / ".github/workflows/test.yml")["concurrency"]["group"].startswith("test-")
    assert load(ROOT / ".github/workflows/deploy.yml")["concurrency"]["group"] == "deploy"


@files
def test_every_make_target_and_tool_exists(path):
    for command in commands(path):
        for target in re.findall(r"\bmake ((?:[a-z][\w-]* ?)+)", command):
            assert set(target.split()) <= make_targets(), command
        for module in re.findall(r"-m (tools[.\w]*)", command):
            assert (ROOT / (module.replace(".", "/") + ".py")).is_file(), command
        for file in re.findall(r"-r (\S+)", command):
            assert (ROOT / file).is_file(), command


def test_what_is_promised_is_tested():
    matrix = {name: job["strategy"]["matrix"] for name, job in jobs(ROOT / ".github/workflows/test.yml")}
    systems = {system for found in matrix.values() for system in found["os"]}
    assert systems == {"ubuntu-latest", "macos-latest", "windows-latest"}
    oldest = re.search(r'requires-python = ">=([\d.]+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"))[1]
    assert all(found["python"] == [oldest, "3.13"] for found in matrix.values())


def test_nothing_is_published_untested_and_buttons_work_before_the_page_appears():
    deploy = dict(jobs(ROOT / ".github/workflows/deploy.yml"))
    assert deploy["test"]["uses"] == "./.github/workflows/test.yml"
    assert [deploy[name]["needs"] for name in ("build", "colab", "deploy")] == ["test", "build", "colab"]
    assert "workflow_call" in load(ROOT / ".github/workflows/test.yml")["on"]


def test_every_command_that_contributing_names_exists():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\bmake ([a-z]+)\b(?=[`\s])", "\n".join(re.findall(r"`[^`]*`|```.*?```", text, re.DOTALL))))
    assert named
    assert named <= make_targets()
    for path in re.findall(r"`((?:book|notebooks|helpers|tests|tools|benchmarks)/[\w./-]+\.\w+)`", text):
        assert (ROOT / path).exists() or path == "notebooks/28_attention.ipynb", path
