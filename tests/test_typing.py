"""What a user's type checker makes of the package: mypy, strict, reads this file in CI too."""

from pathlib import Path
from typing import assert_type

import numpy as np
import pytest
from numpy.typing import NDArray

from skrdae import RobustDeepAutoencoder, RobustDeepAutoencoderCV, VAEDetector, WindowedDetector
from skrdae.metrics import excess_mass_scorer
from skrdae.monitoring import Monitor
from skrdae.penalties import L21
from skrdae.persistence import load, save
from skrdae.preprocessing import ColumnScaler
from skrdae.tables import TableEncoder
from skrdae.thresholds import tune_threshold

Floats = NDArray[np.float64]


def test_detectors(plane: NDArray[np.float64], tmp_path: Path) -> None:
    detector = RobustDeepAutoencoder(
        lam="auto", penalty=L21(), hidden_layer_sizes=(8, 2), max_iter=1, random_state=0
    )
    fitted = detector.fit(plane)
    assert_type(fitted, RobustDeepAutoencoder)
    assert fitted is detector
    with pytest.raises(AttributeError):
        print(detector.treshold_)  # type: ignore[attr-defined]  # which strict mypy insists on
    with pytest.raises(TypeError):
        VAEDetector(max_iter=1)  # type: ignore[call-arg]
    assert_type(detector.decision_scores_, Floats)
    assert detector.decision_scores_.dtype == np.float64
    assert_type(detector.decision_function(plane), Floats)
    assert_type(detector.score(plane, [1] * 6 + [0] * 294), float)
    low_rank, sparse = detector.decompose(plane)
    assert_type(low_rank, Floats)
    assert_type(sparse, Floats)
    assert low_rank.dtype == sparse.dtype == np.float64
    labels = detector.predict(plane)
    assert labels.dtype.kind == "i"
    assert_type(detector.threshold_, float)
    assert isinstance(detector.threshold_, float)
    save(detector, tmp_path / "detector")
    load(tmp_path / "detector")


def test_chunks(plane: NDArray[np.float64]) -> None:
    detector = RobustDeepAutoencoder(max_iter=1, random_state=0).partial_fit(plane)
    assert_type(detector, RobustDeepAutoencoder)
    assert_type(detector.n_samples_seen_, int)
    assert detector.n_samples_seen_ == len(plane)


def test_rows_are_whatever_numpy_makes_an_array_of(plane: NDArray[np.float64]) -> None:
    rows = plane.tolist()
    vae = VAEDetector(n_epochs=1, random_state=0).fit(rows)
    assert np.array_equal(vae.decision_function(rows), vae.decision_scores_)


def test_what_takes_detectors(plane: NDArray[np.float64]) -> None:
    path = RobustDeepAutoencoderCV(3, cv=2, scoring=excess_mass_scorer, max_iter=1, random_state=0)
    path.fit(plane[:, :3])
    assert_type(path.lams_, Floats)
    assert path.lams_.shape == (3,)
    windowed = WindowedDetector(VAEDetector(n_epochs=1), window_size=4)
    series = windowed.fit(plane[:, 0])
    assert_type(series, WindowedDetector)
    tuned = tune_threshold(path, plane[:, :3], [1] * 6 + [0] * 294)
    assert_type(tuned, RobustDeepAutoencoderCV)
    assert isinstance(tuned, RobustDeepAutoencoderCV)


def test_what_is_around_detectors(plane: NDArray[np.float64]) -> None:
    scaler = ColumnScaler("robust").fit(plane)
    assert_type(scaler, ColumnScaler)
    assert scaler.transform(plane).dtype == np.float32
    encoder = TableEncoder().fit(plane)
    assert_type(encoder, TableEncoder)
    detector = VAEDetector(n_epochs=1, random_state=0).fit(plane)
    monitor = Monitor(detector)
    assert_type(monitor, Monitor)
