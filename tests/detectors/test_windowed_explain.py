"""What each channel adds to the score of a step."""

import numpy as np
import pytest
from pyod.models.knn import KNN
from sklearn.exceptions import NotFittedError

from skrdae import (
    LSTMRobustAutoencoder,
    RobustDeepAutoencoder,
    USADDetector,
    VAEDetector,
    WindowedDetector,
    load,
    save,
)

QUICK = RobustDeepAutoencoder(n_estimators=2, random_state=0)


def _series(n_channels, n=600, seed=0):
    rng = np.random.default_rng(seed)
    angles = np.arange(n)[:, None] / 5 + np.arange(n_channels)
    return np.sin(angles) + 0.1 * rng.normal(size=(n, n_channels))


@pytest.mark.parametrize("aggregate", ["mean", "max", "median"])
@pytest.mark.parametrize(
    "detector",
    [
        QUICK,
        VAEDetector(n_estimators=1, n_epochs=3, random_state=0),
        USADDetector(n_channels=3, n_estimators=1, n_epochs=2, random_state=0),
        LSTMRobustAutoencoder(n_channels=3, max_iter=1, random_state=0),
    ],
    ids=lambda d: type(d).__name__,
)
def test_contributions_add_up_to_the_score(detector, aggregate):
    X = _series(3)
    windowed = WindowedDetector(detector, window_size=10, aggregate=aggregate).fit(X)
    for series in (X, X[:10], [X[:100], X[300:345]]):
        found, scores = windowed.explain(series), windowed.decision_function(series)
        assert found.shape == (len(scores), 3)
        size = np.abs(found).sum(axis=1)
        assert (np.abs(found.sum(axis=1) - scores) <= 1e-5 * size).all()


def test_a_step_that_no_window_covers_has_none_and_rows_keep_their_order():
    pd = pytest.importorskip("pandas")
    times = pd.date_range("2026-01-01", periods=600, freq="h")
    X = pd.DataFrame(_series(2), index=times)
    gap = X.drop(times[[200, 203]])
    windowed = WindowedDetector(QUICK, window_size=10, on_gap="split").fit(X)
    found = windowed.explain(gap)
    assert np.isnan(found[200:202]).all()
    assert np.isfinite(np.delete(found, [200, 201], axis=0)).all()
    # Two series, whose rows take turns.
    index = pd.MultiIndex.from_arrays([np.arange(600) % 2, np.repeat(times[:300], 2)])
    two = pd.DataFrame(_series(2), index=index)
    windowed = WindowedDetector(QUICK, window_size=10).fit(two)
    by_series = np.r_[np.arange(0, 600, 2), np.arange(1, 600, 2)]
    assert np.array_equal(windowed.explain(two)[by_series], windowed.explain(two.iloc[by_series]))


@pytest.mark.parametrize("n_channels", [2, 5, 20])
def test_the_channel_that_fails_is_named(n_channels):
    X = _series(n_channels)
    windowed = WindowedDetector(QUICK, window_size=10).fit(X)
    failing = range(n_channels) if n_channels < 10 else (0, 7, 19)
    for channel in failing:
        new = _series(n_channels, seed=1)
        new[300:330, channel] = 2.0  # stuck, out of its range
        found = windowed.explain(new)[305:325]
        assert (found.argmax(axis=1) == channel).all()


def test_it_goes_with_the_file(tmp_path):
    X = _series(3)
    windowed = WindowedDetector(QUICK, window_size=10).fit(X)
    save(windowed, tmp_path / "file")
    assert np.array_equal(load(tmp_path / "file").explain(X), windowed.explain(X))
    # A file of an earlier version does not say what is ordinary for a channel.
    windowed._ordinary_by_channel = None
    found = windowed.explain(X)
    np.testing.assert_allclose(found.sum(axis=1), windowed.decision_function(X), rtol=1e-4)


def test_detectors_that_do_not_explain():
    windowed = WindowedDetector(KNN(), window_size=10)
    assert not hasattr(windowed, "explain")
    assert not hasattr(windowed.fit(_series(2)), "explain")
    with pytest.raises(NotFittedError):
        WindowedDetector(QUICK).explain(_series(2))
