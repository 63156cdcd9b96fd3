"""Decode images once into one small uint8 file, never torn, built by one process."""

import os
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import filelock
import numpy as np

from metaloop.errors import UserError

Images = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]


def load_or_build(path: Path, build: Callable[[], Images]) -> Images:
    """Read the cached images at path, or build and cache them.

    Two processes that need the same file: one builds, the other waits. The file is written
    under another name and renamed when it is whole, so a crash leaves no torn cache.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(path.with_suffix(".lock"))
        with lock:
            if not path.is_file():
                _write(path, build())
    except OSError as error:
        raise UserError(
            f"The cache folder {path.parent} cannot be written ({error}). "
            "Set task.cache_dir to a folder that can."
        ) from error
    return _read(path)


def _write(path: Path, images: Images) -> None:
    with tempfile.NamedTemporaryFile(
        dir=path.parent, prefix=f".{path.name}-", delete=False
    ) as part:
        try:
            np.savez(part, images=images)
            part.flush()
            os.fsync(part.fileno())
            Path(part.name).replace(path)
        except BaseException:
            Path(part.name).unlink(missing_ok=True)
            raise


def _read(path: Path) -> Images:
    try:
        with path.open("rb") as file, np.load(file) as archive:
            images: Images = archive["images"]  # the archive's CRC is checked on reading
            return images
    except (zipfile.BadZipFile, KeyError, ValueError, OSError, EOFError) as error:
        raise UserError(
            f"The image cache {path} is damaged ({error}). Delete it; the next start rebuilds it."
        ) from error
