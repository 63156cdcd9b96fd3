"""One local Slurm for all tests of this folder; they skip where it is not installed."""

import pytest

from tests.slurm.cluster import Slurm, missing


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
