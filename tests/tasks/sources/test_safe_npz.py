"""NPZ files: arrays as they were, and nothing that claims more than it holds."""

import io
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
from numpy.lib import format as npy

from metaloop.errors import UserError
from metaloop.tasks.sources import safe_npz
from metaloop.tasks.sources.safe_npz import read_npz

GIB = 2**30


def member(shape, content: bytes = b"", dtype: str = "|u1") -> bytes:
    """An array's header, and what follows it."""
    file = io.BytesIO()
    header = {"descr": dtype, "fortran_order": False, "shape": shape}
    npy.write_array_header_1_0(file, header)
    return file.getvalue() + content


def zipped(content: bytes, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr("x.npy", content)
    return file.getvalue()


def claiming(size: int, content: bytes) -> bytes:
    """An archive whose entries lie about the size of their content."""
    whole, true = zipped(content, zipfile.ZIP_STORED), struct.pack("<I", len(content))
    return whole.replace(true, struct.pack("<I", size))


def test_arrays_are_read_unchanged(tmp_path):
    arrays = {
        "a": np.arange(6, dtype=">i2").reshape(2, 3),
        "b": np.asfortranarray(np.eye(3)),
        "c": np.array(["x", "yz"]),
        "d": np.float32(3),
    }
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "own.npz", **arrays)
        found = read_npz(tmp_path / "own.npz", "")
        assert list(found) == list(arrays)
        for name, array in arrays.items():
            assert np.array_equal(found[name], array)
            assert found[name].dtype == array.dtype


ATTACKS = {
    "a header that claims 8 GB": zipped(member((8 * GIB,), b"x" * 999)),
    "axes that claim 8 GB": zipped(member((2 * GIB, 4), b"x" * 999)),
    "a negative axis": zipped(member((-1, -9), b"x" * 9)),
    "an entry that lies of its size": claiming(GIB, member((GIB,), b"x" * 999)),
    "objects": zipped(member((1,), b"\x80\x04cos\nsystem\n(S'touch was_here'\ntR.", "|O")),
    "records": zipped(member((1,), b"x" * 8, [("a", "<i8")])),
    "a record with an object": zipped(member((1,), b"x" * 8, [("a", "|O")])),
    "a header of version 2": zipped(b"\x93NUMPY\x02\x00\xff\xff\xff\x7f"),
    "a pickle": b"\x80\x04cos\nsystem\n(S'touch was_here'\ntR.",
    "a single array": member((1,), b"x"),
    "another method of compression": zipped(member((9,), b"x" * 9), zipfile.ZIP_LZMA),
    "no archive": b"PK no archive",
    "nothing": b"",
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_attack_executes_or_allocates_anything(attack, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.npz").write_bytes(ATTACKS[attack])
    tracemalloc.start()
    with pytest.raises(UserError, match=r"own\.npz "):
        read_npz(tmp_path / "own.npz", "Save it again.")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**22
    assert not (tmp_path / "was_here").exists()


def test_arrays_larger_than_the_memory_are_refused(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "own.npz", zeros=np.zeros((1000, 1000)))
    monkeypatch.setattr(safe_npz, "memory_limit", lambda: 10**6)
    with pytest.raises(UserError, match=r"8,000,000 bytes.*memory for 1,000,000\. Save fewer"):
        read_npz(tmp_path / "own.npz", "")
