"""Read the pickles that data sets are distributed as: arrays and plain containers, nothing else.

A pickle is a program for a machine with a stack. This machine knows the instructions that make
numbers, text, lists, tuples, dicts and arrays, and it calls nothing that a pickle names: a name
stays a name, and the few that numpy writes say which array or dtype to make.
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
# the instructions that pickle.py's own machine carries out here: values, containers, the memo
PLAIN = """
    PROTO FRAME STOP MARK NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT
    BINFLOAT STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8
    BINBYTES SHORT_BINBYTES BINBYTES8 EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_LIST LIST APPEND
    APPENDS EMPTY_DICT DICT SETITEM SETITEMS GET BINGET LONG_BINGET PUT BINPUT LONG_BINPUT MEMOIZE
    GLOBAL STACK_GLOBAL
""".split()  # noqa: SIM905 - as a list it would be fifty lines
# what numpy's pickles name, and Python's of the containers and bytes around them
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
# numbers and text, whose bytes are values and never addresses: no objects, no records, no dates
PLAIN_DTYPE = re.compile(r"[biufcSU][1-9]\d*")


class _Name(NamedTuple):
    """What a pickle names, never the thing itself."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


class _Dtype:
    """A dtype as a pickle makes it: first its code, then, as state, its byte order."""

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
    """A file that refuses to be read beyond its end, before anything is allocated for it."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.file, self.left = file, size

    def read(self, size: int) -> bytes:
        if size > self.left:
            raise EOFError(f"{size:,} bytes are to come, and {self.left:,} are left")
        self.left -= size
        return self.file.read(size)

    def readline(self) -> bytes:
        line = self.file.readline()
        self.left -= len(line)
        return line


class _Reader(pickle._Unpickler):
    """The machine; `size` bounds what it reads at once, and the bytes of all arrays together."""

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
        self.stack[-1] = self._made(self.stack[-1], arguments)

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

    def _made(self, name: object, arguments: object) -> object:
        """What numpy's and Python's own pickles make by calling this."""
        match name, arguments:
            case _Name("numpy", "dtype"), (str(code), *_):
                return _Dtype(code)
            case _Name("numpy.core.multiarray", "_reconstruct"), tuple():
                return np.empty(0, np.uint8)  # what it becomes is its state
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
        raise _ForbiddenError(f"wants to execute {name} in a way of its own")

    def _content(self, dtype: _Dtype, shape: tuple[object, ...], data: object) -> bytes | bytearray:
        """The bytes of an array, if they are all there and nobody else's."""
        sizes = [n for n in shape if isinstance(n, int) and 0 <= n <= self.size]
        if not isinstance(data, bytes | bytearray | str) or len(sizes) < len(shape):
            raise _ForbiddenError("has an array without a shape or bytes")
        needed = math.prod(sizes) * dtype.numpy().itemsize
        self.left -= needed
        if needed != len(data) or self.left < 0:
            raise _ForbiddenError("has an array of another size than that of its bytes")
        return data.encode("latin1") if isinstance(data, str) else data


def _instructions() -> dict[int, Callable[..., None]]:
    """Python's own code for plain ones, ours for those that call or set state, none for others."""
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
    """Read a pickled dict of arrays and lists; names that Python 2 wrote come as str.

    Raises:
        UserError: it wants to execute something, is damaged, or is no dict.

    """
    content = _load(path, advice)
    if not isinstance(content, dict):
        raise UserError(f"{path} holds a {type(content).__name__}, not a dict. {advice}")
    return {as_text(key): value for key, value in content.items()}


def read_pickled_list(path: Path, advice: str) -> list[Array]:
    """Read a pickled list of arrays of bytes.

    Raises:
        UserError: it wants to execute something, is damaged, or is no such list.

    """
    content = _load(path, advice)
    if not isinstance(content, list) or not all(isinstance(v, np.ndarray) for v in content):
        raise UserError(f"{path} holds no list of arrays. {advice}")
    return content


def _load(path: Path, advice: str) -> object:
    try:
        with path.open("rb") as file:
            return _Reader(file, path.stat().st_size).load()
    except _ForbiddenError as error:
        raise UserError(
            f"{path} {error}. A pickle of images holds numbers, text, arrays of these, lists and "
            "dicts, and needs to execute nothing: this one is damaged or malicious and was not "
            f"read. Delete it and fetch the file anew. {advice}"
        ) from error
    except Exception as error:  # a damaged pickle fails in whatever way its bytes happen to
        raise UserError(
            f"{path} cannot be read as a pickle ({type(error).__name__}: {error}): it was probably "
            f"cut short. Fetch it again. {advice}"
        ) from error


def as_text(name: object) -> str:
    """A name, whether it was pickled as text or as bytes."""
    return name.decode(errors="replace") if isinstance(name, bytes) else str(name)


def as_numbers(value: object) -> list[int] | None:
    """A list or array of whole numbers from 0 on; None where it is anything else."""
    listed = value.tolist() if isinstance(value, np.ndarray) else value
    if not isinstance(listed, list) or not all(type(n) is int and n >= 0 for n in listed):
        return None
    return listed
