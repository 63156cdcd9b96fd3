"""Read the pickles that data sets are distributed as, without executing anything in them."""

import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np

from metaloop.errors import UserError

Array = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]


class _Unpickler(pickle.Unpickler):
    """Knows numpy arrays and plain containers; a pickle that names anything else is refused."""

    def find_class(self, module: str, name: str) -> object:
        module = module.replace("numpy._core", "numpy.core")  # its name since version 2
        allowed = {
            **_FUNCTIONS_OF_NUMPY,
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
            ("collections", "OrderedDict"): OrderedDict,
            ("_codecs", "encode"): _encode,
            ("builtins", "bytearray"): bytearray,
            ("builtins", "bytes"): bytes,
        }
        if (module, name) not in allowed:
            raise _ForbiddenError(f"{module}.{name}")
        return allowed[module, name]


class _ForbiddenError(Exception):
    pass


def _functions_of_numpy() -> dict[tuple[str, str], Callable[..., object]]:
    """What a pickled array calls, taken from where this numpy itself pickles them to."""
    found: dict[tuple[str, str], Callable[..., object]] = {}
    for value, protocol in ((np.zeros(1), 2), (np.float64(0), 2), (np.zeros(1), 5)):
        function = value.__reduce_ex__(protocol)[0]
        assert callable(function)
        module = str(function.__module__).replace("numpy._core", "numpy.core")
        found[module, function.__name__] = function
    return found


_FUNCTIONS_OF_NUMPY = _functions_of_numpy()


def _encode(text: str, encoding: str) -> bytes:
    """What Python 3 writes for bytes under the old protocols: latin1 and nothing else."""
    if encoding != "latin1":
        raise _ForbiddenError(f"_codecs.encode to {encoding}")
    return text.encode("latin1")


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
            return _Unpickler(file, encoding="latin1").load()
    except _ForbiddenError as error:
        raise UserError(
            f"{path} wants to execute {error}. A pickle of images holds arrays and lists and needs "
            "to execute nothing: this one is damaged or malicious and was not read. Delete it and "
            f"fetch the file anew. {advice}"
        ) from error
    except Exception as error:  # a damaged pickle fails in whatever way its bytes happen to
        raise UserError(
            f"{path} cannot be read as a pickle ({type(error).__name__}: {error}): it was probably "
            f"cut short. Fetch it again. {advice}"
        ) from error


def as_text(name: object) -> str:
    """A name, whether it was pickled as text or as bytes."""
    return name.decode() if isinstance(name, bytes) else str(name)
