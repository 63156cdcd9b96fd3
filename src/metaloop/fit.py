"""Meta-train in Python: a task, a network and an algorithm give a learner."""

from collections.abc import Callable
from functools import partial

import pytorch_lightning as pl
import torch

from metaloop.algorithms import Algorithm
from metaloop.arguments import Count, Positive, Seed
from metaloop.callbacks import Progress
from metaloop.inner_loop import Objective
from metaloop.learner import Learner
from metaloop.run.config.trainer import quiet_lightning
from metaloop.tasks import Task
from metaloop.training.datamodule import EpisodicDataModule
from metaloop.training.meta_learner import MetaLearner


def fit(
    task: Task,
    model: torch.nn.Module,
    algorithm: Callable[[Objective], Algorithm],
    *,
    max_steps: Count,
    meta_batch_size: Count = 16,
    lr: Positive = 1e-3,
    seed: Seed = 0,
    progress: bool | None = None,
) -> Learner:
    """Meta-train `model` on `task` by Adam, in this process, and return the learner.

    It trains as a run does, from the pre-flight check to the outer loop, but writes no folder: for
    checkpoints, loggers, other optimizers and devices write a run, or put the same pieces together.

    Args:
        task: where the episodes come from.
        model: the network; its parameters become theta, in place.
        algorithm: makes the algorithm from an objective, for example
            `partial(maml, inner_lr=0.1, inner_steps=3, eval_inner_steps=5, adjoint="unrolled")`.
        max_steps: meta-steps.
        meta_batch_size: T, tasks in a meta-step.
        lr: the meta learning rate.
        seed: of the episodes and of the randomness inside a step.
        progress: whether to show a progress bar; None: on a terminal or in a notebook.

    Raises:
        UserError: the piece that does not fit, and what to change.

    Examples:
        >>> from functools import partial
        >>> from metaloop import MLP, Sinusoid, fit, maml
        >>> task, network = Sinusoid(shots=5, queries=5), MLP(1, 1, hidden=[8])
        >>> algorithm = partial(
        ...     maml, inner_lr=0.01, inner_steps=1, eval_inner_steps=5, adjoint="unrolled"
        ... )
        >>> learner = fit(task, network, algorithm, max_steps=2)
        >>> learner.adapt([-1.0, 0.0, 1.0], [0.5, 0.0, -0.5]).predict([2.0, 3.0]).shape
        (2,)

    """
    objective = Objective(model=model, loss=task.loss, metrics=task.metrics, forward=task.forward)
    made = algorithm(objective)
    optimizer = partial(torch.optim.Adam, lr=lr)
    meta_learner = MetaLearner(made, optimizer=optimizer, seed=seed, tasks_at_once="by_size")
    quiet_lightning()
    trainer = pl.Trainer(
        max_steps=max_steps,
        accelerator="cpu",
        inference_mode=False,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        limit_val_batches=0,
        callbacks=[Progress(bar=progress)],
    )
    data = EpisodicDataModule(task, seed=seed, meta_batch_size=meta_batch_size)
    trainer.fit(meta_learner, datamodule=data)
    return Learner(made.at(trainer.global_step), meta_learner.meta, task)
