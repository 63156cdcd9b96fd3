"""metaloop-adapt: a run's learner on a user's own examples."""

import sys
from dataclasses import replace
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from metaloop.cli.execute import Work, execute
from metaloop.cli.hydra_app import is_multirun, run_hydra
from metaloop.cli.over_run import checked_name, exit_on_mistake, made_name, offer_run_config
from metaloop.errors import UserError
from metaloop.folders.run_folder import RunFolder
from metaloop.process.fast_import import fast_imports
from metaloop.run.config.write import write_adaptation

OWN_KEYS = ("run", "name", "compose_only")
PLACES = ("support", "query")
KEYS = (*PLACES, "steps", "head", "checkpoint", "skip_odd_files", "export")


def main() -> None:
    """Run the command."""
    sys.argv[1:] = [_as_hydra_reads(argument) for argument in sys.argv[1:]]
    try:
        offer_run_config("metaloop-adapt", sys.argv[1:])
    except UserError as error:
        exit_on_mistake(error)
    run_hydra("adapt", _job)


def _as_hydra_reads(argument: str) -> str:
    """A list without its brackets, and paths with any character in them."""
    key, equals, value = argument.partition("=")
    if equals and key == "export" and value and value[0] not in "['\"":
        return f"export=[{value}]"
    if equals and key in PLACES and value and value[0] not in "'\"" and value != "null":
        return "{}='{}'".format(key, value.replace("\\", "\\\\").replace("'", "\\'"))
    return argument


def _job(config: DictConfig) -> Work | None:
    with fast_imports():  # here: --help and unknown keys need no torch
        from metaloop.adapted import require_fixed_norms, require_format
        from metaloop.run.checkpoints.weights import find_weights
        from metaloop.run.config.build import build
        from metaloop.run.config.construct import section
        from metaloop.run.config.read import plain
        from metaloop.run.config.settings import Adaptation
        from metaloop.tasks.readers.given import require_place

    values = plain(config)
    path, name, compose_only = (values.pop(key) for key in OWN_KEYS)
    wanted = {key: values.pop(key) for key in KEYS}
    adaptation = section(Adaptation, wanted, "")
    pieces = build({**values, "command": "adapt"})
    pieces.device.require()
    run = RunFolder.open(Path(str(path)))
    find_weights(run, adaptation.checkpoint)
    for key in PLACES:
        if (place := wanted[key]) is not None:
            require_place(Path(str(place)).expanduser(), key)
            wanted[key] = str(Path(str(place)).expanduser().resolve())
    for format_ in adaptation.export:
        require_format(format_)
        require_fixed_norms(pieces.algorithm.objective, has_support=True)
    overrides = [o for o in HydraConfig.get().overrides.task if o.split("=")[0] not in OWN_KEYS]
    folder = write_adaptation(
        run,
        checked_name(str(name)) if name else made_name([Path(str(wanted["support"])).stem]),
        {**values, "adapt": wanted},
        overrides,
        replaces=bool(name),
    )
    if is_multirun() and not compose_only:
        from metaloop.cli.sweeps.job import folder_job

        folder_job(folder, overrides, replace(pieces.device, devices=1, nodes=1))
        return None
    return execute(Work(folder, 1), compose_only=bool(compose_only))
