"""Every public function of `helpers` takes hostile inputs well: an error of its own, in words, or the right answer."""

import importlib
import inspect
import math

import hostile_tensors
import hostile_training
import hostile_walks
import pytest
import torch
from hostile import HELPERS, Case, judge, mutations
from hypothesis import given, settings
from hypothesis import strategies as st

CASES = [*hostile_tensors.CASES, *hostile_walks.CASES, *hostile_training.CASES]

DRAWS = "draws, or writes a page: what it is given was computed before, and a wrong shape is seen"
MACHINERY = "is called by fit, evaluate and find_lr, whose inputs are tried here"
RESULT = "is made by functions that are tried here, not by readers"
ELSEWHERE = {
    "cheatsheets.lenet_shapes cheatsheets.recurrent_shapes losses.table losses.mistakes_table activations.table": (
        "takes no argument"
    ),
    "initialization.table optim_rules.table losses.Output losses.Mistake style.building style.use_style": (
        "takes no number from a reader"
    ),
    "d2l_compat.load": "takes no number from a reader",
    "optim_surfaces.ravine optim_surfaces.rotated_ravine optim_surfaces.rosenbrock optim_surfaces.beale": (
        "takes no argument; the walks go over it"
    ),
    "optim_surfaces.all_surfaces surfaces.parabola surfaces.saddle": "takes no argument; the walks go over it",
    "activations.ActivationFunction backprop.Activation backprop.Loss initialization.Activation": RESULT,
    "initialization.Scheme initialization.Variances activations.DepthProfile backprop.MLPTrace": RESULT,
    "recurrence.RNNTrace conv_arithmetic.ConvGradients convolution.LayerCost convolution.ReceptiveField": RESULT,
    "curvature.Stationary optim_maps.Map optim_maps.Sweep optim_paths.Trajectory schedules.Runs": RESULT,
    "shapes.Alignment shapes.Column shapes.Reading text.Padded corpus.Corpus history.History": RESULT,
    "lr_finder.LRFinder surfaces.Sample": RESULT,
    "data_sets.ImageSet data_sets.TableSet data_sets.NameSet data_sources.Images batches.Batch": RESULT,
    "backprop.squared_error piecewise.HiddenLayer piecewise.kinks": "its own tests try it with what does not fit",
    "batches.Sharded batches.divide batches.set_epoch early_stopping.Stopper engine.Engine": MACHINERY,
    "engine.mode_restored engine.tensor_cores failures.explain failures.in_words failures.nonfinite_loss": MACHINERY,
    "meter.Meter meter.measure progress.Progress progress.choose run.Run runtime.report": MACHINERY,
    "diagnose.BatchChecks diagnose.check_first_batch diagnose.check_not_empty diagnose.check_setup": MACHINERY,
    "batches.groups batches.inputs_only batches.read batches.steps_per_epoch loading.fits": MACHINERY,
    "diagnose.reduction meter.named": MACHINERY,
    "checkpoint.save checkpoint.load checkpoint.load_weights checkpoint.restore_model checkpoint.ensure_writable": (
        "tests/test_checkpoint.py and tests/test_faults.py cut, damage and forge its files"
    ),
    "checkpoint.rng_state checkpoint.set_rng_state checkpoint.random_state checkpoint.set_random_state": MACHINERY,
    "checkpoint.restart_order": MACHINERY,
    "download.fetch download.folder download.read_idx download.write_atomically download.writing": (
        "tests/test_download.py and tests/test_faults.py cut, damage and forge its files"
    ),
    "download.DataUnavailable": RESULT,
    "data.load_images data.load_diabetes data.load_names data_sources.real_images data_sources.digits": (
        "tests/test_data.py damages its files"
    ),
    "data_sources.diabetes data_sources.breast_cancer data_sources.names data_sources.shipped_names": (
        "tests/test_data.py damages its files"
    ),
}
ROOMS_ELSEWHERE = {
    "check check_words glue": "tests/test_check.py gives it every kind of wrong answer",
    "expect": "raises the errors that are looked for here",
    "convolution_explorer explore explore_controls explore_encode explore_page playground svg svg_path tables": DRAWS,
    "graph graph_drawing graph_layout graph_steps graph_svg plotting plotting_training": DRAWS,
}


def public():
    """Every function and class of `helpers` without an underscore, as ``module.name``, where it is defined."""
    for path in sorted(HELPERS.glob("[a-z]*.py")):
        module = importlib.import_module(f"helpers.{path.stem}")
        for name, value in vars(module).items():
            own = getattr(value, "__module__", None) == module.__name__
            if own and not name.startswith("_") and (inspect.isfunction(value) or inspect.isclass(value)):
                yield f"{path.stem}.{name}"


def covered():
    """What is held to account here, by the module that defines it."""
    for name in " ".join(case.covers for case in CASES).split():
        module, _, attribute = name.partition(".")
        value = getattr(importlib.import_module(f"helpers.{module}"), attribute)
        yield f"{value.__module__.removeprefix('helpers.')}.{attribute}"


def test_nothing_public_is_forgotten():
    there, here = set(public()), set(covered())
    excused = {name for names in ELSEWHERE for name in names.split()}
    rooms = {name for names in ROOMS_ELSEWHERE for name in names.split()}
    drawn = {name for name in there if name.startswith("shapes.plot_")}
    missing = {name for name in there if name.partition(".")[0] not in rooms} - here - excused - drawn
    assert not missing, f"give {sorted(missing)} a case in tests/hostile_*.py, or a reason in ELSEWHERE"
    assert excused <= there, f"{sorted(excused - there)} is no longer there"
    assert not excused & here, f"{sorted(excused & here)} has a case: take it out of ELSEWHERE"


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_single_change(case):
    assert judge(case, dict(case.good)) == ""
    said = {name: judge(case, change(dict(case.good))) for name, change in mutations(case.good, case.leave_out).items()}
    wrong = [f"{name}: {words}" for name, words in said.items() if words]
    assert not wrong, "\n".join(wrong)


@pytest.mark.slow
@given(data=st.data())
@settings(max_examples=5000, deadline=None)
def test_two_changes_at_once(data):
    case = data.draw(st.sampled_from(CASES), label="function")
    changes = mutations(case.good, case.leave_out)
    arguments = dict(case.good)
    for name in data.draw(st.lists(st.sampled_from(sorted(changes)), min_size=1, max_size=2, unique=True)):
        try:
            arguments = changes[name](arguments)
        except (IndexError, RuntimeError, TypeError):  # the second change does not go with the first
            return
    whole = (v for v in arguments.values() if isinstance(v, torch.Tensor) and v.dtype == torch.int64 and not v.is_meta)
    if not any(bool((v.abs() > 2**31).any() | (v == torch.iinfo(torch.int64).min).any()) for v in whole):
        assert judge(case, arguments) == ""  # infinity as a whole number is none


def _says_little(x):
    raise ValueError("wrong")


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda x: x + 1e-3, "is right"),
        (lambda x: x.sum(0), "shape () where (3,) is right"),
        (lambda x: x.to("meta"), "a tensor without numbers"),
        (lambda x: x @ torch.ones(4), "not an error of its own"),
        (_says_little, "not an error of its own"),
        (lambda x: x * math.nan, "is right"),
    ],
)
def test_a_bad_answer_is_seen(call, words):
    assert words in judge(Case("a.b", call, {}, lambda x: x), {"x": torch.ones(3)})


def test_an_answer_where_there_is_none_is_seen():
    assert "where there is no answer" in judge(Case("a.b", lambda x: x, {}, lambda x: x[5]), {"x": torch.ones(3)})
