"""The folder of one run: paths, status, lock. Imports no torch, so that commands stay fast."""

import os
import shutil
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from metaloop.errors import UserError
from metaloop.folders.atomic_write import write_json, write_text
from metaloop.folders.changes import Accepted, Changes, Decided, read_changes, write_changes
from metaloop.folders.reading import parse_json, read_text
from metaloop.folders.run_lock import RunLock

State = Literal["composed", "running", "interrupted", "diverged", "failed", "completed"]


CONFIG_REMEDY = "Restore it from a copy, or train the run again."
OVERRIDES_REMEDY = "Delete it: the run continues without it, and only forgets what was changed."


class RunFolder:
    """Paths and status of one run.

    config.yaml          the resolved config          overrides.yaml   the user's overrides
    environment.json     versions, git state          status.json      composed ... completed
    changes.json         changes accepted on resuming; overrides config.yaml and overrides.yaml
    best_modes.json      whether each metric is best at its min or max
    checkpoints/         last, previous, best         metrics.csv      one row per logging step
    plots/               pictures                     evaluations/     one folder per evaluation
    wandb/ tensorboard/  files of the loggers         adaptations/     one folder per adaptation
    log.txt              output of a sweep's job, if several run at once
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        # topmost folder that this process had to create for it; None if it existed
        self.made: Path | None = None
        self._held: list[RunLock] = []

    @classmethod
    def create(cls, root: str | Path, name: str) -> "RunFolder":
        """Create a new folder root/name, or name-2, name-3 .. if it exists."""
        number = 1
        while True:
            folder = cls(Path(root) / (name if number == 1 else f"{name}-{number}"))
            try:
                folder.make()  # exclusive: only one of two processes succeeds
                return folder
            except FileExistsError:
                number += 1

    def make(self) -> None:
        """Create the folder and its parents.

        Raises:
            FileExistsError: if it exists.

        """
        missing = [path for path in (self.path, *self.path.parents) if not path.exists()]
        self.path.mkdir(parents=True)
        self.made = missing[-1] if missing else None

    def remove(self, made: Path) -> None:
        """Remove the folder, and its parents up to `made` that are otherwise empty."""
        shutil.rmtree(self.path, ignore_errors=True)
        for path in self.path.parents:
            if not path.is_relative_to(made):
                break
            with suppress(OSError):  # it contains another run
                path.rmdir()

    @classmethod
    def open(cls, path: str | Path) -> "RunFolder":
        """Open an existing run or evaluation.

        Raises:
            UserError: if it is not a folder, or contains no config.yaml.

        """
        folder = cls(path)
        folder.require()
        return folder

    def require(self) -> None:
        """Refuse a path that is not a run or evaluation.

        Raises:
            UserError: if it is not a folder, or contains no config.yaml.

        """
        if not os.path.isdir(self.path):  # noqa: PTH112 - pathlib raises for long names
            raise UserError(f"There is no folder {self.path}. Name a run folder under outputs/.")
        if not self.config.exists():
            raise UserError(
                f"{self.path} is not a run folder: it has no config.yaml. "
                "Name the folder that metaloop-train printed."
            )

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
        """Replace status.json atomically."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        write_json(self._status, {"state": state, "time": now, **details})

    def read_status(self) -> dict[str, str | int | None]:
        """Read status.json; {} if there is none."""
        remedy = "Delete it: the run writes it again when it continues."
        text = read_text(self._status, remedy)
        if text is None or self._changes().decided is not None:
            return {}
        return parse_json(text, self._status, dict[str, str | int | None], remedy)

    def state(self) -> str:
        """Return the state in status.json, or "killed" for a run whose process has disappeared."""
        status = self.read_status()
        state, pid = str(status.get("state", "composed")), status.get("pid")
        is_here = status.get("host") == socket.gethostname()
        if state != "running" or not is_here or not isinstance(pid, int):
            return state
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return "killed"
        except (PermissionError, OverflowError):
            pass  # it is alive, but belongs to someone else
        return state

    def why_ended(self) -> str:
        """Return the reason why the run did not complete, if status.json has one; else ""."""
        status = self.read_status()
        return str(status.get("error") or status.get("reason") or "")

    def read_best_modes(self) -> dict[str, str | None]:
        """Read whether each metric is best at its min or max; {} if unknown."""
        remedy = "Delete it: the table then shows no best values."
        text = read_text(self.best_modes, remedy)
        return (
            {} if text is None else parse_json(text, self.best_modes, dict[str, str | None], remedy)
        )

    def config_text(self) -> str:
        """Read the text of config.yaml.

        Raises:
            UserError: if there is none, or it cannot be read.

        """
        if (decided := self._changes().decided) is not None:
            return decided.config
        text = read_text(self.config, CONFIG_REMEDY)
        if text is None:
            raise UserError(f"{self.path} is no longer a run folder: its config.yaml is missing.")
        return text

    def overrides_text(self) -> str | None:
        """Read the text of overrides.yaml; None if there is none."""
        decided = self._changes().decided
        return decided.overrides if decided else read_text(self.overrides, OVERRIDES_REMEDY)

    def read_accepted(self) -> Sequence[Accepted]:
        """Read the changes that the user accepted on resuming."""
        return self._changes().accepted

    def write_accepted(self, accepted: Sequence[Accepted]) -> None:
        """Replace the accepted changes. Call `hold` and `settle` first."""
        if accepted != self.read_accepted():
            write_changes(self.changes, Changes(accepted))

    def change(self, decided: Decided, accepted: Sequence[Accepted] = ()) -> None:
        """Replace config, overrides and accepted changes, all or nothing.

        Replacing changes.json is the commit: later readers get the new texts from it, and `settle`
        completes an interrupted change. Hold the folder meanwhile.
        """
        write_changes(self.changes, Changes(accepted, decided))
        self.settle()

    def settle(self) -> None:
        """Write the new texts of an interrupted change to their files."""
        changes = self._changes()
        if changes.decided is None:
            return
        write_text(self.overrides, changes.decided.overrides)
        write_text(self.config, changes.decided.config)
        self.write_status("composed")
        write_changes(self.changes, Changes(changes.accepted))

    def hold(self, wait: float = 0) -> None:
        """Lock the folder for one worker, until `let_go` or the end of the process.

        Args:
            wait: seconds to wait for another process to release it.

        Raises:
            UserError: if another process works in this folder.

        """
        lock = RunLock(self.path)
        lock.acquire(wait)
        self._held.append(lock)

    def let_go(self) -> None:
        """Release the last `hold`."""
        self._held.pop().release()

    @contextmanager
    def lock(self, wait: float = 0) -> Iterator[None]:
        """Hold the folder inside."""
        self.hold(wait)
        try:
            yield
        finally:
            self.let_go()

    def hand_on(self) -> Mapping[str, str]:
        """Keep the folder locked for the ranks of the torchrun agent that this process becomes.

        Returns:
            variables for the agent's environment.

        """
        return self._held[-1].hand_on()

    @property
    def _status(self) -> Path:
        return self.path / "status.json"

    def _changes(self) -> Changes:
        return read_changes(self.changes)
