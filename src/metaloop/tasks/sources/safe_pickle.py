"""Read pickles of data sets: arrays and plain containers, nothing else.

A pickle is a program for a stack machine. This machine supports the instructions that make
numbers, text, lists, tuples, dicts and arrays, and calls nothing that a pickle names. Names are
only compared: the few that numpy writes select the array or dtype to make.
"""

import math
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import numpy as np

from metaloop.errors import UserError

Array = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]
# instructions executed by pickle.py's own code: values, containers, the memo
PLAIN = """
    PROTO FRAME STOP MARK NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT
    BINFLOAT STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8
    BINBYTES SHORT_BINBYTES BINBYTES8 EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_LIST LIST APPEND
    APPENDS EMPTY_DICT DICT SETITEM SETITEMS GET BINGET LONG_BINGET PUT BINPUT LONG_BINPUT MEMOIZE
    GLOBAL STACK_GLOBAL
""".split()  # noqa: SIM905 - as a list it would be fifty lines
# names in numpy's pickles, and in Python's for the containers and bytes around them
NAMES = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy.core.numeric", "_frombuffer"),
    ("collections", "OrderedDict"),
    ("_codecs", "encode"),
    ("builtins", "bytes"),
}
# numbers and text, whose bytes are plain values: no objects, records or dates
PLAIN_DTYPE = re.compile(r"[biufcSU][1-9]\d*")


class _Name(NamedTuple):
    """A name in a pickle; never resolved."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


class _Dtype:
    """A dtype as a pickle makes it: first its code, then its byte order as state."""

    __slots__ = ("code", "order")

    def __init__(self, code: str) -> None:
        self.code, self.order = code, "|"

    def numpy(self) -> np.dtype[np.generic]:
        if PLAIN_DTYPE.fullmatch(self.code) is None:
            raise _ForbiddenError(f"has an array of '{self.code[:20]}', neither numbers nor text")
        dtype: np.dtype[np.generic] = np.dtype(self.code)
        return dtype.newbyteorder(self.order)  # type: ignore[arg-type]


class _ForbiddenError(Exception):
    pass


class _Bounded:
    """A file that refuses reads beyond its end before allocating memory for them."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.file, self.left = file, size

    def read(self, size: int) -> bytes:
        if size > self.left:
            raise EOFError(f"{size:,} bytes are announced, but only {self.left:,} are left")
        self.left -= size
        return self.file.read(size)

    def readline(self) -> bytes:
        line = self.file.readline()
        self.left -= len(line)
        return line


class _Reader(pickle._Unpickler):
    """The machine; `size` limits each read, and the bytes of all arrays together."""

    stack: list[object]
    append: Callable[[object], None]
    read: Callable[[int], bytes]

    def __init__(self, file: BinaryIO, size: int) -> None:
        super().__init__(_Bounded(file, size), encoding="latin1")
        self.size = self.left = size

    def find_class(self, module: str, name: str) -> _Name:
        module = module.replace("numpy._core", "numpy.core")  # its name since version 2
        named = _Name(module.replace("__builtin__", "builtins"), name)
        if named not in NAMES:
            raise _ForbiddenError(f"wants to execute {module}.{name}"[:100])
        return named

    def load_reduce(self) -> None:
        arguments = self.stack.pop()
        self.stack[-1] = self._make(self.stack[-1], arguments)

    def load_build(self) -> None:
        state = self.stack.pop()
        match self.stack[-1], state:
            case _Dtype() as dtype, (3, "<" | ">" | "|" | "=" as order, None, None, None, *_):
                dtype.order = order
            case np.ndarray() as array, (1, tuple(shape), _Dtype() as dtype, int(is_fortran), data):
                content = bytes(self._content(dtype, shape, data))
                new = (1, shape, dtype.numpy(), bool(is_fortran), content)
                array.__setstate__(new)  # type: ignore[arg-type] # numpy's stub wants its own bool
            case other, _:
                raise _ForbiddenError(f"sets the state of a {type(other).__name__.lstrip('_')}")

    def load_bytearray8(self) -> None:
        self.append(bytearray(self.read(int.from_bytes(self.read(8), "little"))))

    def refuse(self) -> None:
        raise _ForbiddenError("has instructions that make objects")

    def _make(self, name: object, arguments: object) -> object:
        """Make what numpy's and Python's pickles mean by calling this name."""
        match name, arguments:
            case _Name("numpy", "dtype"), (str(code), *_):
                return _Dtype(code)
            case _Name("numpy.core.multiarray", "_reconstruct"), tuple():
                return np.empty(0, np.uint8)  # filled in by its state
            case _Name("numpy.core.multiarray", "scalar"), (_Dtype() as dtype, data):
                return np.frombuffer(self._content(dtype, (), data), dtype.numpy())[0]
            case _Name(_, "_frombuffer"), (data, _Dtype() as dtype, tuple(shape), order, *axes):
                flat = np.frombuffer(self._content(dtype, shape, data), dtype.numpy())
                if order == "K":
                    return flat.reshape(shape).transpose(*cast(list[int], axes))
                return flat.reshape(shape, order="F" if order == "F" else "C")
            case _Name("collections", "OrderedDict"), ():
                return {}
            case _Name("collections", "OrderedDict"), ([*pairs],):
                return dict(cast(list[tuple[object, object]], pairs))  # Python 2's
            case _Name("_codecs", "encode"), (str(text), "latin1"):
                return text.encode("latin1")  # bytes, under the old protocols
            case _Name("builtins", "bytes"), ():
                return b""
        raise _ForbiddenError(f"wants to execute {name} in an unknown way")

    def _content(self, dtype: _Dtype, shape: tuple[object, ...], data: object) -> bytes | bytearray:
        """Return an array's bytes, after checking that they are complete."""
        sizes = [n for n in shape if isinstance(n, int) and 0 <= n <= self.size]
        if not isinstance(data, bytes | bytearray | str) or len(sizes) < len(shape):
            raise _ForbiddenError("has an array without a shape or bytes")
        needed = math.prod(sizes) * dtype.numpy().itemsize
        self.left -= needed
        if needed != len(data) or self.left < 0:
            raise _ForbiddenError("has an array whose size differs from its bytes")
        return data.encode("latin1") if isinstance(data, str) else data


def _instructions() -> dict[int, Callable[..., None]]:
    """Use Python's code for plain instructions, ours for calls and state; refuse all others."""
    python: dict[int, Callable[..., None]] = {**pickle._Unpickler.dispatch}
    ours: dict[int, Callable[..., None]] = {
        pickle.REDUCE[0]: _Reader.load_reduce,
        pickle.BUILD[0]: _Reader.load_build,
        pickle.BYTEARRAY8[0]: _Reader.load_bytearray8,
    }
    plain = [getattr(pickle, name)[0] for name in PLAIN]
    return dict.fromkeys(python, _Reader.refuse) | {code: python[code] for code in plain} | ours


_Reader.dispatch = _instructions()


def read_pickle(path: Path, advice: str) -> dict[str, object]:
    """Read a pickled dict of arrays and lists; names written by Python 2 become str.

    Raises:
        UserError: if it wants to execute something, is damaged, or is not a dict.

    """
    content = _load(path, advice)
    if not isinstance(content, dict):
        raise UserError(f"{path} contains a {type(content).__name__}, not a dict. {advice}")
    return {as_text(key): value for key, value in content.items()}


def read_pickled_list(path: Path, advice: str) -> list[Array]:
    """Read a pickled list of arrays of bytes.

    Raises:
        UserError: if it wants to execute something, is damaged, or is not such a list.

    """
    content = _load(path, advice)
    if not isinstance(content, list) or not all(isinstance(v, np.ndarray) for v in content):
        raise UserError(f"{path} does not contain a list of arrays. {advice}")
    return content


def _load(path: Path, advice: str) -> object:
    try:
        with path.open("rb") as file:
            return _Reader(file, path.stat().st_size).load()
    except _ForbiddenError as error:
        raise UserError(
            f"{path} {error}. A pickle of images needs only numbers, text, arrays, lists and "
            "dicts, and executes nothing: this one is damaged or malicious and was not read. "
            f"Delete it and download the file again. {advice}"
        ) from error
    except Exception as error:  # a damaged pickle may raise anything
        raise UserError(
            f"{path} cannot be read as a pickle ({type(error).__name__}: {error}); it was probably "
            f"truncated. Download it again. {advice}"
        ) from error


def as_text(name: object) -> str:
    """Convert a name that was pickled as text or as bytes."""
    return name.decode(errors="replace") if isinstance(name, bytes) else str(name)


def as_numbers(value: object) -> list[int] | None:
    """Return a list or array of integers of at least 0 as a list; None for anything else."""
    listed = value.tolist() if isinstance(value, np.ndarray) else value
    if not isinstance(listed, list) or not all(type(n) is int and n >= 0 for n in listed):
        return None
    return listed
