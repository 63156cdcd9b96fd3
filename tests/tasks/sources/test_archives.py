"""Archives are unpacked whole or not at all, and only into their own place."""

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from metaloop.errors import UserError
from metaloop.tasks.images.image_sources import zipped_files
from metaloop.tasks.sources.archives import unpack


def tar_of(path: Path, *names: str) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name in names:
            info = tarfile.TarInfo(name)
            content = bytes(range(256)) * 100
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def test_an_archive_is_unpacked_once(tmp_path):
    archive = tar_of(tmp_path / "x.tar.gz", "a/b.bin")
    folder = unpack(archive, tmp_path / "cache" / "x", "")
    assert (folder / "a" / "b.bin").stat().st_size == 25600
    archive.unlink()
    assert unpack(archive, tmp_path / "cache" / "x", "") == folder


@pytest.mark.parametrize("name", ["../outside", "a/../../outside", "/tmp/outside", "..\\outside"])
@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_a_name_that_leads_out_of_the_archive_is_refused(name, kind, tmp_path):
    if kind == "tar":
        archive = tar_of(tmp_path / "x.tar.gz", "fine", name)
    else:
        archive = tmp_path / "x.zip"
        with zipfile.ZipFile(archive, "w") as file:
            file.writestr("fine", b"")
            file.writestr(name, b"")
    read = {
        "tar": lambda: unpack(archive, tmp_path / "cache" / "x", ""),
        "zip": lambda: list(zipped_files(tmp_path, "")),
    }
    with pytest.raises(UserError, match=r"x\.(tar\.gz|zip) contains the name .*outside'.*official"):
        read[kind]()
    assert not (tmp_path / "cache" / "x").exists()
    assert not (tmp_path / "outside").exists()


def test_a_link_that_leads_out_of_the_archive_is_refused(tmp_path):
    archive = tmp_path / "x.tar"
    with tarfile.open(archive, "w") as tar:
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "../../outside"
        tar.addfile(link)
    with pytest.raises(UserError, match=r"x\.tar is not a complete tar archive.*outside"):
        unpack(archive, tmp_path / "cache" / "x", "")
    assert not (tmp_path / "cache" / "x").exists()


@pytest.mark.parametrize("size", [0, 10, 200])
def test_an_archive_cut_short_leaves_nothing(size, tmp_path):
    archive = tar_of(tmp_path / "x.tar.gz", "a", "b")
    archive.write_bytes(archive.read_bytes()[:size])
    with pytest.raises(UserError, match=r"x\.tar\.gz is not a complete tar archive.*DO THIS"):
        unpack(archive, tmp_path / "cache" / "x", "DO THIS")
    assert [p.name for p in (tmp_path / "cache").iterdir()] == ["x.lock"]
