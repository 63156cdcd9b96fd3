"""Answer --help with the template in a command's config, and the choices of each group.

Hydra's own answer takes seconds longer: it copies its whole config store some 150 times.
"""

import string
from collections.abc import Sequence
from importlib.metadata import version

import hydra
from omegaconf import OmegaConf

from metaloop.cli.configs import CONF, CONFIG_DIR, choices, config_dirs, groups

FLAGS = ("-h", "--help")


def version_text() -> str:
    """Return the answer to --version of every command."""
    return f"metaloop {version('metaloop')}"


def is_for_help(arguments: Sequence[str]) -> bool:
    """Check whether the arguments ask for help, with no other option and no missing folder."""
    options = {a.partition("=")[0] for a in arguments if a.startswith("-")}
    is_plain = options <= {*FLAGS, *CONFIG_DIR} and all(d.is_dir() for d in config_dirs(arguments))
    return is_plain and bool(options.intersection(FLAGS))


def help_text(config_name: str, arguments: Sequence[str]) -> str:
    """Fill the template of the composed config; composing also finds wrong arguments."""
    overrides = [a for a in arguments if "=" in a and not a.startswith("-")]
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        config = hydra.compose(config_name, overrides, return_hydra_config=True)
    template = OmegaConf.select(config, "hydra.help.template")
    return string.Template(template).substitute(APP_CONFIG_GROUPS=_choices())


def _choices() -> str:
    """List the choices, one line per group and per subfolder of a group."""
    lines: dict[str, list[str]] = {}
    for group in groups():
        for choice in choices(group):
            folder, _, name = f"{group}/{choice}".rpartition("/")
            lines.setdefault(folder, []).append(name)
    return "".join(f"{folder}: {', '.join(lines[folder])}\n" for folder in sorted(lines))
