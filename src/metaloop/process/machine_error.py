"""What a machine refuses: room on a disk, the right to write, a folder that is gone, memory.

Imports no torch: commands stay quick.
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
BACK = "Put back what was moved or removed."
AWAY = "Move away what lies there."
ANYWHERE = {
    errno.ENOSPC: ("the disk is full", ROOM),
    errno.EDQUOT: ("the disk quota is used up", ROOM),
    errno.EFBIG: ("a file would grow over the limit on its size (ulimit -f)", ROOM),
    errno.EROFS: ("the file system is read-only", RIGHT),
}
# of a file that a run writes; elsewhere they may be anybody's
IN_FOLDER = {
    errno.EACCES: ("there is no permission to write", RIGHT),
    errno.EPERM: ("there is no permission to write", RIGHT),
    errno.ENOENT: ("the folder is gone", BACK),
    errno.ESTALE: ("the folder is gone", BACK),
    errno.ENOTDIR: ("a file lies where a folder belongs", AWAY),
    errno.EEXIST: ("a file lies where a folder belongs", AWAY),
    errno.EISDIR: ("a folder lies where a file belongs", AWAY),
    errno.EIO: ("the disk does not answer", "Try again, or work on a copy elsewhere."),
}
# the allocators of processor and GPU, by what they say or raise
EXHAUSTED = ("can't allocate memory", "not enough memory", "std::bad_alloc", "CUDA out of memory")
FEWER = (
    "Compute fewer tasks at once: device.tasks_at_once=1, then device.chunks_at_once=1, a smaller "
    "data.meta_batch_size and data.eval_meta_batch_size, or a smaller model."
)


class MachineError(NamedTuple):
    """What was refused, and the remedy."""

    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.what[0].upper()}{self.what[1:]}. {self.remedy}"


def machine_error(error: BaseException, folder: Path | None = None) -> MachineError | None:
    """Say what the machine refused, where an error came from that; None where it did not.

    Args:
        error: and those that it came from.
        folder: that of a run: what is wrong with a single file counts only in it.

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
    """Say that memory is used up, where an error came from that."""
    for cause in _causes(error):
        is_torchs = isinstance(cause, RuntimeError) and any(e in str(cause) for e in EXHAUSTED)
        is_systems = isinstance(cause, OSError) and cause.errno == errno.ENOMEM
        if isinstance(cause, MemoryError) or is_torchs or is_systems:
            first = str(cause).strip().splitlines()[:1]
            return MachineError(f"the memory is used up ({', '.join(first) or 'malloc'})", FEWER)
    return None


@contextmanager
def in_words(folder: Path) -> Iterator[None]:
    """Make a UserError of what the machine refuses within: in a run's folder, or of memory."""
    try:
        yield
    except Exception as error:
        if (found := refusal(error, folder)) is None:
            raise
        raise UserError(str(found)) from error


def refusal(error: BaseException, folder: Path | None = None) -> MachineError | None:
    """What the machine refused; of what is in words already, only that memory is used up."""
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
