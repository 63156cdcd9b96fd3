"""Commands that compose over a run's config: evaluate and adapt."""

import hashlib
import os
import re
from dataclasses import dataclass
from typing import Any, cast

from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from metaloop.cli.hydra_app import compose_choice
from metaloop.cli.overrides import folder_named, split
from metaloop.errors import UserError
from metaloop.folders.run_folder import RunFolder
from metaloop.run.config.read import load_config
from metaloop.user_text import quoted

UNFIT = r"[^\w.=,-]+"
LONGEST = 100
NEWER_KEYS = {"interval": "closed"}  # of evaluation, which older runs lack
# of an evaluation, which older runs do not have
EPISODE_SIZE = ("ways", "shots", "queries", "shape_block", "uneven_shots")


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is asked of the command; the other keys change the run's config."""

    run: str
    name: str | int | float | None
    compose_only: bool


def offer_run_config(command: str, arguments: list[str], task: str | None = None) -> list[str]:
    """Let Hydra compose over the config of the run that the command line names.

    The run is FOLDER or run=FOLDER, a path with any character in it; the arguments are returned
    with it as Hydra reads it.

    With `task`, a choice of that group, it stands in place of the run's, with the run's size of
    an episode.

    Raises:
        UserError: it names none, or no run folder; or there is no such task.

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
            config["evaluation"] = {**NEWER_KEYS, **cast(dict[str, object], config["evaluation"])}
        arguments = [a for a in arguments if a != named[0]] + [f"run={quoted(str(folder.path))}"]
    elif not any(a.startswith("-") for a in arguments):
        raise UserError(f"{command} needs the run: {command} outputs/FOLDER.")
    if task is not None and config:
        own, other = config["task"], compose_choice("task", task, arguments)
        config["task"] = other | {k: own[k] for k in EPISODE_SIZE if k in own and k in other}
        config["published"] = []  # of the run's own task
    ConfigStore.instance().store(name="run_config", node=OmegaConf.create(config))
    return arguments


def _names_run(argument: str) -> bool:
    is_value = "=" in argument or argument.startswith("~")
    # whose name may have an = in it; pathlib raises for long names
    is_folder = os.path.isfile(RunFolder(argument).config)  # noqa: PTH113
    return argument.startswith("run=") or not is_value or is_folder


def checked_name(name: str) -> str:
    """A folder's name that the user chose."""
    if name != re.sub(UNFIT, "-", name) or name.startswith("."):
        raise UserError(f"name={name} names a folder: letters, digits and _ . = , - only.")
    return name


def made_name(parts: list[str]) -> str:
    """A folder's name of what distinguishes it; where it is cut, a hash keeps it apart."""
    name = re.sub(UNFIT, "-", "_".join(parts)).lstrip(".") or "unnamed"
    if len(name) <= LONGEST:
        return name
    return f"{name[:LONGEST]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
