"""A run that has diverged ends, and what it had saved before is kept."""

import math
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from metaloop.errors import Diverged
from metaloop.training.meta_learner import MetaLearner

LOOK_EVERY = 50  # meta-steps between two looks where a look makes somebody wait
REMEDY = (
    "Lower the inner step size (inner_lr) or the meta learning rate (the optimizer's lr), or clip "
    "the meta-gradient (clip_norm)."
)


class StopWhenDiverged(pl.Callback):
    """Ends training by `Diverged` at the first meta-gradient that is not finite.

    No step waits for it: what a step starts its backward pass from, sum (p * gradient), is kept on
    the device. A single process on a processor reads it at once. An accelerator, and processes
    that have to agree, are asked every 50 meta-steps, and before a validation and whatever is
    saved. So no checkpoint holds weights that are not finite.
    """

    def __init__(self) -> None:
        self._sums: list[Tensor] = []  # since the last look
        self._step = 0  # that of the last of them

    def on_before_backward(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor
    ) -> None:
        self._sums.append(loss.detach())
        self._step = trainer.global_step + 1
        costs_nothing = loss.device.type == "cpu" and trainer.world_size == 1
        if costs_nothing or len(self._sums) == LOOK_EVERY:
            self._look(trainer)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._look(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._look(trainer)

    def on_save_checkpoint(  # type: ignore[override]
        self, trainer: pl.Trainer, pl_module: MetaLearner, checkpoint: dict[str, Any]
    ) -> None:
        self._look(trainer)
        for name, p in pl_module.meta.items():
            if not p.isfinite().all():
                raise Diverged(
                    f"The run diverged: {name} is not finite after meta-step "
                    f"{trainer.global_step}. {REMEDY}"
                )

    def _look(self, trainer: pl.Trainer) -> None:
        """Read what was kept; all processes find the same step.

        Raises:
            Diverged: at the first that is not finite.

        """
        if not self._sums:
            return
        sums = torch.stack(self._sums)
        self._sums = []
        found = (i for i, value in enumerate(sums.tolist()) if not math.isfinite(value))
        first = next(found, len(sums))
        if trainer.world_size > 1:
            own = torch.tensor(first, device=sums.device)
            first = int(trainer.strategy.reduce(own, reduce_op="min"))
        if first < len(sums):
            step = self._step - len(sums) + 1 + first
            raise Diverged(
                f"The run diverged: the meta-gradient of meta-step {step} is not finite. {REMEDY}"
            )
