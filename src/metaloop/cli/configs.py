"""Where configs lie: conf/, and the folders of a user's own, which win where names are the same."""

import itertools
from collections.abc import Sequence
from pathlib import Path

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin

_PACKAGE = Path(__file__).resolve().parent.parent
# a wheel ships conf/ inside the package; in a checkout it stands at the top
CONF = _PACKAGE / "conf" if (_PACKAGE / "conf").is_dir() else _PACKAGE.parents[1] / "conf"
CONFIG_DIR = ("--config-dir", "-cd")


class OwnConfigsFirst(SearchPathPlugin):
    """Hydra asks this where to look for configs; by itself it would prefer a built-in one."""

    folders: Sequence[Path] = ()

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Put the user's folders before all others."""
        for folder in reversed(self.folders):
            search_path.prepend("own configs", f"file://{folder}")


def look_first_in(folders: Sequence[Path]) -> None:
    """Let Hydra look for configs in these folders before any other."""
    OwnConfigsFirst.folders = folders
    Plugins.instance().register(OwnConfigsFirst)


def config_dirs(arguments: Sequence[str]) -> list[Path]:
    """The folders with a user's own configs that the arguments name."""
    named = [a.partition("=")[2] for a in arguments if a.startswith("--config-dir=")]
    after = [v for flag, v in itertools.pairwise(arguments) if flag in CONFIG_DIR]
    return [Path(folder).resolve() for folder in (*named, *after)]


def own_configs() -> list[Path]:
    """The files of the user's own configs."""
    return [path for folder in OwnConfigsFirst.folders for path in sorted(folder.rglob("*.yaml"))]


def is_group(name: str) -> bool:
    """Whether configs of this name are chosen from: task, model .. or a user's own."""
    folders = (*OwnConfigsFirst.folders, CONF)
    return bool(name) and any((folder / name).is_dir() for folder in folders)


def groups() -> list[str]:
    """The groups there are."""
    folders = (*OwnConfigsFirst.folders, CONF)
    return sorted({p.parent.name for folder in folders for p in folder.glob("*/*.yaml")})


def choices(group: str) -> list[str]:
    """The choices of a group, those in folders of it by their path: finn2017/sinusoid."""
    places = [folder / group for folder in (*OwnConfigsFirst.folders, CONF)]
    found = {p.relative_to(place) for place in places for p in place.rglob("*.yaml")}
    return sorted(path.with_suffix("").as_posix() for path in found)


def find_choice(group: str, choice: str) -> Path:
    """The file of a choice that `choices` names: a user's own before ours."""
    files = (folder / group / f"{choice}.yaml" for folder in (*OwnConfigsFirst.folders, CONF))
    return next(file for file in files if file.is_file())
