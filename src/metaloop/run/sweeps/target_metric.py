"""The target metric of a sweep, the number that it compares its jobs by."""

import math
from typing import NamedTuple

from metaloop.errors import UserError
from metaloop.folders.run_folder import RunFolder
from metaloop.loggers.metrics_csv import read_rows
from metaloop.run.config.run_config import RunConfig
from metaloop.run.evaluation.results import read_results
from metaloop.tasks import Task, require_mode


class TargetMetric(NamedTuple):
    """A metric of a stage: val/NAME, the best validation, or test/NAME, after the last inner step.

    `mode` is the better direction, min or max.
    """

    stage: str
    metric: str
    mode: str

    def __str__(self) -> str:
        return f"{self.stage}/{self.metric}"


def choose_target_metric(named: str | None, config: RunConfig, task: Task) -> TargetMetric:
    """Find the metric named by `objective`; None for the metric that selects the best checkpoint.

    Raises:
        UserError: if it is not a metric of the task, its better direction is unknown, or the run
            does not measure it.

    """
    stage, _, metric = (named or f"val/{task.monitor}").partition("/")
    of_stages = {"val": task.metrics, "test": {**task.metrics, **task.evaluation_metrics}}
    choices = [f"{s}/{name}" for s, of in of_stages.items() for name in ("query_loss", *of)]
    if f"{stage}/{metric}" not in choices:
        raise UserError(
            f"objective={named} is not a metric of this task. Choose one of: {', '.join(choices)}."
        )
    training = config.training
    if stage == "val" and training.max_steps < training.validate_every:
        raise UserError(
            f"objective={stage}/{metric} is the best validation, and a run of {training.max_steps} "
            f"meta-steps is never validated. Lower training.validate_every="
            f"{training.validate_every}, or take objective=test/{metric}."
        )
    if stage == "val" and not any(config.logger.values()):
        raise UserError(
            f"objective={stage}/{metric} is read from metrics.csv, and logger=none writes none. "
            "Take logger=csv or logger=wandb."
        )
    if stage == "test" and config.evaluation.split != "test":
        raise UserError(
            f"objective={named} is measured after training, on the split test, and "
            f"evaluation.split={config.evaluation.split}. Take objective=val/{metric}."
        )
    return TargetMetric(stage, metric, require_mode(of_stages[stage], metric))


def read_target_metric(folder: RunFolder, objective: TargetMetric) -> float:
    """Read the target metric from a completed run.

    Raises:
        UserError: if the run has no finite value of it, since it diverged.

    """
    if objective.stage == "val":
        column = str(objective)
        values = [float(row[column]) for row in read_rows(folder.metrics) if row.get(column)]
    else:
        found = read_results(folder, "test").metrics.get(objective.metric)
        values = [v for v in found.mean[-1:] if v is not None] if found else []
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        raise UserError(f"{folder.path} has no finite {objective}: did it diverge?")
    return min(finite) if objective.mode == "min" else max(finite)
