"""Show the progress of a run in the terminal or notebook."""

import sys
from collections.abc import Mapping

import pytorch_lightning as pl
from pytorch_lightning.callbacks import TQDMProgressBar

from metaloop.arguments import Count
from metaloop.process.terminal import is_interactive
from metaloop.training.meta_learner import MetaLearner
from metaloop.user_text import say


class Progress(TQDMProgressBar):
    """A bar over all meta-steps with loss and accuracy, before -> after adaptation.

    Without the bar it prints a line per validation instead. In a notebook it prints the last values
    after the bar, too.

    Args:
        refresh_rate: meta-steps between two updates of the bar.
        bar: whether to show the bar; None: on a terminal or in a notebook, but not in a log file.

    Examples:
        >>> from functools import partial
        >>> import pytorch_lightning as pl
        >>> import torch
        >>> from metaloop import EpisodicDataModule, MetaLearner, Objective
        >>> from metaloop import Progress, Sinusoid, maml
        >>> objective = Objective(model=torch.nn.Linear(1, 1), loss=torch.nn.MSELoss())
        >>> algorithm = maml(
        ...     objective, inner_lr=0.01, inner_steps=1, eval_inner_steps=1, adjoint="unrolled"
        ... )
        >>> learner = MetaLearner(algorithm, optimizer=partial(torch.optim.SGD, lr=0.01))
        >>> data = EpisodicDataModule(
        ...     Sinusoid(shots=5, queries=5), seed=0, meta_batch_size=2, validation_episodes=2
        ... )
        >>> trainer = pl.Trainer(
        ...     callbacks=[Progress()], max_steps=1, val_check_interval=1, num_sanity_val_steps=0,
        ...     inference_mode=False, logger=False, enable_checkpointing=False,
        ...     enable_model_summary=False,
        ... )
        >>> trainer.fit(learner, datamodule=data)
        Checked: the meta-gradient of Linear equals ...
        meta-step 1/1  loss ... -> ...

    """

    def __init__(self, *, refresh_rate: Count = 10, bar: bool | None = None) -> None:
        super().__init__(refresh_rate=refresh_rate)
        self._has_bar = is_interactive() if bar is None else bar
        if not self._has_bar:
            self.disable()

    def enable(self) -> None:
        if self._has_bar:
            super().enable()

    def on_train_epoch_start(self, trainer: pl.Trainer, *_: object) -> None:
        # the only epoch never ends: the bar counts meta-steps up to max_steps
        self.train_progress_bar.reset(total=trainer.max_steps)
        self.train_progress_bar.initial = trainer.global_step
        self.train_progress_bar.set_description("Meta-training")

    def on_train_batch_end(  # type: ignore[override]
        self, trainer: pl.Trainer, pl_module: MetaLearner, *_: object
    ) -> None:
        step = trainer.global_step
        if self._has_bar and (step % self.refresh_rate == 0 or step == trainer.max_steps):
            self.train_progress_bar.n = step
            self.train_progress_bar.set_postfix(before_after(pl_module.shown))

    def on_train_epoch_end(self, trainer: pl.Trainer, *_: object) -> None:
        """Keep the bar as the last step drew it."""

    def on_train_end(self, trainer: pl.Trainer, pl_module: MetaLearner) -> None:  # type: ignore[override]
        super().on_train_end(trainer, pl_module)
        # a saved notebook shows its bar at meta-step 0
        if self._has_bar and trainer.is_global_zero and not sys.stdout.isatty():
            self._say_step(trainer, pl_module)

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_test_start(trainer, pl_module)
        if not self._has_bar and trainer.is_global_zero:
            say("Evaluating ..")

    def on_validation_end(self, trainer: pl.Trainer, pl_module: MetaLearner) -> None:  # type: ignore[override]
        if self._has_bar:
            super().on_validation_end(trainer, pl_module)
        elif trainer.is_global_zero and trainer.state.fn == "fit":
            self._say_step(trainer, pl_module)

    def _say_step(self, trainer: pl.Trainer, learner: MetaLearner) -> None:
        pairs = before_after(learner.shown)
        shown = "  ".join(f"{name} {value}" for name, value in pairs.items())
        say(f"meta-step {trainer.global_step}/{trainer.max_steps}  {shown}")


def before_after(metrics: Mapping[str, float]) -> dict[str, str]:
    """Pair "<stage>/<name>_before" with the value after adaptation: {"loss": "4.2 -> 0.6", ..}.

    That value is `<name>_after`, of the same meta-step, if the stage has it, else `<name>`.
    """
    shown = {}
    for name, value in metrics.items():
        if f"{name}_before" in metrics and "/support_" not in name:
            short = name.removeprefix("train/").replace("query_loss", "loss")
            before, after = metrics[f"{name}_before"], metrics.get(f"{name}_after", value)
            shown[short] = f"{before:.3g} -> {after:.3g}"
    return shown
