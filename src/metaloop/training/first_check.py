"""The pre-flight check of a MetaLearner, before its first step or evaluation."""

from collections.abc import Callable

import torch
from pytorch_lightning import LightningModule
from pytorch_lightning.utilities import rank_zero_only
from torch import nn

from metaloop.algorithms import Algorithm
from metaloop.episode import Episodes
from metaloop.errors import UserError
from metaloop.inner_loop import Parameters
from metaloop.meta_gradient import (
    AtOnce,
    check_draw,
    draw_extremes,
    preflight_check,
    warn_of_slower,
)
from metaloop.tasks import Task
from metaloop.training.datamodule import EpisodicDataModule


class FirstCheck:
    """Checks once before training, or once before an evaluation without training.

    Args:
        announce: prints the verdict.

    """

    def __init__(self, announce: Callable[[str], None]) -> None:
        self.announce = announce
        self._done: set[str] = set()
        self._modes: dict[str, bool] | None = None

    def keep_modes(self, model: nn.Module) -> None:
        """Remember the modules' training modes, before a validation sets them to eval()."""
        self._modes = {name: module.training for name, module in model.named_modules()}

    def __call__(
        self,
        learner: LightningModule,
        algorithm: Algorithm,
        meta: Parameters,
        episodes: Episodes,
        at_once: AtOnce,
        seed: int,
    ) -> AtOnce:
        """Return the first exact way of those requested.

        Raises:
            UserError: if there is none; it names the piece at fault.

        """
        trains = learner.trainer.state.fn == "fit"
        if "fit" in self._done or (self._done and not trains):
            return at_once
        if torch.is_inference_mode_enabled():
            raise UserError(
                "Evaluation adapts to each task, which takes gradients, and Lightning has switched "
                "them off. Make the trainer with pl.Trainer(inference_mode=False)."
            )
        task = _task_of(learner)
        if task is not None and trains:
            check_draw(task, seed, "train")
            if task.shapes.vary:
                assert isinstance(learner.dtype, torch.dtype)
                episodes = draw_extremes(task, seed, 2, learner.device, learner.dtype)
        verdict = preflight_check(
            algorithm, meta, episodes, at_once, task=task, modes=self._modes, trains=trains
        )
        rank_zero_only(warn_of_slower)(verdict)
        for line in (*([str(verdict)] if verdict.tried else []), *verdict.notes):
            self.announce(line)
        self._done.add("fit" if trains else "evaluation")
        return verdict.at_once


def _task_of(learner: LightningModule) -> Task | None:
    """Return the task if the episodes come from metaloop's data module."""
    datamodule = getattr(learner.trainer, "datamodule", None)
    return datamodule.task if isinstance(datamodule, EpisodicDataModule) else None
