"""metaloop.check: run the pre-flight check of an algorithm and a task in one call."""

import torch

from metaloop.algorithms.algorithm import Algorithm
from metaloop.arguments import Seed
from metaloop.errors import UserError
from metaloop.meta_gradient.chunks import TasksAtOnce
from metaloop.meta_gradient.meta_gradient import AtOnce
from metaloop.meta_gradient.preflight.cause import first_line
from metaloop.meta_gradient.preflight.checks import preflight_check
from metaloop.meta_gradient.preflight.task_check import check_draw, draw_extremes
from metaloop.meta_gradient.preflight.verdict import Verdict
from metaloop.meta_gradient.side_by_side import ChunksAtOnce
from metaloop.tasks import Task


def check(
    algorithm: Algorithm,
    task: Task,
    *,
    seed: Seed = 0,
    tasks_at_once: TasksAtOnce = "all",
    chunks_at_once: ChunksAtOnce = 1,
) -> Verdict:
    """Check task, network, loss, metrics and the exactness of the meta-gradient.

    `MetaLearner` does this before its first step. Everything runs on throw-away copies, on two
    tasks, in float64 if possible: derivatives are compared with finite differences, the
    meta-gradient with plain autograd.

    Args:
        algorithm: holds the model, the loss and the metrics.
        task: the source of the episodes.
        seed: seed of the episodes.
        tasks_at_once, chunks_at_once: how a meta-batch is to be computed; see MetaLearner.

    Raises:
        UserError: the piece at fault, and what to change.

    Examples:
        >>> import torch
        >>> from metaloop import MLP, Objective, Sinusoid, check, maml
        >>> objective = Objective(model=MLP(1, 1, hidden=[8]), loss=torch.nn.MSELoss())
        >>> algorithm = maml(
        ...     objective, inner_lr=0.1, inner_steps=1, eval_inner_steps=5, adjoint="unrolled"
        ... )
        >>> print(check(algorithm, Sinusoid(shots=5, queries=5)))
        Checked: MLP is exact to ... of plain autograd in float64. tasks_at_once=all...

    """
    objective = algorithm.objective
    device = next((p.device for p in objective.model.parameters()), torch.device("cpu"))
    dtype = next(
        (p.dtype for p in objective.model.parameters() if p.is_floating_point()), torch.float32
    )
    try:
        task.prepare()
        task.setup()
        check_draw(task, seed, "train")
        episodes = draw_extremes(task, seed, 2, device, dtype)
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"The task {type(task).__name__} fails to draw an episode: {first_line(error)}. Its "
            "draw must return a meta-batch of tensors [T, ..], one entry per stream."
        ) from error
    meta = {**objective.meta_parameters(), **algorithm.own_parameters()}
    at_once = AtOnce(tasks_at_once=tasks_at_once, chunks_at_once=chunks_at_once)
    return preflight_check(algorithm, meta, episodes, at_once, task=task, skips_known=False)
