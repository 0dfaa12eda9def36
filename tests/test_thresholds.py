import numpy as np
import pytest
from pythresh.thresholds.iqr import IQR
from pythresh.thresholds.mad import MAD

from skrdae.thresholds import labels_threshold, quantile_threshold, thresholder_threshold


def test_quantile():
    scores = np.arange(1.0, 101)
    assert (scores > quantile_threshold(scores, 0.05)).sum() == 5


@pytest.mark.parametrize(
    ("labels", "flagged"),
    [
        ([0, 0, 0, 1, 1], [0, 0, 0, 1, 1]),
        ([0, 0, 0, 0, 0], [0, 0, 0, 0, 0]),
        ([1, 1, 1, 1, 1], [1, 1, 1, 1, 1]),
        ([0, 1, 0, 0, 1], [0, 0, 0, 1, 1]),  # they overlap: as many as there are
    ],
)
def test_labels_threshold(labels, flagged):
    scores = np.array([1.0, 2.0, 3.0, 4.0, 7.0])
    threshold = labels_threshold(scores, labels)
    assert (scores > threshold).astype(int).tolist() == flagged


def test_labels_threshold_of_neighbouring_numbers():
    low = 1.0
    high = np.nextafter(low, 2)
    threshold = labels_threshold([low, high], [0, 1])
    assert low <= threshold < high


@pytest.mark.parametrize("thresholder", [IQR(), MAD()])
def test_thresholder_is_copied_and_its_cut_found_exactly(thresholder):
    scores = np.random.default_rng(0).exponential(size=500) ** 2
    fitted, threshold = thresholder_threshold(thresholder, scores)
    assert fitted is not thresholder
    assert thresholder.labels_ is None
    assert np.array_equal(scores > threshold, fitted.labels_ == 1)
    gap = np.linspace(threshold * 0.999, threshold * 1.001, 1001)
    assert np.array_equal(gap > threshold, fitted.predict(gap) == 1)


def test_a_thresholder_that_flags_nothing_keeps_its_cut():
    scores = np.linspace(1, 2, 200)
    fitted, threshold = thresholder_threshold(IQR(), scores)
    assert not fitted.labels_.any()
    new = np.linspace(1.5, 4, 500)
    assert 2.2 < threshold < 3
    assert np.array_equal(new > threshold, fitted.predict(new) == 1)


@pytest.mark.parametrize("thresholder", [IQR, object(), "auto"])
def test_what_is_no_thresholder_is_named(thresholder):
    with pytest.raises(ValueError, match=r"contamination.*pythresh"):
        thresholder_threshold(thresholder, np.arange(5.0))


class _TopTwo:
    """A thresholder that keeps no threshold of its own."""

    def fit(self, scores):
        self.labels_ = (np.argsort(np.argsort(scores)) >= len(scores) - 2).astype(int)
        return self

    def predict(self, scores):
        return self.labels_


def test_a_thresholder_that_only_labels():
    scores = np.array([5.0, 1.0, 4.0, 2.0])
    _, threshold = thresholder_threshold(_TopTwo(), scores)
    assert threshold == 3.0
