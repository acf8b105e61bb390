import builtins
import csv
import errno
import gzip
import hashlib
import os
import re
import socket
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from local_server import PARTS, idx, image_files, serve_images, serving
from torch.testing import assert_close

from helpers import data, data_sources, download
from helpers.data import DataUnavailable

SHARED = Path(__file__).parents[2] / "shared" / "data"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the real data files are not beside this checkout")


@pytest.fixture(autouse=True)
def clean_settings(monkeypatch, tmp_path):
    """No test touches the network or the user's own folder."""
    monkeypatch.delenv("BOOK_DATA", raising=False)
    monkeypatch.setenv("BOOK_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setattr(download, "PAUSES", (0.0, 0.0))
    resolve = socket.getaddrinfo

    def only_this_machine(host, *args, **kwargs):
        if host != "127.0.0.1":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return resolve(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", only_this_machine)


@pytest.fixture
def server():
    with serving() as server:
        yield server


@pytest.fixture
def web(server, monkeypatch):
    """A small MNIST, a small Fashion-MNIST and the tables, where the code expects them on the web."""
    datasets = pytest.importorskip("torchvision.datasets")
    for folder, seed in (("MNIST", 0), ("FashionMNIST", 1)):
        known = getattr(datasets, folder)
        for name, digest in serve_images(server, folder, image_files(seed=seed)).items():
            monkeypatch.setitem(data_sources.SHA256, name, digest)
        monkeypatch.setattr(known, "mirrors", [f"{server.url}{folder}/"])
    tables = {
        "diabetes.csv": b"-1,0,1,0,0,0,0,0.5,0\n1,0,1,0,0,0,0,0.25,1\n",
        "names_train.csv": b'"Novak","Czech"\r\n"O\'Neal","Irish"\r\n"Smith","English"\r\n',
        "names_test.csv": b'"Jones","English"\r\n',
    }
    for file, content in tables.items():
        server.files[f"{file}.gz"] = gzip.compress(content)
        digest = hashlib.sha256(content.replace(b"\r\n", b"\n")).hexdigest()
        monkeypatch.setitem(data_sources.SHA256, file, digest)
    monkeypatch.setattr(data_sources, "TABLE_URLS", (server.url + "{file}.gz",))
    return server


def write_images(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


def folder_of(name="MNIST"):
    return download.folder() / name / "raw"


class TestDigits:
    def test_against_scikit_learn(self):
        from sklearn.datasets import load_digits

        images, bunch = data.load_images("digits"), load_digits()
        assert images.X.shape == (1437, 1, 8, 8)
        assert images.X_test.shape == (360, 1, 8, 8)
        assert images.X.dtype == images.X_test.dtype == torch.float32
        assert images.y.dtype == images.y_test.dtype == torch.int64
        assert images.X.min() == 0
        assert images.X.max() == 1

        def rows(X, y):
            return sorted(zip(X.reshape(len(X), 64).tolist(), y.tolist(), strict=True))

        ours = rows(torch.cat([images.X, images.X_test]), torch.cat([images.y, images.y_test]))
        assert ours == rows(bunch.images / 16, bunch.target)

    def test_the_test_part_has_a_fifth_of_each_class_and_never_changes(self):
        images, again = data.load_images("digits"), data.load_images("digits")
        share = images.y_test.bincount() / (images.y_test.bincount() + images.y.bincount())
        assert_close(share, torch.full((10,), 0.2), atol=0.006, rtol=0)
        assert torch.equal(images.X_test, again.X_test)
        assert images.y_test.tolist() != sorted(images.y_test.tolist())

    def test_embedded_gives_them_without_disk_or_network(self, monkeypatch, capsys):
        def forbidden(*args, **kwargs):
            raise AssertionError("embedded must not look outside")

        monkeypatch.setenv("BOOK_DATA", "embedded")
        monkeypatch.setattr(socket, "socket", forbidden)
        monkeypatch.setattr(download, "read_idx", forbidden)
        assert data.load_images().name == "Digits"
        assert capsys.readouterr().out == ""
        assert not download.folder().exists()


class TestImages:
    @needs_shared
    def test_the_real_sample_against_torchvision(self):
        datasets = pytest.importorskip("torchvision.datasets")
        images = data.load_images("mnist", root=SHARED / "mnist-sample")
        for train, X, y in ((True, images.X, images.y), (False, images.X_test, images.y_test)):
            oracle = datasets.MNIST(SHARED / "mnist-sample", train=train)
            assert torch.equal(X[:, 0], oracle.data.float().div(255))  # what ToTensor does
            assert torch.equal(y, oracle.targets)
        assert images.X.shape == (8000, 1, 28, 28)
        assert images.X.min() == 0
        assert images.X.max() == 1
        assert repr(images).startswith("MNIST: 8,000 training and 2,000 test images of 1 x 28 x 28, 10 classes (LeCun")

    @needs_shared
    def test_full_is_not_satisfied_with_a_sample(self):
        with pytest.raises(
            DataUnavailable, match=r"8,000 \+ 2,000 images, not all 60,000 \+ 10,000: move it elsewhere"
        ):
            data.load_images("mnist", root=SHARED / "mnist-sample", mode="full")

    def test_download_then_disk(self, web, capsys):
        images = data.load_images("mnist")
        assert web.hits.total() == 4
        again = data.load_images("mnist")
        assert web.hits.total() == 4
        oracle = pytest.importorskip("torchvision.datasets").MNIST(download.folder(), train=False)
        for loaded in (images, again):
            assert torch.equal(loaded.X_test[:, 0], oracle.data.float().div(255))
            assert torch.equal(loaded.y_test, oracle.targets)
        assert {p.name for p in folder_of().iterdir()} - {".lock"} == set(PARTS)
        assert capsys.readouterr().out == ""

    def test_auto_prefers_fashion_and_takes_what_is_on_disk(self, web):
        write_images(folder_of("MNIST"), image_files())
        assert data.load_images().name == "MNIST"
        assert web.hits.total() == 0
        assert data.load_images("fashion-mnist").classes[9] == "Ankle boot"
        assert data.load_images().name == "Fashion-MNIST"

    def test_auto_takes_mnist_where_fashion_cannot_be_had(self, web):
        for path in [path for path in web.files if path.startswith("Fashion")]:
            del web.files[path]
        assert data.load_images().name == "MNIST"

    def test_auto_without_network_gives_the_digits_and_says_so_in_one_line(self, capsys):
        pytest.importorskip("torchvision")
        assert data.load_images().name == "Digits"
        said = capsys.readouterr().out
        assert re.fullmatch(r"Fashion-MNIST is not to be had here, so you get .* digits: no network \(.*\)\.\n", said)
        assert said.count("\n") == 1

    def test_full_without_network_is_an_error(self, monkeypatch):
        pytest.importorskip("torchvision")
        monkeypatch.setenv("BOOK_DATA", "full")
        with pytest.raises(
            DataUnavailable, match=r"^Fashion-MNIST is not .* \(BOOK_DATA=auto would go on with .*\): no network"
        ):
            data.load_images()

    def test_a_set_asked_for_by_name_is_never_replaced(self, monkeypatch):
        pytest.importorskip("torchvision")
        with pytest.raises(
            DataUnavailable, match=r'^MNIST is not to be had here \(load_images\("auto"\) .*\): no network'
        ):
            data.load_images("mnist")
        monkeypatch.setenv("BOOK_DATA", "embedded")
        with pytest.raises(DataUnavailable, match="BOOK_DATA=embedded forbids to look further: set BOOK_DATA=auto"):
            data.load_images("mnist")

    def test_without_torchvision(self, monkeypatch):
        original = builtins.__import__

        def missing(name, *args, **kwargs):
            if name.startswith("torchvision"):
                raise ImportError(name)
            return original(name, *args, **kwargs)

        monkeypatch.setattr(builtins, "__import__", missing)
        with pytest.raises(DataUnavailable, match="pip install torchvision"):
            data.load_images("mnist")

    @pytest.mark.parametrize("part", PARTS)
    def test_a_truncated_file_is_replaced_by_a_download(self, web, part):
        whole = image_files()
        write_images(folder_of(), whole | {part: whole[part][:-5]})
        data.load_images("mnist")
        assert dict(web.hits) == {f"MNIST/{part}.gz": 1}
        assert (folder_of() / part).read_bytes() == whole[part]

    def test_a_truncated_file_is_named_where_no_download_mends_it(self, capsys):
        pytest.importorskip("torchvision")
        whole = image_files()
        write_images(folder_of(), whole | {PARTS[0]: whole[PARTS[0]][:1000]})
        with pytest.raises(
            DataUnavailable, match=rf"{PARTS[0]} is damaged .* it has 1,000\): delete it .*; no network"
        ):
            data.load_images("mnist")
        assert data.load_images().name == "Digits"
        assert "is damaged" in capsys.readouterr().out

    def test_an_interrupted_download_goes_on_where_it_stopped(self, web, monkeypatch):
        write = download.write_atomically

        def interrupted(path, content):
            if path.name == PARTS[2]:
                raise KeyboardInterrupt
            write(path, content)

        with monkeypatch.context() as patch:
            patch.setattr(download, "write_atomically", interrupted)
            with pytest.raises(KeyboardInterrupt):
                data.load_images("mnist")
        web.faults[f"MNIST/{PARTS[2]}.gz"] = [404]
        with pytest.raises(DataUnavailable, match="404"):  # what there is is not taken for the whole
            data.load_images("mnist")
        data.load_images("mnist")
        assert web.hits[f"MNIST/{PARTS[0]}.gz"] == 1
        assert web.hits[f"MNIST/{PARTS[2]}.gz"] == 3

    @pytest.mark.parametrize(
        "replaced",
        [
            {PARTS[1]: idx(np.zeros(29))},
            {PARTS[3]: idx(np.full(10, 11))},
            {PARTS[0]: idx(np.zeros(30))},
            {PARTS[0]: idx(np.zeros((0, 28, 28))), PARTS[1]: idx(np.zeros(0))},
        ],
    )
    def test_files_that_do_not_belong_together(self, web, replaced):
        write_images(folder_of(), image_files() | replaced)
        with pytest.raises(DataUnavailable, match="do not belong together: delete the folder and run again"):
            data.load_images("mnist")

    def test_a_changed_file_on_the_server_is_refused(self, web):
        web.files[f"MNIST/{PARTS[1]}.gz"] = gzip.compress(idx(np.zeros(30)))
        with pytest.raises(
            DataUnavailable, match=rf"{PARTS[1]}\.gz holds other data than expected \(its sha256 differs\)"
        ):
            data.load_images("mnist")
        assert not (folder_of() / PARTS[1]).exists()

    def test_not_found(self, web):
        del web.files[f"MNIST/{PARTS[0]}.gz"]
        with pytest.raises(DataUnavailable, match=r"ubyte\.gz answered 404 Not Found"):
            data.load_images("mnist")

    def test_no_space(self, web, monkeypatch, capsys):
        def full(*args):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(DataUnavailable, match="is full: free some space"):
            data.load_images("mnist")
        assert {p.name for p in folder_of().iterdir()} <= {".lock"}
        assert data.load_images().name == "Digits"
        assert "is full" in capsys.readouterr().out

    def test_a_folder_that_cannot_be_made(self, web, tmp_path):
        (tmp_path / "file").write_bytes(b"")
        with pytest.raises(DataUnavailable, match=r"file.* cannot be written .*set BOOK_DATA_DIR"):
            data.load_images("mnist", root=tmp_path / "file")

    def test_a_read_only_folder_that_holds_the_set_is_enough(self, web, monkeypatch):
        write_images(folder_of(), image_files())
        monkeypatch.setattr(download, "writing", lambda *args: pytest.fail("nothing has to be written"))
        assert len(data.load_images("mnist").X) == 30

    def test_unknown_name(self):
        with pytest.raises(
            ValueError, match=r"no images called 'fashion_mnist': .* \(did you mean 'fashion-mnist'\?\)"
        ):
            data.load_images("fashion_mnist")

    @pytest.mark.parametrize("load", [data.load_images, data.load_diabetes, data.load_names])
    def test_bad_book_data(self, load, monkeypatch):
        monkeypatch.setenv("BOOK_DATA", "offline")
        with pytest.raises(ValueError, match=r"BOOK_DATA is 'offline', but must be 'embedded', 'auto' or 'full'"):
            load()

    def test_bad_book_data_even_where_it_does_not_matter(self, monkeypatch):
        monkeypatch.setenv("BOOK_DATA", "offline")
        with pytest.raises(ValueError, match="BOOK_DATA"):
            data.load_images("digits")


class TestDiabetes:
    @needs_shared
    def test_the_real_table(self):
        table = data.load_diabetes(root=SHARED, mode="full")
        oracle = np.genfromtxt(SHARED / "diabetes.csv", delimiter=",")
        assert table.X.shape == (759, 8)
        np.testing.assert_array_equal(table.X, oracle[:, :8].astype(np.float32))
        np.testing.assert_array_equal(table.y, oracle[:, 8])
        assert table.y.bincount().tolist() == [263, 496]
        assert table.X.abs().max() == 1
        assert len(table.features) == 8

    @needs_shared
    def test_its_label_is_one_for_no_diabetes(self):
        """The original's first row: 6 pregnancies, glucose 148, blood pressure 72, age 50, diabetes."""
        table = data.load_diabetes(root=SHARED, mode="full")
        row = dict(zip(table.features, ((table.X[0] + 1) / 2).tolist(), strict=True))
        found = (row["pregnancies"] * 17, row["glucose"] * 199, row["blood pressure"] * 122, row["age"] * 60 + 21)
        assert_close(found, (6.0, 148.0, 72.0, 50.0), atol=1e-3, rtol=0)
        assert table.classes[table.y[0]] == "diabetes"
        assert table.X[table.y == 0, 1].mean() > table.X[table.y == 1, 1].mean()  # glucose

    @needs_shared
    def test_a_damaged_table_is_not_used(self, tmp_path):
        content = (SHARED / "diabetes.csv").read_bytes()
        (tmp_path / "diabetes.csv").write_bytes(content.replace(b",1\n", b",0\n", 1))
        with pytest.raises(DataUnavailable, match="no network"):
            data.load_diabetes(root=tmp_path, mode="full")

    @pytest.mark.parametrize("mode", ["embedded", "auto"])
    def test_bundled(self, mode, capsys):
        from sklearn.datasets import load_breast_cancer
        from sklearn.preprocessing import minmax_scale

        table, bunch = data.load_diabetes(mode=mode), load_breast_cancer()
        np.testing.assert_allclose(table.X, minmax_scale(bunch.data, (-1, 1)), atol=1e-6)
        np.testing.assert_array_equal(table.y, bunch.target)
        assert table.classes == ("malignant", "benign")
        assert table.X.dtype == torch.float32
        said = capsys.readouterr().out
        assert said.count("\n") == (mode == "auto")
        assert ("breast-cancer" in said) == (mode == "auto")

    def test_download_then_disk(self, web):
        for _ in range(2):
            table = data.load_diabetes()
            assert table.X[:, 7].tolist() == [0.5, 0.25]
            assert table.y.tolist() == [0, 1]
        assert dict(web.hits) == {"diabetes.csv.gz": 1}

    def test_wrong_hash(self, web, capsys):
        web.files["diabetes.csv.gz"] = gzip.compress(b"1,2,3\n")
        with pytest.raises(DataUnavailable, match=r"holds other data than expected \(its sha256 differs\)"):
            data.load_diabetes(mode="full")
        assert not (download.folder() / "diabetes.csv").exists()
        assert data.load_diabetes().name.startswith("Breast")
        assert "its sha256 differs" in capsys.readouterr().out

    def test_a_truncated_table_on_disk_is_replaced(self, web):
        data.load_diabetes()
        path = download.folder() / "diabetes.csv"
        whole = path.read_bytes()
        path.write_bytes(whole[:10])
        assert len(data.load_diabetes().X) == 2
        assert path.read_bytes() == whole


class TestNames:
    @needs_shared
    def test_the_real_list(self):
        names = data.load_names(root=SHARED, mode="full")
        with (SHARED / "names_train.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))
        assert list(names.names) == [name for name, _ in rows]
        assert [names.languages[i] for i in names.y] == [language for _, language in rows]
        assert (len(names.names), len(names.names_test), len(names.languages)) == (13_374, 6_700, 18)
        assert names.y.max() == 17
        assert Counter(names.languages[i] for i in names.y.tolist())["Russian"] == 6272

    def test_download(self, web):
        names = data.load_names()
        assert names.names == ("Novak", "O'Neal", "Smith")
        assert names.languages == ("Czech", "English", "Irish")
        assert names.y.tolist() == [0, 2, 1]
        assert names.names_test == ("Jones",)
        assert names.y_test.tolist() == [1]

    def test_the_shipped_list(self, capsys):
        pairs = (Path(data.__file__).parent / "assets" / "names.csv").read_text("utf-8").splitlines()[1:]
        counts = Counter(pair.split(",")[1] for pair in pairs)
        assert len(counts) >= 12
        assert min(counts.values()) >= 100
        assert len(set(pairs)) == len(pairs)
        assert all(re.fullmatch(r"[A-Z][A-Za-z']+,[A-Z][a-z]+", pair) for pair in pairs)

        names = data.load_names()
        assert "1,730 that ship with the book" in capsys.readouterr().out
        assert len(pairs) == 1730
        both = [*zip(names.names, names.y, strict=True), *zip(names.names_test, names.y_test, strict=True)]
        assert sorted(f"{name},{names.languages[i]}" for name, i in both) == sorted(pairs)
        share = names.y_test.bincount() / (names.y_test.bincount() + names.y.bincount())
        assert_close(share, torch.full((len(counts),), 0.2), atol=0.01, rtol=0)
