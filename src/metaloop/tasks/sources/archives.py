"""Archives as they are downloaded: unpacked whole or not at all, and never outside their place."""

import tarfile
import tempfile
import zlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import filelock

from metaloop.errors import UserError
from metaloop.user_text import say


def check_names(archive: Path, names: Iterable[str]) -> None:
    """Refuse an archive with a name that leads out of the folder it is unpacked into.

    Raises:
        UserError: a name is absolute or has a step "..".

    """
    for name in names:
        path = PurePosixPath(name.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts:
            raise UserError(
                f"{archive} holds the name '{name}', which leads out of the archive: no data set "
                "has such names, and it may be meant to overwrite your files. Nothing was "
                "unpacked; fetch the archive from its official source."
            )


def unpack(archive: Path, target: Path, advice: str) -> Path:
    """Unpack a tar archive into the folder target unless that is there; return the folder.

    Raises:
        UserError: the archive is damaged or cut short, or would write outside the folder.

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
                    f"{archive} is no whole tar archive ({reason}): it was probably cut short. "
                    f"Nothing was kept; fetch it again. {advice}"
                ) from error
            content.rename(target)
    return target
