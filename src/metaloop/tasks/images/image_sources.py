"""Where a data set's image files lie: folders, zip archives, and the state they are in."""

import hashlib
import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from metaloop.errors import UserError
from metaloop.tasks.images.image_cache import ImageSource
from metaloop.tasks.readers.image_files import ImageFile, ImageFiles
from metaloop.tasks.sources.archives import check_names


def files_source(
    classes: Mapping[str, Sequence[ImageFile]],
    shape: tuple[int, ...],
    *,
    alike: str = "",
    is_inverted: bool = False,
) -> ImageSource[ImageFile]:
    """Image files to be decoded to `shape`: channels, height and width."""
    channels, size, _ = shape
    files = ImageFiles(size, channels, alike=alike, is_inverted=is_inverted)
    return ImageSource(classes, files.read, shape, files.close)


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


def fingerprint(place: Path, *beside: object) -> str:
    """Name the state of a file or folder without reading it, and what else matters."""
    state = [str(place.resolve()), *map(str, beside)]
    for path in [place] if place.is_file() else sorted(place.rglob("*")):
        stat = path.stat() if path.exists() else path.lstat()  # a link that leads nowhere
        state.append(f"{path.relative_to(place)} {stat.st_size} {stat.st_mtime_ns}")
    return hashlib.sha256(os.fsencode("\n".join(state))).hexdigest()[:16]
