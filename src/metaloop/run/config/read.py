"""Read a folder's config. Imports no torch, so that commands stay fast."""

from collections.abc import Mapping
from typing import IO

from omegaconf import DictConfig, OmegaConf

from metaloop.errors import UserError
from metaloop.folders.reading import parse_yaml, unreadable
from metaloop.folders.run_folder import CONFIG_REMEDY, OVERRIDES_REMEDY, RunFolder

# Format of folders and checkpoints; others cannot be read.
FORMAT = 1
COMMANDS = ("train", "evaluate", "adapt")
SECTIONS = (
    "task",
    "model",
    "algorithm",
    "optimizer",
    "scheduler",
    "data",
    "training",
    "device",
    "evaluation",
    "callbacks",
    "logger",
)


def load_config(folder: RunFolder) -> dict[str, object]:
    """Read a folder's resolved config, with a mapping in every section.

    Raises:
        UserError: if it cannot be read, is not a run's, or has another format.

    """
    config = parse_yaml(folder.config_text(), folder.config, _read_yaml, dict, CONFIG_REMEDY)
    if lacking := [key for key in ("task", "model", "algorithm") if key not in config]:
        reason = f"it is no run's config, for it says nothing of {lacking[0]}"
        raise unreadable(folder.config, reason, CONFIG_REMEDY)
    if "format" not in config:
        raise UserError(
            f"{folder.path} was made by metaloop 0.1, whose folders this version does not read: "
            "use it with metaloop 0.1, or train it again."
        )
    if config["format"] != FORMAT:
        raise UserError(
            f"{folder.path} is of format {config['format']}, and this version of metaloop reads "
            f"format {FORMAT}: use it with the version that environment.json in it names."
        )
    for key in SECTIONS:
        if not isinstance(config.get(key), Mapping):
            reason = f"{key} is no section of keys and values"
            raise unreadable(folder.config, reason, CONFIG_REMEDY)
    if config.get("command") not in COMMANDS:
        reason = f"command is none of {', '.join(COMMANDS)}"
        raise unreadable(folder.config, reason, CONFIG_REMEDY)
    if config["command"] != "train" and not isinstance(config.get("run"), str):
        raise unreadable(folder.config, "it names no run", CONFIG_REMEDY)
    return config


def read_overrides(folder: RunFolder) -> list[str]:
    """Read the user's overrides; empty if their file is lost.

    Raises:
        UserError: if they cannot be read.

    """
    if (text := folder.overrides_text()) is None:
        return []
    lines = parse_yaml(text, folder.overrides, _read_yaml, list, OVERRIDES_REMEDY)
    return [str(line) for line in lines]


def section_of(config: Mapping[str, object], name: str) -> Mapping[str, object]:
    """Return a section of a config that `load_config` has read."""
    section = config[name]
    assert isinstance(section, Mapping)
    return section


def plain(config: DictConfig, *, resolve: bool = True) -> dict[str, object]:
    """Convert a config to dicts and lists."""
    content: object = OmegaConf.to_container(config, resolve=resolve, enum_to_str=True)
    assert isinstance(content, dict)
    return content


def _read_yaml(file: IO[str]) -> object:
    return OmegaConf.to_container(OmegaConf.load(file), resolve=True, enum_to_str=True)
