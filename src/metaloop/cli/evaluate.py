"""metaloop-evaluate: a run's learner, judged as the run was or in another way."""

import re
import sys
from pathlib import Path

from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from metaloop.cli.execute import become_worker, run_worker
from metaloop.cli.hydra_app import is_multirun, run_hydra
from metaloop.errors import UserError
from metaloop.run.write import write_evaluation
from metaloop.run_folder import RunFolder

OWN_KEYS = ("run", "name", "compose_only")


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
        raise UserError("metaloop-evaluate needs the run to evaluate: run=outputs/FOLDER.")
    ConfigStore.instance().store(name="run_config", node=OmegaConf.create(config))


def _job(config: DictConfig) -> None:
    from metaloop.run.build import build, plain

    values = plain(config)
    path, name, compose_only = (values.pop(key) for key in OWN_KEYS)
    overrides = [o for o in HydraConfig.get().overrides.task if o.split("=")[0] not in OWN_KEYS]
    pieces = build(values)
    pieces.device.require()
    run = RunFolder.open(Path(str(path)))
    folder = write_evaluation(
        run, str(name or _name(pieces.evaluation.split, overrides)), values, overrides
    )
    if compose_only:
        print(f"Composed {folder.path}. To execute it:\n  python -m metaloop.run {folder.path}")
    elif is_multirun():
        run_worker(folder, pieces.device.processes_here())
    else:
        become_worker(folder, pieces.device.processes_here())


def _name(split: str, overrides: list[str]) -> str:
    """Name an evaluation by what it changes: test, test_task.shots=5 .."""
    changes = [o for o in overrides if not o.startswith(("evaluation.split=", "device"))]
    return re.sub(r"[^\w.=,-]+", "-", "_".join([split, *changes]))[:120]
