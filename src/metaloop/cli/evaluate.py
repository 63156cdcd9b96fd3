"""metaloop-evaluate: evaluate a run's learner as its run did, or differently."""

import functools
import sys
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from metaloop.cli.execute import Work
from metaloop.cli.folder_names import check_name, make_name
from metaloop.cli.hydra_app import is_multirun, run_hydra
from metaloop.cli.mistakes import fail
from metaloop.cli.over_run import OWN_KEYS, Request, execute_or_record, offer_run_config
from metaloop.errors import UserError
from metaloop.folders.run_folder import RunFolder
from metaloop.process.fast_import import fast_imports
from metaloop.process.terminal import survive_lost_output
from metaloop.run.config.keys import effect_of, key_of
from metaloop.run.config.read import plain
from metaloop.run.config.write import write_evaluation


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
    with fast_imports():  # not at the top: --help and unknown keys need no torch
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
            f"name={name} names one evaluation, and those of a multirun would overwrite each "
            "other. Leave it out: each is named by what it changes."
        )
    name = check_name(str(name)) if name else _name(judge.split, overrides)
    work = Work(write_evaluation(run, name, pieces.config.content, overrides), device, pieces)
    return execute_or_record(work, overrides, compose_only=asked.compose_only)


def _name(split: str, overrides: list[str]) -> str:
    """Name an evaluation by its split and its changes: test, test_task.shots=5 .."""
    changes = (o for o in overrides if key_of(o) != "evaluation.split")
    telling = ("numbers", "precision")
    return make_name([split, *(o for o in changes if effect_of(key_of(o)).changes in telling)])
