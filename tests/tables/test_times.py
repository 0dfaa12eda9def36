import pytest
from optional import Optional

from skrdae.tables import TableEncoder
from skrdae.tables.errors import TableError
from skrdae.tables.times import are_times, time_format, times

pd = Optional("pandas")


@pytest.mark.parametrize(
    ("written", "form", "second"),
    [
        ([20220131, 20220201], "%Y%m%d", "2022-02-01"),
        (["20220131", "20220201"], "%Y%m%d", "2022-02-01"),
        ([2022013123, 2022020100], "%Y%m%d%H", "2022-02-01"),
        ([202201312355, 202202010000], "%Y%m%d%H%M", "2022-02-01"),
        ([20220131235959, 20220201000000], "%Y%m%d%H%M%S", "2022-02-01"),
        (["31012022", "01022022"], "%d%m%Y", "2022-02-01"),
        (["311299", "010100"], "%d%m%y", "2000-01-01"),
        ([1643673540, 1643673600], "epoch s", "2022-02-01"),
        ([1643673540.5, 1643673600.5], "epoch s", "2022-02-01 00:00:00.5"),
        ([1643673540000, 1643673600000], "epoch ms", "2022-02-01"),
        ([1643673540000000, 1643673600000000], "epoch us", "2022-02-01"),
        ([1643673540000000000, 1643673600000000000], "epoch ns", "2022-02-01"),
        (
            ["01/31/2022 11:59:00 PM", "02/01/2022 12:00:00 AM"],
            "%m/%d/%Y %I:%M:%S %p",
            "2022-02-01",
        ),
        (["31/01/2022 23.59.00", "01/02/2022 00.00.00"], "%d/%m/%Y %H.%M.%S", "2022-02-01"),
        (["31.01.22 23:59", "01.02.22 00:00"], "%d.%m.%y %H:%M", "2022-02-01"),
        (["31-Jan-2022", "01-Feb-2022"], "%d-%b-%Y", "2022-02-01"),
        (["2022/01/31 23:59", "2022/02/01 00:00"], None, "2022-02-01"),
        (["2022-01-31 23:59:00 UTC", "2022-02-01 00:00:00 UTC"], None, "2022-02-01 00:00+00:00"),
    ],
)
def test_the_form_is_found(written, form, second):
    column = pd.Series(written, name="when")
    found = time_format(column)
    if form is not None:
        assert found == form
    assert times(column, found)[1] == pd.Timestamp(second)
    # It may be said, too, and is used for digits as well.
    assert times(column, time_format(column, found))[1] == pd.Timestamp(second)


@pytest.mark.parametrize(
    "written", [[1, 2, 3], [0.5, 1.0, 1.5], [20220131, 20220231], [99, 100, 101], [2019, 2020]]
)
def test_other_numbers_stay_numbers(written):
    column = pd.Series(written)
    assert time_format(column) is None
    assert times(column, None).tolist() == written


def test_a_form_counts_for_numbers_that_lost_their_zeros():
    column = pd.Series([1022022, 13022022], name="when")  # 01022022 was read as a number
    assert times(column, "%d%m%Y").tolist() == [
        pd.Timestamp("2022-02-01"),
        pd.Timestamp("2022-02-13"),
    ]


@pytest.mark.parametrize(
    ("written", "words"),
    [
        (["01/02/2022", "02/02/2022"], "'%d/%m/%Y' or '%m/%d/%Y': set time_format"),
        (["01022022", "02022022"], "'%d%m%Y' or '%m%d%Y': set time_format"),
        (["x1", "x2"], "was not recognised: the first is 'x1'.* time_format="),
        (["01.02.2022 24:00", "02.02.2022 24:00"], "not recognised"),
        (["2022-01-31", "soon", "2022-02-01"], "'soon' in row 1.* '2022-01-31' in row 0 .1 of 3"),
        (["2022-01-31", None], "no time in 1 of 2 rows"),
    ],
)
def test_what_is_no_time_is_named(written, words):
    with pytest.raises(TableError, match=words):
        time_format(pd.Series(written, name="when"))


def test_a_number_too_large_for_a_time_is_named():
    with pytest.raises(TableError, match="in row 1, which is no time of the form 'epoch s'"):
        times(pd.Series([0, 10**17], name="when"), "epoch s")


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (["2026-01-01", "2026-01-02"], True),
        (["01.02.2026", "02.02.2026"], True),
        (["10:00:00", "11:00:00"], True),
        (["press", "mill"], False),
        (["1.5", "2.5"], False),
        ([None, None], False),
    ],
)
def test_columns_that_hold_times_are_known(written, expected):
    assert are_times(pd.Series(written, dtype=object)) == expected


@pytest.mark.parametrize(
    ("columns", "names"),
    [
        ({"day": ["31/01/2022", "31/01/2022"], "hour": ["22.00.00", "23.00.00"]}, ["day", "hour"]),
        ({"y": [2022] * 2, "m": [1] * 2, "d": [31] * 2, "h": [22, 23]}, ["y", "m", "d", "h"]),
        ({"h": ["22:00", "23:00"], "day": pd.to_datetime(["2022-01-31"] * 2)}, ["day", "h"]),
        ({"day": [20220131] * 2, "hour": ["22:00", "23:00"]}, ["day", "hour"]),
    ],
)
def test_times_of_several_columns_are_joined(columns, names, tmp_path):
    table = pd.DataFrame({**columns, "a": [1.0, 2.0]})
    encoder = TableEncoder(names).fit(table)
    out = encoder.transform(table)
    assert out.columns.tolist() == ["a"]
    assert out.index.tolist() == [
        pd.Timestamp("2022-01-31 22:00"),
        pd.Timestamp("2022-01-31 23:00"),
    ]
    table[names[0]] = table[names[0]].astype(object)
    table.loc[1, names[0]] = None
    with pytest.raises(TableError, match="no time in 1 of 2 rows"):
        encoder.transform(table)
    with pytest.raises(TableError, match="no column 'month'"):
        TableEncoder([*names, "month"]).fit(table)
