"""Draw pictures of a run during training, for its folder and its loggers."""

from pathlib import Path

import pytorch_lightning as pl

from metaloop.episode import of_one_shape
from metaloop.inner_loop import learned_step_sizes
from metaloop.loggers.figures import Draw, log_figures, save_figures
from metaloop.plots import (
    draw_adaptation_curve,
    draw_confusion,
    draw_one_task,
    draw_step_sizes,
)
from metaloop.tasks import Task
from metaloop.training.confusion import count_confusion
from metaloop.training.datamodule import EpisodicDataModule, MetaBatch
from metaloop.training.estimate import estimate
from metaloop.training.meta_learner import MetaLearner


class Pictures(pl.Callback):
    """Draws after every validation: one task before and after adaptation, the adaptation curve,
    the confusion of classes, and learned step sizes if there are any.

    Pictures that do not fit the task are left out.

    Args:
        folder: folder of the pictures; each validation replaces them, W&B keeps all.

    Examples:
        >>> import pytorch_lightning as pl
        >>> from metaloop import Pictures
        >>> trainer = pl.Trainer(
        ...     callbacks=[Pictures("plots")], val_check_interval=100, logger=False,
        ...     enable_checkpointing=False,
        ... )  # training then draws into plots/ after every hundredth meta-step

    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._first: MetaBatch | None = None

    def on_validation_batch_end(  # type: ignore[override]
        self,
        trainer: pl.Trainer,
        pl_module: MetaLearner,
        outputs: None,
        batch: MetaBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if batch_idx == 0:
            self._first = batch

    def on_validation_end(self, trainer: pl.Trainer, pl_module: MetaLearner) -> None:  # type: ignore[override]
        if trainer.state.fn != "fit" or not trainer.is_global_zero or self._first is None:
            return
        curves = {name: estimate(values) for name, values in pl_module.evaluated.items()}
        title = f"validation, meta-step {trainer.global_step}, closed 95 % interval"
        trained = pl_module.algorithm.inner_steps
        name = family_of(trainer).class_name
        first, *_ = of_one_shape(self._first.episodes)
        one_task = (pl_module.algorithm, pl_module.meta, first, name)
        drawings: dict[str, Draw] = {
            "adaptation_curve": lambda: draw_adaptation_curve(curves, title, trained),
            "one_task": lambda: draw_one_task(*one_task),
        }
        if (answered := pl_module.evaluator.answered) is not None:
            drawings["confusion"] = lambda: draw_confusion(count_confusion(answered), name, title)
        if learned_step_sizes(pl_module.meta):
            drawings["step_sizes"] = lambda: draw_step_sizes(pl_module.meta)
        figures = save_figures(drawings, self.folder)
        log_figures(figures, trainer.loggers, trainer.global_step)


def family_of(trainer: pl.Trainer) -> Task:
    """Return the task family of a trainer's episodes."""
    datamodule = trainer.datamodule  # type: ignore[attr-defined]
    assert isinstance(datamodule, EpisodicDataModule)
    return datamodule.task
