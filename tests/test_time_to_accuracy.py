"""The benchmark of the time to an accuracy: its data, its bookkeeping, and each of its loops on a few images."""

import numpy as np
import pytest

from benchmarks import time_to_accuracy as bench
from benchmarks import training as loops
from helpers.data import DataUnavailable


@pytest.fixture(scope="module")
def parts():
    return bench.made_digits(640, 160)


def test_made_digits_are_images_of_all_classes_and_always_the_same(parts):
    again = bench.made_digits(640, 160)
    for name, n in (("train", 640), ("t10k", 160)):
        images, labels = parts[name]
        assert (images.shape, images.dtype, labels.dtype) == ((n, 28, 28), np.uint8, np.uint8)
        assert set(labels) == set(range(10))
        assert images.max() == 255
        assert (images == again[name][0]).all()
        assert (labels == again[name][1]).all()
    assert not (parts["train"][0][:160] == parts["t10k"][0]).all()


def test_every_face_has_every_digit():
    drawn = bench.glyphs()
    assert drawn.shape[1:] == (10, 1, 28, 28)
    assert len(drawn) >= 15
    assert (drawn.amax((2, 3, 4)) == 1).all()
    assert (drawn[:, :, :, [0, -1]] == 0).all(), "a digit is cut off"
    assert len({tuple(one.flatten().tolist()) for one in drawn[0]}) == 10


@pytest.mark.parametrize("arm", bench.arms("cpu"))
def test_the_loops_train(parts, tmp_path, arm):
    loops.write_idx(tmp_path, parts)
    trace = bench.arms("cpu")[arm](loops.Bench(tmp_path, "cpu"), 12, 0.5)
    seconds, accuracies = zip(*trace, strict=True)
    assert list(seconds) == sorted(seconds)
    assert accuracies[0] < 0.5 <= max(accuracies)
    assert bench.reached(trace, 0.5)["epochs"] > 1
    if arm == "tutorial loop":
        assert accuracies[-1] >= 0.5, "it stops at the target"
        assert max(accuracies[:-1]) < 0.5


def test_what_was_not_reached_is_not_given_a_time():
    never = bench.reached([(1.0, 0.5)], 0.99)
    assert never == {"seconds": None, "epochs": None, "best": 0.5}
    some = [never, bench.reached([(1.0, 0.995)], 0.99), never]
    assert bench.middle(some, "seconds") == float("inf")
    env = {"device": "a processor", "threads": 1, "device_type": "cpu", "torch": "2", "torchvision": "0", "python": "3"}
    report = {
        "command": "what was typed",
        "quick": False,
        "data": "made digits",
        "examples": [6, 4],
        "target": 0.99,
        "epochs": 1,
        "seeds": 3,
    }
    text = bench.table(report | {"environment": env, "results": {"fit": some}})
    assert "| fit | not reached | not reached | 1 of 3 | 0.9950 |" in text
    assert "GPU: not run" in text


def test_mnist_by_name_is_not_replaced(monkeypatch, capsys):
    def unavailable(*arguments, **options):
        raise DataUnavailable("MNIST is not to be had here")

    monkeypatch.setattr(bench.data, "load_images", unavailable)
    title, parts = bench.choose("auto", (20, 10))
    assert "not MNIST" in title
    assert "MNIST is not to be had here" in capsys.readouterr().err
    assert len(parts["train"][1]) == 20
    with pytest.raises(DataUnavailable):
        bench.choose("mnist", (20, 10))
