"""The machine under the notebook: its device, the precision that suits it, its seeds, its versions."""

from __future__ import annotations

import os
import platform
import random

import numpy as np
import torch

_CHOICES = "cpu, cuda, cuda:0, cuda:1, ..., mps, or auto"


def set_seed(seed: int) -> None:
    """Seed Python's `random`, NumPy's global generator and PyTorch on every device.

    Two runs with one seed agree on one machine with the same versions; different devices draw different numbers.

    Parameters
    ----------
    seed : int
        From 0 to 2**32 - 1, the range that NumPy accepts.

    Raises
    ------
    TypeError, ValueError
        If `seed` is not such an integer.

    Examples
    --------
    >>> set_seed(0)
    >>> first = torch.rand(2)
    >>> set_seed(0)
    >>> torch.equal(first, torch.rand(2))
    True
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer):
        raise TypeError(f"a seed is an integer, not {type(seed).__name__}")
    if not 0 <= seed < 2**32:
        raise ValueError(f"a seed lies between 0 and 2**32 - 1, not {seed}")
    random.seed(int(seed))
    np.random.seed(int(seed))  # noqa: NPY002 - libraries that draw from NumPy's global generator need it
    torch.manual_seed(int(seed))  # seeds CUDA and MPS as well


def pick_device(prefer: str | torch.device | None = None) -> torch.device:
    """Choose where tensors live: a CUDA GPU if there is one, else Apple's MPS, else the CPU.

    Parameters
    ----------
    prefer : str or torch.device, optional
        A device to use in place of the best one. Without it the environment variable ``BOOK_DEVICE`` decides, and
        without that, or with ``"auto"``, the machine does.

    Raises
    ------
    ValueError
        If the wish cannot be understood, or this machine does not have that device.

    Examples
    --------
    >>> pick_device("cpu")
    device(type='cpu')
    """
    source = "prefer" if prefer is not None else "BOOK_DEVICE"
    wish = str(prefer) if prefer is not None else os.environ.get("BOOK_DEVICE", "")
    wish = wish.strip().lower()
    if wish in ("", "auto"):
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(wish)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda", "mps"):
        raise ValueError(f"{source}={wish!r} is not a device this book knows; use {_CHOICES}")
    _must_exist(device, f"{source}={wish!r}")
    return device


def _must_exist(device: torch.device, wish: str) -> None:
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ValueError(f"{wish} asks for Apple's MPS, which this machine does not offer; use cpu or auto")
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if count == 0:
            raise ValueError(f"{wish} asks for a CUDA GPU, but PyTorch {torch.__version__} sees none; use cpu or auto")
        if (device.index or 0) >= count:
            raise ValueError(f"{wish} asks for GPU number {device.index}, but there are {count}, counted from 0")


def pick_precision(device: str | torch.device) -> str:
    """Name the mixed precision that suits a device.

    Parameters
    ----------
    device : str or torch.device

    Returns
    -------
    {"bf16", "fp16", "no"}
        ``"bf16"`` where the GPU computes in bfloat16 natively (NVIDIA from compute capability 8.0 on, Ampere and
        newer), ``"fp16"`` on older CUDA GPUs such as the T4, where gradients need loss scaling, and ``"no"`` on the
        CPU and on MPS, where it seldom pays.

    Examples
    --------
    >>> pick_precision("cpu")
    'no'
    """
    try:
        device = torch.device(device)
    except RuntimeError:
        raise ValueError(f"device {str(device)!r} is not a device this book knows; use {_CHOICES}") from None
    if device.type != "cuda":
        return "no"
    _must_exist(device, f"device {str(device)!r}")
    native = torch.version.hip is not None or torch.cuda.get_device_capability(device) >= (8, 0)
    return "bf16" if native else "fp16"


def limit_threads(n: int = 2) -> int:
    """Let PyTorch use at most `n` CPU threads, and return how many it now uses.

    The networks of this book are so small that many threads spend their time waiting for each other.

    Examples
    --------
    >>> limit_threads(1)
    1
    """
    if isinstance(n, bool) or not isinstance(n, int):
        raise TypeError(f"n is a number of threads, not {type(n).__name__}")
    if n < 1:
        raise ValueError(f"at least one thread must remain, not {n}")
    torch.set_num_threads(min(n, torch.get_num_threads()))
    return torch.get_num_threads()


def report(device: str | torch.device | None = None) -> str:
    """Say in one line which versions and which device a run uses.

    Examples
    --------
    >>> report("cpu")
    'Python ... · PyTorch ... · CPU, ... thread...'
    """
    device = pick_device(device)
    versions = f"Python {platform.python_version()} · PyTorch {torch.__version__}"
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        memory = f"{properties.total_memory / 2**30:.0f} GiB"
        return f"{versions} · CUDA GPU {properties.name}, {memory}, {pick_precision(device)}"
    if device.type == "mps":
        return f"{versions} · Apple GPU (MPS)"
    threads = torch.get_num_threads()
    return f"{versions} · CPU, {threads} thread{'s' if threads > 1 else ''}"
