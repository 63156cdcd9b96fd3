"""What a command answers to --help: the template in its config, with the choices there are.

Hydra's own answer copies its whole store of configs for every question it asks about a group,
some 150 times: more than a second.
"""

import string
from collections.abc import Sequence
from importlib.metadata import version

import hydra
from omegaconf import OmegaConf

from metaloop.cli.configs import CONF, CONFIG_DIR, choices, config_dirs, groups

FLAGS = ("-h", "--help")


def version_text() -> str:
    """What every command answers to --version."""
    return f"metaloop {version('metaloop')}"


def is_for_help(arguments: Sequence[str]) -> bool:
    """Whether help is asked for that needs no Hydra: no other option, no folder that is not."""
    options = {a.partition("=")[0] for a in arguments if a.startswith("-")}
    is_plain = options <= {*FLAGS, *CONFIG_DIR} and all(d.is_dir() for d in config_dirs(arguments))
    return is_plain and bool(options.intersection(FLAGS))


def help_text(config_name: str, arguments: Sequence[str]) -> str:
    """Compose the config, so that wrong arguments are found here too, and fill its template."""
    overrides = [a for a in arguments if "=" in a and not a.startswith("-")]
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        config = hydra.compose(config_name, overrides, return_hydra_config=True)
    template = OmegaConf.select(config, "hydra.help.template")
    return string.Template(template).substitute(APP_CONFIG_GROUPS=_choices())


def _choices() -> str:
    """One line a group, and one a folder of it, with its choices."""
    lines: dict[str, list[str]] = {}
    for group in groups():
        for choice in choices(group):
            folder, _, name = f"{group}/{choice}".rpartition("/")
            lines.setdefault(folder, []).append(name)
    return "".join(f"{folder}: {', '.join(lines[folder])}\n" for folder in sorted(lines))
