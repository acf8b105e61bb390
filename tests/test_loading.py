import subprocess
import sys
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator, skip_first_batches
from accelerate.data_loader import BatchSamplerShard
from accelerate.state import AcceleratorState
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import BatchSampler, DataLoader, DistributedSampler, TensorDataset

from helpers import batches, loading
from helpers.data import loader
from helpers.loading import Batches, Order, Rows, TensorSet

META = torch.device("meta")  # an "accelerator" that every machine has
sizes = st.integers(1, 40)


def numbered(n, **options):
    """A loader over n examples that carry their own number."""
    X = torch.arange(n, dtype=torch.float64)[:, None]
    return loader(X, torch.arange(n), **({"batch_size": 4} | options))


def numbers(batches):
    return [yb.tolist() for _, yb in batches]


@pytest.fixture
def accelerator():
    AcceleratorState._reset_state(True)
    yield Accelerator(cpu=True)
    AcceleratorState._reset_state(True)


class TestOnePass:
    @given(n=sizes, batch_size=sizes, shuffle=st.booleans(), drop_last=st.booleans())
    @settings(max_examples=60, deadline=None)
    def test_against_torch(self, n, batch_size, shuffle, drop_last):
        if drop_last and n < batch_size:
            return
        X, y = torch.randn(n, 2, 3), torch.randn(n)
        ours = loader(X, y, batch_size=batch_size, shuffle=shuffle, drop_last=drop_last)
        order = Order(n, shuffle=shuffle, seed=0)
        theirs = DataLoader(TensorDataset(X, y), batch_size, sampler=list(order), drop_last=drop_last)
        assert len(ours) == len(theirs)
        for (xb, yb), (xt, yt) in zip(ours, theirs, strict=True):
            assert torch.equal(xb, xt)
            assert torch.equal(yb, yt)

    @given(n=sizes, seed=st.integers(0, 2**40))
    @settings(max_examples=30, deadline=None)
    def test_every_example_once(self, n, seed):
        assert sorted(torch.cat([yb for _, yb in numbered(n, seed=seed)]).tolist()) == list(range(n))

    def test_unshuffled(self):
        assert numbers(numbered(6, shuffle=False)) == [[0, 1, 2, 3], [4, 5]]
        assert numbers(numbered(6, shuffle=False, drop_last=True)) == [[0, 1, 2, 3]]

    def test_shuffling_is_uniform(self):
        order = Order(4, shuffle=True, seed=0)
        counts = torch.zeros(4, 4)
        for _ in range(4000):
            counts[torch.arange(4), order.next_pass()] += 1
        torch.testing.assert_close(counts / 4000, torch.full((4, 4), 0.25), atol=0.03, rtol=0)

    def test_more_than_two_tensors(self):
        a, b, c = torch.arange(3), torch.arange(3) * 10, torch.arange(3) * 100
        (batch,) = loader(a, b, c, batch_size=3, shuffle=False)
        assert [part.tolist() for part in batch] == [[0, 1, 2], [0, 10, 20], [0, 100, 200]]

    def test_it_is_an_ordinary_data_loader(self):
        ours = numbered(10)
        assert isinstance(ours, DataLoader)
        assert len(ours.dataset) == 10
        assert [part.tolist() for part in ours.dataset[7]] == [[7.0], 7]
        rebuilt = DataLoader(
            ours.dataset, batch_sampler=Batches(Order(10, shuffle=True), 4, False), collate_fn=ours.collate_fn
        )
        assert numbers(rebuilt) == numbers(ours)

    def test_with_worker_processes(self):
        ours = numbered(10)
        workers = DataLoader(
            ours.dataset,
            batch_sampler=Batches(Order(10, shuffle=True), 4, False),
            collate_fn=ours.collate_fn,
            num_workers=1,
        )
        assert numbers(workers) == numbers(ours)


class TestOrder:
    def test_epochs_differ_and_repeat_with_the_seed(self):
        first, again, other = numbered(50), numbered(50), numbered(50, seed=1)
        epochs = [numbers(first) for _ in range(3)]
        assert [numbers(again) for _ in range(3)] == epochs
        assert epochs[0] != epochs[1] != epochs[2]
        assert numbers(other) not in epochs

    def test_the_same_in_another_process(self):
        code = "from helpers.loading import Order; print([list(Order(20, shuffle=True, seed=5)) for _ in range(2)])"
        run = [sys.executable, "-c", code]
        printed = subprocess.run(run, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1]).stdout
        assert printed.strip() == str([list(Order(20, shuffle=True, seed=5))] * 2)

    def test_the_global_generator_is_neither_read_nor_moved(self):
        torch.manual_seed(1)
        ours = numbered(9)
        before = torch.get_rng_state()
        first = numbers(ours)
        assert torch.equal(torch.get_rng_state(), before)
        torch.manual_seed(2)
        assert numbers(numbered(9)) == first

    def test_set_epoch(self):
        ours = numbered(30)
        epochs = [numbers(ours) for _ in range(4)]
        ours.batch_sampler.sampler.set_epoch(2)
        assert [numbers(ours), numbers(ours)] == epochs[2:]

    def test_a_pass_that_breaks_off_counts_as_an_epoch(self):
        ours, whole = numbered(30), numbered(30)
        firsts = [next(iter(ours))[1].tolist() for _ in range(3)]
        assert firsts == [numbers(whole)[0] for _ in range(3)]

    def test_a_resumed_run_goes_on_in_the_same_order(self):
        ours = numbered(30, seed=3)
        epochs = [numbers(ours) for _ in range(2)]
        state = ours.batch_sampler.sampler.state_dict()
        expected = numbers(ours)
        fresh = numbered(30, seed=0)
        fresh.batch_sampler.sampler.load_state_dict(state)
        assert numbers(fresh) == expected
        assert expected not in epochs

    def test_a_state_of_another_set_is_refused(self):
        with pytest.raises(ValueError, match="is one of 30 examples, this set has 31: load the same set"):
            Order(31, shuffle=True).load_state_dict(Order(30, shuffle=True).state_dict())

    def test_under_a_default_device(self):
        expected = numbers(numbered(9))
        with torch.device("meta"):
            ours = loader(*[torch.arange(9, device="cpu")] * 2, batch_size=4)
            assert numbers(ours) == expected


class TestSharing:
    """Others re-cut our batches as lists; the oracle is what they do with PyTorch's own batch sampler."""

    @given(
        n=sizes,
        size=st.integers(1, 6),
        world=st.integers(1, 4),
        split=st.booleans(),
        even=st.booleans(),
        drop=st.booleans(),
    )
    @settings(max_examples=150, deadline=None)
    def test_accelerate_shards(self, n, size, world, split, even, drop):
        size = size * world if split else size
        for rank in range(world):
            ours = Batches(Order(n, shuffle=True, seed=1), size, drop)
            theirs = BatchSampler(list(Order(n, shuffle=True, seed=1)), size, drop)
            shards = [BatchSamplerShard(s, world, rank, split_batches=split, even_batches=even) for s in (ours, theirs)]
            assert [list(rows) for rows in shards[0]] == [list(rows) for rows in shards[1]]
            assert len(shards[0]) == len(shards[1])

    def test_two_shards_make_one_epoch(self):
        shards = [BatchSamplerShard(Batches(Order(32, shuffle=True), 4, False), 2, rank) for rank in (0, 1)]
        dataset = numbered(32).dataset
        seen = [dataset.__getitems__(rows)[1].tolist() for pair in zip(*shards, strict=True) for rows in pair]
        assert seen == numbers(numbered(32))

    @given(n=sizes, size=st.integers(1, 6), world=st.integers(1, 4))
    @settings(max_examples=40, deadline=None)
    def test_the_training_loop_shards(self, n, size, world):
        for rank in range(world):
            ours, theirs = (
                Batches(Order(n, shuffle=True), size, False),
                BatchSampler(list(Order(n, shuffle=True)), size, False),
            )
            shards = [list(batches.Sharded(s, rank, world, agree=iter)) for s in (ours, theirs)]
            assert [list(rows) for rows in shards[0]] == shards[1]

    def test_a_sampler_put_in_by_somebody_else(self):
        sampler = DistributedSampler(range(10), num_replicas=2, rank=1, seed=4)
        ours, theirs = Batches(sampler, 3, False), BatchSampler(sampler, 3, False)
        assert [list(rows) for rows in ours] == list(theirs)

    def test_lists_of_rows_are_fetched_too(self):
        assert numbered(9).dataset.__getitems__([3, 1])[1].tolist() == [3, 1]

    def test_rows_behave_like_a_list(self):
        rows, plain = Rows(torch.tensor([5, 2, 8, 1])), [5, 2, 8, 1]
        assert [*rows] == plain
        assert len(rows) == 4
        assert rows[-1] == 1
        assert isinstance(rows[1:3], Rows)
        assert [*rows[1::2]] == plain[1::2]
        assert rows + rows == plain + plain
        assert [0, *rows] == rows.__radd__([0]) == [0, *plain]
        grown = []
        grown += rows
        assert grown == plain
        assert rows
        assert not rows[4:]


class TestAccelerate:
    def test_prepare_changes_nothing(self, accelerator):
        prepared, plain = accelerator.prepare(numbered(10)), numbered(10)
        for _ in range(3):
            assert numbers(prepared) == numbers(plain)

    def test_epoch_and_skip_for_resuming_in_the_middle(self, accelerator):
        plain = numbered(30)
        epochs = [numbers(plain) for _ in range(3)]
        prepared = accelerator.prepare(numbered(30))
        prepared.set_epoch(2)
        assert numbers(skip_first_batches(prepared, 3)) == epochs[2][3:]

    @pytest.mark.parametrize("drop_last", [False, True])
    def test_gather_for_metrics_keeps_the_right_rows(self, accelerator, drop_last):
        prepared = accelerator.prepare(numbered(10, drop_last=drop_last))
        kept = [len(accelerator.gather_for_metrics(yb)) for _, yb in prepared]
        assert kept == ([4, 4] if drop_last else [4, 4, 2])


class TestPlace:
    def test_nothing_is_copied(self):
        X, y = torch.randn(10, 3), torch.arange(10)
        for device in (None, "cpu", torch.device("cpu")):
            tensors = loader(X, y, batch_size=4, device=device).dataset.tensors
            assert [t.data_ptr() for t in tensors] == [X.data_ptr(), y.data_ptr()]

    def test_changing_a_batch_leaves_the_set_alone(self):
        X = torch.ones(8, 2)
        for xb, _ in loader(X, X, batch_size=8, shuffle=False):
            xb.zero_()
        assert X.eq(1).all()

    def test_a_set_that_fits_moves_to_the_device_once(self, monkeypatch):
        X, y = torch.randn(10, 3), torch.arange(10)  # 120 + 80 bytes
        monkeypatch.setattr(loading, "_free_memory", lambda device: 400)
        ours = loader(X, y, batch_size=4, device="meta")
        assert ours.dataset.resident
        assert {t.device for t in ours.dataset.tensors} == {META}
        assert {part.device for batch in ours for part in batch} == {META}

    @pytest.mark.parametrize("free", [399, 0, None])
    def test_a_set_that_does_not_fit_stays_and_its_batches_move(self, monkeypatch, free):
        X, y = torch.randn(10, 3), torch.arange(10)
        monkeypatch.setattr(loading, "_free_memory", lambda device: free)
        ours = loader(X, y, batch_size=4, device="meta")
        assert not ours.dataset.resident
        assert ours.dataset.tensors[0].data_ptr() == X.data_ptr()
        assert [tuple(xb.shape) for xb, _ in ours] == [(4, 3), (4, 3), (2, 3)]
        assert {part.device for batch in ours for part in batch} == {META}

    def test_what_is_on_the_device_already_does_not_count(self, monkeypatch):
        monkeypatch.setattr(loading, "_free_memory", lambda device: 0)
        assert TensorSet([torch.empty(10, device=META)], META).resident

    def test_gathering_into_a_buffer_gives_the_same_batch(self):
        dataset = numbered(9).dataset
        index = torch.tensor([8, 0, 3])
        for tensor in dataset.tensors:
            assert torch.equal(dataset._bring(tensor, index), tensor[index])

    @pytest.mark.accelerator
    @pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
    @pytest.mark.parametrize("free", [None, 10**12])
    def test_on_a_gpu_the_batches_are_those_of_the_cpu(self, monkeypatch, free):
        if free is None:
            monkeypatch.setattr(loading, "_free_memory", lambda device: 0)
        X, y = torch.randn(1000, 7), torch.arange(1000)
        ours, expected = (loader(X, y, batch_size=64, device=device) for device in ("cuda", None))
        assert ours.dataset.resident is (free is not None)
        for _ in range(2):
            for (xb, yb), (xc, yc) in zip(ours, expected, strict=True):
                assert xb.is_cuda
                assert torch.equal(xb.cpu(), xc)
                assert torch.equal(yb.cpu(), yc)


class TestMistakes:
    @pytest.mark.parametrize("wrong", [[1, 2], "text", None])
    def test_no_tensor(self, wrong):
        with pytest.raises(TypeError, match=rf"counts examples, not a {type(wrong).__name__}: use torch\.as_tensor"):
            loader(torch.zeros(2), wrong, batch_size=1)

    def test_no_axis(self):
        with pytest.raises(TypeError, match="not a number without axes"):
            loader(torch.tensor(1.0), torch.zeros(1), batch_size=1)

    def test_lengths(self):
        with pytest.raises(ValueError, match="have 3 and 4 examples: give every tensor one row for each example"):
            loader(torch.zeros(3, 2), torch.zeros(4), batch_size=1)

    def test_empty(self):
        with pytest.raises(ValueError, match="there are no examples"):
            loader(torch.zeros(0, 2), torch.zeros(0), batch_size=1)

    @pytest.mark.parametrize("size", [0, -3, 2.0, True, "4"])
    def test_batch_size(self, size):
        with pytest.raises(ValueError, match=r"batch_size is .*, but must be a whole number from 1 on"):
            numbered(5, batch_size=size)

    def test_drop_last_leaves_nothing(self):
        with pytest.raises(ValueError, match="drop_last leaves no batch: batch_size is 8, but there are 5 examples"):
            numbered(5, batch_size=8, drop_last=True)

    @pytest.mark.parametrize("seed", [-1, 0.5])
    def test_seed(self, seed):
        with pytest.raises(ValueError, match=r"seed is .*, but must be a whole number from 0 on"):
            numbered(5, seed=seed)
