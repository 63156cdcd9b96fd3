"""metaloop-evaluate: a run's learner, judged as the run was or in another way."""

import functools
import sys
from dataclasses import fields
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from metaloop.cli.execute import Work, execute
from metaloop.cli.hydra_app import is_multirun, run_hydra
from metaloop.cli.mistakes import fail
from metaloop.cli.over_run import Request, checked_name, made_name, offer_run_config
from metaloop.errors import UserError
from metaloop.folders.run_folder import RunFolder
from metaloop.process.fast_import import fast_imports
from metaloop.process.terminal import survive_lost_output
from metaloop.run.config.keys import effect_of, key_of
from metaloop.run.config.read import plain
from metaloop.run.config.write import write_evaluation

OWN_KEYS = tuple(field.name for field in fields(Request))


def main() -> None:
    """Run the command."""
    survive_lost_output()
    chosen = [a for a in sys.argv[1:] if a.startswith("task=")][-1:]
    task = chosen[0].removeprefix("task=") if chosen else None
    sys.argv[1:] = [a for a in sys.argv[1:] if not a.startswith("task=")]
    try:
        sys.argv[1:] = offer_run_config("metaloop-evaluate", sys.argv[1:], task)
    except UserError as error:
        fail(error)
    run_hydra("evaluate", functools.partial(_job, chosen))


def _job(chosen: list[str], config: DictConfig) -> Work | None:
    with fast_imports():  # here: --help and unknown keys need no torch
        from metaloop.run.checkpoints.weights import find_judged
        from metaloop.run.config.construct import section
        from metaloop.run.config.effect import require_effect
        from metaloop.run.config.misfits import build_and_try
        from metaloop.run.config.run_config import RunConfig
        from metaloop.run.evaluation.other_task import fit_to_run

    values = {**plain(config), "command": "evaluate"}
    asked = section(Request, {key: values.pop(key) for key in OWN_KEYS}, "")
    name = asked.name
    given = HydraConfig.get().overrides.task
    overrides = [*chosen, *(o for o in given if o.split("=")[0] not in OWN_KEYS)]
    run = RunFolder.open(Path(asked.run))
    trained, composed = RunConfig.read(run), RunConfig.of(values)
    pieces = build_and_try(fit_to_run(composed, trained, run))
    require_effect(composed, trained, pieces.algorithm)
    device, judge = composed.device, composed.evaluation
    device.require()
    find_judged(run, judge.checkpoint, judge.ensemble_size)
    if name and is_multirun():
        raise UserError(
            f"name={name} is one evaluation's; several of a multirun would take one another's "
            "folder. Leave it out: each is named by what it changes."
        )
    name = checked_name(str(name)) if name else _name(judge.split, overrides)
    work = Work(write_evaluation(run, name, pieces.config.content, overrides), device, pieces)
    if is_multirun():
        from metaloop.cli.sweeps.job import folder_job

        folder_job(work, overrides, compose_only=asked.compose_only)
        return None
    return execute(work, compose_only=asked.compose_only)


def _name(split: str, overrides: list[str]) -> str:
    """Name an evaluation by the split and what else it changes: test, test_task.shots=5 .."""
    changes = (o for o in overrides if key_of(o) != "evaluation.split")
    telling = ("numbers", "precision")
    return made_name([split, *(o for o in changes if effect_of(key_of(o)).changes in telling)])
