"""Errors and warnings for common mistakes: they name what is wrong and what to do."""

import re
import warnings

import numpy as np
import pytest
from optional import Optional
from scipy.sparse import csr_matrix
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import RobustScaler, StandardScaler

from skrdae import (
    AnoGANDetector,
    LSTMRobustAutoencoder,
    OutlierAdapter,
    RobustDeepAutoencoder,
    RobustDeepAutoencoderCV,
    RobustPCA,
    VAEDetector,
    WindowedDetector,
)
from skrdae.demo import one_class_digits
from skrdae.metrics import average_precision_scorer, excess_mass_scorer

pd = Optional("pandas")

X = np.random.default_rng(0).normal(size=(60, 3))
FAST = {"max_iter": 1, "n_estimators": 1, "random_state": 0}
ROWS = {
    "RobustDeepAutoencoder": RobustDeepAutoencoder(**FAST),
    "RobustPCA": RobustPCA(max_iter=5),
    "VAEDetector": VAEDetector(n_epochs=1, random_state=0),
    "AnoGANDetector": AnoGANDetector(n_epochs=1, n_encoder_epochs=1, random_state=0),
    "OutlierAdapter": OutlierAdapter(RobustDeepAutoencoder(**FAST)),
}


# ----------------------------------------------------------------------------- data


def test_missing_values_name_their_columns_and_the_remedy():
    table = pd.DataFrame(X.copy(), columns=["load", "speed", "heat"])
    table.loc[3, "heat"] = table.loc[[4, 5], "load"] = np.nan
    with pytest.raises(ValueError, match="NaN in 2 of 3 columns: 'load', 'heat'") as caught:
        RobustDeepAutoencoder(**FAST).fit(table)
    for words in ("3 missing values", "TableEncoder(missing='median')", "SimpleImputer"):
        assert words in str(caught.value)
    detector = RobustDeepAutoencoder(**FAST).fit(table.fillna(0.0))
    with pytest.raises(ValueError, match="NaN in 1 of 3 columns: 'heat'"):
        detector.decision_function(table.iloc[:4])


@pytest.mark.parametrize("kind", [np.asarray, csr_matrix, np.ndarray.tolist])
def test_missing_values_without_names_are_told_by_place(kind):
    values = X.copy()
    values[[2, 7], 1] = np.nan
    with pytest.raises(ValueError, match=r"NaN in 1 of 3 columns: 1 \(2 missing"):
        RobustDeepAutoencoder(**FAST, device="cpu").fit(kind(values))


def test_text_names_its_columns_and_the_encoder():
    table = pd.DataFrame({"load": X[:, 0], "kind": ["a", "b"] * 30, "place": "north"})
    with pytest.raises(ValueError, match=r"text in column 'kind' .*column 'place'") as caught:
        RobustDeepAutoencoder(**FAST).fit(table)
    assert "skrdae.tables.TableEncoder" in str(caught.value)


@pytest.mark.parametrize("name", ROWS)
def test_more_than_two_axes_name_the_reshape(name):
    images = X.reshape(20, 3, 3)
    with pytest.raises(ValueError, match=r"3 axes.*\(20, 3, 3\).*X\.reshape\(len\(X\), -1\)"):
        ROWS[name].fit(images)
    with pytest.raises(ValueError, match="LSTMRobustAutoencoder"):
        ROWS[name].fit(images.tolist())


def test_more_than_two_axes_of_a_series_name_the_list():
    series = X.reshape(3, 20, 3)
    detector = WindowedDetector(RobustDeepAutoencoder(**FAST), window_size=4)
    with pytest.raises(ValueError, match=r"3 axes, .*\(3, 20, 3\).*list\(X\)"):
        detector.fit(series)
    assert detector.fit(list(series)).decision_scores_.shape == (60,)
    with pytest.raises(ValueError, match=r"X\[0\] has 3 axes"):
        detector.fit([series])


# ---------------------------------------------------------------------------- labels


@pytest.mark.parametrize("scoring", [None, average_precision_scorer])
def test_a_search_without_labels_says_that_the_score_needs_them(scoring):
    detector = RobustDeepAutoencoder(**FAST)
    search = GridSearchCV(detector, {"lam": [1.0]}, scoring=scoring, cv=2, error_score="raise")
    with pytest.raises(ValueError, match=r"y is None: pass y.*excess_mass_scorer"):
        search.fit(X)
    search.set_params(error_score=np.nan)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        search.fit(X)
    assert any("excess_mass_scorer or mass_volume_scorer" in str(w.message) for w in caught)
    search.set_params(scoring=excess_mass_scorer).fit(X)
    assert np.isfinite(search.best_score_)


def test_a_path_without_labels_says_that_the_scoring_needs_them():
    path = RobustDeepAutoencoderCV(2, cv=2, scoring="f1", **FAST)
    with pytest.raises(ValueError, match=r"scoring='f1'.*y is None.*excess_mass_scorer"):
        path.fit(X)


def test_score_without_labels_says_so():
    series = WindowedDetector(RobustDeepAutoencoder(**FAST), window_size=4).fit(X)
    for fitted in (RobustDeepAutoencoder(**FAST).fit(X), series):
        name = type(fitted).__name__
        with pytest.raises(ValueError, match=rf"{name}\.score compares .*y is None"):
            fitted.score(X)


# ----------------------------------------------------------------------------- scale


def _said(detector, rows):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        detector.fit(rows)
    return [str(w.message) for w in caught if "beyond 1" in str(w.message)]


def _padded(images):
    """Return square images with an empty border as wide as they are."""
    side = round(images.shape[1] ** 0.5)
    cells = np.pad(images.reshape(-1, side, side), ((0, 0), (side, side), (side, side)))
    return cells.reshape(len(images), -1)


@pytest.mark.parametrize("frame", [np.asarray, _padded], ids=["whole", "with a border"])
@pytest.mark.parametrize("largest", [16, 255])
@pytest.mark.parametrize("kind", [RobustDeepAutoencoder, LSTMRobustAutoencoder])
def test_pixels_that_are_left_large_are_a_warning(kind, largest, frame):
    images = frame(one_class_digits(digit=4, seed=0)[0][:60])
    detector = kind(scaler=None, **FAST)
    assert _said(detector, images) == []
    (said,) = _said(detector, np.round(largest * images))
    assert re.search(rf"up to {largest}\).*divide X by .*default, 'robust'", said)


def test_a_single_large_column_is_named():
    table = pd.DataFrame(X * [1.0, 30.0, 1.0], columns=["load", "speed", "heat"])
    (said,) = _said(RobustDeepAutoencoder(scaler=None, **FAST), table)
    assert "1 of 3 columns" in said
    assert ": 'speed'." in said
    assert _said(RobustDeepAutoencoder(**FAST), table) == []


@pytest.mark.parametrize("tails", ["normal", "lognormal", "cauchy"])
def test_columns_that_were_scaled_before_are_no_warning(tails):
    rng = np.random.default_rng(0)
    draw = {"normal": rng.normal, "lognormal": rng.lognormal, "cauchy": rng.standard_cauchy}
    rows = 1000 * draw[tails](size=(400, 4)) + 5000
    detector = RobustDeepAutoencoder(scaler=None, **FAST)
    assert _said(detector, StandardScaler().fit_transform(rows)) == []
    assert _said(make_pipeline(StandardScaler(), detector), rows) == []
    assert _said(detector, RobustScaler().fit_transform(rows)) == []
    rare = csr_matrix(rng.binomial(1, [0.01, 0.05, 0.2], size=(1000, 3)).astype(float))
    assert _said(detector, StandardScaler(with_mean=False).fit_transform(rare)) == []


def test_windows_of_a_scaled_series_are_no_warning():
    series = 1000 * X[:, 0] + 5000
    windowed = WindowedDetector(RobustDeepAutoencoder(**FAST), window_size=4)
    assert _said(windowed, series) == []
    inner = RobustDeepAutoencoder(scaler=None, **FAST)
    scaled = make_pipeline(StandardScaler(), WindowedDetector(inner, window_size=4))
    assert _said(scaled, series[:, np.newaxis]) == []
