"""Commands that compose over a run's config: evaluate and adapt."""

import hashlib
import re
import sys
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from metaloop.cli.hydra_app import compose_choice
from metaloop.errors import UserError
from metaloop.folders.run_folder import RunFolder
from metaloop.run.config.read import load_config

UNFIT = r"[^\w.=,-]+"
LONGEST = 100
EPISODE_SIZE = ("ways", "shots", "queries")


def offer_run_config(command: str, arguments: list[str], task: str | None = None) -> None:
    """Let Hydra compose over the config of the run that the command line names.

    With `task`, a choice of that group, it stands in place of the run's, with the run's size of
    an episode.

    Raises:
        UserError: it names none, or no run folder; or there is no such task.

    """
    named = [a.removeprefix("run=") for a in arguments if a.startswith("run=")]
    config: dict[str, Any] = {}
    if named:
        folder = RunFolder.open(named[0].strip("'\""))
        config = load_config(folder)
        if config.get("command") != "train":
            raise UserError(
                f"{folder.path} is an evaluation or adaptation of a run. Name the run: the folder "
                "that metaloop-train printed."
            )
    elif not any(a.startswith("-") for a in arguments):
        given = f", not {arguments[0]}" if arguments else ""
        raise UserError(f"{command} needs the run: run=outputs/FOLDER{given}.")
    if task is not None and config:
        own, other = config["task"], compose_choice("task", task, arguments)
        config["task"] = other | {k: own[k] for k in EPISODE_SIZE if k in own and k in other}
        config["published"] = []  # of the run's own task
    ConfigStore.instance().store(name="run_config", node=OmegaConf.create(config))


def exit_on_mistake(error: UserError) -> None:
    """Say what is wrong before there is a config to speak of."""
    print(f"Error: {error}", file=sys.stderr)
    sys.exit(1)


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
