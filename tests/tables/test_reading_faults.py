"""Values that once went astray in silence."""

import json

import numpy as np
import pytest
from optional import Optional
from sklearn.pipeline import make_pipeline

from skrdae import RobustPCA, save
from skrdae.cli import main
from skrdae.tables import TableEncoder, read_table
from skrdae.tables.columns import row_numbers
from skrdae.tables.csv_form import find_form
from skrdae.tables.errors import Option, TableError
from skrdae.tables.files import read_file
from skrdae.tables.times import time_format

pd = Optional("pandas")


def _file(tmp_path, text):
    path = tmp_path / "t.csv"
    path.write_text(text)
    return path


def test_a_huge_integer_leaves_its_column_as_it_is(tmp_path):
    values = [7, 3**50, -12, 2**64]
    path = _file(tmp_path, "a,b\n" + "".join(f"{v},1\n" for v in values))
    assert read_table(path)["a"].tolist() == [float(v) for v in values]


@pytest.mark.parametrize(
    "texts",
    [
        ["kW", "1", "2", "3"],
        ["12.5", "12.5", "12,5", "3.5"],
        ["5 %", "7 %", "9 %", "7 %"],
        ["2026-03-01 10:00", "2026-03-01 11:00", "2026-03-01 12:00", "2026-03-01 13:00"],
    ],
)
def test_numbers_and_times_are_not_one_hot_encoded(texts):
    table = pd.DataFrame({"c": texts, "n": [1.0, 2.0, 3.0, 4.0]})
    with pytest.raises(TableError, match="'c'"):
        TableEncoder(categories="one-hot").fit(table)


@pytest.mark.parametrize("texts", [["Jan", "Feb", "Jan"], ["A1", "B2", "A1"], ["on", "off", "on"]])
def test_text_is_one_hot_encoded(texts):
    table = pd.DataFrame({"c": texts, "n": [1.0, 2.0, 4.0]})
    encoder = TableEncoder(categories="one-hot").fit(table)
    assert encoder.categories_ == {"c": sorted({*texts})}


def test_points_between_thousands(tmp_path):
    path = _file(tmp_path, "a;b\n1.101;2.346\n2.102;2.347\n3.103;7\n")
    assert read_file(path, thousands=".").table["a"].tolist() == [1101, 2102, 3103]
    asked = read_file(path)
    assert asked.table["a"].tolist() == [1.101, 2.102, 3.103]
    assert any("1.101 are read with a decimal point" in note for note in asked.notes)
    other = _file(tmp_path, "a;b\n1.101;2.34\n2.102;2.347\n")
    assert not read_file(other).notes
    with pytest.raises(TableError, match="cannot both be"):
        read_file(path, separator=";", decimal=".", thousands=".")


@pytest.mark.parametrize("mark", [".", "/", "-"])
def test_short_dates_go_by_their_order(mark):
    days = pd.date_range("2024-02-20", periods=40)
    for form in ("%d{}%m{}%y", "%y{}%m{}%d"):
        form = form.format(mark, mark)
        for order in (days, days[::-1]):
            assert time_format(pd.Series(order.strftime(form))) == form
    hours = pd.Series(pd.date_range("2024-02-03", periods=5, freq="h"), name="t")
    with pytest.raises(TableError, match="may be written as"):
        time_format(hours.dt.strftime(f"%y{mark}%m{mark}%d %H:%M"))


def test_times_with_and_without_an_offset_are_refused():
    mixed = ["2026-01-01T10:00:00Z", "2026-01-01T11:00:00"] * 5
    with pytest.raises(TableError, match="not written like"):
        time_format(pd.Series(mixed, name="t"))
    offsets = ["2026-01-01T10:00:00+01:00", "2026-01-01T11:00:00+02:00"] * 5
    assert time_format(pd.Series(offsets, name="t")) == "ISO8601"


def test_hours_of_one_digit_beside_dates_of_digits():
    column = pd.Series([f"20240101 {hour}" for hour in (0, 9, 10, 23)], name="t")
    assert time_format(column) == "%Y%m%d %H"


def test_blanks_do_not_shift_values(tmp_path):
    text = "name  x  y\nann   1  2\nbob      4\ncy    5  6\n"
    with pytest.raises(TableError, match="line 3 holds 2 values"):
        read_table(_file(tmp_path, text), separator=" ")
    quoted = _file(tmp_path, 'name x\n"ann lee" 1\nbob 4\n')
    assert read_table(quoted, separator=" ")["x"].tolist() == [1, 4]


def test_a_blank_line_of_one_column_is_a_missing_value(tmp_path):
    found = read_table(_file(tmp_path, "v\n1.5\n\n2.5\n\n\n"))["v"]
    np.testing.assert_array_equal(found, [1.5, np.nan, 2.5])


@pytest.mark.parametrize(
    ("text", "separator"),
    [
        ("ab;50,6\ncd;51,25\nef;7,5\n", ";"),
        ("ab;cd;50,6\nab;cd;5,6\nef;gh;0,6\n", ";"),
        ("name, unit;v\nab;50,6\ncd;51,25\n", ";"),
        ("a,b\nx;y,1\nx;y,2\n", ","),
    ],
)
def test_commas_within_numbers_separate_nothing(text, separator):
    assert find_form(text.encode()).separator == separator


def test_a_value_that_begins_with_a_dash_stays_with_its_flag():
    assert Option("ignore", ["-t", "a b"]).in_shell() == "--ignore=-t --ignore 'a b'"


@pytest.mark.parametrize("form", ["%Q", "%d.%", "%d%d"])
def test_what_is_no_form_of_times_is_a_wrong_call(form, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["detect", "x.csv", "--time-column", "t", "--time-format", form])
    assert stopped.value.code == 2
    assert "is not a form of times" in capsys.readouterr().err


def test_rows_of_a_sorted_table_are_those_of_the_file(tmp_path, capsys):
    rng = np.random.default_rng(3)
    table = pd.DataFrame({"t": np.arange(60.0), "a": rng.normal(size=60), "b": rng.normal(size=60)})
    model = make_pipeline(TableEncoder("t"), RobustPCA(contamination=0.05)).fit(table)
    save(model, tmp_path / "m")
    table.loc[4, "a"] = 500.0
    table[::-1].to_csv(tmp_path / "t.csv", index=False)
    call = ["score", str(tmp_path / "m"), str(tmp_path / "t.csv"), "--json", "--sort"]
    assert main(call) == 0
    assert json.loads(capsys.readouterr().out)["anomalies"][0]["row"] == 55


def _mixed(points, commas="{},5"):
    rows = (f"{commas.format(i)};{points.format(i)}" for i in range(1, 13))
    return "\n".join(["a;b", *rows])


def test_advice_on_marks_does_not_go_in_a_circle(tmp_path):
    path = _file(tmp_path, _mixed("{}.234"))
    with pytest.raises(TableError, match=r"'b' holds numbers such as '1\.234'") as stopped:
        read_file(path)
    advice = [part for part in stopped.value.parts if isinstance(part, Option)]
    assert [part.in_shell() for part in advice] == ["--thousands .", "--thousands none"]
    first = [read_file(path, thousands=part.value).table["b"][0] for part in advice]
    assert first == [1234, 1.234]
    # The same with the decimal mark that the other column has.
    with pytest.raises(TableError, match="thousands='none'"):
        read_file(path, decimal=",")
    assert read_file(path, decimal=",", thousands="none").table["b"][0] == 1.234


def test_all_columns_with_doubtful_numbers_are_named_at_once(tmp_path):
    with pytest.raises(TableError, match="columns 'a' and 'b' hold numbers such as '1,123'"):
        read_file(_file(tmp_path, _mixed("{},456", "{},123")))
    text = "a;b;c\n" + "".join(f"{i},5;{i}.234;{i}.567\n" for i in range(1, 9))
    with pytest.raises(TableError, match="columns 'b' and 'c' hold"):
        read_file(_file(tmp_path, text))


def test_one_column_of_two_decimal_marks_has_no_option(tmp_path):
    text = "a;b\n" + "".join(f"{i},5;{i}{'.,'[i % 2]}25\n" for i in range(12))
    table = read_file(_file(tmp_path, text)).table
    with pytest.raises(
        TableError, match=r"'b' .* holds numbers written in several ways"
    ) as stopped:
        TableEncoder().fit(table)
    assert "decimal=" not in str(stopped.value)


def test_what_is_no_number_is_told_among_decimal_commas(tmp_path):
    text = _mixed("{},25").replace("\n5,5;5,25", "\n5,5;x") + "\n1,5;1,25" * 20
    table = read_file(_file(tmp_path, text)).table
    for categories in ("error", "one-hot"):
        with pytest.raises(TableError, match=r"'b' \('x' in row 4; 1 of 32 values\) is not"):
            TableEncoder(categories=categories).fit(table)


@pytest.mark.parametrize("decimal", [None, ","])
def test_a_dash_among_points_beside_decimal_commas_is_missing(decimal, tmp_path):
    found = read_file(_file(tmp_path, _mixed("{}.25").replace("4.25", "-")), decimal=decimal)
    assert found.table["b"].isna().tolist() == [i == 3 for i in range(12)]
    assert "Column 'b': '-' counts as missing." in found.notes


@pytest.mark.parametrize(
    ("first", "form"), [(0, None), (1_767_225_600, "epoch s"), (1_767_225_600_000, "epoch ms")]
)
def test_times_that_are_counted_with_decimal_commas(first, form, tmp_path):
    path = _file(tmp_path, "t;v\n" + "".join(f"{first + i},5;{i}\n" for i in range(12)))
    table = read_file(path, text=["t"], times=["t"]).table
    assert table["t"].tolist() == [first + i + 0.5 for i in range(12)]
    assert time_format(table["t"]) == form
    assert read_file(path, text=["t"]).table["t"][0] == f"{first},5"


@pytest.mark.parametrize("form", ["%Y-%m-%d %H:%M:%S", "%d.%m.%Y %H:%M:%S"])
def test_times_with_commas_before_the_fraction(form, tmp_path):
    stamps = pd.date_range("2026-01-31 23:59:55", periods=9, freq="s").strftime(form)
    path = _file(tmp_path, "t;v\n" + "".join(f"{s},250;1,5\n" for s in stamps))
    table = read_file(path, text=["t"], times=["t"]).table
    assert time_format(table["t"]) == f"{form},%f"


@pytest.mark.parametrize(
    ("above", "n_lines"),
    [
        ("Device,ABC-1\nSerial,12345\n", 2),
        ("Device,ABC-1\nSerial,12345\n\n", 3),
        ("Report,\nStation,X\nfrom,now\n", 3),
        ("Station: X\nfrom now\n", 2),
    ],
)
def test_lines_above_the_names_are_told(above, n_lines, tmp_path):
    below = "power,temp\n" + "".join(f"{i}.5,{i}.25\n" for i in range(12))
    path = _file(tmp_path, above + below)
    with pytest.raises(TableError, match=f"in line {n_lines + 1}.*skip_lines={n_lines}"):
        read_file(path)
    assert read_file(path, skip_lines=n_lines).table.columns.tolist() == ["power", "temp"]


def test_a_row_of_text_in_a_table_is_no_line_of_names(tmp_path):
    lines = [f"{i}.5,{i}.25" for i in range(20)]
    lines[3] = "ERR,ERR"
    table = read_file(_file(tmp_path, "\n".join(["a,b", *lines]))).table
    assert table.columns.tolist() == ["a", "b"]
    units = read_file(_file(tmp_path, "\n".join(["a,b", "V,A", *lines]))).table
    assert units.columns.tolist() == ["a", "b"]


@pytest.mark.parametrize("names", ['"a,b,""c d"""', "a,b,c d"])
def test_lines_that_are_quoted_as_a_whole(names, tmp_path):
    lines = [f'"{i},2.5,""x, {i % 2}"""' for i in range(12)]
    found = read_file(_file(tmp_path, "\n".join([names, *lines])))
    assert found.table.iloc[1].to_dict() == {"a": 1, "b": 2.5, "c d": "x, 1"}
    assert "in quotation marks as a whole" in found.notes[0]


@pytest.mark.parametrize(
    "text",
    ['note\n"Hello, world"\n"Bye, you"\n', '"a","b"\n"1,5","2"\n"2,5","3"\n', '"a"\n"1"\n'],
)
def test_values_in_quotation_marks_are_left_alone(text, tmp_path):
    found = read_file(_file(tmp_path, text))
    assert not any("as a whole" in note for note in found.notes)


def test_months_before_days_are_told_by_their_order():
    days = pd.date_range("2025-11-28", periods=80, freq="5D")
    few = days[days.day <= 12]
    for form in ("%d/%m/%Y", "%m/%d/%Y"):
        assert time_format(pd.Series(few.strftime(form))) == form
    with pytest.raises(TableError, match="may be written as"):
        time_format(pd.Series(few[:1].strftime("%d/%m/%Y"), name="t"))


def test_short_dates_of_several_years_that_come_first():
    days = pd.Series(pd.date_range("2023-01-01", periods=900).strftime("%y.%m.%d"), name="t")
    assert time_format(days) == "%y.%m.%d"
    with pytest.raises(TableError, match="may be written as"):
        time_format(days.sample(frac=1, random_state=0))


def test_errors_in_the_first_rows_are_no_lines_above_the_names(tmp_path):
    rows = "".join(f"{i % 7}.5,{i % 5}.25\n" for i in range(60))
    path = _file(tmp_path, "p,q\nERR,ERR\nERR,ERR\n" + rows)
    for table in (read_table(path, na=["ERR"]), read_file(path, na=["ERR"]).table):
        assert [*table] == ["p", "q"]
        assert table.isna().sum().tolist() == [2, 2]
    with pytest.raises(TableError, match="begin in line 3"):
        read_table(_file(tmp_path, "plant,seven\nof,may\np,q\n" + rows))


@pytest.mark.parametrize("name", ["id", "order"])
def test_a_column_that_counts_on_is_found_whatever_its_name(name):
    table = pd.DataFrame({name: np.arange(100_000, 100_030), "load": np.sin(np.arange(30))})
    assert row_numbers(table) == [name]
    assert row_numbers(table[:5]) == []  # too few to be sure
