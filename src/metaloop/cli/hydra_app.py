"""Run Hydra for the commands, and explain its errors to the user."""

import functools
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from metaloop.cli.configs import CONF, config_dirs, look_first_in
from metaloop.cli.execute import Work, be_no_rank, become_worker, find_own_classes
from metaloop.cli.help import help_text, is_for_help, version_text
from metaloop.cli.mistakes import explain, fail
from metaloop.cli.overrides import check_overrides
from metaloop.cli.sweeps.multirun import LeadSweep, report_sweep
from metaloop.errors import UserError
from metaloop.process.machine_error import machine_error
from metaloop.process.terminal import survive_lost_output
from metaloop.run.config.read import plain
from metaloop.user_text import say


@dataclass
class Outcome:
    """Result of Hydra: whether a config was composed, and the work to do afterwards."""

    is_composed: bool = False
    work: Work | None = None


def run_hydra(config_name: str, job: Callable[[DictConfig], object]) -> None:
    """Compose `config_name` with the command line, call the job, then do the work it returns.

    A user's mistake ends the command with a message and no traceback; HYDRA_FULL_ERROR=1 shows it.
    The work is done outside of Hydra: its failures are reported by the worker.
    """
    find_own_classes()
    be_no_rank()
    full_error = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # makes Hydra raise; the message is ours
    problem: BaseException | None = None
    outcome = Outcome()
    try:
        _answer(config_name, functools.partial(_run_job, job, outcome))
    except (UserError, KeyboardInterrupt) as error:
        problem = error
    except Exception as error:
        refused = machine_error(error)
        is_users = not outcome.is_composed or isinstance(
            error, HydraException | OmegaConfBaseException
        )
        if full_error or (refused is None and not is_users and LeadSweep.sweep is None):
            raise
        # an error of a launcher or sweeper: the jobs are still reported
        problem = error
        if refused is not None:
            problem = UserError(str(refused))
        elif is_users:
            said = explain(error, config_name=config_name, arguments=sys.argv[1:])
            problem = UserError(said)
    finally:
        if full_error is None:
            del os.environ["HYDRA_FULL_ERROR"]
    if LeadSweep.sweep is not None:
        sys.exit(report_sweep(LeadSweep.sweep, problem))
    if isinstance(problem, KeyboardInterrupt):
        say("\nStopped.", is_error=True)
        sys.exit(128 + signal.SIGINT)
    if isinstance(problem, UserError):
        fail(problem)
    if outcome.work is not None:
        become_worker(outcome.work)


def _answer(config_name: str, run_job: Callable[[DictConfig], object]) -> None:
    """Print version or help if asked for, else make Hydra call the job."""
    if "--version" in sys.argv[1:]:
        say(version_text())
        return
    look_first_in(config_dirs(sys.argv[1:]))
    sys.argv[1:] = check_overrides(sys.argv[1:])
    if is_for_help(sys.argv[1:]):
        say(help_text(config_name, sys.argv[1:]))
        return
    hydra.main(version_base="1.3", config_path=str(CONF), config_name=config_name)(run_job)()


def compose_choice(group: str, choice: str, arguments: Sequence[str]) -> dict[str, object]:
    """Compose the node of a choice of one of train.yaml's groups, also from a --config-dir.

    Raises:
        UserError: if there is no such choice.

    """
    look_first_in(config_dirs(arguments))
    try:
        with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
            node = hydra.compose("train", check_overrides([f"{group}={choice}"]))[group]
            return plain(node)
    except Exception as error:
        said = explain(error, config_name="train", arguments=[f"{group}={choice}"])
        raise UserError(said) from error


def require_all(config: DictConfig) -> None:
    """Refuse a config with a missing value.

    Raises:
        UserError: if the value of a key is ???.

    """
    if missing := sorted(OmegaConf.missing_keys(config)):
        raise UserError(
            f"{missing[0]} is needed: add {missing[0]}=VALUE. {Path(sys.argv[0]).name} --help says "
            "what it may be."
        )


def is_multirun() -> bool:
    """Check whether the job belongs to a sweep."""
    return HydraConfig.get().mode == RunMode.MULTIRUN


def _run_job(job: Callable[[DictConfig], object], outcome: Outcome, config: DictConfig) -> object:
    survive_lost_output()  # a launcher may run this in another process
    find_own_classes()
    outcome.is_composed = True
    try:
        require_all(config)
        result = job(config)
        if isinstance(result, Work):
            outcome.work = result
        return result
    except UserError as error:
        if is_multirun():  # the sweep continues with its other jobs
            raise
        fail(error)  # Hydra would print the overrides first
