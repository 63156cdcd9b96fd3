"""torch's threads sleep while they wait, unless the user has said how they wait."""

import os
import re
import sys

import pytest

from metaloop.process.openmp import wait_asleep
from tests.conftest import run_command

LOAD = "from metaloop.process.fast_import import fast_imports\nwith fast_imports(): import torch"


@pytest.mark.skipif(sys.platform != "linux", reason="torch has another OpenMP there")
def test_the_library_that_torch_loads_reads_it():
    ours = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    shown = {**environment, "OMP_DISPLAY_ENV": "verbose"}
    done = run_command("python", "-c", LOAD, env=shown, cold=True)
    assert re.findall(r"GOMP_SPINCOUNT = '(\d+)'", done.stderr) == ["1000"]


@pytest.mark.parametrize("own", [{"OMP_WAIT_POLICY": "ACTIVE"}, {"GOMP_SPINCOUNT": "7"}])
def test_what_the_user_has_set_holds(own, monkeypatch):
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in own.items():
        monkeypatch.setenv(name, value)
    wait_asleep()
    assert {
        n: os.environ[n] for n in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT") if n in os.environ
    } == own
