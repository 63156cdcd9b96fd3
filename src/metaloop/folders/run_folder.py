"""The folder of one run: its paths, record and lock. Imports no torch: commands stay quick."""

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


CONFIG_REMEDY = "Put a copy of it back, or train the run again."
OVERRIDES_REMEDY = "Delete it: the run goes on without, and only forgets what was changed."


class RunFolder:
    """Paths and status of one run.

    config.yaml          the resolved config          overrides.yaml   what the user changed
    environment.json     versions, git state          status.json      composed ... completed
    changes.json         accepted on resuming; decides over config and overrides
    best_modes.json      whether min or max is the best value of each metric
    checkpoints/         last, previous, best         metrics.csv      one row a logging step
    plots/  wandb/       pictures; W&B's own files    evaluations/     one folder an evaluation
                                                      adaptations/     one folder an adaptation
    log.txt              what a job of a sweep said, where several run at once
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        # the topmost of the folders that had to be made for it, by this process; None: it was there
        self.made: Path | None = None
        self._held: list[RunLock] = []

    @classmethod
    def create(cls, root: str | Path, name: str) -> "RunFolder":
        """Make a new folder root/name; name-2, name-3 .. where it is taken."""
        number = 1
        while True:
            folder = cls(Path(root) / (name if number == 1 else f"{name}-{number}"))
            try:
                folder.make()  # exclusive: of two processes only one makes it
                return folder
            except FileExistsError:
                number += 1

    def make(self) -> None:
        """Make the folder, and those that it lies in.

        Raises:
            FileExistsError: it is there.

        """
        missing = [path for path in (self.path, *self.path.parents) if not path.exists()]
        self.path.mkdir(parents=True)
        self.made = missing[-1] if missing else None

    def remove(self, made: Path) -> None:
        """Remove the folder, and those up to `made` that nothing else lies in."""
        shutil.rmtree(self.path, ignore_errors=True)
        for path in self.path.parents:
            if not path.is_relative_to(made):
                break
            with suppress(OSError):  # another run's folder lies in it
                path.rmdir()

    @classmethod
    def open(cls, path: str | Path) -> "RunFolder":
        """Open an existing run or evaluation.

        Raises:
            UserError: it is no folder, or no config.yaml is in it.

        """
        folder = cls(path)
        folder.require()
        return folder

    def require(self) -> None:
        """Refuse a path without a run or evaluation.

        Raises:
            UserError: it is no folder, or no config.yaml is in it.

        """
        if not os.path.isdir(self.path):  # noqa: PTH112 - pathlib raises for long names
            raise UserError(f"There is no folder {self.path}. Name a run folder under outputs/.")
        if not self.config.exists():
            raise UserError(
                f"{self.path} is no run folder: it has no config.yaml. "
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
        """Replace status.json, atomically."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        write_json(self._status, {"state": state, "time": now, **details})

    def read_status(self) -> dict[str, str | int | None]:
        """Read status.json; {} where there is none."""
        remedy = "Delete it: the run writes it anew when it goes on."
        text = read_text(self._status, remedy)
        if text is None or self._changes().decided is not None:
            return {}
        return parse_json(text, self._status, dict[str, str | int | None], remedy)

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
        except (PermissionError, OverflowError):
            pass  # it lives, as someone else's
        return state

    def why_ended(self) -> str:
        """Why the run did not complete, where status.json says so; else an empty string."""
        status = self.read_status()
        return str(status.get("error") or status.get("reason") or "")

    def read_best_modes(self) -> dict[str, str | None]:
        """Read whether min or max is the best value of each metric; {} where nothing is said."""
        remedy = "Delete it: the table then shows no best values."
        text = read_text(self.best_modes, remedy)
        return (
            {} if text is None else parse_json(text, self.best_modes, dict[str, str | None], remedy)
        )

    def config_text(self) -> str:
        """What config.yaml says.

        Raises:
            UserError: there is none, or it cannot be read.

        """
        if (decided := self._changes().decided) is not None:
            return decided.config
        text = read_text(self.config, CONFIG_REMEDY)
        if text is None:
            raise UserError(f"{self.path} is no run folder any more: its config.yaml is gone.")
        return text

    def overrides_text(self) -> str | None:
        """What overrides.yaml says; None where there is none."""
        decided = self._changes().decided
        return decided.overrides if decided else read_text(self.overrides, OVERRIDES_REMEDY)

    def read_accepted(self) -> Sequence[Accepted]:
        """Read what the user accepted on resuming."""
        return self._changes().accepted

    def write_accepted(self, accepted: Sequence[Accepted]) -> None:
        """Replace what the user accepted. Hold the folder, and settle it before."""
        if accepted != self.read_accepted():
            write_changes(self.changes, Changes(accepted))

    def change(self, decided: Decided, accepted: Sequence[Accepted] = ()) -> None:
        """Replace config and overrides, and all that was accepted: everything or nothing.

        The replacement of changes.json decides: whoever reads the folder after it reads what it
        says, and `settle` ends a change that was cut short. Hold the folder meanwhile.
        """
        write_changes(self.changes, Changes(accepted, decided))
        self.settle()

    def settle(self) -> None:
        """Write what was decided into its files, where that is still to be done."""
        changes = self._changes()
        if changes.decided is None:
            return
        write_text(self.overrides, changes.decided.overrides)
        write_text(self.config, changes.decided.config)
        self.write_status("composed")
        write_changes(self.changes, Changes(changes.accepted))

    def hold(self, wait: float = 0) -> None:
        """Hold the folder for one worker, until `let_go` or the end of the process.

        Args:
            wait: seconds for another process to let it go.

        Raises:
            UserError: another process works in this folder.

        """
        lock = RunLock(self.path)
        lock.acquire(wait)
        self._held.append(lock)

    def let_go(self) -> None:
        """End what the last `hold` began."""
        self._held.pop().release()

    @contextmanager
    def lock(self, wait: float = 0) -> Iterator[None]:
        """Hold the folder within."""
        self.hold(wait)
        try:
            yield
        finally:
            self.let_go()

    def hand_on(self) -> Mapping[str, str]:
        """Keep the held folder for the ranks of the agent that this process becomes.

        Returns:
            what the agent's environment needs.

        """
        return self._held[-1].hand_on()

    @property
    def _status(self) -> Path:
        return self.path / "status.json"

    def _changes(self) -> Changes:
        return read_changes(self.changes)
