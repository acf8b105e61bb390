import random

import numpy as np
import pytest
import torch

from helpers import runtime


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def draws():
    return random.random(), float(np.random.rand()), float(torch.rand(1))  # noqa: NPY002 - the generators that are seeded


def test_one_seed_gives_the_same_draws_everywhere():
    runtime.set_seed(3)
    first = draws()
    runtime.set_seed(3)
    assert draws() == first
    runtime.set_seed(4)
    assert all(a != b for a, b in zip(draws(), first, strict=True))


@pytest.mark.parametrize("seed", [0, 2**32 - 1, np.int64(5)])
def test_the_whole_range_of_seeds_works(seed):
    runtime.set_seed(seed)


@pytest.mark.parametrize(
    ("seed", "error"), [(-1, ValueError), (2**32, ValueError), (1.0, TypeError), (True, TypeError)]
)
def test_a_bad_seed_is_refused(seed, error):
    with pytest.raises(error, match="a seed"):
        runtime.set_seed(seed)


def machine(monkeypatch, *, cuda=0, mps=False, capability=(8, 0)):
    """Pretend to be another machine; PyTorch's own answers are replaced, the choice under test is not."""
    monkeypatch.delenv("BOOK_DEVICE", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: capability)


@pytest.mark.parametrize(
    ("have", "expected"),
    [({}, "cpu"), ({"mps": True}, "mps"), ({"cuda": 1}, "cuda"), ({"cuda": 1, "mps": True}, "cuda")],
)
def test_the_best_device_is_chosen(monkeypatch, have, expected):
    machine(monkeypatch, **have)
    assert runtime.pick_device().type == expected
    assert runtime.pick_device("auto").type == expected


def test_a_wish_goes_before_the_variable_and_the_variable_before_the_machine(monkeypatch):
    machine(monkeypatch, cuda=2)
    monkeypatch.setenv("BOOK_DEVICE", "cpu")
    assert runtime.pick_device() == torch.device("cpu")
    assert runtime.pick_device("cuda:1") == torch.device("cuda:1")
    assert runtime.pick_device(torch.device("cuda")) == torch.device("cuda")
    monkeypatch.setenv("BOOK_DEVICE", " CUDA ")
    assert runtime.pick_device() == torch.device("cuda")


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ("gpu", "prefer='gpu' is not a device"),
        ("xpu", "not a device"),
        ("cuda", "sees none"),
        ("mps", "does not offer"),
    ],
)
def test_a_wish_that_cannot_be_met_says_what_to_do(monkeypatch, wish, words):
    machine(monkeypatch)
    with pytest.raises(ValueError, match=words) as caught:
        runtime.pick_device(wish)
    assert "use cpu" in str(caught.value)


def test_the_variable_is_named_in_its_error(monkeypatch):
    machine(monkeypatch)
    monkeypatch.setenv("BOOK_DEVICE", "tpu")
    with pytest.raises(ValueError, match="BOOK_DEVICE='tpu'"):
        runtime.pick_device()


def test_a_gpu_that_is_not_there_is_counted(monkeypatch):
    machine(monkeypatch, cuda=2)
    with pytest.raises(ValueError, match="GPU number 2, but there are 2"):
        runtime.pick_device("cuda:2")


@pytest.mark.parametrize(
    ("capability", "expected"),
    [((7, 0), "fp16"), ((7, 5), "fp16"), ((8, 0), "bf16"), ((8, 9), "bf16"), ((9, 0), "bf16")],
)
def test_precision_fits_the_generation_of_the_gpu(monkeypatch, capability, expected):
    machine(monkeypatch, cuda=1, capability=capability)
    assert runtime.pick_precision("cuda") == expected


@pytest.mark.parametrize("device", ["cpu", "mps", torch.device("cpu")])
def test_no_mixed_precision_without_a_cuda_gpu(device):
    assert runtime.pick_precision(device) == "no"


def test_precision_of_a_missing_gpu_is_an_error(monkeypatch):
    machine(monkeypatch)
    with pytest.raises(ValueError, match="sees none"):
        runtime.pick_precision("cuda")


def test_threads_are_limited_and_never_raised(threads):
    torch.set_num_threads(2)
    assert runtime.limit_threads(1) == torch.get_num_threads() == 1
    assert runtime.limit_threads(64) == 1


@pytest.mark.parametrize(("n", "error"), [(0, ValueError), (1.5, TypeError), (True, TypeError)])
def test_a_bad_number_of_threads_is_refused(n, error):
    with pytest.raises(error, match="thread"):
        runtime.limit_threads(n)


def test_the_report_is_one_line_with_the_versions():
    line = runtime.report("cpu")
    assert "\n" not in line
    assert torch.__version__ in line
    assert "CPU" in line


@pytest.mark.accelerator
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_on_a_real_gpu():
    device = runtime.pick_device()
    assert device.type == "cuda"
    assert torch.cuda.get_device_name(device) in runtime.report()
    native = torch.cuda.is_bf16_supported(including_emulation=False)
    assert runtime.pick_precision(device) == ("bf16" if native else "fp16")
    runtime.set_seed(1)
    first = torch.rand(4, device=device)
    runtime.set_seed(1)
    assert torch.equal(first, torch.rand(4, device=device))
