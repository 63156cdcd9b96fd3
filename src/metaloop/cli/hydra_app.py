"""Hydra as the commands use it: where conf/ lies, and errors that speak to the user."""

import functools
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, cast

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from metaloop.cli.execute import Work, be_no_rank, become_worker, find_own_classes
from metaloop.cli.help import help_text, is_for_help, search_path
from metaloop.cli.sweeps.multirun import LeadSweep, report_sweep
from metaloop.errors import UserError, nearest
from metaloop.user_text import show_any_text

_PACKAGE = Path(__file__).resolve().parent.parent
# a wheel ships conf/ inside the package; in a checkout it stands at the top
CONF = _PACKAGE / "conf" if (_PACKAGE / "conf").is_dir() else _PACKAGE.parents[1] / "conf"

GROUP = "Change single keys (task.shots=5), or train a run with the other choice."


def run_hydra(config_name: str, job: Callable[[DictConfig], object]) -> None:
    """Compose `config_name` with the command line and call the job; the exit status of errors.

    Errors of the user's making are printed without a traceback. The work that the job returns is
    done when Hydra is done: what fails there is the worker's to report.
    """
    show_any_text()
    find_own_classes()
    be_no_rank()
    sys.argv[1:] = overrides_last(sys.argv[1:])
    full_error = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises, and the message is ours
    problem: BaseException | None = None
    work: list[Work] = []
    try:
        if is_for_help(sys.argv[1:]):
            print(help_text(config_name, CONF, sys.argv[1:]))
        else:
            hydra.main(version_base="1.3", config_path=str(CONF), config_name=config_name)(
                functools.partial(_run_job, job, work)
            )()
    except (UserError, KeyboardInterrupt) as error:
        problem = error
    except (HydraException, OmegaConfBaseException) as error:
        if full_error:
            raise
        problem = UserError(_explain(error))
    except Exception as error:
        if LeadSweep.sweep is None:
            raise
        problem = error  # a launcher's or a sweeper's: the jobs are reported all the same
    finally:
        if full_error is None:
            del os.environ["HYDRA_FULL_ERROR"]
    if LeadSweep.sweep is not None:
        sys.exit(report_sweep(LeadSweep.sweep, problem))
    if isinstance(problem, KeyboardInterrupt):
        print("\nStopped.", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)
    if problem is not None:
        _fail(str(problem))
    if work:
        become_worker(work[0])


def compose_choice(group: str, choice: str, arguments: list[str]) -> dict[str, object]:
    """What a choice of one of train.yaml's groups says, also from a --config-dir.

    Raises:
        UserError: there is no such choice.

    """
    try:
        with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
            node = hydra.compose("train", [f"{group}={choice}", *search_path(arguments)])[group]
            content = OmegaConf.to_container(node, resolve=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(_explain(error)) from error
    return cast(dict[str, object], content)


def overrides_last(arguments: list[str]) -> list[str]:
    """Options first: Hydra's parser takes no override after an option that follows one."""
    return sorted(arguments, key=lambda a: "=" in a and not a.startswith("-"))


def is_multirun() -> bool:
    """Whether the job is one of a sweep."""
    return HydraConfig.get().mode == RunMode.MULTIRUN


def _run_job(job: Callable[[DictConfig], object], work: list[Work], config: DictConfig) -> object:
    find_own_classes()  # a launcher may run this in a process of its own
    try:
        result = job(config)
        if isinstance(result, Work):
            work.append(result)
        return result
    except UserError as error:
        if is_multirun():  # the sweep goes on with its other jobs
            raise
        _fail(str(error))  # here: Hydra would speak of the overrides first


def _explain(error: Exception) -> str:
    """Hydra's message, with the nearest known key instead of its advice to append one."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        return _explain_choice(error.missing_cfg_file)
    if isinstance(error, ConfigCompositionException) and "No match in the defaults" in str(error):
        return (
            f"{str(error).splitlines()[0].rstrip('.')}: choices are fixed by the run here. {GROUP}"
        )
    cause = error.__cause__
    if isinstance(cause, ConfigKeyError | ConfigAttributeError) and isinstance(
        cause.parent_node, DictConfig
    ):
        known = [str(key) for key in cause.parent_node if key != "hydra"]
        name = cause.full_key or str(cause.key)
        hint = nearest(str(cause.key), known) or _same_key_elsewhere(cause)
        return f"{name} is unknown. {hint}Keys here: {', '.join(known)}."
    return "\n".join(str(e) for e in (error, cause) if e is not None and str(e))


def _same_key_elsewhere(error: ConfigAttributeError | ConfigKeyError) -> str:
    """The question "Did you mean section.key?", where a section has a key of this name."""
    root = error.parent_node
    while root is not None and root._get_parent() is not None:
        root = root._get_parent()
    for section, node in dict(root or {}).items():
        if section != "hydra" and isinstance(node, DictConfig) and error.key in node:
            return f"Did you mean {section}.{error.key}? "
    return ""


def _explain_choice(missing: str) -> str:
    group, _, choice = missing.partition("/")
    if group == "hydra":
        plugin, extra = choice.replace("/", "="), "ray" if choice.endswith("/ray") else "sweep"
        install = f"pip install 'metaloop[{extra}]'"
        return f"hydra/{plugin} is not installed. If the name is right: {install}."
    folder = CONF / group
    known = sorted(str(p.relative_to(folder).with_suffix("")) for p in folder.rglob("*.yaml"))
    if not known:
        return f"There is no config {missing}."
    return f"{group}={choice} is unknown. {nearest(choice, known)}Choices: {', '.join(known)}."


def _fail(message: str) -> NoReturn:
    print(f"Error: {message}", file=sys.stderr)
    sys.exit(1)
