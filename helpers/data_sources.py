"""Where the sets of :mod:`helpers.data` come from: the real ones from public addresses, the small ones from disk."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from . import download
from .data_sets import ImageSet, NameSet, TableSet
from .download import DataUnavailable


class Images(NamedTuple):
    """What is known of an image set before it is read."""

    title: str
    folder: str  # also the name of torchvision's class, which knows the addresses
    classes: tuple[str, ...]
    source: str
    licence: str


# fmt: off
CLOTHES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
# fmt: on
IMAGES = {
    "fashion-mnist": Images(
        title="Fashion-MNIST",
        folder="FashionMNIST",
        classes=CLOTHES,
        source="Xiao, Rasul and Vollgraf 2017, arXiv:1708.07747",
        licence="MIT",
    ),
    "mnist": Images(
        title="MNIST",
        folder="MNIST",
        classes=tuple("0123456789"),
        source="LeCun, Bottou, Bengio and Haffner 1998, Proc. IEEE 86",
        licence="CC BY-SA 3.0",
    ),
}
WHOLE = (60_000, 10_000)
"""Training and test images of the complete sets."""

TABLE_URLS = tuple(
    f"https://raw.githubusercontent.com/hunkim/PyTorchZeroToAll/{revision}/data/{{file}}.gz"
    for revision in ("8440894e621e3922a394da25b4a0806bdabee21c", "master")
)
SHA256 = {
    "diabetes.csv": "89e33de71cd5afdcd4fe8a722b60c4d69eb8f9b96446cea9347d735ff2df395e",
    "names_train.csv": "4191ee011883cbb1ee9d166c1f062e5b3cf0f80518db76f8a8ee44fd07359066",
    "names_test.csv": "2452a4f9a26f0a1c0029ed8fc9006f764a7b87d9c5bec8e604183105ae4a6f8e",
    "FashionMNIST/train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    "FashionMNIST/train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    "FashionMNIST/t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    "FashionMNIST/t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    "MNIST/train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "MNIST/train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "MNIST/t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "MNIST/t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}
"""Hashes of the packed files of images, and of the unpacked tables with \\n line ends."""

_UNSTATED = "no licence stated; downloaded, never shipped"
_PIMA = "pregnancies,glucose,blood pressure,skin fold,insulin,body-mass index,pedigree,age"


def real_images(wanted: Sequence[Images], where: Path, *, whole: bool) -> ImageSet:
    """Read the first of the sets that is on disk; else download the first that can be had.

    Raises
    ------
    DataUnavailable
        If there is none; with `whole`, also if it is only a part of the set.
    """
    reasons = []
    for kind in wanted:
        try:
            return _read_images(kind, where, whole=whole)
        except DataUnavailable as error:
            if all((where / kind.folder / "raw" / name).exists() for name in _files()):
                reasons.append(str(error))  # something is wrong with what is there; a download may mend it
    for kind in wanted:
        try:
            _download_images(kind, where / kind.folder / "raw")
            return _read_images(kind, where, whole=whole)
        except DataUnavailable as error:
            reasons.append(str(error))
    raise DataUnavailable("; ".join(dict.fromkeys(reasons)))


def _read_images(kind: Images, where: Path, *, whole: bool) -> ImageSet:
    raw = where / kind.folder / "raw"
    images, labels, images_test, labels_test = (download.read_idx(raw / name) for name in _files())
    for x, y in ((images, labels), (images_test, labels_test)):
        if x.ndim != 3 or y.shape != x.shape[:1] or not len(y) or y.max() >= len(kind.classes):
            raise DataUnavailable(
                f"the images and labels in {raw} do not belong together: delete the folder and run again"
            )
    if whole and (len(images), len(images_test)) != WHOLE:
        raise DataUnavailable(
            f"{raw} has {len(images):,} + {len(images_test):,} images, not all {WHOLE[0]:,} + {WHOLE[1]:,}: "
            "move it elsewhere and run again"
        )
    return ImageSet(
        *_scaled(images, labels, 255),
        *_scaled(images_test, labels_test, 255),
        classes=kind.classes,
        name=kind.title,
        source=kind.source,
        licence=kind.licence,
    )


def _files() -> tuple[str, ...]:
    return tuple(f"{part}-{what}-ubyte" for part in ("train", "t10k") for what in ("images-idx3", "labels-idx1"))


def _scaled(images: np.ndarray, labels: np.ndarray, top: int) -> tuple[Tensor, Tensor]:
    X = np.divide(images, top, dtype=np.float32)[:, None]  # (n, 1, H, W)
    return torch.from_numpy(X), torch.from_numpy(labels.astype(np.int64))


def _download_images(kind: Images, raw: Path) -> None:
    """Complete the four files of a set, from the mirrors that torchvision knows; its hashes are MD5, so not enough."""
    try:
        from torchvision import datasets
    except ImportError as error:
        raise DataUnavailable(
            f"{kind.title} is downloaded from where torchvision says: pip install torchvision"
        ) from error
    known = getattr(datasets, kind.folder)
    with download.writing(raw):
        for name in _files():
            try:
                download.read_idx(raw / name)
            except DataUnavailable:  # missing or damaged
                urls, digest = [f"{mirror}{name}.gz" for mirror in known.mirrors], SHA256[f"{kind.folder}/{name}.gz"]
                download.write_atomically(raw / name, download.fetch(urls, digest=digest, packed=True))


def digits() -> ImageSet:
    """scikit-learn's 1,797 handwritten digits of 8 x 8 pixels, a fifth of each class for the test."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    X, y = _scaled(bunch.images, bunch.target, 16)
    test = _every_fifth(y)
    return ImageSet(
        X[~test],
        y[~test],
        X[test],
        y[test],
        classes=tuple("0123456789"),
        name="Digits",
        source="Alpaydin and Kaynak 1998, UCI",
        licence="CC BY 4.0",
    )


def _every_fifth(y: Tensor) -> Tensor:
    """Choose a fifth of each class at random, always the same; shape (n,), bool."""
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))
    order = order[y[order].argsort(stable=True)]  # by class, at random within a class
    chosen = torch.zeros(len(y), dtype=torch.bool)
    chosen[order[::5]] = True
    return chosen


def diabetes(where: Path) -> TableSet:
    """The diabetes table, from disk or from its public address."""
    values = np.loadtxt(io.StringIO(_table(where, "diabetes.csv")), delimiter=",", dtype=np.float32)
    return TableSet(
        torch.from_numpy(values[:, :-1].copy()),
        torch.from_numpy(values[:, -1].astype(np.int64)),
        features=tuple(_PIMA.split(",")),
        classes=("diabetes", "no diabetes"),
        name="Pima Indians diabetes",
        source="Smith et al. 1988",
        licence=_UNSTATED,
    )


def breast_cancer() -> TableSet:
    """scikit-learn's breast-cancer table, scaled to -1 ... 1."""
    from sklearn.datasets import load_breast_cancer

    bunch = load_breast_cancer()
    low, high = bunch.data.min(0), bunch.data.max(0)
    return TableSet(
        torch.from_numpy((2 * (bunch.data - low) / (high - low) - 1).astype(np.float32)),
        torch.from_numpy(bunch.target.astype(np.int64)),
        features=tuple(map(str, bunch.feature_names)),
        classes=tuple(map(str, bunch.target_names)),
        name="Breast cancer Wisconsin",
        source="Wolberg, Mangasarian, Street and Street 1993, UCI",
        licence="CC BY 4.0",
    )


def _table(where: Path, file: str) -> str:
    """The text of a table that has the right hash, downloaded where it is missing or damaged."""
    path = where / file
    if not _is_right(path):
        with download.writing(where):
            if not _is_right(path):  # nobody else was faster
                urls = [url.format(file=file) for url in TABLE_URLS]
                content = download.fetch(urls, digest=SHA256[file], normalise=_unix_lines)
                download.write_atomically(path, content)
    return path.read_text("utf-8")


def _is_right(path: Path) -> bool:
    try:
        return hashlib.sha256(_unix_lines(path.read_bytes())).hexdigest() == SHA256[path.name]
    except OSError:
        return False


def _unix_lines(content: bytes) -> bytes:
    return content.replace(b"\r\n", b"\n")


def names(where: Path) -> NameSet:
    """The 20,000 surnames, from disk or from their public address."""
    train, test = (_pairs(_table(where, f"names_{part}.csv")) for part in ("train", "test"))
    return _names(train, test, name="Surnames", source="github.com/hunkim/PyTorchZeroToAll", licence=_UNSTATED)


def shipped_names() -> NameSet:
    """The surnames that ship with the book, a fifth of each language for the test."""
    pairs = _pairs((Path(__file__).parent / "assets" / "names.csv").read_text("utf-8"))[1:]
    languages = sorted({language for _, language in pairs})
    test = _every_fifth(torch.tensor([languages.index(language) for _, language in pairs])).tolist()
    parts = ([pair for pair, chosen in zip(pairs, test, strict=True) if chosen is part] for part in (False, True))
    return _names(*parts, name="Surnames (small)", source="typed for this book", licence="MIT")


def _pairs(text: str) -> list[list[str]]:
    return [row for row in csv.reader(io.StringIO(text)) if row]


def _names(train: list[list[str]], test: list[list[str]], **about: str) -> NameSet:
    languages = tuple(sorted({language for _, language in train}))
    number = {language: i for i, language in enumerate(languages)}
    columns = []
    for part in (train, test):
        columns += [tuple(name for name, _ in part), torch.tensor([number[language] for _, language in part])]
    return NameSet(*columns, languages=languages, **about)
