import numpy as np
import pytest

from skrdae.tables.csv_form import find_form
from skrdae.tables.csv_table import CsvFile
from skrdae.tables.errors import TableError


def _read(written, **options):
    content = written.encode()
    return CsvFile(content, find_form(content)).numbers(**options)


@pytest.mark.parametrize(
    ("written", "decimal", "thousands"),
    [
        (["1,5", "2,25", "-3,125"], ",", ""),
        (["1.234,5", "2,25", "7"], ",", "."),
        (["1,234.5", "2.25", "7"], ".", ","),
        (["1,234,567", "12", "7"], ".", ","),
        (["1 234,5", "2,25", "7"], ",", " "),
        (["1\u202f234,5", "2,25", "7"], ",", " "),
        (["1\u00a0234", "2", "7"], ".", " "),
        (["1'234.5", "2.25", "7"], ".", "'"),
        (["1,5e3", "2,5E-3", "+1,0"], ",", ""),
        (["0,037", "0,125", "1,250"], ",", ""),  # no group begins with a zero
    ],
)
def test_numbers_of_other_countries_are_found(written, decimal, thousands):
    plain = [
        float(
            text.replace("'", "")
            .replace("\u202f", "")
            .replace("\u00a0", "")
            .replace(" ", "")
            .replace(thousands if thousands in ",." and thousands else "\0", "")
            .replace(decimal, ".")
        )
        for text in written
    ]
    text = "a;b\n" + "".join(f'x;"{value}"\n' for value in written)
    found = _read(text)
    assert found.table["b"].tolist() == plain
    assert found.style == (decimal, thousands)
    flags = {option.name: option.value for option in found.found}
    assert flags.get("decimal", ".") == decimal
    assert flags.get("thousands", "") == thousands
    told = _read(text, decimal=decimal, thousands=thousands)
    assert told.table["b"].tolist() == plain
    assert told.found == []


def test_a_number_that_could_be_two_is_asked_about():
    text = "a;b\n1;1,234\n2;5,678\n"
    with pytest.raises(TableError, match="'1,234', in which ',' may be the decimal mark") as stop:
        _read(text)
    assert "--decimal , or --thousands ,." in stop.value.in_shell()
    assert _read(text, decimal=",").table["b"].tolist() == [1.234, 5.678]
    assert _read(text, thousands=",").table["b"].tolist() == [1234, 5678]
    # Another column tells.
    found = _read("a;b\n1,5;1,234\n2,5;5,678\n")
    assert found.table.to_dict("list") == {"a": [1.5, 2.5], "b": [1.234, 5.678]}


def test_points_beside_decimal_commas():
    # The rest of the file says that a point stands between thousands.
    found = _read("a;b;c\n1,5;1.234;1.234,5\n2,5;5.678;1\n")
    assert found.table["b"].tolist() == [1234, 5678]
    found = _read("a;b\n1,5;1.25\n2,5;2.5\n")
    assert found.table["b"].tolist() == [1.25, 2.5]
    assert "'b' is read with a decimal point" in found.notes[0]
    with pytest.raises(TableError, match=r"'1\.234', in which '\.' may be the decimal"):
        _read("a;b\n1,5;1.234\n2,5;5.678\n", decimal=",", thousands="")


def test_a_number_that_only_the_last_row_shows():
    # In the first thousand rows a comma could stand between thousands, and then it cannot.
    found = _read("a;b\n" + "x;1,234\n" * 2000 + "x;1,5\n")
    assert found.style == (",", "")
    assert found.table["b"].iloc[[0, -1]].tolist() == [1.234, 1.5]
    # And the other way round, a later row takes what the first ones could be.
    late = _read("a;b\n" + "x;1,5\n" * 2000 + "x;1.234,5\nx;-\n")
    assert late.style == (",", ".")
    assert late.table["b"].iloc[[0, -2]].tolist() == [1.5, 1234.5]
    assert np.isnan(late.table["b"].iloc[-1])
    assert "'-' counts as missing" in late.notes[0]


def test_commas_in_quotation_marks_between_commas():
    found = _read('a,b\n"1,5","x"\n"2,25","y"\n')
    assert found.table["a"].tolist() == [1.5, 2.25]
    assert found.style == (",", "")


def test_texts_and_dates_are_no_numbers():
    text = "ip;day;code;v\n192.168.1.1;20.01.2026;007;1,5\n10.0.0.1;21.01.2026;008;2,5\n"
    found = _read(text, text=["code"])
    assert found.table["ip"].tolist() == ["192.168.1.1", "10.0.0.1"]
    assert found.table["day"].tolist() == ["20.01.2026", "21.01.2026"]
    assert found.table["code"].tolist() == ["007", "008"]
    assert found.table["v"].tolist() == [1.5, 2.5]


@pytest.mark.parametrize("sign", ["-", "--", "?", "n/a", "N.A.", "null", "."])
def test_signs_for_nothing_are_missing_values_of_numbers_alone(sign):
    found = _read(f"a,b\n1.5,x\n{sign},{sign}x\n3,y\n")
    assert np.isnan(found.table["a"].tolist()).tolist() == [False, True, False]
    assert found.table["b"].tolist() == ["x", f"{sign}x", "y"]
    assert _read("a,b\n1,-\n2,x\n").table["b"].tolist() == ["-", "x"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b\n1,2\n3,4\n1,2,3\n5,6\n", "line 4 holds 3 values, more than the 2 columns"),
        ("# x\n\na,b\n1,2\n3,4\n1,2,3,\n", "line 6 holds 3 values"),
        ('a,b\n1,2\n3,"4\n5,6\n7,8\n', "quotation mark in line 3 is never closed"),
        ("a b\n1 2\n3 4 5\n6 7\n8 9\n", "line 3 holds 3 values.* hold a blank in quotation marks"),
        ('a,b\n"x\ny",2\n"1",2,3\n3,4\n5,6\n7,8\n', "line 4 holds 3 values"),
    ],
)
def test_lines_that_are_not_like_the_others_are_named(text, words):
    with pytest.raises(TableError, match=words):
        _read(text)


def test_separators_at_ends_of_lines_begin_no_column():
    for text in ("a,b,\n1,2,\n3,4,\n", "a,b\n1,2,\n3,4,\n"):
        assert _read(text).table.to_dict("list") == {"a": [1, 3], "b": [2, 4]}
    assert list(_read("1,2,\n3,4,\n").table) == ["column_1", "column_2"]


def test_a_file_is_written_as_it_was_with_more_columns():
    text = "# of x\r\nzeit;;zeit\r\n01.02.2026;007;1,50\r\n02.02.2026;008;2,25\r\n"
    file = CsvFile(text.encode(), find_form(text.encode()))
    made = file.written_with({"score": [2.0, 0.5]}, decimal=",", encoding="utf-16")
    assert made.decode("utf-16") == (
        "# of x\r\nzeit;;zeit;score\r\n01.02.2026;007;1,50;2,0\r\n02.02.2026;008;2,25;0,5\r\n"
    )
    # What is there already is replaced.
    again = CsvFile(made.decode("utf-16").encode(), find_form(made.decode("utf-16").encode()))
    made = again.written_with({"score": [4.5, 3.5]}, decimal=",", encoding="utf-8")
    assert made.decode().splitlines()[1:] == [
        "zeit;;zeit;score",
        "01.02.2026;007;1,50;4,5",
        "02.02.2026;008;2,25;3,5",
    ]


def test_a_number_with_a_sign_of_control_is_text():
    assert _read("a,b\n1.5\x1c,x\n2.5\x1c,y\n").table["a"].tolist() == ["1.5\x1c", "2.5\x1c"]
