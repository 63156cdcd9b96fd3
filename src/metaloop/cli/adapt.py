"""metaloop-adapt: adapt a run's learner to a user's own examples."""

import sys
from dataclasses import replace
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from metaloop.cli.execute import Work
from metaloop.cli.folder_names import check_name, make_name
from metaloop.cli.hydra_app import run_hydra
from metaloop.cli.mistakes import fail
from metaloop.cli.over_run import OWN_KEYS, Request, execute_or_record, offer_run_config
from metaloop.errors import UserError
from metaloop.folders.run_folder import RunFolder
from metaloop.folders.user_path import user_path
from metaloop.process.fast_import import fast_imports
from metaloop.process.terminal import survive_lost_output
from metaloop.run.config.read import plain
from metaloop.run.config.write import write_adaptation
from metaloop.user_text import quoted, say

PLACES = ("support", "query")
RENAMED = {"skip_odd_files": "skip_unusable"}  # users' scripts continue to work
KEYS = (*PLACES, "steps", "head", "checkpoint", "skip_unusable", "export")


def main() -> None:
    """Run the command."""
    survive_lost_output()
    try:
        sys.argv[1:] = offer_run_config("metaloop-adapt", [*map(_as_hydra_reads, sys.argv[1:])])
    except UserError as error:
        fail(error)
    run_hydra("adapt", _job)


def _as_hydra_reads(argument: str) -> str:
    """Quote paths, put a list into brackets, and replace an old key by its new name."""
    key, equals, value = argument.partition("=")
    if equals and key in RENAMED:
        say(f"{key} is now called {RENAMED[key]}: write that.", is_error=True)
        return f"{RENAMED[key]}={value}"
    if equals and key == "export" and value and value[0] not in "['\"":
        return f"export=[{value}]"
    if equals and key in PLACES and value and value[0] not in "'\"" and value != "null":
        return f"{key}={quoted(value)}"
    return argument


def _job(config: DictConfig) -> Work | None:
    with fast_imports():  # not at the top: --help and unknown keys need no torch
        from metaloop.adapted import require_fixed_norms, require_format
        from metaloop.run.checkpoints.weights import find_weights
        from metaloop.run.config.build import build
        from metaloop.run.config.construct import section
        from metaloop.run.config.effect import require_effect
        from metaloop.run.config.run_config import RunConfig
        from metaloop.run.config.settings import Adaptation

    values = plain(config)
    asked = section(Request, {key: values.pop(key) for key in OWN_KEYS}, "")
    name = asked.name
    wanted = {key: values.pop(key) for key in KEYS}
    adaptation = section(Adaptation, wanted, "")
    pieces = build(RunConfig.of({**values, "command": "adapt"}))
    device = pieces.config.device
    device.require()
    run = RunFolder.open(Path(asked.run))
    require_effect(pieces.config, RunConfig.read(run), pieces.algorithm)
    find_weights(run, adaptation.checkpoint)
    for key in PLACES:
        if (place := wanted[key]) is not None:
            pieces.task.require_examples(user_path(str(place)), key)
            wanted[key] = str(user_path(str(place)).resolve())
    for format_ in adaptation.export:
        require_format(format_)
        require_fixed_norms(pieces.algorithm.objective, has_support=True)
    overrides = [o for o in HydraConfig.get().overrides.task if o.split("=")[0] not in OWN_KEYS]
    folder = write_adaptation(
        run,
        check_name(str(name)) if name else make_name([Path(str(wanted["support"])).stem]),
        {**pieces.config.content, "adapt": wanted},
        overrides,
        replaces=bool(name),
    )
    work = Work(folder, replace(device, devices=1, nodes=1), pieces)
    return execute_or_record(work, overrides, compose_only=asked.compose_only)
