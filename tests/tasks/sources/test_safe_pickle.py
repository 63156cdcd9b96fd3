"""Pickles of data sets are read without executing anything in them."""

import os
import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

from metaloop.errors import UserError
from metaloop.tasks.sources.safe_pickle import read_pickle


class Executes:
    """Pickled, this runs a command in whoever unpickles it."""

    def __init__(self, function, *arguments) -> None:
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def written(tmp_path: Path, content: object, protocol: int = 4) -> Path:
    path = tmp_path / "data.pkl"
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_arrays_and_containers_arrive_as_they_were(protocol, tmp_path):
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    content = {
        b"data": array,
        "order": OrderedDict(a=[1, 2]),
        "scalar": np.int64(3),
        "names": [b"x", "y"],
        "raw": b"\xff\x00",
        "columns": np.asfortranarray(array),
    }
    found = read_pickle(written(tmp_path, content, protocol), "")
    assert list(found) == ["data", "order", "scalar", "names", "raw", "columns"]
    assert np.array_equal(found["data"], array)
    assert np.array_equal(found["columns"], array)
    assert found["order"] == {"a": [1, 2]}
    assert found["scalar"] == 3
    assert found["names"] == [b"x", "y"]
    assert found["raw"] == b"\xff\x00"


def test_what_python_2_pickled_is_read(tmp_path):
    """The dict {'data': np.arange(3, dtype='u1'), 'names': ['a']}, as Python 2 wrote it."""
    path = tmp_path / "data.pkl"
    path.write_bytes(
        b"\x80\x02}q\x00(U\x04dataq\x01cnumpy.core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\n"
        b"q\x03K\x00\x85U\x01b\x87Rq\x04(K\x01K\x03\x85cnumpy\ndtype\nq\x05U\x02u1K\x00K\x01\x87R"
        b"q\x06(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x03\x00\x01\xfftb"
        b"U\x05namesq\x07]q\x08U\x01aq\tau."
    )
    found = read_pickle(path, "")
    assert found["data"].tolist() == [0, 1, 255]
    assert found["names"] == ["a"]


@pytest.mark.parametrize("where", ["value", "inside", "in an array"])
@pytest.mark.parametrize(
    ("function", "arguments", "named"),
    [
        (os.system, ("touch was_here",), "posix.system"),
        (eval, ("1 + 1",), "builtins.eval"),
        (getattr, (dict, "fromkeys"), "builtins.getattr"),
        (np.load, ("x.npy",), "numpy.load"),
    ],
)
def test_a_pickle_that_wants_to_execute_something_is_refused(
    function, arguments, named, where, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    evil = Executes(function, *arguments)
    content = {"value": evil, "inside": [[evil]], "in an array": np.array([evil], dtype=object)}
    path = written(tmp_path, {"data": content[where]})
    with pytest.raises(UserError, match=rf"data\.pkl wants to execute {named}.*not read.*DO THIS"):
        read_pickle(path, "DO THIS")
    assert not (tmp_path / "was_here").exists()


def test_a_pickle_cut_short_is_named_with_the_remedy(tmp_path):
    path = written(tmp_path, {"data": np.zeros(1000)})
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(UserError, match=r"data\.pkl cannot be read .* cut short.*DO THIS"):
        read_pickle(path, "DO THIS")


def test_a_pickle_of_something_else_is_named(tmp_path):
    with pytest.raises(UserError, match="holds a list, not a dict"):
        read_pickle(written(tmp_path, [1, 2]), "")
