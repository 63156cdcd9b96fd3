"""Errors of the machine: full disk, missing permission or folder, no memory.

Imports no torch, so that commands stay fast.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from metaloop.errors import UserError

ROOM = "Make room."
RIGHT = "Make it writable, or work on a copy that is."
BACK = "Restore what was moved or removed."
AWAY = "Move it away."
ANYWHERE = {
    errno.ENOSPC: ("the disk is full", ROOM),
    errno.EDQUOT: ("the disk quota is used up", ROOM),
    errno.EFBIG: ("a file would exceed the size limit (ulimit -f)", ROOM),
    errno.EROFS: ("the file system is read-only", RIGHT),
}
# only for a file in a run's folder; elsewhere they may have other causes
IN_FOLDER = {
    errno.EACCES: ("there is no permission to write", RIGHT),
    errno.EPERM: ("there is no permission to write", RIGHT),
    errno.ENOENT: ("the folder is missing", BACK),
    errno.ESTALE: ("the folder is missing", BACK),
    errno.ENOTDIR: ("there is a file in place of a folder", AWAY),
    errno.EEXIST: ("there is a file in place of a folder", AWAY),
    errno.EISDIR: ("there is a folder in place of a file", AWAY),
    errno.EIO: ("the disk does not respond", "Try again, or work on a copy elsewhere."),
}
# messages of the allocators of CPU and GPU
EXHAUSTED = ("can't allocate memory", "not enough memory", "std::bad_alloc", "CUDA out of memory")
FEWER = (
    "Compute fewer tasks at once: device.tasks_at_once=1, then device.chunks_at_once=1, a smaller "
    "data.meta_batch_size and data.eval_meta_batch_size, or a smaller model."
)


class MachineError(NamedTuple):
    """An error of the machine, and its remedy."""

    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.what[0].upper()}{self.what[1:]}. {self.remedy}"


def machine_error(error: BaseException, folder: Path | None = None) -> MachineError | None:
    """Find the machine's error among an error's causes; None if there is none.

    Args:
        error: the error, examined with its causes.
        folder: a run's folder; errors of single files count only in it.

    """
    if memory := memory_error(error):
        return memory
    for cause in _causes(error):
        if isinstance(cause, OSError) and cause.errno is not None:
            path = None if cause.filename is None else Path(os.fsdecode(cause.filename))
            known = ANYWHERE | (IN_FOLDER if _is_in(path, folder) else {})
            if cause.errno in known:
                what, remedy = known[cause.errno]
                return MachineError(what if path is None else f"{what} ({path})", remedy)
    return None


def memory_error(error: BaseException) -> MachineError | None:
    """Find an out-of-memory error among an error's causes."""
    for cause in _causes(error):
        from_torch = isinstance(cause, RuntimeError) and any(e in str(cause) for e in EXHAUSTED)
        from_system = isinstance(cause, OSError) and cause.errno == errno.ENOMEM
        if isinstance(cause, MemoryError) or from_torch or from_system:
            first = str(cause).strip().splitlines()[:1]
            return MachineError(f"the memory is used up ({', '.join(first) or 'malloc'})", FEWER)
    return None


@contextmanager
def in_words(folder: Path) -> Iterator[None]:
    """Turn errors of the machine inside, in a run's folder or of memory, into UserErrors."""
    try:
        yield
    except Exception as error:
        if (found := refusal(error, folder)) is None:
            raise
        raise UserError(str(found)) from error


def refusal(error: BaseException, folder: Path | None = None) -> MachineError | None:
    """Find the machine's error; in a UserError, only an out-of-memory error counts."""
    return memory_error(error) if isinstance(error, UserError) else machine_error(error, folder)


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def _is_in(path: Path | None, folder: Path | None) -> bool:
    if path is None or folder is None:
        return False
    return path.resolve().is_relative_to(folder.resolve())
