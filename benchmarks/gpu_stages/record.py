"""A stage's record: each item's values, or why there are none, saved as soon as it is measured."""

import json
import platform
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from record import command_line

from gpu_stages import ROOT
from gpu_stages.table import short, table

Values = dict[str, object]
State = Literal["passed", "failed", "skipped", "untested", "waiting"]


@dataclass(frozen=True)
class Setting:
    """Settings of the stages.

    Attributes:
        device: cuda or cpu.
        tiny: a rehearsal, with the fewest steps.
        data_dir: Omniglot's archives.
        reference: the reference meta-gradients.
        minutes: time after which a stage starts nothing new, and stops a training run.
        items: run only items whose name contains one of these; empty means all.
        commit: commit of the sources, if they are not a git checkout.
        out: folder of the records.
        folder: folder for temporary files.

    """

    device: str
    tiny: bool
    data_dir: Path | None
    reference: Path
    minutes: float
    items: tuple[str, ...]
    commit: str | None
    out: Path
    folder: Path


class Outcome(NamedTuple):
    """An item's state; `waiting` means that the time was not enough, and the next run continues."""

    state: State
    values: Values
    reason: str | None = None


def passed(values: Values) -> Outcome:
    """The item did what it should."""
    return Outcome("passed", values)


def failed(reason: str, values: Values) -> Outcome:
    """The item is wrong, or a part of it raised an error; its values are kept."""
    return Outcome("failed", values, reason)


def skipped(reason: str) -> Outcome:
    """The item cannot run here."""
    return Outcome("skipped", {}, reason)


def untested(reason: str) -> Outcome:
    """Say that this machine lacks the hardware that the item is about."""
    return Outcome("untested", {}, reason)


def error_line(error: BaseException) -> str:
    """An error in one line."""
    said = str(error).strip().splitlines()
    return f"{type(error).__name__}: {said[0]}" if said else type(error).__name__


class Record:
    """Results of a stage, in OUT/STAGE.json, and as a table in OUT/STAGE.md.

    An incomplete record is continued: items that have passed are kept.
    """

    def __init__(self, stage: str, setting: Setting) -> None:
        self.stage, self.setting = stage, setting
        self.path = setting.out / f"{stage}.json"
        self.failed: list[str] = []
        self._start = time.perf_counter()
        earlier: dict[str, Any] = json.loads(self.path.read_text()) if self.path.is_file() else {}
        is_whole = earlier.get("is_complete", False)
        self._keeps_passed = not setting.items and not is_whole
        self._lacks_items = bool(setting.items) and not is_whole
        if is_whole and not setting.items:
            earlier = {}
        self._items: dict[str, dict[str, object]] = earlier.get("items", {})
        self._runs: list[dict[str, object]] = [*earlier.get("runs", []), describe(setting)]

    def item(self, name: str, measure: Callable[[], Outcome]) -> None:
        """Measure one item, print what came out, and save it; an error is its outcome."""
        chosen = self.setting.items
        if chosen and not any(part in name for part in chosen):
            return
        if self._keeps_passed and self._items.get(name, {}).get("state") == "passed":
            print(f"  {name}: kept, it has passed before", flush=True)
            return
        print(f"  {name} ..", flush=True)
        start = time.perf_counter()
        try:
            late = Outcome("waiting", {}, "no time was left for it")
            outcome = measure() if self.seconds_left() > 0 else late
        except Exception as error:
            outcome = failed(error_line(error), {})
        if outcome.state == "failed":
            self.failed.append(name)
        seconds = time.perf_counter() - start
        state, values, reason = outcome
        self._items[name] = {"state": state, "seconds": round(seconds, 3), "reason": reason}
        self._items[name] |= {"values": values, "run": len(self._runs) - 1}
        self.save(is_complete=False)
        because = f" ({reason})" if reason else ""
        print(f"    {state}{because}, {seconds:.1f} s", flush=True)
        for key, value in values.items():
            print(f"    {key}: {short(value)}", flush=True)

    def seconds_left(self) -> float:
        """What is left of the stage's minutes."""
        return self.setting.minutes * 60 - (time.perf_counter() - self._start)

    def save(self, *, is_complete: bool) -> None:
        """Write the record, whole at any time."""
        is_complete &= not self._lacks_items
        is_complete &= all(one["state"] != "waiting" for one in self._items.values())
        self._runs[-1]["device_seconds"] = round(time.perf_counter() - self._start, 1)
        content = {"stage": self.stage, "is_complete": is_complete}
        content |= {"runs": self._runs, "items": self._items}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps(content, indent=1) + "\n")
        new.replace(self.path)
        self.path.with_suffix(".md").write_text(table(content))


def is_complete(path: Path) -> bool:
    """Tell whether a stage's record is there and nothing of it is waiting."""
    return path.is_file() and bool(json.loads(path.read_text())["is_complete"])


def describe(setting: Setting) -> dict[str, object]:
    """The card, the versions, the command and the date of a run."""
    is_cuda = setting.device == "cuda"
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    versions |= {"cuda": torch.version.cuda or "none", "metaloop": version("metaloop")}
    if is_cuda:
        versions["cudnn"] = str(torch.backends.cudnn.version())
    return {
        "card": torch.cuda.get_device_name(0) if is_cuda else "none, a processor",
        "cards": torch.cuda.device_count() if is_cuda else 0,
        "versions": versions,
        "command": command_line(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": setting.commit or _commit(),
    }


def _commit() -> str:
    command = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()
