"""Draw one task before and after adaptation, depending on the kind of task."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.utils import _pytree as pytree

from metaloop.algorithms import Algorithm
from metaloop.episode import Episode, Examples, the_tensor
from metaloop.inner_loop import Parameters
from metaloop.plots.field import draw_field
from metaloop.plots.fit import draw_fit
from metaloop.plots.image_episode import draw_image_episode
from metaloop.plots.trajectories import draw_trajectories
from metaloop.tasks.fields.pixels import is_image
from metaloop.tasks.task import Function

DrawFit = Callable[[Algorithm, Sequence[Parameters], Episode, str], Figure]


def draw_one_task(
    algorithm: Algorithm,
    meta: Parameters,
    episodes: Episode,
    class_name: Callable[[int], str] | None = None,
    *,
    truth: Function | None = None,
    title: str = "",
) -> Figure | None:
    """Adapt to the first task of a meta-batch and draw the change.

    Draws curves for regression from one real input to one output, the image for a field, a grid
    for images with class labels, and rollouts for a policy in the plane; returns None for tasks
    without a picture. `truth` is the first task's of `Task.truth`.
    """
    task = pytree.tree_map(lambda tensor: tensor[0], episodes)
    algorithm = algorithm.for_ways(len(task.classes))
    phis = list(algorithm.adapt(meta, task.support, algorithm.eval_inner_steps))
    if (draw_regression := find_fit(task, truth)) is not None:
        return draw_regression(algorithm, phis, task, title)
    if is_walk(task):
        return draw_walk(algorithm, phis, task, title)
    support = task.support
    targets = support.targets
    if len(_shape_of(support)) != 3 or targets.ndim != 1 or targets.is_floating_point():
        return None
    objective = algorithm.objective
    with torch.no_grad():
        before, after = (
            objective.predict_query(phi, task).softmax(-1).float().cpu()
            for phi in (phis[0], phis[-1])
        )
    names = None
    if class_name is not None and len(task.classes):
        names = [class_name(int(c)) for c in task.classes]
    return draw_image_episode(_shown(task), before, after, names, title)


def find_fit(
    task: Episode, truth: Function | None = None, axes: tuple[str, str] = ("x", "y")
) -> DrawFit | None:
    """Find the picture of a regression's fit; None if the task has none."""
    if is_curve(task):
        return partial(draw_curve, truth=truth, axes=axes)
    return draw_pixels if is_field(task) else None


def is_curve(task: Episode) -> bool:
    """Check whether a task is a regression from one real input to one output."""
    support = task.support
    is_regression = support.targets.is_floating_point() and support.targets.shape[1:] == (1,)
    return is_regression and _shape_of(support) == (1,)


def draw_curve(
    algorithm: Algorithm,
    phis: Sequence[Parameters],
    task: Episode,
    title: str,
    *,
    truth: Function | None = None,
    axes: tuple[str, str] = ("x", "y"),
) -> Figure:
    """Draw the fit of such a task before adaptation, after one step, and after the last."""
    objective, inputs = algorithm.objective, the_tensor(task.support.inputs)
    seen = torch.cat([inputs, the_tensor(task.query.inputs)])
    low, high = float(seen.min()), float(seen.max())
    grid = torch.linspace(low, high, 200, dtype=inputs.dtype, device=inputs.device)[:, None]
    steps = sorted({0, 1, len(phis) - 1} & set(range(len(phis))))
    with torch.no_grad():
        curves = {k: objective.predict(phis[k], grid).float().cpu() for k in steps}
        losses = {k: float(objective.judge_query(phis[k], _judged(task))[0]) for k in steps}
    grid = grid.cpu()
    return draw_fit(
        _shown(task),
        grid.float(),
        curves,
        losses,
        judged_by="query" if len(task.query.targets) else "support",
        truth=None if truth is None else truth(grid[None])[0],
        axes=axes,
        title=title,
    )


def is_field(task: Episode) -> bool:
    """Check whether a task is the regression of an image's pixels, grey or RGB."""
    query = _judged(task).query
    has_colours = query.targets.is_floating_point() and query.targets.shape[1:] in ((1,), (3,))
    return has_colours and _shape_of(query) == (2,) and is_image(the_tensor(query.inputs))


def draw_pixels(
    algorithm: Algorithm, phis: Sequence[Parameters], task: Episode, title: str
) -> Figure:
    """Draw the image before adaptation, after 1, 2 and 10 steps, and after the last."""
    task = _judged(task)
    steps = sorted({0, 1, 2, 10, len(phis) - 1} & set(range(len(phis))))
    with torch.no_grad():
        images = {k: algorithm.objective.predict_query(phis[k], task).float().cpu() for k in steps}
    return draw_field(_shown(task), images, title)


def is_walk(task: Episode) -> bool:
    """Check whether a task is point navigation: noise [rollouts, horizon, 2], one goal each."""
    targets = task.query.targets
    is_in_plane = _shape_of(task.query)[1:] == (2,) and targets.shape[1:] == (2,)
    return is_in_plane and targets.is_floating_point()


def draw_walk(
    algorithm: Algorithm, phis: Sequence[Parameters], task: Episode, title: str
) -> Figure:
    """Draw the query rollouts of such a task before adaptation and after the last step."""
    objective = algorithm.objective
    positions, returns = {}, {}
    with torch.no_grad():
        for k in sorted({0, len(phis) - 1}):
            rollouts = objective.predict_query(phis[k], task)
            positions[k] = rollouts[..., 1:].float().cpu()
            # the loss equals minus the return
            returns[k] = -float(objective.judge_query(phis[k], task)[0])
    return draw_trajectories(task.query.targets[0].float().cpu(), positions, returns, title)


def _judged(task: Episode) -> Episode:
    """Judge a task without query examples by its support set."""
    return task if len(task.query.targets) else task._replace(query=task.support)


def _shape_of(examples: Examples) -> tuple[int, ...]:
    """Return the shape of one input; () for several input tensors, which have no picture."""
    inputs = examples.inputs
    return tuple(inputs.shape[1:]) if isinstance(inputs, Tensor) else ()


def _shown(task: Episode) -> Episode:
    shown: Episode = pytree.tree_map(
        lambda t: (t.float() if t.is_floating_point() else t).detach().cpu(), task
    )
    return shown
