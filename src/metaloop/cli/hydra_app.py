"""Hydra as the commands use it: where conf/ lies, and errors that speak to the user."""

import difflib
import os
import sys
from collections.abc import Callable, Collection
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException

from metaloop.errors import UserError

_PACKAGE = Path(__file__).resolve().parent.parent
# a wheel ships conf/ inside the package; in a checkout it stands at the top
CONF = _PACKAGE / "conf" if (_PACKAGE / "conf").is_dir() else _PACKAGE.parents[1] / "conf"


def run_hydra(config_name: str, job: Callable[[DictConfig], object]) -> None:
    """Compose `config_name` with the command line and call the job; the exit status of errors.

    Errors of the user's making are printed without a traceback.
    """
    sys.path.insert(0, os.getcwd())  # own classes, as `python -m metaloop.run` finds them
    full_error = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises, and the message is ours
    try:
        hydra.main(version_base="1.3", config_path=str(CONF), config_name=config_name)(job)()
    except UserError as error:
        _fail(str(error))
    except (HydraException, OmegaConfBaseException) as error:
        if full_error:
            raise
        _fail(_explain(error))
    finally:
        if full_error is None:
            del os.environ["HYDRA_FULL_ERROR"]


def is_multirun() -> bool:
    """Whether the job is one of a sweep."""
    return HydraConfig.get().mode == RunMode.MULTIRUN


def _explain(error: Exception) -> str:
    """Hydra's message, with the nearest known key instead of its advice to append one."""
    cause = error.__cause__
    if isinstance(cause, ConfigKeyError) and isinstance(cause.parent_node, DictConfig):
        known = [str(key) for key in cause.parent_node]
        name = cause.full_key or str(cause.key)
        return f"{name} is unknown. {nearest(str(cause.key), known)}Keys here: {', '.join(known)}."
    return "\n".join(str(e) for e in (error, cause) if e is not None and str(e))


def nearest(name: str, known: Collection[str]) -> str:
    """The question "Did you mean ..?", where something known is near."""
    close = difflib.get_close_matches(name, known, n=1)
    return f"Did you mean {close[0]}? " if close else ""


def _fail(message: str) -> None:
    print(f"Error: {message}", file=sys.stderr)
    sys.exit(1)
