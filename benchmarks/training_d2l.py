"""One more peer of `benchmarks.training`: the `Trainer` of d2l 1, from a folder of its own beside the installed 0.17.

d2l 1.0.3 pins a numpy of 2022 and has the same name as the version that the book uses, so it is never installed:

    pip install --no-deps --target DIR d2l==1.0.3
    D2L_1_FOLDER=DIR python -m benchmarks.training
"""

from __future__ import annotations

import functools
import importlib.util
import os
import sys
from importlib.metadata import distributions
from pathlib import Path
from types import ModuleType

PACKAGE = "d2l-1"
"""What this peer is called in `--only` and in the list of versions."""
VARIABLE = "D2L_1_FOLDER"
HINT = f"pip install --no-deps --target DIR d2l==1.0.3, then set {VARIABLE}=DIR"


def installed() -> str | None:
    """Return the version in the folder that the variable names, or None where it is not set."""
    folder = os.environ.get(VARIABLE)
    if not folder:
        return None
    found = [d.version for d in distributions(name="d2l", path=[folder])]
    if not (found and found[0].startswith("1.") and (Path(folder) / "d2l" / "torch.py").is_file()):
        raise ImportError(f"{VARIABLE}={folder} holds {found or 'no d2l'}, expected d2l 1: {HINT}")
    return found[0]


@functools.cache
def load() -> ModuleType:
    """Import d2l 1 under a name of its own; `d2l` and `d2l.torch` stay what they are."""
    if installed() is None:
        raise ImportError(f"d2l 1 is not here: {HINT}")
    spec = importlib.util.spec_from_file_location("d2l_1_torch", Path(os.environ[VARIABLE]) / "d2l" / "torch.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its classes look for each other there while it is read
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[spec.name]
        raise
    return module


def trainer(model, train, valid, lr, device):
    """`d2l.Trainer.fit` of version 1, with the loss, the accuracy and the plotting board of `d2l.Classifier`.

    Its `FashionMNIST` builds the same data set and loader as `own_loaders`, but for a `Resize` to the size that the
    images have already and four worker processes, which one thread leaves out.
    """
    d2l = load()

    class Images(d2l.DataModule):
        def __init__(self, train, valid):
            super().__init__(num_workers=0)
            self.save_hyperparameters()

        def get_dataloader(self, train):
            return self.train if train else self.valid

    class Network(d2l.Classifier):
        def __init__(self, net, lr):
            super().__init__()
            self.save_hyperparameters()

    fitted = Network(model, lr)
    d2l.Trainer(max_epochs=1, num_gpus=int(device == "cuda")).fit(fitted, Images(train, valid))
    d2l.plt.close("all")
    return fitted
