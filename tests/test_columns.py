"""What a column means decides whether a detector takes it, in every method that takes X."""

import decimal
import fractions
import warnings

import numpy as np
import pytest
from optional import Optional
from pyod.models.hbos import HBOS

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
from skrdae._columns import numbers_only

pd = Optional("pandas")
pl = Optional("polars")
pa = Optional("pyarrow")

N = 40
NUMBERS = np.random.default_rng(0).normal(size=(N, 3))
STAMPS = pd.date_range("2021-05-03 08:00", periods=N, freq="13min")
STEPS = STAMPS - STAMPS[0]
PYTHON = [stamp.to_pydatetime() for stamp in STAMPS]

DETECTORS = {
    "RobustDeepAutoencoder": lambda: RobustDeepAutoencoder(max_iter=1),
    "RobustDeepAutoencoderCV": lambda: RobustDeepAutoencoderCV(2, cv=2, max_iter=1),
    "RobustPCA": lambda: RobustPCA(max_iter=5),
    "VAEDetector": lambda: VAEDetector(n_epochs=1),
    "AnoGANDetector": lambda: AnoGANDetector(n_epochs=1, n_encoder_epochs=1, n_search_iter=1),
    "LSTMRobustAutoencoder": lambda: LSTMRobustAutoencoder(
        max_iter=1, hidden_layer_sizes=(2,), n_channels=3
    ),
    "WindowedDetector": lambda: WindowedDetector(HBOS(), window_size=5),
    "OutlierAdapter": lambda: OutlierAdapter(RobustDeepAutoencoder(max_iter=1)),
    "OutlierAdapter of a series": lambda: OutlierAdapter(WindowedDetector(HBOS(), window_size=5)),
}
METHODS = (
    "decision_function", "predict", "predict_proba", "predict_confidence",
    "predict_with_rejection", "explain", "transform", "inverse_transform", "decompose",
    "score_parts", "score_samples", "score_new",
)  # fmt: skip


def _pandas(values, **options):
    return pd.DataFrame({"a": NUMBERS[:, 0], "when": pd.Series(values, **options), "b": 1.0})


def _polars(values):
    return pl.DataFrame({"a": NUMBERS[:, 0], "when": values, "b": NUMBERS[:, 1]})


def _objects(values):
    X = NUMBERS.astype(object)
    X[:, 1] = values
    return X


def _arrow(values, kind):
    return _pandas(pd.array(values, dtype=pd.ArrowDtype(kind)))


class _Array:
    """An array of another library."""

    def __init__(self, values):
        self._values = values

    shape = property(lambda self: self._values.shape)
    ndim = property(lambda self: self._values.ndim)

    def __len__(self):
        return len(self._values)

    def __getitem__(self, rows):
        return _Array(self._values[rows])

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self._values, dtype)


TIMES = {
    "datetime64[D]": NUMBERS.astype("datetime64[D]"),
    "datetime64[ns]": np.c_[STAMPS, STAMPS, STAMPS].astype("datetime64[ns]"),
    "timedelta64": np.c_[STEPS, STEPS, STEPS].astype("timedelta64[ms]"),
    "NaT alone": np.full((N, 3), np.datetime64("NaT", "s")),
    "objects: datetime": _objects(PYTHON),
    "objects: date": _objects([stamp.date() for stamp in PYTHON]),
    "objects: time": _objects([stamp.time() for stamp in PYTHON]),
    "objects: timedelta": _objects(list(STEPS.to_pytimedelta())),
    "objects: Timestamp": _objects(list(STAMPS.tz_localize("Asia/Tokyo"))),
    "objects: Timedelta": _objects(list(STEPS)),
    "objects: Period": _objects(list(STAMPS.to_period("min"))),
    "objects: datetime64": _objects([np.datetime64(stamp) for stamp in PYTHON]),
    "objects: timedelta64": _objects([np.timedelta64(i, "h") for i in range(N)]),
    "objects: one NaT": _objects([*range(N - 1), pd.NaT]),
    "objects: one date": _objects([*range(N - 1), PYTHON[0]]),
    "lists": [[1.0, stamp, 2.0] for stamp in PYTHON],
    "tuples of datetime64": [(1.0, np.datetime64(stamp), 2.0) for stamp in PYTHON],
    "pandas": _pandas(STAMPS),
    "pandas, second": _pandas(STAMPS.as_unit("s")),
    "pandas, zone": _pandas(STAMPS.tz_localize("America/Lima")),
    "pandas, NaT": _pandas([pd.NaT] * N),
    "pandas, timedelta": _pandas(STEPS),
    "pandas, period": _pandas(STAMPS.to_period("D")),
    "pandas, objects": _pandas([stamp.date() for stamp in PYTHON], dtype=object),
    "pandas, category": _pandas(pd.Categorical(STAMPS)),
    "pandas, category of dates": _pandas(pd.Categorical([stamp.date() for stamp in PYTHON])),
    "pandas, Arrow timestamp": _arrow(PYTHON, pa.timestamp("ms", "UTC")),
    "pandas, Arrow date": _arrow([stamp.date() for stamp in PYTHON], pa.date32()),
    "pandas, Arrow time": _arrow([stamp.time() for stamp in PYTHON], pa.time64("us")),
    "pandas, Arrow duration": _arrow(list(STEPS.to_pytimedelta()), pa.duration("us")),
    "polars Datetime": _polars(PYTHON),
    "polars Datetime, zone": _polars(pl.Series(PYTHON).dt.replace_time_zone("Europe/Rome")),
    "polars Date": _polars([stamp.date() for stamp in PYTHON]),
    "polars Time": _polars([stamp.time() for stamp in PYTHON]),
    "polars Duration": _polars(list(STEPS.to_pytimedelta())),
    "other arrays": _Array(np.c_[STEPS, STEPS, STEPS].astype("timedelta64[h]")),
    "Arrow table": _polars(PYTHON).to_arrow(),
    "Arrow table, date": _polars([stamp.date() for stamp in PYTHON]).to_arrow(),
    "Arrow table, duration": _polars(list(STEPS.to_pytimedelta())).to_arrow(),
    "Arrow batch": _polars(PYTHON).to_arrow().to_batches()[0],
}
#: Where every column is one.
WHOLE = ("datetime64[D]", "datetime64[ns]", "timedelta64", "NaT alone", "other arrays")
#: Of one kind of container each.
SOME = ("objects: one date", "pandas, zone", "polars Datetime", "Arrow table, date")


@pytest.fixture(scope="module")
def fitted():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of trainings as short as these
        return {name: make().fit(NUMBERS) for name, make in DETECTORS.items()}


def _refused(X):
    """Return what an error has to name: the column, by its name or its number."""
    if isinstance(X, np.ndarray | list | _Array):
        return r"column 1 \("
    return r"column 'when' \("


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        *((kind, "RobustDeepAutoencoder") for kind in TIMES),
        *((kind, "WindowedDetector") for kind in TIMES),
        *((kind, name) for kind in WHOLE[:1] + SOME for name in DETECTORS),
    ],
)
def test_dates_and_times_are_refused_everywhere(kind, name, fitted):
    X = TIMES[kind]
    words = "dates or times in (column 0 .*, )?" + _refused(X)
    detector = DETECTORS[name]()
    before = vars(detector).copy()
    for method in ("fit", "fit_predict", "partial_fit"):
        if hasattr(detector, method):
            with pytest.raises(ValueError, match=words):
                getattr(detector, method)(X)
    assert vars(detector) == before
    found = fitted[name]
    state = vars(found).copy()
    for method in METHODS:
        if hasattr(found, method):
            with pytest.raises(ValueError, match=words):
                getattr(found, method)(X)
    if hasattr(found, "score"):
        with pytest.raises(ValueError, match=words):
            found.score(X, np.arange(N) % 2)
    assert vars(found) == state


@pytest.mark.parametrize("kind", TIMES)
def test_a_message_says_what_to_do_and_names_nothing_else(kind):
    with pytest.raises(ValueError, match=r"Drop .* index of a DataFrame.*TableEncoder") as caught:
        numbers_only(TIMES[kind])
    named = str(caught.value).count("column ") - 1  # "the first column of a table"
    assert named == (3 if kind in WHOLE else 1)


def test_all_columns_are_named_in_one_message():
    X = pd.DataFrame(
        {
            "at": STAMPS,
            "x": 1.0,
            "until": STAMPS.tz_localize("UTC"),
            "name": "pump",
            7: [[1.0, 2.0]] * N,
            "z": 1j,
        }
    )
    with pytest.raises(ValueError) as caught:
        RobustDeepAutoencoder().fit(X)
    for words in ("column 'at' (", "column 'until' (", "column 'name' (", "column 'z' (complex"):
        assert words in str(caught.value)
    assert "'x'" not in str(caught.value)
    with pytest.raises(ValueError, match="and 190 more"):
        RobustDeepAutoencoder().fit(np.zeros((3, 200), "datetime64[s]"))


def test_columns_may_be_called_like_attributes():
    names = ["dims", "column_names", "schema", "get_columns", "compute", "collect_schema"]
    X = pd.DataFrame(np.random.default_rng(0).normal(size=(N, 6)), columns=names)
    expected = RobustDeepAutoencoder(random_state=0).fit(X.to_numpy()).decision_scores_
    assert np.array_equal(RobustDeepAutoencoder(random_state=0).fit(X).decision_scores_, expected)
    series = WindowedDetector(HBOS(), window_size=5).fit(X)
    assert series.n_features_in_ == 6
    with pytest.raises(ValueError, match=r"column 'schema' \("):
        RobustDeepAutoencoder().fit(X.assign(schema=STAMPS))


def test_windows_as_arrays_of_three_axes():
    windows = np.random.default_rng(0).normal(size=(20, 4, 3))
    detector = LSTMRobustAutoencoder(n_channels=3, max_iter=1, hidden_layer_sizes=(2,))
    wrong = windows.astype(object)
    wrong[3, 2, 1] = PYTHON[0]
    for X in (windows.astype("timedelta64[s]"), wrong):
        with pytest.raises(ValueError, match=r"dates or times in .*column 1"):
            detector.fit(X)


# ----------------------------------------------------------------- what counts as numbers, or not

D = decimal.Decimal
INTEGERS = list(range(N))
TAKEN = {
    "booleans": _pandas([i % 3 == 0 for i in INTEGERS]),
    "nullable integers": _pandas(INTEGERS, dtype="Int16"),
    "nullable floats": _pandas(INTEGERS, dtype="Float32"),
    "nullable booleans": _pandas([i % 3 == 0 for i in INTEGERS], dtype="boolean"),
    "Arrow integers": _arrow(INTEGERS, pa.uint8()),
    "Arrow floats": _arrow(INTEGERS, pa.float64()),
    "Arrow decimals": _arrow([D(i) / 4 for i in INTEGERS], pa.decimal128(12, 3)),
    "decimals": _pandas([D(i) / 4 for i in INTEGERS], dtype=object),
    "fractions": _pandas([fractions.Fraction(i, 4) for i in INTEGERS], dtype=object),
    "categories that are numbers": _pandas(pd.Categorical(INTEGERS)),
    "polars booleans": _polars([i % 3 == 0 for i in INTEGERS]),
    "polars decimals": _polars([(D(i) / 4).quantize(D("0.01")) for i in INTEGERS]),
    "polars integers": _polars(pl.Series(INTEGERS, dtype=pl.UInt16)),
    "Arrow table": _polars([(D(i) / 4).quantize(D("0.01")) for i in INTEGERS]).to_arrow(),
    "Arrow dictionary": pa.table(
        {"a": NUMBERS[:, 0], "when": pa.array(INTEGERS).dictionary_encode(), "b": NUMBERS[:, 1]}
    ),
    "other arrays": _Array(NUMBERS),
    "objects": _objects([True, 2, np.float32(3), D(4), *INTEGERS[4:]]),
    "lists": [[1.0, i, True] for i in INTEGERS],
}
REFUSED = {
    "text": (_pandas([str(i) for i in INTEGERS]), "text in column 'when'.*astype"),
    "text, objects": (_pandas([str(i) for i in INTEGERS], dtype=object), "text in column 'when'"),
    "text, Arrow": (_arrow([str(i) for i in INTEGERS], pa.string()), "text in column 'when'"),
    "text, array": (NUMBERS.astype(str), "text in column 0 .*column 1 .*column 2"),
    "text, lists": ([[1.0, str(i), 2.0] for i in INTEGERS], r"text in column 1 \(object\)\."),
    "text, some": (_objects([*INTEGERS[1:], "7"]), r"text in column 1 \("),
    "text, polars": (_polars([str(i) for i in INTEGERS]), "text in column 'when'"),
    "bytes": (NUMBERS.astype("S20"), "text in column 0"),
    "categories that are text": (
        _pandas(pd.Categorical(list("abcd") * 10)),
        "text in column 'when'",
    ),
    "polars categories": (
        _polars(pl.Series(list("abcd") * 10, dtype=pl.Categorical)),
        "text in column 'when'",
    ),
    "complex numbers": (NUMBERS + 0j, "Complex data not supported"),
    "complex column": (_pandas([1j] * N), "complex numbers in column 'when'"),
    "complex objects": (_objects([1j] * N), "complex numbers in column 1"),
    "intervals": (_pandas(pd.interval_range(0, N)), "intervals in column 'when'"),
    "lists in a column": (_polars([[1.0, 2.0]] * N), "lists in column 'when'"),
    "missing integers": (_pandas([None, *INTEGERS[1:]], dtype="Int64"), "contains NaN"),
    "missing categories": (_pandas(pd.Categorical([None, *INTEGERS[1:]])), "contains NaN"),
    "missing objects": (_pandas([pd.NA, *INTEGERS[1:]], dtype=object), "NaN in column 'when'"),
    "None": (_objects([None, *INTEGERS[1:]]), "contains NaN"),
    "polars nulls": (_polars([None, *INTEGERS[1:]]), "contains NaN"),
    "masked entries": (np.ma.masked_greater(NUMBERS, 1.0), "contains NaN: some .* masked"),
    "fields": (np.zeros(N, [("a", float), ("b", "datetime64[s]")]), "structured array.*'a', 'b'"),
    "records": (np.rec.fromarrays(NUMBERS.T, names="a,b,c"), "structured array.*'a', 'b', 'c'"),
    "a lazy frame": (_polars(INTEGERS).lazy(), r"LazyFrame.*X\.collect\(\)"),
}


@pytest.mark.parametrize("kind", TAKEN)
def test_numbers_of_all_types_are_taken(kind):
    X = TAKEN[kind]
    floats = np.asarray(X.to_pandas() if isinstance(X, pa.Table) else X).astype(float)
    for make in (
        lambda: RobustDeepAutoencoder(random_state=0, max_iter=1),
        lambda: WindowedDetector(HBOS(), window_size=5),
    ):
        found = make().fit(X)
        assert np.array_equal(found.decision_scores_, make().fit(floats).decision_scores_)
        assert found.n_features_in_ == 3


@pytest.mark.filterwarnings("ignore:X has feature names")
@pytest.mark.parametrize("name", ["RobustDeepAutoencoder", "WindowedDetector", "OutlierAdapter"])
@pytest.mark.parametrize("kind", REFUSED)
def test_what_are_no_numbers_is_refused(kind, name, fitted):
    X, words = REFUSED[kind]
    detector = DETECTORS[name]()
    before = vars(detector).copy()
    with pytest.raises((ValueError, TypeError), match=words):
        detector.fit(X)
    assert vars(detector) == before
    with pytest.raises((ValueError, TypeError), match=words):
        fitted[name].predict(X)


def test_names_are_still_checked_first_in_frames_of_numbers():
    X = pd.DataFrame(NUMBERS, columns=["a", "b", "c"])
    detector = RobustDeepAutoencoder(max_iter=1).fit(X)
    with pytest.raises(ValueError, match="feature names"):
        detector.predict(X.rename(columns={"c": "d"}))
    with pytest.raises(ValueError, match="column 'c'"):
        detector.predict(X.assign(c=STAMPS))
    # Columns in front do not pass for others.
    with pytest.raises(ValueError, match="column 'at'"):
        detector.predict(X.assign(at=STAMPS)[["at", "a", "b"]])


def test_large_tables_are_not_copied():
    import tracemalloc

    tables = [
        pd.DataFrame(np.zeros((200_000, 10))),
        pd.DataFrame(np.zeros((200_000, 2), object)).assign(at=1),
        pl.DataFrame(np.zeros((200_000, 10))),
        np.zeros((200_000, 4), object),
    ]
    for X in tables:
        tracemalloc.start()
        numbers_only(X)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 100_000
