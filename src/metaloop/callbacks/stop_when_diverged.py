"""End a run that has diverged, keeping what was saved before."""

import math
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from metaloop.errors import Diverged
from metaloop.training.meta_learner import MetaLearner

LOOK_EVERY = 50  # meta-steps between checks where a check makes a process wait
REMEDY = (
    "Lower the inner step size (inner_lr) or the meta learning rate (the optimizer's lr), or clip "
    "the meta-gradient (clip_norm)."
)


class StopWhenDiverged(pl.Callback):
    """Ends training by `Diverged` at the first meta-gradient that is not finite.

    It checks the scalar from which each step starts its backward pass, sum (p * gradient). A single
    process on a CPU checks it in every step. To avoid waiting, an accelerator or several processes
    are checked every 50 meta-steps, and before each validation and checkpoint. So no checkpoint
    has weights that are not finite.

    Examples:
        >>> import pytorch_lightning as pl
        >>> import torch
        >>> from metaloop import Diverged, StopWhenDiverged
        >>> callback = StopWhenDiverged()
        >>> trainer = pl.Trainer(callbacks=[callback], logger=False, enable_checkpointing=False)
        >>> try:  # as the trainer calls it in each step
        ...     callback.on_before_backward(trainer, pl.LightningModule(), torch.tensor(torch.nan))
        ... except Diverged as error:
        ...     print(error)
        The run diverged: the meta-gradient of meta-step 1 is not finite. Lower the inner...

    """

    def __init__(self) -> None:
        self._sums: list[Tensor] = []  # since the last check
        self._step = 0  # meta-step of the last sum

    def on_before_backward(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor
    ) -> None:
        self._sums.append(loss.detach())
        self._step = trainer.global_step + 1
        is_cheap = loss.device.type == "cpu" and trainer.world_size == 1
        if is_cheap or len(self._sums) == LOOK_EVERY:
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
        """Check the kept sums; all processes find the same step.

        Raises:
            Diverged: at the first sum that is not finite.

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
