import pytest

from skrdae.tables.csv_form import find_form
from skrdae.tables.errors import TableError


def _flags(form):
    return [option.in_shell() for option in form.found]


@pytest.mark.parametrize(
    ("text", "separator"),
    [
        ("a,b\n1,2\n3,4\n", ","),
        ("a;b\n1;2\n3;4\n", ";"),
        ("a;b\n1,5;2,5\n3,5;4,5\n", ";"),
        ("1,5;2,5\n3,5;4,5\n5,5;6,5\n", ";"),
        ("a;b\n" + "x;1,5\n" * 30, ";"),
        ("a,b\n" + "x;y,1\n" * 30, ","),
        ("name;note\nann;one, two\nbob;three\n", ";"),
        ("a\tb\n1,5\t2,5\n3,5\t4,5\n", "\t"),
        ("a|b\n1|2\n", "|"),
        ("a   b\n 1.0  2\n 3.0  4\n", " "),
        ("time,v\n2026-01-01 00:00,5\n2026-01-01 01:00,6\n", ","),
        ('"a;b",c\n"1;2",3\n', ","),
        ("text\nhello world\nfoo bar\n", ","),
        ("time\n2026-01-01 00:00\n2026-01-01 01:00\n", ","),
        ("sep=;\na;b\n1;2\n", ";"),
        ("v\n1,5\n2,5\n", ";"),  # one column
    ],
)
def test_the_separator_is_found(text, separator):
    form = find_form(text.encode())
    assert form.separator == separator
    said = [flag for flag in _flags(form) if flag.startswith("--separator")]
    assert len(said) == (separator != ",")
    assert find_form(text.encode(), separator=separator).names == form.names


@pytest.mark.parametrize(
    ("text", "header"),
    [
        ("a,b\n1,2\n", True),
        ("1.5,2\n3.5,4\n", False),
        ("900,900\n1,2\n3,4\n", False),
        ("1,2,3\n4,5,6\n7,8,9\n", False),
        ("2026-01-01,5\n2026-01-02,6\n", False),
        ("01.02.2026 10:00;5\n02.02.2026 10:00;6\n", False),
        ("0,tcp,http,491\n0,udp,dns,146\n0,tcp,ssh,0\n", False),
        ("p,x,s\ne,x,s\np,b,y\n", False),
        ("CCO,0.5\nCCC,0.7\nCCN,0.1\n", False),
        ("75,0,190,?\n56,1,165,?\n54,0,172,1\n", False),
        ("NaN,5\n2,3\n4,5\n", False),
        ("true,5\nfalse,6\n", False),
        ("1.5\n2.5\n", False),
        ("1,2,3\n", False),
        ("name,city\nann,rome\nbob,oslo\n", True),
        ("date,2019\n1 May,5\n2 May,6\n", False),
        ("day,2019\n2026-05-01,5\n2026-05-02,6\n", True),
        ("0,1,2\n0.5,0.25,1\n1.5,0.75,2\n", True),  # as pandas writes columns without names
        (",0,1,2\n0,0.5,0.25,1\n1,1.5,0.75,2\n", True),
        ("a,b\n", True),
        ("octane,400,410\n88,0.5,0.6\n91,0.4,0.5\n", True),  # numbers, but not all of them
        ("temp,temp\n1,2\n3,4\n", True),
    ],
)
def test_a_first_line_is_one_of_names_or_of_values(text, header):
    content = text.encode()
    form = find_form(content)
    assert form.header == header
    assert ("--no-header" in _flags(form)) == (not header)
    # Names that are numbers, in part or all, are told.
    doubtful = header and any(letter.isdigit() for letter in text.split()[0])
    assert ("--header" in _flags(form)) == doubtful
    if not header:
        assert form.names == [f"column_{i + 1}" for i in range(len(form.names))]
    # Whoever says it is believed, and hears nothing of it.
    for given in (True, False):
        told = find_form(content, header=given)
        assert told.header == given
        assert not {"--header", "--no-header"} & {*_flags(told)}


def test_a_line_with_the_names_that_are_asked_for_is_one_of_names():
    content = b"1,2\n3,4\n5,6\n"
    assert not find_form(content).header
    assert find_form(content, known_names=["2"]).header
    # Those that were made up, because there were none, are no names to look for.
    assert not find_form(b"1,2\nx,4\n5,6\n", known_names=["column_1"]).header
    assert find_form(b"a,b\n1,2\n3,4\n", known_names=["column_1"]).header
    assert find_form(b"column_1,column_2\n1,2\n", known_names=["column_1"]).header


@pytest.mark.parametrize(
    ("text", "names", "first_line"),
    [
        ("# made by x\n# on y, z\n\na,b\n1,2\n", ["a", "b"], 3),
        ("# a,b\n1,2\n3,4\n", ["a", "b"], 0),
        ("#time,b\n1,2\n3,4\n", ["#time", "b"], 0),
        ("# made by x\n# a b\n1 2\n3 4\n", ["a", "b"], 1),
        ("\n\na,b\n1,2\n", ["a", "b"], 2),
        (" a , b\n1,2\n", ["a", "b"], 0),
        ("a,a,b,\n1,2,3,4\n", ["a", "a.1", "b", "Unnamed: 3"], 0),
        ("a,a,a.1\n1,2,3\n", ["a", "a.2", "a.1"], 0),
        ('"a\nb",c\n1,2\n', ["a\nb", "c"], 0),
    ],
)
def test_names_and_what_comes_before_them(text, names, first_line):
    form = find_form(text.encode())
    assert (form.names, form.first_line) == (names, first_line)
    rows = text.encode()[form.rows_start :]
    assert rows.split()[0] in (b"1,2", b"1", b"1,2,3,4", b"1,2,3")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("\n\n", "no table"),
        ("#\t\n", "no table"),
        ("Logger 5\nSite: A, B\n\na,b\n1,2\n3,4\n5,6\n7,8\n", "line 4.*skip_lines=3"),
        ("Logger 5\na;b;c\n1;2;3\n3;4;5\n", "line 2.*skip_lines=1"),
        ("a,b\n1,2,3\n2,3,4\n", "line 1 holds 2 names, and the lines below it 3 values"),
        ("a,b\n1,5,2,5\n3,5,4,5\n", "a comma stands both between the values and within"),
    ],
)
def test_files_that_are_not_tables_as_they_are(text, words):
    with pytest.raises(TableError, match=words):
        find_form(text.encode())


def test_lines_that_are_skipped_are_not_looked_at():
    form = find_form(b"Logger 5\nSite; A\na,b\n1,2\n", skip_lines=2)
    assert (form.names, form.first_line) == (["a", "b"], 2)
    with pytest.raises(TableError, match="no table"):
        find_form(b"a,b\n1,2\n", skip_lines=7)


def test_another_separator_than_the_one_given_is_named():
    with pytest.raises(TableError, match="separated by ';': set separator=';'"):
        find_form(b"a;b\n1;2\n", separator=",")


def test_very_wide_and_very_long_lines():
    wide = ",".join(f"sensor {i}" for i in range(30_000))
    form = find_form((wide + "\n" + ",".join(["1"] * 30_000) + "\n").encode())
    assert len(form.names) == 30_000
    assert form.header
    long = "a,b\n" + "1," + "x" * 200_000 + "\n"
    assert find_form(long.encode()).names == ["a", "b"]
    assert find_form(("x" * 200_000 + ",b\n1,2\n").encode()).names[1] == "b"
