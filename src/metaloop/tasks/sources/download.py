"""Download a file from its official source: with progress, checked, completely or not at all."""

import hashlib
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from urllib.error import URLError

import torch.hub

from metaloop.errors import UserError
from metaloop.user_text import say

TIMEOUT = 30.0  # seconds without a byte


def download(url: str, target: Path, *, md5: str, advice: str) -> None:
    """Download url to target unless it exists; partial files are removed.

    `advice` ends every error message: how the user can provide the data instead.

    Raises:
        UserError: if the source cannot be reached, or the file has another MD5 checksum.

    """
    if target.is_file():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".download-") as folder:
        part = Path(folder) / target.name
        say(f"Downloading {url}")
        try:
            with _timeout():
                torch.hub.download_url_to_file(url, str(part))
        except (URLError, OSError, ValueError, HTTPException) as error:
            raise UserError(f"{url} could not be downloaded ({error}). {advice}") from error
        with part.open("rb") as file:
            found = hashlib.file_digest(file, _md5).hexdigest()
        if found != md5:
            raise UserError(
                f"{url} should have the MD5 checksum {md5}, but the downloaded file "
                f"({part.stat().st_size:,} bytes) has {found}: it was truncated or is another "
                f"file. Nothing was kept; try again. {advice}"
            )
        part.replace(target)


def _md5() -> "hashlib._Hash":
    return hashlib.md5(usedforsecurity=False)


@contextmanager
def _timeout() -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
