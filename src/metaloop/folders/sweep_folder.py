"""The folder of one sweep: its leading command, its jobs, and the sign to stop.

Imports no torch, so that commands stay fast. Several machines may share it on a file system.
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

HYDRAS = "multirun.yaml"  # Hydra's file in a sweep's folder
GPUS = "CUDA_VISIBLE_DEVICES"
Shape = TypeVar("Shape")
REMEDY = "Delete the folder .sweep, and start the sweep again: its runs continue."


class Leader(NamedTuple):
    """The command that leads a sweep, with the arguments of its jobs and its visible GPUs."""

    arguments: Sequence[str]  # several values per key
    host: str
    pid: int
    gpus: str | None  # value of CUDA_VISIBLE_DEVICES


class JobRecord(NamedTuple):
    """The end of a job of the sweep's last command; `error` is empty if it succeeded."""

    overrides: Sequence[str]
    folder: str
    error: str
    ended: str = "completed"  # or composed, checked, if no more was requested


class SweepFolder:
    """The run folders of a sweep, one per job, and the files that its jobs share.

    <task>_<algorithm>_<identity>/   the run folder of a job
    .sweep/command.json              the command that leads the sweep: arguments, host, GPUs
    .sweep/lead                      lock of that command
    .sweep/jobs/                     the end of each of its jobs
    .sweep/locks/                    locks of the jobs, so that each runs once at a time
    .sweep/stop                      present while the sweep is to stop
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._own = self.path / ".sweep"
        self._made = self.path  # topmost folder that had to be created for it

    @classmethod
    def create(cls, path: str | Path) -> "SweepFolder":
        """Create a new folder, with suffix -2, -3 .. if the name is taken."""
        folder = RunFolder.create(Path(path).parent, Path(path).name)
        sweep = cls(folder.path)
        sweep._made = folder.made or folder.path
        return sweep

    def begin(self, arguments: Sequence[str]) -> None:
        """Lead the sweep until this process ends: forget an earlier command's jobs, keep its runs.

        Raises:
            UserError: if another command leads the sweep.

        """
        self._own.mkdir(parents=True, exist_ok=True)
        self._lead = filelock.FileLock(self._own / "lead", timeout=0)
        try:
            self._lead.acquire()
        except filelock.Timeout:
            leader = self.leader
            raise UserError(
                f"Another command works in the sweep {self.path}: process {leader.pid} on "
                f"{leader.host}. Wait for it or stop it, or start another sweep without "
                f"hydra.sweep.dir; metaloop-sweep {self.path} shows its progress."
            ) from None
        shutil.rmtree(self._own / "jobs", ignore_errors=True)
        for folder in (self._own / "jobs", self._own / "locks"):
            folder.mkdir(parents=True, exist_ok=True)
        self._stop_sign.unlink(missing_ok=True)
        gpus = os.environ.get(GPUS)
        leader = Leader(list(arguments), socket.gethostname(), os.getpid(), gpus)
        write_json(self._own / "command.json", leader._asdict())

    def discard(self) -> None:
        """Remove the folder if it contains only the sweep's own files.

        Parent folders that were created for it go too, unless they contain anything else.
        """
        if {path.name for path in self.path.iterdir()} <= {self._own.name, HYDRAS}:
            RunFolder(self.path).remove(self._made)

    @property
    def leader(self) -> Leader:
        """The command that leads the sweep.

        Raises:
            UserError: if its file cannot be read.

        """
        return _read(self._own / "command.json", Leader)

    def stop(self) -> None:
        """Set the stop sign: running jobs save and end, and no new one starts."""
        self._stop_sign.touch()

    def is_stopping(self) -> bool:
        """Check whether the stop sign is set."""
        return self._stop_sign.exists()

    def run_folder(self, name: str, identity: str) -> RunFolder:
        """Return a job's run folder, which depends only on its identity."""
        return RunFolder(self.path / f"{name}_{identity}")

    @contextmanager
    def claim(self, identity: str) -> Iterator[None]:
        """Hold a job, waiting while another process works on it; released if the process dies."""
        with filelock.FileLock(self._own / "locks" / identity):
            yield

    def record(self, number: int, job: JobRecord) -> None:
        """Record the end of a job."""
        write_json(self._own / "jobs" / f"{number:06}.json", job._asdict())

    def records(self) -> list[JobRecord]:
        """Read the ends of the command's jobs, in their order."""
        paths = sorted((self._own / "jobs").glob("*.json"))
        return [_read(path, JobRecord) for path in paths]

    @property
    def _stop_sign(self) -> Path:
        return self._own / "stop"


def _read(path: Path, shape: type[Shape]) -> Shape:
    if (text := read_text(path, REMEDY)) is None:
        raise unreadable(path, "it is missing", REMEDY)
    return parse_json(text, path, shape, REMEDY)
