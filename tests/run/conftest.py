"""The run that everything stopped, killed and broken is compared with."""

import pytest

from metaloop.folders.run_folder import RunFolder
from tests.run.stopped_runs import finish, write


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory) -> RunFolder:
    folder = write(tmp_path_factory.mktemp("uninterrupted"))
    finish(folder)
    assert folder.read_status()["state"] == "completed"
    return folder
