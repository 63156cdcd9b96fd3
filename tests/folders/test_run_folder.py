"""A run's record changes whole or not at all, and by one process at a time."""

import os
import signal

import pytest

from metaloop.errors import UserError
from metaloop.folders.changes import Accepted, Decided
from metaloop.folders.run_folder import RunFolder
from metaloop.folders.run_lock import HELD_FOR_RANKS
from tests.forks import die_before, in_child

BEFORE, AFTER = Decided("lr: 0.001\n", "[]\n"), Decided("lr: 0.5\n", "[lr=0.5]\n")
CHANGE = Accepted(400, {"lr": (0.001, 0.5)})


@pytest.fixture
def folder(tmp_path) -> RunFolder:
    folder = RunFolder(tmp_path)
    folder.change(BEFORE)
    return folder


def record(folder: RunFolder) -> tuple:
    """What everybody reads."""
    return folder.config_text(), folder.overrides_text(), folder.read_accepted()


def test_a_killed_change_is_applied_completely_or_not_at_all(folder):
    found = []
    for number in range(6):
        folder.change(BEFORE)

        def change(number=number):
            die_before(number)
            folder.change(AFTER, [CHANGE])

        ended = in_child(change)
        found.append(record(RunFolder(folder.path)))
        folder.settle()
        assert record(folder) == found[-1]
        assert (folder.config.read_text(), folder.overrides.read_text()) == found[-1][:2]
    assert ended == 0  # the last was not killed: every moment has been one to die at
    nothing, everything = (BEFORE.config, BEFORE.overrides, []), (*_texts(AFTER), [CHANGE])
    assert found == [nothing] + 5 * [everything]


def _texts(decided: Decided) -> tuple[str, str]:
    return decided.config, decided.overrides


def test_an_unfinished_change_makes_a_completed_run_composed_again(folder):
    folder.write_status("completed")

    def change():
        die_before(1)
        folder.change(AFTER, [CHANGE])

    assert in_child(change) == -signal.SIGKILL
    assert folder.state() == "composed"


def test_a_folder_is_held_by_one_process_however_often(folder):
    with folder.lock():
        same = RunFolder(os.path.relpath(folder.path))
        with same.lock():  # a command becomes the worker
            pass
        assert in_child(lambda: refused(folder)) == 1
    assert in_child(lambda: refused(folder)) == 0


def refused(folder: RunFolder) -> None:
    """End with status 1 where another process holds the folder."""
    try:
        with folder.lock():
            os._exit(0)
    except UserError as error:
        os._exit("Another process is working in" in str(error))


def test_an_agent_keeps_the_folder_for_its_ranks_alone(folder, monkeypatch):
    with folder.lock():
        environment = folder.hand_on()
    # as if this process had become the agent: its own lock is gone, what it handed on is not
    with pytest.raises(UserError, match="Another process is working in"), folder.lock():
        pass
    monkeypatch.setenv(HELD_FOR_RANKS, environment[HELD_FOR_RANKS])
    with folder.lock():
        pass


def test_removing_a_folder_removes_only_the_parents_it_created(tmp_path):
    first = RunFolder.create(tmp_path / "a" / "runs", "one")
    assert first.made == tmp_path / "a"
    second = RunFolder.create(tmp_path / "a" / "runs", "one")
    assert second.made == second.path == tmp_path / "a" / "runs" / "one-2"
    first.remove(first.made)
    assert second.path.is_dir()  # what lies beside it stays
    second.remove(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []
