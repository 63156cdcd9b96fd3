"""One local Slurm for all tests of this folder; they skip where it is not installed."""

import pytest

from tests.run.conftest import uninterrupted
from tests.slurm.cluster import Slurm, missing

__all__ = ["uninterrupted"]  # the run that requeued ones are compared with


@pytest.fixture(scope="session")
def slurm(tmp_path_factory):
    if lacking := missing():
        pytest.skip(f"no Slurm: {', '.join(lacking)} not found (apt-get install slurm-wlm munge)")
    cluster = Slurm(tmp_path_factory.mktemp("slurm"))
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
