"""One row of the board, as board.json contains it."""

from collections.abc import Mapping
from typing import TypedDict

from metaloop.run.evaluation.results import Ours


class Cited(TypedDict):
    """A published value, and what may be wrong with it."""

    mean: float
    ci95: float | None
    source: str
    note: str | None


class Measured(TypedDict):
    """Our mean over seeds with Student's interval, and the value of each seed."""

    mean: float | None
    ci95_over_seeds: float | None
    seeds: Mapping[str, Ours]


class RecordedRun(TypedDict):
    """The progress of a run, and its environment."""

    meta_steps: int
    meta_steps_asked: int
    commit: str | None
    is_modified: bool | None
    machine: Mapping[str, object]
    versions: Mapping[str, str] | None


class Row(TypedDict):
    """A published value, ours, the verdict with its reason, and the recorded runs by seed."""

    preset: str
    metric: str
    inner_step: int
    published: Cited
    ours: Measured | None
    verdict: str
    command: str
    runs: Mapping[str, RecordedRun]
    reason: str | None
