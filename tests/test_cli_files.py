"""Files as strangers have them: each is read as it is meant, or refused in one good line."""

import bz2
import codecs
import contextlib
import gzip
import io
import json
import lzma
import os
import re
import sys
import tarfile
import tempfile
import threading
import zipfile

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from optional import Optional

from skrdae import RobustPCA, save
from skrdae.cli import main
from skrdae.tables import read_table

pd = Optional("pandas")

# What a user of a shell can do nothing with.
FOREIGN = re.compile(
    r"Traceback|pandas|pyarrow|numpy|[a-z]Error\b|[a-z]Warning\b|\bon_gap|resample\(|sort_index"
    r"|\bX\b|\bNaN\b|dtype|Expected \d|codec|\w_(size|column|format|function|state|samples|iter)\b"
    r"|nobody foresaw|<class|Errno|__"
)
N = 40
rng = np.random.default_rng(0)
A, B = rng.normal(10, 2, N).round(3), rng.normal(2000, 300, N).round(2)
B[7] = 9000.5


def _table(row, head="a,b\n"):
    return head + "".join(row(float(a), float(b)) for a, b in zip(A, B, strict=True))


PLAIN = _table(lambda a, b: f"{a},{b}\n")


def _comma(value, n_digits=3):
    return f"{value:.{n_digits}f}".replace(".", ",")


def _grouped(value, group, decimal):
    return f"{value:,.2f}".translate(str.maketrans({",": group, ".": decimal}))


def _archive(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def _tar(content):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        member = tarfile.TarInfo("folder/data.csv")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def _parquet():
    buffer = io.BytesIO()
    pd.DataFrame({"a": A, "b": B}).to_parquet(buffer)
    return buffer.getvalue()


def _run(capsys, *arguments):
    status = main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    assert not FOREIGN.search(err), err
    return status, out, err


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Scores of the plain file, and a model."""
    folder = tmp_path_factory.mktemp("plain")
    (folder / "plain.csv").write_text(PLAIN)
    call = ["detect", folder / "plain.csv", "--model", "robust-pca", "-o", folder / "o.csv"]
    assert main([str(c) for c in [*call, "--save", folder / "model"]]) == 0
    return read_table(folder / "o.csv")["skrdae_score"], folder / "model"


# The same numbers in other dress: the content, what is said of it, and the options needed.
SAME = {
    "semicolons": (_table(lambda a, b: f"{a};{b}\n", "a;b\n"), "--separator ';'", ()),
    "german": (
        _table(lambda a, b: f"{_comma(a)};{_comma(b)}\n", "a;b\n"),
        "--separator ';' --decimal ,",
        (),
    ),
    "german, with thousands": (
        _table(lambda a, b: f"{_comma(a)};{_grouped(b, '.', ',')}\n", "a;b\n"),
        "--separator ';' --decimal , --thousands .",
        (),
    ),
    "french": (
        _table(lambda a, b: f"{_comma(a)};{_grouped(b, chr(0x202F), ',')}\n", "a;b\n"),
        "--separator ';' --decimal , --thousands ' '",
        (),
    ),
    "swiss": (
        _table(lambda a, b: f"{a};{_grouped(b, chr(39), '.')}\n", "a;b\n"),
        "--separator ';' --thousands \"'\"",
        (),
    ),
    "american": (_table(lambda a, b: f'{a},"{_grouped(b, ",", ".")}"\n'), "--thousands ,", ()),
    "tabs": (_table(lambda a, b: f"{a}\t{b}\n", "a\tb\n"), "--separator tab", ()),
    "columns of blanks": (
        _table(lambda a, b: f"{a:10.3f}  {b:12.2f}\n", "         a         b\n"),
        "--separator space",
        (),
    ),
    "no names": (_table(lambda a, b: f"{a},{b}\n", ""), "the first line holds; --no-header", ()),
    "told, no names": (_table(lambda a, b: f"{a},{b}\n", ""), "", ("--no-header",)),
    "names that count": (_table(lambda a, b: f"{a},{b}\n", "1,2\n"), "", ("--header",)),
    "quoted": (_table(lambda a, b: f'"{a}","{b}"\n', '"a","b"\n'), "", ()),
    "blanks behind separators": (_table(lambda a, b: f"{a}, {b}\n", "a, b\n"), "", ()),
    "comments": ("# made by hand\n# on, a, day\n" + PLAIN, "", ()),
    "names in a comment": (_table(lambda a, b: f"{a},{b}\n", "# a,b\n"), "", ()),
    "of Excel": (_table(lambda a, b: f"{a};{b}\n", "sep=;\na;b\n"), "--separator ';'", ()),
    "below a title": ("Logger 5\nSite: A, B\n\n" + PLAIN, "", ("--skip-lines", "3")),
    "separators at the ends": (_table(lambda a, b: f"{a},{b},\n", "a,b,\n"), "", ()),
    "blank lines": (PLAIN.replace("\n", "\n\n"), "", ()),
    "mixed ends of lines": (PLAIN.replace("\n", "\r\n", 20), "", ()),
    "old ends of lines": (PLAIN.replace("\n", "\r"), "", ()),
    "no end of the last line": (PLAIN.strip(), "", ()),
    "marked UTF-8": (codecs.BOM_UTF8 + PLAIN.encode(), "", ()),
    "marked UTF-16": (PLAIN.encode("utf-16"), "", ()),
    "UTF-16": (PLAIN.encode("utf-16-be"), "", ("--encoding", "utf-16-be")),
    "cp1252": (
        PLAIN.replace("b", "\xdf", 1).encode("cp1252"),
        "",
        ("--encoding", "cp1252"),
    ),
    "row numbers": (
        "".join(f"{i - 1 if i else ''},{line}\n" for i, line in enumerate(PLAIN.split())),
        "which has no name, numbers the rows (0, 1, …) and is left out; --keep 'Unnamed: 0'",
        (),
    ),
    "twice a name": (
        PLAIN.replace("a,b", "a,a"),
        "'a' is the name of several columns: column 2 is 'a.1' here",
        (),
    ),
    "gzip by another name": (gzip.compress(PLAIN.encode()), "", ()),
    "bzip2": (bz2.compress(PLAIN.encode()), "", ()),
    "xz": (lzma.compress(PLAIN.encode()), "", ()),
    "zip": (_archive({"data.csv": PLAIN, "__MACOSX/._data.csv": "x"}), "", ()),
    "tar": (_tar(PLAIN.encode()), "", ()),
    "Parquet by another name": (_parquet(), "", ()),
}


@pytest.mark.parametrize("name", SAME)
def test_the_same_numbers_in_another_dress(name, plain, tmp_path, capsys):
    content, words, options = SAME[name]
    (tmp_path / "t.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    call = ["detect", tmp_path / "t.csv", "--model", "robust-pca", *options]
    status, out, err = _run(capsys, *call, "-o", tmp_path / "o.parquet")
    assert status == 0, err
    assert out.startswith(f"4 of {N} rows flagged")
    found = pd.read_parquet(tmp_path / "o.parquet")["skrdae_score"]
    assert np.array_equal(found, plain[0])
    for part in words.split("; ") if words else ():
        assert part in err
    assert (err == "") == (words == "")


ROW = "1.5,{}\n2.5,2\n3.5,3\n4.5,4\n"
# What a file holds, and what is said, maybe with options.
REFUSED = {
    "empty": (b"", "it is empty"),
    "blank": (b" \n\n\t\n", "it is empty"),
    "names alone": (b"a,b\n", "names of columns, but no rows"),
    "text": ("a,b\n" + ROW.format(1) + "x,y\n" * 9, "'a' .'x' in row 4.* and 'b'.*--categories"),
    "cp1252": (
        _table(lambda a, b: f"{a},{b}\n", "größe,b\n").encode("cp1252"),
        "F6.*cp1252.*größe",
    ),
    "cp1251": (
        _table(lambda a, b: f"{a},{b}\n", "температура,b\n").encode("cp1251"),
        "cp1251.*темп",
    ),
    "UTF-16 without a mark": (PLAIN.encode("utf-16-le"), "--encoding utf-16-le"),
    "zero bytes": (b"a,b\n1,2\n\0\0\0\n3,4\n", "a zero byte is in line 3"),
    "anything": (bytes(range(256)) * 9, "neither text nor|zero byte"),
    "JSON": (b'[{"a": 1, "b": 2}]', "it is JSON.*jq -r "),
    "JSON lines": (b'{"a": 1}\n{"a": 2}\n', "it is JSON.*jq -sr "),
    "a web page": (b"\n<!DOCTYPE html><html>Not found</html>", "it is a web page"),
    "XML": (b"<?xml version='1.0'?><a/>", "it is XML"),
    "ARFF": (b"@RELATION x\n@DATA\n1,2\n", "it is ARFF"),
    "Excel": (
        _archive({"[Content_Types].xml": "x", "xl/workbook.xml": "x"}),
        "Excel workbook.*save it as CSV",
    ),
    "old Excel": (bytes.fromhex("d0cf11e0a1b11ae1") + bytes(99), "Excel workbook.*save it as CSV"),
    "two files": (
        _archive({"a.csv": "a\n1\n", "b.csv": "b\n1\n"}),
        "an archive of 2 files: unpack it",
    ),
    "half a file": (gzip.compress(PLAIN.encode())[:-9], "compressed, and damaged or cut off"),
    "zstd": (b"\x28\xb5\x2f\xfd" + bytes(9), "compressed"),
    "half of UTF-16": (
        codecs.BOM_UTF16_LE + "a,b".encode("utf-16-le") + b"x",
        "not written in utf-16",
    ),
    "an encoding of its own": (b"a,b\x81\n1,2\n", "byte 81 in line 1. Set --encoding latin-1"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(9), "it is a picture"),
    "SQLite": (b"SQLite format 3\0" + bytes(9), "it is an SQLite database.*export"),
    "half of Parquet": (_parquet()[:-9], "cannot be read as Parquet: it is damaged or cut off"),
    "a pointer": (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    "a title": ("Logger 5\n\n" + PLAIN, "begins in line 3, below 'Logger 5'.*--skip-lines 2"),
    "units": (
        _table(lambda a, b: f"{a},{b}\n", "a,b\n°C,kW\n"),
        "'a' .'°C'. and 'b' .'kW'. hold numbers in all rows but the first. Take that row out",
    ),
    "a row too long": (PLAIN + "1,2,3\n", f"line {N + 2} holds 3 values, more than the 2 columns"),
    "an open quotation mark": (
        PLAIN + '1,"2\n' + "3,4\n" * 9,
        f"mark in line {N + 2} is never clo",
    ),
    "two commas": ("a,b\n" + "1,5,2,5\n" * 9, "comma stands both"),
    "two ways": ("a;b\n1;1,234\n2;5,678\n", "'1,234'.*--decimal , or --thousands ,"),
    "a short row": ("a,b\n1,2\n3\n5,6\n", "'b' .1 of 3 missing, first in row 1. lacks values"),
    "a sign for nothing": ("a,b\n" + ROW.format("-"), "'b' .1 of 4 missing, first in row 0"),
    "a word among numbers": (
        "a,b\n" + ROW.format("off"),
        "'b' .'off'. holds numbers in all rows but",
    ),
    "percent": ("a,p\n" + "1.5,12%\n2.5,8%\n" * 5, "'p' .'12%' in row 0. holds numbers with signs"),
    "yes and no": ("a,on\n" + "1.5,yes\n2.5,no\n" * 5, "'on'.*--categories one-hot"),
    "infinity": ("a,b\n" + ROW.format("inf"), "'b' .first in row 0. contains infinity"),
    "far too large": ("a,b\n1,1e300\n2,-1e300\n" + PLAIN[4:], "'b': some numbers are too large"),
    "columns of nothing": (
        "a,b,c\n1.5,,\n2.5,,\n",
        "'b' and 'c' hold no value.*--ignore b --ignore c",
    ),
    "row numbers alone": (
        "n\n" + "".join(f"{i}\n" for i in range(20)),
        "only numbers the rows.*--keep n",
    ),
    "days and hours": (
        "a,hour\n1.5,10:00\n2.5,11:00\n",
        "'hour' .'10:00'. holds times.*--time-column hour .columns of days and hours: both",
    ),
    "everything at once": (
        "a,b,c,d,e\n"
        + "".join(f"{i if i % 5 else ''},x{i % 3},,2026-01-01,{i}\n" for i in range(9)),
        "'b'.*numeric.*'d'.*holds times.*'c' holds no value.*'a'.*lacks values",
    ),
    "a colour": ("a,\x1b[31mb\n" + "1.5,x\n2.5,y\n" * 5, r"'\\x1b\[31mb'"),
    "a long text": ("a,b\n" + f"1.5,{'x' * 300_000}\n" * 5, "'x{60}…'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_one_good_line(name, tmp_path, capsys):
    content, words = REFUSED[name]
    path = tmp_path / "t.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    status, out, err = _run(
        capsys, "detect", path, "--model", "robust-pca", "-o", tmp_path / "o.csv"
    )
    assert (status, out) == (1, "")
    assert err.count("\n") == 1
    assert err.isascii() or not any(ord(c) < 32 for c in err.strip())
    assert re.search(words, err), err
    assert os.listdir(tmp_path) == ["t.csv"]


def test_a_line_says_how_to_go_on_and_going_on_like_that_works(tmp_path, capsys):
    path = tmp_path / "t.csv"
    path.write_bytes("Logger Ä\na;b\n".encode("cp1252") + b"1,234;x\n2,5;y\n3,5;x\n4;y\n1,5;\n" * 9)
    call = ["detect", path, "--model", "robust-pca"]
    for words, options in (
        ("--encoding cp1252", ["--encoding", "cp1252"]),
        ("--skip-lines 1", ["--skip-lines", "1"]),
        ("--categories one-hot", ["--categories", "one-hot"]),
        ("--missing median", ["--missing", "median"]),
    ):
        status, _, err = _run(capsys, *call)
        assert status == 1
        assert words in err
        call += options
    status, _, err = _run(capsys, *call)
    assert status == 0
    assert "note: the file is read with --separator ';' --decimal ," in err


_TOKENS = [
    b",",
    b";",
    b'"',
    b"\n",
    b"\r",
    b"\0",
    b"-",
    b"NaN",
    b"1e400",
    b"x",
    b"\xff",
    b"#",
    b" ",
    b".",
]


@hypothesis.given(
    name=st.sampled_from(sorted(SAME)),
    edits=st.lists(st.tuples(st.integers(0, 700), st.integers(0, 9), st.sampled_from(_TOKENS))),
    options=st.sampled_from([(), ("--missing", "mean"), ("--categories", "drop"), ("--header",)]),
)
@hypothesis.settings(deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
def test_no_file_is_more_than_a_line(name, edits, options):
    content, _, given = SAME[name]
    content = bytearray(content if isinstance(content, bytes) else content.encode())
    for place, length, token in edits:
        content[place : place + length] = token
    out, err = io.StringIO(), io.StringIO()
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "t.csv")
        with open(path, "wb") as file:
            file.write(content)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = main(["detect", path, "--model", "robust-pca", *given, *options])
    assert status in (0, 1)
    assert "nobody foresaw" not in err.getvalue()
    assert "Traceback" not in err.getvalue()
    if status == 1 and "too large" not in err.getvalue():
        assert (out.getvalue(), err.getvalue().count("\n")) == ("", 1)


# ---------------------------------------------------------------------- results and models


@pytest.mark.parametrize(
    "name", ["german, with thousands", "no names", "names in a comment", "marked UTF-16", "cp1252"]
)
def test_a_result_is_read_like_the_file_it_came_from(name, plain, tmp_path, capsys):
    content, _, options = SAME[name]
    data, model = tmp_path / "t.csv", tmp_path / "model"
    data.write_bytes(content if isinstance(content, bytes) else content.encode())
    call = ["detect", data, "--model", "robust-pca", *options, "-o", tmp_path / "o.csv"]
    assert _run(capsys, *call, "--save", model)[0] == 0
    # Whatever is scored by the model: the file, or what came of it.
    for path, again in ((data, "p.csv"), (tmp_path / "o.csv", "q.csv")):
        status, _, err = _run(capsys, "score", model, path, *options, "-o", tmp_path / again)
        assert status == 0, err
    o, p, q = ((tmp_path / f"{n}.csv").read_bytes() for n in "opq")
    assert o == p == q
    encoding = "utf-16" if "16" in name else "cp1252" if "cp" in name else "utf-8"
    before, after = (c if isinstance(c, str) else c.decode(encoding) for c in (content, o))
    names = {"no names": "column_1,column_2", "names in a comment": "a,b"}
    if name in names:
        assert after.startswith(names[name] + ",skrdae_score")
        before = names[name] + "\n" + before.partition("\n")[2 * name.startswith("names")] * 1 or ""
    if name != "no names":
        lines = zip(before.split()[-N:], after.split()[-N:], strict=True)
        assert all(a.startswith(b) for b, a in lines)
    # And it can be looked at anew.
    second = ["detect", tmp_path / "o.csv", "--model", "robust-pca"]
    status, _, err = _run(capsys, *second, *(o for o in options if o != "--no-header"))
    assert status == 0, err


def test_files_without_names_are_scored_by_models_of_such_files(tmp_path, capsys):
    data, model = tmp_path / "t.csv", tmp_path / "model"
    data.write_text(SAME["no names"][0])
    _, out, _ = _run(
        capsys,
        "detect",
        data,
        "--model",
        "robust-pca",
        "--save",
        model,
        "--json",
        "-o",
        tmp_path / "o.csv",
    )
    # The first row of a part has a text where others hold numbers: names, but for the model.
    status, found, err = _run(capsys, "score", model, data, "--json")
    assert status == 0
    assert json.loads(found)["anomalies"] == json.loads(out)["anomalies"]
    part = "".join(SAME["no names"][0].splitlines(keepends=True)[5:9])
    data.write_text(part)
    status, found, _ = _run(capsys, "score", model, data, "--json")
    assert json.loads(found)["rows"] == 4
    data.write_text(PLAIN)
    status, _, err = _run(capsys, "score", model, data)
    assert status == 1
    assert "no column 'column_1' and 'column_2'" in err


def test_names_that_look_like_numbers_are_known_to_a_model(tmp_path, capsys):
    data, model = tmp_path / "t.csv", tmp_path / "model"
    data.write_text(_table(lambda a, b: f"{a},{b}\n", "2019,2020\n"))
    call = ["detect", data, "--model", "robust-pca", "--save", model]
    assert "--header takes it for names" in _run(capsys, *call)[2]
    _, out, err = _run(capsys, *call, "--header")
    assert (out.split()[2], err) == (str(N), "")
    status, out, err = _run(capsys, "score", model, data)
    assert (status, out.split()[2], err) == (0, str(N), "")


@pytest.mark.parametrize(
    ("name", "values", "left_out"),
    [
        ("", range(N), True),
        ("", range(1, N + 1), True),
        ("", rng.permutation(N), True),
        ("", np.arange(N) * 3 + 7, True),
        ("", [*range(N // 2), *range(N // 2)], True),
        ("", A, False),
        ("", [i % 3 for i in range(N)], False),
        ("index", range(N), True),
        ("ID", range(1, N + 1), True),
        ("index", np.cumsum(np.arange(N)), False),
        ("sample", range(500, 500 + N), True),
        ("sample", range(N, 0, -1), True),
        ("sample", [*range(N - 1), N + 1], False),
        ("sample", [0, 0, *range(N - 2)], False),
    ],
)
def test_columns_that_number_the_rows_are_left_out(name, values, left_out, plain, tmp_path, capsys):
    values = list(values)
    lines = PLAIN.splitlines()
    table = [
        f"{name},{lines[0]}",
        *(f"{v},{line}" for v, line in zip(values, lines[1:], strict=True)),
    ]
    data, model = tmp_path / "t.csv", tmp_path / "model"
    data.write_text("\n".join(table))
    call = ["detect", data, "--model", "robust-pca", "-o", tmp_path / "o.csv"]
    status, _, err = _run(capsys, *call, "--save", model)
    assert status == 0
    scores = read_table(tmp_path / "o.csv")["skrdae_score"]
    assert np.array_equal(scores, plain[0]) == left_out
    assert ("numbers the rows" in err) == left_out
    # The table is written whole.
    assert (tmp_path / "o.csv").read_text().splitlines()[5].startswith(table[5])
    if left_out:
        kept = name or "Unnamed: 0"
        assert f"--keep {kept if name else repr(kept)} keeps it" in err
        status, _, err = _run(capsys, *call, "--keep", kept)
        assert (status, err) == (0, "")
        assert not np.array_equal(read_table(tmp_path / "o.csv")["skrdae_score"], plain[0])
        # A model of the table leaves them out of whatever comes.
        data.write_text(PLAIN)
        assert _run(capsys, "score", model, data, "-o", tmp_path / "o.csv")[0] == 0
        assert np.array_equal(read_table(tmp_path / "o.csv")["skrdae_score"], plain[0])


def test_a_column_that_is_kept_has_to_be_there(tmp_path, capsys):
    (tmp_path / "t.csv").write_text(PLAIN)
    status, _, err = _run(capsys, "detect", tmp_path / "t.csv", "--keep", "n")
    assert (status, err) == (1, "skrdae detect: --keep 'n': there is no such column\n")


# ------------------------------------------------------------------------- pipes and devices


def test_a_table_may_come_through_a_pipe(plain, tmp_path, capsys, monkeypatch):
    scores, model = plain
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for command in (["detect", "-", "--model", "robust-pca"], ["score", model, "-"]):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(PLAIN.encode())))
        options = ["-o", tmp_path / "o.csv", "--plot", tmp_path / "p.png"]
        status, _, err = _run(capsys, *command, *options)
        assert (status, err) == (0, "")
        assert np.array_equal(read_table(tmp_path / "o.csv")["skrdae_score"], scores)
        writer = threading.Thread(target=pipe.write_text, args=(PLAIN,), daemon=True)
        writer.start()
        through = [pipe if part == "-" else part for part in command]
        status, _, err = _run(capsys, *through, "-o", tmp_path / "o.csv")
        writer.join(60)
        assert (status, err) == (0, "")
        assert np.array_equal(read_table(tmp_path / "o.csv")["skrdae_score"], scores)
    status, _, err = _run(capsys, "score", pipe, tmp_path / "o.csv")
    assert status == 2
    assert "is not a file" in err


def test_devices_and_folders_are_no_tables(tmp_path, capsys):
    for path, words in (("/dev/zero", "it is a device"), (tmp_path, "is a directory")):
        status, _, err = _run(capsys, "detect", path)
        assert (status, err.count("\n")) == (1, 1)
        assert words in err


def test_a_small_file_that_unpacks_to_a_large_one_is_not_unpacked(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("skrdae.tables.contents._LARGEST", 10_000)
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(PLAIN.encode() * 100))
    status, _, err = _run(capsys, "detect", path)
    assert (status, err.count("\n")) == (1, 1)
    assert "'a' ('a' in row 40" in err  # names among the rows, but not too large
    path.write_bytes(gzip.compress(bytes(10**6)))
    status, _, err = _run(capsys, "detect", path)
    assert (status, err.count("\n")) == (1, 1)
    assert "holds more than 200 times its size" in err


# ---------------------------------------------------------------------------- hostile models


@pytest.mark.parametrize("damage", ["other", "cut", "bytes", "nothing", "folder"])
def test_a_file_that_is_no_model_is_a_line_and_status_2(damage, plain, tmp_path, capsys):
    (tmp_path / "t.csv").write_text(PLAIN)
    whole, path = plain[1].read_bytes(), tmp_path / "model"
    if damage == "folder":
        path.mkdir()
    else:
        path.write_bytes(
            {
                "other": PLAIN.encode(),
                "cut": whole[:-7],
                "bytes": whole.replace(b"numeric_columns_", b"numeric_columns-"),
                "nothing": b"",
            }[damage]
        )
    status, out, err = _run(capsys, "score", path, tmp_path / "t.csv")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert str(path) in err


def test_a_model_that_loads_but_cannot_score_is_a_line(tmp_path, capsys, monkeypatch):
    (tmp_path / "t.csv").write_text(_table(lambda a, b: f"{a};{b}\n", "a;b\n"))
    (tmp_path / "model").touch()
    table = pd.DataFrame({"a": A, "b": B})
    for break_it, expected in (
        (lambda d: vars(d).pop("model_"), 2),
        (lambda d: setattr(d, "threshold_", "high"), 2),
        (lambda d: setattr(d, "feature_names_in_", np.array(["a", "c"], dtype=object)), 1),
    ):
        detector = RobustPCA().fit(table)
        break_it(detector)
        monkeypatch.setattr("skrdae.commands.scoring.load", lambda path, device, d=detector: d)
        status, out, err = _run(capsys, "score", tmp_path / "model", tmp_path / "t.csv")
        assert (status, out, err.count("\n")) == (expected, "", 1)
        assert ("no column 'c'" in err) == (status == 1)


def test_a_model_of_numbers_says_what_it_cannot_take(tmp_path, capsys):
    save(RobustPCA().fit(np.c_[A, B]), tmp_path / "model")
    for text, words in (
        (
            "a,b,c\n1,2,3\n4,5,6\n",
            "the model looks at 2 columns, by their places, and the file has 3",
        ),
        ("a,b\n1,x\n2,y\n", "'b' .'x' in row 0; 2 of 2 values. is not numeric. In training"),
        ("a,b\n1,\n2,3\n", "'b' .1 of 2 missing, first in row 0. lacks values. The model was"),
    ):
        (tmp_path / "t.csv").write_text(text)
        status, _, err = _run(capsys, "score", tmp_path / "model", tmp_path / "t.csv")
        assert (status, err.count("\n")) == (1, 1)
        assert re.search(words, err), err


@pytest.mark.parametrize("name", ["a$b^2$_{c}.csv", "$\\frac{.csv", "データ.csv"])
def test_no_name_breaks_a_picture(name, tmp_path, capsys):
    table = pd.DataFrame({"$t": pd.date_range("2026", periods=N, freq="h"), "b^$_{": A, "$": B})
    for columns, options in (
        (["b^$_{", "$"], []),
        (["$t", "b^$_{"], ["--time-column", "$t", "--window-size", 4]),
    ):
        table[columns].to_csv(tmp_path / name, index=False)
        call = ["detect", tmp_path / name, "--model", "robust-pca", *options]
        status, _, err = _run(capsys, *call, "--plot", tmp_path / "p.png")
        assert status == 0, err
        assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
