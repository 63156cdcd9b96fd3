"""The folders of configs: conf/, and a user's own, which win if both have a name."""

import itertools
from collections.abc import Sequence
from pathlib import Path

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin

_PACKAGE = Path(__file__).resolve().parent.parent
# a wheel contains conf/ in the package; a checkout has it at the top
CONF = _PACKAGE / "conf" if (_PACKAGE / "conf").is_dir() else _PACKAGE.parents[1] / "conf"
CONFIG_DIR = ("--config-dir", "-cd")


class OwnConfigsFirst(SearchPathPlugin):
    """Hydra's plugin that searches the user's folders first; Hydra prefers built-in configs."""

    folders: Sequence[Path] = ()

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Prepend the user's folders."""
        for folder in reversed(self.folders):
            search_path.prepend("own configs", f"file://{folder}")


def look_first_in(folders: Sequence[Path]) -> None:
    """Make Hydra search these folders before all others."""
    OwnConfigsFirst.folders = folders
    Plugins.instance().register(OwnConfigsFirst)


def config_dirs(arguments: Sequence[str]) -> list[Path]:
    """Return the folders of a user's own configs that the arguments name."""
    named = [a.partition("=")[2] for a in arguments if a.startswith("--config-dir=")]
    after = [v for flag, v in itertools.pairwise(arguments) if flag in CONFIG_DIR]
    return [Path(folder).resolve() for folder in (*named, *after)]


def own_configs() -> list[Path]:
    """Return the files of the user's own configs."""
    return [path for folder in OwnConfigsFirst.folders for path in sorted(folder.rglob("*.yaml"))]


def is_group(name: str) -> bool:
    """Check for a config group of this name: task, model .. or a user's own."""
    folders = (*OwnConfigsFirst.folders, CONF)
    return bool(name) and any((folder / name).is_dir() for folder in folders)


def groups() -> list[str]:
    """Return the names of all groups."""
    folders = (*OwnConfigsFirst.folders, CONF)
    return sorted({p.parent.name for folder in folders for p in folder.glob("*/*.yaml")})


def choices(group: str) -> list[str]:
    """Return the choices of a group; one in a subfolder by its path, as finn2017/sinusoid."""
    places = [folder / group for folder in (*OwnConfigsFirst.folders, CONF)]
    found = {p.relative_to(place) for place in places for p in place.rglob("*.yaml")}
    return sorted(path.with_suffix("").as_posix() for path in found)


def find_choice(group: str, choice: str) -> Path:
    """Return the file of a choice listed by `choices`: the user's before ours."""
    files = (folder / group / f"{choice}.yaml" for folder in (*OwnConfigsFirst.folders, CONF))
    return next(file for file in files if file.is_file())
