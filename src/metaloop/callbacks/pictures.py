"""Draw pictures of a run during training, for its folder and its loggers."""

from pathlib import Path

import pytorch_lightning as pl

from metaloop.inner_loop import learned_step_sizes
from metaloop.loggers.figures import Draw, log_figures, save_figures
from metaloop.plots import (
    draw_adaptation_curve,
    draw_confusion,
    draw_one_task,
    draw_step_sizes,
)
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
        title: first line of every picture's title; a run's algorithm, task and folder.

    Examples:
        >>> import pytorch_lightning as pl
        >>> from metaloop import Pictures
        >>> trainer = pl.Trainer(
        ...     callbacks=[Pictures("plots")], val_check_interval=100, logger=False,
        ...     enable_checkpointing=False,
        ... )  # training then draws into plots/ after every hundredth meta-step

    """

    def __init__(self, folder: str | Path, title: str = "") -> None:
        self.folder, self.title = Path(folder), title
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
        algorithm, meta, data = pl_module.algorithm, pl_module.meta, data_of(trainer)
        step, name = f"meta-step {trainer.global_step}", data.task.class_title
        indices, first = next(self._first.groups)

        def title(what: str) -> str:
            return f"{self.title}\n{what}"

        drawings: dict[str, Draw] = {
            "adaptation_curve": lambda: draw_adaptation_curve(
                curves, title(f"validation, {step}, closed 95 % interval"), algorithm.inner_steps
            ),
            "one_task": lambda: draw_one_task(
                algorithm,
                meta,
                first,
                name,
                truth=data.truth("validation", indices[:1]),
                title=title(f"first task of validation, {step}"),
            ),
        }
        if (answered := pl_module.evaluator.answered) is not None:
            drawings["confusion"] = lambda: draw_confusion(
                count_confusion(answered), name, title(f"validation, {step}")
            )
        if learned_step_sizes(meta):
            drawings["step_sizes"] = lambda: draw_step_sizes(
                meta, title(f"learned inner step sizes, {step}")
            )
        figures = save_figures(drawings, self.folder)
        log_figures(figures, trainer.loggers, trainer.global_step)


def data_of(trainer: pl.Trainer) -> EpisodicDataModule:
    """Return the source of a trainer's episodes."""
    datamodule = trainer.datamodule  # type: ignore[attr-defined]
    assert isinstance(datamodule, EpisodicDataModule)
    return datamodule
