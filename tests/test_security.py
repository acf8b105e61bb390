"""What must never be in the book's code and pages: code made of data, unpacking by name, downloads without a hash."""

import ast
import base64
import hashlib
import re
import sys
import tomllib
from functools import cache

import pytest

from helpers import data_sources
from tools.chapter import ROOT, callee, find, read
from tools.site import POLICY, SITE, pages

sys.path.insert(0, str(ROOT / "book" / "_ext"))
import book_scripts

CODE = ("helpers", "tools", "book/_ext", "benchmarks", "conftest.py")
FORBIDDEN = {
    "eval": "runs what a string says",
    "exec": "runs what a string says",
    "os.system": "runs what a string says in a shell",
    "os.popen": "runs what a string says in a shell",
    "pickle.load": "runs code that the file brings along",
    "pickle.loads": "runs code that the file brings along",
    "pickle.Unpickler": "runs code that the file brings along",
    "joblib.load": "runs code that the file brings along",
    "pd.read_pickle": "runs code that the file brings along",
    "yaml.load": "builds any object; there is yaml.safe_load",
    ".extractall": "writes where the archive says",
    ".extract": "writes where the archive says",
    ".unpack_archive": "writes where the archive says",
    "tempfile.mktemp": "names a file that somebody else may make first",
    "hub.load": "runs code that a server sends",
    "torch.hub.load": "runs code that a server sends",
}
STARTING = {f"subprocess.{name}" for name in ("run", "call", "check_call", "check_output", "Popen")}
ALLOWED = {
    ("helpers/losses.py", "exec"): "runs the lines of the table of losses, which are constants in the same file",
    ("notebooks/01_tensors_and_autograd.ipynb", "eval"): "shows lines that stand in the cell next to their results",
    ("notebooks/12_linear_regression.ipynb", "eval"): "shows lines that stand in the cell next to their results",
}
"""Where one of them is right, and why: what is run is a constant of the book, never anything that was read."""


@cache
def sources():
    """Every piece of the book's own code as (where, syntax tree)."""
    found = []
    for name in CODE:
        paths = [ROOT / name] if name.endswith(".py") else sorted((ROOT / name).rglob("*.py"))
        found += [(path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(encoding="utf-8"))) for path in paths]
    for path in find([]):
        trees = [cell.tree for cell in read(path).code]
        found += [(path.relative_to(ROOT).as_posix(), tree) for tree in trees if tree is not None]
    return found


def calls(tree):
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call)]


def constant(call, name):
    """The value of a keyword if it is written out, else None."""
    found = [k.value for k in call.keywords if k.arg == name]
    return found[0].value if found and isinstance(found[0], ast.Constant) else None


def offences(where, tree):
    """What `tree` calls that it must not."""
    for call in calls(tree):
        name = callee(call)
        if "." not in name and not isinstance(call.func, ast.Name):  # a method of something without a name
            name = "." + name
        shell = constant(call, "shell") or (name in STARTING and call.args and _is_text(call.args[0]))
        pickled = constant(call, "allow_pickle") or constant(call, "weights_only") is False
        loads = name == "torch.load" and constant(call, "weights_only") is not True
        method = "." + name.rpartition(".")[2]
        if name in FORBIDDEN or method in FORBIDDEN or shell or pickled or loads:
            yield where, name


def _is_text(node):
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def test_no_code_is_made_of_data_and_nothing_is_unpacked_by_its_own_word():
    found = {offence for where, tree in sources() for offence in offences(where, tree)}
    assert found - ALLOWED.keys() == set(), "see FORBIDDEN in this file for what is wrong with it"
    assert ALLOWED.keys() - found == set(), "an exception that nothing needs any more"


@pytest.mark.parametrize(
    "code",
    [
        "eval(text)", "torch.load(path)", "torch.load(path, weights_only=False)", "np.load(p, allow_pickle=True)",
        "subprocess.run('ls', shell=True)", "subprocess.run(f'ls {x}')", "archive.extractall(folder)",
        "tarfile.open(p).extract(m)", "pickle.load(file)",
    ],
)  # fmt: skip
def test_each_is_found(code):
    assert list(offences("here", ast.parse(code)))


@pytest.mark.parametrize("code", ["model.eval()", "torch.load(p, weights_only=True)", "subprocess.run(['ls'])"])
def test_and_nothing_else(code):
    assert list(offences("here", ast.parse(code))) == []


def test_only_one_function_downloads_and_it_is_given_a_hash():
    opened = {
        where for where, tree in sources() for call in calls(tree) if callee(call).endswith(("urlopen", "urlretrieve"))
    }
    assert opened == {"helpers/download.py"}
    fetched = [(where, call) for where, tree in sources() for call in calls(tree) if callee(call) == "download.fetch"]
    assert fetched
    for where, call in fetched:
        given = [ast.unparse(k.value) for k in call.keywords if k.arg == "digest"]
        assert given, where
        assert where == "helpers/data_sources.py"
    images = [f"{kind.folder}/{name}.gz" for kind in data_sources.IMAGES.values() for name in data_sources._files()]
    assert set(images) < set(data_sources.SHA256)
    for name, digest in data_sources.SHA256.items():
        assert re.fullmatch(r"[0-9a-f]{64}", digest), name
    assert len(set(data_sources.SHA256.values())) == len(data_sources.SHA256)


def test_the_package_asks_for_its_packages_from_the_index_alone():
    """No dependency by address, neither here nor in the lock file, where every version is exact."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    named = project["project"]["dependencies"] + project["build-system"]["requires"]
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    locked = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
    assert all("==" in line for line in locked if not line.startswith(" "))
    assert [line for line in [*named, *locked] if re.search(r"@ |://|^-", line)] == []


def test_the_policy_that_is_tested_is_the_one_that_is_recommended():
    assert f"Content-Security-Policy: {POLICY}\n" in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


@pytest.mark.site
@pytest.mark.usefixtures("built_site")
def test_pages_run_no_script_that_the_policy_forbids():
    """One script in a page, no handler in an attribute, no address that is code. test_site.py opens them under it."""
    wrong = []
    for page in pages():
        text = (SITE / page).read_text(encoding="utf-8")
        for attributes, code in re.findall(r"<script\b([^>]*)>(.*?)</script>", text, re.DOTALL):
            digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
            if code.strip() and 'type="application/json"' not in attributes and f"'sha256-{digest}'" not in POLICY:
                wrong.append(f"{page}: {code.strip()[:80]}, sha256-{digest}")
        wrong += [f"{page}: {tag[:80]}" for tag in re.findall(r"<[a-z][^<>]*\son[a-z]+=[^<>]*>", text)]
        wrong += [
            f"{page}: {link[:80]}" for link in re.findall(r'(?:href|src|action)="(?:javascript|vbscript):[^"]*"', text)
        ]
    assert wrong == []


def test_scripts_of_a_page_move_to_files_in_their_order(tmp_path):
    kept = '<script data-cfasync="false">mode = 1</script>', '<script type="application/json">{"a": 1}</script>'
    page = (
        f'{kept[0]}<script>first = 1</script>\n<script src="../_static/documentation_options.js"></script>\n'
        "<script>let toggleHint = 'show';</script><script>DOCUMENTATION_OPTIONS.pagename = 'a';</script>\n"
        '<script src="../_static/toggle.js"></script><script>var toggleWhat = 1;</script><script></script>\n'
        f"{kept[1]}<script>let toggleHint = 'show';</script>"
    )
    text = book_scripts.into_files(page, tmp_path)
    assert book_scripts.PATTERN.findall(text) == []
    assert all(part in text for part in kept)
    called = re.findall(r'src="\.\./_static/([^"]+)"', text)
    read_back = [(tmp_path / name).read_text() if name.startswith("page-") else name for name in called]
    assert read_back == [
        "first = 1\n", "documentation_options.js", "let toggleHint = 'show';\nvar toggleWhat = 1;\n", "toggle.js"
    ]  # fmt: skip
    assert book_scripts.into_files(text, tmp_path) == text
