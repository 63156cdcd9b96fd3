"""Read episodes.csv: the columns that identify test episodes, and the values of each."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from metaloop.errors import UserError
from metaloop.folders.reading import parse_csv, read_text, unreadable
from metaloop.run.comparison.evaluated_run import EvaluatedRun
from metaloop.user_text import for_shell

Values = np.ndarray[tuple[int], np.dtype[np.float64]]
JUDGED = re.compile(r"(.+)_step_(\d+)")  # a column of values; all others identify episodes


class Episodes(NamedTuple):
    """The columns of episodes.csv, one row per episode.

    Attributes:
        identity: columns that identify an episode: its number, shape ..
        values: values of a metric at an inner step.

    """

    identity: Mapping[str, Sequence[str]]
    values: Mapping[tuple[str, int], Values]

    @property
    def metrics(self) -> list[str]:
        return list(dict.fromkeys(name for name, _ in self.values))

    def last_step(self, metric: str) -> int:
        """Return the largest inner step at which the metric was measured."""
        return max(step for name, step in self.values if name == metric)


def read_episodes(evaluated: EvaluatedRun) -> Episodes:
    """Read an evaluation's episodes.csv.

    Raises:
        UserError: if there is none, or it cannot be read.

    """
    path, name = evaluated.folder.path / "episodes.csv", evaluated.folder.path.name
    again = for_shell("metaloop-evaluate", evaluated.run.path, f"name={name}")
    remedy = f"Evaluate again: {again}."
    if (text := read_text(path, remedy)) is None:
        raise UserError(
            f"{evaluated.run.path} has no results of an evaluation {name}: there is no {path}. "
            "Name another evaluation by --evaluation, or add --evaluate, which makes this one."
        )
    rows = parse_csv(text, path, remedy)
    if len(rows) < 2:
        raise unreadable(path, "differences need at least two test episodes", remedy)
    judged = {column: found for column in rows[0] if (found := JUDGED.fullmatch(column))}
    try:
        values = {
            (found[1], int(found[2])): np.array([float(row[column]) for row in rows])
            for column, found in judged.items()
        }
    except ValueError as error:
        raise unreadable(path, str(error), remedy) from error
    return Episodes({c: [row[c] for row in rows] for c in rows[0] if c not in judged}, values)


def finite_values(evaluated: EvaluatedRun, episodes: Episodes, metric: str, step: int) -> Values:
    """Return the metric's values after an inner step.

    Raises:
        UserError: if it was not measured there, or is not finite.

    """
    if (values := episodes.values.get((metric, step))) is None:
        raise UserError(
            f"{evaluated.folder.path} has {metric} after inner steps 0 to "
            f"{episodes.last_step(metric)}, and --inner-step is {step}. Name one that all have."
        )
    if diverged := sum(not math.isfinite(value) for value in values):
        raise UserError(
            f"{evaluated.folder.path}: {metric} is not finite in {diverged} of {len(values)} test "
            "episodes, so it has no mean to compare. Name an earlier --inner-step or another "
            "--metric, or leave that run out."
        )
    return values
