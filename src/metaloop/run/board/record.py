"""The record of a run on the board: config, metrics, environment and evaluations, no weights.

It can be read as a run folder, and is small enough to keep.
"""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from metaloop.folders.atomic_write import write_json, write_table
from metaloop.folders.reading import parse_json, read_text
from metaloop.folders.run_folder import RunFolder
from metaloop.loggers.metrics_csv import read_rows
from metaloop.run.config.read import load_config, section_of
from metaloop.run.config.write import write_config
from metaloop.run.evaluation.results import Results

ROWS = 100  # rows of metrics.csv that a record keeps
HERE = "data_dir"  # key of a path of this machine, which records leave out
REMEDY = "Write it again: metaloop-reproduce PRESET."


@dataclass(frozen=True)
class Git:
    """Commit, and whether files differed from it."""

    commit: str | None = None
    is_modified: bool | None = None


@dataclass(frozen=True)
class Environment:
    """The part of environment.json that the board shows."""

    cpu: str | None = None
    cpu_cores: int | None = None
    gpus: list[str] | None = None
    platform: str | None = None
    versions: dict[str, str] | None = None
    git: Git | None = field(default_factory=Git)


class Evaluation(NamedTuple):
    """An evaluation of a recorded run: its config and its results."""

    config: Mapping[str, object]
    results: Results


class Record(NamedTuple):
    """A recorded run of one seed; `environment` is empty if the run never began."""

    config: Mapping[str, object]
    state: str
    steps: int
    environment: Environment
    modes: Mapping[str, str | None]
    evaluations: Sequence[Evaluation]

    @property
    def steps_asked(self) -> int:
        steps = section_of(self.config, "training")["max_steps"]
        assert isinstance(steps, int)
        return steps


def write_record(run: RunFolder, place: Path, evaluations: Iterable[str]) -> None:
    """Write a run's record, with those evaluations that have results.

    It replaces an earlier record in the folder.
    """
    record = RunFolder(place)
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True, exist_ok=True)
    write_config(record, _without_paths(load_config(run)))
    record.write_status("completed" if run.state() == "completed" else "interrupted")
    for source, target in (
        (run.environment, record.environment),
        (run.best_modes, record.best_modes),
    ):
        if source.is_file():
            write_json(target, _read_json(source))
    rows = read_rows(run.metrics)
    if rows:
        write_table(
            record.metrics, [list(rows[0]), *(list(row.values()) for row in _thin_out(rows))]
        )
    for name in evaluations:
        judged, kept = (RunFolder(folder.evaluations / name) for folder in (run, record))
        if (judged.path / "results.json").is_file():
            kept.path.mkdir(parents=True, exist_ok=True)
            write_config(kept, _without_paths(load_config(judged)))
            results = _read_json(judged.path / "results.json")
            protocol, overrides = results["protocol"], results["overrides"]
            assert isinstance(protocol, dict)
            assert isinstance(overrides, list)
            results["protocol"] = {k: v for k, v in protocol.items() if k != HERE}
            results["overrides"] = [o for o in overrides if f".{HERE}=" not in o]
            write_json(kept.path / "results.json", results)


def read_record(place: Path) -> Record:
    """Read a record.

    Raises:
        UserError: if one of its files cannot be read.

    """
    record = RunFolder(place)
    rows = read_rows(record.metrics)
    return Record(
        load_config(record),
        record.state(),
        int(rows[-1]["step"]) if rows else 0,
        _read_environment(record.environment),
        record.read_best_modes(),
        [
            Evaluation(load_config(RunFolder(path.parent)), _read_json(path))
            for path in sorted(record.evaluations.glob("*/results.json"))
        ],
    )


def _thin_out(rows: Sequence[Mapping[str, str]]) -> Sequence[Mapping[str, str]]:
    """Select at most ROWS rows, evenly spaced up to the last one."""
    every = -(-len(rows) // ROWS)
    return rows[::-1][::every][::-1]


def _without_paths(config: Mapping[str, object]) -> dict[str, object]:
    task = section_of(config, "task")
    return {**config, "task": {**task, HERE: None} if HERE in task else task}


def _read_environment(path: Path) -> Environment:
    text = read_text(path, REMEDY)
    return Environment() if text is None else parse_json(text, path, Environment, REMEDY)


def _read_json(path: Path) -> dict[str, object]:
    text = read_text(path, REMEDY)
    return {} if text is None else parse_json(text, path, dict[str, object], REMEDY)
