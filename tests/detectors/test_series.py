"""What the index of a series says: in whatever form, of one series or of several."""

import copy
import pickle
from decimal import Decimal

import numpy as np
import pytest
from optional import Optional
from pyod.models.hbos import HBOS
from sklearn.base import BaseEstimator
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import train_test_split

from skrdae import OutlierAdapter, RobustPCA, WindowedDetector
from skrdae.detectors.series import check_series
from skrdae.detectors.series_error import SeriesError

pd = Optional("pandas")
pl = Optional("polars")
pa = Optional("pyarrow")

N = 300
#: Over midnight, the end of a month, and days that could be months.
STAMPS = pd.date_range("2022-01-30 21:00", periods=N, freq="11min")
VALUES = np.cos(np.arange(N) / 7) + 0.1 * np.random.default_rng(1).normal(size=N)
#: Rows 120 to 139 are missing.
KEPT = np.r_[0:120, 140:N]


def _detector(**options):
    return WindowedDetector(HBOS(), **({"window_size": 12, "trim": 0} | options))


def _check(X, **options):
    return check_series(BaseEstimator(), X, **({"reset": True, "on_gap": "raise"} | options))


def _frame(index, rows=None):
    frame = pd.DataFrame({"flow": VALUES[: len(index)]}, index=index)
    return frame if rows is None else frame.iloc[rows]


def _kind(X, **options):
    """Return the kind of trouble that there is with X."""
    with pytest.raises(SeriesError) as caught:
        _check(X, **options)
    return caught.value.kind


# ------------------------------------------------------------------------------- forms of an index

TEXT = {
    "as read from a file": str,
    "ISO": lambda t: t.strftime("%Y-%m-%dT%H:%M:%S"),
    "ISO, UTC": lambda t: t.strftime("%Y-%m-%dT%H:%M:%SZ"),
    "ISO, offset": lambda t: t.tz_localize("Asia/Kolkata").isoformat(),
    "day first": lambda t: t.strftime("%d.%m.%Y %H:%M"),
    "day first, spaces": lambda t: t.strftime(" %d/%m/%Y %H:%M "),
    "month first": lambda t: t.strftime("%m/%d/%Y %H:%M:%S"),
    "month first, clock of twelve": lambda t: t.strftime("%m/%d/%y %I:%M %p"),
    "year first": lambda t: t.strftime("%Y/%m/%d %H:%M"),
    "named months": lambda t: t.strftime("%d %b %Y %H:%M"),
    "digits": lambda t: t.strftime("%Y%m%d%H%M"),
    "lengths": lambda t: str(t - STAMPS[0]),
}
FORMS = {
    "DatetimeIndex": STAMPS,
    "seconds": STAMPS.as_unit("s"),
    "nanoseconds": STAMPS.as_unit("ns"),
    "zone": STAMPS.tz_localize("America/New_York"),
    "TimedeltaIndex": STAMPS - STAMPS[0],
    "PeriodIndex": STAMPS.to_period("min"),
    "IntervalIndex": pd.IntervalIndex.from_arrays(STAMPS, STAMPS + pd.Timedelta("11min")),
    "CategoricalIndex": pd.CategoricalIndex(STAMPS),
    "categories of text": pd.CategoricalIndex(STAMPS.astype(str)),
    "Arrow": pd.Index(pd.array(STAMPS, dtype="timestamp[s][pyarrow]")),
    "Arrow, zone": pd.Index(
        pd.array(STAMPS.tz_localize("UTC"), dtype="timestamp[us, UTC][pyarrow]")
    ),
    "Arrow text": pd.Index(STAMPS.astype(str), dtype=pd.ArrowDtype(pa.string())),
    "datetime": pd.Index([t.to_pydatetime() for t in STAMPS], dtype=object),
    "datetime, zone": pd.Index(
        [t.to_pydatetime() for t in STAMPS.tz_localize("Europe/Oslo")], dtype=object
    ),
    "Timestamp": pd.Index(list(STAMPS), dtype=object),
    "datetime64": pd.Index([t.to_datetime64() for t in STAMPS], dtype=object),
    "timedelta": pd.Index(list((STAMPS - STAMPS[0]).to_pytimedelta()), dtype=object),
    "Period": pd.Index(list(STAMPS.to_period("min")), dtype=object),
    "RangeIndex": pd.RangeIndex(50, 50 + N),
    "integers": pd.Index(np.arange(N) * 3 - 40),
    "unsigned": pd.Index(np.arange(N), dtype="uint8" if N < 256 else "uint32"),
    "floats": pd.Index(np.arange(N) * 0.05),
    "nullable": pd.Index(np.arange(N), dtype="Int32"),
    "Arrow integers": pd.Index(pd.array(np.arange(N), dtype="int64[pyarrow]")),
    "integer objects": pd.Index(list(range(N)), dtype=object),
    "epoch": pd.Index(STAMPS.astype("int64")),
    "timedelta64": pd.Index([np.timedelta64(11 * i, "m") for i in range(N)], dtype=object),
    "decimals": pd.Index([Decimal(i) / 4 for i in range(N)], dtype=object),
    "one level": pd.MultiIndex.from_arrays([STAMPS], names=["time"]),
} | {f"text: {name}": pd.Index([form(t) for t in STAMPS]) for name, form in TEXT.items()}
forms = pytest.mark.parametrize("form", FORMS)


@forms
def test_every_form_tells_gaps_order_duplicates_and_rate(form):
    index = FORMS[form]
    whole = _check(_frame(index))
    assert whole.lengths == [N]
    assert whole.spacing > 0
    assert whole.order is None
    known = {"spacing": whole.spacing, "index_kind": whole.index_kind}
    for options in ({}, known):
        assert _kind(_frame(index, KEPT), **options) == "gap"
        assert _check(_frame(index, KEPT), **options | {"on_gap": "split"}).lengths == [120, 160]
        assert _kind(_frame(index)[::-1], **options) == "unsorted"
        assert (
            _kind(_frame(index, np.random.default_rng(0).permutation(N)), **options) == "unsorted"
        )
        assert _kind(_frame(index, np.r_[0:30, 29:90]), **options) == "duplicate"
    for on_gap in ("raise", "split"):
        assert _kind(_frame(index)[::2], on_gap=on_gap, **known) == "rate"
        assert _kind(_frame(index)[::3], on_gap=on_gap, **known) == "rate"
    # A few rows are enough to tell the time.
    assert _check(_frame(index).iloc[:3], **known).lengths == [3]
    assert _check(_frame(index).iloc[7:8], **known).lengths == [1]


@forms
def test_scores_do_not_depend_on_the_form(form):
    pieces = [VALUES[:120], VALUES[140:]]
    expected = _detector().fit(pieces)
    found = _detector(on_gap="split").fit(_frame(FORMS[form], KEPT))
    assert np.array_equal(found.decision_scores_, expected.decision_scores_)
    assert np.array_equal(found.labels_, expected.labels_)
    newest = _frame(FORMS[form]).iloc[150:200]
    assert found.score_new(newest) == found.decision_function(newest)[-1]


@pytest.mark.parametrize(
    "index",
    [
        [str(i) for i in range(N)],
        [str(i / 2) for i in range(N)],
        [f"{i}e3" for i in range(N)],
        [f"row {i}" for i in range(N)],
        [f"A-2022-01-{i:02d}" for i in range(N)],
        [f"10.0.0.{i}" for i in range(N)],
        [f"{i:04x}-{i:04x}" for i in range(N)],
        [str(31_000_000 + 13 * i) for i in range(N)],
        [str(10**9 + i) for i in range(N)],
        ["same"] * N,
        ["a", 1] * (N // 2),
        ["2022-01-30", "a", "b"] * (N // 3),
        [True, False] * (N // 2),
        [None] * N,
        [1j] * N,
        [b"2022-01-30"] * N,
        [frozenset()] * N,
        pd.Categorical(range(N)),
        pd.Categorical([f"kind {i % 5}" for i in range(N)]),
    ],
)
def test_an_index_that_tells_no_time_says_nothing(index):
    index = pd.Index(index, dtype=object if isinstance(index, list) else None)
    found = _check(_frame(index, KEPT))
    assert found.lengths == [len(KEPT)]
    assert (found.spacing, found.index_kind) == (None, None)


def _text_with(**entries):
    texts = list(STAMPS.astype(str))
    for row, entry in entries.items():
        texts[int(row[1:])] = entry
    return pd.Index(texts, dtype=object)


@pytest.mark.parametrize(
    ("index", "kind", "words"),
    [
        (_text_with(_9="n/a"), "unreadable", r"'n/a' in row 9 .*\(1 in all\)"),
        (_text_with(_9="", _20="2022-02-30"), "unreadable", r"'' in row 9 .*\(2 in all\)"),
        (_text_with(_9=None), "missing", "missing entries"),
        (_text_with(_9=7), "unreadable", "7 in row 9"),
        (pd.Index([*STAMPS[:-1], "later"], dtype=object), "unreadable", "'later' in row 299"),
        (STAMPS.where(np.arange(N) != 4), "missing", "NaT"),
        (pd.Index([None, *STAMPS[1:]], dtype=object), "missing", "NaT"),
        (pd.Index([None, *range(1, N)], dtype="Int64"), "missing", "NaN"),
        (pd.Index([np.inf, *range(1, N)]), "missing", "NaN"),
        (pd.CategoricalIndex([None, *STAMPS[1:]]), "missing", "NaT"),
        (pd.Index(["2022-01-30"] * N), "duplicate", r"2022-01-30 twice.*reset_index\(drop=True\)"),
        (pd.Index(STAMPS.time, dtype=object), "unsorted", "00:07:00 comes after"),
        (pd.Index(STAMPS.strftime("%H:%M")), "unsorted", "00:07 comes after"),
    ],
)
@pytest.mark.parametrize("on_gap", ["raise", "split"])
def test_entries_that_cannot_be_read(index, kind, words, on_gap):
    if on_gap == "split" and kind in ("unsorted", "duplicate"):
        on_gap = "raise"
    with pytest.raises(SeriesError, match=words) as caught:
        _check(_frame(index), on_gap=on_gap)
    assert caught.value.kind == kind


def test_days_and_months_are_told_apart_by_even_steps():
    days = pd.date_range("2023-05-01", periods=12)
    texts = pd.Index(days.strftime("%d/%m/%Y"))
    assert _kind(_frame(texts)) == "ambiguous"  # days in May, or the first of each month
    day = _check(_frame(days)).spacing
    assert _check(_frame(texts), spacing=day, index_kind="times").lengths == [12]
    hours = pd.date_range("2023-05-01", periods=100, freq="h")
    for form in ("%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M"):
        assert _check(_frame(pd.Index(hours.strftime(form)))).spacing == day / 24
    # Within a day it makes no difference.
    assert _check(_frame(pd.Index(hours[:20].strftime("%d.%m.%Y %H:%M")))).lengths == [20]


def test_leftovers_of_a_split_are_told_what_to_do():
    frame = _frame(pd.RangeIndex(N))
    for part in train_test_split(frame, random_state=0):
        for on_gap in ("raise", "split"):
            with pytest.raises(SeriesError, match=r"X\.reset_index\(drop=True\)") as caught:
                _check(part, on_gap=on_gap)
            assert caught.value.kind in ("unsorted", "uneven")
        assert _check(part.reset_index(drop=True)).lengths == [len(part)]
    with pytest.raises(SeriesError, match=r"gap.*X\.reset_index\(drop=True\)"):
        _check(frame[frame.flow > 0])
    later = train_test_split(frame, shuffle=False)[1]
    assert _check(later, spacing=1.0, index_kind="numbers").lengths == [len(later)]


UNITS = {
    "times": STAMPS,
    "lengths": STAMPS - STAMPS[0],
    "text": pd.Index(STAMPS.strftime("%d.%m.%Y %H:%M")),
    "numbers": pd.RangeIndex(N),
    "minutes": pd.Index(np.arange(N) * 11.0),
    "periods": STAMPS.to_period("min"),
    "days": pd.period_range("2022", periods=N, freq="D"),
}
SAME = [{"times", "lengths", "text"}, {"numbers"}, {"minutes"}, {"periods"}, {"days"}]


@pytest.mark.parametrize("then", UNITS)
@pytest.mark.parametrize("first", UNITS)
def test_an_index_of_another_kind_is_refused(first, then):
    detector = _detector().fit(_frame(UNITS[first]))
    if any({first, then} <= same for same in SAME):
        assert detector.predict(_frame(UNITS[then])).shape == (N,)
        return
    with pytest.raises(SeriesError) as caught:
        detector.predict(_frame(UNITS[then]))
    is_rate = {first, then} == {"numbers", "minutes"}
    assert caught.value.kind == ("rate" if is_rate else "units")
    if not is_rate:
        assert "that of the training series" in str(caught.value)
        with pytest.raises(SeriesError, match=r"X\[1\] holds .* the series before"):
            _check([_frame(UNITS[first]), _frame(UNITS[then])])
    # Labels, and no index at all, say nothing.
    labels = _frame(pd.Index([f"row {i}" for i in range(N)]))
    assert np.array_equal(detector.predict(labels), detector.labels_)
    assert _detector().fit(labels).predict(_frame(UNITS[then])).shape == (N,)


# --------------------------------------------------------------------------------- several series


def _several():
    """Return three series of several lengths, by the two names that each has."""
    starts = {("north", 2): 0, ("north", 10): 3000, ("south", 2): 40}
    lengths = {("north", 2): 90, ("north", 10): 60, ("south", 2): 120}
    return {
        key: pd.DataFrame(
            {
                "flow": np.cos(np.arange(lengths[key]) / 7) + i,
                "heat": np.random.default_rng(i).normal(size=lengths[key]),
            },
            index=pd.date_range("2023-02-03", periods=lengths[key], freq="10min")
            + pd.Timedelta(minutes=10 * start),
        )
        for i, (key, start) in enumerate(starts.items())
    }


ORDERS = {
    "one after another": lambda long: long,
    "time first": lambda long: long.reorder_levels(["time", "site", "pump"]),
    "time in between": lambda long: long.reorder_levels(["site", "time", "pump"]),
    "interleaved": lambda long: long.sort_index(level="time", kind="stable"),
    "merged at random": lambda long: long.iloc[_merge(long)],
    "text": lambda long: long.set_index(
        long.index.set_levels(long.index.levels[2].astype(str), level=2)
    ),
    "categories": lambda long: long.set_index(
        [
            long.index.get_level_values(0).astype("category"),
            long.index.get_level_values(1),
            pd.CategoricalIndex(long.index.get_level_values(2), name="time"),
        ]
    ),
}


def _merge(long):
    """Return an order of rows that leaves each series in its own."""
    series = long.index.droplevel("time").factorize()[0]
    places = np.sort(np.random.default_rng(5).random(len(long)))
    keys = np.empty(len(long))
    for one in np.unique(series):
        drawn = np.random.default_rng(one).choice(len(long), (series == one).sum(), replace=False)
        keys[series == one] = np.sort(places[drawn])
    return np.argsort(keys, kind="stable")


@pytest.mark.parametrize("order", ORDERS)
def test_a_multiindex_is_several_series(order):
    parts = _several()
    X = ORDERS[order](pd.concat(parts, names=["site", "pump", "time"]))
    series = X.index.droplevel("time")
    options = {"max_windows": None, "detector": HBOS(contamination=0.4)}
    inside = _detector().set_params(**options).fit([*parts.values()])
    found = _detector().set_params(**options).fit(X)
    assert found.n_features_in_ == 2
    assert found.feature_names_in_.tolist() == ["flow", "heat"]
    assert len(found.window_scores_) == sum(len(part) - 11 for part in parts.values())
    flags = 0
    for method in ("decision_function", "predict", "predict_confidence", "predict_proba"):
        made = getattr(found, method)(X)
        for key, part in parts.items():
            alone = getattr(found, method)(part)
            np.testing.assert_array_equal(made[series == key], alone, err_msg=method)
            flags += alone.sum() if method == "predict" else 0
            # As if they had come as a list.
            np.testing.assert_allclose(alone, getattr(inside, method)(part), atol=1e-12)
    assert flags > 0
    assert np.array_equal(found.decision_scores_, found.decision_function(X))
    assert np.array_equal(found.labels_, found.predict(X))
    y = np.random.default_rng(0).random(len(X)) < 0.2
    apart = [(found.decision_function(part), y[series == key]) for key, part in parts.items()]
    scores, labels = map(np.concatenate, zip(*apart, strict=True))
    assert found.score(X, y) == pytest.approx(_auc(labels, scores))
    # Any order of the levels, and other series, are scored by the same detector.
    other = parts["south", 2].assign(unit="new", part=0).set_index(["unit", "part"], append=True)
    assert np.array_equal(found.predict(other), found.predict(parts["south", 2]))


def _auc(y, scores):
    above = scores[y][:, None] - scores[~y]
    return ((above > 0) + (above == 0) / 2).mean()


def test_gaps_in_one_of_several_series():
    parts = _several()
    parts["north", 10] = parts["north", 10].drop(parts["north", 10].index[20:30])
    X = pd.concat(parts, names=["site", "pump", "time"]).sort_index(level="time")
    with pytest.raises(SeriesError, match=r"X, series \('north', 10\), has 1 gap") as caught:
        _detector().fit(X)
    assert caught.value.kind == "gap"
    found = _detector(on_gap="split").fit(X)
    pieces = [parts["north", 2], parts["south", 2]]
    pieces += [parts["north", 10][:20], parts["north", 10][20:]]
    assert len(found.window_scores_) == sum(len(piece) - 11 for piece in pieces)
    whole = pd.concat(_several(), names=["site", "pump", "time"])
    turned = pd.concat([whole.loc[["north"]], whole.loc[["south"]][::-1]])
    with pytest.raises(SeriesError, match=r"series \('south', 2\), is not sorted"):
        _detector().fit(turned)
    # Steps that no window covers stay where they are.
    parts["north", 10] = parts["north", 10][:7]
    X = pd.concat(parts, names=["site", "pump", "time"]).sort_index(level="time")
    with pytest.warns(UserWarning, match=f"No window covers 7 of {len(X)}"):
        found = _detector().fit(X)
    bare = np.asarray(X.index.get_level_values("pump") == 10)
    assert np.array_equal(np.isnan(found.decision_scores_), bare)
    assert not found.labels_[bare].any()


def test_the_numbers_of_steps_are_the_time_beside_names():
    parts = {"engine 1": VALUES[:100], "engine 2": VALUES[100:]}
    X = pd.concat({key: pd.DataFrame({"flow": part}) for key, part in parts.items()})
    found = _detector().fit(X)
    expected = _detector().fit([*parts.values()])
    assert np.array_equal(found.decision_scores_, expected.decision_scores_)
    assert found._index_kind == "numbers"


@pytest.mark.parametrize(
    ("levels", "kind"),
    [
        ([np.repeat([1, 2], 150), np.tile(np.arange(150), 2)], "levels"),
        ([STAMPS, STAMPS], "levels"),
        ([STAMPS.date, STAMPS.time], "levels"),
        ([["a"] * N, ["b"] * N], "levels"),
        ([[None] * 10 + ["a"] * (N - 10), STAMPS], "missing"),
        ([["a"] * N, list(STAMPS.where(np.arange(N) > 3))], "missing"),
    ],
)
def test_levels_that_do_not_say_which_is_the_time(levels, kind):
    X = _frame(pd.MultiIndex.from_arrays(levels))
    assert _kind(X) == kind
    if kind == "levels":
        with pytest.raises(SeriesError, match=r"list of series, say .*groupby"):
            _check(X)
    # What the message advises.
    engines = _frame(pd.MultiIndex.from_arrays([np.repeat([1, 2], 150), [*range(150)] * 2]))
    advised = [part.droplevel(0) for _, part in engines.groupby(level=0)]
    assert _check(advised).lengths == [150, 150]


def test_the_newest_step_is_of_one_series():
    parts = _several()
    X = pd.concat(parts, names=["site", "pump", "time"])
    detector = _detector().fit(X)
    with pytest.raises(SeriesError, match="newest 12 rows of X are of 2 series") as caught:
        detector.score_new(X.sort_index(level="time")[:100])
    assert caught.value.kind == "several"
    for key, part in parts.items():
        one = X[X.index.droplevel("time") == key]
        assert detector.score_new(one) == detector.decision_function(part)[-1]


# ------------------------------------------------------------------------- other libraries' tables


def _polars(rows=slice(None), **columns):
    times = STAMPS.to_numpy() if not columns else columns.pop("time")
    return pl.DataFrame({"at": times, "flow": VALUES, "heat": VALUES[::-1].copy()})[rows]


TABLES = {
    "polars": lambda table: table,
    "polars, zone": lambda table: table.with_columns(
        pl.col("at").dt.replace_time_zone("UTC").dt.convert_time_zone("Asia/Seoul")
    ),
    "polars, milliseconds": lambda table: table.with_columns(pl.col("at").dt.cast_time_unit("ms")),
    "Arrow": lambda table: table.to_arrow(),
    "Arrow, batch": lambda table: pa.RecordBatch.from_struct_array(
        pa.array(table.to_dicts(), pa.struct(list(table.to_arrow().schema)))
    ),
}


@pytest.mark.parametrize("kind", TABLES)
def test_a_first_column_of_dates_is_the_index(kind):
    make = TABLES[kind]
    whole = make(_polars())
    frame = pd.DataFrame({"flow": VALUES, "heat": VALUES[::-1]}, index=STAMPS)
    expected = _detector().fit(frame)
    found = _detector().fit(whole)
    assert found.n_features_in_ == 2
    if kind != "Arrow, batch":  # of which scikit-learn knows no names
        assert found.feature_names_in_.tolist() == ["flow", "heat"]
        assert np.array_equal(found.predict(frame), expected.labels_)
    assert np.array_equal(found.decision_scores_, expected.decision_scores_)
    assert found.score_new(whole) == expected.score_new(frame)
    gap = make(_polars(KEPT.tolist()))
    for call in (_detector().fit, found.predict):
        with pytest.raises(SeriesError, match=r"has 1 gap.* between 2022-0.* 660 seconds"):
            call(gap)
    assert _check(gap, on_gap="split").lengths == [120, 160]
    with pytest.raises(SeriesError, match="Sort it by time"):
        _check(make(_polars()[::-1]))
    with pytest.raises(SeriesError, match="resampling to 660 seconds"):
        found.predict(make(_polars()[::2]))
    # Without the column there is no index.
    rest = make(_polars()).select(["flow", "heat"])
    assert np.array_equal(found.predict(rest), found.labels_)


def test_days_of_polars_are_an_index_as_well():
    days = pl.Series(list(pd.date_range("2022-02-27", periods=N).date))
    found = _check(_polars(time=days))
    assert (found.spacing, found.values.shape) == (86400e9, (N, 2))
    holed = _polars(time=days).filter(pl.int_range(N) != 50)
    assert _kind(holed) == "gap"
    assert _kind(_polars(time=days.scatter(5, None))) == "missing"


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (_polars().select("flow", "at", "heat"), "column 'at'.*first column"),
        (_polars().with_columns(day=pl.col("at").dt.date()), "dates or times in column 'day' "),
        (_polars().select("at"), "column 'at'"),
        (_polars().with_columns(at=pl.col("at") - STAMPS[0]), "column 'at'"),
        (_polars().with_columns(at=pl.col("at").dt.time()), "column 'at'"),
        (_polars()["at"], "contains dates or times"),
        (_polars().to_arrow()["at"], "contains dates or times"),
        (pd.Series(STAMPS), "contains dates or times"),
        (pd.DataFrame({"at": STAMPS, "flow": VALUES}), "column 'at'"),
        (list(STAMPS), "contains dates or times"),
        (_polars().lazy(), "LazyFrame"),
        ({"a": VALUES}, r"list\(X\.values\(\)\)"),
    ],
)
def test_columns_of_times_elsewhere_are_refused(table, words):
    with pytest.raises((ValueError, TypeError), match=words):
        _detector().fit(table)


@pytest.mark.parametrize(
    "make",
    [
        pl.Series,
        lambda values: pl.Series("flow", values),
        pd.Series,
        lambda values: pd.Series(values, name="flow"),
        pa.array,
        lambda values: pa.chunked_array([values[:70], values[70:]]),
        list,
        tuple,
        lambda values: values.astype(np.float32).astype(np.float64),
    ],
)
def test_one_channel_may_be_flat(make):
    values = VALUES.astype(np.float32).astype(float)
    expected = _detector().fit(values)
    found = _detector().fit(make(values))
    assert np.array_equal(found.decision_scores_, expected.decision_scores_)
    assert found.score_new(make(values)) == expected.score_new(values)
    if make not in (list, tuple):  # of which a list is one array
        several = _detector().fit([make(values), make(values[:90])])
        both = _detector().fit([values, values[:90]])
        assert np.array_equal(several.decision_scores_, both.decision_scores_)
        assert np.array_equal(found.predict(make(values[40:80])), expected.predict(values[40:80]))


class _Labelled:
    """What xarray's DataArray is to us: an array with an index for each dimension."""

    def __init__(self, values, index):
        self._values, self._index = values, index

    dims = property(lambda self: ("time", "channel")[: self._values.ndim])
    indexes = property(lambda self: {"time": self._index})
    dtype = property(lambda self: self._values.dtype)
    shape = property(lambda self: self._values.shape)
    ndim = property(lambda self: self._values.ndim)

    def __len__(self):
        return len(self._values)

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self._values, dtype)

    def __getitem__(self, rows):
        return _Labelled(self._values[rows], self._index[rows])


@pytest.mark.parametrize("values", [VALUES, np.c_[VALUES, VALUES[::-1]]])
def test_labelled_arrays_have_an_index(values):
    expected = _detector().fit(values)
    found = _detector().fit(_Labelled(values, STAMPS))
    assert np.array_equal(found.decision_scores_, expected.decision_scores_)
    assert found.score_new(_Labelled(values, STAMPS)) == expected.score_new(values)
    gap = _Labelled(values, STAMPS)[KEPT]
    assert _kind(gap) == "gap"
    with pytest.raises(ValueError, match="dates or times"):
        _check(_Labelled(values.astype("datetime64[s]"), STAMPS))


class _Later:
    """What a DataFrame of Dask is to us."""

    def __init__(self, frame):
        self.frame = frame

    def compute(self):
        return self.frame


def test_tables_that_are_yet_to_be_computed():
    frame = pd.DataFrame({"flow": VALUES}, index=STAMPS)
    expected = _detector().fit(frame)
    assert np.array_equal(_detector().fit(_Later(frame)).labels_, expected.labels_)
    with pytest.raises(SeriesError, match="gap"):
        _detector().fit(_Later(frame.iloc[KEPT]))


# ------------------------------------------------------------------------------- errors, adapters


def test_an_error_tells_programs_what_is_wrong():
    with pytest.raises(ValueError) as caught:
        _detector().fit(_frame(STAMPS, KEPT))
    error = caught.value
    expected = {
        "series": "X",
        "count": 1,
        "first": str(STAMPS[119]),
        "second": str(STAMPS[140]),
        "usual": 660.0,
    }
    for other in (error, pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert isinstance(other, SeriesError)
        assert str(other) == str(error)
        assert (other.kind, other.facts) == ("gap", expected)
    X = VALUES.copy()
    X[[3, 8]] = np.nan
    with pytest.raises(SeriesError) as caught:
        _detector().fit([VALUES, X])
    assert (caught.value.kind, caught.value.facts["series"]) == ("NaN", "X[1]")
    assert (caught.value.facts["first"], caught.value.facts["count"]) == (3, 2)
    with pytest.raises(SeriesError) as caught:
        _detector().fit(VALUES[:9])
    assert (caught.value.kind, caught.value.facts) == ("short", {"size": 12, "longest": 9})


def test_an_adapter_goes_around_it_and_not_into_it():
    with pytest.raises(TypeError, match=r"OutlierAdapter\(WindowedDetector\(\.\.\.\)\)"):
        WindowedDetector(OutlierAdapter(HBOS())).fit(VALUES)
    frame = _frame(STAMPS)
    inner = _detector().fit(frame)
    for adapter in (OutlierAdapter(_detector()), OutlierAdapter(FrozenEstimator(inner))):
        adapter.fit(frame)
        assert adapter.feature_names_in_.tolist() == ["flow"]
        assert adapter.n_features_in_ == 1
        assert np.array_equal(adapter.predict(frame), 1 - 2 * inner.labels_)
        assert np.array_equal(adapter.score_samples(frame), -inner.decision_scores_)
        with pytest.raises(SeriesError, match="gap"):
            adapter.predict(_frame(STAMPS, KEPT))
        with pytest.raises(SeriesError, match="goes on in steps of"):
            adapter.decision_function(frame[::2])
    adapter = OutlierAdapter(_detector())
    assert np.array_equal(adapter.fit_predict(VALUES), 1 - 2 * _detector().fit(VALUES).labels_)
    assert not hasattr(adapter, "feature_names_in_")
    pieces = [VALUES[:100], VALUES[100:]]
    assert np.array_equal(adapter.fit(pieces).predict(pieces), 1 - 2 * adapter.detector_.labels_)
    with pytest.raises(SeriesError, match="gap"):
        adapter.fit(_frame(STAMPS, KEPT))
    assert adapter.predict(pieces).shape == (N,)


def test_a_detector_of_this_package_reads_the_index_too():
    detector = WindowedDetector(RobustPCA(), window_size=12, on_gap="split")
    found = detector.fit(_frame(pd.Index(STAMPS.astype(str)), KEPT))
    expected = WindowedDetector(RobustPCA(), window_size=12).fit([VALUES[:120], VALUES[140:]])
    assert np.array_equal(found.decision_scores_, expected.decision_scores_)
