"""What pytest needs to know about the whole project."""

import os

from hypothesis import settings

from tools import warm_kernels

settings.register_profile("book", deadline=None)  # a busy machine is slow, and that is no fault of the code
settings.load_profile("book")


def pytest_configure(config):
    """Let the kernels of nbval begin with PyTorch imported."""
    if config.getoption("nbval", False) or config.getoption("nbval_lax", False):
        warm_kernels.use(int(os.environ.get("OMP_NUM_THREADS", "1")))


def pytest_collection_modifyitems(items):
    """Prepare the cells of the notebooks, and begin with the longest files when several processes share the work."""
    for item in items:
        _let_nbval_compare(item)
    items.sort(key=lambda item: not item.path.name.startswith("test_site"))


def _let_nbval_compare(item):
    """Let nbval compare the worked numbers that the notebooks keep.

    The notebooks store no execution counts, so that a diff shows only what was changed. nbval takes a cell without a
    count for one that was never run, and refuses to compare what it printed; here such a cell gets a count, in memory.
    """
    cell = getattr(item, "cell", None)
    if cell is not None and cell.get("outputs") and cell.get("execution_count") is None:
        cell["execution_count"] = 1
