"""Shared steps of the commands that compose over a run's config: evaluate and adapt."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from metaloop.cli.execute import Work, execute
from metaloop.cli.hydra_app import compose_choice, is_multirun
from metaloop.cli.overrides import folder_named, split
from metaloop.errors import UserError
from metaloop.folders.run_folder import RunFolder
from metaloop.run.config.read import load_config, section_of
from metaloop.user_text import quoted

NEWER_KEYS = {"interval": "closed"}  # keys of evaluation that older runs lack
# keys of a task that an evaluation on another task takes from the run's
EPISODE_SIZE = ("ways", "shots", "queries", "shape_block", "uneven_shots")


@dataclass(frozen=True, kw_only=True)
class Request:
    """The command's own keys; all others change the run's config."""

    run: str
    name: str | int | float | None
    compose_only: bool


OWN_KEYS = tuple(field.name for field in fields(Request))


def offer_run_config(command: str, arguments: list[str], task: str | None = None) -> list[str]:
    """Store the config of the run named on the command line, for Hydra to compose over.

    Return the arguments with the run, FOLDER or run=FOLDER, quoted for Hydra.

    `task`, a choice of that group, replaces the run's task but keeps the size of its episodes. It
    is composed separately, by train.yaml: a task file may choose a model in its defaults list,
    which fails without a group `model`, and Hydra merges a task into the run's instead of
    replacing it.

    Raises:
        UserError: if the arguments name no run folder or an unknown task.

    """
    named = [a for a in split(arguments)[1] if _names_run(a)]
    if len(named) > 1:
        raise UserError(f"{command} takes one run, and these are {len(named)}: {' '.join(named)}.")
    config: dict[str, Any] = {}
    if named:
        folder = RunFolder.open(folder_named(named[0]))
        config = load_config(folder)
        if config.get("command") != "train":
            raise UserError(
                f"{folder.path} is an evaluation or adaptation of a run. Name the run: the folder "
                "that metaloop-train printed."
            )
        if command == "metaloop-evaluate":
            config["evaluation"] = {**NEWER_KEYS, **section_of(config, "evaluation")}
        arguments = [a for a in arguments if a != named[0]] + [f"run={quoted(str(folder.path))}"]
    elif not any(a.startswith("-") for a in arguments):
        raise UserError(f"{command} needs the run: {command} outputs/FOLDER.")
    if task is not None and config:
        own, other = config["task"], compose_choice("task", task, arguments)
        config["task"] = other | {k: own[k] for k in EPISODE_SIZE if k in own and k in other}
        config["published"] = []  # values for the run's own task
    ConfigStore.instance().store(name="run_config", node=OmegaConf.create(config))
    return arguments


def _names_run(argument: str) -> bool:
    is_value = "=" in argument or argument.startswith("~")
    # its name may contain =; pathlib raises for long names
    is_folder = os.path.isfile(RunFolder(argument).config)  # noqa: PTH113
    return argument.startswith("run=") or not is_value or is_folder


def execute_or_record(work: Work, overrides: Sequence[str], *, compose_only: bool) -> Work | None:
    """Execute a written folder as `execute` does, or as a job if the command is a multirun."""
    if not is_multirun():
        return execute(work, compose_only=compose_only)
    from metaloop.cli.sweeps.job import folder_job  # imports torch

    folder_job(work, overrides, compose_only=compose_only)
    return None
