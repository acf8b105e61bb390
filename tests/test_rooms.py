"""Who may import whom: the rooms of `helpers`, read from the imports themselves, and how light an import stays."""

import ast
import re
import subprocess
import sys
from dataclasses import dataclass, field

import pytest

from tools.chapter import ROOT

HELPERS = ROOT / "helpers"
LONGEST_MODULE = 300
SLOW = frozenset({"torchvision", "d2l", "pandas", "sklearn"})
"""Packages that are slow to import; a module imports them inside the function that needs them."""
ONLY_INSIDE = SLOW | {"ipywidgets", "IPython", "PIL", "tqdm", "requests", "datasets", "transformers"}
"""Packages that are imported inside a function, if at all: slow ones, and ones that not every machine has."""


@dataclass(frozen=True)
class Room:
    """Modules that belong together, the packages they may import, and the other rooms they may enter."""

    modules: frozenset[str]
    packages: frozenset[str] = frozenset()
    doors: frozenset[str] = frozenset()
    inside: frozenset[str] = field(default_factory=frozenset)


def room(modules, packages="", doors="", inside=""):
    """A `Room` from words; `inside` names what only functions may import, packages as well as rooms."""
    return Room(*(frozenset(words.split()) for words in (modules, packages, doors, inside)))


ROOMS = {
    "style": room("style", "matplotlib cycler", "", "IPython matplotlib_inline"),
    "runtime": room("runtime", "torch numpy"),
    "expect": room("expect", "torch"),
    "check": room("check check_words glue", "torch", "", "IPython style"),
    "data": room(
        "corpus data data_sets data_sources download loading text toy toy_classes",
        "torch numpy",
        "expect",
        "torchvision sklearn filelock platformdirs tqdm",
    ),
    "calculus": room(
        "activations backprop batches cheatsheets conv_arithmetic convolution curvature initialization losses "
        "optim_maps optim_paths optim_rules optim_surfaces piecewise recurrence residual resnet schedules surfaces "
        "tables",
        "torch",
        "expect",
    ),
    "graph": room("graph graph_drawing graph_layout graph_steps graph_svg", "", "style"),
    "training": room(
        "training run engine checkpoint diagnose early_stopping failures history lr_finder meter progress",
        "torch numpy accelerate",
        "runtime calculus expect",
        "tqdm pandas plotting",
    ),
    "plotting": room("plotting plotting_training", "matplotlib numpy torch", "style calculus training"),
    "explore": room(
        "convolution_explorer explore explore_controls explore_encode explore_page playground",
        "matplotlib numpy torch",
        "style svg plotting calculus",
        "ipywidgets PIL contourpy py_mini_racer",
    ),
    "svg": room("svg svg_path", "", "style"),
    "shapes": room("shapes", "torch matplotlib", "style"),
    "d2l": room("d2l_compat", "", "", "d2l IPython matplotlib_inline"),
}
TRAINERS = frozenset({"training", "run", "engine"})
"""The modules of the training room that train; drawing may know its results, not these."""

MODULES = sorted(path.stem for path in HELPERS.glob("*.py") if path.stem != "__init__")


def imports(source, *, package="helpers"):
    """What `source` imports as (name, inside a function?): ``helpers.x`` for modules of the package, else the package.

    Imports under ``if TYPE_CHECKING:`` never run, and do not count.
    """
    found = set()

    def visit(node, inside):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and ast.unparse(child.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}:
                for other in child.orelse:
                    visit(other, inside)
            elif isinstance(child, ast.Import):
                found.update((_short(alias.name, package), inside) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                base = ".".join(filter(None, [package if child.level else "", child.module]))
                if base == package:
                    found.update((f"{package}.{alias.name}", inside) for alias in child.names)
                else:
                    found.add((_short(base, package), inside))
            else:
                visit(child, inside or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda))

    visit(ast.parse(source), False)
    return {(name, inside) for name, inside in found if name not in sys.stdlib_module_names}


def _short(name, package):
    parts = name.split(".")
    return ".".join(parts[:2]) if parts[0] == package and len(parts) > 1 else parts[0]


def trespasses(module, source):
    """What `module` imports and may not, in sentences."""
    name, mine = next((name, room) for name, room in ROOMS.items() if module in room.modules)
    said = []
    for imported, inside in sorted(imports(source)):
        package, _, other = imported.partition(".")
        if package != "helpers":
            allowed = mine.packages - ONLY_INSIDE | (mine.inside if inside else set())
            where = "" if inside or package not in mine.inside else " outside a function"
            if package not in allowed:
                said.append(f"helpers/{module}.py imports {package}{where}; the room {name!r} may not")
            continue
        target = next((key for key, room in ROOMS.items() if other in room.modules), None)
        doors = mine.doors | {name} | (mine.inside if inside else set())
        if target not in doors:
            said.append(f"helpers/{module}.py imports helpers.{other}, of the room {target!r}; {name!r} may not")
        elif name == "plotting" and other in TRAINERS:
            said.append(f"helpers/{module}.py imports helpers.{other}: drawing never trains")
    return said


@pytest.mark.parametrize("module", MODULES)
def test_every_module_has_a_room(module):
    rooms = [name for name, room in ROOMS.items() if module in room.modules]
    assert len(rooms) == 1, f"put helpers/{module}.py into one room of ROOMS, and say there what it may import"


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_what_its_room_may(module):
    said = trespasses(module, (HELPERS / f"{module}.py").read_text(encoding="utf-8"))
    assert not said, "\n".join(said)


@pytest.mark.parametrize(
    ("module", "source", "words"),
    [
        ("backprop", "import numpy", "imports numpy; the room 'calculus'"),
        ("backprop", "from helpers.explore import Explore", "imports helpers.explore"),
        ("backprop", "from helpers import plotting", "imports helpers.plotting"),
        ("backprop", "from . import style", "imports helpers.style"),
        ("plotting", "from helpers.training import fit", "drawing never trains"),
        ("plotting", "def f():\n    from helpers import explore", "imports helpers.explore"),
        ("data", "import torchvision", "imports torchvision outside a function"),
        ("data", "class A:\n    import sklearn.datasets", "imports sklearn outside a function"),
        ("explore", "import ipywidgets", "imports ipywidgets outside a function"),
        ("training", "from helpers import plotting", "imports helpers.plotting"),
        ("graph", "try:\n    import torch\nexcept ImportError:\n    torch = None", "imports torch"),
    ],
)
def test_a_trespass_is_seen(module, source, words):
    said = trespasses(module, source)
    assert len(said) == 1
    assert words in said[0]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("data", "def load():\n    import torchvision"),
        ("history", "def plot():\n    from helpers import plotting_training"),
        ("history", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import pandas"),
        ("plotting", "from helpers.history import History"),
        ("explore", "from . import style"),
    ],
)
def test_what_is_allowed_is_let_pass(module, source):
    assert trespasses(module, source) == []


def test_nothing_imports_explore():
    family = ROOMS["explore"].modules
    for module in MODULES:
        found = {name for name, _ in imports((HELPERS / f"{module}.py").read_text(encoding="utf-8"))}
        assert module in family or not found & {f"helpers.{name}" for name in family}, module


def test_the_picture_of_the_rooms_is_this_table():
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    text = text.replace('graph_["graph"]', "graph")  # Mermaid knows the bare word as a command
    drawn = set(re.findall(r"^    (\w+) (-->|-\.->) (\w+)$", text, re.MULTILINE))
    meant = {(name, "-->", door) for name, room in ROOMS.items() for door in room.doors}
    meant |= {(name, "-.->", door) for name, room in ROOMS.items() for door in room.inside & ROOMS.keys() - {name}}
    assert drawn == meant
    assert set(re.findall(r"`(\w+)` \(", text.split("The rooms are:")[1].split("\n")[0])) <= ROOMS.keys()


def python_files():
    """Every Python file of the project."""
    folders = ("helpers", "tools", "tests", "benchmarks", "book/_ext")
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


@pytest.mark.parametrize("path", python_files(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_star_import(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    stars = [node.lineno for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.names[0].name == "*"]
    assert not stars, f"import the names that are used, line {stars}"


@pytest.mark.parametrize(
    "path", [p for p in python_files() if "tests" not in p.parts], ids=lambda path: path.relative_to(ROOT).as_posix()
)
def test_a_module_that_passes_300_lines_is_two_modules(path):
    count = len(path.read_text(encoding="utf-8").splitlines())
    assert count <= LONGEST_MODULE, f"{path.name} has {count} lines"


def test_the_package_re_exports_nothing():
    assert imports((HELPERS / "__init__.py").read_text(encoding="utf-8")) == set()


def test_the_package_knows_neither_tools_nor_tests():
    for module in MODULES:
        names = {name for name, _ in imports((HELPERS / f"{module}.py").read_text(encoding="utf-8"))}
        assert not names & {"tools", "tests", "benchmarks"}, module


def slow_after(*names):
    """The slow packages that a fresh interpreter holds after importing `names`."""
    code = f"import sys, {', '.join(names)}; print(*sys.modules.keys() & {set(SLOW)!r})"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return set(run.stdout.split())


def test_importing_helpers_stays_light():
    """All modules at once, since starting an interpreter costs seconds; the one to blame is looked for only then."""
    names = [f"helpers.{module}" for module in MODULES]
    if slow_after(*names):
        blame = {name: slow for name in names if (slow := slow_after(name))}
        pytest.fail(f"imported although slow: {blame}")


def test_a_slow_import_would_be_noticed():
    assert "sklearn" in slow_after("helpers.style", "sklearn")
