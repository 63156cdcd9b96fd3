"""A disk, a quota or a file size limit that is full. Imports no torch: commands stay quick."""

import errno
import os

FULL = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "a file would grow over the limit on its size (ulimit -f)",
}


def full_disk(error: BaseException) -> str | None:
    """Say what is full, where that is what an error came from; None where it is not."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in FULL:
            place = "" if seen.filename is None else f" ({os.fspath(seen.filename)})"
            return f"{FULL[seen.errno]}{place}"
        seen = seen.__cause__ or seen.__context__
    return None
