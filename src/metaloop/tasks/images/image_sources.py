"""Find a data set's image files in folders and zip archives, and fingerprint their state."""

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
    """Make a source of image files."""
    return ImageSource(classes, files.read, files.shape, files.close)


def zipped_files(folder: Path, advice: str) -> Iterator[ImageFile]:
    """List the files in a folder's zip archives.

    Raises:
        UserError: if an archive is truncated, or has a name that points outside it.

    """
    for path in sorted(folder.glob("*.zip")):
        try:
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
        except zipfile.BadZipFile as error:
            raise UserError(
                f"{path} is not a complete zip archive ({error}); it was probably truncated. "
                f"Download it again. {advice}"
            ) from error
        check_names(path, names)
        yield from (ImageFile(path, name) for name in names if not name.startswith("__MACOSX"))


def fingerprint(files: Iterable[Path], *further: object) -> str:
    """Hash the state of files without reading them, and further values.

    Links are followed. The time of the last change (ctime) counts, so a file that was overwritten
    with the same size and date has another fingerprint.
    """
    state = [str(value) for value in further]
    for path in files:
        stat = path.stat() if path.exists() else path.lstat()  # a broken link
        times = f"{stat.st_mtime_ns} {stat.st_ctime_ns}"
        state.append(f"{path.absolute()} {stat.st_ino} {stat.st_size} {times}")
    return hashlib.sha256(os.fsencode("\n".join(state))).hexdigest()[:16]
