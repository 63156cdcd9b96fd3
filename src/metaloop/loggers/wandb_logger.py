"""Weights & Biases, whose outage ends no run."""

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

# arguments whose values W&B has rules for, as its settings and its environment variables call them
RULED = {
    "project": ("project", "WANDB_PROJECT"),
    "id": ("run_id", "WANDB_RUN_ID"),
    "name": ("run_name", "WANDB_NAME"),
    "tags": ("run_tags", "WANDB_TAGS"),
}
ONLINE, OFFLINE = ("online", "run", "shared"), ("offline", "dryrun")  # and wandb's older words


class OutageProofWandbLogger(WandbLogger):
    """Lightning's WandbLogger, from which no error of W&B reaches the run.

    A server that cannot be reached at the start makes the run log offline. What fails later is
    said once, and the run goes on: its numbers stand in metrics.csv, and what W&B has taken but
    not sent stays in its folder for `wandb sync`. How long it waits is up to wandb's settings
    (`init_timeout`, `finish_timeout` with `finish_timeout_raises`).

    Args:
        project: the W&B project.
        save_dir: W&B's own files go to save_dir/wandb.
        id: the run at W&B; a run that is opened again goes on in it.
        name: what the run is called there.
        wandb_init: further arguments of wandb.init.

    Raises:
        UserError: WANDB_MODE is no mode, or asks for a server without an account to log in with;
            or W&B has no such argument, project or id.

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
        del self._wandb_init["anonymous"]  # wandb warns of it, whatever it says
        self._has_failed = False
        mode = wandb_mode("offline")
        _require_account(mode)
        # what to do where W&B cannot start
        self._instead = [("offline", "logs offline")] * (mode in ONLINE)
        self._instead.append(("disabled", "does without it"))

    @property
    def experiment(self) -> Any:  # noqa: ANN401 - wandb's Run, untyped
        """The run at W&B: online, else offline, else one that keeps nothing."""
        while True:
            try:
                return super().experiment
            except Interrupted:
                raise
            except Exception as error:
                if not self._instead:
                    raise
                _let_go()  # or the id counts as in use
                mode, what = self._instead.pop(0)
                self._wandb_init["mode"] = mode
                _say(f"W&B cannot start, and the run {what}: {_first_line(error)}")

    @rank_zero_only
    def log_hyperparams(self, params: argparse.Namespace | dict[str, Any]) -> None:
        """Attach a config. What a W&B sweep holds fast (algorithm) stands next to its keys."""
        values = vars(params) if isinstance(params, argparse.Namespace) else params
        with self._forgiving():
            held = {n for n, v in self.experiment.config.items() if v != values.get(n)}
            for name in held & set(values):
                if isinstance(values[name], Mapping):
                    values = values | {f"{name}.{n}": v for n, v in values[name].items()}
            super().log_hyperparams(values)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        with self._forgiving():
            super().log_metrics(metrics, step)

    @rank_zero_only
    def log_image(self, key: str, images: list[Any], step: int | None = None, **of: Any) -> None:  # noqa: ANN401
        with self._forgiving():
            super().log_image(key, images, step, **of)

    def after_save_checkpoint(self, checkpoint_callback: ModelCheckpoint) -> None:
        with self._forgiving():
            super().after_save_checkpoint(checkpoint_callback)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        with self._forgiving():
            super().finalize(status)

    @rank_zero_only
    def log_summary(self, values: Mapping[str, float | str]) -> None:
        """Set what the run came to: the columns of W&B's table of runs."""
        with self._forgiving():
            self.experiment.summary.update(dict(values))

    @rank_zero_only
    def finish(self, exit_code: int) -> None:
        """Send what is left, for `finish_timeout` seconds at most, and end the run at W&B."""
        if self._experiment is None:
            return
        settings = self._experiment.settings
        try:
            self._experiment.finish(exit_code)
        except Interrupted:
            raise
        except TimeoutError:
            _say(
                f"W&B has not taken everything within {settings.finish_timeout:g} s "
                "(logger.wandb.settings.finish_timeout). To send the rest:\n"
                f"  wandb sync --include-online {settings.sync_dir}"
            )
        except Exception as error:
            _say(f"W&B did not finish: {_first_line(error)}\nIts files: {settings.sync_dir}")
            _let_go()

    @contextmanager
    def _forgiving(self) -> Iterator[None]:
        try:
            yield
        except (Interrupted, UserError):
            raise
        except Exception as error:
            if not self._has_failed:
                _say(f"W&B fails, and the run goes on without it: {_first_line(error)}")
            self._has_failed = True


def wandb_mode(default: str) -> str:
    """What the environment says of W&B: WANDB_MODE, or WANDB_DISABLED, its older word."""
    is_disabled = os.environ.get("WANDB_DISABLED", "").lower() in ("true", "1", "yes", "on")
    return "disabled" if is_disabled else os.environ.get("WANDB_MODE") or default


def _require_fit(given: Mapping[str, object]) -> None:
    """Refuse what wandb.init does not take, and a project, id or tag that is none at W&B."""
    import wandb  # here: a run that logs elsewhere never loads it

    lightnings = inspect.signature(WandbLogger).parameters.keys() | {"settings"}
    check_arguments(wandb.init, {n: v for n, v in given.items() if n not in lightnings}, key="")
    for argument, (setting, variable) in RULED.items():
        try:
            wandb.Settings.model_validate({setting: given.get(argument)})
        except (wandb.Error, ValueError) as error:
            rule = error.errors()[0]["msg"] if isinstance(error, ValidationError) else f"{error}"
            raise UserError(f"{argument}={given[argument]} (or {variable}): {rule}.") from error


def _require_account(mode: str) -> None:
    """Refuse a mode that is none, and a server that nobody is logged in to."""
    if mode not in (*ONLINE, *OFFLINE, "disabled"):
        raise UserError(
            f"WANDB_MODE={mode} is none of W&B's modes. Set it to online, offline or disabled."
        )
    if mode not in ONLINE:
        return
    import wandb  # here: a run that logs elsewhere never loads it

    try:
        is_logged_in = wandb.login(prompt=False, verify=False)
    except wandb.Error as error:
        raise UserError(f"WANDB_MODE={mode}: {_first_line(error)}") from error
    if not is_logged_in:
        raise UserError(
            f"WANDB_MODE={mode} needs an account at W&B, and there is no API key. Run wandb login "
            "(or set WANDB_API_KEY), or set WANDB_MODE=offline and send the run later."
        )


def _let_go() -> None:
    """End wandb's own process, or forget one that is dead: the next run starts anew."""
    import wandb

    try:
        wandb.teardown()
    except Interrupted:
        raise
    except Exception as error:
        _say(f"W&B's process did not end by itself: {_first_line(error)}")
    wandb.run = None


@rank_zero_only
def _say(message: str) -> None:
    say(f"\n{message}", is_error=True)


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
