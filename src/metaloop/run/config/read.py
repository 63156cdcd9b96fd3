"""Reading a folder's config. Imports no torch: commands stay quick."""

from typing import cast

from omegaconf import DictConfig, OmegaConf

from metaloop.errors import UserError
from metaloop.folders.run_folder import RunFolder

# What folders and checkpoints are written in; another number cannot be read.
FORMAT = 1


def load_config(folder: RunFolder) -> dict[str, object]:
    """Read a folder's resolved config.

    Raises:
        UserError: it is of another format.

    """
    config = plain(cast(DictConfig, OmegaConf.load(folder.config)))
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
    return config


def plain(config: DictConfig) -> dict[str, object]:
    """Resolve a config into dicts and lists."""
    container = OmegaConf.to_container(config, resolve=True, enum_to_str=True)
    return cast(dict[str, object], container)
