"""Downloads against a real HTTP server: whole and checked, or not at all."""

import functools
import hashlib
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from metaloop.errors import UserError
from metaloop.tasks import Omniglot
from metaloop.tasks.sources.download import download

CONTENT = b"handwritten" * 10_000
MD5 = hashlib.md5(CONTENT).hexdigest()


class CuttingHandler(SimpleHTTPRequestHandler):
    """Serves a folder; a path under /cut/ is promised whole and ends half-way."""

    def do_GET(self):
        if not self.path.startswith("/cut/"):
            return super().do_GET()
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[: len(CONTENT) // 2])
        self.close_connection = True
        return None

    def log_message(self, *args):
        pass


@pytest.fixture
def server(tmp_path) -> Iterator[str]:
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "file.bin").write_bytes(CONTENT)
    handler = functools.partial(CuttingHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()


def downloading(cache_dir: Path, source_url: str) -> Omniglot:
    return Omniglot(
        ways=5,
        shots=1,
        queries=1,
        rotations=True,
        split="finn2017",
        split_seed=1,
        image_size=28,
        storage="auto",
        data_dir=None,
        cache_dir=str(cache_dir),
        source_url=source_url,
    )


def left_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_a_file_is_downloaded_completely_with_progress(server, tmp_path, capfd):
    target = tmp_path / "cache" / "file.bin"
    download(f"{server}/file.bin", target, md5=MD5, advice="")
    assert target.read_bytes() == CONTENT
    assert left_in(target.parent) == ["file.bin"]
    said = capfd.readouterr()
    assert "100%" in said.err
    assert "file.bin" in said.out


def test_an_existing_file_is_not_downloaded_again(tmp_path):
    target = tmp_path / "file.bin"
    target.write_bytes(b"mine")
    download("http://127.0.0.1:9/nowhere", target, md5="", advice="")
    assert target.read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("path", "md5", "says"),
    [
        ("file.bin", "0" * 32, "should have the MD5 checksum 0{32}.*Nothing was kept.*DO THIS"),
        ("cut/file.bin", MD5, "(could not be downloaded|truncated).*DO THIS"),
        ("absent.bin", MD5, "could not be downloaded.*404.*DO THIS"),
    ],
)
def test_a_wrong_or_cut_or_absent_file_leaves_nothing(path, md5, says, server, tmp_path):
    target = tmp_path / "cache" / "file.bin"
    with pytest.raises(UserError, match=says):
        download(f"{server}/{path}", target, md5=md5, advice="DO THIS")
    assert left_in(target.parent) == []


def test_without_a_network_omniglot_says_which_files_to_add(tmp_path):
    task = downloading(tmp_path, "http://127.0.0.1:9")  # nothing listens there
    with pytest.raises(
        UserError, match=r"could not be downloaded.*images_background\.zip.*task\.data_dir"
    ):
        task.prepare()


def test_omniglot_checks_the_official_checksums(server, tmp_path):
    served = tmp_path / "served" / "images_background.zip"
    served.write_bytes(b"not the official archive")
    task = downloading(tmp_path / "cache", server)
    with pytest.raises(UserError, match=Omniglot.archives["images_background.zip"]):
        task.prepare()
