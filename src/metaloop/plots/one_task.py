"""One task before and after adaptation, as the kind of task allows."""

import torch
from matplotlib.figure import Figure
from torch.utils import _pytree as pytree

from metaloop.algorithms import Algorithm
from metaloop.episode import Episode
from metaloop.inner_loop import Parameters
from metaloop.plots.fit import draw_fit
from metaloop.plots.image_episode import draw_image_episode


def draw_one_task(algorithm: Algorithm, meta: Parameters, episodes: Episode) -> Figure | None:
    """Adapt to the first task of a meta-batch and draw what that changed.

    Curves for regression from one number to one number, a grid for images with class labels;
    None for what has no picture.
    """
    task = pytree.tree_map(lambda tensor: tensor[0], episodes)
    phis = list(algorithm.adapt(meta, task.support, algorithm.eval_inner_steps))
    objective, inputs = algorithm.objective, task.support.inputs
    shown = pytree.tree_map(lambda tensor: tensor.detach().float().cpu(), task)
    with torch.no_grad():
        if inputs.shape[1:] == (1,) and task.support.targets.is_floating_point():
            seen = torch.cat([inputs, task.query.inputs])
            low, high = float(seen.min()), float(seen.max())
            grid = torch.linspace(low, high, 200, dtype=inputs.dtype, device=inputs.device)[:, None]
            steps = sorted({0, 1, len(phis) - 1} & set(range(len(phis))))
            curves = {k: objective.predict(phis[k], grid).float().cpu() for k in steps}
            return draw_fit(shown, grid.float().cpu(), curves)
        if inputs.ndim == 4 and not task.support.targets.is_floating_point():
            before, after = (
                objective.predict_query(phi, task).softmax(-1).float().cpu()
                for phi in (phis[0], phis[-1])
            )
            return draw_image_episode(shown, before, after)
    return None
