"""Checkpoints that are complete or absent, and everything that decides how a run goes on.

A checkpoint is written to a temporary file in the same folder, flushed to the disk and renamed over the old one
(`os.replace` is atomic), so that a crash at any moment leaves the old or the new checkpoint, never half of one.
It holds only tensors and plain Python values and is read with ``weights_only=True``: opening a checkpoint that came
from somebody else cannot run their code.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

FORMAT = 1


@dataclass(frozen=True)
class Checkpoint:
    """Where and how often `helpers.training.fit` saves.

    Parameters
    ----------
    path : str or Path
        The file. Its folder is made if need be.
    every : int, optional
        Save after every so many optimizer steps too; by default only after each epoch.

    Raises
    ------
    ValueError
        If `every` is not positive.

    Examples
    --------
    >>> Checkpoint("runs/lenet.pt", every=500)
    Checkpoint(path='runs/lenet.pt', every=500)
    """

    path: str | Path
    every: int | None = None

    def __post_init__(self) -> None:
        """Check `every`."""
        if self.every is not None and (not isinstance(self.every, int) or self.every < 1):
            raise ValueError(f"every counts optimizer steps between checkpoints and is at least 1, not {self.every}")


def save(state: dict, path: str | Path) -> None:
    """Write `state` to `path` atomically.

    Parameters
    ----------
    state : dict
        Tensors and plain Python values, nested in dictionaries, lists and tuples.
    path : str or Path
        Replaced as a whole once the new content is on the disk.

    Raises
    ------
    OSError
        If it cannot be written; the old file is then untouched.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save({"w": torch.tensor([1.0, 2.0])}, f"{folder}/run.pt")
    ...     load(f"{folder}/run.pt")
    {'w': tensor([1., 2.])}
    """
    path = Path(path)
    temporary = _temporary(path)
    try:
        with temporary.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
        temporary.unlink(missing_ok=True)
        if isinstance(error, RuntimeError) and not _is_write_failure(error):
            raise
        raise OSError(
            f"the checkpoint {path} could not be written ({error}). Free some space or choose another place; "
            "the checkpoint written before, if there is one, is still whole."
        ) from error
    _flush_folder(path.parent)


def load(path: str | Path) -> dict:
    """Read what `save` wrote, onto the CPU.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is not a checkpoint, is damaged, or holds more than tensors and plain values.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no checkpoint at {path}")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises half a dozen types here: zip, pickle, EOF, key, runtime errors
        raise ValueError(
            f"{path} cannot be read as a checkpoint: it is damaged, or was not written by helpers.checkpoint "
            f"({type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no details'})"
        ) from error


def load_weights(model: nn.Module, path: str | Path, *, best: bool = True) -> nn.Module:
    """Put the weights of a checkpoint into `model`, to predict with it.

    Parameters
    ----------
    model : torch.nn.Module
        Of the same architecture as the saved one. Changed in place.
    path : str or Path
    best : bool
        Take the best weights if the run had early stopping; ``False`` takes the latest.

    Returns
    -------
    torch.nn.Module
        `model` itself.

    Raises
    ------
    ValueError
        If the checkpoint belongs to a model of another shape.
    """
    state = load(path)
    weights = (state.get("stopping") or {}).get("weights") if best else None
    restore_model(model, weights or state["model"], path)
    return model


def restore_model(model: nn.Module, weights: dict, path: str | Path) -> None:
    """Load `weights` into `model`, with one clear sentence if they do not fit."""
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        details = " ".join(str(error).split())
        raise ValueError(f"the checkpoint {path} was written by a model of another architecture: {details}") from error


def ensure_writable(path: str | Path) -> None:
    """Make the folder of `path` and check that a checkpoint can be written there: before training, not an hour later.

    Raises
    ------
    OSError
        If the folder cannot be made or written to, or `path` is a folder.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _temporary(path).write_bytes(b"")
        _temporary(path).unlink()
        if path.is_dir():
            raise IsADirectoryError(f"{path} is a folder; name a file in it, such as {path / 'run.pt'}")
    except OSError as error:
        raise type(error)(f"checkpoints cannot be written to {path}: {error}") from error


def rng_state() -> dict:
    """Return the state of every global random generator: Python's, NumPy's, PyTorch's on CPU and GPUs."""
    version, numbers, spare = random.getstate()
    kind, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)  # noqa: NPY002 - a reader's code uses it
    state = {
        "python": (version, torch.tensor(numbers), spare),
        "numpy": (kind, torch.from_numpy(keys.astype(np.int64)), position, has_gauss, gauss),
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        state["cuda"] = torch.cuda.get_rng_state_all()
    if torch.backends.mps.is_available():
        state["mps"] = torch.mps.get_rng_state()
    return state


def set_rng_state(state: dict) -> None:
    """Put the global random generators back into a state that `rng_state` returned."""
    version, numbers, spare = state["python"]
    random.setstate((version, tuple(numbers.tolist()), spare))
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002
    torch.set_rng_state(state["torch"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])
    if "mps" in state and torch.backends.mps.is_available():
        torch.mps.set_rng_state(state["mps"])


def _sources(*loaders: Iterable | None) -> tuple[list[torch.Generator], list]:
    """Find what decides the order in which `loaders` give their examples: generators, and samplers with a state."""
    generators: dict[int, torch.Generator] = {}
    samplers: dict[int, object] = {}
    for loader in loaders:
        batch_sampler = getattr(loader, "batch_sampler", None)
        owners = (getattr(loader, "sampler", None), batch_sampler, getattr(batch_sampler, "sampler", None))
        for owner in (loader, *owners):
            generator = getattr(owner, "generator", None)
            if isinstance(generator, torch.Generator):
                generators[id(generator)] = generator
            if owner is not loader and hasattr(owner, "state_dict") and hasattr(owner, "load_state_dict"):
                samplers[id(owner)] = owner
    return list(generators.values()), list(samplers.values())


def random_state(*loaders: Iterable | None) -> dict:
    """Return all randomness that a run depends on: the global generators, and the state of the loaders' order."""
    generators, samplers = _sources(*loaders)
    return {
        "global": rng_state(),
        "generators": [generator.get_state() for generator in generators],
        "samplers": [sampler.state_dict() for sampler in samplers],
    }


def set_random_state(state: dict, *loaders: Iterable | None) -> None:
    """Put back what `random_state` returned.

    Raises
    ------
    ValueError
        If the loaders are made otherwise than those that the state was taken from.
    """
    generators, samplers = _sources(*loaders)
    if (len(generators), len(samplers)) != (len(state["generators"]), len(state["samplers"])):
        raise ValueError("the checkpoint comes from a run with other data loaders: build them as for that run")
    set_rng_state(state["global"])
    for generator, saved in zip(generators, state["generators"], strict=True):
        generator.set_state(saved)
    for sampler, saved in zip(samplers, state["samplers"], strict=True):
        sampler.load_state_dict(saved)


def restart_order(*loaders: Iterable | None) -> None:
    """Let the loaders begin again with the order of their first epoch."""
    generators, samplers = _sources(*loaders)
    for generator in generators:
        generator.manual_seed(generator.initial_seed())
    for sampler in samplers:
        if hasattr(sampler, "set_epoch"):
            sampler.set_epoch(0)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.tmp")


def _is_write_failure(error: RuntimeError) -> bool:
    return any(part in str(error) for part in ("PytorchStreamWriter", "enforce fail", "unexpected pos"))


def _flush_folder(folder: Path) -> None:
    """Make the rename itself durable, where the system can (Windows cannot open a folder)."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
