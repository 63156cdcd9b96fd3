"""One folder, one worker: a lock from the reading of a folder to the end of the work in it.

Imports no torch: commands stay quick.
"""

import fcntl
import os
from collections.abc import Mapping
from pathlib import Path

import filelock

from metaloop.errors import UserError

# set in the environment of torchrun's agent: the folder that it holds for its ranks
HELD_FOR_RANKS = "METALOOP_HELD_FOLDER"


class RunLock:
    """Holds a folder until it lets go, or until its process is gone.

    Several in one process count as one: a command takes it before it reads, and the worker that
    it becomes takes it again. Of several processes a command becomes torchrun's agent, which keeps
    a second file locked, so that nobody comes in between before its first rank holds the folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self._agent = self.folder / ".lock.agent"
        self._lock = filelock.FileLock(self.folder / ".lock", is_singleton=True)

    def acquire(self, wait: float) -> None:
        """Take the folder, within so many seconds.

        Raises:
            UserError: another process works in it.

        """
        try:
            self._lock.acquire(timeout=wait)
        except filelock.Timeout:
            raise self._taken() from None
        if self._is_held_by_other_agent():
            self._lock.release()
            raise self._taken()

    def release(self) -> None:
        """Let the folder go."""
        self._lock.release()

    def hand_on(self) -> Mapping[str, str]:
        """Keep the folder for the ranks of the agent that this process becomes.

        Returns:
            what their environment needs: they know by it that it is theirs.

        """
        agent = os.open(self._agent, os.O_RDWR | os.O_CREAT, 0o644)
        fcntl.flock(agent, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.set_inheritable(agent, True)  # it stays open, and locked, as long as the agent lives
        return {HELD_FOR_RANKS: str(self.folder)}

    def _is_held_by_other_agent(self) -> bool:
        if os.environ.get(HELD_FOR_RANKS) == str(self.folder) or not self._agent.exists():
            return False
        with self._agent.open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def _taken(self) -> UserError:
        return UserError(
            f"Another process is working in {self.folder}: one folder is one run. "
            "Wait for it, stop it, or start a run of your own with metaloop-train."
        )
