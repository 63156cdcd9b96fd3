"""Pickles of data sets are read without executing anything in them."""

import os
import pickle
import tracemalloc
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
def test_arrays_and_containers_are_read_unchanged(protocol, tmp_path):
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


def test_pickles_of_python_2_are_read(tmp_path):
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
    with pytest.raises(UserError, match=r"data\.pkl cannot be read .* truncated.*DO THIS"):
        read_pickle(path, "DO THIS")


def test_a_pickle_of_something_else_is_named(tmp_path):
    with pytest.raises(UserError, match="contains a list, not a dict"):
        read_pickle(written(tmp_path, [1, 2]), "")


def array_of(dtype: str, state: str, shape: str = "(I2\n", content: str = "S'abcdefgh'\n") -> bytes:
    """An array in the oldest protocol, whose dtype has this code and this state."""
    made = "cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
    kind = f"cnumpy\ndtype\n(S'{dtype}'\nI0\nI1\ntR{state}"
    return f"{made}(I1\n{shape}t{kind}I00\n{content}tb".encode()


PLAIN_STATE = "(I3\nS'|'\nNNNI-1\nI-1\nI0\ntb"
HUGE = 10**12
BYTES8 = (2**40).to_bytes(8, "little")
# what an attack sends in place of the value of {'data': value}
ATTACKS = {
    "a field that is an object": array_of(
        "V8", "(I3\nS'|'\nN(S'a'\nt(dS'a'\n(cnumpy\ndtype\n(S'O8'\ntRI0\ntsI8\nI1\nI63\ntb"
    ),
    "flags that say objects": array_of("V8", "(I3\nS'|'\nNNNI8\nI1\nI63\ntb"),
    "an array within an element": array_of(
        "V8", "(I3\nS'|'\n(cnumpy\ndtype\n(S'i4'\ntR(I2\nttNNI8\nI4\nI0\ntb"
    ),
    "an array of objects": array_of("O8", PLAIN_STATE, content="(lI1\naI2\na"),
    "dates": array_of("M8", PLAIN_STATE),
    "more elements than bytes": array_of("u1", PLAIN_STATE, "(I9\n"),
    "an array that claims 1 TB": array_of("u1", PLAIN_STATE, f"(I{HUGE}\n"),
    "an axis that claims 1 TB": array_of("u1", PLAIN_STATE, f"(I0\nI{HUGE}\n", "S''\n"),
    "text of no width": array_of("S0", PLAIN_STATE, f"(I{HUGE}\n", "S''\n"),
    "a negative axis": array_of("u1", PLAIN_STATE, "(I-1\nI-8\n"),
    "the state of a function": b"c_codecs\nencode\n(dS'x'\nI1\nsb",
    "slots of a function": b"c_codecs\nencode\n(N(dS'__defaults__'\n(I1\ntstb",
    "the state of a container": b"ccollections\nOrderedDict\n(tR(dS'items'\nI1\nsb",
    "an instance": b"(iposix\nsystem\n",
    "an object made from its class": b"(cos\nsystem\nS'touch was_here'\no",
    "a class called by protocol 2": b"cnumpy\nndarray\n(I9\nt\x81",
    "a class called by protocol 4": b"cnumpy\nndarray\n(I9\nt}\x92",
    "a number of copyreg's": b"\x82\x01",
    "a persistent name": b"Pa\n",
    "a name with dots": b"\x8c\x05numpy\x8c\x0dndarray.dumps\x93",
    "a text that claims 1 TB": b"\x8d" + BYTES8,
    "bytes that claim 1 TB": b"\x8e" + BYTES8,
    "a bytearray that claims 1 TB": b"\x96" + BYTES8,
    "a frame that claims 1 TB": b"\x95" + BYTES8,
    "a bytearray of a number": b"cbuiltins\nbytearray\n(I99999999\ntR",
    "bytes of a number": b"cbuiltins\nbytes\n(I99999999\ntR",
    "an encoding of its own": b"c_codecs\nencode\n(S'a'\nS'rot13'\ntR",
    "the same bytes many times over": b"(l"
    + array_of("u1", PLAIN_STATE, "(I999\n", f"S'{'a' * 999}'\np1\n")
    + b"a"
    + 9 * (array_of("u1", PLAIN_STATE, "(I999\n", "g1\n") + b"a"),
}


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("prologue", [b"", b"\x80\x04"], ids=["old", "new"])
def test_no_attack_executes_or_allocates_anything(attack, prologue, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "data.pkl"
    path.write_bytes(prologue + b"(dS'data'\n" + ATTACKS[attack] + b"s.")
    tracemalloc.start()
    with pytest.raises(UserError, match=r"data\.pkl .*DO THIS"):
        read_pickle(path, "DO THIS")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**22
    assert not (tmp_path / "was_here").exists()


def test_an_index_of_the_memo_takes_no_memory(tmp_path):
    path = tmp_path / "data.pkl"
    path.write_bytes(b"}U\x01aK\x01r\xff\xff\xff\x7fs.")  # Python's own reader would take 32 GB
    assert read_pickle(path, "") == {"a": 1}
