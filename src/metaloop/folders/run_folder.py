"""The folder of one run: its paths, status and lock. Imports no torch: commands stay quick."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import filelock

from metaloop.errors import UserError
from metaloop.folders.atomic_write import write_json

State = Literal["composed", "running", "interrupted", "diverged", "failed", "completed"]


class RunFolder:
    """Paths and status of one run.

    config.yaml          the resolved config          overrides.yaml   what the user changed
    environment.json     versions, git state          status.json      composed ... completed
    changes.json         accepted on resuming      best_modes.json  whether min or max is the best
    checkpoints/         last, previous, best         metrics.csv      one row a logging step
    plots/  wandb/       pictures; W&B's own files    evaluations/     one folder an evaluation
                                                      adaptations/     one folder an adaptation
    log.txt              what a job of a sweep said, where several run at once
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @classmethod
    def create(cls, root: str | Path, name: str) -> "RunFolder":
        """Make a new folder root/name; name-2, name-3 .. where it is taken."""
        Path(root).mkdir(parents=True, exist_ok=True)
        number = 1
        while True:
            path = Path(root) / (name if number == 1 else f"{name}-{number}")
            try:
                path.mkdir()  # exclusive: of two processes only one makes it
                return cls(path)
            except FileExistsError:
                number += 1

    @classmethod
    def open(cls, path: str | Path) -> "RunFolder":
        """Open an existing run or evaluation.

        Raises:
            UserError: it is no folder, or no config.yaml is in it.

        """
        folder = cls(path)
        if not folder.path.is_dir():
            raise UserError(f"There is no folder {folder.path}. Name a run folder under outputs/.")
        if not folder.config.is_file():
            raise UserError(
                f"{folder.path} is no run folder: it has no config.yaml. "
                "Name the folder that metaloop-train printed."
            )
        return folder

    @property
    def config(self) -> Path:
        return self.path / "config.yaml"

    @property
    def overrides(self) -> Path:
        return self.path / "overrides.yaml"

    @property
    def environment(self) -> Path:
        return self.path / "environment.json"

    @property
    def changes(self) -> Path:
        return self.path / "changes.json"

    @property
    def best_modes(self) -> Path:
        return self.path / "best_modes.json"

    @property
    def log(self) -> Path:
        return self.path / "log.txt"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.csv"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def last_checkpoint(self) -> Path:
        return self.checkpoints / "last.ckpt"

    @property
    def previous_checkpoint(self) -> Path:
        return self.checkpoints / "previous.ckpt"

    @property
    def best_checkpoint(self) -> Path:
        return self.checkpoints / "best.ckpt"

    @property
    def ensemble(self) -> Path:
        return self.checkpoints / "ensemble"

    @property
    def plots(self) -> Path:
        return self.path / "plots"

    @property
    def evaluations(self) -> Path:
        return self.path / "evaluations"

    @property
    def adaptations(self) -> Path:
        return self.path / "adaptations"

    def write_status(self, state: State, **details: str | int | None) -> None:
        """Replace status.json, atomically."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        write_json(self.path / "status.json", {"state": state, "time": now, **details})

    def read_status(self) -> dict[str, str | int | None]:
        """Read status.json; {} where there is none."""
        path = self.path / "status.json"
        return json.loads(path.read_text()) if path.is_file() else {}

    def state(self) -> str:
        """The state of status.json, but "killed" for a run whose process is gone."""
        status = self.read_status()
        state, pid = str(status.get("state", "composed")), status.get("pid")
        is_here = status.get("host") == socket.gethostname()
        if state != "running" or not is_here or not isinstance(pid, int):
            return state
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return "killed"
        except PermissionError:
            pass  # it lives, as someone else's
        return state

    def why_ended(self) -> str:
        """Why the run did not complete, where status.json says so; else an empty string."""
        status = self.read_status()
        return str(status.get("error") or status.get("reason") or "")

    def read_changes(self) -> list[dict[str, object]]:
        """Read changes.json: what the user accepted on resuming; [] where there is nothing."""
        return json.loads(self.changes.read_text())["accepted"] if self.changes.is_file() else []

    @contextmanager
    def lock(self, wait: float = 0) -> Iterator[None]:
        """Hold the folder for one worker; the lock dies with its process.

        Args:
            wait: seconds for another process to let it go.

        Raises:
            UserError: another process works in this folder.

        """
        lock = filelock.FileLock(self.path / ".lock", timeout=wait)
        try:
            lock.acquire()
        except filelock.Timeout:
            raise UserError(
                f"Another process is working in {self.path}: one folder is one run. "
                "Wait for it, stop it, or start a run of your own with metaloop-train."
            ) from None
        try:
            yield
        finally:
            lock.release()
