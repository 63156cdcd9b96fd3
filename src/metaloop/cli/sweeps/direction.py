"""Whether a search looks for the best of its target metric, or for the worst."""

from collections.abc import Mapping

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from metaloop.errors import UserError
from metaloop.run.config.build import build_task
from metaloop.run.config.read import FORMAT, plain
from metaloop.run.config.run_config import RunConfig
from metaloop.run.sweeps.target_metric import TargetMetric, choose_target_metric

OF_COMMAND = ("output_dir", "compose_only", "check_only", "objective")
# varied from job to job, they may change which metric is compared
DECISIVE = ("task", "experiment", "objective", "training", "evaluation", "logger")


def direction_of(sweeper: Mapping[str, object]) -> str | None:
    """Whether a sweeper minimizes or maximizes; None where it only goes through all jobs."""
    direction = sweeper.get("direction")
    return None if direction is None else getattr(direction, "name", str(direction))


def require_direction(sweeper: Mapping[str, object], target: TargetMetric) -> None:
    """Refuse a search for the worst.

    Raises:
        UserError: the direction is not the target metric's.

    """
    direction = direction_of(sweeper)
    if direction is not None and not direction.startswith(target.mode):
        raise UserError(
            f"hydra.sweeper.direction={direction} would look for the worst {target}. "
            f"Set hydra.sweeper.direction={target.mode}imize."
        )


def check_search(config: DictConfig) -> None:
    """Check a search before anything of it is written: each job would fail in the same way.

    A search whose jobs differ in what decides is left to them, and so is a task that does not fit.

    Raises:
        UserError: its direction, or its objective, is none for what it trains.

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
    values = plain(OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"]))
    asked = {key: values.pop(key) for key in OF_COMMAND}
    try:
        known = RunConfig.of({"format": FORMAT, "command": "train", "run_id": "unmade", **values})
        task = build_task(known)
    except UserError:
        return
    named = None if asked["objective"] is None else str(asked["objective"])
    require_direction(config.hydra.sweeper, choose_target_metric(named, known, task))
