"""What a figure of the board rests on: a run's record without its weights, small enough to keep.

A record is a run folder that can be read as one: config, metrics, environment, evaluations.
"""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, cast

from metaloop.folders.atomic_write import write_json, write_table
from metaloop.folders.reading import parse_json, read_text
from metaloop.folders.run_folder import RunFolder
from metaloop.loggers.metrics_csv import read_rows
from metaloop.run.config.read import load_config
from metaloop.run.config.write import write_config
from metaloop.run.evaluation.results import Results

ROWS = 100  # of metrics.csv that a record keeps
HERE = "data_dir"  # says where this machine has its data, which nobody else has there
REMEDY = "Write it again: metaloop-reproduce PRESET."


class Evaluation(NamedTuple):
    """An evaluation of a recorded run: with which config, and what came out."""

    config: Mapping[str, object]
    results: Results


class Record(NamedTuple):
    """A recorded run of one seed; `environment` is empty where the run never began."""

    config: Mapping[str, object]
    state: str
    steps: int
    environment: Mapping[str, object]
    modes: Mapping[str, str | None]
    evaluations: Sequence[Evaluation]

    @property
    def steps_asked(self) -> int:
        return cast(int, cast(Mapping[str, object], self.config["training"])["max_steps"])


def write_record(run: RunFolder, place: Path, evaluations: Iterable[str]) -> None:
    """Write a run's record into a folder, with those of its evaluations that have results.

    What the folder held, maybe of the preset as it was before, goes.
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
            record.metrics, [list(rows[0]), *(list(row.values()) for row in _thinned(rows))]
        )
    for name in evaluations:
        judged, kept = (RunFolder(folder.evaluations / name) for folder in (run, record))
        if (judged.path / "results.json").is_file():
            kept.path.mkdir(parents=True, exist_ok=True)
            write_config(kept, _without_paths(load_config(judged)))
            results = _read_json(judged.path / "results.json")
            protocol = cast(dict[str, object], results["protocol"])
            results["protocol"] = {k: v for k, v in protocol.items() if k != HERE}
            results["overrides"] = [
                o for o in cast(list[str], results["overrides"]) if f".{HERE}=" not in o
            ]
            write_json(kept.path / "results.json", results)


def read_record(place: Path) -> Record:
    """Read a record.

    Raises:
        UserError: a file of it cannot be read.

    """
    record = RunFolder(place)
    rows = read_rows(record.metrics)
    return Record(
        load_config(record),
        record.state(),
        int(rows[-1]["step"]) if rows else 0,
        _read_json(record.environment),
        record.read_best_modes(),
        [
            Evaluation(load_config(RunFolder(path.parent)), _read_json(path))
            for path in sorted(record.evaluations.glob("*/results.json"))
        ],
    )


def _thinned(rows: Sequence[Mapping[str, str]]) -> Sequence[Mapping[str, str]]:
    """At most ROWS rows, evenly spaced, of which the last is the last."""
    every = -(-len(rows) // ROWS)
    return rows[::-1][::every][::-1]


def _without_paths(config: Mapping[str, object]) -> dict[str, object]:
    task = cast(dict[str, object], config["task"])
    return {**config, "task": {**task, HERE: None} if HERE in task else task}


def _read_json(path: Path) -> dict[str, object]:
    text = read_text(path, REMEDY)
    return {} if text is None else parse_json(text, path, dict[str, object], REMEDY)
