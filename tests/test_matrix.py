"""``make matrix``: which combinations there are, how each is installed, and what the table and the exit status say."""

import re
import sys
import tomllib

import pytest
import yaml

from tools import matrix
from tools.chapter import ROOT

UV = ["uv"]


@pytest.fixture
def suite(monkeypatch, tmp_path):
    """Run ``python -m tools.matrix`` with stand-ins: `failing` steps by their command, Pythons that are `missing`."""

    def run(*arguments, failing="nothing", missing=()):
        called = []

        def call(command, log, env):
            called.append((command, env))
            if command[1:2] == ["venv"]:
                (interpreter := tmp_path / command[-1] / "bin" / "python").parent.mkdir(parents=True)
                interpreter.touch()
            print(f"== {len(called)} passed ==", file=log, flush=True)
            if failing in " ".join(command):
                raise matrix.StepFailed("no such release")

        monkeypatch.setattr(matrix, "_call", call)
        monkeypatch.setattr(matrix, "versions", lambda interpreter: {"torch": "2.6.0+" + interpreter.parts[-3]})
        monkeypatch.setattr(matrix, "uv_command", lambda: UV)
        monkeypatch.setattr(
            matrix, "find_python", lambda version, uv: None if version in missing else f"python{version}"
        )
        return matrix.main([*arguments, "--folder", str(tmp_path)]), called

    return run


def test_the_cube_is_complete_and_named():
    names = [combination.name for combination in matrix.COMBINATIONS]
    assert len(set(names)) == len(names) == 3 * 3 * 2
    assert {"py311-lowest", "py312-locked-d2l1", "py313-highest"} <= set(names)
    oldest = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["requires-python"]
    assert oldest == f">={matrix.PYTHONS[0]}"


def test_a_name_may_have_dots_and_an_unknown_one_is_answered_with_all(suite, capsys):
    assert [combination.name for combination in matrix.choose(["py3.12-lowest"])] == ["py312-lowest"]
    status, called = suite("--only", "py312-oldest")
    assert (status, called) == (2, [])
    assert "no combination is called py312-oldest" in (said := capsys.readouterr().err)
    assert "py312-lowest\n" in said


WHEELS = "--only-binary :all: --no-binary deep-learning-worked-out"


@pytest.mark.parametrize(
    ("name", "installed"),
    [
        ("py311-lowest", [f"--resolution lowest-direct {WHEELS} -r requirements.txt"]),
        ("py312-highest", [f"--resolution highest {WHEELS} -r requirements.txt"]),
        ("py313-locked-d2l1", ["-r requirements.lock", "--no-deps -e .", "--no-deps d2l==1.0.3"]),
    ],
)
def test_how_a_combination_is_installed(name, installed, tmp_path):
    (combination,) = matrix.choose([name])
    first, *steps = matrix.install_steps(combination, "the-python", tmp_path, UV)
    assert first == ["uv", "venv", "--quiet", "--clear", "--seed", "--python", "the-python", str(tmp_path)]
    assert [" ".join(step) for step in steps] == [
        f"uv pip install --quiet --python {tmp_path} {it}" for it in installed
    ]


def test_the_suite_is_that_of_make_test_without_the_site():
    arguments = matrix.suite(2)
    of_test = (ROOT / "tools" / "test.py").read_text(encoding="utf-8")
    assert all(f'"{path}"' in of_test for path in matrix.PATHS)
    assert arguments[arguments.index("-m") + 1].startswith("not site")


def test_it_goes_on_after_a_failure_and_the_status_says_so(suite, tmp_path, capsys):
    status, called = suite("--only", "py311-lowest", "py311-highest", failing="lowest-direct")
    assert status == 1
    assert sum("pytest" in command for command, _ in called) == 1
    rows = capsys.readouterr().out.split("\n\n")[-1].splitlines()
    assert [row.split()[:2] for row in rows[1:]] == [["py311-lowest", "failed"], ["py311-highest", "passed"]]
    assert rows[1].endswith("no such release")
    assert "2.6.0+py311-highest" in rows[2]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["py311-highest.log", "py311-lowest.log"]


def test_the_tests_run_inside_the_environment(suite, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "somewhere")
    status, called = suite("--only", "py311-highest", "--keep")
    command, env = called[-1]
    assert status == 0
    inside = tmp_path / "py311-highest" / "bin"
    assert command[:3] == [str(inside / "python"), "-m", "pytest"]
    assert env["PATH"].startswith(str(inside))
    assert env["BOOK_DATA"] == "embedded"
    assert "PYTHONPATH" not in env
    assert (tmp_path / "py311-highest").is_dir()


def test_a_missing_python_is_left_out_loudly(suite, capsys):
    status, _ = suite("--only", "py311-locked", "py313-locked", missing=["3.13"])
    said = capsys.readouterr()
    assert status == 0
    assert re.search(r"py313-locked +LEFT OUT .* Python 3.13 is not installed", said.out)
    assert "NOT TESTED, because it is not installed: Python 3.13" in said.err
    assert suite("--only", "py313-locked", missing=["3.13"])[0] == 1  # nothing ran at all


@pytest.mark.skipif(sys.platform == "win32", reason="pyenv lays its Pythons out in another way there")
def test_a_python_that_nobody_has_is_not_found(monkeypatch, tmp_path):
    uv = [sys.executable, "-c", "print('nowhere')"]
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    here = "{}.{}".format(*sys.version_info)
    (tmp_path / "versions" / f"{here}.99" / "bin").mkdir(parents=True)
    (tmp_path / "versions" / f"{here}.99" / "bin" / "python3").symlink_to(sys.executable)
    assert matrix.find_python(here, uv) == str(tmp_path / "versions" / f"{here}.99" / "bin" / "python3")
    assert matrix.find_python("3.10", uv) is None


def test_the_workflow_runs_every_combination():
    jobs = yaml.safe_load((ROOT / ".github/workflows/weekly.yml").read_text(encoding="utf-8"))["jobs"]
    axes = jobs["matrix"]["strategy"]["matrix"]
    names = {f"py{p}-{r}{d}" for p in axes["python"] for r in axes["releases"] for d in axes["d2l"]}
    assert {combination.name for combination in matrix.choose(sorted(names))} == {
        combination.name for combination in matrix.COMBINATIONS
    }


def bounds(lines):
    """The lower bound of each requirement."""
    found = (re.match(r"([\w-]+)>=([\d.]+)", line) for line in lines)
    return {match[1]: match[2] for match in found if match}


def test_both_lists_of_requirements_agree():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["name"] == matrix.PROJECT
    package = bounds(project["dependencies"])
    book = bounds((ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines())
    assert set(package) - set(book) == {"numpy"}  # it comes with the package itself, the first line of the book's list
    assert {name: bound for name, bound in package.items() if name in book} == {
        name: book[name] for name in set(package) & set(book)
    }


def test_versions_are_asked_of_the_environment_itself(monkeypatch):
    monkeypatch.setattr(matrix, "SHOWN", ("pytest",))
    assert matrix.versions(sys.executable) == {"pytest": pytest.__version__}
