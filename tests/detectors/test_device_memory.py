"""A device that runs out of memory, played by an error where a network is trained or scored."""

import weakref

import numpy as np
import pytest
import torch
from sklearn.base import clone

from skrdae import (
    AnoGANDetector,
    LSTMRobustAutoencoder,
    RobustDeepAutoencoder,
    RobustDeepAutoencoderCV,
    RobustPCA,
    VAEDetector,
)
from skrdae.model import FittedModel
from skrdae.training.trainer import Trainer

TOLD = (
    "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 79.10 GiB of "
    "which 3.00 GiB is free. Including non-PyTorch memory, this process has 76.09 GiB in use.\n"
    "More of the allocator."
)
BRIEF = {"batch_size": 48, "n_estimators": 3, "device": "cpu", "random_state": 0}
DETECTORS = {
    "robust": RobustDeepAutoencoder(max_iter=2, **BRIEF),
    "recurrent": LSTMRobustAutoencoder(max_iter=1, **BRIEF),
    "VAE": VAEDetector(n_epochs=2, **BRIEF),
    "GAN": AnoGANDetector(n_epochs=2, n_encoder_epochs=1, **BRIEF),
    "CV": RobustDeepAutoencoderCV(3, cv=2, max_iter=2, **BRIEF),
}
detectors = pytest.mark.parametrize("name", DETECTORS)


@pytest.fixture
def X():
    return np.random.default_rng(0).normal(size=(80, 4))


class _Full:
    """In the place of a method: it fails as torch does, with tensors alive that it knows of."""

    def __init__(self):
        self.alive = []

    def __call__(self, *args, **kwargs):
        held = torch.zeros(1000)
        cycle = [held]
        cycle.append(cycle)  # which only the garbage collector ends
        self.alive += [weakref.ref(held), *(weakref.ref(a) for a in args if isinstance(a, Trainer))]
        raise torch.cuda.OutOfMemoryError(TOLD)


@pytest.fixture
def full(monkeypatch):
    full = _Full()
    monkeypatch.setattr(Trainer, "train", lambda *args, **kwargs: full(*args, **kwargs))
    return full


@detectors
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_a_fit_without_memory_says_what_to_change_and_frees_what_it_held(name, method, X, full):
    detector = clone(DETECTORS[name])
    if not hasattr(detector, method):
        pytest.skip("has no partial_fit")
    before = vars(detector).copy()
    with pytest.raises(torch.cuda.OutOfMemoryError) as caught:
        getattr(detector, method)(X)
    # The error is still alive here, and all that its traceback refers to.
    assert full.alive
    assert [ref() for ref in full.alive] == [None] * len(full.alive)
    assert caught.value.__context__ is None
    assert vars(detector) == before
    message = str(caught.value)
    assert message.startswith(f"{type(detector).__name__} ran out of memory on device='cpu'")
    for words in ("batch_size (now 48)", "n_estimators (now 3)", "device='cpu'.", "20.00 GiB"):
        assert words in message
    assert message.endswith("of which 3.00 GiB is free.)")
    assert isinstance(caught.value, RuntimeError)


@detectors
def test_a_second_fit_without_memory_leaves_the_first(name, X, monkeypatch):
    detector = clone(DETECTORS[name]).fit(X)
    before, full = vars(detector).copy(), _Full()
    monkeypatch.setattr(Trainer, "train", lambda *args, **kwargs: full())
    with pytest.raises(torch.cuda.OutOfMemoryError, match="is as it was before"):
        detector.fit(X + 1)
    assert vars(detector).keys() == before.keys()
    assert all(vars(detector)[key] is before[key] for key in before)
    assert np.array_equal(detector.decision_function(X), detector.decision_scores_)


def test_random_numbers_of_a_failed_fit_are_drawn_again(X, full):
    state = np.random.RandomState(0)
    before = state.get_state()[1].copy()
    with pytest.raises(torch.cuda.OutOfMemoryError):
        clone(DETECTORS["VAE"]).set_params(random_state=state).fit(X)
    assert np.array_equal(before, state.get_state()[1])


def test_memory_that_scoring_in_a_fit_lacks_is_told_of_as_the_fits(X, monkeypatch):
    full = _Full()
    monkeypatch.setattr(FittedModel, "map", lambda *args, **kwargs: full())
    for options in ({}, {"store_decomposition": True}):
        detector = clone(DETECTORS["robust"]).set_params(**options)
        with pytest.raises(torch.cuda.OutOfMemoryError, match=r"batch_size.*20\.00 GiB") as caught:
            detector.fit(X)
        assert str(caught.value).count("ran out of memory") == 1
        assert not hasattr(detector, "model_")


def test_a_failed_decomposition_in_a_fit_is_the_fits(X, monkeypatch):
    detector = clone(DETECTORS["robust"]).set_params(store_decomposition=True)
    full = _Full()
    monkeypatch.setattr(type(detector), "_map", _map_but_last(full))
    with pytest.raises(torch.cuda.OutOfMemoryError, match=r"batch_size.*20\.00 GiB") as caught:
        detector.fit(X)
    assert str(caught.value).count("ran out of memory") == 1
    assert [ref() for ref in full.alive] == [None]


def _map_but_last(full):
    """Score as usual, and fail when the rows are decomposed."""

    def _map(self, model, function, rows):
        return full() if function.__name__ == "sparse" else model.map(function, rows)

    return _map


@detectors
def test_scoring_without_memory_says_what_to_change(name, X, monkeypatch):
    detector = clone(DETECTORS[name]).fit(X)
    codes, full = detector.transform(X), _Full()
    for place in ("map", "average", "decode"):
        monkeypatch.setattr(FittedModel, place, lambda *args, **kwargs: full())
    calls = [
        *(getattr(detector, way) for way in ("decision_function", "predict", "explain")),
        *(getattr(detector, way) for way in ("transform", "predict_proba", "scores_and_labels")),
    ]
    for call in calls:
        with pytest.raises(torch.cuda.OutOfMemoryError, match=r"'cpu'.*n_estimators \(now 3\)"):
            call(X)
    with pytest.raises(torch.cuda.OutOfMemoryError, match=r"n_estimators \(now 3\)"):
        detector.inverse_transform(codes)
    assert [ref() for ref in full.alive] == [None] * len(full.alive)


def test_rows_that_are_drawn_need_memory_too(X, monkeypatch):
    for name in ("VAE", "GAN"):
        detector, full = clone(DETECTORS[name]).fit(X), _Full()
        with monkeypatch.context() as patch:
            patch.setattr(FittedModel, "decode", lambda *args, **kwargs: full())  # noqa: B023
            with pytest.raises(torch.cuda.OutOfMemoryError, match="n_estimators"):
                detector.sample(5)


def test_votes_need_memory_too(X, monkeypatch):
    detector = clone(DETECTORS["robust"]).set_params(contamination="auto").fit(X)
    monkeypatch.setattr(FittedModel, "votes", lambda *args, **kwargs: _Full()())
    with pytest.raises(torch.cuda.OutOfMemoryError, match="n_estimators"):
        detector.predict(X)


def test_parameters_that_a_detector_lacks_are_not_named(X, monkeypatch):
    detector = RobustPCA(device="cpu")
    monkeypatch.setattr(type(detector), "_learn", lambda *args: _Full()())
    with pytest.raises(torch.cuda.OutOfMemoryError, match=r"before\. Free memory on the") as caught:
        detector.fit(X)
    assert "batch_size" not in str(caught.value)


def test_the_end_of_a_capture_may_hide_the_cause_and_other_errors_stay(X, monkeypatch):
    def ends_capture(*args, **kwargs):
        try:
            _Full()()
        finally:
            raise RuntimeError("operation failed due to a previous error during capture")

    monkeypatch.setattr(Trainer, "train", ends_capture)
    with pytest.raises(torch.cuda.OutOfMemoryError, match="batch_size"):
        clone(DETECTORS["VAE"]).fit(X)

    def fails(*args, **kwargs):
        raise RuntimeError("something else")

    monkeypatch.setattr(Trainer, "train", fails)
    with pytest.raises(RuntimeError, match=r"^something else$") as caught:
        clone(DETECTORS["VAE"]).fit(X)
    assert not isinstance(caught.value, torch.cuda.OutOfMemoryError)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_memory_of_a_card_is_freed():
    X = np.random.default_rng(0).normal(size=(200_000, 100)).astype(np.float32)
    options = {"device": "cuda", "random_state": 0, "max_iter": 1}
    detector = RobustDeepAutoencoder(**options).fit(X[:500])
    before = torch.cuda.memory_allocated()
    # Three hundred MB may be taken, of which the members' rows alone would be more than twice that.
    share = 3e8 / torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(share)
    try:
        with pytest.raises(torch.cuda.OutOfMemoryError, match=r"n_estimators \(now 8\)"):
            RobustDeepAutoencoder(max_samples=1.0, n_estimators=8, **options).fit(X)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert torch.cuda.memory_allocated() <= before
    assert torch.cuda.memory_reserved() < 1e8
    assert np.array_equal(detector.decision_function(X[:500]), detector.decision_scores_)
