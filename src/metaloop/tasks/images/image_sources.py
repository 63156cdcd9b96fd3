"""Where a data set's image files lie: folders, zip archives, and the state they are in."""

import hashlib
import os
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from metaloop.errors import UserError
from metaloop.tasks.images.image_cache import ImageSource
from metaloop.tasks.readers.image_files import ImageFile, ImageFiles
from metaloop.tasks.sources.archives import check_names


def files_source(
    classes: Mapping[str, Sequence[ImageFile]], files: ImageFiles
) -> ImageSource[ImageFile]:
    """Image files to be decoded."""
    return ImageSource(classes, files.read, files.shape, files.close)


def zipped_files(folder: Path, advice: str) -> Iterator[ImageFile]:
    """The files in a folder's zip archives.

    Raises:
        UserError: an archive is cut short, or has a name that leads out of it.

    """
    for path in sorted(folder.glob("*.zip")):
        try:
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
        except zipfile.BadZipFile as error:
            raise UserError(
                f"{path} is no whole zip archive ({error}): it was probably cut short. "
                f"Fetch it again. {advice}"
            ) from error
        check_names(path, names)
        yield from (ImageFile(path, name) for name in names if not name.startswith("__MACOSX"))


def fingerprint(files: Iterable[Path], *beside: object) -> str:
    """Name the state of files without reading them, and what else matters.

    Links are followed. The time of the last change (ctime) is part of it: a file written over with
    its old size and date is another, too.
    """
    state = [str(thing) for thing in beside]
    for path in files:
        stat = path.stat() if path.exists() else path.lstat()  # a link that leads nowhere
        times = f"{stat.st_mtime_ns} {stat.st_ctime_ns}"
        state.append(f"{path.absolute()} {stat.st_ino} {stat.st_size} {times}")
    return hashlib.sha256(os.fsencode("\n".join(state))).hexdigest()[:16]
