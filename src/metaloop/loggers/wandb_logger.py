"""Log to Weights & Biases; its failures never end a run."""

import argparse
import inspect
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pydantic import ValidationError
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.utilities import rank_zero_only

from metaloop.arguments import check_arguments
from metaloop.errors import UserError
from metaloop.process.signals import Interrupted
from metaloop.user_text import say

# arguments that W&B validates, with its names for the setting and the environment variable
RULED = {
    "project": ("project", "WANDB_PROJECT"),
    "id": ("run_id", "WANDB_RUN_ID"),
    "name": ("run_name", "WANDB_NAME"),
    "tags": ("run_tags", "WANDB_TAGS"),
}
ONLINE, OFFLINE = ("online", "run", "shared"), ("offline", "dryrun")  # with wandb's older names


class OutageProofWandbLogger(WandbLogger):
    """Lightning's WandbLogger, without letting errors of W&B reach the run.

    If the server cannot be reached at the start, the run logs offline. A later failure is reported
    once, and the run continues: its values are in metrics.csv, and what W&B has accepted but not
    sent stays in its folder for `wandb sync`. wandb's settings decide how long it waits
    (`init_timeout`, `finish_timeout` with `finish_timeout_raises`).

    Args:
        project: the W&B project.
        save_dir: W&B's files go to save_dir/wandb.
        id: the run's id at W&B; a run that is opened again continues there.
        name: the run's name at W&B.
        wandb_init: further arguments of wandb.init.

    Raises:
        UserError: if WANDB_MODE is not a mode, or needs a server without an account to log in
            with, or W&B has no such argument, project or id.

    Examples:
        >>> from metaloop import OutageProofWandbLogger, UserError
        >>> logger = OutageProofWandbLogger(project="few-shot", save_dir="run", mode="offline")
        >>> logger.save_dir
        'run'
        >>> try:
        ...     OutageProofWandbLogger(project="few/shot")
        ... except UserError as error:
        ...     print(error)
        project=few/shot (or WANDB_PROJECT): ...

    """

    def __init__(
        self,
        *,
        project: str,
        save_dir: str = ".",
        id: str | None = None,
        name: str | None = None,
        **wandb_init: Any,  # noqa: ANN401 - as Lightning's
    ) -> None:
        _require_fit({"project": project, "id": id, "name": name, **wandb_init})
        super().__init__(name=name, save_dir=save_dir, id=id, project=project, **wandb_init)
        del self._wandb_init["anonymous"]  # wandb warns of any value
        self._has_failed = False
        mode = wandb_mode("offline")
        _require_account(mode)
        # fallbacks if W&B cannot start
        self._fallbacks = [("offline", "logs offline")] * (mode in ONLINE)
        self._fallbacks.append(("disabled", "continues without it"))

    @property
    def experiment(self) -> Any:  # noqa: ANN401 - wandb's Run, untyped
        """The run at W&B: online, else offline, else disabled."""
        while True:
            try:
                return super().experiment
            except Interrupted:
                raise
            except Exception as error:
                if not self._fallbacks:
                    raise
                _tear_down()  # else the id counts as in use
                mode, what = self._fallbacks.pop(0)
                self._wandb_init["mode"] = mode
                _say(f"W&B cannot start, and the run {what}: {_first_line(error)}")

    @rank_zero_only
    def log_hyperparams(self, params: argparse.Namespace | dict[str, Any]) -> None:
        """Log the config. Groups fixed by a W&B sweep (algorithm) are logged key by key."""
        values = vars(params) if isinstance(params, argparse.Namespace) else params
        with self._report_failure():
            fixed = {n for n, v in self.experiment.config.items() if v != values.get(n)}
            for name in fixed & set(values):
                if isinstance(values[name], Mapping):
                    values = values | {f"{name}.{n}": v for n, v in values[name].items()}
            super().log_hyperparams(values)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        with self._report_failure():
            super().log_metrics(metrics, step)

    @rank_zero_only
    def log_image(self, key: str, images: list[Any], step: int | None = None, **of: Any) -> None:  # noqa: ANN401
        with self._report_failure():
            super().log_image(key, images, step, **of)

    def after_save_checkpoint(self, checkpoint_callback: ModelCheckpoint) -> None:
        with self._report_failure():
            super().after_save_checkpoint(checkpoint_callback)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        with self._report_failure():
            super().finalize(status)

    @rank_zero_only
    def log_summary(self, values: Mapping[str, float | str]) -> None:
        """Set the run's final values: the columns of W&B's table of runs."""
        with self._report_failure():
            self.experiment.summary.update(dict(values))

    @rank_zero_only
    def finish(self, exit_code: int) -> None:
        """Send what is left, within `finish_timeout` seconds, and end the run at W&B."""
        if self._experiment is None:
            return
        settings = self._experiment.settings
        try:
            self._experiment.finish(exit_code)
        except Interrupted:
            raise
        except TimeoutError:
            _say(
                f"W&B did not receive everything within {settings.finish_timeout:g} s "
                "(logger.wandb.settings.finish_timeout). To send the rest:\n"
                f"  wandb sync --include-online {settings.sync_dir}"
            )
        except Exception as error:
            _say(f"W&B did not finish: {_first_line(error)}\nIts files: {settings.sync_dir}")
            _tear_down()

    @contextmanager
    def _report_failure(self) -> Iterator[None]:
        try:
            yield
        except (Interrupted, UserError):
            raise
        except Exception as error:
            if not self._has_failed:
                _say(f"W&B failed, and the run continues without it: {_first_line(error)}")
            self._has_failed = True


def wandb_mode(default: str) -> str:
    """Read W&B's mode from the environment: WANDB_MODE, or WANDB_DISABLED, its older form."""
    is_disabled = os.environ.get("WANDB_DISABLED", "").lower() in ("true", "1", "yes", "on")
    return "disabled" if is_disabled else os.environ.get("WANDB_MODE") or default


def _require_fit(given: Mapping[str, object]) -> None:
    """Refuse arguments that wandb.init does not have, and invalid projects, ids and tags."""
    import wandb  # slow, and not needed by runs that log elsewhere

    from_lightning = inspect.signature(WandbLogger).parameters.keys() | {"settings"}
    check_arguments(wandb.init, {n: v for n, v in given.items() if n not in from_lightning}, key="")
    for argument, (setting, variable) in RULED.items():
        try:
            wandb.Settings.model_validate({setting: given.get(argument)})
        except (wandb.Error, ValueError) as error:
            rule = error.errors()[0]["msg"] if isinstance(error, ValidationError) else f"{error}"
            raise UserError(f"{argument}={given[argument]} (or {variable}): {rule}.") from error


def _require_account(mode: str) -> None:
    """Refuse an unknown mode, and an online mode without a login."""
    if mode not in (*ONLINE, *OFFLINE, "disabled"):
        raise UserError(
            f"WANDB_MODE={mode} is not a mode of W&B. Set it to online, offline or disabled."
        )
    if mode not in ONLINE:
        return
    import wandb  # slow, and not needed by runs that log elsewhere

    try:
        is_logged_in = wandb.login(prompt=False, verify=False)
    except wandb.Error as error:
        raise UserError(f"WANDB_MODE={mode}: {_first_line(error)}") from error
    if not is_logged_in:
        raise UserError(
            f"WANDB_MODE={mode} needs an account at W&B, but there is no API key. Run wandb login "
            "(or set WANDB_API_KEY), or set WANDB_MODE=offline and sync the run later."
        )


def _tear_down() -> None:
    """End wandb's process, or forget a dead one, so that the next run starts cleanly."""
    import wandb

    try:
        wandb.teardown()
    except Interrupted:
        raise
    except Exception as error:
        _say(f"W&B's process did not end: {_first_line(error)}")
    wandb.run = None


@rank_zero_only
def _say(message: str) -> None:
    say(f"\n{message}", is_error=True)


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
