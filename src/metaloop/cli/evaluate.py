"""metaloop-evaluate: a run's learner, judged as the run was or in another way."""

import hashlib
import re
import sys
from pathlib import Path

from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from metaloop.cli.execute import execute
from metaloop.cli.hydra_app import is_multirun, run_hydra
from metaloop.errors import UserError
from metaloop.run.write import write_evaluation
from metaloop.run_folder import RunFolder
from metaloop.sweep_folder import SweepFolder

OWN_KEYS = ("run", "name", "compose_only")
CHANGES_NO_NUMBER = (
    "evaluation.split=",  # the name begins with it
    "data.eval_meta_batch_size=",
    "data.workers=",
    "device.accelerator=",
    "device.devices=",
    "device.nodes=",
    "device.tasks_at_once=",
)
UNFIT = r"[^\w.=,-]+"
LONGEST = 100


def main() -> None:
    """Run the command."""
    try:
        _offer_run_config(sys.argv[1:])
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(1)
    run_hydra("evaluate", _job)


def _offer_run_config(arguments: list[str]) -> None:
    """Let Hydra compose over the config of the run that the command line names."""
    named = [a.removeprefix("run=") for a in arguments if a.startswith("run=")]
    config: dict[str, object] = {}
    if named:
        folder = RunFolder.open(named[0].strip("'\""))
        config = {str(k): v for k, v in OmegaConf.load(folder.config).items()}
    elif not any(a.startswith("-") for a in arguments):
        given = f", not {arguments[0]}" if arguments else ""
        raise UserError(f"metaloop-evaluate needs the run to evaluate: run=outputs/FOLDER{given}.")
    ConfigStore.instance().store(name="run_config", node=OmegaConf.create(config))


def _job(config: DictConfig) -> None:
    from metaloop.run.build import build, plain
    from metaloop.run.weights import find_judged

    values = plain(config)
    path, name, compose_only = (values.pop(key) for key in OWN_KEYS)
    overrides = [o for o in HydraConfig.get().overrides.task if o.split("=")[0] not in OWN_KEYS]
    pieces = build(values)
    pieces.device.require()
    run = RunFolder.open(Path(str(path)))
    find_judged(run, pieces.evaluation.checkpoint, pieces.evaluation.ensemble_size)
    if name and is_multirun():
        raise UserError(
            f"name={name} is one evaluation's; several of a multirun would take one another's "
            "folder. Leave it out: each is named by what it changes."
        )
    name = _checked(str(name)) if name else _name(pieces.evaluation.split, overrides)
    folder = write_evaluation(run, name, values, overrides)
    if is_multirun() and not compose_only:
        from metaloop.cli.job import recorded, run_in_sweep

        sweep = SweepFolder(HydraConfig.get().sweep.dir)
        recorded(sweep, folder, overrides, lambda: run_in_sweep(sweep, folder, pieces.device))
        return
    execute(folder, pieces.device.processes_here(), compose_only=bool(compose_only))


def _checked(name: str) -> str:
    if name != re.sub(UNFIT, "-", name) or name.startswith("."):
        raise UserError(
            f"name={name} names the evaluation's folder: letters, digits and _ . = , - only."
        )
    return name


def _name(split: str, overrides: list[str]) -> str:
    """Name an evaluation by what it changes: test, test_task.shots=5 .."""
    changes = [o for o in overrides if not o.startswith(CHANGES_NO_NUMBER)]
    name = re.sub(UNFIT, "-", "_".join([split, *changes]))
    if len(name) <= LONGEST:
        return name
    return f"{name[:LONGEST]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
