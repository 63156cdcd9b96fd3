"""Read NPZ files of plain arrays, checking sizes before allocating memory."""

import math
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from metaloop.errors import UserError
from metaloop.process.memory import memory_limit

Array = np.ndarray[tuple[int, ...], np.dtype[np.generic]]
# largest expansion of a byte, by zip's method of compression
LARGEST_RATIO = {zipfile.ZIP_STORED: 1, zipfile.ZIP_DEFLATED: 1032}
PICKLE, SINGLE_ARRAY = b"\x80", b"\x93NUMPY"
FIRST_VERSION = (1, 0)  # of the header; later ones are for records


def read_npz(path: Path, advice: str) -> dict[str, Array]:
    """Read all arrays by name; `advice` tells how to get a complete file.

    Raises:
        UserError: if it contains objects or records, claims more than its size or the memory, or
            is damaged.

    """
    try:
        with path.open("rb") as file:
            begins = file.read(len(SINGLE_ARRAY))
        if begins == SINGLE_ARRAY:
            raise UserError(f"{path} is a single array. Save several with np.savez.")
        if begins.startswith(PICKLE):
            raise UserError(_explain_objects(path))
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            _check_size(path, members, sum(_check(path, archive, each) for each in members))
            return {each.filename.removesuffix(".npy"): _read(archive, each) for each in members}
    except UserError:
        raise
    except Exception as error:  # a damaged file may raise anything
        reason = str(error) or type(error).__name__
        raise UserError(
            f"{path} cannot be read: it is not a complete NPZ file ({reason}). {advice}"
        ) from error


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Array:
    with archive.open(info) as member:
        array: Array = npy.read_array(member, allow_pickle=False)
        return array


def _check(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> int:
    """Return the bytes that a member's header claims, after checking that it can have them."""
    if info.compress_type not in LARGEST_RATIO:
        raise ValueError(f"'{info.filename}' has a compression that numpy does not use")
    with archive.open(info) as member:
        if npy.read_magic(member) != FIRST_VERSION:
            raise UserError(_explain_objects(path))
        shape, _, dtype = npy.read_array_header_1_0(member)
        header = member.tell()
    if dtype.hasobject or dtype.fields is not None:
        raise UserError(_explain_objects(path))
    needed = math.prod(shape) * dtype.itemsize
    largest = LARGEST_RATIO[info.compress_type] * info.compress_size
    if min(shape, default=0) < 0 or header + needed != info.file_size or info.file_size > largest:
        raise ValueError(f"'{info.filename}' claims {needed:,} bytes, but does not have them")
    return needed


def _check_size(path: Path, members: Iterable[zipfile.ZipInfo], needed: int) -> None:
    """Refuse members that share their bytes, and arrays that do not fit into memory."""
    if sum(member.compress_size for member in members) > path.stat().st_size:
        raise ValueError("its members claim more bytes than the file has")
    if needed > memory_limit():
        raise UserError(
            f"{path} has arrays of {needed:,} bytes, but this machine has memory for "
            f"{memory_limit():,}. Save fewer rows, or a smaller dtype (float32, uint8)."
        )


def _explain_objects(path: Path) -> str:
    return (
        f"{path} contains pickled Python objects, which could execute code when read, or records. "
        "Both are refused. Save plain arrays of numbers or strings, without dtype=object."
    )
