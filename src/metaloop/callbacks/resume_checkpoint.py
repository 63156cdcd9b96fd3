"""Save checkpoints to resume from, between two meta-steps."""

import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytorch_lightning as pl

from metaloop.arguments import Count
from metaloop.callbacks.agreement import Agreement
from metaloop.callbacks.kept_weights import KEPT_WEIGHTS, KeptWeights
from metaloop.process.signals import Interrupted, stop_signals
from metaloop.process.terminal import say_in_handler
from metaloop.training.datamodule import MetaBatch

# Seconds within which signals count as one: a launcher may pass on a Ctrl-C that the process also
# gets from the terminal.
ONE_PRESS = 0.5
# The checkpoint's key that tells whether a callback had ended the run before max_steps.
STOPPED = "is_stopped"


class ResumeCheckpoint(pl.Callback):
    """Keeps last.ckpt, and the one before it as previous.ckpt.

    Saves at the start of a step, when everything of the previous step is done, including its row
    of metrics and its validation. So a resumed run repeats and misses nothing.

    A stop signal saves at the next step and ends the run by `Interrupted`. Another Ctrl-C ends it
    immediately. (Another SIGTERM does not: Slurm sends it after the first signal.)

    Args:
        folder: folder of the checkpoints.
        every: meta-steps between them.
        kept: the weights next to them, which each checkpoint lists.

    """

    def __init__(
        self, folder: str | Path, *, every: Count = 500, kept: KeptWeights | None = None
    ) -> None:
        self.last, self.previous = Path(folder) / "last.ckpt", Path(folder) / "previous.ckpt"
        self.every = every
        self._kept, self._listed = kept or KeptWeights(folder), dict[str, int]()
        self._saved_step = 0
        self._signal: int | None = None
        self._signalled = 0.0
        self._agreement: Agreement | None = None
        self._handlers: dict[int, Callable[[int, FrameType | None], object] | int | None] = {}

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        for number, handler in self._handlers.items():
            # the terminal's SIGHUP is followed by its shell's, which must not end the clean-up
            is_second = number == self._signal == signal.SIGHUP
            signal.signal(number, signal.SIG_IGN if is_second else handler)
        self._handlers.clear()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._saved_step = trainer.global_step
        if trainer.world_size > 1:  # a signal reaches the ranks at different steps
            self._agreement = Agreement()
        # not earlier: Lightning sets its own handler for SIGTERM just before
        for number in stop_signals():
            self._handlers[number] = signal.signal(number, self._on_signal)

    def on_train_batch_start(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        batch: MetaBatch,
        batch_idx: int,
    ) -> None:
        number = self._signal or 0
        if self._agreement is not None:
            number = self._agreement.ask(number)
        if number or trainer.global_step % self.every == 0:
            self._save(trainer)
        if number:
            where = f"at meta-step {trainer.global_step}, which was saved"
            raise Interrupted(number, where, is_agreed=True)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._agreement is not None:
            self._agreement.settle()
        self._save(trainer)

    def on_save_checkpoint(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        checkpoint: dict[str, Any],
    ) -> None:
        # Lightning already counts the current batch as "ready", though it has not begun. Without
        # this, the resumed run would count it twice and validate one step off.
        checkpoint[STOPPED] = trainer.should_stop  # by early stopping
        progress = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
        for counts in (progress["total"], progress["current"]):
            counts["ready"] = counts["completed"]
        self._listed = self._kept.list_weights()
        checkpoint[KEPT_WEIGHTS] = self._listed

    def _save(self, trainer: pl.Trainer) -> None:
        if trainer.global_step == self._saved_step:
            return
        new = self.last.with_name("new.ckpt")
        trainer.save_checkpoint(new)
        if trainer.is_global_zero:
            if self.last.exists():
                self.last.replace(self.previous)
            new.replace(self.last)
            self._kept.commit(self._listed)
        trainer.strategy.barrier()  # no process looks for the file before it is renamed
        self._saved_step = trainer.global_step

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._signal is None:
            say_in_handler(
                "\nStopping after this meta-step; press Ctrl-C again to stop immediately."
            )
        elif number == signal.SIGINT and now - self._signalled > ONE_PRESS:
            raise Interrupted(number, "immediately; the last checkpoint is kept")
        self._signal, self._signalled = number, now
