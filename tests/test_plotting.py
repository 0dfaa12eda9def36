import sys

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from optional import Optional
from sklearn.ensemble import IsolationForest

from skrdae import (
    LSTMRobustAutoencoder,
    RobustDeepAutoencoder,
    RobustDeepAutoencoderCV,
    RobustPCA,
    VAEDetector,
    WindowedDetector,
)
from skrdae.plotting import (
    DecompositionDisplay,
    ExplanationDisplay,
    HistoryDisplay,
    LamPathDisplay,
    LatentSpaceDisplay,
    ScoreDisplay,
    SeriesDisplay,
)
from skrdae.thresholds import tune_threshold

pd = Optional("pandas")

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def X():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(150, 2)) @ rng.normal(size=(2, 6))
    X[:6] += rng.normal(scale=6, size=(6, 6))
    return X


@pytest.fixture(scope="module")
def detector(X):
    return RobustDeepAutoencoder(contamination=0.04, n_estimators=2, random_state=0).fit(X)


def _heights(patches):
    return sum(patch.get_height() for patch in patches)


def test_scores_are_counted_on_their_side_of_the_threshold(X, detector):
    display = ScoreDisplay.from_estimator(detector, log=False)
    below, above = display.ax_.containers
    assert _heights(above) == detector.labels_.sum() == 6
    assert _heights(below) == 144
    assert display.ax_.lines[0].get_xdata()[0] == detector.threshold_
    new = ScoreDisplay.from_estimator(detector, X[:50], bins=10)
    assert sum(map(_heights, new.ax_.containers)) == 50
    assert new.ax_.get_yscale() == "log"


def test_with_labels_the_two_kinds_are_drawn_apart(X, detector):
    y = np.arange(150) < 6
    display = ScoreDisplay.from_estimator(detector, X, y)
    assert [_heights(c) for c in display.ax_.containers] == [144, 6]
    plain = ScoreDisplay.from_predictions([1.0, np.nan, 2.0])
    assert _heights(plain.ax_.containers[0]) == 2
    assert plain.ax_.get_legend() is None


def test_a_decomposition_adds_up_in_the_picture(X, detector):
    display = DecompositionDisplay.from_estimator(detector, X[:10])
    x, low_rank, sparse = (ax.images[0].get_array() for ax in display.ax_)
    np.testing.assert_allclose(low_rank + sparse, x)
    assert sparse[:6].any()
    low, high = display.ax_[2].images[0].get_clim()
    assert low == -high  # zero is in the middle of the colours


def test_a_table_is_drawn_in_units_of_its_columns_scales(X, detector):
    names = ["price in $", "a_$x^{", "c", "d", "e", "f"]
    units = np.array([1e-3, 1, 50, 1e4, 1, 1])
    frame = pd.DataFrame(X * units + 7, columns=names)
    other = RobustDeepAutoencoder(contamination=0.04, n_estimators=2, random_state=0).fit(frame)
    display = DecompositionDisplay.from_estimator(other, frame[:10])
    x, _, sparse = (ax.images[0].get_array() for ax in display.ax_)
    np.testing.assert_allclose(x, other.scaler_.transform(frame.to_numpy()[:10]), rtol=1e-6)
    _, own_units = other.decompose(frame[:10])
    np.testing.assert_allclose(sparse * other.scaler_.scale_, own_units, rtol=1e-6)
    limits = {ax.images[0].get_clim() for ax in display.ax_}
    assert len(limits) == 1  # so that a colour means the same in X, L and S
    for ax in display.ax_:
        assert [label.get_text() for label in ax.get_xticklabels()] == names
    display.figure_.canvas.draw()  # names are no formulas


def test_wild_cells_do_not_pale_the_others():
    X = np.random.default_rng(0).normal(size=(20, 3))
    X[0, 0] = 1e6
    display = DecompositionDisplay.from_predictions(X, X, 0 * X, scaled=True)
    assert display.ax_[0].images[0].get_clim() == (-6, 6)
    assert display.ax_[0].images[0].colorbar is None
    assert display.ax_[2].images[0].colorbar.extend == "max"


@pytest.mark.filterwarnings("ignore:scaler=None, but")
def test_a_decomposition_without_a_scaler_is_drawn_as_it_is(X):
    unscaled = RobustDeepAutoencoder(scaler=None, n_estimators=1, random_state=0).fit(X)
    display = DecompositionDisplay.from_estimator(unscaled, X[:10])
    np.testing.assert_array_equal(display.ax_[0].images[0].get_array(), X[:10])
    wide = DecompositionDisplay.from_predictions(*[np.ones((3, 41))] * 3, names=["name"] * 41)
    assert {ax.get_xlabel() for ax in wide.ax_} == {"column"}


def test_windows_of_several_channels_are_drawn_as_rows():
    windows = np.random.default_rng(0).normal(size=(60, 5, 2))
    recurrent = LSTMRobustAutoencoder(
        n_channels=2, n_estimators=1, max_iter=1, n_epochs=1, random_state=0
    ).fit(windows)
    display = DecompositionDisplay.from_estimator(recurrent, windows[:4])
    rows = recurrent.scaler_.transform(windows[:4].reshape(4, 10))
    np.testing.assert_allclose(display.ax_[0].images[0].get_array(), rows, rtol=1e-6)


def test_images_are_laid_out_in_a_grid():
    images = np.arange(5 * 6.0).reshape(5, 6)
    display = DecompositionDisplay.from_predictions(
        images, images, 0 * images, image_shape=(2, 3), n_columns=2
    )
    grid = display.ax_[0].images[0].get_array().filled(np.nan)
    assert grid.shape == (8, 7)
    np.testing.assert_array_equal(grid[3:5, :3], images[2].reshape(2, 3))
    assert np.isnan(grid[2]).all()
    with pytest.raises(ValueError, match=r"image_shape=\(2, 2\) has 4 pixels"):
        DecompositionDisplay.from_predictions(images, images, images, image_shape=(2, 2))


def test_the_path_shows_means_and_the_choice(X):
    search = RobustDeepAutoencoderCV(5, cv=3, n_estimators=1, random_state=0).fit(X)
    display = LamPathDisplay.from_estimator(search, score_name="agreement")
    curve, choice = display.ax_.lines
    np.testing.assert_allclose(curve.get_ydata(), search.scores_path_.mean(axis=1)[::-1])
    assert np.all(np.diff(curve.get_xdata()) > 0)
    assert f"{float(choice.get_xdata()[0])!r}*median" == search.best_lam_
    assert display.ax_.get_xscale() == "log"
    assert LamPathDisplay.from_predictions([1, np.inf], [[1], [2]]).ax_.get_xscale() == "linear"


@pytest.mark.parametrize(("low", "high"), [(0.01, 30), (0.5, 3), (2.9, 6), (2.0, 2.4), (120, 5e3)])
def test_lams_are_written_as_numbers(low, high):
    lams = np.geomspace(low, high, 9)
    display = LamPathDisplay.from_predictions(lams, np.ones((9, 3)))
    display.figure_.canvas.draw()
    axis, (left, right) = display.ax_.xaxis, display.ax_.get_xlim()
    ticks = zip(axis.get_majorticklocs(), axis.get_majorticklabels(), strict=True)
    ticks = {label.get_text(): place for place, label in ticks if left <= place <= right}
    assert 3 <= len(ticks) <= 10
    for text, place in ticks.items():
        assert float(text) == pytest.approx(place)
    assert not any(label.get_text() for label in axis.get_minorticklabels())


def test_codes_of_two_units_are_drawn_as_they_are(X):
    vae = VAEDetector(latent_dim=2, n_estimators=1, n_epochs=3, random_state=0).fit(X)
    display = LatentSpaceDisplay.from_estimator(vae, X)
    points = np.concatenate([c.get_offsets() for c in display.ax_.collections])
    codes = vae.transform(X)
    np.testing.assert_allclose(np.sort(points[:, 0]), np.sort(codes[:, 0]))
    assert len(display.ax_.collections[1].get_offsets()) == vae.predict(X).sum()


def test_codes_of_more_units_are_drawn_by_principal_components(X, detector):
    display = LatentSpaceDisplay.from_estimator(detector, X, np.zeros(len(X)))
    assert display.ax_.get_xlabel() == "first component"
    (points,) = display.ax_.collections
    spread = points.get_offsets().std(axis=0)
    assert spread[0] >= spread[1] > 0
    one = LatentSpaceDisplay.from_predictions(np.arange(4.0)[:, None])
    assert one.ax_.collections[0].get_offsets().shape == (4, 2)


@pytest.fixture(scope="module")
def sensors():
    index = pd.date_range("2024-01-01", periods=400, freq="h")
    sine = np.sin(np.arange(400) / 5)
    frame = pd.DataFrame({"flow": sine, "a_$x^{": np.roll(sine, 5)}, index=index)
    frame.iloc[200:204] += 3
    return frame


@pytest.fixture(scope="module")
def windowed(sensors):
    inner = RobustDeepAutoencoder(contamination=0.15, n_estimators=1, random_state=0)
    return WindowedDetector(inner, window_size=20).fit(sensors)


def _titles(display):
    return [ax.get_title(loc="left") for ax in display.ax_]


def _threshold_lines(ax):
    return [line.get_ydata()[0] for line in ax.lines if line.get_linestyle() == "--"]


def test_every_channel_has_a_panel_and_every_detection_is_marked(sensors, windowed):
    display = SeriesDisplay.from_estimator(windowed, sensors)
    assert _titles(display) == [
        "flow",
        "a_$x^{",
        "score",
        "lowest score of the windows over a step",
    ]
    labels = windowed.predict(sensors)
    runs = int((np.diff(np.concatenate([[0], labels])) == 1).sum())
    assert runs > 0
    assert [len(ax.patches) for ax in display.ax_] == [runs] * 4
    for ax, name in zip(display.ax_, sensors, strict=False):
        np.testing.assert_array_equal(ax.lines[0].get_ydata(), sensors[name])
    np.testing.assert_array_equal(display.scores, windowed.decision_function(sensors))
    np.testing.assert_array_equal(display.labels, labels)
    display.figure_.canvas.draw()  # names are no formulas


def test_the_threshold_drawn_is_the_one_that_decides(sensors, windowed):
    display = SeriesDisplay.from_estimator(windowed, sensors)
    *_, score, windows = display.ax_
    assert _threshold_lines(score) == []
    assert _threshold_lines(windows) == [windowed.window_threshold_]
    inside = slice(20, -20)  # no window is missing there
    above = windows.lines[0].get_ydata() > windowed.window_threshold_
    np.testing.assert_array_equal(above[inside], display.labels[inside] == 1)

    tuned = tune_threshold(windowed, sensors, rule="mean_std", value=1)
    display = SeriesDisplay.from_estimator(tuned, sensors)
    assert _titles(display)[-1] == "score"
    assert _threshold_lines(display.ax_[-1]) == [tuned.threshold_]
    above = display.ax_[-1].lines[0].get_ydata() > tuned.threshold_
    np.testing.assert_array_equal(above, tuned.predict(sensors) == 1)
    assert above.any()


def test_votes_have_no_threshold(sensors):
    inner = RobustDeepAutoencoder(contamination="auto", n_estimators=1, random_state=0)
    display = SeriesDisplay.from_estimator(
        WindowedDetector(inner, window_size=20).fit(sensors), sensors
    )
    assert _titles(display) == ["flow", "a_$x^{", "score"]
    assert _threshold_lines(display.ax_[-1]) == []


def test_rows_that_are_steps_are_drawn_with_either_polarity(sensors):
    forest = IsolationForest(contamination=0.01, random_state=0).fit(sensors.to_numpy())
    display = SeriesDisplay.from_estimator(forest, sensors.to_numpy())
    assert display.labels.sum() == (forest.predict(sensors.to_numpy()) == -1).sum() == 4
    assert display.scores.argmax() in np.flatnonzero(display.labels)
    rows = RobustDeepAutoencoder(contamination=0.02, n_estimators=1, random_state=0).fit(sensors)
    display = SeriesDisplay.from_estimator(rows, sensors)
    assert _titles(display) == ["flow", "a_$x^{", "score"]
    assert _threshold_lines(display.ax_[-1]) == [rows.threshold_]


def test_two_axes_hold_all_channels_and_the_scores(sensors, windowed):
    _, given = plt.subplots(2)
    display = SeriesDisplay.from_estimator(windowed, sensors, ax=given)
    assert [len(ax.lines) for ax in given] == [2, 1]
    legend = [text.get_text() for text in given[0].get_legend().get_texts()]
    assert legend == list(sensors.columns)
    assert display.ax_ == list(given)
    with pytest.raises(ValueError, match="ax must be 4 axes; got 3"):
        SeriesDisplay.from_estimator(windowed, sensors, ax=plt.subplots(3)[1])


def test_what_is_no_single_series_is_refused(sensors, windowed):
    with pytest.raises(ValueError, match="X holds 2 series"):
        SeriesDisplay.from_estimator(windowed, [sensors, sensors])
    values = sensors.to_numpy()
    with pytest.raises(ValueError, match="of one length"):
        SeriesDisplay.from_predictions(values, values[:5, 0], values[:, 0])
    scores = values[:, 0]
    with pytest.raises(ValueError, match="lowest must have a value for each of the 400 steps"):
        SeriesDisplay.from_predictions(values, scores, scores, lowest=[1.0])
    with pytest.raises(ValueError, match="2 channels, but there are 1 names"):
        SeriesDisplay.from_predictions(values, scores, scores, names=["one"])
    with pytest.raises(ValueError, match="draws at most 100"):
        SeriesDisplay.from_predictions(np.ones((5, 101)), np.ones(5), np.ones(5))


def test_a_history_is_drawn_number_by_number(detector):
    display = HistoryDisplay.from_estimator(detector, names=["objective", "lam"])
    for ax, name in zip(display.ax_, ("objective", "lam"), strict=True):
        drawn = ax.lines[0].get_ydata()
        np.testing.assert_allclose(drawn, [row[name] for row in detector.history_])
    with pytest.raises(ValueError, match=r"has no \['loss'\]"):
        HistoryDisplay.from_estimator(detector, names=["loss"])


def test_axes_that_are_given_are_drawn_on(X, detector):
    figure, given = plt.subplots(1, 3)
    display = DecompositionDisplay.from_estimator(detector, X[:5], ax=given)
    assert display.figure_ is figure
    assert list(display.ax_) == list(given)
    assert ScoreDisplay.from_estimator(detector, ax=given[0]).ax_ is given[0]
    with pytest.raises(ValueError, match="ax must be 3 axes; got 1"):
        DecompositionDisplay.from_estimator(detector, X[:5], ax=given[0])


def test_awkward_numbers_are_drawn(detector, X):
    for scores in (np.full(5, 1e20), [1e18, 1e18 + 128, 1e18 + 256], [3.0]):
        ScoreDisplay.from_predictions(scores, 1.0)
    LatentSpaceDisplay.from_estimator(detector, X[:1])
    one = SeriesDisplay.from_predictions(np.arange(9.0), np.arange(9.0), np.arange(9) == 3)
    axes = one.ax_[0]
    span = axes.patches[0].get_extents().transformed(axes.transData.inverted())
    assert span.width == pytest.approx(1)
    _, given = plt.subplots(2, 2)
    assert HistoryDisplay.from_estimator(
        detector, names=["lam", "change", "constraint", "objective"], ax=given
    ).ax_ == list(given.ravel())


@pytest.mark.parametrize(
    ("draw", "match"),
    [
        (lambda: HistoryDisplay.from_predictions([]), "empty"),
        (lambda: ScoreDisplay.from_predictions([1.0, 2.0], y=[1]), "shape"),
        (
            lambda: DecompositionDisplay.from_predictions(*[np.ones((2, 3))] * 2, np.ones((2, 2))),
            "must have one shape",
        ),
        (
            lambda: DecompositionDisplay.from_predictions(*[np.ones((2, 3))] * 3, names=["a"]),
            "3 columns, but there are 1 names",
        ),
        (lambda: LatentSpaceDisplay.from_predictions(np.ones((3, 2)), [1]), "1 labels for 3 rows"),
    ],
)
def test_what_does_not_fit_together_is_refused(draw, match):
    with pytest.raises(ValueError, match=match):
        draw()


def test_what_a_detector_does_not_have_is_said(X, detector):
    with pytest.raises(ValueError, match="has no scores_path_"):
        LamPathDisplay.from_estimator(detector)
    vae = VAEDetector(n_estimators=1, n_epochs=1, random_state=0).fit(X)
    with pytest.raises(ValueError, match="has no decompose"):
        DecompositionDisplay.from_estimator(vae, X)
    with pytest.raises(ValueError, match="has no history_"):
        HistoryDisplay.from_estimator(RobustPCA())


def test_without_matplotlib_the_error_says_what_to_install(detector, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"skrdae\[plot\]"):
        ScoreDisplay.from_estimator(detector)


def test_names_are_no_formulas(tmp_path):
    points = np.random.default_rng(0).normal(size=(20, 2))
    names = ("$price", "a_$x^{")
    latent = LatentSpaceDisplay.from_predictions(
        points, np.arange(20) < 3, names=names, kinds=("$a$ ^", "b$")
    )
    latent.figure_.savefig(tmp_path / "p.png")
    assert (latent.ax_.get_xlabel(), latent.ax_.get_ylabel()) == names
    path = LamPathDisplay.from_predictions([1.0, 2.0], [[0.5, 0.6], [0.7, 0.8]])
    path.plot(score_name="gain in $ or $^").figure_.savefig(tmp_path / "p.png")


# ------------------------------------------------------------------------------ explanations


def test_the_bars_of_a_row_add_up_to_its_score(X, detector):
    row = X[[0]]
    display = ExplanationDisplay.from_estimator(detector, row, n_features=4)
    names = [label.get_text() for label in display.ax_.get_yticklabels()][::-1]
    widths = [patch.get_width() for patch in display.ax_.patches]
    found = detector.explain(row)[0]
    order = np.argsort(-found)
    assert names == [*(f"feature {place}" for place in order[:4]), "2 others"]
    np.testing.assert_allclose(widths[:4], found[order[:4]])
    assert sum(widths) == pytest.approx(detector.decision_function(row)[0], rel=1e-5)


def test_a_series_has_a_strip_for_each_channel():
    rng = np.random.default_rng(0)
    index = pd.date_range("2026-01-01", periods=300, freq="h")
    series = pd.DataFrame(rng.normal(size=(300, 3)), index=index, columns=["a", "$b$", "c"])
    series.iloc[200:204, 1] += 30
    inner = RobustDeepAutoencoder(n_estimators=1, random_state=0)
    windowed = WindowedDetector(inner, window_size=10).fit(series)
    display = ExplanationDisplay.from_estimator(windowed, series)
    assert display.ax_.get_yticklabels()[0].get_text() == "$b$"
    drawn = display.ax_.collections[0].get_array()
    assert np.allclose(drawn[0], windowed.explain(series)[:, 1])
    display.figure_.canvas.draw()
    # Steps without a score are left blank.
    gaps = np.where(np.arange(300)[:, None] < 5, np.nan, windowed.explain(series))
    blank = ExplanationDisplay.from_predictions(gaps, time=index)
    assert blank.ax_.collections[0].get_array().mask[:, :5].all()


@pytest.mark.parametrize(
    ("contributions", "options", "words"),
    [
        (np.ones(3), {}, "shape"),
        (np.ones((0, 3)), {}, "shape"),
        (np.ones((2, 3)), {"names": ["a"]}, "1 names"),
        (np.ones((2, 3)), {"time": [1]}, "time"),
        (np.ones((2, 3)), {"n_features": 0}, "n_features"),
    ],
)
def test_contributions_that_cannot_be_drawn_are_told(contributions, options, words):
    with pytest.raises(ValueError, match=words):
        ExplanationDisplay.from_predictions(contributions, **options)


def test_what_does_not_explain_is_told(X):
    with pytest.raises(TypeError, match="explain"):
        ExplanationDisplay.from_estimator(IsolationForest().fit(X), X)
