"""Unpack downloaded archives: completely or not at all, and never outside the target folder."""

import tarfile
import tempfile
import zlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import filelock

from metaloop.errors import UserError
from metaloop.user_text import say


def check_names(archive: Path, names: Iterable[str]) -> None:
    """Refuse an archive with a name that points outside the folder it is unpacked into.

    Raises:
        UserError: if a name is absolute or contains "..".

    """
    for name in names:
        path = PurePosixPath(name.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts:
            raise UserError(
                f"{archive} contains the name '{name}', which points outside the archive: it may "
                "be meant to overwrite your files. Nothing was unpacked; download the archive "
                "from its official source."
            )


def unpack(archive: Path, target: Path, advice: str) -> Path:
    """Unpack a tar archive into the folder target unless it exists; return the folder.

    Raises:
        UserError: if the archive is damaged or truncated, or would write outside the folder.

    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(target.with_name(f"{target.name}.lock")):
        if target.is_dir():
            return target
        say(f"Unpacking {archive}")
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".unpack-") as folder:
            content = Path(folder) / target.name
            content.mkdir()
            try:
                with tarfile.open(archive) as tar:
                    check_names(archive, tar.getnames())
                    tar.extractall(content, filter="data")
            except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
                reason = (str(error) or type(error).__name__).splitlines()[0]
                raise UserError(
                    f"{archive} is not a complete tar archive ({reason}); it was probably "
                    f"truncated. Nothing was kept; download it again. {advice}"
                ) from error
            content.rename(target)
    return target
