"""Check that a search looks for the best value of its target metric, not for the worst."""

from collections.abc import Mapping
from dataclasses import fields

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from metaloop.errors import UserError
from metaloop.run.config.build import build_task
from metaloop.run.config.read import FORMAT, plain
from metaloop.run.config.run_config import RunConfig
from metaloop.run.sweeps.target_metric import TargetMetric, choose_target_metric

# sections that may change the target metric if they vary between jobs
DECISIVE = ("task", "experiment", "objective", "training", "evaluation", "logger")


def direction_of(sweeper: Mapping[str, object]) -> str | None:
    """Return MINIMIZE or MAXIMIZE of a sweeper that searches; None for a plain sweep."""
    direction = sweeper.get("direction")
    return None if direction is None else getattr(direction, "name", str(direction))


def require_direction(sweeper: Mapping[str, object], target: TargetMetric) -> None:
    """Refuse a search for the worst value.

    Raises:
        UserError: if the direction is not the target metric's.

    """
    direction = direction_of(sweeper)
    if direction is not None and not direction.startswith(target.mode):
        raise UserError(
            f"hydra.sweeper.direction={direction} would look for the worst {target}. "
            f"Set hydra.sweeper.direction={target.mode}imize."
        )


def check_search(config: DictConfig) -> None:
    """Check a search before it writes anything, since every job would fail in the same way.

    Each job checks itself if the jobs may differ in their target metric, or the task is wrong.

    Raises:
        UserError: if its direction or objective does not fit the task.

    """
    if "run" in config:
        raise UserError(
            "hydra/sweeper=optuna compares trained runs. Search with metaloop-train, or evaluate "
            "several values: -m KEY=VALUE,VALUE."
        )
    given = OverridesParser.create().parse_overrides(list(config.hydra.overrides.task))
    varied = {o.key_or_group.partition(".")[0] for o in given if o.is_sweep_override()}
    if varied & set(DECISIVE):
        return
    of_run = {each.name for each in fields(RunConfig)}  # without the command's own keys
    values = plain(OmegaConf.masked_copy(config, [key for key in config if key in of_run]))
    try:
        known = RunConfig.of({"format": FORMAT, "command": "train", "run_id": "unmade", **values})
        task = build_task(known)
    except UserError:
        return
    objective = None if config.objective is None else str(config.objective)
    require_direction(config.hydra.sweeper, choose_target_metric(objective, known, task))
