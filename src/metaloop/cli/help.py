"""What a command answers to --help: the template in its config, with the choices there are.

Hydra's own answer copies its whole store of configs for every question it asks about a group,
some 150 times: more than a second.
"""

import itertools
import string
from collections.abc import Sequence
from pathlib import Path

import hydra
from omegaconf import OmegaConf

FLAGS = ("-h", "--help")
CONFIG_DIR = ("--config-dir", "-cd")


def config_dirs(arguments: Sequence[str]) -> list[Path]:
    """The folders with a user's own configs that the arguments name."""
    named = [a.partition("=")[2] for a in arguments if a.startswith("--config-dir=")]
    after = [v for flag, v in itertools.pairwise(arguments) if flag in CONFIG_DIR]
    return [Path(folder).resolve() for folder in (*named, *after)]


def search_path(arguments: Sequence[str]) -> list[str]:
    """Make these folders the override that Hydra's compose takes for --config-dir."""
    places = [f"file://{folder}" for folder in config_dirs(arguments)]
    return [f"hydra.searchpath=[{','.join(places)}]"] if places else []


def is_for_help(arguments: Sequence[str]) -> bool:
    """Whether help is asked for that needs no Hydra: no other option, no folder that is not."""
    options = {a.partition("=")[0] for a in arguments if a.startswith("-")}
    is_plain = options <= {*FLAGS, *CONFIG_DIR} and all(d.is_dir() for d in config_dirs(arguments))
    return is_plain and bool(options.intersection(FLAGS))


def help_text(config_name: str, conf: Path, arguments: Sequence[str]) -> str:
    """Compose the config, so that wrong arguments are found here too, and fill its template."""
    own = config_dirs(arguments)
    overrides = [a for a in arguments if "=" in a and not a.startswith("-")]
    with hydra.initialize_config_dir(str(conf), version_base="1.3"):
        config = hydra.compose(
            config_name, [*search_path(arguments), *overrides], return_hydra_config=True
        )
    template = OmegaConf.select(config, "hydra.help.template")
    return string.Template(template).substitute(APP_CONFIG_GROUPS=_choices([conf, *own]))


def _choices(folders: Sequence[Path]) -> str:
    """One line a group: its choices, wherever they lie."""
    groups: dict[str, set[str]] = {}
    for folder in folders:
        for path in folder.rglob("*.yaml"):
            group = path.parent.relative_to(folder).as_posix()
            if group.partition("/")[0] not in (".", "hydra"):
                groups.setdefault(group, set()).add(path.stem)
    return "".join(f"{group}: {', '.join(sorted(groups[group]))}\n" for group in sorted(groups))
