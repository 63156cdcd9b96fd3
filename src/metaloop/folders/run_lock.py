"""One worker per folder: a lock from reading a folder to the end of the work in it.

Imports no torch, so that commands stay fast.
"""

import fcntl
import os
from collections.abc import Mapping
from pathlib import Path

import filelock

from metaloop.errors import UserError

# environment variable of torchrun's agent: the folder that it holds for its ranks
HELD_FOR_RANKS = "METALOOP_HELD_FOLDER"


class RunLock:
    """A lock on a folder, until it is released or its process ends.

    Several locks in one process count as one: a command locks the folder before reading it, and
    the worker that it becomes locks it again. With several processes, a command becomes torchrun's
    agent. It keeps a second file locked, so that no other process can take the folder before its
    first rank does.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self._agent = self.folder / ".lock.agent"
        self._lock = filelock.FileLock(self.folder / ".lock", is_singleton=True)

    def acquire(self, wait: float) -> None:
        """Lock the folder, waiting up to `wait` seconds.

        Raises:
            UserError: if another process works in it.

        """
        try:
            self._lock.acquire(timeout=wait)
        except filelock.Timeout:
            raise self._taken() from None
        if self._is_held_by_other_agent():
            self._lock.release()
            raise self._taken()

    def release(self) -> None:
        """Release the folder."""
        self._lock.release()

    def hand_on(self) -> Mapping[str, str]:
        """Keep the folder locked for the ranks of the torchrun agent that this process becomes.

        Returns:
            variables for their environment, which identify them as the owner's ranks.

        """
        agent = os.open(self._agent, os.O_RDWR | os.O_CREAT, 0o644)
        fcntl.flock(agent, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.set_inheritable(agent, True)  # stays open and locked while the agent lives
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
            f"Another process is working in {self.folder}, and a folder is one run. "
            "Wait for it, stop it, or start another run with metaloop-train."
        )
