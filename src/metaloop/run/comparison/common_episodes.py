"""Test a learner again, on the test episodes of another one."""

import json
from collections.abc import Sequence
from typing import NamedTuple

from metaloop.run.comparison.evaluated_run import JUDGEMENT, EvaluatedRun
from metaloop.run.comparison.same_episodes import differing_keys
from metaloop.run.config.read import read_overrides, section_of
from metaloop.run.config.run_config import RunConfig
from metaloop.run.evaluation.other_task import fit_to_run


class Retest(NamedTuple):
    """The config of a new evaluation, and its changes to the existing one."""

    config: RunConfig
    changes: Sequence[str]
    overrides: Sequence[str]


def plan_retest(first: EvaluatedRun, other: EvaluatedRun) -> Retest | None:
    """Describe the test of a learner on the test episodes of the first; None if that is done.

    Seed, task and evaluation are the first's; checkpoint and norm modes stay the learner's own.

    Raises:
        UserError: if the first's task has inputs of another shape, or other ways.

    """
    differing = differing_keys(first, other)
    if not differing and (other.folder.path / "episodes.csv").is_file():
        return None
    own, its = (section_of(each.config, "evaluation") for each in (other, first))
    judged = {key: own[key] for key in own if f"evaluation.{key}" in JUDGEMENT}
    config = {key: value for key, value in other.config.items() if key != "run"}
    config |= {
        "command": "evaluate",
        "seed": first.episode_seed,
        "task": first.config["task"],
        "evaluation": {**its, **judged},
    }
    changes = [f"{key}={json.dumps(value)}" for key, (value, _) in differing.items()]
    overrides = [*read_overrides(other.folder), *changes]
    asked, trained = RunConfig.of(config), RunConfig.of(other.trained)
    return Retest(fit_to_run(asked, trained, other.run), changes, overrides)
