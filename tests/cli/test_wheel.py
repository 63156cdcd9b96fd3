"""An installed wheel is a whole metaloop: it ships conf/."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    made = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(out), str(ROOT)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    (path,) = out.glob("*.whl")
    return path


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
