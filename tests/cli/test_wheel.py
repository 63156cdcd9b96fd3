"""Wheel and source archive are fit for an index; an installed wheel ships conf/."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> list[Path]:
    """The wheel and the source archive."""
    pytest.importorskip("hatchling", reason="the extra dev is not installed")
    out = tmp_path_factory.mktemp("built")
    command = [sys.executable, "-m", "hatchling", "build", "--directory", str(out)]
    made = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert made.returncode == 0, made.stderr
    return sorted(out.iterdir())


@pytest.fixture(scope="module")
def wheel(built) -> Path:
    return built[0]


def test_wheel_and_source_archive_pass_the_checks_of_an_index(built):
    pytest.importorskip("twine", reason="the extra dev is not installed")
    assert [path.suffix for path in built] == [".whl", ".gz"]
    command = [sys.executable, "-m", "twine", "check", "--strict", *map(str, built)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("PASSED") == 2


def test_the_wheel_ships_every_config_and_data_file(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    for path in (ROOT / "conf").rglob("*.yaml"):
        assert f"metaloop/conf/{path.relative_to(ROOT / 'conf')}" in names
    assert "metaloop/tasks/sources/splits/omniglot_alphabets.json" in names
    assert "metaloop/run/report/page.css" in names
    assert {"metaloop/__init__.pyi", "metaloop/py.typed"} <= names


def test_the_installed_wheel_trains_from_anywhere(wheel, tmp_path):
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    run = (
        f"import sys; sys.path.insert(0, {str(site)!r}); import metaloop; "
        f"assert metaloop.__file__.startswith({str(site)!r}); "
        "from metaloop.cli.train import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", run, "experiment=smoke", "logger=none"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={"PYTHONPATH": str(site), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "outputs").glob("*_sinusoid_maml/evaluations/test/results.json"))
