"""Tables as users have them: separators, decimals, gaps, labels, columns of every kind."""

import datetime
import unicodedata

import numpy as np
import pytest

from metaloop.errors import UserError
from metaloop.tasks.readers.table_files import read_table

E_ACUTE, E_AND_ACUTE = "caf\u00e9", "cafe\u0301"  # the same word in Unicode


def text(folder, content, name="own.csv"):
    (folder / name).write_text(content, encoding="utf-8")
    return folder / name


def parquet(folder, **columns):
    pyarrow, files = (pytest.importorskip(n) for n in ("pyarrow", "pyarrow.parquet"))
    files.write_table(pyarrow.table(columns), folder / "own.parquet")
    return folder / "own.parquet"


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ("a,b\n1.5,2\n-3,0.25\n", "own.csv"),
        ("\ufeffa;b\r\n1.5;2\r\n\r\n-3;0.25\r\n", "own.csv"),
        ("a|b\n1.5|2\n-3|0.25\n", "own.csv"),
        ("a\tb\n1.5\t2\n-3\t0.25\n", "own.csv"),
        ("a\tb\n1,5\t2\n-3\t0,25\n", "own.tsv"),
        ("a;b\n1,5;2\n-3;2,5e-1\n", "own.csv"),
        ('a,b\n"1,5",2\n-3,"0,25"\n', "own.csv"),
        ("sep=;\na;b\n1,5;2\n-3;0,25\n", "own.csv"),
        ("a;b;\n1,5;2;\n-3;0,25;\n", "own.csv"),  # a separator at the end of each line
    ],
)
def test_separators_and_decimal_commas_are_recognised(content, name, tmp_path):
    table = read_table(text(tmp_path, content, name))
    assert list(table.columns) == ["a", "b"]
    assert table.side_by_side(["a", "b"]).tolist() == [[1.5, 2], [-3, 0.25]]


def test_a_comma_that_may_mean_thousands_is_refused(tmp_path):
    path = text(tmp_path, "a;b\n1,250;2\n3,125;4\n")
    with pytest.raises(UserError, match="'a' has '1,250' in row 1.*task.decimal=','"):
        read_table(path).numbers(["a"])
    (column,) = read_table(path, decimal=",").numbers(["a"])
    assert column.tolist() == [1.25, 3.125]
    both = read_table(text(tmp_path, "a;b\n1,5;2\n3;4.5\n"))
    with pytest.raises(UserError, match="'a' has '1,5' in row 1"):
        both.numbers(["a"])


def test_every_missing_cell_is_named_by_its_column_and_row(tmp_path):
    table = read_table(text(tmp_path, "a,b,label\n1,,x\nNA,2,y\n3,n/a,NA\nnan,4,x\n"))
    with pytest.raises(
        UserError, match=r"infinite cells: 'a' in rows 2, 4; 'b' in rows 1, 3\. Fill"
    ):
        table.numbers(["a", "b"])
    assert table.labels("label") == ["x", "y", "NA", "x"]  # a label's text is a name


def test_an_empty_label_is_missing_but_the_text_na_is_a_label(tmp_path):
    table = read_table(parquet(tmp_path, named=["NA", "b"], lost=[None, "b"], x=[1, None]))
    assert table.labels("named") == ["NA", "b"]
    with pytest.raises(UserError, match="'lost' is missing in row 1"):
        table.labels("lost")
    with pytest.raises(UserError, match="'x' in row 2"):
        table.numbers(["x"])


def test_labels_that_differ_in_white_space_or_unicode_form_are_one(tmp_path):
    assert unicodedata.normalize("NFC", E_AND_ACUTE) == E_ACUTE
    assert E_AND_ACUTE != E_ACUTE
    path = text(tmp_path, f"x,label\n1,{E_ACUTE}\n2, {E_AND_ACUTE} \n")
    assert set(read_table(path).labels("label")) == {E_ACUTE}
    np.savez(tmp_path / "own.npz", label=np.array([b"a", b" a ", E_ACUTE.encode()]))
    assert read_table(tmp_path / "own.npz").labels("label") == ["a", "a", E_ACUTE]


def test_columns_may_be_booleans_categories_exact_numbers_and_lists(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    table = read_table(
        parquet(
            tmp_path,
            yes=[True, False],
            kind=pyarrow.array(["a", "b"]).dictionary_encode(),
            pair=[[1.0, 2.0], [3.0, 4.0]],
            grid=[[[1.0], [2.0]], [[3.0], [4.0]]],
        )
    )
    assert table.side_by_side(["yes", "pair"]).tolist() == [[1, 1, 2], [0, 3, 4]]
    assert table.numbers(["grid"])[0].shape == (2, 2, 1)
    assert table.labels("kind") == ["a", "b"]
    of_text = read_table(text(tmp_path, "x\nTrue\nfalse\n"))
    assert of_text.side_by_side(["x"]).tolist() == [[1], [0]]


@pytest.mark.parametrize(
    ("column", "says"),
    [
        ([datetime.datetime(2020, 1, 1)] * 2, "'x' contains dates. Convert them to numbers"),
        ([datetime.date(2020, 1, 1)] * 2, "'x' contains dates"),
        (
            [[1.0, 2.0], [3.0]],
            "'x' contains lists .*: 2 values in row 1, 1 in row 2",
        ),
        ([[1.0, 2.0], None], "'x' contains lists of different lengths.*None in row 2"),
        ([[1.0, 2.0], [3.0, None]], "missing or infinite cells: 'x' in row 2"),
        ([{"a": 1}, {"a": 2}], "'x' contains lists"),
        ([b"ab", b"c"], "'x' has 'ab' in row 1, which is not a number"),
    ],
)
def test_what_is_not_a_number_is_refused_by_name(column, says, tmp_path):
    table = read_table(parquet(tmp_path, x=column))
    with pytest.raises(UserError, match=says):
        table.numbers(["x"])


def test_complex_numbers_are_refused_by_name(tmp_path):
    np.savez(tmp_path / "own.npz", x=np.ones(2) + 1j)
    with pytest.raises(UserError, match="'x' contains complex numbers.*real and imaginary part"):
        read_table(tmp_path / "own.npz").numbers(["x"])


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (
            "a;b\n1;2;3\n",
            r"row 1 has 3 values, .*2 columns .a, b., separated by semicolons",
        ),
        ("a;b;a\n1;2;3\n", "names the column 'a' twice"),
        ("", "is empty. Its first line must name the columns"),
        ("a,b\n\n", "has no rows"),
    ],
)
def test_a_file_that_is_not_a_table_is_refused_with_the_reason(content, says, tmp_path):
    with pytest.raises(UserError, match=says):
        read_table(text(tmp_path, content))


def test_text_in_another_encoding_is_refused(tmp_path):
    (tmp_path / "own.csv").write_text("a,b\n1,2\n", encoding="utf-16")
    with pytest.raises(UserError, match="not a table in UTF-8 text"):
        read_table(tmp_path / "own.csv")
