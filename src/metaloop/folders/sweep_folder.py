"""The folder of one sweep: who leads it, who works on which job, and the sign to stop.

Imports no torch: commands stay quick. It may lie on a file system that several machines share.
"""

import os
import shutil
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TypeVar

import filelock

from metaloop.errors import UserError
from metaloop.folders.atomic_write import write_json
from metaloop.folders.reading import parse_json, read_text, unreadable
from metaloop.folders.run_folder import RunFolder

HYDRAS = "multirun.yaml"  # what Hydra writes into a sweep's folder
GPUS = "CUDA_VISIBLE_DEVICES"  # the environment's name for those that a process sees
Shape = TypeVar("Shape")
REMEDY = "Delete the folder .sweep, and start the sweep again: its runs go on."


class Leader(NamedTuple):
    """The command that leads a sweep: what it gives the jobs, and the GPUs that it sees."""

    arguments: Sequence[str]  # several values of a key together
    host: str
    pid: int
    gpus: str | None  # what CUDA_VISIBLE_DEVICES says


class JobRecord(NamedTuple):
    """How a job of the sweep's last command ended; `error` is empty where it went well."""

    overrides: Sequence[str]
    folder: str
    error: str
    ended: str = "completed"  # or composed, checked, where no more was asked for


class SweepFolder:
    """Run folders side by side, one a job, and what the jobs of one command share.

    <task>_<algorithm>_<identity>/   a run folder a job
    .sweep/command.json              the command that leads the sweep: arguments, host, GPUs
    .sweep/lead                      the lock of that command
    .sweep/jobs/                     how each of its jobs ended
    .sweep/locks/                    a job is worked on once, whoever starts it again
    .sweep/stop                      there while the sweep is to stop
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._own = self.path / ".sweep"
        self._made = self.path  # the topmost folder that had to be made for it

    @classmethod
    def create(cls, path: str | Path) -> "SweepFolder":
        """Make a new folder; with -2, -3 .. where another sweep has that name."""
        folder = RunFolder.create(Path(path).parent, Path(path).name)
        sweep = cls(folder.path)
        sweep._made = folder.made or folder.path
        return sweep

    def begin(self, arguments: Sequence[str]) -> None:
        """Take the lead until this process ends: forget an earlier command's jobs, keep its runs.

        Raises:
            UserError: another command leads the sweep.

        """
        self._own.mkdir(parents=True, exist_ok=True)
        self._lead = filelock.FileLock(self._own / "lead", timeout=0)
        try:
            self._lead.acquire()
        except filelock.Timeout:
            leader = self.leader
            raise UserError(
                f"Another command works in the sweep {self.path}: process {leader.pid} on "
                f"{leader.host}. Wait for it or stop it, or start a sweep of your own without "
                f"hydra.sweep.dir; metaloop-sweep {self.path} shows how far it is."
            ) from None
        shutil.rmtree(self._own / "jobs", ignore_errors=True)
        for folder in (self._own / "jobs", self._own / "locks"):
            folder.mkdir(parents=True, exist_ok=True)
        self._stop_sign.unlink(missing_ok=True)
        gpus = os.environ.get(GPUS)
        leader = Leader(list(arguments), socket.gethostname(), os.getpid(), gpus)
        write_json(self._own / "command.json", leader._asdict())

    def discard(self) -> None:
        """Remove the folder where it holds nothing but what a sweep writes of itself.

        Folders that were made for it go too, unless something else lies in them.
        """
        if {path.name for path in self.path.iterdir()} <= {self._own.name, HYDRAS}:
            RunFolder(self.path).remove(self._made)

    @property
    def leader(self) -> Leader:
        """The command that leads the sweep.

        Raises:
            UserError: what it wrote cannot be read.

        """
        return _read(self._own / "command.json", Leader)

    def stop(self) -> None:
        """Put up the sign: jobs save and end, and none begins."""
        self._stop_sign.touch()

    def is_stopping(self) -> bool:
        """Whether the sign is up."""
        return self._stop_sign.exists()

    def run_folder(self, name: str, identity: str) -> RunFolder:
        """The run folder of a job: always the same for the same identity."""
        return RunFolder(self.path / f"{name}_{identity}")

    @contextmanager
    def claim(self, identity: str) -> Iterator[None]:
        """Hold a job; wait while another process works on it. The claim dies with its process."""
        with filelock.FileLock(self._own / "locks" / identity):
            yield

    def record(self, number: int, job: JobRecord) -> None:
        """Write down how a job ended."""
        write_json(self._own / "jobs" / f"{number:06}.json", job._asdict())

    def records(self) -> list[JobRecord]:
        """How the command's jobs ended, in their order."""
        paths = sorted((self._own / "jobs").glob("*.json"))
        return [_read(path, JobRecord) for path in paths]

    @property
    def _stop_sign(self) -> Path:
        return self._own / "stop"


def _read(path: Path, shape: type[Shape]) -> Shape:
    if (text := read_text(path, REMEDY)) is None:
        raise unreadable(path, "it is gone", REMEDY)
    return parse_json(text, path, shape, REMEDY)
